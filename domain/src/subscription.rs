//! A subscription: what a member keeps for itself about a room.
//!
//! Counters of unread messages and mentions are not here: they follow from the messages and from
//! [`RoomRead`](SubscriptionEvent::RoomRead), in a view, so that a message costs no write per member.

use std::convert::Infallible;

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use imbl::OrdSet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{RoomId, Timestamp, UserId};
use crate::seal::{Confidential, Part};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
pub enum SubscriptionEvent {
    /// Shown in the member's list again.
    RoomOpened {},
    /// Taken out of the member's list, until it is opened or something is said.
    RoomHidden {},
    RoomFavourited {},
    RoomUnfavourited {},
    /// Everything up to `at` has been seen; threads too if asked.
    RoomRead {
        at: Timestamp,
        threads: bool,
    },
    /// Everything from `from` on counts as new again.
    RoomMarkedUnread {
        from: Timestamp,
    },
    UserIgnored {
        user: UserId,
    },
    UserUnignored {
        user: UserId,
    },
    /// Notification preferences of the room, in Rocket.Chat's names; no personal data.
    NotificationsChanged {
        preferences: Map<String, Value>,
    },
}

impl DomainEvent for SubscriptionEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for SubscriptionEvent {
    fn parts(&mut self, _: &mut dyn FnMut(&mut dyn Part)) {}
}

#[derive(Debug, Clone)]
pub enum SubscriptionCommand {
    Open,
    Hide,
    Favour(bool),
    Read { at: Timestamp, threads: bool },
    MarkUnread { from: Timestamp },
    Ignore { user: UserId, ignore: bool },
    ChangeNotifications(Map<String, Value>),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    pub hidden: bool,
    pub favourite: bool,
    pub read: Timestamp,
    pub ignored: OrdSet<UserId>,
    pub notifications: Map<String, Value>,
}

impl Subscription {
    /// The key of a subscription's stream: `<room>/<user>`.
    pub fn key(room: &RoomId, user: &UserId) -> String {
        format!("{room}/{user}")
    }

    fn decide(
        &self,
        command: SubscriptionCommand,
    ) -> Result<Option<SubscriptionEvent>, Infallible> {
        use SubscriptionCommand as C;
        use SubscriptionEvent as E;
        let event = match command {
            C::Open => E::RoomOpened {},
            // What is said shows a hidden room again, and nothing here knows of that: both may be asked
            // for at any time.
            C::Hide => E::RoomHidden {},
            C::Favour(favour) if favour == self.favourite => return Ok(None),
            C::Favour(true) => E::RoomFavourited {},
            C::Favour(false) => E::RoomUnfavourited {},
            C::Read { at, threads } => E::RoomRead { at, threads },
            C::MarkUnread { from } => E::RoomMarkedUnread { from },
            C::Ignore { user, ignore } if self.ignored.contains(&user) == ignore => {
                return Ok(None);
            }
            C::Ignore { user, ignore: true } => E::UserIgnored { user },
            C::Ignore {
                user,
                ignore: false,
            } => E::UserUnignored { user },
            C::ChangeNotifications(changes) => {
                let mut preferences = self.notifications.clone();
                preferences.extend(changes);
                if preferences == self.notifications {
                    return Ok(None);
                }
                E::NotificationsChanged { preferences }
            }
        };
        Ok(Some(event))
    }
}

impl Aggregate for Subscription {
    const TYPE: &'static str = "subscription";
    type Command = SubscriptionCommand;
    type Event = SubscriptionEvent;
    type Error = Infallible;
    type Services = ();

    async fn handle(
        &mut self,
        command: SubscriptionCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Infallible> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: SubscriptionEvent) {
        match event {
            SubscriptionEvent::RoomOpened {} => self.hidden = false,
            SubscriptionEvent::RoomHidden {} => self.hidden = true,
            SubscriptionEvent::RoomFavourited {} => self.favourite = true,
            SubscriptionEvent::RoomUnfavourited {} => self.favourite = false,
            SubscriptionEvent::RoomRead { at, .. } => self.read = at,
            SubscriptionEvent::RoomMarkedUnread { from } => {
                self.read = Timestamp(from.0.saturating_sub(1));
            }
            SubscriptionEvent::UserIgnored { user } => {
                self.ignored.insert(user);
            }
            SubscriptionEvent::UserUnignored { user } => {
                self.ignored.remove(&user);
            }
            SubscriptionEvent::NotificationsChanged { preferences } => {
                self.notifications = preferences;
            }
        }
    }
}
