//! The committer: the one task that decides and records.
//!
//! It takes what is waiting, decides one after the other on the newest model, and records the outcome
//! of all with one append. While that append runs, the next batch gathers: the busier the server, the
//! larger the batches. Answers go out after the append is durable and the write model has advanced.
//!
//! Where several nodes write one log, each has a committer. What others wrote is taken in when the
//! log tells of it, and before a commit's own events; a decision that they overtook, so that its
//! commit conflicts, is taken again on the newer model. Where nodes elect their writer, the committers
//! of the others decide nothing.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hansard_domain::audit::AuditEvent;
use hansard_domain::id::Clock;
use hansard_domain::journal::{Batch, JournalError, Proposal};
use hansard_domain::log::{Conflict, LogError, Position, Role, StreamId};
use tokio::sync::{mpsc, watch};

use crate::bus::Job;
use crate::caller::Caller;
use crate::decision::{Decision, Tools};
use crate::error::CommandError;
use crate::model::WriteModel;

/// How many decisions one append carries at most.
const MAX_BATCH: usize = 512;

/// Keys minted ahead; below the low mark more are minted beside the work.
const KEYS_LOW: usize = 2048;
const KEYS_HIGH: usize = 6144;

/// A decision that needs more keys than this at once is not one decision.
const KEYS_PER_JOB: usize = 4;

/// How often a decision is taken that other nodes overtake.
const ATTEMPTS: usize = 5;

/// How long the committer waits before it asks a log that failed again.
const RECOVERY_PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Committer {
    pub model: Arc<ArcSwap<WriteModel>>,
    pub tools: Arc<Tools>,
    pub clock: Arc<dyn Clock>,
    pub jobs: mpsc::Receiver<Box<dyn Job>>,
    pub minting: Arc<AtomicBool>,
    pub role: watch::Receiver<Role>,
    /// The address that other nodes reach this one at, where they elect their writer.
    pub address: Option<String>,
}

/// A job that was decided and waits for its commit.
struct Decided {
    job: Box<dyn Job>,
    /// What the caller is told once it is recorded.
    verdict: Result<(), CommandError>,
    /// Whether something is to be recorded.
    recorded: bool,
}

impl Committer {
    /// Runs until every sender of jobs is gone and all they sent is answered.
    pub async fn run(mut self) {
        let mut waiting = Vec::with_capacity(MAX_BATCH);
        self.take_role().await;
        loop {
            let journal = self.tools.journal.clone();
            tokio::select! {
                Ok(()) = self.role.changed() => self.take_role().await,
                moved = journal.moved() => self.hear(moved).await,
                taken = self.jobs.recv_many(&mut waiting, MAX_BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    self.work(std::mem::take(&mut waiting)).await;
                    waiting.reserve(MAX_BATCH);
                }
            }
        }
    }

    /// Begins or ends to write, as the log says. Who begins takes in first what was written before.
    async fn take_role(&mut self) {
        if *self.role.borrow_and_update() != Role::Sole {
            return;
        }
        let Some(address) = self.address.clone() else {
            return;
        };
        self.recover().await;
        let base = self.model.load_full();
        let now = self.tools.journal.not_before_newest(self.clock.now());
        let caller = Caller::system("elect");
        let mut decision = Decision::new(&base, &caller, now, &self.tools);
        decision.elect(address);
        let (proposal, _) = decision.finish();
        match self
            .tools
            .journal
            .append(proposal.into_iter().collect())
            .await
        {
            Ok(_) => self.recover().await,
            // Another node writes by now, or the log is away and this node is elected anew.
            Err(error) => tracing::warn!(%error, "the election of this node could not be recorded"),
        }
    }

    /// Takes in what other nodes wrote.
    async fn hear(&mut self, moved: Result<Position, JournalError>) {
        let heard = match moved {
            Ok(head) if head <= self.tools.journal.head() => return,
            Ok(_) => self.catch_up().await,
            Err(error) => Err(error),
        };
        if let Err(error) = heard {
            tracing::warn!(%error, "what other nodes write can't be read");
            tokio::time::sleep(RECOVERY_PAUSE).await;
        }
    }

