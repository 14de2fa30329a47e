//! Deliveries of outgoing webhooks: one row each, with its cause, its state and its last exchange.
//!
//! What an exchange carried is gone from its row as soon as the key that seals it is to be deleted:
//! that of the message, the room, the account or the integration.

mod queries;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::account::AccountEvent;
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{DeliveryId, IntegrationId, MessageId, RoomId, Timestamp, UserId};
use hansard_domain::integration::{DeliveryEvent, Exchange, IntegrationEvent, Trigger};
use hansard_domain::log::Position;
use hansard_domain::message::MessageEvent;
use hansard_domain::room::RoomEvent;
use hansard_domain::seal::Private;
use hansard_domain::vault::KeyId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::rows::{ByKey, Insert};
use crate::view::{View, ViewError};

pub use queries::{Deliveries, Filter, Page};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    Delivered,
    Dead,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Dead]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// One delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub integration: IntegrationId,
    /// Rocket.Chat's name of the trigger: `sendMessage`, …
    pub trigger: String,
    pub position: Position,
    pub room: Option<RoomId>,
    pub message: Option<MessageId>,
    pub user: Option<UserId>,
    /// Which of the integration's URLs, from 0.
    pub url: u32,
    pub state: State,
    pub attempts: u32,
    pub queued: Timestamp,
    /// The next attempt; `None` once it is delivered or dead.
    pub due: Option<Timestamp>,
    pub updated: Timestamp,
    /// Why it was given up without an attempt.
    pub abandoned: Option<String>,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// Why what the receiver answered was posted nowhere.
    pub answer_held_back: Option<String>,
    /// The last attempt; `None` before the first, and once it has been erased.
    pub exchange: Option<Exchange>,
    /// The key that seals the exchange.
    key: Option<String>,
}

const COLUMNS: &[&str] = &[
    "id",
    "integration",
    "trigger_name",
    "position",
    "room",
    "message",
    "account",
    "url",
    "state",
    "attempts",
    "queued_at",
    "due",
    "updated_at",
    "abandoned",
    "status",
    "answer_held_back",
    "exchange_key",
    "exchange_url",
    "request",
    "response",
];

const UPSERT: Insert = Insert::into("delivery", COLUMNS).on_conflict(
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, attempts = excluded.attempts, \
     due = excluded.due, updated_at = excluded.updated_at, abandoned = excluded.abandoned, \
     status = excluded.status, answer_held_back = excluded.answer_held_back, exchange_key = excluded.exchange_key, \
     exchange_url = excluded.exchange_url, request = excluded.request, \
     response = excluded.response",
);

const BY_ID: ByKey = ByKey::new("SELECT * FROM delivery WHERE id IN");
const DELETE: ByKey = ByKey::new("DELETE FROM delivery WHERE id IN");
const DELETE_ALL: ByKey = ByKey::new("DELETE FROM delivery WHERE integration IN");
const DELETE_DONE: ByKey =
    ByKey::new("DELETE FROM delivery WHERE state <> 'pending' AND integration IN");
const ERASE: ByKey = ByKey::new(
    "UPDATE delivery SET exchange_key = NULL, exchange_url = NULL, request = NULL, \
     response = NULL WHERE exchange_key IN",
);

impl Delivery {
    fn read(row: &AnyRow) -> Result<Self, ViewError> {
        let text = |column: &str| row.try_get::<Option<String>, _>(column);
        let number = |column: &str| row.try_get::<i64, _>(column);
        let state: String = row.try_get("state")?;
        let exchange = match text("request")? {
            Some(request) => Some(Exchange {
                url: text("exchange_url")?.unwrap_or_default(),
                request,
                response: text("response")?.unwrap_or_default(),
            }),
            None => None,
        };
        Ok(Self {
            id: DeliveryId::new(row.try_get::<String, _>("id")?),
            integration: IntegrationId::new(row.try_get::<String, _>("integration")?),
            trigger: row.try_get("trigger_name")?,
            position: Position(number("position")? as u64),
            room: text("room")?.map(RoomId::new),
            message: text("message")?.map(MessageId::new),
            user: text("account")?.map(UserId::new),
            url: number("url")? as u32,
            state: State::parse(&state)
                .ok_or_else(|| ViewError::Row(format!("a delivery is in no state '{state}'")))?,
            attempts: number("attempts")? as u32,
            queued: Timestamp(number("queued_at")?),
            due: row.try_get::<Option<i64>, _>("due")?.map(Timestamp),
            updated: Timestamp(number("updated_at")?),
            abandoned: text("abandoned")?,
            status: row
                .try_get::<Option<i64>, _>("status")?
                .map(|status| status as u16),
            answer_held_back: text("answer_held_back")?,
            exchange,
            key: text("exchange_key")?,
        })
    }

