//! An event as it is shown to those who may see the log: its parts open, its secrets covered.

use hansard_domain::account::{AccountEvent, PasswordHash, TokenHash};
use hansard_domain::audit::AuditEvent;
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::Timestamp;
use hansard_domain::integration::{DeliveryEvent, IntegrationEvent};
use hansard_domain::room::RoomEvent;
use hansard_domain::seal::{Confidential, Private};
use hansard_domain::setting::SettingEvent;
use hansard_domain::setting::definitions::{Kind, definition};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::wire;

/// What stands in place of a secret.
const COVERED: &str = "[hidden]";

/// An event of the log.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShownEvent {
    /// Its place in the log.
    pub position: u64,
    pub stream: String,
    /// Its place in the stream.
    pub version: u64,
    pub id: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When it was recorded. Along the log these times never fall.
    pub at: String,
    /// What the clock of the node that recorded it said, where it was behind that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    pub actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation: Option<String>,
    /// From where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<wire::record::Origin>)]
    pub origin: Option<Value>,
    /// What was erased reads `{"shredded": true}`, what does not open under its key
    /// `{"unreadable": "forged"}`, and what nobody may see `"[hidden]"`.
    pub payload: Value,
}

impl ShownEvent {
    pub fn of(entry: &Entry) -> Self {
        let origin = entry.origin.as_ref().map(|origin| match origin {
            Private::Unreadable { fault, .. } => json!({ "unreadable": fault }),
            origin => match origin.value() {
                Some(origin) => {
                    json!({ "address": origin.address, "userAgent": origin.user_agent })
                }
                None => json!({ "shredded": true }),
            },
        });
        Self {
            position: entry.position.0,
            stream: entry.stream.to_string(),
            version: entry.version.0,
            id: entry.id.to_string(),
            kind: entry.event.kind(),
            at: entry.at.iso(),
            clock: entry.clock.map(Timestamp::iso),
            actor: entry.actor.to_string(),
            correlation: entry.correlation.as_ref().map(ToString::to_string),
            causation: entry.causation.map(|cause| cause.to_string()),
            origin,
            payload: payload(entry),
        }
    }
}

fn payload(entry: &Entry) -> Value {
    let mut event = entry.event.clone();
    cover(&mut event, entry.stream.key());
    event.parts(&mut |part| part.reveal());
    let payload = event
        .payload()
        .and_then(|text| hansard_domain::json::value(&text));
    match payload {
        Ok(payload) => plain(payload),
        Err(error) => {
            tracing::error!(position = entry.position.0, %error, "an event can't be shown");
            Value::Null
        }
    }
}

/// Covers what gives access to something: hashes of passwords and tokens, codes, the secrets of
/// integrations and settings.
fn cover(event: &mut Event, key: &str) {
    match event {
        Event::Account(event) => cover_account(event),
        Event::Room(
            RoomEvent::RoomCreated { details, .. }
            | RoomEvent::RoomRenamed { details }
            | RoomEvent::TopicChanged { details }
            | RoomEvent::DescriptionChanged { details }
            | RoomEvent::AnnouncementChanged { details }
            | RoomEvent::JoinCodeChanged { details, .. }
            | RoomEvent::CustomFieldsChanged { details },
        ) => change(details, |details| cover_text(details.join_code.as_mut())),
        Event::Setting(SettingEvent::SettingChanged { value }) => {
            let open =
                definition(key).is_some_and(|known| !known.secret && known.kind != Kind::Password);
            if !open {
                change(value, |value| *value = COVERED.into());
            }
        }
        Event::Integration(
            IntegrationEvent::IntegrationCreated { details, .. }
            | IntegrationEvent::IntegrationUpdated { details, .. },
        ) => change(details, |details| {
            cover_text(Some(&mut details.token));
            cover_text(Some(&mut details.signing_secret));
            // Addresses of webhooks are often all that it takes to call them.
            for url in &mut details.urls {
                cover_text(Some(url));
            }
        }),
        Event::Delivery(
            DeliveryEvent::WebhookDelivered { exchange, .. }
            | DeliveryEvent::WebhookFailed { exchange, .. },
        ) => change(exchange, |exchange| {
            cover_text(Some(&mut exchange.url));
            cover_text(Some(&mut exchange.request));
        }),
        // People type their password where their name belongs; earlier versions recorded what they typed.
        Event::Audit(AuditEvent::UnknownLoginFailed { name }) => {
            change(name, |name| cover_text(Some(name)));
        }
        Event::Room(_)
        | Event::Subscription(_)
        | Event::Message(_)
        | Event::Role(_)
        | Event::Permission(_)
        | Event::Integration(_)
        | Event::Delivery(_)
        | Event::Claim(_)
        | Event::Audit(_)
        | Event::Workspace(_)
        | Event::Node(_) => {}
    }
}

