//! The write side: how a request becomes events.
//!
//! A use case hands a decision to the [`bus`]; the [`committer`] takes it on the newest
//! [`model`], one after the other, and records what came of a whole batch of them with one durable
//! append. [`authorization`] is the one place that says who may do what; a [`policy`] reacts to
//! events with further commands. Nothing here knows HTTP, SQL or a file.

pub mod account;
pub mod after;
pub mod authorization;
pub mod bootstrap;
pub mod bus;
mod called;
pub mod caller;
mod committer;
pub mod decision;
pub mod eraser;
pub mod error;
pub mod inspection;
pub mod integration;
mod left;
pub mod message;
pub mod model;
pub mod policy;
pub mod prune;
mod refusals;
pub mod retention;
mod retried;
pub mod role;
pub mod room;
mod room_times;
pub mod setting;
pub mod shredder;
pub mod snapshot;
pub mod state;
pub mod subscription;
mod table;
mod time;
