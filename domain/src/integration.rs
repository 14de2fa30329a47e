//! An integration: an incoming or outgoing webhook, and the deliveries of the latter.
//!
//! Who may make one and which rooms it may reach is decided before; how an HTTP request is made is
//! decided after. Everything an administrator typed is sealed under the integration's key; what a
//! delivery carried is sealed under the key of the message that it carried, so that pruning the
//! message erases it here, too; where it told of somebody, under that account's.

use std::collections::{BTreeMap, BTreeSet};

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

use crate::id::{IntegrationId, MessageId, RoomId, Timestamp, UserId};
use crate::log::Position;
use crate::seal::{Confidential, Part, Private};
use crate::vault::KeyId;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    #[default]
    #[serde(rename = "webhook-incoming")]
    Incoming,
    #[serde(rename = "webhook-outgoing")]
    Outgoing,
}

/// What an outgoing webhook waits for; names as in Rocket.Chat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trigger {
    #[default]
    SendMessage,
    FileUploaded,
    RoomArchived,
    RoomCreated,
    RoomJoined,
    RoomLeft,
    UserCreated,
}

impl Trigger {
    /// Rocket.Chat's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendMessage => "sendMessage",
            Self::FileUploaded => "fileUploaded",
            Self::RoomArchived => "roomArchived",
            Self::RoomCreated => "roomCreated",
            Self::RoomJoined => "roomJoined",
            Self::RoomLeft => "roomLeft",
            Self::UserCreated => "userCreated",
        }
    }
}

/// What a name refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Referent {
    Room(RoomId),
    Person(UserId),
}

/// What the names of an integration referred to when they were said; names change, and are given to others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Referents {
    /// Of `channels`, by the name; what referred to nothing is not here.
    pub channels: BTreeMap<String, Referent>,
    /// Of `target_room`.
    pub target: Option<Referent>,
}

/// What an administrator sets; sealed under the integration's key. Names as in Rocket.Chat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IntegrationDetails {
    pub name: String,
    /// `#channel` and `@user` names; for outgoing ones also `all_public_channels`,
    /// `all_private_groups`, `all_direct_messages`.
    pub channels: Vec<String>,
    /// `None` in events of earlier versions: then the names mean what they meant where the event stands
    /// in the log, and the write model says so here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referents: Option<Referents>,
    pub alias: String,
    pub avatar: String,
    pub emoji: String,
    /// Incoming: the secret in the URL. Outgoing: sent along, so that the receiver knows us.
    pub token: String,
    /// Signs outgoing deliveries (Standard Webhooks); `whsec_` and base64.
    pub signing_secret: String,
    pub script: String,
    pub script_enabled: bool,
    /// `vm2` or `isolated-vm`, kept for clients.
    pub script_engine: String,
    /// Incoming: a payload may name another channel.
    pub override_destination_channel_enabled: bool,
    // Outgoing from here on.
    pub urls: Vec<String>,
    pub trigger_words: Vec<String>,
    pub trigger_word_anywhere: bool,
    pub target_room: String,
    pub impersonate_user: bool,
    pub run_on_edits: bool,
    /// Yes: `retry_count` and `retry_delay` say how. No: one attempt. Not said: the workspace's
    /// schedule.
    pub retry_failed_calls: Option<bool>,
    pub retry_count: u32,
    /// `powers-of-ten`, `powers-of-two`, `increments-of-two`.
    pub retry_delay: String,
}

impl IntegrationDetails {
    /// What one of `channels` refers to.
    pub fn referent(&self, channel: &str) -> Option<&Referent> {
        self.referents.as_ref()?.channels.get(channel)
    }

    /// What `target_room` refers to.
    pub fn target(&self) -> Option<&Referent> {
        self.referents.as_ref()?.target.as_ref()
    }
}

