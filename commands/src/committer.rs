//! The committer: the one task that decides and records.
//!
//! It takes what is waiting, decides one after the other on the newest model, and records the outcome
//! of all with one append. While that append runs, the next batch gathers: the busier the server, the
//! larger the batches. Answers go out after the append is durable and the write model has advanced.
//!
//! Each append names the position that it was decided on, and the log refuses it if it has gone on
//! since: whatever a decision looked at, it still holds when its events are recorded. Where several
//! nodes write one log, each has a committer, which waits for its turn, takes in what others wrote,
//! and then decides; one that is overtaken all the same decides again. Where nodes elect their
//! writer, the committers of the others decide nothing, and a new writer decides nothing before its
//! election is on the record.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hansard_domain::id::RoomId;
use hansard_domain::journal::{Batch, JournalError};
use hansard_domain::log::{LogError, Position, Refusal, Role};
use hansard_domain::vault::KeyId;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::Job;
use crate::caller::Caller;
use crate::decision::{Decision, Finished, Tools};
use crate::error::CommandError;
use crate::model::WriteModel;
use crate::refusals::Refusals;
use crate::time::LogTime;

/// How many decisions one append carries at most.
const MAX_BATCH: usize = 512;

/// How many bytes an append may have, about: others wait for so many at most. The first command of one may
/// have more.
const MAX_BYTES: usize = 4 << 20;

/// How many events an append may have, about, as well.
const MAX_EVENTS: usize = 2_000;

/// As long as some jobs are left over for the next append, those that come meanwhile are decided with them; but
/// no longer than this.
const GATHERING: Duration = Duration::from_secs(1);

/// A job of so many bytes is decided and taken in about as long as a hundred posts.
const HEAVY: usize = 128 << 10;

/// Keys minted ahead; below the low mark more are minted beside the work.
const KEYS_LOW: usize = 2048;
const KEYS_HIGH: usize = 6144;

/// How many keys are minted for each decision before it is taken.
const KEYS_PER_JOB: usize = 4;

/// How many keys one decision may need: more would hold up everybody else for seconds.
const KEYS_MOST: usize = 50_000;

/// How long decisions are taken again that other nodes overtake.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the committer waits before it asks a log that failed again.
const RECOVERY_PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Committer {
    pub model: Arc<ArcSwap<WriteModel>>,
    pub tools: Arc<Tools>,
    pub time: LogTime,
    pub jobs: mpsc::Receiver<Box<dyn Job>>,
    /// Nothing more is taken; what was taken is done.
    pub closing: CancellationToken,
    pub minting: Arc<AtomicBool>,
    pub role: watch::Receiver<Role>,
    /// The address that other nodes reach this one at, where they elect their writer.
    pub address: Option<String>,
    pub refusals: Refusals,
}

/// Of a refusal goes on the record what the workspace knows: a room that there is not is a client's own
/// words, which stand nowhere in clear.
fn refuse_rooms_there_are(error: &mut CommandError, model: &WriteModel) {
    if let CommandError::Denied { room, .. } = error {
        let known = |room: &RoomId| model.room(room).is_some() || model.room_is_gone(room);
        *room = room.take().filter(known);
    }
}

/// A job that was decided and waits for its commit.
struct Decided {
    job: Box<dyn Job>,
    /// What the caller is told once it is recorded.
    verdict: Result<(), CommandError>,
    /// Whether something is to be recorded.
    recorded: bool,
    /// The fresh keys that it is sealed under.
    keys: Vec<KeyId>,
}

impl Committer {
    /// Runs until it is closed, or every sender of jobs is gone, and all they sent is answered.
    pub async fn run(mut self) {
        let mut waiting = Vec::with_capacity(MAX_BATCH);
        self.take_role().await;
        let closing = self.closing.clone();
        loop {
            let journal = self.tools.journal.clone();
            tokio::select! {
                () = closing.cancelled(), if !self.jobs.is_closed() => self.jobs.close(),
                Ok(()) = self.role.changed() => self.take_role().await,
                moved = journal.moved() => self.hear(moved).await,
                () = self.refusals.due() => {
                    let tallies = self.refusals.take_due();
                    self.record(tallies).await;
                }
                taken = self.jobs.recv_many(&mut waiting, MAX_BATCH) => {
                    if taken == 0 {
                        self.finish().await;
                        return;
                    }
                    self.work(std::mem::take(&mut waiting)).await;
                    waiting.reserve(MAX_BATCH);
                }
            }
        }
    }

