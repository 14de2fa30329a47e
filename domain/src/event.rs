//! Any event of Hansard, and an event with its place in the log.

use compact_str::CompactString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::account::AccountEvent;
use crate::audit::AuditEvent;
use crate::claim::ClaimEvent;
use crate::id::Timestamp;
use crate::integration::{DeliveryEvent, IntegrationEvent};
use crate::json;
use crate::log::{Actor, Position, StreamId, Version};
use crate::message::MessageEvent;
use crate::node::NodeEvent;
use crate::role::{PermissionEvent, RoleEvent};
use crate::room::RoomEvent;
use crate::seal::{Confidential, Fault, Part, Private};
use crate::setting::SettingEvent;
use crate::subscription::SubscriptionEvent;
use crate::upcast;
use crate::vault::KeyId;
use crate::workspace::WorkspaceEvent;

macro_rules! events {
    ($($category:literal => $variant:ident($event:ty)),* $(,)?) => {
        /// Any event. The category is what stands before the `-` in its stream's name.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event {
            $($variant($event),)*
        }

        impl Event {
            /// The event's type, `MessageSent`.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(event) => event.into(),)*
                }
            }

            /// Every event type there is.
            pub fn kinds() -> impl Iterator<Item = &'static str> {
                [$(<$event as strum::VariantNames>::VARIANTS,)*].into_iter().flatten().copied()
            }

            /// The payload as it stands in the log. Fails while a confidential part is open.
            pub fn payload(&self) -> serde_json::Result<String> {
                match self {
                    $(Self::$variant(event) => payload(event, self.kind()),)*
                }
            }

            /// Reads a payload back that was written with this schema; confidential parts are still
            /// sealed.
            pub fn read(
                category: &str,
                kind: &str,
                schema: u16,
                payload: &str,
            ) -> serde_json::Result<Self> {
                match category {
                    $($category => read(kind, schema, payload).map(Self::$variant),)*
                    _ => Err(serde::de::Error::custom(format_args!(
                        "streams of '{category}' are unknown to this version of Hansard"
                    ))),
                }
            }
        }

        impl Confidential for Event {
            fn parts(&mut self, visit: &mut dyn FnMut(&mut dyn Part)) {
                match self {
                    $(Self::$variant(event) => event.parts(visit),)*
                }
            }
        }

        $(impl From<$event> for Event {
            fn from(event: $event) -> Self {
                Self::$variant(event)
            }
        })*
    };
}

events! {
    "account" => Account(AccountEvent),
    "room" => Room(RoomEvent),
    "subscription" => Subscription(SubscriptionEvent),
    "message" => Message(MessageEvent),
    "role" => Role(RoleEvent),
    "permission" => Permission(PermissionEvent),
    "setting" => Setting(SettingEvent),
    "integration" => Integration(IntegrationEvent),
    "delivery" => Delivery(DeliveryEvent),
    "name" => Claim(ClaimEvent),
    "audit" => Audit(AuditEvent),
    "workspace" => Workspace(WorkspaceEvent),
    "node" => Node(NodeEvent),
}

impl Event {
    /// The keys that are to be deleted because of it: what they seal is gone from here on.
    pub fn erases(&self) -> Vec<KeyId> {
        match self {
            Self::Room(RoomEvent::ChannelPruned { pruned, .. }) => {
                pruned.iter().map(|pruned| pruned.key).collect()
            }
            Self::Message(MessageEvent::MessageDeleted {
                erased: Some(key), ..
            })
            | Self::Room(RoomEvent::RoomDeleted { key })
            | Self::Account(AccountEvent::UserDeleted { key, .. })
            | Self::Integration(IntegrationEvent::IntegrationRemoved { key }) => vec![*key],
            _ => Vec::new(),
        }
    }
}

/// Serde writes an enum as `{"Kind": payload}`; the kind has a column of its own in the log.
fn payload(event: &impl Serialize, kind: &str) -> serde_json::Result<String> {
    let mut whole = serde_json::to_string(event)?;
    whole.pop();
    whole.drain(..kind.len() + 4);
    Ok(whole)
}

fn read<E: DeserializeOwned>(kind: &str, schema: u16, payload: &str) -> serde_json::Result<E> {
    let today = upcast::schema(kind);
    if schema > today {
        return Err(serde::de::Error::custom(format_args!(
            "it was written by a newer version of Hansard (schema {schema}, this one reads {today})"
        )));
    }
    if schema == today {
        return json::from_str(&format!("{{\"{kind}\":{payload}}}"));
    }
    let mut members = json::object(payload)?;
    upcast::to_today(kind, schema, &mut members);
    json::from_str(&json!({ kind: members }).to_string())
}

/// Where a request came from; sealed under its actor's key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The client's IP address.
    pub address: String,
    pub user_agent: String,
}

/// An event at its place in the log, its confidential parts open or shredded.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub position: Position,
    pub stream: StreamId,
    pub version: Version,
    pub id: Uuid,
    pub at: Timestamp,
    /// What the clock of the node that recorded it said, where that was not `at`.
    pub clock: Option<Timestamp>,
    pub actor: Actor,
    pub correlation: Option<CompactString>,
    pub causation: Option<Uuid>,
    pub origin: Option<Private<Origin>>,
    /// Why a part of it can't be read, if one can't though it was not shredded.
    pub fault: Option<Fault>,
    pub event: Event,
}

impl Confidential for Entry {
    fn parts(&mut self, visit: &mut dyn FnMut(&mut dyn Part)) {
        self.event.parts(visit);
        if let Some(origin) = &mut self.origin {
            visit(origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Content, Sent};
    use crate::vault::DataKey;

    fn sent() -> Event {
        MessageEvent::MessageSent {
            sent: Sent {
                room: "GENERAL".into(),
                sender: "mary".into(),
                system: None,
                thread: None,
                mentions: Default::default(),
                integration: None,
                bot: false,
                groupable: true,
                discussion: None,
                has_files: false,
                at: Timestamp(5),
            },
            content: Private::new(
                KeyId(9),
                Content {
                    text: "hush".into(),
                    ..Default::default()
                },
            ),
        }
        .into()
    }

    #[test]
    fn an_event_reads_back_what_it_wrote() {
        let key = DataKey([1; 32]);
        let mut event = sent();
        event.parts(&mut |part| part.seal(&key, b"id").unwrap());
        let payload = event.payload().unwrap();
        assert!(
            payload.starts_with("{\"sent\":{\"room\":\"GENERAL\""),
            "{payload}"
        );
        assert!(!payload.contains("hush"));

        let mut read = Event::read("message", event.kind(), 1, &payload).unwrap();
        read.parts(&mut |part| part.open(Some(&key), b"id"));
        assert_eq!(read, sent());
    }

    #[test]
    fn the_types_of_events_are_known() {
        let kinds: Vec<_> = Event::kinds().collect();
        assert!(kinds.contains(&sent().kind()));
        assert!(kinds.contains(&"WorkspaceFounded"));
    }

    #[test]
    fn an_event_with_an_open_part_has_no_payload() {
        assert!(sent().payload().is_err());
    }

    #[test]
    fn a_variant_without_fields_reads_back() {
        let event = Event::Account(AccountEvent::UserActivated {});
        let payload = event.payload().unwrap();
        assert_eq!(payload, "{}");
        assert_eq!(
            Event::read("account", "UserActivated", 1, &payload).unwrap(),
            event
        );
    }
}