/// Why an integration does not do what it is there for: it may do no more than whoever answers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HeldBack {
    /// Whoever answers for it is deactivated or deleted.
    MakerInactive,
    /// Whoever answers for it may not manage such integrations any more.
    MakerMayNotManage,
    /// Whoever answers for it may manage its own alone, and does not see the room, or not what is
    /// said in it.
    RoomOutOfSight,
    /// Whoever answers for it may manage its own alone, and it would post as somebody else.
    OtherAccount,
    /// The room or the account that it was told to post to is gone, or the account is deactivated.
    DestinationGone,
}

impl HeldBack {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MakerInactive => "makerInactive",
            Self::MakerMayNotManage => "makerMayNotManage",
            Self::RoomOutOfSight => "roomOutOfSight",
            Self::OtherAccount => "otherAccount",
            Self::DestinationGone => "destinationGone",
        }
    }
}

#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
pub enum IntegrationEvent {
    IntegrationCreated {
        direction: Direction,
        trigger: Option<Trigger>,
        enabled: bool,
        /// The account it posts as.
        user: UserId,
        created_by: UserId,
        details: Private<IntegrationDetails>,
        at: Timestamp,
    },
    IntegrationUpdated {
        trigger: Option<Trigger>,
        enabled: bool,
        user: UserId,
        /// Who answers for it from now on, where that is somebody else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        taken_over_by: Option<UserId>,
        details: Private<IntegrationDetails>,
        at: Timestamp,
    },
    /// It was held back for the first time since somebody saved it; not said again for the same reason.
    IntegrationHeldBack {
        why: HeldBack,
        room: Option<RoomId>,
        at: Timestamp,
    },
    DeliveryHistoryCleared {},
    /// The key is to be shredded.
    IntegrationRemoved {
        key: KeyId,
    },
}

impl DomainEvent for IntegrationEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for IntegrationEvent {
    fn parts(&mut self, visit: &mut dyn FnMut(&mut dyn Part)) {
        match self {
            Self::IntegrationCreated { details, .. } | Self::IntegrationUpdated { details, .. } => {
                visit(details);
            }
            Self::IntegrationHeldBack { .. }
            | Self::DeliveryHistoryCleared {}
            | Self::IntegrationRemoved { .. } => {}
        }
    }
}

