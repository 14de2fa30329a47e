//! The policy that queues deliveries of outgoing webhooks.
//!
//! A delivery's id follows from its integration, the position of the event and the URL, so that an
//! event that comes twice is queued once. What is queued holds ids alone: what is to be sent is made
//! from the log when it is sent.

use async_trait::async_trait;
use futures::future::join_all;
use hansard_domain::event::Entry;
use hansard_domain::id::{DeliveryId, IntegrationId};
use hansard_domain::integration::{
    Abandonment, Cause, DeliveryCommand, Direction, IntegrationCommand,
};
use hansard_domain::journal::Batch;
use hansard_domain::log::Position;

use super::answerable::may_hear;
use super::trigger::{happenings, set_off};
use crate::bus::Commands;
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;
use crate::policy::Policy;

const NAME: &str = "outgoing-webhooks";

/// How many deliveries may wait for one receiver. A newer one is on the record, but is not made
/// unless somebody asks for it.
const WAITING: usize = 10_000;

/// How many events are queued for at a time, one commit each.
const AT_ONCE: usize = 16;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutgoingWebhooks;

#[async_trait]
impl Policy for OutgoingWebhooks {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn react(&self, commands: &Commands, batch: &Batch) -> Result<(), CommandError> {
        let Some(last) = batch.last() else {
            return Ok(());
        };
        let model = commands.model_at(last.position).await;
        if !watched(&model) {
            return Ok(());
        }
        let caused: Vec<(&Entry, Vec<Cause>)> = batch
            .iter()
            .map(|entry| (entry.as_ref(), causes(entry, &model)))
            .filter(|(_, causes)| !causes.is_empty())
            .collect();
        for some in caused.chunks(AT_ONCE) {
            // All are handed in before the first is answered, so they are queued in this order.
            let queued = some
                .iter()
                .map(|(entry, causes)| queue(commands, entry, causes.clone()));
            for queued in join_all(queued).await {
                queued?;
            }
        }
        Ok(())
    }
}

fn watched(model: &WriteModel) -> bool {
    model
        .integrations()
        .any(|(_, integration)| integration.direction == Direction::Outgoing && integration.enabled)
}

fn causes(entry: &Entry, model: &WriteModel) -> Vec<Cause> {
    let mut causes = Vec::new();
    for happening in happenings(entry, model) {
        for (id, integration) in set_off(model, &happening) {
            // A policy that lost its cursor reads what was long before the integration.
            if entry.at < integration.created {
                continue;
            }
            let heard = may_hear(
                model,
                integration,
                happening.trigger,
                happening.room.as_ref(),
            );
            // What is held back is said once.
            if heard.is_err_and(|why| integration.held_back.contains(&why)) {
                continue;
            }
            causes.extend((0..integration.details.urls.len() as u32).map(|url| Cause {
                integration: id.clone(),
                trigger: happening.trigger,
                position: entry.position,
                room: happening.room.clone(),
                message: happening.message.clone(),
                user: happening.user.clone(),
                url,
            }));
        }
    }
    causes
}

/// `<integration>-<position>-<url>`; a `.` would be ambiguous in a signature.
fn delivery_id(integration: &IntegrationId, position: Position, url: u32) -> DeliveryId {
    DeliveryId::new(format!("{integration}-{}-{url}", position.0))
}

async fn queue(commands: &Commands, entry: &Entry, causes: Vec<Cause>) -> Result<(), CommandError> {
    let caller = Caller::policy(NAME, Some(entry.id));
    let queued = commands
        .run(&caller, move |decision| {
            for cause in &causes {
                queue_one(decision, cause)?;
            }
            Ok(())
        })
        .await;
    match queued {
        // It was queued before, and is done by now.
        Err(CommandError::Conflict(_)) => Ok(()),
        other => other.map(|_| ()),
    }
}

fn queue_one(decision: &mut Decision<'_>, cause: &Cause) -> Result<(), CommandError> {
    let id = delivery_id(&cause.integration, cause.position, cause.url);
    let model = decision.model();
    let Some(integration) = model.integration(&cause.integration) else {
        return Ok(());
    };
    if let Err(why) = may_hear(model, integration, cause.trigger, cause.room.as_ref()) {
        let (room, at) = (cause.room.clone(), decision.now());
        let command = IntegrationCommand::HoldBack { why, room, at };
        return decision.integration(&cause.integration, command);
    }
    if model.pending_delivery(&id).is_some() {
        return Ok(());
    }
    let lane = (cause.integration.clone(), cause.url);
    let full = model
        .lanes()
        .get(&lane)
        .is_some_and(|turns| turns.len() >= WAITING);
    let at = decision.now();
    let command = DeliveryCommand::Queue {
        cause: cause.clone(),
        at,
    };
    decision.delivery(&id, &Default::default(), command)?;
    let queued = decision.model().pending_delivery(&id).cloned();
    if let Some(queued) = queued.filter(|_| full) {
        let reason = Abandonment::Overflow;
        decision.delivery(&id, &queued, DeliveryCommand::Abandon { reason, at })?;
    }
    Ok(())
}