    /// Decides and records jobs; those that other nodes overtook again, on what is there now.
    async fn work(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        for attempt in 1.. {
            if *self.role.borrow() == Role::Follower {
                for job in jobs {
                    job.answer(Err(CommandError::Follower));
                }
                return;
            }
            metrics::histogram!("hansard_commit_batch_size").record(jobs.len() as f64);
            self.mint_ahead(jobs.len()).await;
            jobs = self.commit(jobs, attempt == ATTEMPTS).await;
            if jobs.is_empty() {
                return;
            }
        }
    }

    async fn mint_ahead(&self, jobs: usize) {
        let keys = self.tools.journal.keys();
        if keys.reserved() < jobs * KEYS_PER_JOB
            && let Err(error) = keys.reserve(jobs * KEYS_PER_JOB).await
        {
            tracing::error!(%error, "data keys can't be minted");
        }
        if keys.reserved() < KEYS_LOW && !self.minting.swap(true, Ordering::AcqRel) {
            let (tools, minting) = (self.tools.clone(), self.minting.clone());
            tokio::spawn(async move {
                if let Err(error) = tools.journal.keys().reserve(KEYS_HIGH).await {
                    tracing::error!(%error, "data keys can't be minted ahead");
                }
                minting.store(false, Ordering::Release);
            });
        }
    }

    /// Gives back the jobs that are to be decided again; none if it is the last attempt.
    async fn commit(&mut self, jobs: Vec<Box<dyn Job>>, last: bool) -> Vec<Box<dyn Job>> {
        let base = self.model.load_full();
        let mut model = base.as_ref().clone();
        let mut decided = Vec::with_capacity(jobs.len());
        let mut proposals = Vec::with_capacity(jobs.len());
        for mut job in jobs {
            let (verdict, proposal) = self.decide(job.as_mut(), &mut model).await;
            decided.push(Decided {
                job,
                verdict,
                recorded: proposal.is_some(),
            });
            proposals.extend(proposal);
        }
        if proposals.is_empty() {
            for Decided { job, verdict, .. } in decided {
                job.answer(verdict.map(|()| None));
            }
            return Vec::new();
        }
        let error = match self.tools.journal.append(proposals).await {
            Ok(outcomes) => match self.advance(&base, model, &outcomes).await {
                Ok(overtaken) => return settle(decided, outcomes, &overtaken, last),
                Err(error) => error,
            },
            Err(error) => error,
        };
        let follower = matches!(error, JournalError::Log(LogError::Follower));
        if !follower {
            tracing::error!(%error, "a batch could not be recorded");
        }
        for Decided { job, verdict, .. } in decided {
            job.answer(verdict.and(Err(if follower {
                CommandError::Follower
            } else {
                error.clone().into()
            })));
        }
        self.recover().await;
        Vec::new()
    }

    /// Decides a job on the model, and advances the model by it.
    async fn decide(
        &self,
        job: &mut dyn Job,
        model: &mut WriteModel,
    ) -> (Result<(), CommandError>, Option<Proposal>) {
        let now = self.tools.journal.not_before_newest(self.clock.now());
        let caller = job.caller();
        loop {
            let mut decision = Decision::new(model, &caller, now, &self.tools);
            // What panics takes its own changes with it, and nobody else's command.
            let verdict = catch_unwind(AssertUnwindSafe(|| job.decide(&mut decision)));
            match verdict.unwrap_or(Err(CommandError::Broken)) {
                Ok(()) => {
                    let (proposal, changed) = decision.finish();
                    if let Some(changed) = changed {
                        *model = changed;
                    }
                    return (Ok(()), proposal);
                }
                Err(CommandError::OutOfKeys) => {
                    let keys = self.tools.journal.keys();
                    if let Err(error) = keys.reserve(KEYS_HIGH).await {
                        return (Err(JournalError::from(error).into()), None);
                    }
                }
                Err(error) => {
                    let denial = denial(&error, &caller);
                    let proposal = denial.and_then(|denial| {
                        let mut record = Decision::new(model, &caller, now, &self.tools);
                        record.audit(denial);
                        record.finish().0
                    });
                    return (Err(error), proposal);
                }
            }
        }
    }

