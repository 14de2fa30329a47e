//! The messages of the server's gRPC, with the fields that are used here. Most alternatives
//! (`oneof`) are written as optional fields: the bytes are the same.

use std::collections::HashMap;

use prost::{Message, Oneof};
use tonic::Status;
use uuid::Uuid;

#[derive(Clone, PartialEq, Message)]
pub struct SupportedMethods {
    #[prost(string, tag = "2")]
    pub version: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct StreamIdentifier {
    #[prost(bytes = "vec", tag = "3")]
    bytes: Vec<u8>,
}

impl StreamIdentifier {
    pub fn new(name: &str) -> Self {
        Self {
            bytes: name.as_bytes().to_vec(),
        }
    }

    pub fn name(given: Option<Self>) -> Result<String, Status> {
        given
            .and_then(|given| String::from_utf8(given.bytes).ok())
            .filter(|name| !name.is_empty())
            .ok_or_else(|| Status::invalid_argument("no stream name"))
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Id {
    #[prost(message, optional, tag = "1")]
    halves: Option<Halves>,
    #[prost(string, optional, tag = "2")]
    text: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Halves {
    #[prost(int64, tag = "1")]
    most: i64,
    #[prost(int64, tag = "2")]
    least: i64,
}

impl Id {
    pub fn of(id: Uuid, structured: bool) -> Self {
        if structured {
            let (most, least) = id.as_u64_pair();
            let halves = Halves {
                most: most.cast_signed(),
                least: least.cast_signed(),
            };
            Self {
                halves: Some(halves),
                text: None,
            }
        } else {
            Self {
                halves: None,
                text: Some(id.to_string()),
            }
        }
    }

    pub fn read(self) -> Result<Uuid, Status> {
        if let Some(Halves { most, least }) = self.halves {
            return Ok(Uuid::from_u64_pair(
                most.cast_unsigned(),
                least.cast_unsigned(),
            ));
        }
        let text = self.text.unwrap_or_default();
        text.parse()
            .map_err(|_| Status::invalid_argument("not an event id"))
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct AppendReq {
    #[prost(message, optional, tag = "1")]
    pub options: Option<AppendOptions>,
    #[prost(message, optional, tag = "2")]
    pub proposed: Option<ProposedMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub struct AppendOptions {
    #[prost(message, optional, tag = "1")]
    pub stream: Option<StreamIdentifier>,
    #[prost(oneof = "Expected", tags = "2, 3, 4, 5")]
    pub expected: Option<Expected>,
}

#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum Expected {
    #[prost(uint64, tag = "2")]
    Revision(u64),
    #[prost(message, tag = "3")]
    NoStream(()),
    #[prost(message, tag = "4")]
    Any(()),
    #[prost(message, tag = "5")]
    StreamExists(()),
}

#[derive(Clone, PartialEq, Message)]
pub struct ProposedMessage {
    #[prost(message, optional, tag = "1")]
    pub id: Option<Id>,
    #[prost(map = "string, string", tag = "2")]
    pub metadata: HashMap<String, String>,
    #[prost(bytes = "vec", tag = "3")]
    pub custom_metadata: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub data: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct AppendResp {
    #[prost(message, optional, tag = "1")]
    success: Option<Success>,
    #[prost(message, optional, tag = "2")]
    wrong: Option<WrongExpectedVersion>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Success {
    #[prost(uint64, optional, tag = "1")]
    current: Option<u64>,
    #[prost(message, optional, tag = "2")]
    no_stream: Option<()>,
    #[prost(message, optional, tag = "3")]
    position: Option<Position>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Position {
    #[prost(uint64, tag = "1")]
    commit: u64,
    #[prost(uint64, tag = "2")]
    prepare: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct WrongExpectedVersion {
    #[prost(uint64, optional, tag = "6")]
    current: Option<u64>,
    #[prost(message, optional, tag = "7")]
    current_no_stream: Option<()>,
    #[prost(uint64, optional, tag = "8")]
    expected: Option<u64>,
    #[prost(message, optional, tag = "9")]
    expected_any: Option<()>,
    #[prost(message, optional, tag = "10")]
    expected_stream_exists: Option<()>,
    #[prost(message, optional, tag = "11")]
    expected_no_stream: Option<()>,
}

/// The other half of an alternative between a revision and none.
fn none(revision: Option<u64>) -> Option<()> {
    revision.is_none().then_some(())
}

impl AppendResp {
    pub fn success(current: Option<u64>, position: u64) -> Self {
        let position = Some(Position {
            commit: position,
            prepare: position,
        });
        let success = Success {
            current,
            no_stream: none(current),
            position,
        };
        Self {
            success: Some(success),
            wrong: None,
        }
    }

    pub fn wrong(expected: Expected, current: Option<u64>) -> Self {
        let current_no_stream = none(current);
        let mut wrong = WrongExpectedVersion {
            current,
            current_no_stream,
            ..Default::default()
        };
        match expected {
            Expected::Revision(revision) => wrong.expected = Some(revision),
            Expected::NoStream(()) => wrong.expected_no_stream = Some(()),
            Expected::Any(()) => wrong.expected_any = Some(()),
            Expected::StreamExists(()) => wrong.expected_stream_exists = Some(()),
        }
        Self {
            success: None,
            wrong: Some(wrong),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct ReadReq {
    #[prost(message, optional, tag = "1")]
    pub options: Option<ReadOptions>,
}

/// Without a stream it is a read of `$all`, without a count it is a subscription.
#[derive(Clone, PartialEq, Message)]
pub struct ReadOptions {
    #[prost(message, optional, tag = "1")]
    pub stream: Option<StreamOptions>,
    /// 0 forwards, 1 backwards.
    #[prost(int32, tag = "3")]
    pub direction: i32,
    #[prost(uint64, optional, tag = "5")]
    pub count: Option<u64>,
    #[prost(message, optional, tag = "9")]
    pub uuid: Option<UuidOption>,
    #[prost(message, optional, tag = "10")]
    pub control: Option<ControlOption>,
}

/// With neither a revision nor the end, a read begins at the start.
#[derive(Clone, PartialEq, Message)]
pub struct StreamOptions {
    #[prost(message, optional, tag = "1")]
    pub stream: Option<StreamIdentifier>,
    #[prost(uint64, optional, tag = "2")]
    pub revision: Option<u64>,
    #[prost(message, optional, tag = "4")]
    pub end: Option<()>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct UuidOption {
    #[prost(message, optional, tag = "1")]
    pub structured: Option<()>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct ControlOption {
    #[prost(uint32, tag = "1")]
    pub compatibility: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ReadResp {
    #[prost(message, optional, tag = "1")]
    event: Option<ReadEvent>,
    #[prost(message, optional, tag = "4")]
    not_found: Option<StreamNotFound>,
    #[prost(uint64, optional, tag = "6")]
    last: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadEvent {
    #[prost(message, optional, tag = "1")]
    event: Option<RecordedEvent>,
    #[prost(uint64, optional, tag = "3")]
    commit: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RecordedEvent {
    #[prost(message, optional, tag = "1")]
    pub id: Option<Id>,
    #[prost(message, optional, tag = "2")]
    pub stream: Option<StreamIdentifier>,
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    #[prost(uint64, tag = "4")]
    pub prepare: u64,
    #[prost(uint64, tag = "5")]
    pub commit: u64,
    #[prost(map = "string, string", tag = "6")]
    pub metadata: HashMap<String, String>,
    #[prost(bytes = "vec", tag = "7")]
    pub custom_metadata: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    pub data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StreamNotFound {
    #[prost(message, optional, tag = "1")]
    stream: Option<StreamIdentifier>,
}

impl ReadResp {
    pub fn event(event: RecordedEvent) -> Self {
        let commit = Some(event.commit);
        Self {
            event: Some(ReadEvent {
                event: Some(event),
                commit,
            }),
            ..Self::default()
        }
    }

    pub fn not_found(stream: &str) -> Self {
        let stream = Some(StreamIdentifier::new(stream));
        Self {
            not_found: Some(StreamNotFound { stream }),
            ..Self::default()
        }
    }

    pub fn end_at(revision: u64) -> Self {
        Self {
            last: Some(revision),
            ..Self::default()
        }
    }
}

/// A read of one stream.
pub struct Query {
    pub stream: String,
    /// The revision to begin at: 0 for the start and the largest there is for the end.
    pub from: u64,
    pub backwards: bool,
    pub count: u64,
    pub compatibility: u32,
    pub structured: bool,
}

impl Query {
    pub fn understand(request: ReadReq) -> Result<Self, Status> {
        let options = request
            .options
            .ok_or_else(|| Status::invalid_argument("no options"))?;
        let Some(stream) = options.stream else {
            return Err(Status::unimplemented(
                "the stand-in reads single streams only",
            ));
        };
        let Some(count) = options.count else {
            return Err(Status::unimplemented("the stand-in has no subscriptions"));
        };
        let from = if stream.end.is_some() {
            u64::MAX
        } else {
            stream.revision.unwrap_or(0)
        };
        Ok(Self {
            stream: StreamIdentifier::name(stream.stream)?,
            from,
            backwards: options.direction == 1,
            count,
            compatibility: options.control.map_or(0, |control| control.compatibility),
            structured: options.uuid.is_some_and(|uuid| uuid.structured.is_some()),
        })
    }
}
