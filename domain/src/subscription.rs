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

#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
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

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;
    use serde_json::json;

    use super::*;

    fn subscription() -> TestFramework<Subscription> {
        TestFramework::with(())
    }

    fn preferences(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[tokio::test]
    async fn a_room_can_be_hidden_again_after_something_was_said() {
        for given in [vec![], vec![SubscriptionEvent::RoomHidden {}]] {
            subscription()
                .given(given)
                .when_async(SubscriptionCommand::Hide)
                .await
                .then_expect_events(vec![SubscriptionEvent::RoomHidden {}]);
        }
    }

    #[tokio::test]
    async fn a_room_that_is_not_known_to_be_hidden_can_be_opened() {
        subscription()
            .given_no_previous_events()
            .when_async(SubscriptionCommand::Open)
            .await
            .then_expect_events(vec![SubscriptionEvent::RoomOpened {}]);
    }

    #[tokio::test]
    async fn a_favourite_is_recorded_when_it_changes() {
        let favourited = || vec![SubscriptionEvent::RoomFavourited {}];
        subscription()
            .given_no_previous_events()
            .when_async(SubscriptionCommand::Favour(true))
            .await
            .then_expect_events(favourited());
        subscription()
            .given(favourited())
            .when_async(SubscriptionCommand::Favour(true))
            .await
            .then_expect_events(vec![]);
        subscription()
            .given(favourited())
            .when_async(SubscriptionCommand::Favour(false))
            .await
            .then_expect_events(vec![SubscriptionEvent::RoomUnfavourited {}]);
    }

    #[tokio::test]
    async fn a_user_is_ignored_until_taken_off_the_list() {
        let ignore = |ignore| SubscriptionCommand::Ignore {
            user: "paul".into(),
            ignore,
        };
        let ignored = || SubscriptionEvent::UserIgnored {
            user: "paul".into(),
        };
        let unignored = || SubscriptionEvent::UserUnignored {
            user: "paul".into(),
        };
        for (given, command, then) in [
            (vec![], ignore(true), vec![ignored()]),
            (vec![ignored()], ignore(true), vec![]),
            (vec![ignored()], ignore(false), vec![unignored()]),
            (vec![ignored(), unignored()], ignore(false), vec![]),
        ] {
            subscription()
                .given(given)
                .when_async(command)
                .await
                .then_expect_events(then);
        }
    }

    #[tokio::test]
    async fn a_changed_notification_leaves_the_others_as_they_are() {
        let changed = |value| SubscriptionEvent::NotificationsChanged {
            preferences: preferences(value),
        };
        subscription()
            .given(vec![changed(json!({ "a": "all", "b": "all" }))])
            .when_async(SubscriptionCommand::ChangeNotifications(preferences(
                json!({ "b": "nothing" }),
            )))
            .await
            .then_expect_events(vec![changed(json!({ "a": "all", "b": "nothing" }))]);
        subscription()
            .given(vec![changed(json!({ "a": "all" }))])
            .when_async(SubscriptionCommand::ChangeNotifications(preferences(
                json!({ "a": "all" }),
            )))
            .await
            .then_expect_events(vec![]);
    }

    #[tokio::test]
    async fn reading_is_recorded_each_time() {
        let read = |at| SubscriptionEvent::RoomRead {
            at: Timestamp(at),
            threads: true,
        };
        subscription()
            .given(vec![read(5)])
            .when_async(SubscriptionCommand::Read {
                at: Timestamp(6),
                threads: true,
            })
            .await
            .then_expect_events(vec![read(6)]);
    }

    #[test]
    fn a_message_marked_unread_is_the_first_unread_one() {
        let mut subscription = Subscription::default();
        subscription.apply(SubscriptionEvent::RoomRead {
            at: Timestamp(50),
            threads: false,
        });
        subscription.apply(SubscriptionEvent::RoomMarkedUnread {
            from: Timestamp(40),
        });
        assert_eq!(subscription.read, Timestamp(39));
    }

    #[test]
    fn a_subscription_is_named_after_its_room_and_its_member() {
        assert_eq!(
            Subscription::key(&"GENERAL".into(), &"mary".into()),
            "GENERAL/mary"
        );
    }
}
