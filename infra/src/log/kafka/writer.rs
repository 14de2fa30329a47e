//! The writer: takes over when this node is chosen, and puts each batch into one transaction.
//!
//! Taking over is: fence whoever wrote before (`init_transactions`), leave a marker, and copy the
//! topic up to it. From then on the copy has all that there is, and nobody else can add to it.
//!
//! One batch is under way at a time. If it is not known how it ended, nothing else is decided until
//! the writer has taken over anew: that ends the transaction one way or the other, and the copy
//! shows which.

use std::sync::Arc;
use std::time::Duration;

use hansard_domain::log::{Commit, LogError, Outcome, Position, Role};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::config::{KafkaConfig, PATIENCE};
use super::context::Quiet;
use super::election::{Campaign, follow};
use super::{reason, record};
use crate::log::Progress;
use crate::log::batch::EventRow;
use crate::log::queue::{Gathered, Queue, Work};
use crate::log::sqlite::SqliteLog;

/// The key of the marker in the topic of keys, which takes no record without one.
pub const MARKER: &str = "marker";

/// A take-over whose copy stands still for so long is given up.
const STANDSTILL: Duration = Duration::from_secs(20);

/// The pause after a take-over that failed.
const PAUSE: Duration = Duration::from_millis(300);

/// How long a transaction may take to be undone before the producer is thrown away.
const ABORT_PATIENCE: Duration = Duration::from_secs(2);

type Transactions = FutureProducer<Quiet>;

/// A record for the topic of keys; without a value it deletes.
pub struct KeyRecord {
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// What it is asked besides appending: to write to the topic of keys if the marker is still the same,
/// and to tell the offset after it.
pub struct WriteKeys {
    pub term: u64,
    pub records: Vec<KeyRecord>,
    pub answer: oneshot::Sender<Result<u64, LogError>>,
}

pub struct Writer {
    pub config: KafkaConfig,
    pub replica: Arc<SqliteLog>,
    pub role: watch::Sender<Role>,
    pub progress: watch::Receiver<Progress>,
    /// The offset of the marker in the topic of keys, while this node writes.
    pub term: watch::Sender<Option<u64>>,
}

/// Why a transaction failed.
struct Failure {
    reason: String,
    /// Whether it may have been committed all the same.
    unknown: bool,
    producer: ProducerState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProducerState {
    Usable,
    Broken,
    /// Another one has taken its place.
    Fenced,
}

impl Failure {
    fn answer(&self) -> LogError {
        if self.producer == ProducerState::Fenced && !self.unknown {
            return LogError::Follower;
        }
        LogError::Unavailable(self.reason.clone())
    }
}

impl Writer {
    /// Works until it is told to close or nobody is left who could ask.
    pub async fn run(self, mut queue: Queue<WriteKeys>) {
        let campaign = tokio::select! {
            campaign = self.campaign() => campaign,
            closed = self.refuse(&mut queue, None) => {
                if let Some(done) = closed {
                    let _ = done.send(());
                }
                return;
            }
        };
        let held = campaign.held();
        let closed = loop {
            let producer = tokio::select! {
                producer = self.win(&campaign) => producer,
                closed = self.refuse(&mut queue, Some(&held)) => break closed,
            };
            tracing::info!(
                topic = self.config.topic(),
                "this node writes the event log"
            );
            let ended = self.serve(&producer, &mut queue, &campaign).await;
            follow(&self.role);
            self.term.send_replace(None);
            // Its destruction waits for its threads.
            let dropped = tokio::task::spawn_blocking(move || drop(producer));
            match ended {
                Ended::Closed(done) => {
                    let _ = dropped.await;
                    break done;
                }
                Ended::Lost => {
                    tracing::info!(topic = self.config.topic(), "this node writes no more");
                }
            }
        };
        campaign.end().await;
        if let Some(done) = closed {
            let _ = done.send(());
        }
    }

