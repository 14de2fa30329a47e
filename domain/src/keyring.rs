//! The keys at hand: minted ahead for what is about to be sealed, cached for what is being opened.
//!
//! An erasure has two steps. When it is on the record its keys are doomed: nobody gets them here any
//! more. Then they are shredded, which takes as long as the vault takes. Each step is counted, so that
//! whoever opened something before can tell that some of it may be erased by now.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::vault::{DataKey, KeyId, KeyVault, VaultError};

/// How many keys are minted at a time. What a crash leaves unused of them is never used: some
/// 100 bytes each in the vault.
const BLOCK: usize = 2048;

/// The cache holds at most twice so many keys of 40 bytes.
const CACHED: usize = 16_384;

/// No vault ever gives out so high a number: in an event it is damage, and must not keep numbers from
/// rising.
const MOST: u64 = 1 << 53;

/// Keys of the vault in memory. All methods without `async` answer at once.
pub struct Keyring {
    vault: Arc<dyn KeyVault>,
    fresh: Mutex<VecDeque<(KeyId, DataKey)>>,
    cache: Mutex<Cache>,
    /// How often keys were doomed or shredded; changes while the cache is locked.
    erasures: watch::Sender<u64>,
    /// The highest number that the log is known to name.
    highest: AtomicU64,
}