    fn attempted(
        &mut self,
        attempt: u32,
        status: Option<u16>,
        exchange: &Private<Exchange>,
        at: Timestamp,
    ) {
        self.attempts = attempt;
        self.status = status;
        self.updated = at;
        self.exchange = exchange.value().cloned();
        // Nothing is left to erase of what has been erased already.
        self.key = self.exchange.is_some().then(|| key(exchange.key()));
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.due = None;
    }

    fn change(&mut self, event: &DeliveryEvent) {
        match event {
            // A row is made by it; see the batch.
            DeliveryEvent::WebhookQueued { .. } => {}
            DeliveryEvent::WebhookDelivered {
                status,
                attempt,
                exchange,
                answer_held_back,
                at,
            } => {
                self.attempted(*attempt, Some(*status), exchange, *at);
                self.answer_held_back = answer_held_back.map(|why| why.as_str().to_owned());
                self.end(State::Delivered);
            }
            DeliveryEvent::WebhookFailed {
                status,
                attempt,
                exchange,
                at,
                retry_at,
            } => {
                self.attempted(*attempt, *status, exchange, *at);
                match retry_at {
                    Some(at) => self.due = Some(*at),
                    None => self.end(State::Dead),
                }
            }
            DeliveryEvent::WebhookAbandoned { reason, at } => {
                self.updated = *at;
                self.abandoned = Some(reason.as_str().to_owned());
                self.end(State::Dead);
            }
            DeliveryEvent::WebhookReplayed { at, .. } => {
                self.state = State::Pending;
                self.attempts = 0;
                self.due = Some(*at);
                self.updated = *at;
                self.abandoned = None;
                self.answer_held_back = None;
            }
        }
    }
}

/// How a key stands in its column.
fn key(key: KeyId) -> String {
    key.0.to_string()
}

/// The view.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeliveriesView;

#[async_trait]
impl View for DeliveriesView {
    fn name(&self) -> &'static str {
        "deliveries"
    }

    fn version(&self) -> u32 {
        2
    }

    fn schema(&self) -> &'static str {
        include_str!("schema.sql")
    }

    fn indexes(&self) -> &'static str {
        include_str!("indexes.sql")
    }

    fn concerns(&self, event: &Event) -> bool {
        matches!(
            event,
            Event::Delivery(_)
                | Event::Integration(_)
                | Event::Message(MessageEvent::MessageDeleted { .. })
                | Event::Room(RoomEvent::ChannelPruned { .. } | RoomEvent::RoomDeleted { .. })
                | Event::Account(AccountEvent::UserDeleted { .. })
        )
    }

    async fn apply(
        &self,
        tables: &mut AnyConnection,
        entries: &[Arc<Entry>],
    ) -> Result<(), ViewError> {
        let touched: HashSet<&str> = entries
            .iter()
            .filter(|entry| matches!(entry.event, Event::Delivery(_)))
            .map(|entry| entry.stream.key())
            .collect();
        let mut batch = Batch::default();
        if !touched.is_empty() {
            let touched: Vec<&str> = touched.into_iter().collect();
            for row in BY_ID.fetch(tables, &touched).await? {
                let row = Delivery::read(&row)?;
                batch.rows.insert(row.id.clone(), row);
            }
        }
        for entry in entries {
            batch.take(entry);
        }
        batch.write(tables).await
    }
}

/// What a batch changes. Rows that its events name are changed here; the others by statement.
#[derive(Default)]
struct Batch {
    rows: HashMap<DeliveryId, Delivery>,
    deleted: HashSet<DeliveryId>,
    removed: HashSet<IntegrationId>,
    cleared: HashSet<IntegrationId>,
    erased: HashSet<String>,
}

