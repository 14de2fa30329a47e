//! What a handler answers when it is done.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::failure::Failure;

/// What handlers of Rocket.Chat's API give back; [`answer`] makes it.
pub type Answer<T> = Result<Success<T>, Failure>;

/// 200 with a JSON object, and `"success": true` in it.
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

impl<T: Serialize> IntoResponse for Success<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}
