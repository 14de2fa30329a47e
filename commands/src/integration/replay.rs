//! Making a delivery again that is delivered or dead.

use hansard_domain::id::{DeliveryId, IntegrationId};
use hansard_domain::integration::{DeliveryCommand, DeliveryState, Direction};

use super::manage::managed;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;

/// Queues a delivery again, behind those that wait for the same receiver. `integration` is the one
/// it is thought to be of; where it is of another, there is no such delivery.
pub async fn replay(
    commands: &Commands,
    caller: &Caller,
    integration: IntegrationId,
    id: DeliveryId,
) -> Result<(), CommandError> {
    let loaded = commands.delivery(&id).await?;
    commands
        .run(caller, move |decision| {
            managed(decision, &integration, Direction::Outgoing)?;
            let found = loaded.as_ref().filter(|delivery| {
                let cause = delivery.cause.as_ref();
                cause.is_some_and(|cause| cause.integration == integration)
            });
            let Some(delivery) = found else {
                return Err(CommandError::refused(
                    "error-invalid-integration-history",
                    "Invalid Integration History",
                ));
            };
            if delivery.state.state == DeliveryState::Pending {
                return Err(CommandError::refused(
                    "error-delivery-pending",
                    "The delivery is still under way",
                ));
            }
            let command = DeliveryCommand::Replay {
                by: decision.caller().user_id()?.clone(),
                at: decision.now(),
            };
            decision.delivery(&id, delivery, command)
        })
        .await?;
    Ok(())
}
