//! The committer: the one task that decides and records.
//!
//! It takes what is waiting, decides one after the other on the newest model, and records the outcome
//! of all with one append. While that append runs, the next batch gathers: the busier the server, the
//! larger the batches. Answers go out after the append is durable and the write model has advanced.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hansard_domain::audit::AuditEvent;
use hansard_domain::id::Clock;
use hansard_domain::journal::{Batch, JournalError, Proposal};
use tokio::sync::mpsc;

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

/// How long the committer waits before it asks a log that failed again.
const RECOVERY_PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Committer {
    pub model: Arc<ArcSwap<WriteModel>>,
    pub tools: Arc<Tools>,
    pub clock: Arc<dyn Clock>,
    pub jobs: mpsc::Receiver<Box<dyn Job>>,
    pub minting: Arc<AtomicBool>,
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
        while self.jobs.recv_many(&mut waiting, MAX_BATCH).await > 0 {
            metrics::histogram!("hansard_commit_batch_size").record(waiting.len() as f64);
            self.mint_ahead(waiting.len()).await;
            self.commit(std::mem::take(&mut waiting)).await;
            waiting.reserve(MAX_BATCH);
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

    async fn commit(&mut self, jobs: Vec<Box<dyn Job>>) {
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
            return;
        }
        match self.tools.journal.append(proposals).await {
            Ok(outcomes) => self.settle(&base, model, decided, outcomes),
            Err(error) => {
                tracing::error!(%error, "a batch could not be recorded");
                for Decided { job, verdict, .. } in decided {
                    job.answer(verdict.and(Err(error.clone().into())));
                }
                self.recover().await;
            }
        }
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

    fn settle(
        &self,
        base: &Arc<WriteModel>,
        decided_model: WriteModel,
        decided: Vec<Decided>,
        outcomes: Vec<Result<Batch, hansard_domain::log::Conflict>>,
    ) {
        let mut model = if outcomes.iter().all(Result::is_ok) {
            decided_model
        } else {
            // A commit conflicted: its part of the decided model never happened.
            let mut model = base.as_ref().clone();
            for batch in outcomes.iter().flatten() {
                model.advance(batch);
            }
            model
        };
        if let Some(last) = outcomes
            .iter()
            .flatten()
            .filter_map(|batch| batch.last())
            .next_back()
        {
            model.position = last.position;
        }
        self.model.store(Arc::new(model));
        let mut outcomes = outcomes.into_iter();
        for Decided {
            job,
            verdict,
            recorded,
        } in decided
        {
            let outcome = if recorded { outcomes.next() } else { None };
            job.answer(match (verdict, outcome) {
                (Err(error), _) => Err(error),
                (Ok(()), None) => Ok(None),
                (Ok(()), Some(Ok(batch))) => Ok(Some(batch)),
                (Ok(()), Some(Err(conflict))) => Err(CommandError::Conflict(conflict.stream)),
            });
        }
    }

    /// After an append whose outcome is unknown: reads on in the log until it answers, and takes in
    /// what was recorded after all. Whoever asks meanwhile is told that the log is away.
    async fn recover(&mut self) {
        loop {
            match self.tools.journal.catch_up().await {
                Ok(batches) => {
                    let mut model = self.model.load_full().as_ref().clone();
                    for batch in batches {
                        model.advance(&batch);
                    }
                    self.model.store(Arc::new(model));
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "the log does not answer yet");
                    while let Ok(job) = self.jobs.try_recv() {
                        job.answer(Err(error.clone().into()));
                    }
                    tokio::time::sleep(RECOVERY_PAUSE).await;
                }
            }
        }
    }
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
