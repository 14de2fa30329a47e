//! Key vaults: the stores behind [`hansard_domain::vault`], and the master key that wraps them.

pub mod kafka;
pub mod master_key;
pub mod memory;
pub mod postgres;
pub mod sqlite;
