//! The REST API: one folder a resource, and what they share.
//!
//! A resource's `OPERATIONS` are in the [`TABLE`]; [`door`] serves them.

#![allow(unused_qualifications, reason = "utoipa's macro writes paths out")]
#![allow(clippy::struct_field_names, reason = "Rocket.Chat names the fields")]

pub mod answer;
mod aside;
pub mod body;
pub mod caller;
mod cors;
pub mod decided;
mod door;
pub mod exchange;
pub mod failure;
pub mod lenient;
pub mod message_shape;
pub mod paging;
pub mod query;
pub mod rate_limit;
pub mod time;
mod turns;
pub mod way;

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

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use self::failure::Failure;
use crate::app::App;
use crate::operations::{Method, Operation, contract, examples};
use crate::{handover, monitoring, openapi, record, welcome};

/// All operations.
pub const TABLE: &[&[&[Operation]]] = &[
    chat::OPERATIONS,
    users::OPERATIONS,
    channels::OPERATIONS,
    groups::OPERATIONS,
    im::OPERATIONS,
    rooms::OPERATIONS,
    record::OPERATIONS,
    &[
        hooks::OPERATIONS,
        info::OPERATIONS,
        login::OPERATIONS,
        roles::OPERATIONS,
        permissions::OPERATIONS,
        settings::OPERATIONS,
        directory::OPERATIONS,
        integrations::OPERATIONS,
        deliveries::OPERATIONS,
        clean_history::OPERATIONS,
        statistics::OPERATIONS,
        subscriptions::OPERATIONS,
    ],
];

/// All operations, one after the other.
pub fn operations() -> impl Iterator<Item = &'static Operation> {
    TABLE.iter().copied().flatten().copied().flatten()
}

/// Operations by method and something else.
type Operations = HashMap<Method, HashMap<String, &'static Operation>>;

fn operations_by(key: fn(&Operation) -> String) -> Operations {
    let mut by = Operations::new();
    for operation in operations() {
        let of_method = by.entry(operation.method).or_default();
        of_method.insert(key(operation), operation);
    }
    by
}

/// The operation that a method and the path of a route lead to.
pub fn operation_at(method: &axum::http::Method, route: &str) -> Option<&'static Operation> {
    static BY_ROUTE: LazyLock<Operations> = LazyLock::new(|| operations_by(Operation::route));
    let method = match *method {
        axum::http::Method::GET | axum::http::Method::HEAD => Method::Get,
        axum::http::Method::POST => Method::Post,
        axum::http::Method::PUT => Method::Put,
        _ => return None,
    };
    BY_ROUTE.get(&method)?.get(route).copied()
}

/// The operation of a name.
pub fn operation_called(method: Method, name: &str) -> Option<&'static Operation> {
    static BY_NAME: LazyLock<Operations> = LazyLock::new(|| operations_by(Operation::name));
    BY_NAME.get(&method)?.get(name).copied()
}

/// What is served and is not an operation.
fn others() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::frame()).merge(monitoring::routes())
}

/// The description of everything that is served.
pub fn document() -> serde_json::Result<OpenApi> {
    let (_, mut document) = others().split_for_parts();
    contract::describe(&mut document, operations());
    examples::add(&mut document)?;
    Ok(document)
}

/// Everything that is served over HTTP.
pub fn service(app: App) -> serde_json::Result<Router> {
    statistics::begin();
    let (endpoints, _) = others().split_for_parts();
    let routes = endpoints
        .merge(door::routes(operations()))
        .merge(handover::routes())
        .merge(openapi::page(&document()?)?)
        .merge(welcome::page())
        .fallback(async || Failure::no_endpoint())
        .method_not_allowed_fallback(async || Failure::wrong_method())
        .layer(from_fn_with_state(app.clone(), way::pass))
        .with_state(app);
    Ok(routes)
}
