//! `rooms.*`, and what the resources of channels, groups and direct conversations share.

#[macro_use]
mod endpoints;
pub mod history;
pub mod index;
mod list;
mod request;
mod save;
pub mod section;
pub mod shape;
mod single;

use utoipa_axum::router::OpenApiRouter;

pub use self::history::{HistoryAnswer, HistoryParams, history, messages};
pub use self::list::{RoomList, administered, rooms};
pub use self::request::MembersParams;
use crate::app::App;

pub fn routes() -> OpenApiRouter<App> {
    single::routes().merge(save::routes())
}
