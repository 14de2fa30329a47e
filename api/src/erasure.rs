//! Waiting until what was erased is nowhere any more.

use std::sync::Arc;
use std::time::Duration;

use hansard_commands::bus::Commands;
use hansard_commands::state::StateStore;
use hansard_commands::{eraser, policy};
use hansard_domain::log::Position;
use hansard_projections::{Projector, ViewError};
use tokio::sync::watch;

/// How long a deletion waits for its texts to be erased. It is recorded and answered as done
/// afterwards: what was deleted is gone for everybody, and the erasure goes on.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is asked how far the eraser of another node has come.
const LOOK: Duration = Duration::from_millis(50);

/// See the module.
pub struct Erasure {
    /// How far the eraser has come, where this node leads.
    pub erased: watch::Receiver<Position>,
    /// Where it stands otherwise.
    pub cursors: Arc<dyn StateStore>,
    /// How far the shredder has come.
    pub shredded: watch::Receiver<Position>,
    pub projector: Arc<Projector>,
}

impl Erasure {
    /// Returns when the keys of what was erased up to a position are gone from the vault, and its
    /// texts from the files of every view.
    pub async fn done(&self, position: Position) -> Result<(), ViewError> {
        let mut shredded = self.shredded.clone();
        shredded
            .wait_for(|reached| *reached >= position)
            .await
            .map_err(|_| ViewError::Unavailable("the shredder has stopped".to_owned()))?;
        self.projector.scrubbed(position).await
    }

    /// Waits for [`Self::done`], for a while; answers whether it is.
    pub async fn waited_for(&self, position: Position) -> bool {
        match tokio::time::timeout(PATIENCE, self.done(position)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::warn!(%error, "a prune is answered before its erasure"),
            Err(_) => tracing::warn!("an erasure takes long; its prune is answered before it"),
        }
        false
    }

    /// Returns when the eraser has reacted to an event, on whatever node it works.
    async fn erased(&self, position: Position) {
        let reached = || *self.erased.borrow() >= position;
        while !reached() {
            let elsewhere = policy::saved_position(self.cursors.as_ref(), eraser::NAME).await;
            if elsewhere.is_some_and(|reached| reached >= position) {
                return;
            }
            let mut erased = self.erased.clone();
            // Neither a change nor its absence is an answer; both are looked into above.
            let _ = tokio::time::timeout(LOOK, erased.wait_for(|it| *it >= position)).await;
        }
    }

    /// Returns when everything said in a room, or by an account, is gone that was deleted at a
    /// position; or after a while in which it was not.
    pub async fn follows(&self, commands: &Commands, deleted: Option<Position>) {
        let Some(deleted) = deleted else { return };
        let erasing = async {
            self.erased(deleted).await;
            commands.caught_up().await;
            self.done(commands.model().position()).await
        };
        match tokio::time::timeout(PATIENCE, erasing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a deletion is answered before its erasure"),
            Err(_) => tracing::warn!("an erasure takes long; its deletion is answered before it"),
        }
    }
}