#[derive(Debug, Clone)]
pub enum IntegrationCommand {
    Create {
        key: KeyId,
        direction: Direction,
        trigger: Option<Trigger>,
        enabled: bool,
        user: UserId,
        created_by: UserId,
        details: IntegrationDetails,
        at: Timestamp,
    },
    Update {
        trigger: Option<Trigger>,
        enabled: bool,
        user: UserId,
        taken_over_by: Option<UserId>,
        details: IntegrationDetails,
        at: Timestamp,
    },
    HoldBack {
        why: HeldBack,
        room: Option<RoomId>,
        at: Timestamp,
    },
    ClearHistory,
    Remove,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntegrationError {
    #[error("the integration exists already")]
    Exists,
    #[error("there is no such integration")]
    Missing,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Integration {
    pub key: KeyId,
    pub exists: bool,
    pub removed: bool,
    pub direction: Direction,
    pub trigger: Option<Trigger>,
    pub enabled: bool,
    pub user: UserId,
    /// Who answers for it: whoever made it, or took it over.
    pub created_by: UserId,
    pub created: Timestamp,
    pub updated: Timestamp,
    /// Why it was held back since it was saved.
    #[serde(default)]
    pub held_back: BTreeSet<HeldBack>,
    pub details: IntegrationDetails,
}

impl Aggregate for Integration {
    const TYPE: &'static str = "integration";
    type Command = IntegrationCommand;
    type Event = IntegrationEvent;
    type Error = IntegrationError;
    type Services = ();

    async fn handle(
        &mut self,
        command: IntegrationCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), IntegrationError> {
        use IntegrationCommand as C;
        use IntegrationEvent as E;
        let event = match command {
            C::Create { .. } if self.exists => return Err(IntegrationError::Exists),
            C::Create {
                key,
                direction,
                trigger,
                enabled,
                user,
                created_by,
                details,
                at,
            } => {
                let details = Private::new(key, details);
                E::IntegrationCreated {
                    direction,
                    trigger,
                    enabled,
                    user,
                    created_by,
                    details,
                    at,
                }
            }
            _ if !self.exists || self.removed => return Err(IntegrationError::Missing),
            C::Update {
                trigger,
                enabled,
                user,
                taken_over_by,
                details,
                at,
            } => {
                let details = Private::new(self.key, details);
                E::IntegrationUpdated {
                    trigger,
                    enabled,
                    user,
                    taken_over_by,
                    details,
                    at,
                }
            }
            C::HoldBack { why, .. } if self.held_back.contains(&why) => return Ok(()),
            C::HoldBack { why, room, at } => E::IntegrationHeldBack { why, room, at },
            C::ClearHistory => E::DeliveryHistoryCleared {},
            C::Remove => E::IntegrationRemoved { key: self.key },
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: IntegrationEvent) {
        match event {
            IntegrationEvent::IntegrationCreated {
                direction,
                trigger,
                enabled,
                user,
                created_by,
                details,
                at,
            } => {
                *self = Self {
                    key: details.key(),
                    exists: true,
                    removed: false,
                    direction,
                    trigger,
                    enabled,
                    user,
                    created_by,
                    created: at,
                    updated: at,
                    held_back: BTreeSet::new(),
                    details: details.into_value().unwrap_or_default(),
                };
            }
            IntegrationEvent::IntegrationUpdated {
                trigger,
                enabled,
                user,
                taken_over_by,
                details,
                at,
            } => {
                self.trigger = trigger;
                self.enabled = enabled;
                self.user = user;
                if let Some(maker) = taken_over_by {
                    self.created_by = maker;
                }
                self.updated = at;
                self.held_back.clear();
                self.details = details.into_value().unwrap_or_default();
            }
            IntegrationEvent::IntegrationHeldBack { why, .. } => {
                self.held_back.insert(why);
            }
            IntegrationEvent::DeliveryHistoryCleared {} => {}
            IntegrationEvent::IntegrationRemoved { .. } => {
                *self = Self {
                    key: self.key,
                    exists: true,
                    removed: true,
                    ..Self::default()
                };
            }
        }
    }
}

/// What set a delivery off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub integration: IntegrationId,
    pub trigger: Trigger,
    /// Where the event stands that set it off.
    pub position: Position,
    pub room: Option<RoomId>,
    pub message: Option<MessageId>,
    pub user: Option<UserId>,
    /// Which of the integration's URLs, from 0.
    pub url: u32,
}

/// What went over the wire; sealed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exchange {
    pub url: String,
    pub request: String,
    /// The answer's body, or why there was none; cut at 4 KiB.
    pub response: String,
}

/// Why a delivery was given up without another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Abandonment {
    IntegrationRemoved,
    /// The integration has no such URL any more.
    UrlRemoved,
    /// The integration does not watch such things any more: it was changed since, or the room was.
    Unwatched,
    /// What it was to carry has been erased in the meantime.
    Erased,
    /// Too many deliveries of the integration were waiting.
    Overflow,
    /// Whoever answers for the integration may not have it made; see [`HeldBack`].
    HeldBack,
}

impl Abandonment {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IntegrationRemoved => "integrationRemoved",
            Self::UrlRemoved => "urlRemoved",
            Self::Unwatched => "unwatched",
            Self::Erased => "erased",
            Self::Overflow => "overflow",
            Self::HeldBack => "heldBack",
        }
    }
}