fn cover_account(event: &mut AccountEvent) {
    let covered = || TokenHash(COVERED.to_owned());
    match event {
        AccountEvent::UserRegistered { password, .. } => {
            if let Some(password) = password {
                change(password, cover_password);
            }
        }
        AccountEvent::UserPasswordChanged { password, .. } => change(password, cover_password),
        AccountEvent::UserLoggedIn { token, .. } | AccountEvent::UserLoggedOut { token } => {
            *token = covered();
        }
        AccountEvent::SessionsEnded { kept, .. } => *kept = kept.take().map(|_| covered()),
        AccountEvent::PersonalAccessTokenCreated { token, .. } => token.hash = covered(),
        AccountEvent::PersonalAccessTokenRemoved { hash } => *hash = covered(),
        AccountEvent::UserProfileChanged { .. }
        | AccountEvent::UserPreferencesChanged { .. }
        | AccountEvent::UserPresenceChosen { .. }
        | AccountEvent::UserActivated {}
        | AccountEvent::UserDeactivated { .. }
        | AccountEvent::UserDeleted { .. }
        | AccountEvent::RoleGranted { .. }
        | AccountEvent::RoleRevoked { .. }
        | AccountEvent::LoginFailed { .. } => {}
    }
}

fn cover_password(password: &mut PasswordHash) {
    COVERED.clone_into(&mut password.0);
}

/// No secret is no secret: an empty text tells that there is none.
fn cover_text(text: Option<&mut String>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        COVERED.clone_into(text);
    }
}

fn change<T>(part: &mut Private<T>, change: impl FnOnce(&mut T)) {
    if let Private::Open { value, .. } | Private::Revealed { value, .. } = part {
        change(value);
    }
}

