//! The journal: the log as the rest of Hansard sees it, in typed events with their parts opened.
//!
//! What is appended is sealed on its way into the [`EventLog`]; what is read is opened. Batches
//! committed lately are kept in memory: whoever follows at the head gets them from there, without
//! reading, parsing or decrypting anything; whoever lags reads the log until it has caught up.

use std::collections::VecDeque;
use std::sync::Arc;

use compact_str::CompactString;
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::event::{Entry, Event, Origin, SCHEMA};
use crate::id::Timestamp;
use crate::keyring::Keyring;
use crate::log::{
    Actor, Append, Commit, Conflict, EventLog, LogError, Metadata, NewEvent, Position, Recorded,
    Refusal, Role, StoredEvent, StreamId, Version,
};
use crate::seal::{Confidential, Part, Private, SealError};
use crate::vault::{KeyId, KeyVault, VaultError};

/// How many entries the journal keeps in memory for those who follow at the head.
const RECENT_ENTRIES: usize = 8192;

/// How many pages a reader of the log decodes ahead of its consumer.
const PAGES_AHEAD: usize = 4;

/// Entries of one or more commits, in order; never empty.
pub type Batch = Arc<[Arc<Entry>]>;

/// Batches in order; after an error the stream ends.
pub type Batches = BoxStream<'static, Result<Batch, JournalError>>;

#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("an event could not be sealed: {0}")]
    Seal(#[from] SealError),
    #[error("an event could not be written as JSON: {0}")]
    Unwritable(String),
}

/// Events for one stream, which must be at `expected`; their ids make a retry recognizable.
#[derive(Debug, Clone)]
pub struct Draft {
    pub stream: StreamId,
    pub expected: Version,
    pub events: Vec<(Uuid, Event)>,
}

/// Who asked for a commit, why and from where.
#[derive(Debug, Clone)]
pub struct Context {
    pub at: Timestamp,
    /// What the node's clock said, where that was not `at`.
    pub clock: Option<Timestamp>,
    pub actor: Actor,
    pub correlation: Option<CompactString>,
    pub causation: Option<Uuid>,
    pub origin: Option<Private<Origin>>,
}

/// A commit in typed events: recorded whole or not at all.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub drafts: Vec<Draft>,
    pub context: Context,
}

/// See the module. Cheap to share; one for each log.
pub struct Journal {
    log: Arc<dyn EventLog>,
    keys: Arc<Keyring>,
    recent: Mutex<Recent>,
    head: watch::Sender<Position>,
    role: watch::Receiver<Role>,
}

/// The batches committed last, without a gap: everything after `after`.
struct Recent {
    after: Position,
    batches: VecDeque<Batch>,
    entries: usize,
}

impl Journal {
    /// Opens the journal of a log and the vault its events are sealed with.
    pub async fn open(
        log: Arc<dyn EventLog>,
        vault: Arc<dyn KeyVault>,
    ) -> Result<Arc<Self>, JournalError> {
        let head = log.head().await?;
        let recent = Recent {
            after: head,
            batches: VecDeque::new(),
            entries: 0,
        };
        let role = log.role();
        Ok(Arc::new(Self {
            role,
            log,
            keys: Arc::new(Keyring::new(vault)),
            recent: Mutex::new(recent),
            head: watch::channel(head).0,
        }))
    }

    pub fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// The position of the last event that was committed.
    pub fn head(&self) -> Position {
        *self.head.borrow()
    }

    /// Who writes the log.
    pub fn role(&self) -> Role {
        *self.role.borrow()
    }

    /// Tells who writes the log, whenever that changes.
    pub fn watch_role(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }

    /// Waits until the log holds what is not known here yet: what other nodes wrote.
    pub async fn moved(&self) -> Result<Position, JournalError> {
        Ok(self.log.moved(self.head()).await?)
    }

    /// The log's own head: that of the journal, or further where other nodes write.
    pub async fn true_head(&self) -> Result<Position, JournalError> {
        Ok(self.log.head().await?)
    }

    /// Tells each new head.
    pub fn watch_head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    /// The position of the last event recorded at or before a time.
    pub async fn position_at(&self, at: Timestamp) -> Result<Position, JournalError> {
        Ok(self.log.position_at(at).await?)
    }

    /// Waits for this node's turn to append, and tells the log's head as it is then; see
    /// [`EventLog::turn`].
    pub async fn turn(&self) -> Result<Position, JournalError> {
        Ok(self.log.turn().await?)
    }

