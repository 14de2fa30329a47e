//! What a request says: its body and its query string, as typed values.

use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::Failure;
use super::lenient;
use crate::app::App;
use crate::http_in::body::BodyError;

/// The body: JSON, whatever its content type says, or a form. An empty body is an empty object.
#[derive(Debug)]
pub struct Body<T>(pub T);

/// The query string.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let form = is_form(request.headers());
        let bytes = bytes(request, app).await?;
        // curl calls everything a form; what begins like an object is one.
        if form && !bytes.trim_ascii_start().starts_with(b"{") {
            return lenient::read_pairs(&bytes).map(Self).map_err(invalid);
        }
        if let Ok(value) = serde_json::from_slice(&bytes) {
            return Ok(Self(value));
        }
        let value: Value = if bytes.trim_ascii().is_empty() {
            Value::Object(Default::default())
        } else {
            serde_json::from_slice(&bytes).map_err(|_| malformed())?
        };
        lenient::read(value).map(Self).map_err(invalid)
    }
}

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        let query = parts.uri.query().unwrap_or_default();
        lenient::read_pairs(query.as_bytes())
            .map(Self)
            .map_err(invalid)
    }
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
    let collected = Limited::new(body, limit).collect().await;
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::too_large(limit)),
        Err(error) => Err(match BodyError::behind(error.as_ref()) {
            Some(BodyError::TooSlow) => Failure::too_slow(),
            Some(BodyError::NoRoom) => Failure::busy(),
            // The client went away or sent a broken encoding.
            Some(BodyError::Connection(_)) | None => Failure::plain("The body could not be read"),
        }),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}

fn malformed() -> Failure {
    Failure::plain("The body is no JSON")
}

fn invalid(error: lenient::Invalid) -> Failure {
    Failure::invalid_params(&error.0)
}
