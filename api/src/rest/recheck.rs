//! Asks once more, before a look is answered, whether it is still allowed.
//!
//! A look is asked for, waits for a view, for its turn and for its rows, and is answered seconds later. Who
//! was logged out or put out of a room meanwhile does not get what came after that.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hansard_commands::account::token;
use hansard_commands::caller::Caller as Asking;

use super::failure::Failure;
use super::refused::AskedBy;
use crate::app::App;

/// Refuses what was allowed when it was asked, and is not any more.
pub async fn ask_again<N, F>(app: &App, request: Request, next: N) -> Response
where
    N: FnOnce(Request) -> F,
    F: Future<Output = Response>,
{
    let asked_by = request.extensions().get::<AskedBy>().cloned();
    let looks = request.method().is_safe();
    let response = next(request).await;
    if !looks || !response.status().is_success() {
        return response;
    }
    let asking = asked_by.as_ref().and_then(AskedBy::asking);
    match asking.and_then(|asking| failure(app, asking)) {
        Some(failure) => failure.into_response(),
        None => response,
    }
}

fn failure(app: &App, asking: &Asking) -> Option<Failure> {
    let model = app.commands.model();
    if let Some(token) = &asking.token {
        let holder = token::holder(&model, token, app.commands.clock().now());
        if holder.is_none() {
            return Some(Failure::not_logged_in());
        }
    }
    let refusal = || Failure::forbidden_because("Not allowed");
    (!model.still_sees(asking)).then(refusal)
}
