//! The read side: views, which are tables made from the log, and the projector that feeds them.
//!
//! [`view`] says what a view is, [`rows`] writes many rows at once, and a [`store`] is what its
//! queries read from. Views are disposable: whatever they hold can be made again from the log.

pub mod deliveries;
pub mod lag;
pub mod messages;
pub mod rows;
pub mod store;
pub mod view;

pub use store::{Reading, Store};
pub use view::{View, ViewError};
