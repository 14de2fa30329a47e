//! Adapters to the outside: event logs, key vaults, the data directory they stand in, HTTP out.

pub mod data_dir;
pub mod http_out;
pub mod log;
pub mod plain;
pub mod postgres;
mod reach;
pub mod state;
pub mod vault;

mod sqlite;