    /// Records the refusals that are counted still.
    async fn finish(&mut self) {
        let tallies = self.refusals.take_all();
        self.record(tallies).await;
        let lost = self.refusals.unrecorded();
        if lost > 0 {
            tracing::error!(lost, "refusals are not on the record");
        }
    }

    /// Records counted refusals; what can't be recorded goes back to them.
    async fn record(&mut self, tallies: Vec<Box<dyn Job>>) {
        let mut tallies = tallies.into_iter().peekable();
        while tallies.peek().is_some() {
            let some = tallies.by_ref().take(MAX_BATCH).collect();
            self.work(some).await;
        }
    }

    /// Begins or ends to write, as the log says. Who begins takes in first what was written before,
    /// and puts its address on the record; until it stands there, nothing is decided, as the other
    /// nodes would still hand their requests to the writer before.
    async fn take_role(&mut self) {
        let Some(address) = self.address.clone() else {
            self.role.mark_unchanged();
            return;
        };
        while *self.role.borrow_and_update() == Role::Sole {
            self.recover().await;
            let Err(error) = self.elect(address.clone()).await else {
                return;
            };
            tracing::warn!(%error, "the election of this node is not recorded yet");
            self.refuse_waiting(&error);
            tokio::time::sleep(RECOVERY_PAUSE).await;
        }
    }

