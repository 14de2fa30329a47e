//! What an operation answers.

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::contract::{Described, Schemas};
use crate::rest::failure::Failure;

/// What operations of Rocket.Chat's API give back; [`answer`] makes it.
pub type Answer<T> = Result<Success<T>, Failure>;

/// A JSON object, with `"success": true` in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Success<T> {
    #[serde(flatten)]
    answer: T,
    #[schema(example = true)]
    success: bool,
}

/// An answer without content of its own.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Nothing {}

/// Answers `answer`, which serialises to an object.
pub fn answer<T>(answer: T) -> Answer<T> {
    Ok(Success {
        answer,
        success: true,
    })
}

/// Answers `{"success": true}`.
pub fn done() -> Answer<Nothing> {
    answer(Nothing {})
}

impl<T: Serialize + ToSchema + Send + 'static> Answers for Success<T> {
    fn reply(self) -> Result<Reply, Failure> {
        written(&self).map(Reply::json)
    }

    fn describe(schemas: &mut Schemas) -> Described {
        Described::successful(schemas.reference::<T>())
    }
}

/// The media type of server-sent events.
pub const EVENT_STREAM: &str = "text/event-stream";

/// A stream ends before its end.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut short")]
pub struct CutShort;

/// What is answered.
pub enum Content {
    Json(Bytes),
    /// Of a media type, piece by piece.
    Stream(&'static str, BoxStream<'static, Result<Bytes, CutShort>>),
}

/// An answer as doors pass it on.
pub struct Reply {
    pub content: Content,
    /// What was asked as a look did something, so that it is not to be asked again.
    pub is_done: bool,
    /// It was begun and goes on: 202 over HTTP.
    pub goes_on: bool,
}

impl Reply {
    pub fn json(json: impl Into<Bytes>) -> Self {
        Self::of(Content::Json(json.into()))
    }

    /// What is sent as it is made, of a media type. An error ends it so that the client sees that something is
    /// missing.
    pub fn stream(
        media_type: &'static str,
        stream: impl Stream<Item = Result<Bytes, CutShort>> + Send + 'static,
    ) -> Self {
        Self::of(Content::Stream(media_type, stream.boxed()))
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            is_done: false,
            goes_on: false,
        }
    }
}

/// What can be an answer.
pub trait Answers: Send + 'static {
    /// Writes it.
    fn reply(self) -> Result<Reply, Failure>;

    /// Its schema, for the contract.
    fn describe(schemas: &mut Schemas) -> Described;
}

/// A page `A`, or what is sent as it is made.
pub enum OrStream<A> {
    Whole(A),
    Stream(Reply),
}

impl<A: Answers> Answers for OrStream<A> {
    fn reply(self) -> Result<Reply, Failure> {
        match self {
            Self::Whole(answer) => answer.reply(),
            Self::Stream(reply) => Ok(reply),
        }
    }

    fn describe(schemas: &mut Schemas) -> Described {
        A::describe(schemas)
    }
}

/// An answer that is written as its type says, without `success`.
#[derive(Debug)]
pub struct Plain<T>(pub T);

impl<T: Serialize + ToSchema + Send + 'static> Answers for Plain<T> {
    fn reply(self) -> Result<Reply, Failure> {
        written(&self.0).map(Reply::json)
    }

    fn describe(schemas: &mut Schemas) -> Described {
        Described::of(schemas.reference::<T>())
    }
}

/// An answer to what was begun and goes on.
#[derive(Debug)]
pub struct Begun<A>(pub A);

impl<A: Answers> Answers for Begun<A> {
    fn reply(self) -> Result<Reply, Failure> {
        let reply = self.0.reply()?;
        Ok(Reply {
            goes_on: true,
            ..reply
        })
    }

    fn describe(schemas: &mut Schemas) -> Described {
        let answer = A::describe(schemas);
        Described {
            status: "202",
            ..answer
        }
    }
}

/// An answer to a look that did something: it is not asked again.
#[derive(Debug)]
pub struct OnceOnly<A>(pub A);

impl<A: Answers> Answers for OnceOnly<A> {
    fn reply(self) -> Result<Reply, Failure> {
        let reply = self.0.reply()?;
        Ok(Reply {
            is_done: true,
            ..reply
        })
    }

    fn describe(schemas: &mut Schemas) -> Described {
        A::describe(schemas)
    }
}

/// The JSON of a value.
pub fn written(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer can't be written");
        Failure::internal()
    })
}
