//! What is asked of the server: to add events to the end of a stream, and to read it.
//!
//! The official client has its ways, which are dealt with here. It waits without end for a server that
//! is silent, so every question has an end of its own. Once it could not connect at all it never tries
//! again, so another one takes its place. Its subscriptions never end when the server closes them
//! without an error, so the stream is read on from a revision instead.

use std::sync::Arc;
use std::time::Duration;

use kurrentdb::{
    AppendToStreamOptions, Client, ClientSettings, CurrentRevision, Error, EventData,
    ReadStreamOptions, RecordedEvent, StreamMetadata, StreamPosition, StreamState,
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::config::EventStoreConfig;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Events that are read at once, and about how many bytes of them.
const PAGE: usize = 1000;
const PAGE_BYTES: usize = 4 << 20;

/// How old a client must be that is replaced by another one: each leaves a task behind.
const CLIENT_AGE: Duration = Duration::from_secs(2);

/// The number of gRPC's status for a request that can't ever succeed.
const INVALID_ARGUMENT: i32 = 3;

/// Why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Somebody else has added events; nothing was written.
    #[error("the stream ends at {} by now", .0.map_or("nothing".to_owned(), |last| format!("revision {last}")))]
    Overtaken(Option<u64>),
    #[error(
        "EventStoreDB does not let this user read and write the stream; check user and password in its URL"
    )]
    Denied,
    #[error("the stream was deleted")]
    Deleted,
    #[error("EventStoreDB refuses this: {0}")]
    Refused(String),
    /// It may have been done all the same.
    #[error("EventStoreDB does not answer: {0}")]
    Unknown(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::WrongExpectedVersion { current, .. } => Self::Overtaken(match current {
                CurrentRevision::Current(last) => Some(last),
                CurrentRevision::NoStream => None,
            }),
            Error::AccessDenied => Self::Denied,
            Error::ResourceDeleted => Self::Deleted,
            Error::Grpc { code, message } if i32::from(code) == INVALID_ARGUMENT => {
                Self::Refused(message)
            }
            Error::Grpc { code, message } => Self::Unknown(format!("{message} ({code:?})")),
            // What the client adds is for whoever wrote it.
            Error::GrpcConnectionError(_) => Self::Unknown(
                "the connection failed; check that the server runs, and tls= in its URL".to_owned(),
            ),
            error => Self::Unknown(error.to_string()),
        }
    }
}

/// The stream of the log. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    settings: ClientSettings,
    stream: String,
    /// And since when.
    client: Arc<Mutex<(Client, Instant)>>,
}

impl Server {
    pub fn new(config: &EventStoreConfig) -> Result<Self, Failure> {
        let client = connect(config.settings())?;
        Ok(Self {
            settings: config.settings(),
            stream: config.stream().to_owned(),
            client: Arc::new(Mutex::new((client, Instant::now()))),
        })
    }

    /// Asks something, and waits for the answer for a while.
    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(Client) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let client = self.client.lock().0.clone();
        self.hear(question(client)).await
    }

    /// Waits for an answer for a while.
    async fn hear<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        let failure = match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Failure::from(error),
            Err(_) => Failure::Unknown("no answer in time".to_owned()),
        };
        // The client stays with a node that is gone, although a cluster has another leader by now.
        if matches!(failure, Failure::Unknown(_)) {
            let mut client = self.client.lock();
            if client.1.elapsed() > CLIENT_AGE {
                *client = (connect(self.settings.clone())?, Instant::now());
            }
        }
        Err(failure)
    }

    /// Adds events behind `next` others, all or none of them, if there are exactly so many. Those that
    /// stand there already by their ids are not added again: the same ids are the same events.
    pub async fn append(&self, next: u64, events: Vec<EventData>) -> Result<(), Failure> {
        let options = AppendToStreamOptions::default().stream_state(state(next));
        self.ask(async |client| {
            let stream = self.stream.as_str();
            client.append_to_stream(stream, &options, events).await
        })
        .await
        .map(drop)
    }

    /// The events from a revision on, up to a page; none where the stream ends.
    pub async fn read(&self, from: u64) -> Result<Vec<RecordedEvent>, Failure> {
        self.page(&self.stream, forwards(StreamPosition::Position(from), PAGE))
            .await
    }

    /// The event at a revision.
    pub async fn at(&self, revision: u64) -> Result<Option<RecordedEvent>, Failure> {
        let options = forwards(StreamPosition::Position(revision), 1);
        Ok(self.page(&self.stream, options).await?.pop())
    }

    /// The first event that is left of the stream.
    pub async fn first(&self) -> Result<Option<RecordedEvent>, Failure> {
        let options = forwards(StreamPosition::Start, 1);
        Ok(self.page(&self.stream, options).await?.pop())
    }

    /// How many events the stream has had: the revision of the next one.
    pub async fn end(&self) -> Result<u64, Failure> {
        let last = self.last(&self.stream).await?;
        Ok(last.map_or(0, |event| event.revision + 1))
    }

    async fn last(&self, stream: &str) -> Result<Option<RecordedEvent>, Failure> {
        let options = ReadStreamOptions::default()
            .position(StreamPosition::End)
            .backwards()
            .max_count(1);
        Ok(self.page(stream, options).await?.pop())
    }

    async fn page(
        &self,
        stream: &str,
        options: ReadStreamOptions,
    ) -> Result<Vec<RecordedEvent>, Failure> {
        let mut events = self
            .ask(async |client| client.read_stream(stream, &options).await)
            .await?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while bytes < PAGE_BYTES {
            // The page may come slowly, as long as it comes.
            let next = async {
                match events.next().await {
                    Err(Error::ResourceNotFound) => Ok(None),
                    next => next,
                }
            };
            match self.hear(next).await {
                Ok(Some(event)) => {
                    bytes += event.event.as_ref().map_or(0, |event| event.data.len());
                    found.extend(event.event);
                }
                Ok(None) => break,
                Err(_) if !found.is_empty() => break,
                Err(failure) => return Err(failure),
            }
        }
        Ok(found)
    }

    /// What is laid down for the stream, and how often that was changed.
    pub async fn rules(&self) -> Result<(StreamMetadata, u64), Failure> {
        let Some(laid_down) = self.last(&format!("$${}", self.stream)).await? else {
            return Ok((StreamMetadata::default(), 0));
        };
        let rules = laid_down.as_json().map_err(|error| {
            Failure::Refused(format!("the metadata of the stream can't be read: {error}"))
        })?;
        Ok((rules, laid_down.revision + 1))
    }

    /// Lays something down for the stream, unless that was changed since it was read.
    pub async fn lay_down(&self, rules: &StreamMetadata, changes: u64) -> Result<(), Failure> {
        let options = AppendToStreamOptions::default().stream_state(state(changes));
        self.ask(async |client| {
            let stream = self.stream.as_str();
            client.set_stream_metadata(stream, &options, rules).await
        })
        .await
        .map(drop)
    }
}

fn connect(settings: ClientSettings) -> Result<Client, Failure> {
    // The client would choose another cryptography for the whole process than the rest of it uses.
    // An error means that it is chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(settings).map_err(|error| Failure::Unknown(error.to_string()))
}

fn forwards(from: StreamPosition<u64>, count: usize) -> ReadStreamOptions {
    ReadStreamOptions::default()
        .position(from)
        .forwards()
        .max_count(count)
}

fn state(events: u64) -> StreamState {
    match events.checked_sub(1) {
        Some(last) => StreamState::StreamRevision(last),
        None => StreamState::NoStream,
    }
}