impl Batch {
    fn take(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Delivery(event) => self.delivery(entry, event),
            Event::Integration(IntegrationEvent::DeliveryHistoryCleared {}) => {
                let integration = IntegrationId::new(entry.stream.key());
                self.delete(|row| row.integration == integration && row.state != State::Pending);
                self.cleared.insert(integration);
            }
            Event::Integration(IntegrationEvent::IntegrationRemoved { key }) => {
                let integration = IntegrationId::new(entry.stream.key());
                self.delete(|row| row.integration == integration);
                self.removed.insert(integration);
                self.erase(*key);
            }
            Event::Message(MessageEvent::MessageDeleted {
                erased: Some(key), ..
            })
            | Event::Room(RoomEvent::RoomDeleted { key })
            | Event::Account(AccountEvent::UserDeleted { key, .. }) => self.erase(*key),
            Event::Room(RoomEvent::ChannelPruned { pruned, .. }) => {
                for pruned in pruned {
                    self.erase(pruned.key);
                }
            }
            _ => {}
        }
    }

    fn delivery(&mut self, entry: &Entry, event: &DeliveryEvent) {
        let id = DeliveryId::new(entry.stream.key());
        if let DeliveryEvent::WebhookQueued { cause, at } = event {
            let row = Delivery {
                id: id.clone(),
                integration: cause.integration.clone(),
                trigger: Trigger::as_str(cause.trigger).to_owned(),
                position: cause.position,
                room: cause.room.clone(),
                message: cause.message.clone(),
                user: cause.user.clone(),
                url: cause.url,
                state: State::Pending,
                attempts: 0,
                queued: *at,
                due: Some(*at),
                updated: *at,
                abandoned: None,
                status: None,
                answer_held_back: None,
                exchange: None,
                key: None,
            };
            self.rows.insert(id, row);
        } else if let Some(row) = self.rows.get_mut(&id) {
            row.change(event);
        }
        // Else its history has been cleared, or its integration removed.
    }

    fn delete(&mut self, which: impl Fn(&Delivery) -> bool) {
        let deleted = &mut self.deleted;
        self.rows.retain(|id, row| {
            let delete = which(row);
            if delete {
                deleted.insert(id.clone());
            }
            !delete
        });
    }

    fn erase(&mut self, erased: KeyId) {
        let erased = key(erased);
        for row in self.rows.values_mut() {
            if row.key.as_ref() == Some(&erased) {
                row.key = None;
                row.exchange = None;
            }
        }
        self.erased.insert(erased);
    }

    /// Statements first: rows that the batch names are as it leaves them.
    async fn write(self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        for (statement, integrations) in [(DELETE_ALL, self.removed), (DELETE_DONE, self.cleared)] {
            let integrations: Vec<_> = integrations.into_iter().collect();
            statement.execute(tables, &integrations).await?;
        }
        let erased: Vec<_> = self.erased.into_iter().collect();
        ERASE.execute(tables, &erased).await?;
        let deleted: Vec<_> = self.deleted.into_iter().collect();
        DELETE.execute(tables, &deleted).await?;
        let rows: Vec<_> = self.rows.into_values().collect();
        UPSERT
            .write(tables, &rows, |row, values| {
                values.text(&row.id);
                values.text(&row.integration);
                values.text(&row.trigger);
                values.position(row.position);
                values.maybe_text(row.room.as_ref());
                values.maybe_text(row.message.as_ref());
                values.maybe_text(row.user.as_ref());
                values.number(i64::from(row.url));
                values.text(row.state.as_str());
                values.number(i64::from(row.attempts));
                values.time(row.queued);
                values.maybe_time(row.due);
                values.time(row.updated);
                values.maybe_text(row.abandoned.as_ref());
                values.maybe_number(row.status.map(i64::from));
                values.maybe_text(row.answer_held_back.as_ref());
                values.maybe_text(row.key.as_ref());
                let exchange = row.exchange.as_ref();
                values.maybe_text(exchange.map(|exchange| &exchange.url));
                values.maybe_text(exchange.map(|exchange| &exchange.request));
                values.maybe_text(exchange.map(|exchange| &exchange.response));
            })
            .await
    }
}
