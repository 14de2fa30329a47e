//! What an operation answers over HTTP.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

pub use crate::operations::reply::{Answer, EVENT_STREAM, Nothing, Success, answer, done};
use crate::operations::reply::{Answers, Content, Reply};

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let (media_type, body) = match self.content {
            Content::Json(json) => ("application/json", Body::from(json)),
            Content::Stream(media_type, stream) => (media_type, Body::from_stream(stream)),
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        if media_type == EVENT_STREAM {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if self.goes_on {
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        response
    }
}

impl<T> IntoResponse for Success<T>
where
    Self: Answers,
{
    fn into_response(self) -> Response {
        self.reply().into_response()
    }
}
