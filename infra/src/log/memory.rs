//! An event log in memory: for tests, which can make it fail, and for trying things out.
//!
//! It keeps the promises of the port except that nothing outlives the process.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::id::Timestamp;
use hansard_domain::log::{
    Append, Commit, Conflict, EventLog, EventPages, LogError, NewEvent, Outcome, Position,
    Recorded, Refusal, Role, StoredEvent, StreamId, Version,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{closed, unfold};

const PAGE_EVENTS: usize = 1000;

/// See the module. A clone is the same log, as if it had been opened again.
#[derive(Clone)]
pub struct MemoryLog {
    events: Arc<Mutex<Events>>,
    head: watch::Sender<Position>,
    faults: Faults,
    role: watch::Sender<Role>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryLog {
    pub fn new() -> Self {
        let (head, _) = watch::channel(Position::START);
        Self {
            events: Arc::default(),
            head,
            faults: Faults::new(),
            role: watch::channel(Role::Sole).0,
        }
    }

    /// The same log as another node sees it, which writes it in this role; see [`Self::set_role`].
    pub fn on_another_node(&self, role: Role) -> Self {
        Self {
            faults: Faults::new(),
            role: watch::channel(role).0,
            ..self.clone()
        }
    }

    /// Says who writes; a follower's appends fail.
    pub fn set_role(&self, role: Role) {
        self.role.send_replace(role);
    }

    /// The handle that makes this log fail.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    fn pages(&self, after: Position, wait: bool) -> EventPages {
        let state = (self.events.clone(), self.head.subscribe(), after);
        unfold(state, move |(events, mut head, after)| async move {
            if wait {
                head.wait_for(|head| *head > after)
                    .await
                    .map_err(|_| closed())?;
            }
            let page = events.lock().after(after);
            let last = page.last().map(|event| event.position);
            Ok(last.map(|last| (page, (events, head, last))))
        })
    }
}

/// Makes a [`MemoryLog`] fail. What is asked for holds for the appends that come afterwards.
#[derive(Clone)]
pub struct Faults {
    next: Arc<Mutex<NextFaults>>,
    stalled: watch::Sender<bool>,
}

#[derive(Default)]
struct NextFaults {
    failing: usize,
    answers_lost: usize,
    full: bool,
}

impl Faults {
    fn new() -> Self {
        Self {
            next: Arc::default(),
            stalled: watch::channel(false).0,
        }
    }

    /// The next appends fail, with nothing written.
    pub fn fail_next(&self, appends: usize) {
        self.next.lock().failing = appends;
    }

    /// The next appends are written, yet fail: the answer gets lost.
    pub fn lose_next_answers(&self, appends: usize) {
        self.next.lock().answers_lost = appends;
    }

    /// Whether the disk is full, until told otherwise.
    pub fn set_full(&self, full: bool) {
        self.next.lock().full = full;
    }

    /// Appends wait, with nothing written, until [`release`](Self::release).
    pub fn stall(&self) {
        self.stalled.send_replace(true);
    }

    pub fn release(&self) {
        self.stalled.send_replace(false);
    }

    async fn before_writing(&self) -> Result<(), LogError> {
        let mut stalled = self.stalled.subscribe();
        stalled
            .wait_for(|stalled| !stalled)
            .await
            .map_err(|_| closed())?;
        let mut next = self.next.lock();
        if next.full {
            return Err(LogError::Full);
        }
        if next.failing > 0 {
            next.failing -= 1;
            return Err(LogError::Unavailable("a fault was injected".to_owned()));
        }
        Ok(())
    }

    fn after_writing(&self) -> Result<(), LogError> {
        let mut next = self.next.lock();
        if next.answers_lost > 0 {
            next.answers_lost -= 1;
            return Err(LogError::Unavailable(
                "an answer was lost by injection".to_owned(),
            ));
        }
        Ok(())
    }
}

/// All events, the one at position 1 first, and where those of each stream stand.
#[derive(Default)]
struct Events {
    all: Vec<StoredEvent>,
    streams: HashMap<StreamId, Vec<usize>>,
}

impl Events {
    fn version(&self, stream: &StreamId) -> Version {
        Version(
            self.streams
                .get(stream)
                .map_or(0, |places| places.len() as u64),
        )
    }

    fn head(&self) -> Position {
        Position(self.all.len() as u64)
    }

    fn after(&self, position: Position) -> Vec<StoredEvent> {
        self.all
            .iter()
            .skip(position.0 as usize)
            .take(PAGE_EVENTS)
            .cloned()
            .collect()
    }

    /// Writes a commit of an append that found the log at `head`.
    fn write(&mut self, commit: Commit, head: Position) -> Outcome {
        let overtaken = commit.after.is_some_and(|after| after != head);
        if let Some(conflict) = self.conflict(&commit) {
            return match self.earlier(&commit) {
                Some(recorded) => Ok(recorded),
                None if overtaken => Err(Refusal::Overtaken),
                None => Err(conflict.into()),
            };
        }
        if overtaken {
            return Err(Refusal::Overtaken);
        }
        let mut positions = Vec::new();
        for append in commit.appends {
            let places = self.streams.entry(append.stream.clone()).or_default();
            for event in append.events {
                let place = self.all.len();
                let position = Position(place as u64 + 1);
                places.push(place);
                positions.push(position);
                self.all.push(StoredEvent {
                    position,
                    stream: append.stream.clone(),
                    version: Version(places.len() as u64),
                    event,
                    metadata: commit.metadata.clone(),
                });
            }
        }
        Ok(Recorded { positions })
    }

    fn conflict(&self, commit: &Commit) -> Option<Conflict> {
        let mut named = HashSet::new();
        commit.appends.iter().find_map(|append| {
            // Named twice, against the rules of the port: the second can't be what it expects.
            let twice = !named.insert(&append.stream);
            let actual = if twice {
                append.expected.next()
            } else {
                self.version(&append.stream)
            };
            (actual != append.expected).then(|| Conflict {
                stream: append.stream.clone(),
                expected: append.expected,
                actual,
            })
        })
    }

    /// Where a commit stands already, if all of it does under the same ids: then it is a retry.
    fn earlier(&self, commit: &Commit) -> Option<Recorded> {
        let standing = |append: &Append| -> Option<Vec<Position>> {
            let places = self
                .streams
                .get(&append.stream)
                .map_or(&[][..], Vec::as_slice);
            let mut places = places.get(append.expected.0 as usize..)?.iter();
            let stands = |event: &NewEvent| {
                let there = &self.all[*places.next()?];
                (there.event.id == event.id).then_some(there.position)
            };
            append.events.iter().map(stands).collect()
        };
        let positions: Vec<_> = commit
            .appends
            .iter()
            .map(standing)
            .collect::<Option<Vec<_>>>()?
            .concat();
        // A commit without events has nothing to be known by.
        (!positions.is_empty()).then_some(Recorded { positions })
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    async fn moved(&self, after: Position) -> Result<Position, LogError> {
        let mut head = self.head.subscribe();
        let moved = head.wait_for(|head| *head > after).await;
        moved.map(|head| *head).map_err(|_| closed())
    }

    async fn append(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, LogError> {
        if *self.role.borrow() == Role::Follower {
            return Err(LogError::Follower);
        }
        self.faults.before_writing().await?;
        let outcomes = {
            let mut events = self.events.lock();
            let head = events.head();
            let outcomes = commits
                .into_iter()
                .map(|commit| events.write(commit, head))
                .collect();
            // Under the lock, so that the head never goes back.
            self.head.send_replace(events.head());
            outcomes
        };
        self.faults.after_writing()?;
        Ok(outcomes)
    }

    fn stream(&self, stream: &StreamId, after: Version) -> EventPages {
        let state = (self.events.clone(), stream.clone(), after);
        unfold(state, |(events, stream, after)| async move {
            let page: Vec<_> = {
                let events = events.lock();
                let places = events.streams.get(&stream).map_or(&[][..], Vec::as_slice);
                let places = places.iter().skip(after.0 as usize).take(PAGE_EVENTS);
                places.map(|place| events.all[*place].clone()).collect()
            };
            let last = page.last().map(|event| event.version);
            Ok(last.map(|last| (page, (events, stream, last))))
        })
    }

    fn all(&self, after: Position) -> EventPages {
        self.pages(after, false)
    }

    fn follow(&self, after: Position) -> EventPages {
        self.pages(after, true)
    }

    async fn head(&self) -> Result<Position, LogError> {
        Ok(self.events.lock().head())
    }

    async fn position_at(&self, at: Timestamp) -> Result<Position, LogError> {
        let events = self.events.lock();
        let count = events.all.partition_point(|event| event.metadata.at <= at);
        Ok(Position(count as u64))
    }
}

#[cfg(test)]
mod tests {
    use hansard_domain::log::{Actor, Metadata};

    use super::*;

    fn commit(number: u128) -> Commit {
        let event = NewEvent {
            id: uuid::Uuid::from_u128(number),
            kind: "Happened".into(),
            schema: 1,
            payload: "{}".to_owned(),
            origin: None,
        };
        let append = Append {
            stream: StreamId::new("thing", number),
            expected: Version::NONE,
            events: vec![event],
        };
        let metadata = Metadata {
            at: Timestamp(0),
            clock: None,
            actor: Actor::System,
            correlation: None,
            causation: None,
        };
        Commit {
            after: None,
            appends: vec![append],
            metadata,
        }
    }

    #[tokio::test]
    async fn faults_do_what_they_are_asked_for() {
        let log = MemoryLog::new();
        log.faults().fail_next(1);
        assert!(log.append(vec![commit(1)]).await.is_err());
        assert_eq!(log.head().await.unwrap(), Position(0));

        log.faults().lose_next_answers(1);
        assert!(log.append(vec![commit(1)]).await.is_err());
        assert_eq!(log.head().await.unwrap(), Position(1));
        let retried = log.append(vec![commit(1)]).await.unwrap();
        assert_eq!(
            retried,
            vec![Ok(Recorded {
                positions: vec![Position(1)]
            })]
        );

        log.faults().set_full(true);
        assert!(matches!(
            log.append(vec![commit(2)]).await,
            Err(LogError::Full)
        ));
        log.faults().set_full(false);

        log.faults().stall();
        let mut waiting = std::pin::pin!(log.append(vec![commit(2)]));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert_eq!(log.head().await.unwrap(), Position(1));
        log.faults().release();
        waiting.await.unwrap()[0].clone().unwrap();
        assert_eq!(log.head().await.unwrap(), Position(2));
    }
}
