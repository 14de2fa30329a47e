//! A key vault in memory, for tests: nothing outlives the process.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::vault::{DataKey, KeyId, KeyVault, VaultError};
use parking_lot::Mutex;

use super::master_key::random_key;

/// See the module. A clone is the same vault, as if it had been opened again.
#[derive(Debug, Clone, Default)]
pub struct MemoryVault(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    last: u64,
    keys: HashMap<KeyId, DataKey>,
    secrets: BTreeMap<String, DataKey>,
}

impl MemoryVault {
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl KeyVault for MemoryVault {
    async fn mint(&self, count: usize, above: KeyId) -> Result<Vec<(KeyId, DataKey)>, VaultError> {
        let mut held = self.0.lock();
        let first = held.last.max(above.0) + 1;
        held.last = first - 1 + count as u64;
        let minted: Vec<_> = (first..=held.last)
            .map(|id| (KeyId(id), random_key()))
            .collect();
        held.keys.extend(minted.iter().cloned());
        Ok(minted)
    }

    async fn keys(&self, ids: &[KeyId]) -> Result<HashMap<KeyId, DataKey>, VaultError> {
        let held = self.0.lock();
        Ok(ids
            .iter()
            .filter_map(|id| Some((*id, held.keys.get(id)?.clone())))
            .collect())
    }

    async fn shred(&self, ids: &[KeyId]) -> Result<(), VaultError> {
        let mut held = self.0.lock();
        for id in ids {
            held.keys.remove(id);
        }
        Ok(())
    }

    async fn secret(&self, name: &str) -> Result<DataKey, VaultError> {
        let mut held = self.0.lock();
        Ok(held
            .secrets
            .entry(name.to_owned())
            .or_insert_with(random_key)
            .clone())
    }
}