    async fn elect(&mut self, address: String) -> Result<(), JournalError> {
        let base = self.model.load_full();
        let caller = Caller::system("elect");
        let moment = self.time.now(base.newest());
        let mut decision = Decision::new(&base, &caller, moment, &self.tools);
        decision.elect(address);
        let proposals = decision.finish().proposal.into_iter().collect();
        let outcomes = self.tools.journal.append(Some(base.position()), proposals);
        let refused = outcomes.await?.into_iter().find_map(Result::err);
        match refused {
            None => self.catch_up().await,
            Some(refusal) => Err(LogError::Unavailable(refusal.to_string()).into()),
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
        let mut give_up = Instant::now() + PATIENCE;
        let begun = Instant::now();
        let mut heavy_first = false;
        while !jobs.is_empty() {
            // Not for ever: whatever else there is to do waits for the end of this.
            if begun.elapsed() < GATHERING {
                self.take_waiting(&mut jobs);
            }
            arrange(&mut jobs, heavy_first);
            heavy_first = !heavy_first;
            if self.role.has_changed().unwrap_or(false) {
                self.take_role().await;
            }
            if *self.role.borrow() == Role::Follower {
                answer_all(jobs, &CommandError::Follower);
                return;
            }
            if Instant::now() >= give_up {
                answer_all(jobs, &CommandError::Busy);
                return;
            }
            self.mint_ahead(jobs.len()).await;
            if let Err(error) = self.take_turn(&mut jobs).await {
                tracing::error!(%error, "a batch could not be decided");
                answer_all(jobs, &error.into());
                self.recover().await;
                return;
            }
            metrics::histogram!("hansard_commit_batch_size").record(jobs.len() as f64);
            let before = jobs.len();
            jobs = self.commit(jobs).await;
            // What is left for its size alone was not overtaken.
            if jobs.len() < before {
                give_up = Instant::now() + PATIENCE;
            }
        }
    }

    /// Where all nodes write, waits for this one's turn, and takes in what the others wrote. What came
    /// meanwhile is decided in the same turn.
    async fn take_turn(&mut self, jobs: &mut Vec<Box<dyn Job>>) -> Result<(), JournalError> {
        if *self.role.borrow() != Role::Shared {
            return Ok(());
        }
        let head = self.tools.journal.turn().await?;
        if head > self.tools.journal.head()
            && let Err(error) = self.catch_up().await
        {
            self.tools.journal.pass().await;
            return Err(error);
        }
        self.take_waiting(jobs);
        Ok(())
    }

    /// Takes what came meanwhile.
    fn take_waiting(&mut self, jobs: &mut Vec<Box<dyn Job>>) {
        while jobs.len() < MAX_BATCH
            && let Ok(job) = self.jobs.try_recv()
        {
            jobs.push(job);
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

    /// Decides jobs and records the outcome; gives back those that are to be decided again, and those that
    /// are too much for one append.
    async fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        let later = jobs.split_off(fitting(&jobs));
        let mut again = self.commit_all(jobs).await;
        again.extend(later);
        again
    }

    async fn commit_all(&mut self, jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        let base = self.model.load_full();
        let mut model = base.as_ref().clone();
        let mut decided = Vec::with_capacity(jobs.len());
        let mut proposals = Vec::with_capacity(jobs.len());
        let (mut events, mut later) = (0, jobs.into_iter());
        // What a job weighs was said before it was decided.
        while events < MAX_EVENTS
            && let Some(mut job) = later.next()
        {
            let (verdict, finished) = self.decide(job.as_mut(), &mut model).await;
            let Finished { proposal, keys, .. } = finished;
            decided.push(Decided {
                job,
                verdict,
                recorded: proposal.is_some(),
                keys,
            });
            let drafts = proposal.iter().flat_map(|proposal| &proposal.drafts);
            events += drafts.map(|draft| draft.events.len()).sum::<usize>();
            proposals.extend(proposal);
        }
        let later: Vec<_> = later.collect();
        let journal = self.tools.journal.clone();
        if proposals.is_empty() {
            journal.pass().await;
            for Decided { job, verdict, .. } in decided {
                job.answer(verdict.map(|()| None));
            }
            return later;
        }
        let error = match journal.append(Some(base.position()), proposals).await {
            Ok(outcomes) => match self.advance(model, &outcomes).await {
                Ok(()) => {
                    let mut again = self.settle(decided, outcomes);
                    again.extend(later);
                    return again;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        let follower = matches!(error, JournalError::Log(LogError::Follower));
        if !follower {
            tracing::error!(%error, "a batch could not be recorded");
        }
        let at = self.time.now(base.newest()).at;
        for Decided {
            job,
            verdict,
            recorded,
            ..
        } in decided
        {
            if recorded && let Err(refused) = &verdict {
                self.refusals.missed(refused, &job.caller(), at);
            }
            job.answer(verdict.and(Err(if follower {
                CommandError::Follower
            } else {
                error.clone().into()
            })));
        }
        self.recover().await;
        later
    }

    /// Decides a job on the model, and advances the model by it.
    async fn decide(
        &mut self,
        job: &mut dyn Job,
        model: &mut WriteModel,
    ) -> (Result<(), CommandError>, Finished) {
        let moment = self.time.now(model.newest());
        let caller = job.caller();
        loop {
            let mut decision = Decision::new(model, &caller, moment, &self.tools);
            // What panics takes its own changes with it, and nobody else's command.
            let verdict = catch_unwind(AssertUnwindSafe(|| job.decide(&mut decision)));
            match verdict.unwrap_or(Err(CommandError::Broken)) {
                Ok(()) => {
                    let mut finished = decision.finish();
                    if let Some(changed) = finished.changed.take() {
                        *model = changed;
                    }
                    return (Ok(()), finished);
                }
                Err(CommandError::OutOfKeys) => {
                    let needed = decision.give_up();
                    if needed >= KEYS_MOST {
                        return (Err(CommandError::TooMuch), Finished::default());
                    }
                    let keys = self.tools.journal.keys();
                    if let Err(error) = keys.reserve(KEYS_HIGH.max(needed * 2)).await {
                        let error = JournalError::from(error);
                        return (Err(error.into()), Finished::default());
                    }
                }
                Err(mut error) => {
                    decision.give_up();
                    refuse_rooms_there_are(&mut error, model);
                    let finished = match self.refusals.note(&error, &caller, moment.at) {
                        None => Finished::default(),
                        Some(denial) => {
                            let mut record = Decision::new(model, &caller, moment, &self.tools);
                            record.audit(denial);
                            record.finish()
                        }
                    };
                    if let CommandError::Denied { noted, .. } = &mut error {
                        *noted = true;
                    }
                    return (Err(error), finished);
                }
            }
        }
    }

    /// Advances the write model by what was recorded.
    async fn advance(
        &self,
        mut decided: WriteModel,
        outcomes: &[Result<Batch, Refusal>],
    ) -> Result<(), JournalError> {
        if outcomes.iter().any(Result::is_err) {
            // Part of the decided model never happened, or something happened before it.
            return self.catch_up().await;
        }
        let mut last = None;
        for entry in outcomes.iter().flatten().flat_map(|batch| batch.iter()) {
            decided.place(entry);
            last = Some(entry);
        }
        if let Some(last) = last {
            decided.reach(last);
        }
        self.model.store(Arc::new(decided));
        Ok(())
    }

    /// Answers the jobs; those that other nodes overtook are given back instead.
    fn settle(
        &self,
        decided: Vec<Decided>,
        outcomes: Vec<Result<Batch, Refusal>>,
    ) -> Vec<Box<dyn Job>> {
        let mut again = Vec::new();
        let mut outcomes = outcomes.into_iter();
        for Decided {
            job,
            verdict,
            recorded,
            keys,
        } in decided
        {
            let outcome = if recorded { outcomes.next() } else { None };
            if matches!(outcome, Some(Err(_))) {
                self.tools.journal.keys().give_back(keys);
            }
            match (verdict, outcome) {
                (_, Some(Err(Refusal::Overtaken))) => again.push(job),
                (Ok(()), Some(Err(Refusal::Conflict(conflict)))) => {
                    job.answer(Err(CommandError::Conflict(conflict.stream)));
                }
                (Ok(()), Some(Ok(batch))) => job.answer(Ok(Some(batch))),
                (Ok(()), None) => job.answer(Ok(None)),
                (Err(error), _) => job.answer(Err(error)),
            }
        }
        again
    }

    /// After an append whose outcome is unknown: reads on in the log until it answers, and takes in
    /// what was recorded after all. Whoever asks meanwhile is told that the log is away.
    async fn recover(&mut self) {
        while let Err(error) = self.catch_up().await {
            tracing::warn!(%error, "the log does not answer yet");
            self.refuse_waiting(&error);
            tokio::time::sleep(RECOVERY_PAUSE).await;
        }
    }

    fn refuse_waiting(&mut self, error: &JournalError) {
        while let Ok(job) = self.jobs.try_recv() {
            job.answer(Err(error.clone().into()));
        }
    }

    /// Takes in what was recorded and is not in the write model.
    async fn catch_up(&self) -> Result<(), JournalError> {
        self.tools.journal.catch_up().await?;
        let mut model = self.model.load_full().as_ref().clone();
        for batch in self.tools.journal.since(model.position()).await? {
            model.advance(&batch);
        }
        self.model.store(Arc::new(model));
        Ok(())
    }
}

/// Puts light jobs before heavy ones, or the first of the heavy ones before all: who asks for little waits for
/// one of these at most, however many there are.
fn arrange(jobs: &mut [Box<dyn Job>], heavy_first: bool) {
    jobs.sort_by_key(|job| job.weight() > HEAVY);
    let heavy = jobs.iter().position(|job| job.weight() > HEAVY);
    if let Some(place) = heavy.filter(|_| heavy_first) {
        jobs[..=place].rotate_right(1);
    }
}

/// How many of these jobs make up one append.
fn fitting(jobs: &[Box<dyn Job>]) -> usize {
    let mut bytes = 0_usize;
    let weights = jobs.iter().map(|job| job.weight());
    let fits = |weight: &usize| {
        let first = bytes == 0;
        bytes = bytes.saturating_add((*weight).max(1));
        first || bytes <= MAX_BYTES
    };
    weights.take_while(fits).count()
}

fn answer_all(jobs: Vec<Box<dyn Job>>, error: &CommandError) {
    for job in jobs {
        job.answer(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Weighing(usize);

    impl Job for Weighing {
        fn caller(&self) -> Arc<Caller> {
            Arc::new(Caller::system("weigh"))
        }

        fn decide(&mut self, _: &mut Decision<'_>) -> Result<(), CommandError> {
            Ok(())
        }

        fn weight(&self) -> usize {
            self.0
        }

        fn answer(self: Box<Self>, _: Result<Option<Batch>, CommandError>) {}
    }

    fn arranged(weights: &[usize], heavy_first: bool) -> Vec<usize> {
        let job = |weight: &usize| Box::new(Weighing(*weight)) as Box<dyn Job>;
        let mut jobs: Vec<_> = weights.iter().map(job).collect();
        arrange(&mut jobs, heavy_first);
        jobs.iter().map(|job| job.weight()).collect()
    }

    #[test]
    fn who_asks_for_little_waits_for_one_who_asks_for_much() {
        let (one, other) = (MAX_BYTES, MAX_BYTES - 1);
        let weights = [one, 1, other, 2, 3];
        assert_eq!(arranged(&weights, false), [1, 2, 3, one, other]);
        assert_eq!(arranged(&weights, true), [one, 1, 2, 3, other]);
        assert_eq!(arranged(&[2, 1], true), [2, 1]);
        assert!(arranged(&[], true).is_empty());
    }
}