/// The life of one delivery, in the stream `delivery-<id>`. The id follows from the cause, so that a
/// policy that runs again after a crash finds what it did.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
pub enum DeliveryEvent {
    WebhookQueued {
        cause: Cause,
        at: Timestamp,
    },
    WebhookDelivered {
        status: u16,
        attempt: u32,
        exchange: Private<Exchange>,
        /// Why what the receiver answered was posted nowhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer_held_back: Option<HeldBack>,
        at: Timestamp,
    },
    WebhookFailed {
        status: Option<u16>,
        attempt: u32,
        exchange: Private<Exchange>,
        at: Timestamp,
        /// When it is tried again; `None` makes it a dead letter.
        retry_at: Option<Timestamp>,
    },
    /// It will not be made; nothing went over the wire.
    WebhookAbandoned {
        reason: Abandonment,
        at: Timestamp,
    },
    /// Somebody asked for a dead or done delivery to be made again.
    WebhookReplayed {
        by: UserId,
        /// As it was queued with: who keeps only what is under way knows it from here.
        cause: Cause,
        at: Timestamp,
    },
}

impl DomainEvent for DeliveryEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for DeliveryEvent {
    fn parts(&mut self, visit: &mut dyn FnMut(&mut dyn Part)) {
        match self {
            Self::WebhookDelivered { exchange, .. } | Self::WebhookFailed { exchange, .. } => {
                visit(exchange);
            }
            Self::WebhookQueued { .. }
            | Self::WebhookAbandoned { .. }
            | Self::WebhookReplayed { .. } => {}
        }
    }
}

