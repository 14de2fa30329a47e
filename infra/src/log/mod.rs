//! Event logs: the stores that keep the promises of [`hansard_domain::log`].

pub mod sqlite;
