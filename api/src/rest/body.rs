//! What a request says: its body and its query string, as typed values.

use std::error::Error;

use axum::body::{Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::BytesMut;
use hansard_domain::free::{self, FreeList, FreeObject, Unreadable};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::lenient;
use crate::app::App;
use crate::http_in::body::BodyError;
use crate::operations::request::Payload;
pub use crate::operations::request::{Body, Params};

/// What a body says: JSON, whatever its content type says, or a form. An empty body is an empty object.
pub async fn value(request: Request, app: &App) -> Result<Value, Failure> {
    let form = is_form(request.headers());
    let bytes = bytes(request, app).await?;
    // curl calls everything a form; what begins like an object is one.
    if form && !bytes.trim_ascii_start().starts_with(b"{") {
        return Ok(lenient::form(&bytes)?);
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(Value::Object(Default::default()));
    }
    Ok(free::read(&bytes, &free::REQUEST)?)
}

/// A body as it came.
pub async fn payload(request: Request, app: &App) -> Result<Payload, Failure> {
    let is_form = is_form(request.headers());
    let bytes = bytes(request, app).await?;
    Ok(Payload {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        is_form,
    })
}

/// A value whose shape the client chose, for those who take only what is within the bounds.
pub fn free_object(field: &'static str, given: Map<String, Value>) -> Result<FreeObject, Failure> {
    FreeObject::parse(given).map_err(|excess| excess.of(field).into())
}

/// The same for a list.
pub fn free_list(field: &'static str, given: Vec<Value>) -> Result<FreeList, Failure> {
    FreeList::parse(given).map_err(|excess| excess.of(field).into())
}

/// The bytes of a body that is not larger than the server takes.
pub async fn bytes(request: Request, app: &App) -> Result<Bytes, Failure> {
    read(request.into_body(), app.config.body_limit).await
}

/// The bytes of a body that is not larger than `limit`. One that says it is larger is not read at all.
pub async fn read(body: axum::body::Body, limit: usize) -> Result<Bytes, Failure> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Failure::too_large(limit));
    }
    let mut body = Limited::new(body, limit);
    // Into one buffer, however small the pieces are that it comes in: each of them takes more than its
    // bytes while it is kept.
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                if let Some(bytes) = frame.data_ref() {
                    read.extend_from_slice(bytes);
                }
            }
            Err(error) => return Err(unread(&*error, limit)),
        }
    }
    Ok(read.freeze())
}

/// Why a body could not be read.
fn unread(error: &(dyn Error + 'static), limit: usize) -> Failure {
    if error.is::<LengthLimitError>() {
        return Failure::too_large(limit);
    }
    match BodyError::behind(error) {
        Some(BodyError::TooSlow) => Failure::too_slow(),
        Some(BodyError::NoRoom) => Failure::busy(),
        // The client went away or sent a broken encoding.
        Some(BodyError::Connection(_)) | None => Failure::plain("The body could not be read"),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}

impl From<lenient::Invalid> for Failure {
    fn from(invalid: lenient::Invalid) -> Self {
        match invalid {
            lenient::Invalid::Form(reason) => Self::invalid_params(&reason),
            lenient::Invalid::OutOfBounds(excess) => excess.into(),
        }
    }
}

impl From<Unreadable> for Failure {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::NotJson(_) => Self::plain("The body is not JSON"),
            Unreadable::OutOfBounds(excess) => excess.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A piece of a body, counted while it is kept.
    struct Piece(Arc<AtomicUsize>);

    impl AsRef<[u8]> for Piece {
        fn as_ref(&self) -> &[u8] {
            b"ab"
        }
    }

    impl Drop for Piece {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_body_is_kept_once_however_small_its_pieces_are() {
        const PIECES: usize = 1_000;
        let kept = Arc::new(AtomicUsize::new(0));
        let pieces = (0..PIECES).map(move |_| {
            let before = kept.fetch_add(1, Ordering::Relaxed);
            assert!(before <= 1, "{before} pieces are kept");
            Ok::<_, Infallible>(Bytes::from_owner(Piece(kept.clone())))
        });
        let body = axum::body::Body::from_stream(futures::stream::iter(pieces));
        let read = read(body, 2 * PIECES).await.unwrap();
        assert_eq!(read, "ab".repeat(PIECES));
    }
}
