//! `rooms.*`, and what the resources of channels, groups and direct conversations share.

pub mod endpoints;
pub mod history;
pub mod index;
mod list;
mod request;
mod save;
pub mod section;
pub mod shape;
mod single;

pub use self::history::{HistoryAnswer, HistoryParams, history, messages};
pub use self::list::{RoomList, administered, rooms};
pub use self::request::MembersParams;
use crate::operations::Operation;

pub const OPERATIONS: &[&[Operation]] = &[single::OPERATIONS, save::OPERATIONS];
