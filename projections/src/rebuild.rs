//! Builds generations from the whole journal, which is read once for all of them.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use hansard_domain::journal::{Batch, Journal, JournalError};
use hansard_domain::log::Position;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::batches::Folded;
use crate::generation::Generation;
use crate::view::ViewError;

/// How many entries one transaction of a rebuild takes in.
const TRANSACTION: usize = 10_000;

/// How many batches wait for a view that is slower than the others; when its queue is full, the
/// reader of the journal waits, and with it all. A page of the log is a batch of 1,000 entries.
const WAITING: usize = 12;

/// A generation that is so few events behind catches up at once.
const CLOSE: u64 = 1_000;

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Everything up to here is in the new tables, and nothing of what was erased.
    pub position: Position,
    /// Where it is going to; moves on while events arrive.
    pub head: Position,
    pub since: Instant,
}

impl Progress {
    pub fn start(head: Position) -> Self {
        Self {
            position: Position::START,
            head,
            since: Instant::now(),
        }
    }

    pub fn events_a_second(&self) -> f64 {
        self.position.0 as f64 / self.since.elapsed().as_secs_f64().max(0.001)
    }
}

/// Where the progress of one generation is told; `None` while nothing is being built.
pub type Told = Arc<watch::Sender<Option<Progress>>>;

/// Fills generations with everything up to `until`, or up to the head as it is at the end, and
/// finishes them. They are in the same order, and those that failed are discarded.
pub async fn fill(
    journal: &Arc<Journal>,
    generations: Vec<(Generation, Told)>,
    until: Option<Position>,
) -> Vec<Result<Generation, ViewError>> {
    let mut outcomes: Vec<_> = generations
        .iter()
        .map(|(generation, _)| Err(ViewError::Building(generation.view())))
        .collect();
    let mut queues = Vec::with_capacity(generations.len());
    let mut building = JoinSet::new();
    for (place, (generation, told)) in generations.into_iter().enumerate() {
        let (queue, batches) = mpsc::channel(WAITING);
        queues.push(queue);
        let journal = journal.clone();
        building.spawn(async move {
            (
                place,
                build(&journal, generation, batches, &told, until).await,
            )
        });
    }
    read(journal, queues, until).await;
    while let Some(built) = building.join_next().await {
        match built {
            Ok((place, outcome)) => outcomes[place] = outcome,
            Err(error) => tracing::error!(%error, "a rebuild ended early"),
        }
    }
    outcomes
}

type Queue = mpsc::Sender<Result<Batch, JournalError>>;

/// Hands every batch to every queue that is still being emptied.
async fn read(journal: &Journal, mut queues: Vec<Queue>, until: Option<Position>) {
    let mut batches = journal.all(Position::START);
    while let Some(batch) = batches.next().await {
        let batch = batch.map(|batch| up_to(batch, until));
        let last = match &batch {
            Ok(batch) => {
                until.is_some_and(|until| batch.last().is_none_or(|entry| entry.position >= until))
            }
            Err(_) => true,
        };
        for place in (0..queues.len()).rev() {
            if queues[place].send(batch.clone()).await.is_err() {
                queues.swap_remove(place);
            }
        }
        if last || queues.is_empty() {
            return;
        }
    }
}

fn up_to(batch: Batch, until: Option<Position>) -> Batch {
    let Some(until) = until else { return batch };
    let end = batch.partition_point(|entry| entry.position <= until);
    if end == batch.len() {
        batch
    } else {
        batch[..end].into()
    }
}

/// Builds one generation; discards it if that fails.
async fn build(
    journal: &Arc<Journal>,
    mut generation: Generation,
    batches: mpsc::Receiver<Result<Batch, JournalError>>,
    told: &Told,
    until: Option<Position>,
) -> Result<Generation, ViewError> {
    let mut outcome = steps(journal, &mut generation, batches, told, until).await;
    if let Err(error) = &outcome
        && error.lies_in_an_event()
        && !generation.undoes()
    {
        tracing::warn!(view = generation.view(), %error, "a rebuild met an event that it can't take in; it begins again, to find it and leave it out");
        told.send_modify(|progress| {
            if let Some(progress) = progress {
                progress.position = Position::START;
            }
        });
        generation = generation.begin_again().await?;
        let (queue, batches) = mpsc::channel(WAITING);
        (outcome, ()) = tokio::join!(
            steps(journal, &mut generation, batches, told, until),
            read(journal, vec![queue], until)
        );
    }
    match outcome {
        Ok(()) => Ok(generation),
        Err(error) => {
            generation.discard().await?;
            Err(error)
        }
    }
}

async fn steps(
    journal: &Arc<Journal>,
    generation: &mut Generation,
    batches: mpsc::Receiver<Result<Batch, JournalError>>,
    told: &Told,
    until: Option<Position>,
) -> Result<(), ViewError> {
    let tell = |position| {
        told.send_modify(|progress| {
            if let Some(progress) = progress {
                progress.position = position;
                progress.head = until.unwrap_or_else(|| journal.head());
            }
        });
    };
    let queued = futures::stream::unfold(batches, |mut batches| async {
        Some((batches.recv().await?, batches))
    });
    let mut queued = Folded::new(queued.boxed(), TRANSACTION);
    while let Some(entries) = queued.next().await {
        generation.apply(&entries?).await?;
        tell(generation.position());
    }
    generation.finish().await?;
    // Events have arrived while the indexes were made.
    while until.is_none() && journal.head().0 > generation.position().0 + CLOSE {
        let mut arrived = Folded::new(journal.all(generation.position()), TRANSACTION);
        while let Some(entries) = arrived.next().await {
            generation.apply(&entries?).await?;
            generation.scrub().await?;
            tell(generation.position());
        }
    }
    Ok(())
}
