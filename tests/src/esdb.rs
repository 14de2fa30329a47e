//! A small stand-in for an `EventStoreDB`/`KurrentDB` server, for tests.
//!
//! It runs inside the test's process and speaks, over HTTP/2 without TLS, the part of the
//! server's gRPC that the event log uses: the version question of the client, appends to one
//! stream and reads of one stream. Everything is held in memory. Subscriptions, `$all`,
//! deletions, batch appends, links, access rules, clusters and the effect of stream metadata on
//! reads (`$tb`, `$maxCount`, `$maxAge`) are not there; what is not there answers
//! `UNIMPLEMENTED`, and metadata is kept and given back without being obeyed.
//!
//! It shows that the adapter keeps to the protocol as its official client speaks it, and what
//! the adapter makes of the failures that can be called up here. It proves nothing about a real
//! server: neither durability, nor timing, nor what a cluster does.

#![expect(
    clippy::result_large_err,
    reason = "`tonic::Status` is what its traits ask for"
)]

mod streams;
mod wire;

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::stream;
use hyper::{
    Request as HttpRequest, Response as HttpResponse, body::Incoming, server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::{JoinHandle, JoinSet},
};
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    codec::ProstCodec,
    metadata::{MetadataMap, MetadataValue},
    server::{ClientStreamingService, Grpc, ServerStreamingService, UnaryService},
};

use streams::Log;
use wire::{AppendReq, AppendResp, Expected, Query, ReadReq, ReadResp};

pub use streams::Stored;

/// What one append may weigh, as a server sets it when nothing else is configured.
pub const MAX_APPEND_SIZE: usize = 1_048_576;

/// A running stand-in. Dropping it ends its tasks.
pub struct Esdb {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Mutex<Option<Listening>>,
}

/// The task that accepts connections, and the way to end it.
struct Listening {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Esdb {
    /// Listens on a free port of the loopback address.
    ///
    /// # Panics
    ///
    /// When no port is to be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let shared = Arc::new(Shared::default());
        let listening = Mutex::new(Some(listen(listener, Arc::clone(&shared))));
        Self {
            address,
            shared,
            listening,
        }
    }

    /// The connection string, `esdb://127.0.0.1:PORT?tls=false`.
    pub fn url(&self) -> String {
        format!("esdb://{}?tls=false", self.address)
    }

    /// The address alone, `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Ends every connection and stops listening; what was appended stays.
    ///
    /// # Panics
    ///
    /// When the accepting task panicked.
    pub async fn stop(&self) {
        let listening = lock(&self.listening).take();
        if let Some(Listening { stop, task }) = listening {
            // The task may be gone already, and then there is nobody to tell.
            let _ = stop.send(());
            task.await.expect("the accepting task ends in order");
        }
    }

    /// Listens again on the same port.
    ///
    /// # Panics
    ///
    /// When somebody else has taken the port meanwhile.
    pub async fn resume(&self) {
        if lock(&self.listening).is_some() {
            return;
        }
        let listener = TcpListener::bind(self.address)
            .await
            .expect("the port is still free");
        *lock(&self.listening) = Some(listen(listener, Arc::clone(&self.shared)));
    }

    /// The next `count` appends are carried out, but their callers are told `UNAVAILABLE`.
    pub fn lose_answers(&self, count: usize) {
        self.shared.lose.store(count, Ordering::SeqCst);
    }

    /// The next `count` appends are carried out, and then their connection is cut, unanswered.
    pub fn cut_answers(&self, count: usize) {
        self.shared.cut.store(count, Ordering::SeqCst);
    }

    /// The next `count` appends fail with `UNAVAILABLE` before anything is written.
    pub fn refuse_appends(&self, count: usize) {
        self.shared.refuse.store(count, Ordering::SeqCst);
    }

    /// The next `count` appends and reads are taken in and never answered; nothing is written.
    pub fn hang(&self, count: usize) {
        self.shared.hang.store(count, Ordering::SeqCst);
    }

