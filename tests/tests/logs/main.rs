//! The adapters of the log and of the vault, each against the database or broker it is for.

mod conformance;
mod eventstore;
mod kafka;
mod postgres;
mod vault_postgres;
