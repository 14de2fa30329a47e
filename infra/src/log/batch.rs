//! Which commits of a batch go in, and where their events come to stand: the same for every log that
//! decides itself.
//!
//! Decided in memory, from the versions that the streams have and from the events that stand already
//! where commits of the batch want to stand: those are retries, or too late.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hansard_domain::log::{
    Append, Commit, Conflict, NewEvent, Outcome, Position, Recorded, Refusal, StreamId, Version,
};
use uuid::Uuid;

/// What the events of a commit have in common, as it is bound.
pub struct Envelope {
    pub at: i64,
    pub clock: Option<i64>,
    pub actor: Arc<str>,
    pub correlation: Option<Arc<str>>,
    pub causation: Option<Arc<[u8]>>,
}

pub struct EventRow {
    pub position: u64,
    pub stream: StreamId,
    pub version: u64,
    pub event: NewEvent,
    pub envelope: Arc<Envelope>,
    /// How many events of its commit follow.
    pub following: u32,
}

/// A stream as the batch leaves it.
#[derive(Default)]
struct StreamState {
    /// Its version in the database.
    stored: u64,
    /// Those of its stored events that commits of the batch may be a retry of, by version.
    standing: HashMap<u64, (Uuid, Position)>,
    /// The events that the batch adds.
    added: Vec<(Uuid, Position)>,
}

impl StreamState {
    fn version(&self) -> u64 {
        self.stored + self.added.len() as u64
    }

    fn at(&self, version: u64) -> Option<(Uuid, Position)> {
        match version.checked_sub(self.stored + 1) {
            Some(added) => self.added.get(added as usize).copied(),
            None => self.standing.get(&version).copied(),
        }
    }
}

/// Events of a stream that stand where a commit wants to stand: after a version, up to another.
pub struct Overlap {
    pub stream: StreamId,
    pub after: u64,
    pub last: u64,
}

/// Decided, not yet written.
pub struct Batch {
    /// The position of the first event that it adds.
    pub first: u64,
    streams: HashMap<StreamId, StreamState>,
    pub rows: Vec<EventRow>,
}

impl Batch {
    /// A batch after this head, for streams whose versions will be [told](Self::stored).
    pub fn new(head: Position, commits: &[Commit]) -> Self {
        let appends = commits.iter().flat_map(|commit| &commit.appends);
        let streams = appends
            .map(|append| (append.stream.clone(), StreamState::default()))
            .collect();
        Self {
            first: head.0 + 1,
            streams,
            rows: Vec::new(),
        }
    }

    /// The names of all streams that the batch touches.
    pub fn names(&self) -> Vec<&str> {
        self.streams.keys().map(StreamId::as_str).collect()
    }

    /// Tells the version of a stream that has events.
    pub fn stored(&mut self, stream: &StreamId, version: u64) {
        if let Some(state) = self.streams.get_mut(stream) {
            state.stored = version;
        }
    }

    /// The places that commits want to take and that are taken already.
    pub fn overlaps(&self, commits: &[Commit]) -> Vec<Overlap> {
        let overlap = |append: &Append| {
            let stored = self.streams.get(&append.stream)?.stored;
            let last = stored.min(append.expected.0 + append.events.len() as u64);
            (append.expected.0 < last).then(|| Overlap {
                stream: append.stream.clone(),
                after: append.expected.0,
                last,
            })
        };
        let appends = commits.iter().flat_map(|commit| &commit.appends);
        appends.filter_map(overlap).collect()
    }

    /// Tells an event that stands at such a place.
    pub fn standing(&mut self, stream: &StreamId, version: u64, id: Uuid, position: Position) {
        if let Some(state) = self.streams.get_mut(stream) {
            state.standing.insert(version, (id, position));
        }
    }

    /// The streams that the batch touches, with the versions that it leaves them at.
    pub fn versions(&self) -> impl Iterator<Item = (&StreamId, u64)> {
        let streams = self.streams.iter();
        streams.map(|(stream, state)| (stream, state.version()))
    }

    /// The position after the last event.
    pub fn next_position(&self) -> u64 {
        self.first + self.rows.len() as u64
    }

    /// Takes a commit in, or finds it there already, or refuses it.
    pub fn decide(&mut self, commit: Commit) -> Outcome {
        let overtaken = commit.after.is_some_and(|after| after.0 + 1 != self.first);
        match self.conflict(&commit) {
            None if overtaken => Err(Refusal::Overtaken),
            None => Ok(self.take(commit)),
            Some(conflict) => match self.earlier(&commit) {
                Some(recorded) => Ok(recorded),
                None if overtaken => Err(Refusal::Overtaken),
                None => Err(conflict.into()),
            },
        }
    }

    /// The first stream of a commit that is not at the version it should be.
    fn conflict(&self, commit: &Commit) -> Option<Conflict> {
        let mut named = HashSet::new();
        commit.appends.iter().find_map(|append| {
            // Named twice, against the rules of the port; let in, it could fail the whole batch.
            let twice = commit.appends.len() > 1 && !named.insert(&append.stream);
            let actual = match self.streams.get(&append.stream) {
                _ if twice => append.expected.0 + 1,
                state => state.map_or(0, StreamState::version),
            };
            (actual != append.expected.0).then(|| Conflict {
                stream: append.stream.clone(),
                expected: append.expected,
                actual: Version(actual),
            })
        })
    }

    fn take(&mut self, commit: Commit) -> Recorded {
        let Commit {
            appends, metadata, ..
        } = commit;
        let envelope = Arc::new(Envelope {
            at: metadata.at.0,
            clock: metadata.clock.map(|clock| clock.0),
            actor: metadata.actor.to_string().into(),
            correlation: metadata.correlation.as_deref().map(Into::into),
            causation: metadata.causation.map(|id| id.as_bytes().as_slice().into()),
        });
        let mut positions = Vec::new();
        let mut following: usize = appends.iter().map(|append| append.events.len()).sum();
        for append in appends {
            let mut version = append.expected;
            let mut added = Vec::with_capacity(append.events.len());
            for event in append.events {
                version = version.next();
                following -= 1;
                let position = self.next_position();
                positions.push(Position(position));
                added.push((event.id, Position(position)));
                self.rows.push(EventRow {
                    position,
                    stream: append.stream.clone(),
                    version: version.0,
                    event,
                    envelope: envelope.clone(),
                    following: following as u32,
                });
            }
            if let Some(state) = self.streams.get_mut(&append.stream) {
                state.added.append(&mut added);
            }
        }
        Recorded { positions }
    }

    /// Where the commit stands already, if every one of its events does, under the same id at the
    /// place where it would have come to stand: then this is a retry.
    fn earlier(&self, commit: &Commit) -> Option<Recorded> {
        let mut positions = Vec::new();
        for append in &commit.appends {
            let state = self.streams.get(&append.stream)?;
            let last = append.expected.0 + append.events.len() as u64;
            if state.version() < last {
                return None;
            }
            for (version, event) in (append.expected.0 + 1..).zip(&append.events) {
                let (id, position) = state.at(version)?;
                if id != event.id {
                    return None;
                }
                positions.push(position);
            }
        }
        // A commit without events has nothing to be known by.
        (!positions.is_empty()).then_some(Recorded { positions })
    }
}