    /// Gives a turn back that nothing is to be appended in.
    pub async fn pass(&self) {
        self.log.pass().await;
    }

    /// Records proposals, each whole or not at all, and publishes them to followers. Durable when it
    /// returns. After an error it is not known whether they were recorded; reading on from
    /// [`Self::head`] tells. Only one task may append.
    ///
    /// `after` is the position that they were decided on. If the log has gone on since, they are
    /// [`Overtaken`](Refusal::Overtaken). A proposal with a part whose key has been deleted meanwhile
    /// conflicts: what it speaks of was erased by somebody else at the same time.
    pub async fn append(
        &self,
        after: Option<Position>,
        mut proposals: Vec<Proposal>,
    ) -> Result<Vec<Result<Batch, Refusal>>, JournalError> {
        let mut ids = Vec::new();
        for proposal in &mut proposals {
            for (_, event) in proposal
                .drafts
                .iter_mut()
                .flat_map(|draft| &mut draft.events)
            {
                event.parts(&mut |part| ids.push(part.key()));
            }
            ids.extend(proposal.context.origin.as_ref().map(Private::key));
        }
        let keys = self.keys.load(&ids).await?;
        let seal = |part: &mut dyn Part, id: &Uuid| {
            let key = keys.get(&part.key()).ok_or(SealError::NoKey(part.key()))?;
            part.seal(key, id.as_bytes())
        };
        let mut commits = Vec::with_capacity(proposals.len());
        let mut erased = Vec::with_capacity(proposals.len());
        for proposal in &proposals {
            match write(after, proposal, &seal) {
                Ok(commit) => {
                    commits.push(commit);
                    erased.push(None);
                }
                Err(JournalError::Seal(SealError::NoKey(_))) => erased.push(Some(moved(proposal))),
                Err(error) => return Err(error),
            }
        }

        let mut outcomes = if commits.is_empty() {
            Vec::new().into_iter()
        } else {
            self.log.append(commits).await?.into_iter()
        };
        let mut published = Vec::new();
        let batches = proposals
            .into_iter()
            .zip(erased)
            .map_while(|(proposal, erased)| {
                let outcome = match erased {
                    Some(conflict) => Err(conflict.into()),
                    None => outcomes.next()?,
                };
                Some(outcome.map(|recorded| {
                    let batch = entries(proposal, recorded);
                    published.extend(batch.iter().cloned());
                    batch
                }))
            })
            .collect();
        // Of a commit that was recorded by an earlier try others have heard already.
        let head = self.head();
        published.retain(|entry| entry.position > head);
        let last = published.iter().map(|entry| entry.position).max();
        let dense = published
            .iter()
            .zip(head.0 + 1..)
            .all(|(entry, next)| entry.position.0 == next);
        if let Some(last) = last
            && self.role() == Role::Shared
            && after.is_none()
            && !dense
        {
            // What others recorded stands before or between these.
            self.publish_to(last).await?;
            return Ok(batches);
        }
        self.publish(published);
        Ok(batches)
    }

    /// Publishes all that stands in the log up to a position.
    async fn publish_to(&self, end: Position) -> Result<(), JournalError> {
        let mut pages = self.log.all(self.head());
        while let Some(page) = pages.next().await {
            let mut page = page?;
            page.truncate(page.partition_point(|event| event.position <= end));
            if page.is_empty() {
                break;
            }
            self.publish(open(&self.keys, page).await?.to_vec());
        }
        Ok(())
    }

    /// Reads what was recorded after the head that is known here, and publishes it: what other nodes
    /// wrote, or an append left whose answer was lost. Only the task that appends may.
    pub async fn catch_up(&self) -> Result<Vec<Batch>, JournalError> {
        let mut found = Vec::new();
        let mut pages = self.log.all(self.head());
        while let Some(page) = pages.next().await {
            let batch = open(&self.keys, page?).await?;
            self.publish(batch.to_vec());
            found.push(batch);
        }
        Ok(found)
    }

    fn publish(&self, entries: Vec<Arc<Entry>>) {
        let Some(last) = entries.last() else { return };
        let position = last.position;
        {
            let mut recent = self.recent.lock();
            recent.entries += entries.len();
            recent.batches.push_back(entries.into());
            while recent.entries > RECENT_ENTRIES && recent.batches.len() > 1 {
                let Some(dropped) = recent.batches.pop_front() else {
                    break;
                };
                recent.entries -= dropped.len();
                recent.after = dropped.last().map_or(recent.after, |entry| entry.position);
            }
        }
        self.head.send_replace(position);
    }

