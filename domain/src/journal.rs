//! The journal: the log as the rest of Hansard sees it, in typed events with their parts opened.
//!
//! What is appended is sealed on its way into the [`EventLog`]; what is read is opened. Batches
//! committed lately are kept in memory: whoever follows at the head gets them from there, without
//! reading, parsing or decrypting anything; whoever lags reads the log until it has caught up.
//!
//! What an event erases is gone from here as soon as the event is published or read, though it takes
//! longer until the vault has deleted the keys: it is taken out of what is kept in memory, out of what
//! was read ahead, and nothing is sealed under its keys any more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use compact_str::CompactString;
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::beside::{Beside, Said};
use crate::event::{Entry, Event, Origin};
use crate::id::Timestamp;
use crate::json;
use crate::keyring::Keyring;
use crate::log::{
    Actor, Append, Commit, Conflict, EventLog, LogError, Metadata, NewEvent, Place, Position,
    Recorded, Refusal, Role, StoredEvent, StreamId, Version,
};
use crate::pace::Pace;
use crate::recent::{Next, Published, Recent, Weight, without};
use crate::seal::{Bound, Confidential, Part, Private, SealError, encrypt_part};
use crate::upcast;
use crate::vault::{DataKey, KeyId, KeyVault, VaultError};

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
    #[error("events could not be opened: {0}")]
    Unopened(String),
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

impl Journal {
    /// Opens the journal of a log and the vault its events are sealed with.
    pub async fn open(
        log: Arc<dyn EventLog>,
        vault: Arc<dyn KeyVault>,
    ) -> Result<Arc<Self>, JournalError> {
        let head = log.head().await?;
        let role = log.role();
        Ok(Arc::new(Self {
            role,
            log,
            keys: Arc::new(Keyring::new(vault)),
            recent: Mutex::new(Recent::after(head)),
            head: watch::channel(head).0,
        }))
    }

