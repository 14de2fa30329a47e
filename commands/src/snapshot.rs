//! The write model's snapshot: what makes a start quick however long the log is.
//!
//! It stands in records, each sealed under a key of the vault, for it holds what the log holds sealed.
//! Once there is one, a save writes the records that have changed: what a snapshot costs is in proportion
//! to what happened since the last. A snapshot that is missing, damaged or of another version is no
//! harm: the model is made from the whole log.

mod lost;
mod records;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use hansard_domain::event::Event;
use hansard_domain::journal::{Journal, JournalError};
use hansard_domain::keyring::Keyring;
use hansard_domain::log::Position;
use hansard_domain::vault::DataKey;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use self::lost::Lost;
use self::records::{
    HEAD, Head, Numbers, OF_TABLES, OF_USERS, Page, Restoring, Saved, Unfit, Writer,
};
use crate::bus::Commands;
use crate::model::WriteModel;
use crate::state::{Records, SnapshotStore, StateError};

/// The snapshot is brought up to date when the log has grown by so many events since, looked at this
/// often.
const WORTH_SAVING: u64 = 20_000;
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// A start that takes long tells so often how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// The name of its key.
const NAME: &str = "snapshot";

/// Batches of records that wait to be written, and that are read at a time.
const WAITING: usize = 4;

/// Saves and restores the snapshot. Cheap to clone; all clones write one after the other.
#[derive(Clone)]
pub struct Snapshots {
    store: Arc<dyn SnapshotStore>,
    keys: Arc<Keyring>,
    key: DataKey,
    /// What is in the store, if it is known. Held while it is written.
    saved: Arc<Mutex<Option<Saved>>>,
    /// Whether what was restored is all that the log says. If not, nothing is saved.
    whole: Arc<AtomicBool>,
}

/// How far a start has come that reads much of the log.
struct Progress {
    from: Position,
    head: Position,
    told: Instant,
}

impl Progress {
    fn new(from: Position, head: Position) -> Self {
        let told = Instant::now();
        Self { from, head, told }
    }

    /// Tells the operator now and then.
    fn tell(&mut self, at: Position) {
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let (read, all) = (at.0 - self.from.0, self.head.0.max(at.0) - self.from.0);
        let percent = read * 100 / all.max(1);
        tracing::info!(
            events = read,
            of = all,
            percent,
            "reading what the snapshot lacks from the log"
        );
    }
}

/// Why there is no model to be had from a snapshot.
enum NotRestored {
    NoneThere,
    Unreadable(StateError),
    Unfit(Unfit),
    AnotherLog,
    /// What is about to be asked of the log fails as well.
    Journal(JournalError),
}

impl Snapshots {
    pub async fn open(
        store: Arc<dyn SnapshotStore>,
        journal: &Journal,
    ) -> Result<Self, JournalError> {
        let key = journal.keys().secret(NAME).await?;
        Ok(Self {
            store,
            keys: journal.keys().clone(),
            key,
            saved: Arc::default(),
            whole: Arc::new(AtomicBool::new(true)),
        })
    }

