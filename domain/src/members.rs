//! Memberships in few bytes: a large workspace has tens of millions of them.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{RoomId, Timestamp, UserId};
use crate::intern::{ROOMS, USERS};

/// The members of a room, and since when each is one, to the second. Some twelve bytes each; a clone
/// costs nothing, and a change what is on the way to one member.
#[derive(Clone, Default, PartialEq)]
pub struct Members(OrdMap<u32, u32>);

impl Members {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, user: &UserId) -> bool {
        let number = USERS.find(user.as_str());
        number.is_some_and(|number| self.0.contains_key(&number))
    }

    /// Since when somebody is a member.
    pub fn since(&self, user: &UserId) -> Option<Timestamp> {
        let seconds = self.0.get(&USERS.find(user.as_str())?)?;
        Some(time(*seconds))
    }

    pub fn insert(&mut self, user: &UserId, since: Timestamp) {
        let seconds = u32::try_from(since.0 / 1_000).unwrap_or_default();
        self.0.insert(USERS.intern(user.as_str()), seconds);
    }

    pub fn remove(&mut self, user: &UserId) {
        if let Some(number) = USERS.find(user.as_str()) {
            self.0.remove(&number);
        }
    }

    /// All members, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (UserId, Timestamp)> {
        let users = self.0.iter();
        users.map(|(user, since)| (UserId::new(USERS.text(*user)), time(*since)))
    }

    /// All members, in the order of their ids.
    pub fn sorted(&self) -> Vec<UserId> {
        let mut users: Vec<_> = self.iter().map(|(user, _)| user).collect();
        users.sort_unstable();
        users
    }
}

impl Members {
    /// Numbers of users, and since when each is a member, four bytes each. The numbers mean something
    /// to whoever has the [users'](USERS) texts of this process.
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbers = self.0.iter().flat_map(|(user, since)| [*user, *since]);
        numbers.flat_map(u32::to_le_bytes).collect()
    }

    /// Reverses [`Self::to_bytes`], where `number` tells the number in this process of one of then.
    /// `None` if there is none, or the bytes are no whole members.
    pub fn from_bytes(bytes: &[u8], number: impl Fn(u32) -> Option<u32>) -> Option<Self> {
        let (members, []) = bytes.as_chunks::<8>() else {
            return None;
        };
        let members = members.iter().map(|[a, b, c, d, since @ ..]| {
            let user = number(u32::from_le_bytes([*a, *b, *c, *d]))?;
            Some((user, u32::from_le_bytes(*since)))
        });
        members.collect::<Option<_>>().map(Self)
    }
}

fn time(seconds: u32) -> Timestamp {
    Timestamp(i64::from(seconds) * 1_000)
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Members({})", self.len())
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.0
                .iter()
                .map(|(user, since)| (USERS.text(*user), *since)),
        )
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Vec::<(UserId, u32)>::deserialize(deserializer)?;
        let numbered = members
            .into_iter()
            .map(|(user, since)| (USERS.intern(user.as_str()), since));
        Ok(Self(numbered.collect()))
    }
}

/// The rooms that somebody is a member of: four bytes each.
#[derive(Clone, Default, PartialEq)]
pub struct RoomsOf(Arc<[u32]>);

