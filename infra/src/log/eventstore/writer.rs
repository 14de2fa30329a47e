//! The writer: puts each batch behind the last event that it knows of.
//!
//! The server takes a batch only if the stream ends where the writer believes, so whatever was decided
//! from the copy still holds when it is written. If another node was faster, the writer waits for its
//! events and decides again. An append whose answer is lost is repeated as it was: the server knows
//! the events by their ids and adds none of them twice.

use std::sync::Arc;
use std::time::Duration;

use hansard_domain::log::{Commit, LogError, Position};
use kurrentdb::EventData;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::record::{self, Written};
use super::server::{Failure, Server};
use crate::log::batch::{BATCH_EVENTS, EventRow, size};
use crate::log::sqlite::SqliteLog;
use crate::log::sqlite::writer::{Answer, Plan};
use crate::log::{Progress, closed};

/// How many bytes one append may have; servers take 1,048,576 unless they are told otherwise
/// (`MaxAppendSize`).
const APPEND_BYTES: usize = 960_000;

/// How long a batch may take in all before its outcome is given up as unknown.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pause after an append that was not answered.
const PAUSE: Duration = Duration::from_millis(200);

pub enum Request {
    Append {
        commits: Vec<Commit>,
        answer: oneshot::Sender<Answer>,
    },
    Close {
        done: oneshot::Sender<()>,
    },
}

pub struct Writer {
    pub server: Server,
    pub replica: Arc<SqliteLog>,
    pub progress: watch::Receiver<Progress>,
    /// To tell the one who copies that there is something.
    pub wake: Arc<Notify>,
}

impl Writer {
    /// Works until it is told to close or nobody is left who could ask.
    pub async fn run(self, mut requests: mpsc::Receiver<Request>) {
        // What did not fit to the batch before it.
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(request) => Some(request),
                None => requests.recv().await,
            };
            let (commits, answer) = match first {
                None => return,
                Some(Request::Close { done }) => {
                    let _ = done.send(());
                    return;
                }
                Some(Request::Append { commits, answer }) => (commits, answer),
            };
            let (mut events, mut bytes) = size(&commits);
            let mut waiting = vec![(commits.len(), answer)];
            let mut batch = commits;
            while events < BATCH_EVENTS && bytes < APPEND_BYTES / 2 {
                match requests.try_recv() {
                    Ok(Request::Append { commits, answer }) => {
                        let size = size(&commits);
                        events += size.0;
                        bytes += size.1;
                        waiting.push((commits.len(), answer));
                        batch.extend(commits);
                    }
                    other => {
                        next = other.ok();
                        break;
                    }
                }
            }
            // Whoever asked may have gone; what was written stays.
            match self.append(batch).await {
                Ok(outcomes) => {
                    let mut outcomes = outcomes.into_iter();
                    for (count, answer) in waiting {
                        let _ = answer.send(Ok(outcomes.by_ref().take(count).collect()));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a batch was not written to the event log");
                    for (_, answer) in waiting {
                        let _ = answer.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    async fn append(&self, commits: Vec<Commit>) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (next, plan) = self.plan(&commits, deadline).await?;
            if plan.rows.is_empty() {
                return Ok(plan.settle(&[]).0);
            }
            let (pieces, positions) = pieces(next, &plan.rows)?;
            let end = next + pieces.len() as u64;
            match self.write(next, pieces, deadline).await {
                Ok(()) => {
                    self.copied(end, deadline).await?;
                    return Ok(plan.settle(&positions).0);
                }
                Err(Failure::Overtaken(last)) => {
                    let end = last.map_or(0, |last| last + 1);
                    if end < next {
                        return Err(LogError::Unavailable(format!(
                            "the stream ends before event {end}, but has had {next}: it was made anew"
                        )));
                    }
                    self.copied(end, deadline).await?;
                }
                Err(failure) => return Err(LogError::Unavailable(failure.to_string())),
            }
        }
    }

    /// Decides about commits, and tells how many events the stream has then.
    async fn plan(&self, commits: &[Commit], deadline: Instant) -> Result<(u64, Plan), LogError> {
        loop {
            // Before the plan: whatever is copied meanwhile, the server finds out.
            let next = self.progress.borrow().applied;
            let plan = self.replica.plan(commits.to_vec()).await?;
            if !plan.refuses() && !plan.rows.is_empty() {
                return Ok((next, plan));
            }
            // What was refused may only be ahead of this copy, and what writes nothing is not checked
            // by the server.
            let end = self.server.end().await;
            let end = end.map_err(|failure| LogError::Unavailable(failure.to_string()))?;
            if end <= next {
                return Ok((next, plan));
            }
            self.copied(end, deadline).await?;
        }
    }

    /// Writes events behind the first `next` of the stream.
    async fn write(
        &self,
        next: u64,
        pieces: Vec<Written>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let (mut at, mut bytes, mut events) = (next, 0, Vec::new());
        for Written { event, size } in pieces {
            if bytes + size > APPEND_BYTES && !events.is_empty() {
                let count = events.len() as u64;
                self.send(at, std::mem::take(&mut events), deadline).await?;
                (at, bytes) = (at + count, 0);
            }
            bytes += size;
            events.push(event);
        }
        self.send(at, events, deadline).await
    }

    /// Appends, and again where the answer is lost.
    async fn send(
        &self,
        next: u64,
        events: Vec<EventData>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        loop {
            match self.server.append(next, events.clone()).await {
                Err(Failure::Unknown(reason)) if Instant::now() < deadline => {
                    tracing::warn!(reason, "an append was not answered; trying again");
                    sleep(PAUSE).await;
                }
                outcome => {
                    self.wake.notify_one();
                    return outcome;
                }
            }
        }
    }

    /// Waits until so many events of the stream are copied.
    async fn copied(&self, end: u64, deadline: Instant) -> Result<(), LogError> {
        self.wake.notify_one();
        let mut progress = self.progress.clone();
        let copied = progress.wait_for(|progress| progress.applied >= end);
        match timeout_at(deadline, copied).await {
            Ok(copied) => copied.map(drop).map_err(|_| closed()),
            Err(_) => Err(LogError::Unavailable(
                "the local copy of the stream does not follow".to_owned(),
            )),
        }
    }
}

/// What events are written as behind the first `next` of the stream, and the positions they get: that
/// of its last piece each.
fn pieces(next: u64, rows: &[EventRow]) -> Result<(Vec<Written>, Vec<Position>), LogError> {
    let mut pieces = Vec::with_capacity(rows.len());
    let mut positions = Vec::with_capacity(rows.len());
    let mut commit = None;
    for row in rows {
        let written = record::write(row, *commit.get_or_insert(row.event.id));
        pieces.extend(written.map_err(|error| LogError::Unavailable(error.to_string()))?);
        positions.push(Position(next + pieces.len() as u64));
        if row.following == 0 {
            commit = None;
        }
    }
    Ok((pieces, positions))
}
