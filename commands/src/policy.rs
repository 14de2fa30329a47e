//! Policies: rules that react to events with further commands.
//!
//! Each has a durable cursor. A batch is handed to it until it succeeds; the cursor moves on
//! afterwards, so after a crash a batch may come twice. What a policy does carries ids that follow
//! from the event, so that twice is once. So a policy whose cursor is not this log's, since an older copy
//! was put back, reads the log again, from where the log itself says that something may be left to do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use hansard_domain::journal::{Batch, Journal};
use hansard_domain::log::{Place, Position};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::Commands;
use crate::error::CommandError;
use crate::state::StateStore;

/// How often a cursor is saved while events come.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How long a policy that failed waits, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(30);

#[async_trait]
pub trait Policy: Send + Sync + 'static {
    /// Names its cursor; never changes.
    fn name(&self) -> &'static str;

    /// Reacts to a batch. An error means that the whole batch is to come again.
    async fn react(&self, commands: &Commands, batch: &Batch) -> Result<(), CommandError>;

    /// Whether other nodes wait until this batch was reacted to: the cursor is saved at once then.
    fn awaited(&self, _batch: &Batch) -> bool {
        false
    }
}

/// How far a policy has come, wherever it works; as it was saved last.
pub async fn saved_position(state: &dyn StateStore, name: &str) -> Option<Position> {
    Some(saved_place(state, name).await?.position)
}

/// A cursor is a position and, but for those of earlier versions, the id of the event there.
async fn saved_place(state: &dyn StateStore, name: &str) -> Option<Place> {
    let saved = state.load(&cursor_name(name)).await;
    let saved = saved.unwrap_or_else(|error| {
        tracing::warn!(%error, "how far a policy has come is not known");
        None
    })?;
    let saved = String::from_utf8(saved).ok()?;
    let mut words = saved.split_whitespace();
    Some(Place {
        position: words.next()?.parse().ok().map(Position)?,
        event: words.next().and_then(|id| id.parse().ok()),
    })
}

/// Whether a cursor is of this log.
async fn stands(journal: &Journal, cursor: Place) -> bool {
    journal.has(cursor).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "whether a policy's cursor is of this log is not known");
        true
    })
}

/// A policy at work.
pub struct RunningPolicy {
    reached: watch::Receiver<Position>,
    task: JoinHandle<()>,
}

impl RunningPolicy {
    /// Waits until the policy has reacted to everything up to a position.
    pub async fn reached(&self, position: Position) {
        // An error means that the policy has stopped with the server.
        let _ = self
            .reached
            .clone()
            .wait_for(|reached| *reached >= position)
            .await;
    }

    /// Tells how far the policy has come.
    pub fn watch(&self) -> watch::Receiver<Position> {
        self.reached.clone()
    }

    /// How far the policy has come.
    pub fn position(&self) -> Position {
        *self.reached.borrow()
    }

    /// Waits for the task after its token was cancelled.
    pub async fn stopped(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a policy ended badly");
        }
    }
}

/// Sets a policy to work from its cursor. A policy without one starts at `first`, as does one whose cursor
/// is before: nothing is to be done for what is older.
pub async fn start(
    policy: Arc<dyn Policy>,
    commands: Commands,
    state: Arc<dyn StateStore>,
    first: Position,
    stop: CancellationToken,
) -> RunningPolicy {
    let name = cursor_name(policy.name());
    let first = Place {
        position: first,
        event: None,
    };
    let mut place = saved_place(state.as_ref(), policy.name())
        .await
        .unwrap_or(first);
    if !stands(commands.journal(), place).await {
        tracing::warn!(
            policy = policy.name(),
            position = place.position.0,
            head = commands.journal().head().0,
            "a policy has read what this log does not hold: an older copy of the log was put back, or \
             another log; the policy reads it again"
        );
        place = first;
        // Others believe what is saved.
        save(state.as_ref(), &name, place).await;
    }
    if place.position < first.position {
        place = first;
    }
    let (reached, watch) = watch::channel(place.position);
    let cursor = Cursor {
        place: watch::Sender::new(place),
        reached,
    };
    let task = tokio::spawn(async move {
        let work = follow(policy.as_ref(), &commands, state.as_ref(), &name, &cursor);
        stop.run_until_cancelled(work).await;
        save(state.as_ref(), &name, cursor.place()).await;
    });
    RunningPolicy {
        reached: watch,
        task,
    }
}

/// How far a policy at work has come.
struct Cursor {
    place: watch::Sender<Place>,
    reached: watch::Sender<Position>,
}

impl Cursor {
    fn place(&self) -> Place {
        *self.place.borrow()
    }

    fn moves_to(&self, place: Place) {
        self.place.send_replace(place);
        self.reached.send_replace(place.position);
    }
}

fn cursor_name(policy: &str) -> String {
    format!("cursor-{policy}")
}

async fn save(state: &dyn StateStore, name: &str, place: Place) {
    let position = place.position;
    let cursor = match place.event {
        Some(event) => format!("{position} {event}"),
        None => position.to_string(),
    };
    if let Err(error) = state.save(name, cursor.into_bytes()).await {
        tracing::warn!(%error, "a cursor could not be saved; events may come to the policy again");
    }
}

async fn follow(
    policy: &dyn Policy,
    commands: &Commands,
    state: &dyn StateStore,
    name: &str,
    cursor: &Cursor,
) {
    let mut saved = Instant::now();
    let mut pause = RETRY_FIRST;
    loop {
        let after = cursor.place().position;
        let mut batches = commands.journal().follow(after);
        while let Some(batch) = batches.next().await {
            let outcome = match &batch {
                Ok(batch) => policy.react(commands, batch).await,
                Err(error) => Err(error.clone().into()),
            };
            if let Err(error) = outcome {
                tracing::warn!(policy = policy.name(), %error, "a policy failed and tries again");
                break;
            }
            pause = RETRY_FIRST;
            let batch = batch.ok();
            if let Some(last) = batch.as_ref().and_then(|batch| batch.last()) {
                cursor.moves_to(Place {
                    position: last.position,
                    event: Some(last.id),
                });
            }
            if saved.elapsed() >= SAVE_EVERY || batch.is_some_and(|batch| policy.awaited(&batch)) {
                save(state, name, cursor.place()).await;
                saved = Instant::now();
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MOST);
    }
}