    /// The write model as the journal's head has it: the snapshot and the log's tail. What is minted
    /// afterwards has numbers above all that the log names.
    pub async fn restore(&self, journal: &Journal) -> Result<WriteModel, JournalError> {
        let mut saved = self.saved.lock().await;
        *saved = None;
        let mut model = match self.load(journal).await {
            Ok((model, head, same)) => {
                // Where users have other numbers than in the store, all of it is to be written anew.
                *saved = same.then(|| Saved {
                    model: Arc::new(model.clone()),
                    head,
                });
                model
            }
            Err(NotRestored::Journal(error)) => return Err(error),
            Err(reason) => {
                let stale = matches!(reason, NotRestored::AnotherLog);
                reason.tell();
                // The log may have grown beyond it by the next start.
                if stale && let Err(error) = self.store.replace(true, stream::empty().boxed()).await
                {
                    tracing::warn!(%error, "a snapshot that is not this log's could not be deleted");
                }
                WriteModel::empty()
            }
        };
        drop(saved);
        let mut lost = Lost::default();
        let mut progress = Progress::new(model.position(), journal.head());
        // Of messages the model holds when they were said, of looks nothing.
        let mut batches = journal.all_sparsely(model.position(), |event| {
            !matches!(event, Event::Message(_) | Event::Audit(_))
        });
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            batch.iter().for_each(|entry| lost.look(entry));
            model.advance(&batch);
            progress.tell(model.position());
        }
        lost.tell();
        self.whole.store(lost.is_empty(), Ordering::Relaxed);
        Ok(model)
    }

    /// The model that was saved, its head, and whether users have the numbers that they have there.
    async fn load(&self, journal: &Journal) -> Result<(WriteModel, Head, bool), NotRestored> {
        let sealed = self.store.record(HEAD).await?;
        let head = Head::read(&self.key, &sealed.ok_or(NotRestored::NoneThere)?)?;
        let ahead = head.place.position > journal.head();
        if ahead
            || !journal
                .has(head.place)
                .await
                .map_err(NotRestored::Journal)?
        {
            return Err(NotRestored::AnotherLog);
        }
        self.keys.named(&[head.highest_key]);

        let ids: Vec<Records> = self.store.records(OF_USERS).try_collect().await?;
        let numbers = Numbers::read(&head, &self.key, ids.concat())?;
        let same = numbers.are_the_same();

        let shared = Arc::new((head, numbers, self.key.clone()));
        let pages = self.store.records(OF_TABLES).map(|records| {
            let shared = shared.clone();
            async move {
                let records = records?;
                let read = move || {
                    let (head, numbers, key) = shared.as_ref();
                    Page::read(head, numbers, key, records)
                };
                let page = tokio::task::spawn_blocking(read).await;
                page.unwrap_or(Err(Unfit::TORN)).map_err(NotRestored::from)
            }
        });
        let mut pages = pages.buffer_unordered(WAITING);
        let mut restoring = Restoring::of(&shared.0);
        while let Some(page) = pages.next().await {
            restoring.take(page?);
        }
        drop(pages);
        let head = shared.0.clone();
        let finish = tokio::task::spawn_blocking(move || {
            let model = restoring.finish(&head)?;
            Ok::<_, Unfit>((model, head))
        });
        let (model, head) = finish.await.unwrap_or(Err(Unfit::TORN))?;
        Ok((model, head, same))
    }

    /// What the records but the head hold, opened: to see that what was erased is not in them.
    pub async fn reveal(&self) -> Result<Vec<Vec<u8>>, StateError> {
        let unfit = |error: Unfit| failed("read", error);
        let sealed = self.store.record(HEAD).await?.unwrap_or_default();
        let head = Head::read(&self.key, &sealed).map_err(unfit)?;
        let records: Vec<Records> = self
            .store
            .records(HEAD + 1..OF_TABLES.end)
            .try_collect()
            .await?;
        let mut revealed = Vec::new();
        for (number, sealed) in records.concat() {
            revealed.push(head.reveal(&self.key, number, &sealed).map_err(unfit)?);
        }
        Ok(revealed)
    }

    /// Keeps the snapshot near the head until it is told to stop, then saves it a last time.
    pub async fn keep(&self, commands: Commands, stop: CancellationToken) {
        // A start that read much of the log is to be the last one that does.
        let mut saved = match self.saved.lock().await.as_ref() {
            Some(saved) => saved.model.position(),
            None => Position::START,
        };
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
            .await
            .is_some()
        {
            let model = commands.model();
            if model.position().0 >= saved.0 + WORTH_SAVING {
                saved = model.position();
                self.save_or_warn(&model).await;
            }
        }
        self.save_or_warn(&commands.model()).await;
    }

    async fn save_or_warn(&self, model: &Arc<WriteModel>) {
        if let Err(error) = self.save(model).await {
            tracing::warn!(%error, "the next start reads more of the log");
        }
    }

    /// Brings the snapshot up to a state, unless it is of the same position or a later one. What it held
    /// before and does not hold now is gone when this returns.
    pub async fn save(&self, model: &Arc<WriteModel>) -> Result<(), StateError> {
        // On a task of its own: whoever gives up waiting must not leave a writer behind that others
        // don't wait for.
        let (snapshots, model) = (self.clone(), model.clone());
        let saving = tokio::spawn(async move { snapshots.write(model).await });
        saving
            .await
            .unwrap_or_else(|error| Err(failed("written", error)))
    }

    async fn write(&self, model: Arc<WriteModel>) -> Result<(), StateError> {
        let mut saved = self.saved.clone().lock_owned().await;
        if !self.whole.load(Ordering::Relaxed) {
            // Nothing of what was there before stays either: it may hold what is to be erased.
            saved.take();
            return self.store.replace(true, stream::empty().boxed()).await;
        }
        let position = |saved: &Saved| saved.model.position();
        if saved
            .as_ref()
            .is_some_and(|saved| model.position() <= position(saved))
        {
            return Ok(());
        }
        // Until it is known to have been written, nothing is known.
        let before = saved.take();
        let anew = before.is_none();
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let (key, highest_key) = (self.key.clone(), self.keys.highest());
        let writing = tokio::task::spawn_blocking(move || {
            let hand_on = |records| {
                sender
                    .blocking_send(Ok(records))
                    .map_err(|_| Unfit::GIVEN_UP)
            };
            let written = Writer::new(&key, hand_on).write(&model, highest_key, before.as_ref());
            match written {
                Ok(head) => Ok(Saved { model, head }),
                Err(error) => {
                    // Half of it must not be taken for the whole.
                    let _ = sender.blocking_send(Err(failed("written", &error)));
                    Err(failed("written", error))
                }
            }
        });
        let records = stream::poll_fn(move |context| receiver.poll_recv(context));
        self.store.replace(anew, records.boxed()).await?;
        *saved = Some(writing.await.map_err(|error| failed("written", error))??);
        Ok(())
    }
}

impl NotRestored {
    /// Says why the start takes longer.
    fn tell(self) {
        const INSTEAD: &str = "the write model is made from the whole log";
        match self {
            Self::NoneThere => {}
            Self::Unreadable(error) => tracing::warn!(%error, "{INSTEAD}"),
            Self::Unfit(error) => tracing::warn!("the snapshot can't be used: {error}; {INSTEAD}"),
            Self::AnotherLog => {
                tracing::warn!("the snapshot is not of this log; left aside; {INSTEAD}");
            }
            Self::Journal(_) => {}
        }
    }
}

impl From<StateError> for NotRestored {
    fn from(error: StateError) -> Self {
        Self::Unreadable(error)
    }
}

impl From<Unfit> for NotRestored {
    fn from(error: Unfit) -> Self {
        Self::Unfit(error)
    }
}

fn failed(what: &'static str, reason: impl std::fmt::Display) -> StateError {
    StateError {
        name: NAME.to_owned(),
        what,
        reason: reason.to_string(),
    }
}
