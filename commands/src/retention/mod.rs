//! Retention: messages are pruned by age, without anybody asking.
//!
//! [`policy`] says what holds for a room, from Rocket.Chat's settings and the room's own override;
//! [`schedule`] when it is enforced; [`Retention`] does it.

pub mod policy;
pub mod schedule;
mod task;

pub use policy::RoomPolicy;
pub use schedule::Schedule;
pub use task::{Retention, RunningRetention, SETTLE, Status};
