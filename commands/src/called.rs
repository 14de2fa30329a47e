//! What a word from outside means where it may be an id or a name.
//!
//! An id goes before every name, also the id of what is gone: what is meant for the owner of an id never
//! reaches whoever is called like it. So that nobody waits for it in vain, no room and no account may be
//! called so ([`WriteModel::is_id`]).

use hansard_domain::id::{MAX_ID, RoomId, UserId};
use hansard_domain::integration::Referent;
use hansard_domain::room::RoomKind;

use crate::model::WriteModel;

impl WriteModel {
    /// Whether a word is the id of an account or a room, there or gone, or the id that a conversation of
    /// two accounts has, or would have: whether they talk is not told.
    pub fn is_id(&self, word: &str) -> bool {
        let account = |word: &str| self.knows_account(word);
        let of_two = || {
            let mut places = 1..word.len().min(MAX_ID);
            places.any(|place| {
                let both = word.split_at_checked(place);
                both.is_some_and(|(one, other)| account(one) && account(other))
            })
        };
        account(word) || self.knows_room(word) || of_two()
    }

    /// The account of an id, or, where the word is no id, of a username.
    pub fn account_called(&self, word: &str) -> Option<UserId> {
        let id = UserId::new(word);
        if self.account(&id).is_some() {
            return Some(id);
        }
        let name = Some(word).filter(|word| !self.is_id(word))?;
        self.user_by_name(name).cloned()
    }

    /// The room of an id, or, where the word is no id, of a name.
    pub fn room_called(&self, word: &str) -> Option<RoomId> {
        let id = RoomId::new(word);
        if self.room(&id).is_some() {
            return Some(id);
        }
        let name = Some(word).filter(|word| !self.is_id(word))?;
        self.room_by_name(name).cloned()
    }

    /// What `#name`, `@username`, or an id or the name of a room refers to. With an `@` it may also be the
    /// id of a direct conversation.
    pub fn referent(&self, word: &str) -> Option<Referent> {
        if let Some(name) = word.strip_prefix('#') {
            return self.room_called(name).map(Referent::Room);
        }
        if let Some(name) = word.strip_prefix('@') {
            let direct = |id: &RoomId| {
                let room = self.room(id);
                room.is_some_and(|room| room.kind == RoomKind::Direct)
            };
            let account = self.account_called(name).map(Referent::Person);
            let room = || self.room_called(name).filter(direct).map(Referent::Room);
            return account.or_else(room);
        }
        let account = || {
            let id = UserId::new(word);
            self.account(&id).map(|_| Referent::Person(id))
        };
        self.room_called(word).map(Referent::Room).or_else(account)
    }

    /// Whether something can be said to it: a room that is there, an account that is active.
    pub fn is_there(&self, referent: &Referent) -> bool {
        match referent {
            Referent::Room(room) => self.room(room).is_some(),
            Referent::Person(user) => self.account(user).is_some_and(|account| account.active),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hansard_domain::account::{Account, AccountEvent, MessageErasure};
    use hansard_domain::log::{StreamId, Version};
    use hansard_domain::room::{Room, RoomEvent};
    use hansard_domain::vault::KeyId;

    use super::*;
    use crate::model::Versioned;

    fn account(model: &mut WriteModel, id: &str, username: &str) {
        let mut account = Account {
            exists: true,
            ..Account::default()
        };
        username.clone_into(&mut account.profile.username);
        let id = UserId::new(id);
        model.index_account(&id, &account);
        let account = Versioned {
            state: account,
            ..Versioned::default()
        };
        model.accounts.insert(id, Arc::new(account));
    }

    fn room(model: &mut WriteModel, id: &str, kind: RoomKind, name: &str) {
        let mut room = Room {
            exists: true,
            kind,
            ..Room::default()
        };
        name.clone_into(&mut room.details.name);
        let id = RoomId::new(id);
        model.index_room(&id, &room);
        let room = Versioned {
            state: room,
            ..Versioned::default()
        };
        model.rooms.insert(id, Arc::new(room));
    }

    /// Mary and Bob and their conversation; somebody and something that are gone; and, as logs of
    /// earlier versions can have them, an account and a room that are called like each of these.
    fn workspace() -> WriteModel {
        let mut model = WriteModel::empty();
        account(&mut model, "M1", "mary");
        account(&mut model, "B1", "bob");
        account(&mut model, "G1", "gone");
        room(&mut model, "B1M1", RoomKind::Direct, "");
        room(&mut model, "R1", RoomKind::Channel, "lobby");
        room(&mut model, "R2", RoomKind::Channel, "attic");
        let (key, messages) = (KeyId(1), MessageErasure::default());
        let gone = AccountEvent::UserDeleted { key, messages };
        model.apply(&StreamId::new("account", "G1"), Version(2), &gone.into());
        let gone = RoomEvent::RoomDeleted { key };
        model.apply(&StreamId::new("room", "R2"), Version(2), &gone.into());
        for id in ["B1M1", "M1", "G1", "R1", "R2", "G1M1"] {
            account(&mut model, &format!("account called {id}"), id);
            room(
                &mut model,
                &format!("room called {id}"),
                RoomKind::Channel,
                id,
            );
        }
        model
    }

    #[test]
    fn what_is_called_like_an_id_is_not_taken_for_its_owner() {
        let model = workspace();
        let account = |word: &str| model.account_called(word);
        let room = |word: &str| model.room_called(word);
        assert_eq!(account("M1"), Some("M1".into()));
        assert_eq!(account("Bob"), Some("B1".into()));
        assert_eq!(room("R1"), Some("R1".into()));
        assert_eq!(room("Lobby"), Some("R1".into()));
        assert_eq!(room("B1M1"), Some("B1M1".into()));
        for word in ["B1M1", "G1", "R1", "R2", "G1M1"] {
            assert_eq!(account(word), None, "{word}");
        }
        for word in ["M1", "G1", "R2", "G1M1"] {
            assert_eq!(room(word), None, "{word}");
        }
    }

    #[test]
    fn a_name_refers_to_a_room_or_to_a_person() {
        let model = workspace();
        let room = |id: &str| Some(Referent::Room(id.into()));
        let person = |id: &str| Some(Referent::Person(id.into()));
        for (word, referent) in [
            ("#lobby", room("R1")),
            ("#R1", room("R1")),
            ("lobby", room("R1")),
            ("B1M1", room("B1M1")),
            ("@B1M1", room("B1M1")),
            ("@mary", person("M1")),
            ("@M1", person("M1")),
            ("M1", person("M1")),
            ("mary", None),
            ("@lobby", None),
            ("#mary", None),
            ("@gone", None),
            ("", None),
        ] {
            assert_eq!(model.referent(word), referent, "{word}");
        }
        assert!(model.is_there(&Referent::Room("R1".into())));
        assert!(!model.is_there(&Referent::Room("R2".into())));
        assert!(!model.is_there(&Referent::Person("G1".into())));
    }

    #[test]
    fn ids_are_those_of_what_is_there_or_was_and_of_any_two_accounts() {
        let model = workspace();
        for id in ["M1", "G1", "R1", "R2", "B1M1", "G1M1", "M1G1"] {
            assert!(model.is_id(id), "{id}");
        }
        for name in ["", "m1", "mary", "lobby", "M1é", "M1R1", "M1M1M1"] {
            assert!(!model.is_id(name), "{name}");
        }
    }
}
