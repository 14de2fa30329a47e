//! What an event means to an auditor: what it was done to, where, how it ended.
//!
//! Nothing that is sealed in the log is told here.

use hansard_domain::account::AccountEvent;
use hansard_domain::audit::AuditEvent;
use hansard_domain::claim::ClaimEvent;
use hansard_domain::event::{Entry, Event};
use hansard_domain::integration::{DeliveryEvent, IntegrationEvent};
use hansard_domain::log::StreamId;
use hansard_domain::message::MessageEvent;
use hansard_domain::node::NodeEvent;
use hansard_domain::role::{PermissionEvent, RoleEvent};
use hansard_domain::room::RoomEvent;
use hansard_domain::subscription::SubscriptionEvent;
use serde_json::{Value, json};

use super::Outcome;

/// The kind of target that most events have, and their type.
pub(super) const MESSAGE: &str = "message";
pub(super) const MESSAGE_SENT: &str = "MessageSent";

/// See the module.
#[derive(Debug, PartialEq)]
pub(super) struct Description<'a> {
    pub kind: &'static str,
    pub target: &'a str,
    pub room: Option<&'a str>,
    pub outcome: Outcome,
    /// `null` where there is nothing more to say.
    pub details: Value,
    /// Whether many events have the same details.
    pub usual: bool,
}

impl<'a> Description<'a> {
    fn of(kind: &'static str, target: &'a str) -> Self {
        Self {
            kind,
            target,
            room: None,
            outcome: Outcome::Done,
            details: Value::Null,
            usual: false,
        }
    }

    fn within(self, room: &'a str) -> Self {
        let room = Some(room);
        Self { room, ..self }
    }

    fn with(self, details: Value) -> Self {
        Self { details, ..self }
    }

    /// With details that many events share: none that count, or name a time or a message.
    fn with_usual(self, details: Value) -> Self {
        Self {
            details,
            usual: true,
            ..self
        }
    }

    /// Whether there are about as many targets of its kind as there are events.
    pub fn is_of_its_own(&self) -> bool {
        matches!(self.kind, MESSAGE | "delivery" | "name")
    }

    fn ended(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }
}

pub(super) fn describe(entry: &Entry) -> Description<'_> {
    let stream = &entry.stream;
    match &entry.event {
        Event::Account(event) => account(stream, event),
        Event::Room(event) => room(stream, event),
        Event::Subscription(event) => subscription(stream, event),
        Event::Message(event) => message(stream, event),
        Event::Role(event) => role(stream, event),
        Event::Permission(PermissionEvent::PermissionGrantsChanged { roles }) => {
            Description::of("permission", stream.key()).with(json!({ "roles": roles }))
        }
        Event::Setting(_) => Description::of("setting", stream.key()),
        Event::Integration(event) => integration(stream, event),
        Event::Delivery(event) => delivery(stream, event),
        Event::Claim(ClaimEvent::NameClaimed { owner }) => {
            Description::of("name", stream.key()).with(json!({ "owner": owner }))
        }
        Event::Claim(ClaimEvent::NameReleased {}) => Description::of("name", stream.key()),
        Event::Audit(event) => audit(event),
        Event::Workspace(_) => Description::of("workspace", stream.key()),
        Event::Node(NodeEvent::WriterElected { address }) => Description::of("node", address),
    }
}

fn account<'a>(stream: &'a StreamId, event: &AccountEvent) -> Description<'a> {
    use AccountEvent as E;
    let user = Description::of("user", stream.key());
    match event {
        E::UserRegistered {
            how,
            kind,
            roles,
            active,
            ..
        } => user.with_usual(json!({ "how": how, "kind": kind, "roles": roles, "active": active })),
        E::UserPasswordChanged {
            change_required, ..
        } => user.with_usual(json!({ "changeRequired": change_required })),
        E::UserPresenceChosen { presence } => user.with_usual(json!({ "presence": presence })),
        E::UserDeactivated { reason } => user.with_usual(json!({ "reason": reason })),
        E::RoleGranted { role } | E::RoleRevoked { role } => {
            user.with_usual(json!({ "role": role }))
        }
        E::UserLoggedIn { method, .. } => user.with_usual(json!({ "method": method })),
        E::SessionsEnded {
            kept,
            personal_access_tokens,
        } => user.with_usual(json!({
            "keptOne": kept.is_some(),
            "personalAccessTokens": personal_access_tokens,
        })),
        E::LoginFailed { operation, .. } => {
            let operation = operation.as_ref().map(|name| json!({ "operation": name }));
            user.with_usual(operation.unwrap_or_default())
                .ended(Outcome::Failed)
        }
        E::UserProfileChanged { .. }
        | E::UserPreferencesChanged { .. }
        | E::UserActivated {}
        | E::UserDeleted { .. }
        | E::UserLoggedOut { .. }
        | E::PersonalAccessTokenCreated { .. }
        | E::PersonalAccessTokenRemoved { .. } => user,
    }
}

