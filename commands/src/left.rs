//! Where in the log people left rooms last: what they kept about a room before that counts for nothing.

use std::sync::Arc;

use hansard_domain::id::{RoomId, Timestamp, UserId};
use hansard_domain::intern::ROOMS;
use hansard_domain::log::Position;
use hansard_domain::members::Members;

use crate::table::Table;

/// Rooms by their numbers in this process, in order, and where each was left.
pub(crate) type Places = Arc<[(u32, Position)]>;

/// See the module. Some thirty bytes for each that left a room, as long as both are there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Left {
    by_user: Table<UserId, Places>,
    /// Who left a room.
    by_room: Table<RoomId, Members>,
}

/// What a snapshot holds of somebody who left rooms.
pub(crate) type LeftRow = (UserId, Vec<(RoomId, Position)>);

impl Left {
    /// Where leaves stand that a batch under way has decided: behind everything that is recorded.
    pub const UNDECIDED: Position = Position(u64::MAX);

    /// Where somebody left a room last.
    pub fn last(&self, room: &RoomId, user: &UserId) -> Option<Position> {
        let number = ROOMS.find(room.as_str())?;
        let places = self.by_user.get(user)?;
        let found = places.binary_search_by_key(&number, |(room, _)| *room);
        found.ok().map(|place| places[place].1)
    }

    pub fn note(&mut self, room: &RoomId, user: &UserId, position: Position) {
        let number = ROOMS.intern(room.as_str());
        let places = self.by_user.get_or_default(user.clone());
        let mut changed = places.to_vec();
        match changed.binary_search_by_key(&number, |(room, _)| *room) {
            Ok(place) => changed[place].1 = position,
            Err(place) => {
                changed.insert(place, (number, position));
                let leavers = self.by_room.get_or_default(room.clone());
                leavers.insert(user, Timestamp::default());
            }
        }
        *places = changed.into();
    }

    pub fn forget_room(&mut self, room: &RoomId) {
        let number = ROOMS.find(room.as_str());
        for (user, _) in self.by_room.remove(room).iter().flat_map(Members::iter) {
            let Some(places) = self.by_user.get_mut(&user) else {
                continue;
            };
            let others = places.iter().filter(|(room, _)| Some(*room) != number);
            *places = others.copied().collect();
            if places.is_empty() {
                self.by_user.remove(&user);
            }
        }
    }

    pub fn forget_user(&mut self, user: &UserId) {
        for (room, _) in self.by_user.remove(user).iter().flat_map(|all| all.iter()) {
            let room = RoomId::new(ROOMS.text(*room));
            let Some(leavers) = self.by_room.get_mut(&room) else {
                continue;
            };
            leavers.remove(user);
            if leavers.is_empty() {
                self.by_room.remove(&room);
            }
        }
    }

    /// What a snapshot holds, by user.
    pub fn table(&self) -> &Table<UserId, Places> {
        &self.by_user
    }

    pub fn row(user: &UserId, places: &Places) -> LeftRow {
        let places = places.iter();
        let places = places.map(|(room, at)| (RoomId::new(ROOMS.text(*room)), *at));
        (user.clone(), places.collect())
    }

    /// Reverses [`Self::row`].
    pub fn entry((user, places): LeftRow) -> (UserId, Places) {
        let places = places.into_iter();
        let mut places: Vec<_> = places
            .map(|(room, at)| (ROOMS.intern(room.as_str()), at))
            .collect();
        places.sort_unstable();
        (user, places.into())
    }

    /// Puts it together again from its [table](Self::table).
    pub fn restore(by_user: Table<UserId, Places>) -> Self {
        let mut by_room: Table<RoomId, Members> = Table::default();
        for (user, places) in by_user.iter() {
            for (room, _) in places.iter() {
                let room = RoomId::new(ROOMS.text(*room));
                let leavers = by_room.get_or_default(room);
                leavers.insert(user, Timestamp::default());
            }
        }
        Self { by_user, by_room }
    }

    /// All that is noted, in order.
    #[cfg(test)]
    pub fn all(&self) -> Vec<(RoomId, UserId, Position)> {
        let rows = self.by_user.iter().flat_map(|(user, places)| {
            let (user, places) = Self::row(user, places);
            let of_user = move |(room, at)| (room, user.clone(), at);
            places.into_iter().map(of_user)
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort();
        let leavers = self.by_room.iter();
        let mut indexed: Vec<_> = leavers
            .flat_map(|(room, users)| users.iter().map(|(user, _)| (room.clone(), user)))
            .collect();
        indexed.sort();
        let noted = rows
            .iter()
            .map(|(room, user, _)| (room.clone(), user.clone()));
        assert_eq!(indexed, noted.collect::<Vec<_>>());
        rows
    }
}