    /// Batches kept in memory after a position; `None` when that is further back than they reach.
    fn recent(&self, after: Position) -> Option<Vec<Batch>> {
        let recent = self.recent.lock();
        if after < recent.after {
            return None;
        }
        let from = recent
            .batches
            .partition_point(|batch| batch.last().is_none_or(|entry| entry.position <= after));
        Some(
            recent
                .batches
                .range(from..)
                .map(|batch| match batch.first() {
                    Some(first) if first.position > after => batch.clone(),
                    _ => batch
                        .iter()
                        .filter(|entry| entry.position > after)
                        .cloned()
                        .collect(),
                })
                .collect(),
        )
    }

    /// All entries after a position, and those that come. Never ends but by an error.
    pub fn follow(self: &Arc<Self>, after: Position) -> Batches {
        let journal = self.clone();
        async_stream::try_stream! {
            let mut after = after;
            let mut head = journal.watch_head();
            loop {
                head.borrow_and_update();
                let batches = journal.recent(after);
                match batches {
                    Some(batches) if batches.is_empty() => {
                        if head.changed().await.is_err() {
                            return;
                        }
                    }
                    Some(batches) => {
                        for batch in batches {
                            after = batch.last().map_or(after, |entry| entry.position);
                            yield batch;
                        }
                    }
                    None => {
                        let mut pages = journal.all(after);
                        while let Some(batch) = pages.next().await {
                            let batch: Batch = batch?;
                            after = batch.last().map_or(after, |entry| entry.position);
                            yield batch;
                        }
                    }
                }
            }
        }
        .boxed()
    }

    /// All entries after a position, to the head; read and opened a few pages ahead.
    pub fn all(&self, after: Position) -> Batches {
        let (sender, receiver) = mpsc::channel(PAGES_AHEAD);
        let mut pages = self.log.all(after);
        let keys = self.keys.clone();
        tokio::spawn(async move {
            while let Some(page) = pages.next().await {
                let batch = match page {
                    Ok(page) => open(&keys, page).await,
                    Err(error) => Err(error.into()),
                };
                let failed = batch.is_err();
                if sender.send(batch).await.is_err() || failed {
                    return;
                }
            }
        });
        futures::stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        })
        .boxed()
    }

    /// The entries of one stream after a version.
    pub async fn stream(
        &self,
        stream: &StreamId,
        after: Version,
    ) -> Result<Vec<Arc<Entry>>, JournalError> {
        let mut entries = Vec::new();
        let mut pages = self.log.stream(stream, after);
        while let Some(page) = pages.next().await {
            entries.extend(open(&self.keys, page?).await?.iter().cloned());
        }
        Ok(entries)
    }

    /// All entries between a position and the head, as far as it is known here; from memory where it
    /// reaches back so far.
    pub async fn since(&self, after: Position) -> Result<Vec<Batch>, JournalError> {
        if let Some(batches) = self.recent(after) {
            return Ok(batches);
        }
        let head = self.head();
        let mut found = Vec::new();
        let mut batches = self.all(after);
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let known = batch.partition_point(|entry| entry.position <= head);
            if known > 0 {
                found.push(batch[..known].into());
            }
            if known < batch.len() {
                break;
            }
        }
        Ok(found)
    }

    /// Deletes data keys for good: what was sealed under them can't be read any more.
    pub async fn shred(&self, keys: &[KeyId]) -> Result<(), JournalError> {
        Ok(self.keys.shred(keys).await?)
    }
}

/// What a proposal is told whose key is gone: nothing of it was written.
fn moved(proposal: &Proposal) -> Conflict {
    let draft = proposal.drafts.first();
    let expected = draft.map_or(Version::NONE, |draft| draft.expected);
    Conflict {
        stream: draft.map_or_else(|| StreamId::new("", ""), |draft| draft.stream.clone()),
        expected,
        actual: expected,
    }
}