fn room<'a>(stream: &'a StreamId, event: &'a RoomEvent) -> Description<'a> {
    use RoomEvent as E;
    let id = stream.key();
    let room = Description::of("room", id).within(id);
    match event {
        E::RoomCreated {
            kind,
            members,
            parent,
            ..
        } => room.with(json!({
            "kind": kind,
            "members": members.len(),
            "parent": parent.as_ref().map(|parent| &parent.room),
        })),
        E::JoinCodeChanged { required, .. } => room.with_usual(json!({ "required": required })),
        E::RoomTypeChanged { kind } => room.with_usual(json!({ "kind": kind })),
        E::RoomSwitchesChanged { switches } => room.with_usual(json!({ "switches": switches })),
        E::RetentionOverridden { retention } => room.with(json!({ "retention": retention })),
        E::MemberJoined { user, entry, .. } => Description::of("user", user.as_str())
            .within(id)
            .with_usual(json!({ "entry": entry })),
        E::MemberLeft { user }
        | E::MemberRemoved { user, .. }
        | E::MemberMuted { user }
        | E::MemberUnmuted { user } => Description::of("user", user.as_str()).within(id),
        E::RoomRoleGranted { user, role } | E::RoomRoleRevoked { user, role } => {
            Description::of("user", user.as_str())
                .within(id)
                .with_usual(json!({ "role": role }))
        }
        E::ChannelPruned {
            reason,
            criteria,
            pruned,
        } => room.with(json!({
            "reason": reason,
            "criteria": criteria,
            "messages": pruned.len(),
        })),
        E::RoomRenamed { .. }
        | E::TopicChanged { .. }
        | E::DescriptionChanged { .. }
        | E::AnnouncementChanged { .. }
        | E::CustomFieldsChanged { .. }
        | E::RoomArchived {}
        | E::RoomUnarchived {}
        | E::RoomDeleted { .. } => room,
    }
}

fn subscription<'a>(stream: &'a StreamId, event: &'a SubscriptionEvent) -> Description<'a> {
    use SubscriptionEvent as E;
    let id = stream
        .key()
        .split_once('/')
        .map_or(stream.key(), |(room, _)| room);
    let room = Description::of("room", id).within(id);
    match event {
        E::RoomRead { at, threads } => room.with(json!({ "upTo": at.iso(), "threads": threads })),
        E::RoomMarkedUnread { from } => room.with(json!({ "from": from.iso() })),
        E::UserIgnored { user } | E::UserUnignored { user } => {
            Description::of("user", user.as_str()).within(id)
        }
        E::RoomOpened {}
        | E::RoomHidden {}
        | E::RoomFavourited {}
        | E::RoomUnfavourited {}
        | E::NotificationsChanged { .. } => room,
    }
}

fn message<'a>(stream: &'a StreamId, event: &'a MessageEvent) -> Description<'a> {
    use MessageEvent as E;
    let message = |room| Description::of(MESSAGE, stream.key()).within(room);
    match event {
        E::MessageSent { sent, .. } => {
            let mut details = serde_json::Map::new();
            if let Some(kind) = &sent.system {
                details.insert("system".to_owned(), json!(kind));
            }
            if let Some(thread) = &sent.thread {
                details.insert("thread".to_owned(), json!(thread.parent));
            }
            if let Some(integration) = &sent.integration {
                details.insert("integration".to_owned(), json!(integration));
            }
            let details = if details.is_empty() {
                Value::Null
            } else {
                details.into()
            };
            Description {
                usual: sent.thread.is_none(),
                ..message(sent.room.as_str()).with(details)
            }
        }
        E::MessageDeleted { room, erased, .. } => {
            message(room.as_str()).with_usual(json!({ "erased": erased.is_some() }))
        }
        E::MessageEdited { room, .. }
        | E::ReactionAdded { room, .. }
        | E::ReactionRemoved { room, .. }
        | E::MessagePinned { room, .. }
        | E::MessageUnpinned { room, .. }
        | E::MessageStarred { room, .. }
        | E::MessageUnstarred { room, .. }
        | E::ThreadFollowed { room, .. }
        | E::ThreadUnfollowed { room, .. }
        | E::MessageReported { room, .. } => message(room.as_str()),
    }
}

