//! What can happen in a workspace: aggregates with their commands, events and rules, and the ports
//! of the log and the vault. No I/O lives here.

pub mod id;
pub mod log;
pub mod permission;
pub mod setting;
pub mod vault;
