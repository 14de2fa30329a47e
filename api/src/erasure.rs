//! Waiting until what was erased is nowhere any more.

use std::sync::Arc;
use std::time::Duration;

use hansard_commands::bus::Commands;

use hansard_domain::log::Position;
use hansard_projections::{Projector, ViewError};
use tokio::sync::watch;

/// How long a deletion waits for its texts to be erased. Its answer is the same afterwards: what was
/// deleted is gone for everybody, and the erasure goes on.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
pub struct Erasure {
    /// How far the eraser has come.
    pub erased: watch::Receiver<Position>,
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

    /// Returns when everything said in a room, or by an account, is gone that was deleted at a
    /// position; or after a while in which it was not.
    pub async fn follows(&self, commands: &Commands, deleted: Option<Position>) {
        let Some(deleted) = deleted else { return };
        let erasing = async {
            let mut erased = self.erased.clone();
            let reached = erased.wait_for(|reached| *reached >= deleted).await;
            reached.map_err(|_| ViewError::Unavailable("the eraser has stopped".to_owned()))?;
            self.done(commands.model().position()).await
        };
        match tokio::time::timeout(PATIENCE, erasing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a deletion is answered before its erasure"),
            Err(_) => tracing::warn!("an erasure takes long; its deletion is answered before it"),
        }
    }
}
