//! The read side: views, which are tables made from the log, and the projector that feeds them.
//!
//! [`view`] says what a view is, [`rows`] writes many rows at once, and a [`store`] is what its
//! queries read from. The [`projector`] opens the views, feeds and [rebuilds](rebuild) them; [`replay`]
//! builds them as they were. Views are disposable: whatever they hold can be made again from the log.

mod answers;
mod batches;
mod catalog;
mod conditions;
mod engine;
mod feed;
mod folding;
mod fragments;
mod generation;
mod gone;
mod lane;
mod nodes;
mod rebuilder;

pub mod accounts;
pub mod audit;
pub mod configuration;
pub mod deliveries;
pub mod gaps;
pub mod lag;
pub mod messages;
#[cfg(test)]
mod moment_tests;
pub mod projector;
pub mod rebuild;
pub mod replay;
pub mod retention;
pub mod rooms;
pub mod rows;
pub mod search;
mod set_aside;
pub mod shortened;
pub mod sql;
pub mod statistics;
pub mod store;
#[cfg(test)]
mod stories;
pub mod subscriptions;
#[cfg(test)]
mod testing;
pub mod view;

pub use answers::Answers;
pub use engine::Location;
pub use projector::{Projector, ViewState};
pub use set_aside::SetAside;
pub use store::{Lacking, Reading, Store};
pub use view::{View, ViewError};
