//! The keys at hand: minted ahead for what is about to be sealed, cached for what is being opened.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::vault::{DataKey, KeyId, KeyVault, VaultError};

/// How many keys are minted at a time. What a crash leaves unused of them is never used: some
/// 100 bytes each in the vault.
const BLOCK: usize = 2048;

/// The cache holds at most twice so many keys of 40 bytes.
const CACHED: usize = 16_384;

/// Keys of the vault in memory. All methods without `async` answer at once.
pub struct Keyring {
    vault: Arc<dyn KeyVault>,
    fresh: Mutex<VecDeque<(KeyId, DataKey)>>,
    cache: Mutex<Cache>,
}

/// The keys used last, and those used before them; the latter are dropped when the former are full.
#[derive(Default)]
struct Cache {
    recent: HashMap<KeyId, DataKey>,
    older: HashMap<KeyId, DataKey>,
}

impl Cache {
    fn insert(&mut self, id: KeyId, key: DataKey) {
        if self.recent.len() >= CACHED {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(id, key);
    }

    fn get(&mut self, id: KeyId) -> Option<DataKey> {
        if let Some(key) = self.recent.get(&id) {
            return Some(key.clone());
        }
        let key = self.older.remove(&id)?;
        self.insert(id, key.clone());
        Some(key)
    }

    fn forget(&mut self, id: KeyId) {
        self.recent.remove(&id);
        self.older.remove(&id);
    }
}

impl Keyring {
    pub fn new(vault: Arc<dyn KeyVault>) -> Self {
        Self {
            vault,
            fresh: Mutex::default(),
            cache: Mutex::default(),
        }
    }

    /// A key that nothing has been sealed under; `None` when those minted ahead are used up, until
    /// [`Self::reserve`] has been called.
    pub fn fresh(&self) -> Option<KeyId> {
        let (id, key) = self.fresh.lock().pop_front()?;
        self.cache.lock().insert(id, key);
        Some(id)
    }

    /// Takes keys back that nothing durable has been sealed under.
    pub fn give_back(&self, ids: impl IntoIterator<Item = KeyId>) {
        let mut cache = self.cache.lock();
        let keys = ids.into_iter().filter_map(|id| Some((id, cache.get(id)?)));
        let keys: Vec<_> = keys.collect();
        for (id, _) in &keys {
            cache.forget(*id);
        }
        drop(cache);
        let mut fresh = self.fresh.lock();
        for key in keys.into_iter().rev() {
            fresh.push_front(key);
        }
    }

    /// How many keys are minted ahead.
    pub fn reserved(&self) -> usize {
        self.fresh.lock().len()
    }

    /// Mints ahead until at least `count` keys are there.
    pub async fn reserve(&self, count: usize) -> Result<(), VaultError> {
        while self.reserved() < count {
            let block = self.vault.mint(BLOCK).await?;
            self.fresh.lock().extend(block);
        }
        Ok(())
    }

    /// A key that is at hand.
    pub fn cached(&self, id: KeyId) -> Option<DataKey> {
        self.cache.lock().get(id)
    }

    /// The keys of these numbers; those that are missing have been shredded.
    pub async fn load(&self, ids: &[KeyId]) -> Result<HashMap<KeyId, DataKey>, VaultError> {
        let mut found = HashMap::with_capacity(ids.len());
        let mut missing = Vec::new();
        {
            let mut cache = self.cache.lock();
            for &id in ids {
                match cache.get(id) {
                    Some(key) => drop(found.insert(id, key)),
                    None => missing.push(id),
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        missing.sort_unstable();
        missing.dedup();
        let loaded = self.vault.keys(&missing).await?;
        {
            let mut cache = self.cache.lock();
            for (id, key) in &loaded {
                cache.insert(*id, key.clone());
            }
        }
        found.extend(loaded);
        Ok(found)
    }

    /// Deletes keys for good, here and in the vault.
    pub async fn shred(&self, ids: &[KeyId]) -> Result<(), VaultError> {
        self.vault.shred(ids).await?;
        let mut cache = self.cache.lock();
        for id in ids {
            cache.forget(*id);
        }
        Ok(())
    }

    /// Whether keys are gone from the vault, by whoever's doing; here they are forgotten at once.
    pub async fn gone(&self, ids: &[KeyId]) -> Result<bool, VaultError> {
        {
            let mut cache = self.cache.lock();
            for id in ids {
                cache.forget(*id);
            }
        }
        Ok(self.vault.keys(ids).await?.is_empty())
    }

    /// A key of the workspace that is never shredded; see [`KeyVault::secret`].
    pub async fn secret(&self, name: &str) -> Result<DataKey, VaultError> {
        self.vault.secret(name).await
    }
}