fn write(
    after: Option<Position>,
    proposal: &Proposal,
    seal: &impl Fn(&mut dyn Part, &Uuid) -> Result<(), SealError>,
) -> Result<Commit, JournalError> {
    let unwritable = |error: serde_json::Error| JournalError::Unwritable(error.to_string());
    let mut first = None;
    let mut appends = Vec::with_capacity(proposal.drafts.len());
    for draft in &proposal.drafts {
        let mut events = Vec::with_capacity(draft.events.len());
        for (id, event) in &draft.events {
            first.get_or_insert(*id);
            let mut event = event.clone();
            let mut sealed = Ok(());
            event.parts(&mut |part| {
                if sealed.is_ok() {
                    sealed = seal(part, id);
                }
            });
            sealed?;
            events.push(NewEvent {
                id: *id,
                kind: event.kind().into(),
                schema: SCHEMA,
                payload: event.payload().map_err(unwritable)?,
            });
        }
        appends.push(Append {
            stream: draft.stream.clone(),
            expected: draft.expected,
            events,
        });
    }
    let context = &proposal.context;
    let origin = match context.origin.clone() {
        Some(mut origin) => {
            // One origin serves all events of a commit, so it is bound to its key alone.
            seal(&mut origin, &Uuid::nil())?;
            Some(serde_json::to_string(&origin).map_err(unwritable)?)
        }
        None => None,
    };
    Ok(Commit {
        after,
        appends,
        metadata: Metadata {
            at: context.at,
            clock: context.clock,
            actor: context.actor.clone(),
            correlation: context.correlation.clone(),
            causation: context.causation,
            origin,
        },
    })
}

fn entries(proposal: Proposal, recorded: Recorded) -> Batch {
    let Proposal { drafts, context } = proposal;
    let mut positions = recorded.positions.into_iter();
    let mut entries = Vec::with_capacity(positions.len());
    for draft in drafts {
        let mut version = draft.expected;
        for (id, event) in draft.events {
            version = version.next();
            let Some(position) = positions.next() else {
                break;
            };
            entries.push(Arc::new(Entry {
                position,
                stream: draft.stream.clone(),
                version,
                id,
                at: context.at,
                clock: context.clock,
                actor: context.actor.clone(),
                correlation: context.correlation.clone(),
                causation: context.causation,
                origin: context.origin.clone(),
                event,
            }));
        }
    }
    entries.into()
}

/// Parses stored events and opens their parts, with one look into the vault for all.
async fn open(keys: &Keyring, stored: Vec<StoredEvent>) -> Result<Batch, JournalError> {
    let mut entries = stored
        .into_iter()
        .map(parse)
        .collect::<Result<Vec<_>, LogError>>()?;
    let mut ids = Vec::with_capacity(entries.len() * 2);
    for entry in &mut entries {
        entry.event.parts(&mut |part| ids.push(part.key()));
        ids.extend(entry.origin.as_ref().map(Private::key));
    }
    let keys = keys.load(&ids).await?;
    for entry in &mut entries {
        let mut opened = Ok(());
        let id = entry.id;
        entry.event.parts(&mut |part| {
            if opened.is_ok() {
                opened = part.open(keys.get(&part.key()), id.as_bytes());
            }
        });
        if let Some(origin) = &mut entry.origin {
            opened =
                opened.and_then(|()| origin.open(keys.get(&origin.key()), Uuid::nil().as_bytes()));
        }
        opened.map_err(|error| LogError::Damaged {
            position: entry.position,
            reason: error.to_string(),
        })?;
    }
    Ok(entries.into_iter().map(Arc::new).collect())
}

fn parse(stored: StoredEvent) -> Result<Entry, LogError> {
    let StoredEvent {
        position,
        stream,
        version,
        event,
        metadata,
    } = stored;
    let damaged = |reason: String| LogError::Damaged { position, reason };
    if event.schema > SCHEMA {
        return Err(damaged(format!(
            "{} was written by a newer version of Hansard (schema {})",
            event.kind, event.schema
        )));
    }
    let origin = metadata
        .origin
        .map(|origin| serde_json::from_str(&origin))
        .transpose()
        .map_err(|error| damaged(error.to_string()))?;
    let opened = Event::read(stream.category(), &event.kind, &event.payload)
        .map_err(|error| damaged(format!("{}: {error}", event.kind)))?;
    Ok(Entry {
        position,
        stream,
        version,
        id: event.id,
        at: metadata.at,
        clock: metadata.clock,
        actor: metadata.actor,
        correlation: metadata.correlation,
        causation: metadata.causation,
        origin,
        event: opened,
    })
}