    pub fn keys(&self) -> &Arc<Keyring> {
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

    /// Whether the log has a place. It has not if it ends before it, or if another event stands there:
    /// then an older copy of the log was put back since, or another log.
    pub async fn has(&self, place: Place) -> Result<bool, JournalError> {
        // A follower's copy may be behind.
        let all_here = self.role() != Role::Follower;
        if all_here && place.position > self.head() && place.position > self.true_head().await? {
            return Ok(false);
        }
        let (Some(before), Some(event)) = (place.position.0.checked_sub(1), place.event) else {
            return Ok(true);
        };
        let first = match self.log.all(Position(before)).next().await {
            Some(page) => page?.into_iter().next(),
            None => None,
        };
        Ok(first.is_none_or(|first| first.position == place.position && first.event.id == event))
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
        self.keys.named(&ids);
        let seen = self.keys.erasures();
        let mut keys = self.keys.load(&ids).await?;
        let mut commits = Vec::with_capacity(proposals.len());
        let mut weights = Vec::with_capacity(proposals.len());
        for proposal in &proposals {
            match write(after, proposal, &keys) {
                Ok((commit, of_commit)) => {
                    commits.push(commit);
                    weights.push(Ok(of_commit));
                    // Whoever comes after an erasure comes too late.
                    let events = proposal.drafts.iter().flat_map(|draft| &draft.events);
                    for key in events.flat_map(|(_, event)| event.erases()) {
                        keys.remove(&key);
                    }
                }
                Err(JournalError::Seal(SealError::NoKey(_))) => weights.push(Err(moved(proposal))),
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
            .zip(weights)
            .map_while(|(proposal, weights)| {
                let (outcome, weights) = match weights {
                    Ok(weights) => (outcomes.next()?, weights),
                    Err(conflict) => (Err(conflict.into()), Vec::new()),
                };
                Some(outcome.map(|recorded| {
                    let batch = entries(proposal, recorded);
                    let entries = batch.iter().cloned().zip(weights);
                    published.extend(entries.map(|(entry, weight)| Published { entry, weight }));
                    batch
                }))
            })
            .collect();
        // Of a commit that was recorded by an earlier try others have heard already.
        let head = self.head();
        published.retain(|published: &Published| published.entry.position > head);
        let positions = || published.iter().map(|published| published.entry.position);
        let last = positions().max();
        let dense = positions()
            .zip(head.0 + 1..)
            .all(|(position, next)| position.0 == next);
        if let Some(last) = last
            && self.role() == Role::Shared
            && after.is_none()
            && !dense
        {
            // What others recorded stands before or between these.
            self.publish_to(last).await?;
            return Ok(batches);
        }
        if self.keys.erasures() != seen {
            // Another node erased something meanwhile.
            let mut entries: Vec<_> = batch(&published).to_vec();
            still_there(&self.keys, &mut entries).await?;
            for (published, entry) in published.iter_mut().zip(entries) {
                published.entry = entry;
            }
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
            self.publish(open(&self.keys, page, Opened::Whole).await?);
        }
        Ok(())
    }

    /// Reads what was recorded after the head that is known here, and publishes it: what other nodes
    /// wrote, or an append left whose answer was lost. Only the task that appends may.
    pub async fn catch_up(&self) -> Result<Vec<Batch>, JournalError> {
        let mut found = Vec::new();
        let mut pages = self.log.all(self.head());
        while let Some(page) = pages.next().await {
            let page = open(&self.keys, page?, Opened::Whole).await?;
            found.push(batch(&page));
            self.publish(page);
        }
        Ok(found)
    }

    fn publish(&self, published: Vec<Published>) {
        let Some(last) = published.last().map(|published| published.entry.position) else {
            return;
        };
        let erased: HashSet<KeyId> = published
            .iter()
            .flat_map(|published| published.entry.event.erases())
            .collect();
        if !erased.is_empty() {
            self.keys.doom(erased.iter().copied());
        }
        {
            let mut recent = self.recent.lock();
            recent.push(published);
            if !erased.is_empty() {
                recent.erase(&erased);
            }
        }
        self.head.send_replace(last);
    }

    /// All entries after a position, and those that come. Never ends but by an error.
    pub fn follow(self: &Arc<Self>, after: Position) -> Batches {
        let journal = self.clone();
        async_stream::try_stream! {
            let mut after = after;
            let mut head = journal.watch_head();
            loop {
                head.borrow_and_update();
                // One at a time: what is erased while the last one is worked on is not in the next.
                let next = journal.recent.lock().next(after);
                match next {
                    Next::Nothing => {
                        if head.changed().await.is_err() {
                            return;
                        }
                    }
                    Next::Batch(batch) => {
                        after = batch.last().map_or(after, |entry| entry.position);
                        yield batch;
                    }
                    Next::InTheLog => {
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
        self.all_opened(after, Opened::Whole)
    }

    /// The same for a reader that looks neither at origins nor at the parts of events that are not
    /// `interesting`: these stay sealed, which saves most of the work.
    pub fn all_sparsely(&self, after: Position, interesting: fn(&Event) -> bool) -> Batches {
        self.all_opened(after, Opened::PartsOf(interesting))
    }

    fn all_opened(&self, after: Position, opened: Opened) -> Batches {
        let (sender, receiver) = mpsc::channel(1);
        let pages = self.log.all(after);
        let keys = self.keys.clone();
        let mut batches = pages
            .map(move |page| {
                let keys = keys.clone();
                async move {
                    let page = page?;
                    // On a task of its own, so that pages are opened beside each other.
                    let opening = tokio::spawn(async move {
                        let seen = keys.erasures();
                        let page = open(&keys, page, opened).await?;
                        Ok((seen, batch(&page)))
                    });
                    opening
                        .await
                        .unwrap_or_else(|error| Err(JournalError::Unopened(error.to_string())))
                }
            })
            .buffered(PAGES_AHEAD);
        tokio::spawn(async move {
            while let Some(batch) = batches.next().await {
                let failed = batch.is_err();
                if sender.send(batch).await.is_err() || failed {
                    return;
                }
            }
        });
        let keys = self.keys.clone();
        futures::stream::unfold((receiver, keys), |(mut receiver, keys)| async {
            let batch = match receiver.recv().await? {
                Ok((seen, batch)) if keys.erasures() != seen => rest_of(&keys, &batch).await,
                batch => batch.map(|(_, batch)| batch),
            };
            Some((batch, (receiver, keys)))
        })
        .boxed()
    }

    /// How often something was erased; see [`Self::still_there`].
    pub fn erasures(&self) -> u64 {
        self.keys.erasures()
    }

    /// What of a batch has not been erased since it was read. Whoever takes long over a batch asks
    /// when [`Self::erasures`] has changed.
    pub async fn still_there(&self, batch: &Batch) -> Result<Batch, JournalError> {
        rest_of(&self.keys, batch).await
    }

    /// The entries of one stream after a version.
    pub async fn stream(
        &self,
        stream: &StreamId,
        after: Version,
    ) -> Result<Vec<Arc<Entry>>, JournalError> {
        let mut entries = Vec::new();
        self.each(stream, after, |entry| entries.push(entry))
            .await?;
        Ok(entries)
    }

    /// Shows the entries of one stream after a version, one by one; of a long one there is a page at a
    /// time in memory.
    pub async fn each(
        &self,
        stream: &StreamId,
        after: Version,
        mut show: impl FnMut(Arc<Entry>) + Send,
    ) -> Result<(), JournalError> {
        let mut pages = self.log.stream(stream, after);
        while let Some(page) = pages.next().await {
            let page = open(&self.keys, page?, Opened::Whole).await?;
            for published in page {
                show(published.entry);
            }
        }
        Ok(())
    }

    /// All entries between a position and the head, as far as it is known here; from memory where it
    /// reaches back so far.
    pub async fn since(&self, after: Position) -> Result<Vec<Batch>, JournalError> {
        if let Some(batches) = self.recent.lock().since(after) {
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
    keys: &HashMap<KeyId, DataKey>,
) -> Result<(Commit, Vec<Weight>), JournalError> {
    let context = &proposal.context;
    let mut weights = Vec::new();
    let mut appends = Vec::with_capacity(proposal.drafts.len());
    for draft in &proposal.drafts {
        let mut events = Vec::with_capacity(draft.events.len());
        let mut version = draft.expected;
        for (id, event) in &draft.events {
            version = version.next();
            let place = (&draft.stream, version, *id);
            let (event, weight) = seal(place, event, context, keys)?;
            events.push(event);
            weights.push(weight);
        }
        appends.push(Append {
            stream: draft.stream.clone(),
            expected: draft.expected,
            events,
        });
    }
    let metadata = Metadata {
        at: context.at,
        clock: context.clock,
        actor: context.actor.clone(),
        correlation: context.correlation.clone(),
        causation: context.causation,
    };
    let commit = Commit {
        after,
        appends,
        metadata,
    };
    Ok((commit, weights))
}

/// Writes an event with its parts, and its origin, sealed beside all that it says in clear.
fn seal(
    (stream, version, id): (&StreamId, Version, Uuid),
    event: &Event,
    context: &Context,
    keys: &HashMap<KeyId, DataKey>,
) -> Result<(NewEvent, Weight), JournalError> {
    let unwritable = |error: serde_json::Error| JournalError::Unwritable(error.to_string());
    let key = |id: KeyId| keys.get(&id).ok_or(SealError::NoKey(id));
    let (kind, schema) = (event.kind(), upcast::schema(event.kind()));

    // With the number of each part in the place of its ciphertext.
    let mut event = event.clone();
    let mut parts = Vec::new();
    let mut failed = None;
    event.parts(&mut |part| match part.hold_place(parts.len().to_string()) {
        Ok(Some(plain)) => parts.push((part.key(), plain)),
        Ok(None) => {}
        Err(error) => failed = Some(error),
    });
    failed.map_or(Ok(()), Err)?;
    let mut payload = event.payload().map_err(unwritable)?;

    let mut named: Vec<KeyId> = context.origin.iter().map(Private::key).collect();
    named.extend(parts.iter().map(|(key, _)| *key));
    let mut origin = context.origin.clone();
    if !parts.is_empty() || origin.is_some() {
        let beside = Beside::new(&Said {
            stream,
            version,
            id,
            kind,
            schema,
            at: context.at,
            clock: context.clock,
            actor: &context.actor,
            correlation: context.correlation.as_deref(),
            causation: context.causation,
            payload: &payload,
        });
        if !parts.is_empty() {
            payload = fill(&payload, &beside, &parts, keys)?;
        }
        if let Some(origin) = &mut origin {
            origin.seal(key(origin.key())?, &beside.origin())?;
        }
    }
    let origin = origin.map(|origin| serde_json::to_string(&origin));
    let weight = Weight {
        keys: named,
        bytes: payload.len(),
    };
    let event = NewEvent {
        id,
        kind: kind.into(),
        schema,
        payload,
        origin: origin.transpose().map_err(unwritable)?,
    };
    Ok((event, weight))
}

/// Puts the ciphertexts of an event's parts where their numbers stand.
fn fill(
    open: &str,
    beside: &Beside,
    parts: &[(KeyId, Vec<u8>)],
    keys: &HashMap<KeyId, DataKey>,
) -> Result<String, JournalError> {
    let plain: usize = parts.iter().map(|(_, plain)| plain.len()).sum();
    let mut sealed = String::with_capacity(open.len() + plain * 4 / 3 + parts.len() * 48);
    let (mut from, mut filled) = (0, 0);
    for (number, place) in beside.places().iter().enumerate() {
        let part = open[place.clone()].parse::<usize>();
        let Some((id, plain)) = part.ok().and_then(|part| parts.get(part)) else {
            continue;
        };
        let key = keys.get(id).ok_or(SealError::NoKey(*id))?;
        sealed.push_str(&open[from..place.start]);
        sealed.push_str(&encrypt_part(*id, key, plain, &beside.part(number))?);
        from = place.end;
        filled += 1;
    }
    sealed.push_str(&open[from..]);
    if filled != parts.len() {
        return Err(JournalError::Unwritable(format!(
            "{filled} of its {} confidential parts stand in it",
            parts.len()
        )));
    }
    Ok(sealed)
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
                fault: None,
                event,
            }));
        }
    }
    entries.into()
}

fn batch(published: &[Published]) -> Batch {
    published
        .iter()
        .map(|published| published.entry.clone())
        .collect()
}

/// What is opened of entries that are read.
#[derive(Clone, Copy)]
enum Opened {
    /// All parts, and origins.
    Whole,
    /// The parts of these events, and no origins.
    PartsOf(fn(&Event) -> bool),
}

impl Opened {
    /// Calls `visit` with each part that is to be opened.
    fn parts(self, entry: &mut Entry, visit: &mut dyn FnMut(&mut dyn Part)) {
        match self {
            Self::Whole => entry.parts(visit),
            Self::PartsOf(interesting) if interesting(&entry.event) => entry.event.parts(visit),
            Self::PartsOf(_) => {}
        }
    }
}

/// Parses stored events and opens their parts, with one look into the vault for all. What they say is
/// erased stays closed, whether its key is gone already or not.
async fn open(
    keys: &Keyring,
    stored: Vec<StoredEvent>,
    opened: Opened,
) -> Result<Vec<Published>, JournalError> {
    let mut weights: Vec<Weight> = stored
        .iter()
        .map(|stored| Weight {
            keys: Vec::new(),
            bytes: stored.event.payload.len(),
        })
        .collect();
    let mut pace = Pace::new();
    let mut entries = Vec::with_capacity(stored.len());
    for stored in stored {
        entries.push(parse(stored)?);
        pace.keep().await;
    }
    let mut erased: HashSet<KeyId> = HashSet::new();
    let mut wanted: Vec<KeyId> = Vec::new();
    for ((entry, _), weight) in entries.iter_mut().zip(&mut weights) {
        entry.parts(&mut |part| weight.keys.push(part.key()));
        opened.parts(entry, &mut |part| wanted.push(part.key()));
        erased.extend(entry.event.erases());
    }
    for weight in &weights {
        keys.named(&weight.keys);
    }
    wanted.extend(&erased);
    keys.named(&wanted);
    let seen = keys.erasures();
    let mut found = keys.load(&wanted).await?;
    let doomed: Vec<KeyId> = erased
        .into_iter()
        .filter(|key| found.remove(key).is_some())
        .collect();
    if !doomed.is_empty() {
        keys.doom(doomed);
    }
    for (entry, written) in &mut entries {
        unseal(entry, written, &found, opened);
        if let Some(fault) = entry.fault {
            let (position, why) = (entry.position, fault.as_str());
            tracing::warn!(%position, why, "a part of an event can't be read under its key");
        }
        pace.keep().await;
    }
    let entries = entries.into_iter().map(|(entry, _)| Arc::new(entry));
    let mut entries: Vec<Arc<Entry>> = entries.collect();
    if keys.erasures() != seen {
        still_there(keys, &mut entries).await?;
    }
    let published = entries.into_iter().zip(weights);
    Ok(published
        .map(|(entry, weight)| Published { entry, weight })
        .collect())
}

/// Opens the parts of an event that was read, and its origin, with the keys that are there.
fn unseal(entry: &mut Entry, written: &Written, keys: &HashMap<KeyId, DataKey>, opened: Opened) {
    let (mut bound, mut any) = (Bound::Id, false);
    opened.parts(entry, &mut |part| {
        any = true;
        if let Some((_, Bound::Event)) = part.sealed() {
            bound = Bound::Event;
        }
    });
    if !any {
        return;
    }
    let beside = (bound == Bound::Event).then(|| {
        Beside::new(&Said {
            stream: &entry.stream,
            version: entry.version,
            id: entry.id,
            kind: &written.kind,
            schema: written.schema,
            at: entry.at,
            clock: entry.clock,
            actor: &entry.actor,
            correlation: entry.correlation.as_deref(),
            causation: entry.causation,
            payload: &written.payload,
        })
    });
    let (id, mut fault) = (entry.id, None);
    entry.event.parts(&mut |part| {
        let context = match (part.sealed(), &beside) {
            (Some((cipher, Bound::Event)), Some(beside)) => {
                beside.part_of(&written.payload, cipher)
            }
            _ => None,
        };
        let context = context
            .as_ref()
            .map_or(&id.as_bytes()[..], |context| context);
        part.open(keys.get(&part.key()), context);
        fault = fault.or(part.fault());
    });
    let origin = entry.origin.as_mut();
    if let Some(origin) = origin.filter(|_| matches!(opened, Opened::Whole)) {
        let context = match (origin.sealed(), &beside) {
            (Some((_, Bound::Event)), Some(beside)) => Some(beside.origin()),
            _ => None,
        };
        let nothing = Uuid::nil();
        let context = context
            .as_ref()
            .map_or(&nothing.as_bytes()[..], |context| context);
        origin.open(keys.get(&origin.key()), context);
        fault = fault.or(origin.fault());
    }
    entry.fault = fault;
}

async fn rest_of(keys: &Keyring, batch: &Batch) -> Result<Batch, JournalError> {
    let mut entries = batch.to_vec();
    still_there(keys, &mut entries).await?;
    Ok(entries.into())
}

/// Leaves of entries what has not been erased.
async fn still_there(keys: &Keyring, entries: &mut [Arc<Entry>]) -> Result<(), JournalError> {
    let mut parts: Vec<Vec<KeyId>> = Vec::with_capacity(entries.len());
    for entry in entries.iter() {
        let mut keys = Vec::new();
        Entry::clone(entry).parts(&mut |part| keys.push(part.key()));
        parts.push(keys);
    }
    let found = keys.load(&parts.concat()).await?;
    for (entry, parts) in entries.iter_mut().zip(parts) {
        if !parts.iter().all(|key| found.contains_key(key)) {
            *entry = Arc::new(without(entry, |key| !found.contains_key(&key)));
        }
    }
    Ok(())
}

/// What of an event its parts are sealed beside, as it stands in the log.
struct Written {
    kind: CompactString,
    schema: u16,
    payload: String,
}

fn parse(stored: StoredEvent) -> Result<(Entry, Written), LogError> {
    let StoredEvent {
        position,
        stream,
        version,
        event,
        metadata,
    } = stored;
    let damaged = |reason: String| LogError::Damaged { position, reason };
    let origin = event
        .origin
        .map(|origin| json::from_str(&origin))
        .transpose()
        .map_err(|error| damaged(error.to_string()))?;
    let opened = Event::read(stream.category(), &event.kind, event.schema, &event.payload)
        .map_err(|error| damaged(format!("{}: {error}", event.kind)))?;
    let entry = Entry {
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
        fault: None,
        event: opened,
    };
    let written = Written {
        kind: event.kind,
        schema: event.schema,
        payload: event.payload,
    };
    Ok((entry, written))
}