impl RoomsOf {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What everybody is in of some rooms.
    pub fn collect<'a>(
        rooms: impl Iterator<Item = (&'a RoomId, &'a Members)>,
    ) -> Vec<(UserId, Self)> {
        let mut found: Vec<Vec<u32>> = Vec::new();
        for (room, members) in rooms {
            let room = ROOMS.intern(room.as_str());
            for user in members.0.keys() {
                let user = *user as usize;
                if found.len() <= user {
                    found.resize(user + 1, Vec::new());
                }
                found[user].push(room);
            }
        }
        let found = (0..).zip(found).filter(|(_, rooms)| !rooms.is_empty());
        let sorted = found.map(|(user, mut rooms)| {
            rooms.sort_unstable();
            (UserId::new(USERS.text(user)), Self(rooms.into()))
        });
        sorted.collect()
    }

    pub fn insert(&mut self, room: &RoomId) {
        let number = ROOMS.intern(room.as_str());
        if let Err(place) = self.0.binary_search(&number) {
            let before = self.0[..place].iter().chain([&number]);
            self.0 = before.chain(&self.0[place..]).copied().collect();
        }
    }

    pub fn remove(&mut self, room: &RoomId) {
        let found = ROOMS.find(room.as_str());
        if let Some(place) = found.and_then(|number| self.0.binary_search(&number).ok()) {
            let rest = self.0[..place].iter().chain(&self.0[place + 1..]);
            self.0 = rest.copied().collect();
        }
    }

    /// Those of them that are wanted.
    pub fn only(&self, wanted: impl Fn(&RoomId) -> bool) -> Self {
        let only = self.0.iter().copied();
        let only = only.filter(|room| wanted(&RoomId::new(ROOMS.text(*room))));
        Self(only.collect())
    }

    /// All of them, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = RoomId> {
        self.0.iter().map(|room| RoomId::new(ROOMS.text(*room)))
    }

    /// A room that both are in.
    pub fn shares(&self, other: &Self) -> bool {
        let (few, many) = if self.len() < other.len() {
            (self, other)
        } else {
            (other, self)
        };
        few.0.iter().any(|room| many.0.binary_search(room).is_ok())
    }
}

impl std::fmt::Debug for RoomsOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RoomsOf({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_and_go() {
        let (mary, paul) = (UserId::new("members-mary"), UserId::new("members-paul"));
        let mut members = Members::default();
        members.insert(&mary, Timestamp(5_999));
        let before = members.clone();
        members.insert(&paul, Timestamp(7_000));
        members.insert(&mary, Timestamp(9_000));
        assert_eq!(members.len(), 2);
        assert_eq!(members.since(&mary), Some(Timestamp(9_000)));
        assert_eq!(members.sorted(), [mary.clone(), paul.clone()]);
        members.remove(&mary);
        members.remove(&UserId::new("members-nobody"));
        assert!(!members.contains(&mary) && members.contains(&paul));
        assert_eq!(before.since(&mary), Some(Timestamp(5_000)));

        let bytes = members.to_bytes();
        assert_eq!(Members::from_bytes(&bytes, Some).unwrap(), members);
        assert_eq!(Members::from_bytes(&bytes[1..], Some), None);
        assert_eq!(Members::from_bytes(&bytes, |_| None), None);

        let text = serde_json::to_string(&members).unwrap();
        assert_eq!(text, r#"[["members-paul",7]]"#);
        assert_eq!(serde_json::from_str::<Members>(&text).unwrap(), members);
    }

    #[test]
    fn rooms_of_two_people_are_compared() {
        let rooms = |names: &[&str]| {
            let mut rooms = RoomsOf::default();
            names
                .iter()
                .for_each(|name| rooms.insert(&RoomId::new(name)));
            rooms
        };
        let mut one = rooms(&["of-b", "of-a", "of-b"]);
        assert_eq!(one.len(), 2);
        assert!(one.shares(&rooms(&["of-c", "of-a"])));
        assert!(!one.shares(&rooms(&["of-c"])));
        one.remove(&RoomId::new("of-a"));
        one.remove(&RoomId::new("of-z"));
        assert_eq!(one.iter().collect::<Vec<_>>(), [RoomId::new("of-b")]);

        let (mary, paul) = (UserId::new("of-mary"), UserId::new("of-paul"));
        let members = |users: &[&UserId]| {
            let mut members = Members::default();
            users
                .iter()
                .for_each(|user| members.insert(user, Timestamp(0)));
            members
        };
        let both = [
            (RoomId::new("of-b"), members(&[&mary])),
            (RoomId::new("of-a"), members(&[&paul, &mary])),
        ];
        let mut found = RoomsOf::collect(both.iter().map(|(room, members)| (room, members)));
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let expected = [(mary, rooms(&["of-a", "of-b"])), (paul, rooms(&["of-a"]))];
        assert_eq!(found, expected);
    }
}
