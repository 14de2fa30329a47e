//! One request, on its way from the connection to the router and back.
//!
//! An answer never leaves a client in the dark about its connection: what a handler did not read of the
//! body is taken in first, or, where that is too much, the answer says that the connection ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::IntoResponse;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, EXPECT, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tower::Service;

use super::body::{Memory, RequestBody};
use super::connection::{Connection, Ending, Phase};
use super::headers;
use super::limits::Limits;
use crate::rest::failure::Failure;

/// What is answered even where there is no room for anything else.
const PROBES: [&str; 2] = ["/health", "/ready"];

/// What all requests of a server have in common.
pub struct Requests {
    pub router: Router,
    pub limits: Limits,
    pub memory: Arc<Memory>,
    /// Whether clients come over TLS.
    pub secure: bool,
}

impl Requests {
    pub async fn answer(
        &self,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> Response<AnswerBody> {
        connection.enter(Phase::Busy);
        let expects_continue = request.headers().contains_key(EXPECT);
        let path = request.uri().path();
        let shut_out = connection.reserved && !PROBES.contains(&path);
        let (mut parts, incoming) = request.into_parts();
        parts.extensions.insert(ConnectInfo(connection.peer));
        parts.extensions.insert(Ending(connection.clone()));
        let (body, rest) = if incoming.is_end_stream() {
            (Body::empty(), None)
        } else {
            let (body, rest) = RequestBody::new(incoming, &self.limits, &self.memory, &connection);
            (Body::new(body), Some(rest))
        };
        let request = Request::from_parts(parts, body);
        let mut response = if shut_out {
            drop(request);
            Failure::crowded().into_response()
        } else {
            match self.router.clone().call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        };
        let settled = match &rest {
            None => true,
            Some(rest) => rest.settle(expects_continue).await,
        };
        if !settled {
            connection.leave_unread();
        }
        if !settled || connection.reserved {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        headers::protect(response.headers_mut(), self.secure);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            connection.enter(Phase::Upgraded);
        }
        response.map(|body| AnswerBody { body, connection })
    }
}

/// The body of an answer, which tells its connection when it has been handed over.
pub struct AnswerBody {
    body: Body,
    connection: Arc<Connection>,
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.connection.answered();
    }
}
