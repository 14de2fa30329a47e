//! A look is answered by what its caller may see when it is answered.
//!
//! It is asked who may see what, then a view is waited for, a turn, many rows: seconds, in which the caller
//! may be logged out, put out of a room, lose a role. Where it lost anything, it is asked once more.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hansard_commands::account::token;
use hansard_commands::caller::Caller as Asking;
use hansard_commands::model::WriteModel;

use super::failure::Failure;
use super::refused::AskedBy;
use crate::app::App;

/// How often a look is begun at most: whoever loses something each time asks again itself.
const TIMES: usize = 3;

/// Marks an answer to what was asked as a look and did something, so that it is not asked again.
#[derive(Debug, Clone, Copy)]
pub struct Done;

/// Has a look answered again whose caller has lost rights since it began.
pub async fn ask_again<N, F>(app: &App, request: Request, next: N) -> Response
where
    N: Fn(Request) -> F,
    F: Future<Output = Response>,
{
    if !request.method().is_safe() {
        return next(request).await;
    }
    let asked_by = request.extensions().get::<AskedBy>().cloned();
    // What only looks has no body to speak of.
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    for _ in 0..TIMES {
        let before = app.commands.model();
        let body = body.take().unwrap_or_else(Body::empty);
        // Boxed, for it is the largest part of the future of every request.
        let response = Box::pin(next(Request::from_parts(parts.clone(), body))).await;
        if !response.status().is_success() || response.extensions().get::<Done>().is_some() {
            return response;
        }
        let asking = asked_by.as_ref().and_then(AskedBy::asking);
        if asking.is_none_or(|asking| still_may(app, &before, &asking)) {
            return response;
        }
    }
    Failure::rights_changed().into_response()
}

fn still_may(app: &App, before: &WriteModel, asking: &Asking) -> bool {
    let model = app.commands.model();
    !is_logged_out(app, &model, asking) && !model.has_withdrawn(before, asking)
}

/// Whether the session that a request came with has ended.
pub fn is_logged_out(app: &App, model: &WriteModel, asking: &Asking) -> bool {
    let now = app.commands.clock().now();
    let ended = |token| token::holder(model, token, now).is_none();
    asking.token.as_ref().is_some_and(ended)
}
