//! The policy that queues deliveries of outgoing webhooks.
//!
//! A delivery's id follows from its integration, the position of the event and the URL, so that an
//! event that comes twice is queued once. What is queued holds ids alone: what is to be sent is made
//! from the log when it is sent.
//!
//! *What was said before is not owed.* A webhook hears what comes after it was saved last, judged by the
//! log's own order. And where its cursor is behind, because it was lost or is of a node that led long ago,
//! the policy begins after the latest event that it queued something for: up to there all is judged.
//! So nothing old is judged by what holds today, whoever leads and whatever became of the cursor.

use async_trait::async_trait;
use futures::future::join_all;
use hansard_domain::event::Entry;
use hansard_domain::id::{DeliveryId, IntegrationId};
use hansard_domain::integration::{
    Abandonment, Cause, DeliveryCommand, Direction, HeldBack, Integration, IntegrationCommand,
};
use hansard_domain::journal::Batch;
use hansard_domain::log::Position;

use super::answerable::may_hear;
use super::trigger::{Happening, happenings, set_off};
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
#[derive(Debug, Clone, Copy)]
pub struct OutgoingWebhooks {
    first: Position,
    /// The log's head when this node came to lead. What is older may have been judged before.
    began: Position,
}

impl OutgoingWebhooks {
    /// The policy as it begins with a model that holds all of the log.
    pub fn new(model: &WriteModel) -> Self {
        let began = model.position();
        let saved = listening(model).map(|id| model.saved(id).unwrap_or(began));
        Self {
            first: model.queued().max(saved.min().unwrap_or(began)).min(began),
            began,
        }
    }

    /// The position after which something may be owed.
    pub fn first(&self) -> Position {
        self.first
    }
}

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
        if listening(&model).next().is_none() {
            return Ok(());
        }
        let caused: Vec<(&Entry, Vec<Cause>)> = batch
            .iter()
            .map(|entry| (entry.as_ref(), self.causes(entry, &model)))
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

impl OutgoingWebhooks {
    fn causes(&self, entry: &Entry, model: &WriteModel) -> Vec<Cause> {
        let mut causes = Vec::new();
        for happening in happenings(entry, model) {
            for (id, integration) in set_off(model, &happening) {
                if !self.is_owed(entry.position, model, id, integration, &happening) {
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

    /// Whether the integration, and the room, were what they are when something happened.
    fn is_owed(
        &self,
        position: Position,
        model: &WriteModel,
        id: &IntegrationId,
        integration: &Integration,
        happening: &Happening<'_>,
    ) -> bool {
        // Who answers for it could not, for a while; how long is not known any more.
        let silenced = [HeldBack::MakerInactive, HeldBack::MakerMayNotManage]
            .iter()
            .any(|why| integration.held_back.contains(why));
        let room = happening.room.as_ref();
        let turned = room.and_then(|room| model.turned(room));
        model.saved(id).is_some_and(|saved| saved < position)
            && turned.is_none_or(|turned| turned < position)
            && !(silenced && position <= self.began)
    }
}

/// The outgoing integrations that are enabled.
fn listening(model: &WriteModel) -> impl Iterator<Item = &IntegrationId> {
    model
        .integrations()
        .filter(|(_, integration)| {
            integration.direction == Direction::Outgoing && integration.enabled
        })
        .map(|(id, _)| id)
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
