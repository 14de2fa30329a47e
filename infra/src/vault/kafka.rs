//! The key vault in a compacted Kafka topic, beside the topic of the log.
//!
//! A record's key is a data key's number and its value the wrapped key; a record without a value, a
//! tombstone, shreds. Every node copies the topic into a vault file of its own and reads from there.
//! Only the node that writes the log mints and shreds, through the same fenced producer.
//!
//! When a shred returns, the key is in no file of this node; on the others it goes as soon as they
//! read the tombstone. The brokers drop it when they compact, which the topic's settings bound to
//! little more than an hour (`segment.ms` and `max.compaction.lag.ms`).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::FutureExt;
use hansard_domain::log::LogError;
use hansard_domain::vault::{DataKey, KeyId, KeyVault, VaultError};
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use super::master_key::{MasterKey, Purpose, random_key};
use super::sqlite::{Change, Place, SqliteVault, unwrappable};
use crate::log::kafka::{Feed, KafkaConfig, KafkaLog, KeyRecord, MARKER, reason};

/// Records that are taken over together.
const BATCH: usize = 4096;

/// A tombstone stays in the topic for a week. A copy that was not kept up for nearly as long may
/// have missed some, and is made anew.
const STALE: Duration = Duration::from_secs(6 * 24 * 3600);

/// How long to wait for what another node must do, or for the copy to get there.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a key may be on its way before the end of the topic is looked for.
const MOMENT: Duration = Duration::from_secs(1);

/// The pause before reading goes on after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a copy without news notes that it is up to date.
const NOTE: Duration = Duration::from_secs(3600);

const LAST: &str = "last";
const PROOF: &str = "proof";

/// See the module.
pub struct KafkaVault {
    log: Arc<KafkaLog>,
    copy: Arc<SqliteVault>,
    copied: watch::Receiver<Copied>,
    /// Numbers are given out one block at a time.
    minting: Mutex<()>,
    /// The topic ends before a number that the log names: it was put back to an earlier state.
    incomplete: AtomicBool,
    stop: watch::Sender<()>,
    copying: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

/// How far the copy is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Copied {
    /// All before this offset is in the copy.
    next: u64,
    at_end: bool,
    wrong_master: bool,
}

impl KafkaVault {
    /// Opens the vault beside a log, with the copy in this file. Returns when the copy has all that
    /// is in the topic.
    pub async fn open(
        log: Arc<KafkaLog>,
        copy: impl AsRef<Path>,
        master: MasterKey,
    ) -> Result<Self, VaultError> {
        let config = log.config().clone();
        let source = format!(
            "{} of the Kafka cluster {}",
            config.vault_topic(),
            log.cluster()
        );
        let copy = Arc::new(SqliteVault::open_copy(copy.as_ref(), &master, &source).await?);
        let mut place = copy.place().await?;
        if place.next > 0 && now() - place.at > STALE.as_millis() as i64 {
            tracing::info!("the copy of the key vault is old and is made anew");
            copy.clear().await?;
            place.next = 0;
        }
        check_end(&config, place.next).await?;

        let (announce, copied) = watch::channel(Copied {
            next: place.next,
            ..Copied::default()
        });
        let (stop, stopped) = watch::channel(());
        let copying = Copying {
            config,
            copy: copy.clone(),
            copied: announce,
        };
        let copying = tokio::spawn(copying.run(stopped));
        let vault = Self {
            log,
            copy,
            copied,
            minting: Mutex::default(),
            incomplete: AtomicBool::new(false),
            stop,
            copying: parking_lot::Mutex::new(Some(copying)),
        };
        let mut copied = vault.copied.clone();
        copied
            .wait_for(|copied| copied.at_end || copied.wrong_master)
            .await
            .map_err(|_| closed())?;
        if let Err(error) = vault.copy.check_proof().await {
            vault.close().await;
            return Err(error);
        }
        Ok(vault)
    }

