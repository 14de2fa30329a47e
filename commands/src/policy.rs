//! Policies: rules that react to events with further commands.
//!
//! Each has a durable cursor. A batch is handed to it until it succeeds; the cursor moves on
//! afterwards, so after a crash a batch may come twice. What a policy does carries ids that follow
//! from the event, so that twice is once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use hansard_domain::journal::Batch;
use hansard_domain::log::Position;
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
    let saved = state.load(&cursor_name(name)).await;
    let saved = saved.unwrap_or_else(|error| {
        tracing::warn!(%error, "how far a policy has come is not known");
        None
    })?;
    String::from_utf8(saved)
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Position)
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

/// Sets a policy to work from its cursor. A policy without one starts at `first`.
pub async fn start(
    policy: Arc<dyn Policy>,
    commands: Commands,
    state: Arc<dyn StateStore>,
    first: Position,
    stop: CancellationToken,
) -> RunningPolicy {
    let name = cursor_name(policy.name());
    let cursor = saved_position(state.as_ref(), policy.name())
        .await
        .unwrap_or(first);
    let (reached, watch) = watch::channel(cursor);
    let task = tokio::spawn(async move {
        let work = follow(policy.as_ref(), &commands, state.as_ref(), &name, &reached);
        stop.run_until_cancelled(work).await;
        let position = *reached.borrow();
        save(state.as_ref(), &name, position).await;
    });
    RunningPolicy {
        reached: watch,
        task,
    }
}

fn cursor_name(policy: &str) -> String {
    format!("cursor-{policy}")
}

async fn save(state: &dyn StateStore, name: &str, position: Position) {
    if let Err(error) = state.save(name, position.to_string().into_bytes()).await {
        tracing::warn!(%error, "a cursor could not be saved; events may come to the policy again");
    }
}

async fn follow(
    policy: &dyn Policy,
    commands: &Commands,
    state: &dyn StateStore,
    name: &str,
    reached: &watch::Sender<Position>,
) {
    let mut saved = Instant::now();
    let mut pause = RETRY_FIRST;
    loop {
        let after = *reached.borrow();
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
                reached.send_replace(last.position);
            }
            if saved.elapsed() >= SAVE_EVERY || batch.is_some_and(|batch| policy.awaited(&batch)) {
                let position = *reached.borrow();
                save(state, name, position).await;
                saved = Instant::now();
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MOST);
    }
}