    /// From now on appends and reads must carry this `authorization` header, as in
    /// `Basic YWRtaW46Y2hhbmdlaXQ=`.
    pub fn demand_authorization(&self, header: &str) {
        *lock(&self.shared.authorization) = Some(header.to_owned());
    }

    /// The events a stream holds, oldest first; none for a stream that is not there.
    pub fn events(&self, stream: &str) -> Vec<Stored> {
        lock(&self.shared.log).events(stream)
    }

    /// Appends an event as if another writer had, whatever stands there.
    pub fn intrude(&self, stream: &str, event: Stored) {
        let content_type = "application/octet-stream".to_owned();
        lock(&self.shared.log).write(stream, vec![(event, content_type)]);
    }

    /// Drops the events of a stream before a revision, as truncation and scavenging do: reads
    /// begin later, revisions go on.
    pub fn truncate(&self, stream: &str, before: u64) {
        lock(&self.shared.log).truncate(stream, before);
    }
}

impl Drop for Esdb {
    fn drop(&mut self) {
        if let Some(listening) = lock(&self.listening).take() {
            // The connections belong to the task and end with it.
            listening.task.abort();
        }
    }
}

/// Locks, also after a test panicked with the lock held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What all connections share.
#[derive(Default)]
struct Shared {
    log: Mutex<Log>,
    lose: AtomicUsize,
    cut: AtomicUsize,
    refuse: AtomicUsize,
    hang: AtomicUsize,
    authorization: Mutex<Option<String>>,
}

impl Shared {
    fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        match lock(&self.authorization).as_deref() {
            Some(wanted)
                if metadata
                    .get("authorization")
                    .is_none_or(|given| given != wanted) =>
            {
                Err(Status::unauthenticated("Unauthenticated"))
            }
            _ => Ok(()),
        }
    }
}

/// Takes one off a counter; `false` when it stands at zero.
fn spend(counter: &AtomicUsize) -> bool {
    counter
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        })
        .is_ok()
}

fn listen(listener: TcpListener, shared: Arc<Shared>) -> Listening {
    let (stop, mut stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => {
                    let Ok((socket, _)) = accepted else { continue };
                    let (shared, cut) = (Arc::clone(&shared), Arc::new(Notify::new()));
                    let knife = Arc::clone(&cut);
                    let service = service_fn(move |request| {
                        route(Arc::clone(&shared), Arc::clone(&knife), request)
                    });
                    let io = TokioIo::new(Prompt(socket));
                    let connection =
                        http2::Builder::new(TokioExecutor::new()).serve_connection(io, service);
                    connections.spawn(async move {
                        tokio::select! {
                            // How a client leaves is its own affair.
                            _ = connection => {}
                            () = cut.notified() => {}
                        }
                    });
                }
            }
        }
        drop(listener);
        connections.shutdown().await;
    });
    Listening { stop, task }
}