    /// Stops copying and closes the copy. The log stays open.
    pub async fn close(&self) {
        self.stop.send_replace(());
        let copying = self.copying.lock().take();
        if let Some(copying) = copying
            && let Err(error) = copying.await
        {
            tracing::warn!(%error, "the copying of the key vault was cut short");
        }
        self.copy.close().await;
    }

    /// What this time of writing is known by, once the copy has all from before it.
    async fn term(&self) -> Result<u64, VaultError> {
        let term = *self.log.term().borrow();
        let Some(term) = term else {
            return Err(VaultError::Unavailable(
                "another node writes the key vault".to_owned(),
            ));
        };
        self.reach(term + 1).await?;
        Ok(term)
    }

    /// Waits until the copy has all before an offset.
    async fn reach(&self, next: u64) -> Result<(), VaultError> {
        let mut copied = self.copied.clone();
        let reached = copied.wait_for(|copied| copied.next >= next || copied.wrong_master);
        let reached = tokio::time::timeout(PATIENCE, reached)
            .await
            .map_err(|_| VaultError::Unavailable("the local copy is behind".to_owned()))?
            .map_err(|_| closed())?;
        if reached.wrong_master {
            return Err(VaultError::WrongMasterKey);
        }
        Ok(())
    }

    /// Waits until the copy has all keys that were minted before this was called; `newest` is one that
    /// an event names. Usually it is there, or comes in a moment. If the topic was put back to an
    /// earlier state it never comes, and the end of the topic tells.
    async fn heard_of(&self, newest: KeyId) -> Result<(), VaultError> {
        let mut copied = self.copied.clone();
        let deadline = tokio::time::Instant::now() + MOMENT;
        let mut in_time = !self.incomplete.load(Ordering::Relaxed);
        loop {
            copied.borrow_and_update();
            if self.copy.last_key().await? >= newest {
                self.incomplete.store(false, Ordering::Relaxed);
                return Ok(());
            }
            if !in_time {
                break;
            }
            let changed = tokio::time::timeout_at(deadline, copied.changed()).await;
            in_time = changed.is_ok_and(|changed| changed.is_ok());
        }
        let next = copied.borrow().next;
        self.reach(end(self.log.config(), next).await?).await?;
        let incomplete = self.copy.last_key().await? < newest;
        self.incomplete.store(incomplete, Ordering::Relaxed);
        Ok(())
    }

    /// Writes records, and waits until they are in the copy.
    async fn write(&self, term: u64, mut records: Vec<KeyRecord>) -> Result<(), VaultError> {
        if !self.copy.check_proof().await? {
            records.push(KeyRecord {
                key: PROOF.to_owned(),
                value: Some(self.copy.new_proof()?),
            });
        }
        let written = self.log.write_keys(term, records).await;
        let next = written.map_err(|error| match error {
            LogError::Unavailable(why) => VaultError::Unavailable(why),
            error => VaultError::Unavailable(error.to_string()),
        })?;
        self.reach(next).await
    }
}

