//! The dispatcher: makes the deliveries that are due.
//!
//! Each receiver has a lane: its deliveries are made one after the other, the next when the one
//! before is delivered or dead. Lanes do not wait for each other, up to a bound. What is under way
//! stands in the write model, so that nothing has to be remembered here: a dispatcher that starts
//! after a crash finds all that was queued, and makes again what it does not know the end of.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use hansard_domain::id::{DeliveryId, IntegrationId, Timestamp};
use hansard_domain::integration::{
    Abandonment, Cause, Delivery, DeliveryCommand, Exchange, HeldBack, Integration,
    IntegrationCommand,
};
use hansard_domain::vault::KeyId;
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::answer::post_answer;
use super::answerable::may_hear;
use super::kept::exchange;
use super::payload::payload;
use super::retry;
use super::sender::{SendError, WebhookRequest, WebhookResponse, WebhookSender};
use super::signature;
use super::trigger::still_watches;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::{Lane, Versioned, WriteModel};

/// Names the dispatcher on the record.
const NAME: &str = "webhook-delivery";

/// How many deliveries are on their way at a time.
const AT_ONCE: usize = 32;

/// How long a lane rests whose delivery could not be recorded.
const TROUBLE: Duration = Duration::from_secs(1);

/// The receiver is gone for good and wants no more.
const GONE: u16 = 410;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    commands: Commands,
    sender: Arc<dyn WebhookSender>,
}

impl Dispatcher {
    pub fn new(commands: Commands, sender: Arc<dyn WebhookSender>) -> Self {
        Self { commands, sender }
    }

