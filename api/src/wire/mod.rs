//! What things look like in answers: the shapes that the OpenAPI document tells of.
//!
//! Views hold most of these finished and write them out as they are, so the types here have no values: they
//! say what the views write. The tests hold every answer against them, and refuse members that they do not
//! name.

#![allow(dead_code, reason = "schemas: the views write the values")]

pub mod account;
pub mod message;
pub mod record;
pub mod room;
pub mod setting;
pub mod subscription;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// An object whose members the client chooses.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnyObject(Map<String, Value>);

/// Somebody, as other things name them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Person {
    _id: String,
    /// `null` or absent where the account has none; in messages `removed-…` for somebody who is erased.
    username: Option<String>,
    name: Option<String>,
}

/// What is gone, and since when.
#[derive(Debug, Serialize, ToSchema)]
pub struct Removed {
    _id: String,
    #[serde(rename = "_deletedAt")]
    deleted_at: String,
}