fn closed() -> VaultError {
    VaultError::Unavailable("the vault is closed".to_owned())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// Refuses a copy that is further than its topic.
async fn check_end(config: &KafkaConfig, next: u64) -> Result<(), VaultError> {
    let topic = config.vault_topic();
    let unavailable = |error| VaultError::Unavailable(reason(&error));
    let feed = Feed::open(config, &topic, next).map_err(unavailable)?;
    let (_, end) = feed.ends().await.map_err(unavailable)?;
    // Taking leave of the brokers may take a moment.
    tokio::task::spawn_blocking(move || drop(feed));
    if next > end {
        return Err(VaultError::Unavailable(format!(
            "the topic {topic} ends at offset {end}, but the local copy of the keys at {next}: the \
             topic was made anew, or lost keys"
        )));
    }
    Ok(())
}

/// What a copy that goes on at `next` has to have to hold all that was committed until now.
async fn end(config: &KafkaConfig, next: u64) -> Result<u64, VaultError> {
    let unavailable = |error| VaultError::Unavailable(reason(&error));
    let feed = Feed::open(config, &config.vault_topic(), next).map_err(unavailable)?;
    let reading = async {
        let mut end = next;
        while let Some(record) = feed.next().await? {
            end = record.offset() as u64 + 1;
        }
        Ok(end)
    };
    let end = tokio::time::timeout(PATIENCE, reading).await;
    tokio::task::spawn_blocking(move || drop(feed));
    end.map_err(|_| VaultError::Unavailable("the end of the keys' topic can't be read".to_owned()))?
        .map_err(unavailable)
}

#[async_trait]
impl KeyVault for KafkaVault {
    async fn mint(&self, count: usize, above: KeyId) -> Result<Vec<(KeyId, DataKey)>, VaultError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let _one_at_a_time = self.minting.lock().await;
        let term = self.term().await?;
        let last = self.copy.last_key().await?.max(above).0;
        let keys: Vec<_> = (last + 1..)
            .map(|id| (KeyId(id), random_key()))
            .take(count)
            .collect();
        let mut records = Vec::with_capacity(count + 2);
        for (id, key) in &keys {
            let wrapped = self
                .copy
                .wrapping()
                .wrap(key, Purpose::Data(*id))
                .map_err(unwrappable)?;
            records.push(KeyRecord {
                key: id.0.to_string(),
                value: Some(wrapped),
            });
        }
        // Kept by itself: the number of a shredded key never comes back.
        let last = last + count as u64;
        records.push(KeyRecord {
            key: LAST.to_owned(),
            value: Some(last.to_string().into_bytes()),
        });
        self.write(term, records).await?;
        Ok(keys)
    }

    async fn keys(&self, ids: &[KeyId]) -> Result<HashMap<KeyId, DataKey>, VaultError> {
        // Events and keys come on two topics. Where another node writes, a key that the copy has not
        // heard of may be on its way; the node that writes knows all there are.
        let writing = self.log.term().borrow().is_some();
        match ids.iter().max() {
            Some(_) if writing => drop(self.term().await?),
            Some(newest) => self.heard_of(*newest).await?,
            None => {}
        }
        self.copy.keys(ids).await
    }

    async fn shred(&self, ids: &[KeyId]) -> Result<(), VaultError> {
        if ids.is_empty() {
            return Ok(());
        }
        let term = self.term().await?;
        let present = self.copy.present(ids).await?;
        if present.is_empty() {
            return self.copy.wipe().await;
        }
        let tombstone = |id: KeyId| KeyRecord {
            key: id.0.to_string(),
            value: None,
        };
        self.write(term, present.into_iter().map(tombstone).collect())
            .await
    }

    async fn secret(&self, name: &str) -> Result<DataKey, VaultError> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut copied = self.copied.clone();
        let mut terms = self.log.term();
        loop {
            copied.borrow_and_update();
            let writing = terms.borrow_and_update().is_some();
            if let Some(secret) = self.copy.known_secret(name).await? {
                return Ok(secret);
            }
            if writing {
                let _one_at_a_time = self.minting.lock().await;
                let term = self.term().await?;
                if let Some(secret) = self.copy.known_secret(name).await? {
                    return Ok(secret);
                }
                let secret = random_key();
                let wrapped = self
                    .copy
                    .wrapping()
                    .wrap(&secret, Purpose::Secret(name))
                    .map_err(unwrappable)?;
                let record = KeyRecord {
                    key: format!("secret:{name}"),
                    value: Some(wrapped),
                };
                self.write(term, vec![record]).await?;
                return Ok(secret);
            }
            // The node that writes makes it, or this one once it writes.
            let changed = tokio::time::timeout_at(deadline, async {
                tokio::select! {
                    changed = copied.changed() => changed,
                    changed = terms.changed() => changed,
                }
            });
            changed
                .await
                .map_err(|_| {
                    VaultError::Unavailable(format!("the secret {name} was not made yet"))
                })?
                .map_err(|_| closed())?;
        }
    }
}

