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
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::record::{self, Written};
use super::server::{Failure, Server};
use crate::log::batch::EventRow;
use crate::log::queue::{Answer, Queue, Work};
use crate::log::sqlite::SqliteLog;
use crate::log::sqlite::writer::Plan;
use crate::log::{Progress, closed};

/// How many bytes one append may have; servers take 1,048,576 unless they are told otherwise
/// (`MaxAppendSize`).
const APPEND_BYTES: usize = 960_000;

/// A batch takes no further append once it has this many bytes, so that it is mostly one append.
pub const BATCH_BYTES: usize = APPEND_BYTES / 2;

/// How long a batch may take in all before its outcome is given up as unknown.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long another node's commit of several appends is waited for.
const COURTESY: Duration = Duration::from_millis(200);

/// The pause after an append that was not answered.
const PAUSE: Duration = Duration::from_millis(200);

pub struct Writer {
    pub server: Server,
    pub replica: Arc<SqliteLog>,
    pub progress: watch::Receiver<Progress>,
    /// Whether somebody's commit has begun that is not whole yet.
    pub partial: watch::Receiver<bool>,
    /// To tell the one who copies that there is something.
    pub wake: Arc<Notify>,
}

impl Writer {
    /// Works until it is told to close or nobody is left who could ask.
    pub async fn run(self, mut queue: Queue) {
        let closed = loop {
            match queue.next().await {
                Work::Batch(batch) => {
                    let written = self.append(batch.commits).await;
                    if let Err(error) = &written {
                        tracing::warn!(%error, "a batch was not written to the event log");
                    }
                    batch.waiting.hear(written);
                }
                Work::Own(never) => match never {},
                Work::Close(done) => break done,
            }
        };
        if let Some(done) = closed {
            // Nobody may wait any more.
            let _ = done.send(());
        }
    }

    async fn append(&self, commits: Vec<Commit>) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Whoever writes into the middle of a commit makes it begin anew.
            let mut partial = self.partial.clone();
            let _ = timeout(COURTESY, partial.wait_for(|partial| !partial)).await;
            let (next, plan) = self.plan(&commits, deadline).await?;
            if plan.rows.is_empty() {
                return Ok(plan.settle(&[]).0);
            }
            let (commits, positions) = commits_of(next, &plan.rows)?;
            let pieces: usize = commits.iter().map(Vec::len).sum();
            let end = next + pieces as u64;
            match self.write(next, commits, deadline).await {
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

    /// Writes commits behind the first `next` events of the stream: several by one append where they
    /// fit, one by several where it does not.
    async fn write(
        &self,
        next: u64,
        commits: Vec<Vec<Written>>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let (mut at, mut bytes, mut events) = (next, 0, Vec::new());
        for commit in commits {
            let size: usize = commit.iter().map(|piece| piece.size).sum();
            let mut cut = bytes + size > APPEND_BYTES;
            for Written { event, size } in commit {
                if (cut || bytes + size > APPEND_BYTES) && !events.is_empty() {
                    let count = events.len() as u64;
                    self.send(at, std::mem::take(&mut events), deadline).await?;
                    (at, bytes) = (at + count, 0);
                }
                cut = false;
                bytes += size;
                events.push(event);
            }
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

/// What the commits of events are written as behind the first `next` of the stream, and the positions
/// that the events get: that of its last piece each.
fn commits_of(
    next: u64,
    rows: &[EventRow],
) -> Result<(Vec<Vec<Written>>, Vec<Position>), LogError> {
    let mut commits = Vec::new();
    let mut positions = Vec::with_capacity(rows.len());
    let mut place = next;
    for commit in rows.chunk_by(|row, _| row.following > 0) {
        let mut pieces = Vec::with_capacity(commit.len());
        for row in commit {
            let written = record::write(row, commit[0].event.id);
            let written = written.map_err(|error| LogError::Unavailable(error.to_string()))?;
            place += written.len() as u64;
            positions.push(Position(place));
            pieces.extend(written);
        }
        commits.push(pieces);
    }
    Ok((commits, positions))
}