/// Shows parts as what is in them: `{"k": 7, "v": …}` as the value, one that is erased as
/// `{"shredded": true}`, one that can't be read as `{"unreadable": "forged"}`.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(mut object) => {
            let part = object.get("k").is_some_and(Value::is_u64);
            if part && object.len() == 2 {
                if let Some(value) = object.remove("v") {
                    return value;
                }
                if object.get("shredded") == Some(&Value::Bool(true)) {
                    return json!({ "shredded": true });
                }
                if let Some(fault) = object.remove("unreadable") {
                    return json!({ "unreadable": fault });
                }
            }
            let shown: Map<String, Value> = object
                .into_iter()
                .map(|(name, value)| (name, plain(value)))
                .collect();
            Value::Object(shown)
        }
        Value::Array(values) => values.into_iter().map(plain).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use hansard_domain::account::{
        AccountKind, LoginMethod, PersonalAccessToken, Profile, Registration, Session,
    };
    use hansard_domain::event::Origin;
    use hansard_domain::integration::{Direction, Exchange, IntegrationDetails};
    use hansard_domain::log::{Actor, Position, StreamId, Version};
    use hansard_domain::message::{Content, MessageEvent};
    use hansard_domain::room::RoomDetails;
    use hansard_domain::seal::Fault;
    use hansard_domain::vault::KeyId;

    use super::*;

    const SECRET: &str = "s3cr3t";

    fn shown(stream: &str, event: impl Into<Event>) -> Value {
        let entry = Entry {
            position: Position(7),
            stream: StreamId::from_name(stream),
            version: Version(1),
            id: "0190f2a4-0000-7000-8000-000000000000".parse().unwrap(),
            at: Timestamp(0),
            clock: None,
            actor: Actor::System,
            correlation: None,
            causation: None,
            origin: Some(Private::new(KeyId(9), Origin::default())),
            fault: None,
            event: event.into(),
        };
        serde_json::to_value(ShownEvent::of(&entry)).unwrap()
    }

    fn private<T>(value: T) -> Private<T> {
        Private::new(KeyId(9), value)
    }

    fn secret() -> String {
        SECRET.to_owned()
    }

    #[test]
    fn what_is_sealed_in_the_log_is_shown_as_what_it_is() {
        let event = MessageEvent::MessageEdited {
            room: "GENERAL".into(),
            editor: "mary".into(),
            mentions: Default::default(),
            content: private(Content {
                text: "hello".to_owned(),
                ..Content::default()
            }),
            at: Timestamp(0),
        };
        let shown = shown("message-m1", event);
        assert_eq!(shown["payload"]["content"]["t"], "hello");
        assert_eq!(shown["type"], "MessageEdited");
    }

    #[test]
    fn what_was_erased_says_so() {
        let event = AccountEvent::UserProfileChanged {
            profile: Private::Shredded { key: KeyId(9) },
        };
        let shown = shown("account-mary", event);
        assert_eq!(shown["payload"]["profile"], json!({ "shredded": true }));
    }

    #[test]
    fn what_does_not_open_under_its_key_says_so() {
        let event = AccountEvent::UserProfileChanged {
            profile: Private::Unreadable {
                key: KeyId(9),
                fault: Fault::Forged,
            },
        };
        let shown = shown("account-mary", event);
        assert_eq!(
            shown["payload"]["profile"],
            json!({ "unreadable": "forged" })
        );
    }

    #[test]
    fn no_secret_is_ever_shown() {
        let token = || TokenHash(secret());
        let session = Session {
            since: Timestamp(0),
            expires: None,
        };
        let details = IntegrationDetails {
            token: secret(),
            signing_secret: secret(),
            urls: vec![format!("https://example.com/{SECRET}")],
            ..IntegrationDetails::default()
        };
        let exchange = Exchange {
            url: secret(),
            request: secret(),
            response: "ok".to_owned(),
        };
        let room = RoomDetails {
            join_code: Some(secret()),
            ..RoomDetails::default()
        };
        let events: Vec<(&str, Event)> = vec![
            (
                "account-mary",
                AccountEvent::UserRegistered {
                    how: Registration::SelfService,
                    kind: AccountKind::User,
                    roles: Vec::new(),
                    active: true,
                    reason: None,
                    password_change_required: false,
                    profile: private(Profile::default()),
                    password: Some(private(PasswordHash(secret()))),
                    at: Timestamp(0),
                }
                .into(),
            ),
            (
                "account-mary",
                AccountEvent::UserPasswordChanged {
                    password: private(PasswordHash(secret())),
                    change_required: false,
                }
                .into(),
            ),
            (
                "account-mary",
                AccountEvent::UserLoggedIn {
                    method: LoginMethod::Password,
                    token: token(),
                    session,
                    from: None,
                }
                .into(),
            ),
            (
                "account-mary",
                AccountEvent::UserLoggedOut { token: token() }.into(),
            ),
            (
                "account-mary",
                AccountEvent::SessionsEnded {
                    kept: Some(token()),
                    personal_access_tokens: true,
                }
                .into(),
            ),
            (
                "account-mary",
                AccountEvent::PersonalAccessTokenCreated {
                    name: private("laptop".to_owned()),
                    token: PersonalAccessToken {
                        hash: token(),
                        created: Timestamp(0),
                        last_six: String::new(),
                        bypass_two_factor: false,
                    },
                }
                .into(),
            ),
            (
                "account-mary",
                AccountEvent::PersonalAccessTokenRemoved { hash: token() }.into(),
            ),
            (
                "room-GENERAL",
                RoomEvent::JoinCodeChanged {
                    details: private(room.clone()),
                    required: true,
                }
                .into(),
            ),
            (
                "room-GENERAL",
                RoomEvent::TopicChanged {
                    details: private(room),
                }
                .into(),
            ),
            (
                "setting-SMTP_Password",
                SettingEvent::SettingChanged {
                    value: private(SECRET.into()),
                }
                .into(),
            ),
            (
                "setting-a_setting_that_nobody_knows",
                SettingEvent::SettingChanged {
                    value: private(SECRET.into()),
                }
                .into(),
            ),
            (
                "integration-i1",
                IntegrationEvent::IntegrationCreated {
                    direction: Direction::Outgoing,
                    trigger: None,
                    enabled: true,
                    user: "mary".into(),
                    created_by: "mary".into(),
                    details: private(details),
                    at: Timestamp(0),
                }
                .into(),
            ),
            (
                "delivery-d1",
                DeliveryEvent::WebhookDelivered {
                    status: 200,
                    attempt: 1,
                    exchange: private(exchange),
                    answer_held_back: None,
                    at: Timestamp(0),
                }
                .into(),
            ),
            (
                "audit-a1",
                AuditEvent::UnknownLoginFailed {
                    name: private(secret()),
                }
                .into(),
            ),
        ];
        for (stream, event) in events {
            let kind = event.kind();
            let shown = shown(stream, event).to_string();
            assert!(shown.contains(COVERED), "{kind}: {shown}");
            assert!(!shown.contains(SECRET), "{kind}: {shown}");
        }
    }

    #[test]
    fn an_open_setting_is_shown() {
        let event = SettingEvent::SettingChanged {
            value: private("Town hall".into()),
        };
        let shown = shown("setting-Site_Name", event);
        assert_eq!(shown["payload"]["value"], "Town hall");
    }
}
