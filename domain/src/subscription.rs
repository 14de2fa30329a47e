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
    /// `stirred` is when something last happened in the room that there is to read, or a later time. Both are
    /// times of the log, or that of the room's last message where it is ahead of it.
    Read {
        at: Timestamp,
        threads: bool,
        stirred: Timestamp,
    },
    MarkUnread {
        from: Timestamp,
    },
    Ignore {
        user: UserId,
        ignore: bool,
    },
    ChangeNotifications(Map<String, Value>),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    pub hidden: bool,
    pub favourite: bool,
    /// Up to when everything is read, but for threads; 0 since the room was hidden or marked unread.
    pub read: Timestamp,
    /// The same with threads.
    pub threads_read: Timestamp,
    pub ignored: OrdSet<UserId>,
    pub notifications: Map<String, Value>,
}

impl Subscription {
    /// The key of a subscription's stream: `<room>/<user>`.
    pub fn key(room: &RoomId, user: &UserId) -> String {
        format!("{room}/{user}")
    }

    /// Up to when everything is read, in threads too if asked.
    fn read_with(&self, threads: bool) -> Timestamp {
        if threads {
            self.threads_read
        } else {
            self.read
        }
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
            // At the very time of a mark, something may have happened before it or after.
            C::Read {
                threads, stirred, ..
            } if stirred < self.read_with(threads) => return Ok(None),
            C::Read { at, threads, .. } => E::RoomRead { at, threads },
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
            // Reading shows a room again, whether something happened in it or not.
            SubscriptionEvent::RoomHidden {} => {
                self.hidden = true;
                (self.read, self.threads_read) = Default::default();
            }
            SubscriptionEvent::RoomFavourited {} => self.favourite = true,
            SubscriptionEvent::RoomUnfavourited {} => self.favourite = false,
            SubscriptionEvent::RoomRead { at, threads } => {
                self.read = at;
                if threads {
                    self.threads_read = at;
                }
            }
            SubscriptionEvent::RoomMarkedUnread { .. } => {
                (self.read, self.threads_read) = Default::default();
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

    fn read(at: i64, threads: bool) -> SubscriptionEvent {
        SubscriptionEvent::RoomRead {
            at: Timestamp(at),
            threads,
        }
    }

    /// Whether reading at 90 is recorded, where something happened last at a time.
    async fn is_recorded(given: Vec<SubscriptionEvent>, threads: bool, stirred: i64) -> bool {
        let command = SubscriptionCommand::Read {
            at: Timestamp(90),
            threads,
            stirred: Timestamp(stirred),
        };
        let outcome = subscription().given(given).when_async(command).await;
        let events = outcome.inspect_result().unwrap();
        assert!(events.is_empty() || events == [read(90, threads)]);
        !events.is_empty()
    }

    #[tokio::test]
    async fn reading_is_recorded_where_something_happened_since() {
        assert!(is_recorded(vec![], false, 0).await, "nothing was read yet");
        for (stirred, recorded) in [(49, false), (50, true), (51, true)] {
            let given = vec![read(20, false), read(50, false)];
            assert_eq!(is_recorded(given, false, stirred).await, recorded);
        }
    }

    #[tokio::test]
    async fn threads_that_were_left_unread_are_read_when_asked() {
        assert!(is_recorded(vec![read(50, false)], true, 40).await);
        let given = || vec![read(30, true), read(50, false)];
        assert!(is_recorded(given(), true, 40).await, "said in a thread");
        assert!(!is_recorded(given(), true, 29).await);
        assert!(!is_recorded(vec![read(50, true)], false, 40).await);
    }

    #[tokio::test]
    async fn a_room_that_was_hidden_or_marked_unread_can_be_read_again() {
        for since in [
            SubscriptionEvent::RoomHidden {},
            SubscriptionEvent::RoomMarkedUnread {
                from: Timestamp(20),
            },
        ] {
            for threads in [true, false] {
                assert!(is_recorded(vec![read(50, true), since.clone()], threads, 10).await);
            }
            let given = vec![read(50, true), since, read(60, true)];
            assert!(!is_recorded(given, true, 10).await);
        }
    }

    #[test]
    fn a_subscription_is_named_after_its_room_and_its_member() {
        assert_eq!(
            Subscription::key(&"GENERAL".into(), &"mary".into()),
            "GENERAL/mary"
        );
    }
}
