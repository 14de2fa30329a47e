//! What happens to rooms, and what their members do with them.

use super::*;

impl Teller {
    pub(super) fn rooms_of(&self, user: &UserId) -> Vec<RoomId> {
        let all = self.rooms.iter();
        all.filter(|(_, room)| !room.deleted && room.members.contains_key(user))
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub(super) fn create(&mut self, kind: RoomKind) {
        let id = RoomId::new(format!("room{}", self.rooms.len()));
        let creator = self.one_of(&self.users.clone());
        let others = self.dice.random_range(0..4);
        let mut members: Vec<UserId> = (0..others)
            .map(|_| self.one_of(&self.users.clone()))
            .filter(|user| *user != creator)
            .collect();
        members.sort();
        members.dedup();
        if kind == RoomKind::Direct && members.is_empty() {
            return;
        }
        let name = match kind {
            RoomKind::Direct => String::new(),
            _ => id.to_string(),
        };
        let channels: Vec<RoomId> = self.live_rooms();
        let parent =
            (kind != RoomKind::Direct && !channels.is_empty() && self.chance(4)).then(|| Parent {
                room: channels[0].clone(),
                message: None,
            });
        let room = Room {
            kind,
            participants: members.iter().chain([&creator]).cloned().collect(),
            members: members
                .iter()
                .chain([&creator])
                .map(|user| (user.clone(), BTreeSet::new()))
                .collect(),
            details: RoomDetails {
                name: name.clone(),
                fname: name,
                ..RoomDetails::default()
            },
            ..Room::default()
        };
        let details = Private::new(KeyId(2), room.details.clone());
        self.rooms.insert(id.clone(), room);
        if kind != RoomKind::Direct {
            let created = self.rooms.get_mut(&id).unwrap();
            let roles = created.members.get_mut(&creator).unwrap();
            roles.insert(RoleId::new("owner"));
        }
        let at = self.now;
        self.on_room(
            &id,
            RoomEvent::RoomCreated {
                kind,
                creator: Some(creator),
                members,
                switches: RoomSwitches::default(),
                parent,
                details,
                at,
            },
        );
    }

    pub(super) fn live_rooms(&self) -> Vec<RoomId> {
        let live = self.rooms.iter().filter(|(_, room)| !room.deleted);
        live.map(|(id, _)| id.clone()).collect()
    }

    /// A room in which somebody can do something.
    pub(super) fn place(&mut self) -> Option<(RoomId, UserId)> {
        let rooms: Vec<_> = self
            .rooms
            .iter()
            .filter(|(_, room)| !room.deleted && !room.archived && !room.members.is_empty())
            .map(|(id, room)| (id.clone(), room.members.keys().cloned().collect::<Vec<_>>()))
            .collect();
        let (room, members) = rooms.choose(&mut self.dice)?;
        let member = members.choose(&mut self.dice)?;
        Some((room.clone(), member.clone()))
    }

    pub(super) fn end_room(&mut self, room: &RoomId) {
        let ended = self.rooms.get_mut(room).unwrap();
        ended.deleted = true;
        ended.members.clear();
        self.on_room(room, RoomEvent::RoomDeleted { key: KeyId(2) });
        if self.chance(2) {
            let room = room.clone();
            self.erase(move |message| message.room == room && !message.erased);
        }
    }

    pub(super) fn delete_room(&mut self) {
        if self.live_rooms().len() > 3 {
            let room = self.one_of(&self.live_rooms());
            self.end_room(&room);
        }
    }

    pub(super) fn read(&mut self) {
        if let Some((room, user)) = self.place() {
            let (at, threads) = (self.now, self.chance(2));
            self.on_subscription(&room, &user, SubscriptionEvent::RoomRead { at, threads });
        }
    }

    pub(super) fn subscribe(&mut self) {
        let Some((room, user)) = self.place() else {
            return;
        };
        let other = self.one_of(&self.users.clone());
        let event = match self.dice.random_range(0..8) {
            0 => SubscriptionEvent::RoomOpened {},
            1 => SubscriptionEvent::RoomHidden {},
            2 => SubscriptionEvent::RoomFavourited {},
            3 => SubscriptionEvent::RoomUnfavourited {},
            4 => SubscriptionEvent::RoomMarkedUnread { from: self.now },
            5 => SubscriptionEvent::UserIgnored { user: other },
            6 => SubscriptionEvent::UserUnignored { user: other },
            _ => SubscriptionEvent::NotificationsChanged {
                preferences: Map::from_iter([("muteGroupMentions".to_owned(), json!(true))]),
            },
        };
        self.on_subscription(&room, &user, event);
    }

    pub(super) fn join(&mut self) {
        let Some((room, _)) = self.place() else {
            return;
        };
        let user = self.one_of(&self.users.clone());
        let found = self.rooms.get_mut(&room).unwrap();
        let closed = found.kind == RoomKind::Direct && !found.participants.contains(&user);
        if closed || found.members.contains_key(&user) {
            return;
        }
        found.members.insert(user.clone(), BTreeSet::new());
        let (entry, at) = (Way::Joined, self.now);
        self.on_room(&room, RoomEvent::MemberJoined { user, entry, at });
    }

    pub(super) fn forget_member(&mut self, room: &RoomId, user: &UserId) {
        let found = self.rooms.get_mut(room).unwrap();
        found.members.remove(user);
        found.unmuted.remove(user);
    }

    pub(super) fn leave(&mut self) {
        let Some((room, user)) = self.place() else {
            return;
        };
        self.forget_member(&room, &user);
        let event = match self.dice.random_range(0..3) {
            0 => RoomEvent::MemberLeft { user },
            1 => {
                let by = Some(self.one_of(&self.users.clone()));
                RoomEvent::MemberRemoved { user, by }
            }
            _ => {
                self.rooms.get_mut(&room).unwrap().muted.remove(&user);
                RoomEvent::MemberRemoved { user, by: None }
            }
        };
        self.on_room(&room, event);
    }

    pub(super) fn change_roles(&mut self) {
        let Some((room, user)) = self.place() else {
            return;
        };
        let role = RoleId::new(self.one_of(&["owner", "moderator", "leader"]));
        let voices = self.chance(3);
        let found = self.rooms.get_mut(&room).unwrap();
        let roles = found.members.get_mut(&user).unwrap();
        let event = if voices {
            let silent = found.switches.read_only && !found.unmuted.contains(&user);
            if found.muted.contains(&user) || silent {
                found.muted.remove(&user);
                if found.switches.read_only {
                    found.unmuted.insert(user.clone());
                }
                RoomEvent::MemberUnmuted { user }
            } else {
                found.unmuted.remove(&user);
                found.muted.insert(user.clone());
                RoomEvent::MemberMuted { user }
            }
        } else if roles.remove(&role) {
            RoomEvent::RoomRoleRevoked { user, role }
        } else {
            roles.insert(role.clone());
            RoomEvent::RoomRoleGranted { user, role }
        };
        self.on_room(&room, event);
    }

    pub(super) fn change_room(&mut self) {
        let rooms = self.live_rooms();
        let id = self.one_of(&rooms);
        let number = self.dice.random_range(0..1_000);
        let what = self.dice.random_range(0..6);
        let room = self.rooms.get_mut(&id).unwrap();
        let direct = room.kind == RoomKind::Direct;
        let event = match what {
            0 if !direct && room.archived => {
                room.archived = false;
                RoomEvent::RoomUnarchived {}
            }
            0 if !direct => {
                room.archived = true;
                RoomEvent::RoomArchived {}
            }
            1 if !direct => {
                room.details.name = format!("Räume-{number}");
                room.details.fname = room.details.name.clone();
                RoomEvent::RoomRenamed {
                    details: Private::new(KeyId(2), room.details.clone()),
                }
            }
            2 => {
                room.details.topic = Some(format!("topic {number}"));
                RoomEvent::TopicChanged {
                    details: Private::new(KeyId(2), room.details.clone()),
                }
            }
            3 if !direct => {
                room.kind = match room.kind {
                    RoomKind::Channel => RoomKind::Group,
                    _ => RoomKind::Channel,
                };
                RoomEvent::RoomTypeChanged { kind: room.kind }
            }
            _ if !direct => {
                room.switches.read_only = !room.switches.read_only;
                RoomEvent::RoomSwitchesChanged {
                    switches: room.switches.clone(),
                }
            }
            _ => return,
        };
        self.on_room(&id, event);
    }
}
