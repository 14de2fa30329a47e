//! What a request says: its body and its query string, as typed values.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::Failure;
use super::lenient;
use crate::app::App;

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
    Bytes::from_request(request, app)
        .await
        .map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(error)
                if error.status() == StatusCode::PAYLOAD_TOO_LARGE =>
            {
                Failure::too_large(app.config.body_limit)
            }
            // The client went away or sent a broken encoding; it is not there to read the answer.
            _ => Failure::plain("The body could not be read"),
        })
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