/// A socket that acknowledges at once what it read. The client sends a request in several small
/// pieces and waits, as Nagle has it, for the acknowledgement of each; on Linux, that would make
/// every call take 40 ms.
struct Prompt(TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        #[cfg(target_os = "linux")]
        // A matter of speed alone.
        let _ = self.0.set_quickack(true);
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

async fn route(
    shared: Arc<Shared>,
    cut: Arc<Notify>,
    request: HttpRequest<Incoming>,
) -> Result<HttpResponse<Body>, Infallible> {
    Ok(match request.uri().path() {
        "/event_store.client.server_features.ServerFeatures/GetSupportedMethods" => {
            Grpc::new(ProstCodec::default())
                .unary(Features, request)
                .await
        }
        "/event_store.client.streams.Streams/Append" => {
            Grpc::new(ProstCodec::default())
                .max_decoding_message_size(usize::MAX)
                .client_streaming(Append { shared, cut }, request)
                .await
        }
        "/event_store.client.streams.Streams/Read" => {
            Grpc::new(ProstCodec::default())
                .server_streaming(Read { shared }, request)
                .await
        }
        other => Status::unimplemented(format!("the stand-in has no {other}")).into_http(),
    })
}

type Later<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

struct Features;

impl UnaryService<()> for Features {
    type Response = wire::SupportedMethods;
    type Future = Ready<Result<Response<wire::SupportedMethods>, Status>>;

    fn call(&mut self, _: Request<()>) -> Self::Future {
        // No method is announced: appends and reads need no announcement.
        ready(Ok(Response::new(wire::SupportedMethods {
            version: "24.10.0".to_owned(),
        })))
    }
}

struct Append {
    shared: Arc<Shared>,
    cut: Arc<Notify>,
}

impl ClientStreamingService<AppendReq> for Append {
    type Response = AppendResp;
    type Future = Later<AppendResp>;

    fn call(&mut self, request: Request<Streaming<AppendReq>>) -> Self::Future {
        let (shared, cut) = (Arc::clone(&self.shared), Arc::clone(&self.cut));
        Box::pin(async move {
            shared.admit(request.metadata())?;
            let (stream, expected, events) = receive(request.into_inner()).await?;
            if spend(&shared.hang) {
                std::future::pending::<()>().await;
            }
            if spend(&shared.refuse) {
                return Err(Status::unavailable("the append was refused"));
            }
            let answer = lock(&shared.log).append(&stream, expected, events);
            if spend(&shared.lose) {
                return Err(Status::unavailable("the answer was lost"));
            }
            if spend(&shared.cut) {
                cut.notify_one();
                std::future::pending::<()>().await;
            }
            Ok(Response::new(answer))
        })
    }
}

/// Takes in a whole append, to its end, before anything is judged.
async fn receive(
    mut messages: Streaming<AppendReq>,
) -> Result<(String, Expected, Vec<(Stored, String)>), Status> {
    let missing = |what: &str| Status::invalid_argument(format!("an append without {what}"));
    let mut options = None;
    let mut events = Vec::new();
    let mut size = 0;
    while let Some(message) = messages.message().await? {
        if let Some(given) = message.options {
            options = Some(given);
        }
        if let Some(mut proposed) = message.proposed {
            let id = proposed.id.ok_or_else(|| missing("an event id"))?.read()?;
            let mut property = |name| proposed.metadata.remove(name).ok_or_else(|| missing(name));
            let (event_type, content_type) = (property("type")?, property("content-type")?);
            let (data, metadata) = (proposed.data, proposed.custom_metadata);
            // A type is counted in UTF-16.
            size += data.len() + metadata.len() + 2 * event_type.encode_utf16().count();
            events.push((
                Stored {
                    id,
                    event_type,
                    data,
                    metadata,
                },
                content_type,
            ));
        }
    }
    if size > MAX_APPEND_SIZE {
        let mut trailers = MetadataMap::new();
        let exception = MetadataValue::from_static("maximum-append-size-exceeded");
        trailers.insert("exception", exception);
        trailers.insert("maximum-append-size", MAX_APPEND_SIZE.into());
        let message = format!("Maximum Append Size of {MAX_APPEND_SIZE} Exceeded.");
        return Err(Status::with_metadata(
            Code::InvalidArgument,
            message,
            trailers,
        ));
    }
    let options = options.ok_or_else(|| missing("options"))?;
    let expected = options
        .expected
        .ok_or_else(|| missing("an expected revision"))?;
    Ok((
        wire::StreamIdentifier::name(options.stream)?,
        expected,
        events,
    ))
}

struct Read {
    shared: Arc<Shared>,
}

impl ServerStreamingService<ReadReq> for Read {
    type Response = ReadResp;
    type ResponseStream = stream::Iter<std::vec::IntoIter<Result<ReadResp, Status>>>;
    type Future = Later<Self::ResponseStream>;

    fn call(&mut self, request: Request<ReadReq>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            shared.admit(request.metadata())?;
            if spend(&shared.hang) {
                std::future::pending::<()>().await;
            }
            let query = Query::understand(request.into_inner())?;
            let found = lock(&shared.log).read(&query);
            let answer: Vec<_> = found.into_iter().map(Ok).collect();
            Ok(Response::new(stream::iter(answer)))
        })
    }
}