    /// Takes part in the choice once the copy is where the topic was at the start: whoever has to
    /// copy for minutes should not hold up the writing.
    async fn campaign(&self) -> Campaign {
        let mut progress = self.progress.clone();
        if progress.wait_for(|progress| progress.at_end).await.is_err() {
            return std::future::pending().await;
        }
        loop {
            match Campaign::start(&self.config, self.role.clone()) {
                Ok(campaign) => return campaign,
                Err(error) => {
                    tracing::error!(%error, "this node takes no part in the choice of the writer");
                    tokio::time::sleep(STANDSTILL).await;
                }
            }
        }
    }

    /// Answers those who ask while this node does not write; ends with a request to close.
    async fn refuse(
        &self,
        queue: &mut Queue<WriteKeys>,
        held: Option<&watch::Receiver<bool>>,
    ) -> Option<oneshot::Sender<()>> {
        loop {
            let work = queue.next().await;
            let why = if held.is_some_and(|held| *held.borrow()) {
                LogError::Unavailable("this node is about to write the event log".to_owned())
            } else if self.progress.borrow().reachable {
                LogError::Follower
            } else {
                LogError::Unavailable("no broker answers".to_owned())
            };
            match work {
                Work::Batch(batch) => batch.waiting.hear(Err(why)),
                Work::Own(WriteKeys { answer, .. }) => {
                    // Nobody may wait any more.
                    let _ = answer.send(Err(why));
                }
                Work::Close(done) => return done,
            }
        }
    }

