//! The port of the vault: the data keys that confidential parts of events are sealed under.
//!
//! Keys are the deletable half of the record. They live beside the log, wrapped by a master key;
//! deleting one makes everything sealed under it unreadable, in the log and in every copy of it.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use zeroize::ZeroizeOnDrop;

/// The number of a data key; it stands in the log beside what the key sealed.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct KeyId(pub u64);

/// An AES-256 key. Wiped from memory when dropped; never printed.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct DataKey(pub [u8; 32]);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// Why the vault could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VaultError {
    /// It may work later; nothing was handed out or deleted.
    #[error("the key vault is unavailable: {0}")]
    Unavailable(String),
    /// The keys are wrapped by another master key than the one given.
    #[error("the master key does not open this vault; start with the key it was made with")]
    WrongMasterKey,
}

/// A store of data keys.
#[async_trait]
pub trait KeyVault: Send + Sync {
    /// Makes `count` fresh keys, durable when it returns. Their numbers ascend, were never used, and are
    /// higher than `above`: a vault that was put back to an earlier state has forgotten which ones it
    /// gave out.
    async fn mint(&self, count: usize, above: KeyId) -> Result<Vec<(KeyId, DataKey)>, VaultError>;

    /// The keys of these numbers that are still there; one that is missing has been shredded, or is
    /// damaged, which is logged.
    async fn keys(&self, ids: &[KeyId]) -> Result<HashMap<KeyId, DataKey>, VaultError>;

    /// Deletes keys for good: when it returns, no file of the vault holds them in any form. Numbers
    /// that are already gone are no error.
    async fn shred(&self, ids: &[KeyId]) -> Result<(), VaultError>;

    /// A key of the workspace that is made at its first use and never shredded: `claims` hashes
    /// names, `snapshot` seals the write model's snapshot.
    async fn secret(&self, name: &str) -> Result<DataKey, VaultError>;
}
