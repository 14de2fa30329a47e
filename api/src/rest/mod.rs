//! The REST API: one folder a resource, and what they share.
//!
//! A resource's `routes()` declares its endpoints; [`routes`] merges them.

#![allow(unused_qualifications, reason = "utoipa's macro writes paths out")]
#![allow(clippy::struct_field_names, reason = "Rocket.Chat names the fields")]

pub mod answer;
mod aside;
pub mod body;
pub mod caller;
mod cors;
pub mod decided;
pub mod exchange;
pub mod failure;
mod forward;
pub mod lenient;
pub mod message_shape;
pub mod paging;
pub mod query;
pub mod rate_limit;
mod recheck;
mod refused;
pub mod time;
mod turns;
pub mod way;

#[macro_use]
pub mod rooms;

mod channels;
mod chat;
mod clean_history;
mod deliveries;
mod directory;
mod groups;
mod hooks;
mod im;
mod info;
mod integrations;
mod login;
mod permissions;
mod roles;
mod settings;
mod statistics;
mod subscriptions;
mod users;

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa_axum::router::OpenApiRouter;

use self::failure::Failure;
use crate::app::App;
use crate::{openapi, operation, record, welcome};

/// Every endpoint, with its description.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::frame())
        .merge(chat::routes())
        .merge(info::routes())
        .merge(login::routes())
        .merge(users::routes())
        .merge(roles::routes())
        .merge(permissions::routes())
        .merge(settings::routes())
        .merge(directory::routes())
        .merge(integrations::routes())
        .merge(hooks::routes())
        .merge(deliveries::routes())
        .merge(clean_history::routes())
        .merge(statistics::routes())
        .merge(record::routes())
        .merge(operation::routes())
        .merge(channels::routes())
        .merge(groups::routes())
        .merge(im::routes())
        .merge(rooms::routes())
        .merge(subscriptions::routes())
}

/// Everything that is served over HTTP.
pub fn service(app: App) -> serde_json::Result<Router> {
    let (endpoints, document) = routes().split_for_parts();
    let routes = endpoints
        .merge(openapi::page(&document)?)
        .merge(welcome::page())
        .fallback(async || Failure::no_endpoint())
        .method_not_allowed_fallback(async || Failure::wrong_method())
        .layer(from_fn_with_state(app.clone(), way::pass))
        .with_state(app);
    Ok(routes)
}