    /// Advances the write model by what was recorded. Answers the streams that other nodes moved on
    /// since the decisions were taken.
    async fn advance(
        &self,
        base: &Arc<WriteModel>,
        decided: WriteModel,
        outcomes: &[Result<Batch, Conflict>],
    ) -> Result<HashSet<StreamId>, JournalError> {
        let journal = &self.tools.journal;
        let recorded = || outcomes.iter().flatten().flat_map(|batch| batch.iter());
        let shared = *self.role.borrow() == Role::Shared;
        if shared && outcomes.iter().any(Result::is_err) {
            journal.catch_up().await?;
        }
        let alone = !shared
            || recorded()
                .zip(base.position.0 + 1..)
                .all(|(entry, next)| entry.position.0 == next);
        let mut overtaken = HashSet::new();
        let mut model = if alone && outcomes.iter().all(Result::is_ok) {
            decided
        } else {
            // Part of the decided model never happened, or something happened before it.
            let own: HashSet<Position> = recorded().map(|entry| entry.position).collect();
            let mut model = base.as_ref().clone();
            for batch in journal.since(base.position).await? {
                model.advance(&batch);
                let others = batch.iter().filter(|entry| !own.contains(&entry.position));
                overtaken.extend(others.map(|entry| entry.stream.clone()));
            }
            model
        };
        if let Some(last) = recorded().last() {
            model.position = model.position.max(last.position);
        }
        self.model.store(Arc::new(model));
        Ok(overtaken)
    }

    /// After an append whose outcome is unknown: reads on in the log until it answers, and takes in
    /// what was recorded after all. Whoever asks meanwhile is told that the log is away.
    async fn recover(&mut self) {
        while let Err(error) = self.catch_up().await {
            tracing::warn!(%error, "the log does not answer yet");
            while let Ok(job) = self.jobs.try_recv() {
                job.answer(Err(error.clone().into()));
            }
            tokio::time::sleep(RECOVERY_PAUSE).await;
        }
    }

    /// Takes in what was recorded and is not known here.
    async fn catch_up(&self) -> Result<(), JournalError> {
        self.tools.journal.catch_up().await?;
        let mut model = self.model.load_full().as_ref().clone();
        for batch in self.tools.journal.since(model.position).await? {
            model.advance(&batch);
        }
        self.model.store(Arc::new(model));
        Ok(())
    }
}

/// Answers the jobs. Those whose conflict came from streams that other nodes moved on are given back
/// instead, unless it was the last attempt.
fn settle(
    decided: Vec<Decided>,
    outcomes: Vec<Result<Batch, Conflict>>,
    overtaken: &HashSet<StreamId>,
    last: bool,
) -> Vec<Box<dyn Job>> {
    let mut again = Vec::new();
    let mut outcomes = outcomes.into_iter();
    for Decided {
        job,
        verdict,
        recorded,
    } in decided
    {
        let outcome = if recorded { outcomes.next() } else { None };
        let retried = |conflict: &Conflict| !last && overtaken.contains(&conflict.stream);
        match (verdict, outcome) {
            (Ok(()), Some(Err(conflict))) if retried(&conflict) => again.push(job),
            (Ok(()), Some(Err(conflict))) => {
                job.answer(Err(CommandError::Conflict(conflict.stream)));
            }
            (Ok(()), Some(Ok(batch))) => job.answer(Ok(Some(batch))),
            (Ok(()), None) => job.answer(Ok(None)),
            (Err(error), _) => job.answer(Err(error)),
        }
    }
    again
}

/// What goes on the record of an error.
fn denial(error: &CommandError, caller: &Caller) -> Option<AuditEvent> {
    let CommandError::Denied {
        permission, room, ..
    } = error
    else {
        return None;
    };
    Some(AuditEvent::CommandDenied {
        action: caller.action.to_string(),
        permission: permission.clone(),
        user: caller.user.clone(),
        room: room.clone(),
    })
}