    /// Makes deliveries until it is told to stop. What is on its way then is dropped, and made again
    /// at the next start.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.work()).await;
    }

    async fn work(self) {
        let mut head = self.commands.journal().watch_head();
        let mut under_way: JoinSet<Lane> = JoinSet::new();
        let mut busy: HashSet<Lane> = HashSet::new();
        let mut seen: Option<Arc<WriteModel>> = None;
        let mut due = None;
        loop {
            let reached = *head.borrow_and_update();
            let model = self.commands.model_at(reached).await;
            let news = seen.as_ref().is_none_or(|seen| {
                !seen.lanes.ptr_eq(&model.lanes) || !seen.integrations.ptr_eq(&model.integrations)
            });
            if news || due.is_some_and(|due| due <= self.commands.clock().now()) {
                due = self.set_out(&model, &mut under_way, &mut busy);
            }
            seen = Some(model);

            tokio::select! {
                Ok(()) = head.changed() => {}
                Some(ended) = under_way.join_next(), if !under_way.is_empty() => {
                    match ended {
                        Ok(lane) => drop(busy.remove(&lane)),
                        Err(error) => {
                            tracing::error!(%error, "a webhook delivery ended badly");
                            // Whose it was is not known any more; none is busy once all have ended.
                            while let Some(ended) = under_way.join_next().await {
                                drop(ended);
                            }
                            busy.clear();
                        }
                    }
                    // Its lane may have more.
                    seen = None;
                }
                () = self.until(due) => {}
            }
        }
    }

    async fn until(&self, due: Option<Timestamp>) {
        match due {
            Some(due) => {
                let wait = due.0.saturating_sub(self.commands.clock().now().0);
                tokio::time::sleep(Duration::from_millis(wait.max(1) as u64)).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Sets out with the first delivery of every lane that is free and due; answers when the next
    /// one will be.
    fn set_out(
        &self,
        model: &Arc<WriteModel>,
        under_way: &mut JoinSet<Lane>,
        busy: &mut HashSet<Lane>,
    ) -> Option<Timestamp> {
        let now = self.commands.clock().now();
        let mut next: Option<Timestamp> = None;
        for (lane, turns) in model.lanes() {
            if busy.contains(lane) || under_way.len() >= AT_ONCE {
                continue;
            }
            let first = turns.get_min().map(|(_, _, id)| id);
            let Some((id, delivery)) = first.and_then(|id| Some((id, model.pending_delivery(id)?)))
            else {
                continue;
            };
            let integration = model.integration(&lane.0);
            if integration.is_some_and(|integration| !integration.enabled) {
                // It waits until the integration is enabled again.
                continue;
            }
            if integration.is_some()
                && let Some(due) = retry::due(delivery, now)
            {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            busy.insert(lane.clone());
            let attempt = Attempt {
                dispatcher: self.clone(),
                id: id.clone(),
                delivery: delivery.clone(),
                model: model.clone(),
            };
            let lane = lane.clone();
            under_way.spawn(async move {
                attempt.make().await;
                lane
            });
        }
        next
    }
}

/// One attempt at one delivery.
struct Attempt {
    dispatcher: Dispatcher,
    id: DeliveryId,
    delivery: Versioned<Delivery>,
    model: Arc<WriteModel>,
}

/// How an attempt ended.
enum Outcome {
    Delivered {
        status: u16,
    },
    Failed {
        status: Option<u16>,
        asked: Option<Duration>,
    },
    /// The receiver wants no more, ever.
    Gone,
}

impl Attempt {
    async fn make(self) {
        if let Err(error) = self.try_make().await {
            // The delivery is as it was, and is made again.
            if !matches!(error, CommandError::Conflict(_)) {
                tracing::warn!(delivery = %self.id, %error, "a webhook delivery waits");
                tokio::time::sleep(TROUBLE).await;
            }
        }
    }

    fn commands(&self) -> &Commands {
        &self.dispatcher.commands
    }

    async fn try_make(&self) -> Result<(), CommandError> {
        let Some(cause) = &self.delivery.cause else {
            return Ok(());
        };
        let Some(integration) = self.model.integration(&cause.integration) else {
            return self.abandon(Abandonment::IntegrationRemoved).await;
        };
        let Some(url) = integration.details.urls.get(cause.url as usize) else {
            return self.abandon(Abandonment::UrlRemoved).await;
        };
        // It may have waited for long. What the integration is now is not owed what was said to others, and
        // what became of a room that it does not watch any more is not told. Of one that is gone nothing is.
        let changed = self.model.saved(&cause.integration) > Some(cause.position);
        let gone = |room| self.model.room(room).is_none();
        let stands = !cause.room.as_ref().is_some_and(gone);
        if (changed || stands) && !still_watches(&self.model, integration, cause) {
            return self.abandon(Abandonment::Unwatched).await;
        }
        if may_hear(&self.model, integration, cause.trigger, cause.room.as_ref()).is_err() {
            return self.abandon(Abandonment::HeldBack).await;
        }
        let made = payload(self.commands(), &self.model, integration, &self.delivery).await?;
        let Some(made) = made else {
            return self.abandon(Abandonment::Erased).await;
        };
        let key = made.key;
        let keys = self.commands().journal().keys();
        let erased = made.carried.iter().map(|key| Box::pin(keys.erased(*key)));
        let sent = tokio::select! {
            sent = self.send(integration, url, &made.body) => sent,
            // What is not on the wire yet must not get there any more.
            _ = select_all(erased) => return self.abandon(Abandonment::Erased).await,
        };
        let exchange = exchange(url, &made, &sent);
        let outcome = outcome(&sent);
        let answer_held_back = match (&outcome, &sent) {
            (Outcome::Delivered { .. }, Ok(response)) => {
                let (id, delivery) = (&self.id, &self.delivery);
                post_answer(self.commands(), id, delivery, response).await?
            }
            _ => None,
        };
        let ending = self.ending(integration, &outcome, answer_held_back);
        match self.record(cause, key, &exchange, &outcome, ending).await {
            // What it carried was erased while it was on its way: so is the record of it.
            Err(CommandError::Conflict(_)) if !self.has_key(key).await? => {
                self.abandon(Abandonment::Erased).await
            }
            other => other,
        }
    }

    async fn send(
        &self,
        integration: &Integration,
        url: &str,
        body: &Map<String, Value>,
    ) -> Result<WebhookResponse, SendError> {
        let body = Value::from(body.clone()).to_string();
        let now = self.commands().clock().now();
        let secret = &integration.details.signing_secret;
        let seconds = self.model.number("Hansard_Webhook_Timeout_Seconds");
        let request = WebhookRequest {
            url: url.to_owned(),
            headers: signature::headers(secret, &self.id, now, &body),
            body,
            timeout: Duration::from_secs(seconds.clamp(1, 300) as u64),
            allow_private_addresses: self.model.flag("Hansard_Webhook_Allow_Private_Addresses"),
        };
        self.dispatcher.sender.send(request).await
    }

    fn ending(
        &self,
        integration: &Integration,
        outcome: &Outcome,
        answer_held_back: Option<HeldBack>,
    ) -> Ending {
        match *outcome {
            Outcome::Delivered { status } => Ending::Succeed {
                status,
                answer_held_back,
            },
            Outcome::Failed { status, asked } => {
                let most = self.model.number("Hansard_Webhook_Max_Attempts");
                let most = most.clamp(1, i64::from(u32::MAX)) as u32;
                let attempt = self.delivery.attempts + 1;
                let wait = retry::wait(&self.id, &integration.details, most, attempt, asked);
                Ending::Fail { status, wait }
            }
            Outcome::Gone => Ending::Fail {
                status: Some(GONE),
                wait: None,
            },
        }
    }

    async fn record(
        &self,
        cause: &Cause,
        key: KeyId,
        exchange: &Exchange,
        outcome: &Outcome,
        ending: Ending,
    ) -> Result<(), CommandError> {
        let disable = matches!(outcome, Outcome::Gone).then(|| cause.integration.clone());
        let (id, version) = (self.id.clone(), self.delivery.version);
        let exchange = exchange.clone();
        let caller = Caller::policy(NAME, None);
        let recorded = self.commands().run(&caller, move |decision| {
            let model = decision.model();
            let current = model.pending_delivery(&id).cloned();
            let Some(current) = current.filter(|current| current.version == version) else {
                return Ok(());
            };
            let (at, clock) = (decision.now(), decision.clock());
            let exchange = exchange.clone();
            let command = match ending {
                Ending::Succeed {
                    status,
                    answer_held_back,
                } => DeliveryCommand::Succeed {
                    key,
                    status,
                    exchange,
                    answer_held_back,
                    at,
                },
                Ending::Fail { status, wait } => DeliveryCommand::Fail {
                    key,
                    status,
                    exchange,
                    at,
                    // The log's time may be hours ahead of the clock, once it was wrong.
                    retry_at: wait.map(|wait| clock.plus(wait)),
                },
            };
            decision.delivery(&id, &current, command)?;
            if let Some(integration) = &disable {
                switch_off(decision, integration)?;
            }
            Ok(())
        });
        recorded.await.map(|_| ())
    }

    async fn abandon(&self, reason: Abandonment) -> Result<(), CommandError> {
        let id = self.id.clone();
        let caller = Caller::policy(NAME, None);
        let abandoned = self.commands().run(&caller, move |decision| {
            let Some(current) = decision.model().pending_delivery(&id).cloned() else {
                return Ok(());
            };
            let at = decision.now();
            decision.delivery(&id, &current, DeliveryCommand::Abandon { reason, at })
        });
        abandoned.await.map(|_| ())
    }

    async fn has_key(&self, key: KeyId) -> Result<bool, CommandError> {
        let keys = self.commands().journal().keys().load(&[key]).await;
        let keys = keys.map_err(hansard_domain::journal::JournalError::from)?;
        Ok(keys.contains_key(&key))
    }
}

#[derive(Clone, Copy)]
enum Ending {
    Succeed {
        status: u16,
        answer_held_back: Option<HeldBack>,
    },
    Fail {
        status: Option<u16>,
        wait: Option<Duration>,
    },
}

fn switch_off(
    decision: &mut crate::decision::Decision<'_>,
    id: &IntegrationId,
) -> Result<(), CommandError> {
    let Some(integration) = decision.model().integration(id).cloned() else {
        return Ok(());
    };
    let command = IntegrationCommand::Update {
        trigger: integration.trigger,
        enabled: false,
        user: integration.user.clone(),
        taken_over_by: None,
        details: integration.details.clone(),
        at: decision.now(),
    };
    decision.integration(id, command)
}

fn outcome(sent: &Result<WebhookResponse, SendError>) -> Outcome {
    match sent {
        Ok(response) if (200..300).contains(&response.status) => Outcome::Delivered {
            status: response.status,
        },
        Ok(response) if response.status == GONE => Outcome::Gone,
        Ok(response) => Outcome::Failed {
            status: Some(response.status),
            asked: response.retry_after,
        },
        Err(_) => Outcome::Failed {
            status: None,
            asked: None,
        },
    }
}
