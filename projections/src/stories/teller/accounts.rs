//! What happens to accounts.

use super::*;

impl Teller {
    pub(super) fn profile(&mut self, id: &str) -> Private<Profile> {
        let spelled = self.dice.random_range(0..1_000);
        let username = if self.chance(3) {
            format!("{id}.{spelled}")
        } else {
            id.to_owned()
        };
        let profile = Profile {
            username,
            name: (!self.chance(5)).then(|| format!("Name {spelled} of {id}")),
            ..Profile::default()
        };
        Private::new(KeyId(1), profile)
    }

    pub(super) fn register(&mut self, id: &str) {
        let profile = self.profile(id);
        let (user, at) = (UserId::new(id), self.now);
        if id != SYSTEM_ACCOUNT {
            self.users.push(user.clone());
        }
        self.on_account(
            &user,
            AccountEvent::UserRegistered {
                how: Registration::ByAdministrator,
                kind: AccountKind::User,
                roles: Vec::new(),
                active: true,
                reason: None,
                password_change_required: false,
                profile,
                password: None,
                at,
            },
        );
    }

    pub(super) fn change_account(&mut self) {
        let user = self.one_of(&self.users.clone());
        let event = match self.dice.random_range(0..5) {
            0 => AccountEvent::UserPresenceChosen {
                presence: Presence::Busy,
            },
            1 => AccountEvent::UserLoggedIn {
                method: LoginMethod::Password,
                token: TokenHash("t".to_owned()),
                session: Session {
                    since: self.now,
                    expires: None,
                },
                from: None,
            },
            2 => AccountEvent::UserDeactivated {
                reason: DeactivationReason::Idle,
            },
            3 => AccountEvent::UserActivated {},
            _ => AccountEvent::UserProfileChanged {
                profile: self.profile(user.as_str()),
            },
        };
        self.on_account(&user, event);
    }

    pub(super) fn delete_account(&mut self) {
        if self.users.len() < 4 {
            return;
        }
        let number = self.dice.random_range(0..self.users.len());
        let user = self.users.remove(number);
        for room in self.rooms_of(&user) {
            let of_two = self.rooms[&room].participants.len() <= 2;
            if self.rooms[&room].kind == RoomKind::Direct && of_two {
                self.end_room(&room);
                continue;
            }
            self.forget_member(&room, &user);
            let (user, by) = (user.clone(), None);
            self.on_room(&room, RoomEvent::MemberRemoved { user, by });
        }
        let (key, messages) = (KeyId(1), self.settings.erasure);
        self.on_account(&user, AccountEvent::UserDeleted { key, messages });
        if messages == MessageErasure::Delete {
            let said = |message: &Message| message.sender == user && !message.erased;
            self.erase(said);
        }
        if messages == MessageErasure::Unlink {
            for message in &mut self.messages {
                let system = UserId::new(SYSTEM_ACCOUNT);
                if message.sender == user {
                    message.sender = system;
                }
                message.followers.remove(&user);
                // Whoever is gone takes back neither star nor reaction.
                message.starred.remove(&user);
                message.reactions.retain(|(_, by)| *by != user);
            }
        }
        self.gone.push(user);
    }
}