#[derive(Debug, Clone)]
pub enum DeliveryCommand {
    Queue {
        cause: Cause,
        at: Timestamp,
    },
    /// `key` is that of the message it carries, of the account it tells of, or of the room.
    Succeed {
        key: KeyId,
        status: u16,
        exchange: Exchange,
        answer_held_back: Option<HeldBack>,
        at: Timestamp,
    },
    Fail {
        key: KeyId,
        status: Option<u16>,
        exchange: Exchange,
        at: Timestamp,
        retry_at: Option<Timestamp>,
    },
    Abandon {
        reason: Abandonment,
        at: Timestamp,
    },
    Replay {
        by: UserId,
        at: Timestamp,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    #[error("the delivery exists already")]
    Exists,
    #[error("there is no such delivery")]
    Missing,
    #[error("the delivery is still under way")]
    Pending,
    #[error("the delivery is done already")]
    Done,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeliveryState {
    #[default]
    Unknown,
    Pending,
    Delivered,
    Dead,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    pub cause: Option<Cause>,
    pub state: DeliveryState,
    pub attempts: u32,
    /// When it was queued, or asked for again: its turn among the others.
    pub queued: Timestamp,
    /// When the next attempt is due.
    pub due: Timestamp,
}

impl Aggregate for Delivery {
    const TYPE: &'static str = "delivery";
    type Command = DeliveryCommand;
    type Event = DeliveryEvent;
    type Error = DeliveryError;
    type Services = ();

    async fn handle(
        &mut self,
        command: DeliveryCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), DeliveryError> {
        use DeliveryCommand as C;
        use DeliveryEvent as E;
        let attempt = self.attempts + 1;
        let event = match (command, self.state) {
            (C::Queue { cause, at }, DeliveryState::Unknown) => E::WebhookQueued { cause, at },
            (C::Queue { .. }, _) => return Err(DeliveryError::Exists),
            (_, DeliveryState::Unknown) => return Err(DeliveryError::Missing),
            (C::Replay { .. }, DeliveryState::Pending) => return Err(DeliveryError::Pending),
            (C::Replay { by, at }, _) => {
                let cause = self.cause.clone().ok_or(DeliveryError::Missing)?;
                E::WebhookReplayed { by, cause, at }
            }
            (_, DeliveryState::Delivered | DeliveryState::Dead) => {
                return Err(DeliveryError::Done);
            }
            (
                C::Succeed {
                    key,
                    status,
                    exchange,
                    answer_held_back,
                    at,
                },
                DeliveryState::Pending,
            ) => E::WebhookDelivered {
                status,
                attempt,
                exchange: Private::new(key, exchange),
                answer_held_back,
                at,
            },
            (
                C::Fail {
                    key,
                    status,
                    exchange,
                    at,
                    retry_at,
                },
                DeliveryState::Pending,
            ) => {
                let exchange = Private::new(key, exchange);
                E::WebhookFailed {
                    status,
                    attempt,
                    exchange,
                    at,
                    retry_at,
                }
            }
            (C::Abandon { reason, at }, DeliveryState::Pending) => {
                E::WebhookAbandoned { reason, at }
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: DeliveryEvent) {
        match event {
            DeliveryEvent::WebhookQueued { cause, at } => {
                self.cause = Some(cause);
                self.state = DeliveryState::Pending;
                self.queued = at;
                self.due = at;
            }
            DeliveryEvent::WebhookDelivered { attempt, .. } => {
                self.attempts = attempt;
                self.state = DeliveryState::Delivered;
            }
            DeliveryEvent::WebhookFailed {
                attempt, retry_at, ..
            } => {
                self.attempts = attempt;
                match retry_at {
                    Some(at) => self.due = at,
                    None => self.state = DeliveryState::Dead,
                }
            }
            DeliveryEvent::WebhookAbandoned { .. } => self.state = DeliveryState::Dead,
            DeliveryEvent::WebhookReplayed { cause, at, .. } => {
                self.cause = Some(cause);
                self.state = DeliveryState::Pending;
                self.attempts = 0;
                self.queued = at;
                self.due = at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;

    const KEY: KeyId = KeyId(7);

    fn details(name: &str) -> IntegrationDetails {
        IntegrationDetails {
            name: name.into(),
            channels: vec!["#general".into()],
            urls: vec!["https://example.com/hook".into()],
            ..Default::default()
        }
    }

    fn created() -> IntegrationEvent {
        IntegrationEvent::IntegrationCreated {
            direction: Direction::Outgoing,
            trigger: Some(Trigger::SendMessage),
            enabled: true,
            user: "bot".into(),
            created_by: "mary".into(),
            details: Private::new(KEY, details("build")),
            at: Timestamp(1),
        }
    }

    fn create() -> IntegrationCommand {
        IntegrationCommand::Create {
            key: KEY,
            direction: Direction::Outgoing,
            trigger: Some(Trigger::SendMessage),
            enabled: true,
            user: "bot".into(),
            created_by: "mary".into(),
            details: details("build"),
            at: Timestamp(1),
        }
    }

    fn update(enabled: bool) -> IntegrationCommand {
        IntegrationCommand::Update {
            trigger: Some(Trigger::RoomCreated),
            enabled,
            user: "bot".into(),
            taken_over_by: None,
            details: details("deploy"),
            at: Timestamp(2),
        }
    }

    fn integration() -> TestFramework<Integration> {
        TestFramework::with(())
    }

    #[tokio::test]
    async fn an_integration_is_created() {
        integration()
            .given_no_previous_events()
            .when_async(create())
            .await
            .then_expect_events(vec![created()]);
    }

    #[tokio::test]
    async fn an_integration_is_created_once() {
        integration()
            .given(vec![created()])
            .when_async(create())
            .await
            .then_expect_error(IntegrationError::Exists);
    }

    #[tokio::test]
    async fn an_update_is_sealed_under_the_key_of_the_integration() {
        integration()
            .given(vec![created()])
            .when_async(update(false))
            .await
            .then_expect_events(vec![IntegrationEvent::IntegrationUpdated {
                trigger: Some(Trigger::RoomCreated),
                enabled: false,
                user: "bot".into(),
                taken_over_by: None,
                details: Private::new(KEY, details("deploy")),
                at: Timestamp(2),
            }]);
    }

    #[tokio::test]
    async fn why_it_is_held_back_is_said_once_until_it_is_saved() {
        let why = HeldBack::MakerInactive;
        let (room, at) = (Some(RoomId::new("garden")), Timestamp(2));
        let hold = || IntegrationCommand::HoldBack {
            why,
            room: room.clone(),
            at,
        };
        let held = || IntegrationEvent::IntegrationHeldBack {
            why,
            room: room.clone(),
            at,
        };
        let saved = |taken_over_by| IntegrationEvent::IntegrationUpdated {
            trigger: Some(Trigger::SendMessage),
            enabled: true,
            user: "bot".into(),
            taken_over_by,
            details: Private::new(KEY, details("build")),
            at,
        };
        let cases = [
            (vec![created()], vec![held()]),
            (vec![created(), held()], vec![]),
            (vec![created(), held(), saved(None)], vec![held()]),
        ];
        for (given, events) in cases {
            integration()
                .given(given)
                .when_async(hold())
                .await
                .then_expect_events(events);
        }
        let mut state = Integration::default();
        state.apply(created());
        state.apply(saved(Some("paul".into())));
        assert_eq!(state.created_by, UserId::new("paul"));
    }

    #[tokio::test]
    async fn a_removed_integration_names_its_key_for_shredding() {
        integration()
            .given(vec![created()])
            .when_async(IntegrationCommand::Remove)
            .await
            .then_expect_events(vec![IntegrationEvent::IntegrationRemoved { key: KEY }]);
    }

    #[tokio::test]
    async fn a_removed_integration_can_not_be_changed() {
        let removed = || {
            integration().given(vec![
                created(),
                IntegrationEvent::IntegrationRemoved { key: KEY },
            ])
        };
        for command in [
            update(true),
            IntegrationCommand::ClearHistory,
            IntegrationCommand::Remove,
        ] {
            removed()
                .when_async(command)
                .await
                .then_expect_error(IntegrationError::Missing);
        }
    }

    #[tokio::test]
    async fn nothing_can_be_done_to_an_integration_that_never_was() {
        integration()
            .given_no_previous_events()
            .when_async(IntegrationCommand::ClearHistory)
            .await
            .then_expect_error(IntegrationError::Missing);
    }

    #[test]
    fn a_removed_integration_keeps_nothing_of_what_was_typed() {
        let mut integration = Integration::default();
        integration.apply(created());
        assert_eq!(integration.details.name, "build");
        integration.apply(IntegrationEvent::IntegrationRemoved { key: KEY });
        assert!(integration.removed);
        assert_eq!(integration.details, IntegrationDetails::default());
    }

    fn cause() -> Cause {
        Cause {
            integration: "hook".into(),
            trigger: Trigger::SendMessage,
            position: Position(42),
            room: Some("GENERAL".into()),
            message: Some("hello".into()),
            user: Some("mary".into()),
            url: 0,
        }
    }

    fn queued() -> DeliveryEvent {
        DeliveryEvent::WebhookQueued {
            cause: cause(),
            at: Timestamp(10),
        }
    }

    fn exchange() -> Exchange {
        Exchange {
            url: "https://example.com/hook".into(),
            request: "{}".into(),
            response: "no".into(),
        }
    }

    fn fail(retry_at: Option<Timestamp>) -> DeliveryCommand {
        DeliveryCommand::Fail {
            key: KEY,
            status: Some(503),
            exchange: exchange(),
            at: Timestamp(20),
            retry_at,
        }
    }

    fn failed(attempt: u32, retry_at: Option<Timestamp>) -> DeliveryEvent {
        DeliveryEvent::WebhookFailed {
            status: Some(503),
            attempt,
            exchange: Private::new(KEY, exchange()),
            at: Timestamp(20),
            retry_at,
        }
    }

    fn succeed() -> DeliveryCommand {
        DeliveryCommand::Succeed {
            key: KEY,
            status: 200,
            exchange: exchange(),
            answer_held_back: None,
            at: Timestamp(30),
        }
    }

    fn delivered(attempt: u32) -> DeliveryEvent {
        DeliveryEvent::WebhookDelivered {
            status: 200,
            attempt,
            exchange: Private::new(KEY, exchange()),
            answer_held_back: None,
            at: Timestamp(30),
        }
    }

    fn replay() -> DeliveryCommand {
        DeliveryCommand::Replay {
            by: "mary".into(),
            at: Timestamp(40),
        }
    }

    fn replayed() -> DeliveryEvent {
        DeliveryEvent::WebhookReplayed {
            by: "mary".into(),
            cause: cause(),
            at: Timestamp(40),
        }
    }

    fn abandon() -> DeliveryCommand {
        DeliveryCommand::Abandon {
            reason: Abandonment::Erased,
            at: Timestamp(50),
        }
    }

    fn delivery() -> TestFramework<Delivery> {
        TestFramework::with(())
    }

    #[tokio::test]
    async fn the_same_cause_is_queued_once() {
        let queue = DeliveryCommand::Queue {
            cause: cause(),
            at: Timestamp(10),
        };
        delivery()
            .given_no_previous_events()
            .when_async(queue.clone())
            .await
            .then_expect_events(vec![queued()]);
        delivery()
            .given(vec![queued()])
            .when_async(queue)
            .await
            .then_expect_error(DeliveryError::Exists);
    }

    #[tokio::test]
    async fn attempts_are_counted() {
        let retry = Some(Timestamp(25));
        delivery()
            .given(vec![queued(), failed(1, retry), failed(2, retry)])
            .when_async(fail(retry))
            .await
            .then_expect_events(vec![failed(3, retry)]);
        delivery()
            .given(vec![queued(), failed(1, retry)])
            .when_async(succeed())
            .await
            .then_expect_events(vec![delivered(2)]);
    }

    #[tokio::test]
    async fn what_is_delivered_or_dead_is_done() {
        for end in [delivered(1), failed(1, None)] {
            for command in [succeed(), fail(None), abandon()] {
                delivery()
                    .given(vec![queued(), end.clone()])
                    .when_async(command)
                    .await
                    .then_expect_error(DeliveryError::Done);
            }
        }
    }

    #[tokio::test]
    async fn what_is_done_can_be_replayed_and_counts_from_one_again() {
        for end in [delivered(1), failed(5, None)] {
            delivery()
                .given(vec![queued(), end.clone()])
                .when_async(replay())
                .await
                .then_expect_events(vec![replayed()]);
            delivery()
                .given(vec![queued(), end, replayed()])
                .when_async(succeed())
                .await
                .then_expect_events(vec![delivered(1)]);
        }
    }

    #[tokio::test]
    async fn an_abandoned_delivery_is_dead_without_an_attempt() {
        let abandoned = DeliveryEvent::WebhookAbandoned {
            reason: Abandonment::Erased,
            at: Timestamp(50),
        };
        delivery()
            .given(vec![queued()])
            .when_async(abandon())
            .await
            .then_expect_events(vec![abandoned.clone()]);
        let mut delivery = Delivery::default();
        delivery.apply(queued());
        delivery.apply(abandoned);
        assert_eq!(
            (delivery.state, delivery.attempts),
            (DeliveryState::Dead, 0)
        );
    }

    #[tokio::test]
    async fn what_is_under_way_can_not_be_replayed() {
        delivery()
            .given(vec![queued(), failed(1, Some(Timestamp(25)))])
            .when_async(replay())
            .await
            .then_expect_error(DeliveryError::Pending);
    }

    #[tokio::test]
    async fn a_delivery_that_never_was_can_not_end() {
        for command in [succeed(), fail(None), abandon(), replay()] {
            delivery()
                .given_no_previous_events()
                .when_async(command)
                .await
                .then_expect_error(DeliveryError::Missing);
        }
    }

    #[test]
    fn a_failure_moves_the_due_time_or_makes_a_dead_letter() {
        let mut delivery = Delivery::default();
        delivery.apply(queued());
        assert_eq!(
            (delivery.state, delivery.due),
            (DeliveryState::Pending, Timestamp(10))
        );
        delivery.apply(failed(1, Some(Timestamp(99))));
        assert_eq!(
            (delivery.state, delivery.due),
            (DeliveryState::Pending, Timestamp(99))
        );
        delivery.apply(failed(2, None));
        assert_eq!(delivery.state, DeliveryState::Dead);
    }
}