fn role<'a>(stream: &'a StreamId, event: &RoleEvent) -> Description<'a> {
    let role = Description::of("role", stream.key());
    match event {
        RoleEvent::RoleCreated { details } | RoleEvent::RoleChanged { details } => role
            .with_usual(json!({ "scope": details.scope, "mandatory2fa": details.mandatory_2fa })),
        RoleEvent::RoleDeleted {} => role,
    }
}

fn integration<'a>(stream: &'a StreamId, event: &'a IntegrationEvent) -> Description<'a> {
    let integration = Description::of("integration", stream.key());
    match event {
        IntegrationEvent::IntegrationCreated {
            direction,
            trigger,
            enabled,
            user,
            ..
        } => integration.with(json!({
            "direction": direction,
            "trigger": trigger,
            "enabled": enabled,
            "postsAs": user,
        })),
        IntegrationEvent::IntegrationUpdated {
            trigger,
            enabled,
            user,
            taken_over_by,
            ..
        } => integration.with(json!({
            "trigger": trigger,
            "enabled": enabled,
            "postsAs": user,
            "takenOverBy": taken_over_by,
        })),
        IntegrationEvent::IntegrationHeldBack { why, room, .. } => Description {
            room: room.as_ref().map(AsRef::as_ref),
            ..integration.with_usual(json!({ "why": why }))
        },
        IntegrationEvent::DeliveryHistoryCleared {}
        | IntegrationEvent::IntegrationRemoved { .. } => integration,
    }
}

fn delivery<'a>(stream: &'a StreamId, event: &'a DeliveryEvent) -> Description<'a> {
    let delivery = Description::of("delivery", stream.key());
    match event {
        DeliveryEvent::WebhookQueued { cause, .. } => {
            let details = json!({ "integration": cause.integration, "trigger": cause.trigger });
            Description {
                room: cause.room.as_ref().map(AsRef::as_ref),
                ..delivery.with(details)
            }
        }
        DeliveryEvent::WebhookDelivered {
            status,
            attempt,
            answer_held_back: Some(why),
            ..
        } => {
            let why = why.as_str();
            delivery.with(json!({ "status": status, "attempt": attempt, "answerHeldBack": why }))
        }
        DeliveryEvent::WebhookDelivered {
            status, attempt, ..
        } => delivery.with(json!({ "status": status, "attempt": attempt })),
        DeliveryEvent::WebhookFailed {
            status,
            attempt,
            retry_at,
            ..
        } => delivery
            .with(json!({ "status": status, "attempt": attempt, "dead": retry_at.is_none() }))
            .ended(Outcome::Failed),
        DeliveryEvent::WebhookAbandoned { reason, .. } => delivery
            .with(json!({ "reason": reason }))
            .ended(Outcome::Failed),
        DeliveryEvent::WebhookReplayed { .. } => delivery,
    }
}

fn audit(event: &AuditEvent) -> Description<'_> {
    match event {
        AuditEvent::CommandDenied {
            action,
            permission,
            room,
            times,
            since,
            several,
            ..
        } => {
            let mut details = json!({ "permission": permission });
            if !several.is_empty() {
                details["several"] = json!(several);
            }
            if let Some(since) = since {
                details["times"] = json!(times);
                details["since"] = json!(since.iso());
            }
            let denied = Description::of("operation", action)
                .with(details)
                .ended(Outcome::Denied);
            Description {
                room: room.as_ref().map(AsRef::as_ref),
                usual: since.is_none(),
                ..denied
            }
        }
        AuditEvent::UnknownLoginFailed { .. } => {
            Description::of("operation", "login").ended(Outcome::Failed)
        }
        AuditEvent::RoomsInspected {
            action,
            permission,
            room,
            user,
            shown,
        } => Description {
            room: room.as_ref().map(AsRef::as_ref),
            ..Description::of("operation", action).with(json!({
                "permission": permission,
                "user": user,
                "shown": shown,
            }))
        },
        AuditEvent::EventsSetAside {
            view,
            generation,
            events,
            position,
            event,
            reason,
        } => Description::of("view", view)
            .with(json!({
                "generation": generation,
                "events": events,
                "position": position,
                "event": event,
                "reason": reason,
            }))
            .ended(Outcome::Failed),
        AuditEvent::RecordInspected { what, shown, .. } => {
            Description::of("record", what).with(json!({ "shown": shown }))
        }
    }
}
