//! What every adapter of the log and of the vault must do, as suites that its tests run.

pub mod log;
pub mod vault;
