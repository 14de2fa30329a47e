//! Decisions on what is not in the write model: it is loaded from its stream first, and if it moved on
//! meanwhile the commit conflicts, and all is done again.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::CommandError;

/// How long a command is decided anew on what others keep changing meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// Loads and decides, and does so again when what was loaded changed in between.
pub(crate) async fn retried<T, F, R>(load_and_decide: F) -> Result<T, CommandError>
where
    F: Fn() -> R,
    R: Future<Output = Result<T, CommandError>>,
{
    let give_up = Instant::now() + PATIENCE;
    loop {
        match load_and_decide().await {
            Err(CommandError::Conflict(_)) if Instant::now() < give_up => {}
            outcome => return outcome,
        }
    }
}
