//! Takes connections in and serves each until it ends.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::BoxError;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::connections::{Connections, Place};
use super::limits::{BUFFER_BYTES, HEAD_BYTES};
use super::listen::Listeners;
use super::service::Requests;
use super::stream::Stream;
use super::tls::Tls;

/// How long nothing is accepted after the system had no room for a connection: the first time, and at
/// most.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often it is logged that the system has no room.
const COMPLAIN: Duration = Duration::from_secs(10);

/// When a peer that is silent is asked whether it is there, how often again, and how long it may leave
/// what it is sent unacknowledged.
const ASK_AFTER: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_secs(10);
const ASK_TIMES: u32 = 3;
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// What a TLS connection begins with.
const TLS_HANDSHAKE: u8 = 22;

/// What somebody is told who speaks HTTP where HTTPS is spoken.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 46\r\n\
    Connection: close\r\n\r\n\
    HTTPS is spoken here: begin the URL with https";

/// See the module.
pub struct Acceptor {
    pub connections: Arc<Connections>,
    pub requests: Arc<Requests>,
    pub tls: Option<Arc<Tls>>,
    pub stop: CancellationToken,
}

impl Acceptor {
    /// Takes connections in until it is told to stop.
    pub async fn run(self, listeners: Listeners) {
        for socket in listeners.sockets() {
            if let Err(error) = prepare(socket) {
                tracing::warn!(%error, "peers that are gone without a word are noticed late");
            }
        }
        let http = http();
        let mut pause = PAUSE;
        let mut complained: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listeners.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = PAUSE;
                    // An address of IPv4 is one, also where it comes in by IPv6.
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    if let Some(place) = self.connections.admit(peer) {
                        self.take_in(stream, place, http.clone());
                    }
                }
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    if complained.is_none_or(|last| last.elapsed() >= COMPLAIN) {
                        tracing::warn!(%error, "connections can't be accepted at the moment");
                        complained = Some(Instant::now());
                    }
                    self.connections.relieve();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn take_in(&self, stream: TcpStream, place: Place, http: http1::Builder) {
        // Answers are written whole; waiting for more to send would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is not set to send at once");
        }
        let connection = Arc::clone(&place);
        let talk = Talk {
            http,
            requests: self.requests.clone(),
            tls: self.tls.clone(),
        };
        tokio::spawn(async move {
            let talked = connection.until_ended(talk.begin(stream, place)).await;
            if let Some(Err(error)) = talked {
                tracing::debug!(error, "a connection broke");
            }
        });
    }
}

/// What a connection is served with.
struct Talk {
    http: http1::Builder,
    requests: Arc<Requests>,
    tls: Option<Arc<Tls>>,
}

impl Talk {
    async fn begin(self, stream: TcpStream, place: Place) -> Result<(), BoxError> {
        let Some(tls) = &self.tls else {
            return self.go_on(Stream::new(stream, place)).await;
        };
        let mut first = [0];
        match stream.peek(&mut first).await? {
            0 => Ok(()),
            _ if first == [TLS_HANDSHAKE] => {
                let stream = tls.acceptor().accept(stream).await?;
                self.go_on(Stream::new(stream, place)).await
            }
            _ => {
                let mut stream = Stream::new(stream, place);
                stream.write_all(NOT_TLS).await?;
                Ok(stream.shutdown().await?)
            }
        }
    }

    /// Answers requests until the connection ends.
    async fn go_on<S>(&self, stream: Stream<S>) -> Result<(), BoxError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = stream.connection().clone();
        let service = service_fn(|request| {
            let (requests, connection) = (self.requests.clone(), connection.clone());
            async move { Ok::<_, Infallible>(requests.answer(connection, request).await) }
        });
        let serving = self.http.serve_connection(TokioIo::new(stream), service);
        let mut serving = pin!(serving.with_upgrades());
        let mut finishing = false;
        let served = poll_fn(|cx| {
            if !finishing && connection.is_last() {
                finishing = true;
                serving.as_mut().graceful_shutdown();
            }
            serving.as_mut().poll(cx)
        });
        Ok(served.await?)
    }
}

/// HTTP/1, with the limits that do not depend on a flag. Times are looked after by
/// [`Connections::sweep`], which tells a head that does not come from a connection that is idle.
fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(BUFFER_BYTES);
    http
}

/// Says how connections find out that their peer is gone; those that are accepted inherit it.
fn prepare(listener: &TcpListener) -> io::Result<()> {
    sockopt::set_socket_keepalive(listener, true)?;
    sockopt::set_tcp_keepidle(listener, ASK_AFTER)?;
    sockopt::set_tcp_keepintvl(listener, ASK_EVERY)?;
    sockopt::set_tcp_keepcnt(listener, ASK_TIMES)?;
    sockopt::set_tcp_user_timeout(listener, UNACKNOWLEDGED.as_millis() as u32)?;
    Ok(())
}

/// Whether a connection could not be accepted because its client is gone again.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