struct Copying {
    config: KafkaConfig,
    copy: Arc<SqliteVault>,
    copied: watch::Sender<Copied>,
}

impl Copying {
    async fn run(self, mut stop: watch::Receiver<()>) {
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                error = self.copy() => {
                    tracing::error!(error, "the key vault is not copied");
                    self.copied.send_modify(|copied| copied.at_end = false);
                }
            }
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Copies from where the copy ends, until something fails.
    async fn copy(&self) -> String {
        let next = self.copied.borrow().next;
        let feed = match Feed::open(&self.config, &self.config.vault_topic(), next) {
            Ok(feed) => feed,
            Err(error) => return reason(&error),
        };
        let error = self.take(&feed, next).await;
        tokio::task::spawn_blocking(move || drop(feed));
        error
    }

    async fn take(&self, feed: &Feed, mut next: u64) -> String {
        let mut changes = Vec::new();
        loop {
            let read = match feed.next().now_or_never() {
                Some(read) if changes.len() < BATCH => read,
                // What is there is written before waiting for more.
                unread => {
                    if next > self.copied.borrow().next
                        && let Err(error) = self.write(&mut changes, next, false).await
                    {
                        return error.to_string();
                    }
                    match unread {
                        Some(read) => read,
                        None => match tokio::time::timeout(NOTE, feed.next()).await {
                            Ok(read) => read,
                            // Nothing new for long; that is worth knowing at the next start.
                            Err(_) => Ok(None),
                        },
                    }
                }
            };
            match read {
                Ok(Some(message)) => {
                    next = message.offset() as u64 + 1;
                    match change(&message) {
                        Ok(change) => changes.extend(change),
                        Err(error) => {
                            return format!("the record at offset {}: {error}", next - 1);
                        }
                    }
                }
                Ok(None) => {
                    if let Err(error) = self.write(&mut changes, next, true).await {
                        return error.to_string();
                    }
                }
                Err(error) => return reason(&error),
            }
        }
    }

    async fn write(
        &self,
        changes: &mut Vec<Change>,
        next: u64,
        at_end: bool,
    ) -> Result<(), VaultError> {
        let proven = changes
            .iter()
            .any(|change| matches!(change, Change::Proof(_)));
        let place = Place { next, at: now() };
        self.copy.apply(std::mem::take(changes), place).await?;
        let wrong = proven && self.copy.check_proof().await.is_err();
        self.copied.send_modify(|copied| {
            copied.next = next;
            copied.at_end = at_end;
            copied.wrong_master |= wrong;
        });
        Ok(())
    }
}

/// What a record changes; `None` for a marker.
fn change(message: &BorrowedMessage) -> Result<Option<Change>, String> {
    let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
    let key = key.ok_or("it has no key")?;
    let value = message.payload();
    if let Ok(id) = key.parse() {
        return Ok(Some(match value {
            Some(wrapped) => Change::Key(KeyId(id), wrapped.to_vec()),
            None => Change::Shredded(KeyId(id)),
        }));
    }
    if key == MARKER {
        return Ok(None);
    }
    let value = value.ok_or_else(|| format!("{key} has no value"))?;
    if let Some(name) = key.strip_prefix("secret:") {
        return Ok(Some(Change::Secret(name.to_owned(), value.to_vec())));
    }
    match key {
        LAST => {
            let last = std::str::from_utf8(value).ok();
            let last = last.and_then(|last| last.parse().ok());
            Ok(Some(Change::Last(last.ok_or("it holds no number")?)))
        }
        PROOF => Ok(Some(Change::Proof(value.to_vec()))),
        _ => Err(format!("{key} is unknown")),
    }
}