/// The keys used last, and those used before them; the latter are dropped when the former are full.
#[derive(Default)]
struct Cache {
    recent: HashMap<KeyId, DataKey>,
    older: HashMap<KeyId, DataKey>,
    /// Keys that the vault may still have, and that nobody gets.
    doomed: HashSet<KeyId>,
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
            erasures: watch::Sender::default(),
            highest: AtomicU64::new(0),
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
            let block = self.vault.mint(BLOCK, self.highest()).await?;
            self.fresh.lock().extend(block);
        }
        Ok(())
    }

    /// Takes note of numbers that the log names. A vault that was put back to an earlier state has
    /// forgotten that it gave them out, and must not do so again: what is sealed under them would
    /// meet a key that is another one.
    pub fn named(&self, ids: &[KeyId]) {
        let numbers = ids.iter().map(|id| id.0);
        if let Some(highest) = numbers.filter(|number| *number <= MOST).max() {
            self.highest.fetch_max(highest, Ordering::Relaxed);
        }
    }

    /// The highest number that the log is known to name.
    pub fn highest(&self) -> KeyId {
        KeyId(self.highest.load(Ordering::Relaxed))
    }

    /// The keys of these numbers; those that are missing have been shredded, or are about to be.
    pub async fn load(&self, ids: &[KeyId]) -> Result<HashMap<KeyId, DataKey>, VaultError> {
        let mut found = HashMap::with_capacity(ids.len());
        let mut missing = Vec::new();
        let before;
        {
            let mut cache = self.cache.lock();
            before = self.erasures();
            for &id in ids {
                if cache.doomed.contains(&id) {
                    continue;
                }
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
        found.extend(self.vault.keys(&missing).await?);
        {
            let mut cache = self.cache.lock();
            if self.erasures() == before {
                for id in missing {
                    if let Some(key) = found.get(&id) {
                        cache.insert(id, key.clone());
                    }
                }
            } else {
                // Some may have been erased since the vault was asked: none is kept.
                found.retain(|id, _| !cache.doomed.contains(id));
            }
        }
        Ok(found)
    }

    /// How often something was erased. What was opened when it was another number may have been
    /// erased since.
    pub fn erasures(&self) -> u64 {
        *self.erasures.borrow()
    }

    /// Has nobody get these keys any more: what they seal is erased, and [`Self::shred`] follows.
    pub fn doom(&self, ids: impl IntoIterator<Item = KeyId>) {
        let mut cache = self.cache.lock();
        for id in ids {
            cache.forget(id);
            cache.doomed.insert(id);
        }
        self.erasures.send_modify(|erasures| *erasures += 1);
    }

    /// Deletes keys for good, here and in the vault.
    pub async fn shred(&self, ids: &[KeyId]) -> Result<(), VaultError> {
        self.doom(ids.iter().copied());
        self.vault.shred(ids).await?;
        self.shredded(ids);
        Ok(())
    }

    /// Whether keys are gone from the vault, by whoever's doing; here nobody gets them any more.
    pub async fn gone(&self, ids: &[KeyId]) -> Result<bool, VaultError> {
        self.doom(ids.iter().copied());
        let gone = self.vault.keys(ids).await?.is_empty();
        if gone {
            self.shredded(ids);
        }
        Ok(gone)
    }

    /// The vault does not have these keys any more.
    fn shredded(&self, ids: &[KeyId]) {
        let mut cache = self.cache.lock();
        for id in ids {
            cache.doomed.remove(id);
        }
        self.erasures.send_modify(|erasures| *erasures += 1);
    }

    /// Returns when a key is doomed or gone.
    pub async fn erased(&self, id: KeyId) {
        let mut erasures = self.erasures.subscribe();
        loop {
            erasures.borrow_and_update();
            // A vault that does not answer says nothing about the key.
            if let Ok(found) = self.load(&[id]).await
                && !found.contains_key(&id)
            {
                return;
            }
            // The sender is here.
            let _ = erasures.changed().await;
        }
    }

    /// A key of the workspace that is never shredded; see [`KeyVault::secret`].
    pub async fn secret(&self, name: &str) -> Result<DataKey, VaultError> {
        self.vault.secret(name).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use async_trait::async_trait;
    use tokio::sync::Notify;

    use super::*;

    /// A vault whose answers and deletions take as long as a test wants.
    #[derive(Default)]
    struct Slow {
        held: Mutex<HashMap<KeyId, DataKey>>,
        /// Asked for keys, it has looked and does not answer yet.
        looked: Notify,
        answer: Notify,
        holds_back: AtomicBool,
        fails: AtomicBool,
    }

    #[async_trait]
    impl KeyVault for Slow {
        async fn mint(&self, count: usize, _: KeyId) -> Result<Vec<(KeyId, DataKey)>, VaultError> {
            let minted: Vec<_> = (1..=count as u64)
                .map(|id| (KeyId(id), DataKey([id as u8; 32])))
                .collect();
            self.held.lock().extend(minted.clone());
            Ok(minted)
        }

        async fn keys(&self, ids: &[KeyId]) -> Result<HashMap<KeyId, DataKey>, VaultError> {
            let held = self.held.lock().clone();
            let found = held.into_iter().filter(|(id, _)| ids.contains(id));
            let found = found.collect();
            if self.holds_back.load(Ordering::SeqCst) {
                self.looked.notify_one();
                self.answer.notified().await;
            }
            Ok(found)
        }

        async fn shred(&self, ids: &[KeyId]) -> Result<(), VaultError> {
            if self.fails.load(Ordering::SeqCst) {
                return Err(VaultError::Unavailable("it is away".to_owned()));
            }
            self.held.lock().retain(|id, _| !ids.contains(id));
            Ok(())
        }

        async fn secret(&self, _: &str) -> Result<DataKey, VaultError> {
            Ok(DataKey([0; 32]))
        }
    }

    async fn keyring() -> (Arc<Slow>, Arc<Keyring>) {
        let vault = Arc::new(Slow::default());
        vault.mint(3, KeyId(0)).await.unwrap();
        (vault.clone(), Arc::new(Keyring::new(vault)))
    }

    async fn has(keys: &Keyring, id: u64) -> bool {
        let found = keys.load(&[KeyId(id)]).await.unwrap();
        found.contains_key(&KeyId(id))
    }

    #[tokio::test]
    async fn a_key_that_is_shredded_while_it_is_looked_for_is_not_kept() {
        let (vault, keys) = keyring().await;
        vault.holds_back.store(true, Ordering::SeqCst);
        let looking = tokio::spawn({
            let keys = keys.clone();
            async move { keys.load(&[KeyId(1), KeyId(2)]).await.unwrap() }
        });
        vault.looked.notified().await;
        keys.shred(&[KeyId(1)]).await.unwrap();
        vault.holds_back.store(false, Ordering::SeqCst);
        vault.answer.notify_one();
        looking.await.unwrap();
        assert!(!has(&keys, 1).await);
        assert!(has(&keys, 2).await);
    }

    #[tokio::test]
    async fn nobody_gets_a_key_whose_erasure_is_on_the_record() {
        let (vault, keys) = keyring().await;
        assert!(has(&keys, 1).await && has(&keys, 2).await);
        let before = keys.erasures();
        keys.doom([KeyId(1)]);
        assert!(!has(&keys, 1).await && has(&keys, 2).await);
        assert_ne!(keys.erasures(), before);
        vault.fails.store(true, Ordering::SeqCst);
        assert!(keys.shred(&[KeyId(1)]).await.is_err());
        assert!(!has(&keys, 1).await, "it is to be shredded still");
        vault.fails.store(false, Ordering::SeqCst);
        keys.shred(&[KeyId(1)]).await.unwrap();
        assert!(!has(&keys, 1).await);
    }

    #[tokio::test]
    async fn who_waits_for_an_erasure_hears_of_it() {
        let (_, keys) = keyring().await;
        let waiting = tokio::spawn({
            let keys = keys.clone();
            async move { keys.erased(KeyId(1)).await }
        });
        keys.doom([KeyId(2)]);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        keys.doom([KeyId(1)]);
        waiting.await.unwrap();
        keys.erased(KeyId(1)).await;
    }
}
