//! What every request goes through on its way to its handler, from the outside in. Each step is a
//! function that is given what comes after it.
//!
//! They are one layer of the router: each layer has every request boxed, and its future with it.

use std::panic::AssertUnwindSafe;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt as _;

use super::{cors, exchange, rate_limit};
use crate::app::App;

/// The layer of everything that is served.
pub async fn pass(State(app): State<App>, request: Request, next: Next) -> Response {
    let handle = |request| next.run(request);
    let counted = |request| rate_limit::limit(&app, request, handle);
    let few = |request| rate_limit::crowd::limit(&app, request, counted);
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
