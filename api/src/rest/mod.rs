//! The REST API: one folder a resource, and what they share.
//!
//! A resource's `routes()` declares its endpoints; [`routes`] merges them.

pub mod answer;
pub mod body;
pub mod failure;
pub mod lenient;
pub mod paging;

mod info;

use axum::Router;
use utoipa_axum::router::OpenApiRouter;

use self::failure::Failure;
use crate::app::App;
use crate::openapi;

/// Every endpoint, with its description.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::frame()).merge(info::routes())
}

/// Everything that is served over HTTP.
pub fn service(app: App) -> Router {
    let (endpoints, document) = routes().split_for_parts();
    endpoints
        .merge(openapi::page(document))
        .fallback(async || Failure::no_endpoint())
        .method_not_allowed_fallback(async || Failure::wrong_method())
        .layer(axum::extract::DefaultBodyLimit::max(app.config.body_limit))
        .with_state(app)
}