    /// Waits to be chosen, and takes over.
    async fn win(&self, campaign: &Campaign) -> Transactions {
        let mut held = campaign.held();
        loop {
            if held.wait_for(|held| *held).await.is_err() {
                return std::future::pending().await;
            }
            match self.take_over(&mut held).await {
                Ok((producer, term)) => {
                    self.term.send_replace(Some(term));
                    self.role.send_replace(Role::Sole);
                    if *held.borrow() {
                        return producer;
                    }
                    // Taken away at the last moment; nobody may believe what was just told.
                    follow(&self.role);
                    self.term.send_replace(None);
                    tokio::task::spawn_blocking(move || drop(producer));
                }
                Err(failure) => {
                    tracing::warn!(reason = failure.reason, "the writing is not taken over yet");
                    if failure.producer == ProducerState::Fenced {
                        campaign.again();
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// A producer that nobody else can write beside, once the copy has everything before it; and the
    /// place of its marker in the topic of keys.
    async fn take_over(
        &self,
        held: &mut watch::Receiver<bool>,
    ) -> Result<(Transactions, u64), Failure> {
        let config = self.config.clone();
        let started = tokio::task::spawn_blocking(move || start(&config)).await;
        let (producer, [marker, term]) =
            started.map_err(|error| Failure::broken(error.to_string()))??;
        let mut progress = self.progress.clone();
        loop {
            if progress.borrow_and_update().applied > marker {
                return Ok((producer, term));
            }
            let failed = tokio::select! {
                changed = tokio::time::timeout(STANDSTILL, progress.changed()) => {
                    if matches!(changed, Ok(Ok(()))) {
                        continue;
                    }
                    "the local copy stands still"
                }
                _ = held.wait_for(|held| !held) => "another node was chosen",
            };
            tokio::task::spawn_blocking(move || drop(producer));
            return Err(Failure::broken(failed.to_owned()));
        }
    }

    /// Writes what is asked for, as long as this node is the writer.
    async fn serve(
        &self,
        producer: &Transactions,
        queue: &mut Queue<WriteKeys>,
        campaign: &Campaign,
    ) -> Ended {
        let mut held = campaign.held();
        loop {
            let work = tokio::select! {
                biased;
                _ = held.wait_for(|held| !held) => return Ended::Lost,
                work = queue.next() => work,
            };
            let outcome = match work {
                Work::Close(done) => return Ended::Closed(done),
                Work::Own(WriteKeys { term, answer, .. }) if *self.term.borrow() != Some(term) => {
                    // Decided in another time of writing; others may have written since.
                    let _ = answer.send(Err(LogError::Follower));
                    Ok(())
                }
                Work::Own(WriteKeys {
                    records, answer, ..
                }) => self.write_keys(producer, records, answer).await,
                Work::Batch(batch) => self.write(producer, batch).await,
            };
            let Err(failure) = outcome else { continue };
            tracing::warn!(
                reason = failure.reason,
                unknown = failure.unknown,
                state = ?failure.producer,
                "a batch was not written to the event log"
            );
            if failure.producer == ProducerState::Usable && !failure.unknown {
                continue;
            }
            follow(&self.role);
            if failure.producer == ProducerState::Fenced {
                campaign.again();
            }
            return Ended::Lost;
        }
    }

    async fn write(&self, producer: &Transactions, batch: Gathered) -> Result<(), Failure> {
        match self.append(producer, batch.commits).await {
            Ok(outcomes) => {
                batch.waiting.hear(Ok(outcomes));
                Ok(())
            }
            Err(failure) => {
                // Nobody may take this node for the writer once it has said this.
                if failure.producer != ProducerState::Usable {
                    follow(&self.role);
                }
                batch.waiting.hear(Err(failure.answer()));
                Err(failure)
            }
        }
    }

    async fn append(
        &self,
        producer: &Transactions,
        commits: Vec<Commit>,
    ) -> Result<Vec<Outcome>, Failure> {
        let unplanned = |error: LogError| Failure {
            reason: error.to_string(),
            unknown: false,
            producer: ProducerState::Usable,
        };
        let plan = self.replica.plan(commits).await.map_err(unplanned)?;
        if plan.rows.is_empty() {
            return Ok(plan.settle(&[]).0);
        }
        let producer = producer.clone();
        let topic = self.config.topic().to_owned();
        let (plan, written) = tokio::task::spawn_blocking(move || {
            let records = plan.rows.iter().map(|row| event_record(&topic, row));
            let written = transact(&producer, records);
            (plan, written)
        })
        .await
        .map_err(|error| Failure::unknown(error.to_string()))?;
        let positions: Vec<_> = written?
            .into_iter()
            .map(|offset| Position(offset + 1))
            .collect();
        let (outcomes, rows) = plan.settle(&positions);
        // They are committed. If they don't get into the copy here, the take-over sees to it.
        self.replica
            .fill(rows)
            .await
            .map_err(|error| Failure::unknown(error.to_string()))?;
        Ok(outcomes)
    }

    async fn write_keys(
        &self,
        producer: &Transactions,
        records: Vec<KeyRecord>,
        answer: oneshot::Sender<Result<u64, LogError>>,
    ) -> Result<(), Failure> {
        let producer = producer.clone();
        let topic = self.config.vault_topic();
        let written = tokio::task::spawn_blocking(move || {
            let records = records.iter().map(|record| {
                let new = FutureRecord::to(&topic)
                    .partition(0)
                    .key(record.key.as_bytes());
                match &record.value {
                    Some(value) => new.payload(value.as_slice()),
                    None => new,
                }
            });
            transact(&producer, records)
        })
        .await
        .unwrap_or_else(|error| Err(Failure::unknown(error.to_string())));
        let (told, outcome) = match written {
            Ok(offsets) => (Ok(offsets.last().map_or(0, |last| last + 1)), Ok(())),
            Err(failure) => (Err(failure.answer()), Err(failure)),
        };
        // Whoever asked may have gone.
        let _ = answer.send(told);
        outcome
    }
}

enum Ended {
    Lost,
    Closed(Option<oneshot::Sender<()>>),
}

impl Failure {
    fn broken(reason: String) -> Self {
        Self {
            reason,
            unknown: false,
            producer: ProducerState::Broken,
        }
    }

    fn unknown(reason: String) -> Self {
        Self {
            reason,
            unknown: true,
            producer: ProducerState::Broken,
        }
    }

    /// A failure before anything could be committed.
    fn before(error: &KafkaError) -> Self {
        Self {
            reason: reason(error),
            unknown: false,
            producer: state(error),
        }
    }
}

fn state(error: &KafkaError) -> ProducerState {
    let fenced = matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch
        )
    );
    if fenced {
        ProducerState::Fenced
    } else {
        ProducerState::Broken
    }
}

/// A producer that has fenced those before it, and where its markers came to stand.
fn start(config: &KafkaConfig) -> Result<(Transactions, [u64; 2]), Failure> {
    let producer: Transactions = config
        .writing()
        .create_with_context(Quiet)
        .map_err(|error| Failure::before(&error))?;
    producer
        .init_transactions(PATIENCE)
        .map_err(|error| Failure::before(&error))?;
    let keys = config.vault_topic();
    let markers = [
        FutureRecord::to(config.topic())
            .partition(0)
            .payload(b"{}".as_slice()),
        FutureRecord::to(&keys)
            .partition(0)
            .key(MARKER.as_bytes())
            .payload(b"".as_slice()),
    ];
    let offsets = transact(&producer, markers.into_iter())?;
    match offsets[..] {
        [log, keys] => Ok((producer, [log, keys])),
        _ => Err(Failure::broken("the markers have no places".to_owned())),
    }
}

fn event_record<'a>(topic: &'a str, row: &'a EventRow) -> FutureRecord<'a, [u8], [u8]> {
    FutureRecord::to(topic)
        .partition(0)
        .key(row.stream.as_str().as_bytes())
        .payload(row.event.payload.as_bytes())
        .headers(record::headers(row))
}

/// Writes records whole or not at all, and tells their offsets. Blocks.
fn transact<'a>(
    producer: &Transactions,
    records: impl Iterator<Item = FutureRecord<'a, [u8], [u8]>>,
) -> Result<Vec<u64>, Failure> {
    producer
        .begin_transaction()
        .map_err(|error| Failure::before(&error))?;
    let mut sent = Vec::with_capacity(records.size_hint().0);
    for record in records {
        match producer.send_result(record) {
            Ok(delivery) => sent.push(delivery),
            Err((error, _)) => return Err(undo(producer, &error)),
        }
    }
    // Waited for here: the client's own way to wait before a commit takes a tenth of a second.
    let arriving = async {
        let mut offsets = Vec::with_capacity(sent.len());
        for delivery in sent {
            match delivery.await {
                Ok(Ok(delivered)) => offsets.push(delivered.offset as u64),
                Ok(Err((error, _))) => return Err(error),
                Err(_) => return Err(KafkaError::Canceled),
            }
        }
        Ok(offsets)
    };
    let arrived = Handle::current().block_on(tokio::time::timeout(PATIENCE, arriving));
    let offsets = arrived
        .unwrap_or(Err(KafkaError::MessageProduction(
            RDKafkaErrorCode::MessageTimedOut,
        )))
        .map_err(|error| undo(producer, &error))?;
    // A moment passes until the client itself has put the last report away.
    for _ in 0..100 {
        if producer.in_flight_count() == 0 {
            break;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    match producer.commit_transaction(PATIENCE) {
        Ok(()) => Ok(offsets),
        // It was not sent.
        Err(error) if requires_abort(&error) => Err(undo(producer, &error)),
        Err(error) => Err(Failure {
            unknown: true,
            ..Failure::before(&error)
        }),
    }
}

fn requires_abort(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.txn_requires_abort())
}

/// Ends a transaction that can't be committed.
fn undo(producer: &Transactions, cause: &KafkaError) -> Failure {
    let producer = match producer.abort_transaction(ABORT_PATIENCE) {
        Ok(()) => ProducerState::Usable,
        Err(error) => state(&error),
    };
    Failure {
        producer,
        ..Failure::before(cause)
    }
}
