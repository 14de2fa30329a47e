//! Waiting until what was erased is nowhere any more.

use std::sync::Arc;

use hansard_domain::log::Position;
use hansard_projections::{Projector, ViewError};
use tokio::sync::watch;

/// See the module.
pub struct Erasure {
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
}
