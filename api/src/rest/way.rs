//! What every request goes through on its way to its handler, from the outside in. Each step is a
//! function that is given what comes after it.
//!
//! They are one layer of the router: each layer has every request boxed, and its future with it.

use std::panic::AssertUnwindSafe;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt as _;

use super::{cors, exchange, forward, rate_limit, recheck, refused};
use crate::app::App;

/// The layer of everything that is served.
pub async fn pass(State(app): State<App>, request: Request, next: Next) -> Response {
    let handle = |mut request| {
        DefaultBodyLimit::max(app.config.body_limit).apply(&mut request);
        next.clone().run(request)
    };
    let still_allowed = |request| recheck::ask_again(&app, request, handle);
    let recorded = |request| refused::record(&app, request, still_allowed);
    let counted = |request| rate_limit::limit(&app, request, recorded);
    let handed_on = |request| forward::hand_on(&app, request, counted);
    let few = |request| rate_limit::crowd::limit(&app, request, handed_on);
    let shared = |request| cors::share(&app, request, few);
    let unharmed = async |request| {
        let answer = AssertUnwindSafe(shared(request)).catch_unwind().await;
        answer.unwrap_or_else(exchange::panicked)
    };
    exchange::conduct(&app, request, unharmed).await
}

/// The layer of what concerns operators alone.
pub async fn pass_operators(State(app): State<App>, request: Request, next: Next) -> Response {
    exchange::conduct(&app, request, |request| next.run(request)).await
}
