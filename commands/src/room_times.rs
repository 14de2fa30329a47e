//! When something happened in rooms last, as far as decisions need it.

use hansard_domain::event::Event;
use hansard_domain::id::{RoomId, Timestamp};
use hansard_domain::log::StreamId;
use hansard_domain::message::MessageEvent;
use hansard_domain::room::RoomEvent;
use imbl::HashMap;
use serde::{Deserialize, Serialize};

/// What is known of a room.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Times {
    /// The time of its last message.
    said: Timestamp,
    /// When something happened in it that there is to read, by the log's time.
    stirred: Timestamp,
}

/// The times of the rooms that something happened in last. They are exact where more than one thing is
/// said a millisecond, and bounded for all others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoomTimes {
    last: HashMap<RoomId, Times>,
    /// The longest ago are dropped when there are so many in all.
    full: usize,
    /// In no room that is not among these did anything happen later, nor is a message of it later.
    past: Timestamp,
}

impl RoomTimes {
    const FEW: usize = 2_048;

    /// The time of the last message of a room, or a later one that is before the newest event.
    pub fn said(&self, room: &RoomId) -> Timestamp {
        self.last.get(room).map_or(self.past, |times| times.said)
    }

    /// When something happened in a room that there is to read, or a later time.
    pub fn stirred(&self, room: &RoomId) -> Timestamp {
        self.last.get(room).map_or(self.past, |times| times.stirred)
    }

    /// Takes in an event that is recorded at `at`, where the newest before it was at `newest`.
    pub fn note(&mut self, stream: &StreamId, event: &Event, at: Timestamp, newest: Timestamp) {
        let (room, said) = match event {
            Event::Message(MessageEvent::MessageSent { sent, .. }) => (sent.room.clone(), sent.at),
            // Threads that went are not unread any more, which only reading tells the room's members.
            Event::Message(
                MessageEvent::MessageDeleted { room, .. }
                | MessageEvent::ThreadUnfollowed { room, .. },
            ) => (room.clone(), NEVER),
            Event::Room(
                RoomEvent::RoomRenamed { .. }
                | RoomEvent::RoomArchived {}
                | RoomEvent::ChannelPruned { .. },
            ) => (RoomId::new(stream.key()), NEVER),
            _ => return,
        };
        let times = self.last.entry(room).or_insert(Times {
            // It may have been dropped.
            said: self.past,
            stirred: at,
        });
        times.said = times.said.max(said);
        times.stirred = times.stirred.max(at);
        if self.last.len() > self.full.max(Self::FEW) {
            self.drop_half(newest);
            self.full = self.last.len() * 2;
        }
    }

    fn drop_half(&mut self, newest: Timestamp) {
        let mut times: Vec<_> = self.last.values().map(|times| times.stirred).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let past = &mut self.past;
        self.last.retain(|_, times| {
            let kept = times.stirred > *median || times.said >= newest;
            if !kept {
                *past = times.stirred.max(times.said).max(*past);
            }
            kept
        });
    }
}

const NEVER: Timestamp = Timestamp(i64::MIN);

#[cfg(test)]
mod tests {
    use hansard_domain::id::MessageId;
    use hansard_domain::message::Content;
    use hansard_domain::seal::Private;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn of_no_room_is_anything_missed_that_happened() {
        let mut random = StdRng::seed_from_u64(7);
        let mut times = RoomTimes::default();
        let mut all: std::collections::HashMap<RoomId, Timestamp> = Default::default();
        let (mut now, mut exact) = (0, 0);
        for _ in 0..30_000 {
            let newest = Timestamp(now);
            now += random.random_range(0..3);
            let often = random.random_range(0..2) == 0;
            let room = random.random_range(0..if often { 10 } else { 20_000 });
            let room = RoomId::new(format!("times-{room}"));
            let archived = Event::Room(RoomEvent::RoomArchived {});
            times.note(
                &StreamId::new("room", &room),
                &archived,
                Timestamp(now),
                newest,
            );
            all.insert(room, Timestamp(now));
            let asked = RoomId::new(format!("times-{}", random.random_range(0..20_000)));
            let true_time = all.get(&asked).copied().unwrap_or_default();
            assert!(times.stirred(&asked) >= true_time);
            exact += usize::from(times.stirred(&asked) == true_time);
        }
        assert!(
            times.last.len() <= RoomTimes::FEW + 1,
            "{}",
            times.last.len()
        );
        assert!(exact > 1_000, "{exact}");
        for room in (0..10).map(|room| RoomId::new(format!("times-{room}"))) {
            assert_eq!(times.stirred(&room), all[&room]);
        }
    }

    #[test]
    fn a_room_that_many_others_came_after_is_not_taken_for_silent() {
        let (room, mut times) = (RoomId::new("times-quiet"), RoomTimes::default());
        // It ran ahead of the log.
        let sent = serde_json::json!({ "room": room, "sender": "mary", "mentions": {}, "at": 900 });
        let said = MessageEvent::MessageSent {
            sent: serde_json::from_value(sent).unwrap(),
            content: Private::Clear(Content::default()),
        };
        let stream = StreamId::new("message", MessageId::new("m"));
        times.note(&stream, &said.into(), Timestamp(500), Timestamp(499));
        for number in 0..3 * RoomTimes::FEW as i64 {
            let other = StreamId::new("room", RoomId::new(format!("times-{number}")));
            let at = 1_000 + number;
            let archived = Event::Room(RoomEvent::RoomArchived {});
            times.note(&other, &archived, Timestamp(at), Timestamp(at - 1));
        }
        assert!(!times.last.contains_key(&room));
        assert!(times.said(&room) >= Timestamp(900));
        let archived = Event::Room(RoomEvent::RoomArchived {});
        let stream = StreamId::new("room", &room);
        times.note(&stream, &archived, Timestamp(9_000), Timestamp(8_999));
        assert!(times.said(&room) >= Timestamp(900));
    }

    #[test]
    fn threads_that_are_left_or_go_are_something_to_read() {
        let room = RoomId::new("times-thread");
        let stream = StreamId::new("message", MessageId::new("m"));
        let mut times = RoomTimes::default();
        let unfollowed = MessageEvent::ThreadUnfollowed {
            user: "mary".into(),
            room: room.clone(),
        };
        times.note(&stream, &unfollowed.into(), Timestamp(5), Timestamp(4));
        assert_eq!(times.stirred(&room), Timestamp(5));
    }
}
