//! Who sees what of a room.
//!
//! History, search, sync, threads, stars, mentions, pins, lists, errors: whatever shows a room, or
//! something in it, asks [`WriteModel::sight`] and nothing else. To somebody who does not know of a room,
//! it is answered like one that is not there.

use hansard_domain::id::{RoomId, UserId};
use hansard_domain::members::RoomsOf;
use hansard_domain::room::{Room, RoomKind};

use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::{Versioned, WriteModel};

/// Who administers rooms sees what they are without being in them.
pub const ADMINISTRATION: &str = "view-room-administration";

/// The right to see which rooms others are in.
pub const OTHERS_ROOMS: &str = "view-other-user-channels";

/// What somebody wants to see of a room, or to do with what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be told that it is there, and what it is called: of members and of those who see more.
    Existence,
    /// What it is: its topic, its counts, who made it, who has which role.
    Particulars,
    /// Who is in it. In a broadcast room takes `view-broadcast-member-list`.
    Members,
    /// What is said in it. In a channel that one is not in takes `preview-c-room`.
    Messages,
    /// To join it, to say something in it, to change what one said.
    Participation,
    /// What it is, for those who administer rooms: with [`ADMINISTRATION`] every room.
    Administration,
    /// What others say to each other in a direct conversation: with [`ADMINISTRATION`], and only
    /// where the workspace allows it (`API_Enable_Direct_Message_History_EndPoint`).
    Inspection,
}

/// By which right somebody sees a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// It is a member.
    Membership,
    /// The room is a channel, and it may see channels.
    Openness,
    /// The room is a discussion, and it sees the room that the discussion is about.
    Parent,
    /// It has a permission that opens rooms it would not see otherwise. Such a look goes on the
    /// audit; see [`inspection`](crate::inspection).
    Permission(&'static str),
    /// It is the server itself or a policy.
    Server,
}

impl Right {
    /// Whether a look by this right goes on the audit.
    pub fn is_audited(self) -> bool {
        matches!(self, Self::Permission(_))
    }
}

/// At a channel, or at what is said in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Outside,
    Inside,
}

/// A room, as somebody sees it.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    pub room: &'a Versioned<Room>,
    pub right: Right,
}

impl WriteModel {
    /// The room, as a row of a list that was read before this model was taken, if the caller sees it.
    pub fn sight_in_list(
        &self,
        caller: &Caller,
        room: &RoomId,
        purpose: Purpose,
    ) -> Option<Sight<'_>> {
        if caller.is_trusted() {
            return self.sight(caller, room, purpose);
        }
        self.sight_of(caller.user.as_ref(), room, purpose)
    }

    /// The room, if the caller sees it for this purpose. It is asked again before a look is answered.
    pub fn sight(&self, caller: &Caller, room: &RoomId, purpose: Purpose) -> Option<Sight<'_>> {
        if caller.is_trusted() {
            let right = Right::Server;
            return self.room(room).map(|room| Sight { room, right });
        }
        let sight = self.sight_of(caller.user.as_ref(), room, purpose)?;
        if let Some(seen) = &caller.seen {
            seen.note(room, purpose);
        }
        Some(sight)
    }

    /// Whether the caller sees a room for this purpose.
    pub fn sees(&self, caller: &Caller, room: &RoomId, purpose: Purpose) -> bool {
        self.sight(caller, room, purpose).is_some()
    }

    /// Whether a room is there that the caller does not know of.
    pub fn hides(&self, caller: &Caller, room: &RoomId) -> bool {
        self.room(room).is_some() && !self.sees(caller, room, Purpose::Existence)
    }

    /// The error that somebody is refused with: it goes on the record where it is about a room that the caller
    /// does not know of.
    pub fn refusal(&self, caller: &Caller, room: &RoomId, error: CommandError) -> CommandError {
        if self.hides(caller, room) {
            error.denied_in(room)
        } else {
            error
        }
    }

    /// The room, if a user sees it for this purpose, or, without one, everybody does.
    pub fn sight_of(
        &self,
        user: Option<&UserId>,
        id: &RoomId,
        purpose: Purpose,
    ) -> Option<Sight<'_>> {
        let room = self.room(id)?;
        let administers = || {
            user.filter(|user| self.permitted(user, ADMINISTRATION, None))
                .map(|_| Right::Permission(ADMINISTRATION))
        };
        let right = match purpose {
            Purpose::Existence => {
                // Members know of a room, whatever they may see of it by now.
                let member = user.filter(|user| room.is_member(user));
                member
                    .map(|_| Right::Membership)
                    .or_else(|| self.right_to_see(user, id, Look::Outside))
            }
            Purpose::Particulars | Purpose::Participation => {
                self.right_to_see(user, id, Look::Outside)
            }
            Purpose::Members => self
                .right_to_see(user, id, Look::Outside)
                .filter(|_| self.lists_members(user, id, room)),
            Purpose::Messages => self.right_to_see(user, id, Look::Inside),
            Purpose::Administration => self
                .right_to_see(user, id, Look::Outside)
                .or_else(administers),
            Purpose::Inspection => {
                let open = self.flag("API_Enable_Direct_Message_History_EndPoint");
                self.right_to_see(user, id, Look::Inside)
                    .or_else(administers)
                    .filter(|_| open && room.kind == RoomKind::Direct)
            }
        };
        right.map(|right| Sight { room, right })
    }

    /// The rooms that a user is in and of which it sees the members: whom it meets is in one of them.
    pub fn meeting_places(&self, user: &UserId) -> RoomsOf {
        let sees = |room: &RoomId| self.sight_of(Some(user), room, Purpose::Members).is_some();
        self.all_rooms_of(user)
            .map_or_else(RoomsOf::default, |rooms| rooms.only(sees))
    }

    /// Members see a room, and where it is a channel everybody who may see channels; to look inside one
    /// also has to be allowed to do that. A discussion is seen by whoever sees the room it is about.
    fn right_to_see(&self, user: Option<&UserId>, id: &RoomId, look: Look) -> Option<Right> {
        let room = self.room(id)?;
        if user.is_some_and(|user| self.is_insider(user, room)) {
            return Some(Right::Membership);
        }
        if room.kind == RoomKind::Channel && self.sees_channels(user, look) {
            return Some(Right::Openness);
        }
        // A discussion's parent is no discussion, so this goes one step.
        let parent = &room.parent.as_ref()?.room;
        if parent == id {
            return None;
        }
        self.right_to_see(user, parent, look).map(|_| Right::Parent)
    }

    fn is_insider(&self, user: &UserId, room: &Room) -> bool {
        let own = || format!("view-{}-room", room.kind.letter());
        room.is_member(user)
            && (self.permitted(user, "view-joined-room", None)
                || self.permitted(user, &own(), None))
    }

    fn sees_channels(&self, user: Option<&UserId>, look: Look) -> bool {
        let Some(user) = user else {
            return self.flag("Accounts_AllowAnonymousRead");
        };
        self.permitted(user, "view-c-room", None)
            && (look == Look::Outside || self.permitted(user, "preview-c-room", None))
    }

    fn lists_members(&self, user: Option<&UserId>, id: &RoomId, room: &Room) -> bool {
        let listed = |user| self.permitted(user, "view-broadcast-member-list", Some(id));
        !room.switches.broadcast || user.is_some_and(listed)
    }
}

#[cfg(test)]
mod tests {
    use hansard_domain::account::{AccountEvent, AccountKind, Profile, Registration};
    use hansard_domain::event::Event;
    use hansard_domain::id::Timestamp;
    use hansard_domain::log::{StreamId, Version};
    use hansard_domain::role::PermissionEvent;
    use hansard_domain::room::{Parent, RoomDetails, RoomEvent, RoomSwitches};
    use hansard_domain::seal::Private;
    use hansard_domain::vault::KeyId;

    use super::*;
    use Purpose as P;

    const EVERY: [Purpose; 7] = [
        P::Existence,
        P::Particulars,
        P::Members,
        P::Messages,
        P::Participation,
        P::Administration,
        P::Inspection,
    ];

    struct World {
        model: WriteModel,
        version: u64,
    }

    impl World {
        fn new() -> Self {
            let mut world = Self {
                model: WriteModel::empty(),
                version: 0,
            };
            for (name, role) in [
                ("admin", "admin"),
                ("member", "user"),
                ("outsider", "user"),
                ("guest", "guest"),
                ("guest-in", "guest"),
                ("bot", "bot"),
                ("gone", "user"),
            ] {
                world.happen("account", name, registered(role, name != "gone"));
            }
            world
        }

        fn happen(&mut self, kind: &str, id: &str, event: impl Into<Event>) {
            self.version += 1;
            let stream = StreamId::new(kind, id);
            self.model
                .apply(&stream, Version(self.version), &event.into());
        }

        fn room(&mut self, id: &str, kind: RoomKind, switches: RoomSwitches, parent: Option<&str>) {
            let created = RoomEvent::RoomCreated {
                kind,
                creator: Some("member".into()),
                members: ["member", "guest-in", "gone"].map(UserId::new).to_vec(),
                switches,
                parent: parent.map(|room| Parent {
                    room: RoomId::new(room),
                    message: None,
                }),
                details: Private::new(KeyId(1), RoomDetails::default()),
                at: Timestamp(1),
            };
            self.happen("room", id, created);
        }

        fn grant(&mut self, permission: &str, roles: &[&str]) {
            let roles = roles.iter().map(|role| (*role).into()).collect();
            let granted = PermissionEvent::PermissionGrantsChanged { roles };
            self.happen("permission", permission, granted);
        }

        /// Who sees a room for a purpose.
        fn seers(&self, room: &str, purpose: Purpose) -> Vec<&'static str> {
            let everybody = [
                "admin", "member", "outsider", "guest", "guest-in", "bot", "gone", "nobody",
            ];
            everybody
                .into_iter()
                .filter(|name| {
                    let user = UserId::new(name);
                    let user = (*name != "nobody").then_some(&user);
                    let room = RoomId::new(room);
                    self.model.sight_of(user, &room, purpose).is_some()
                })
                .collect()
        }
    }

    fn registered(role: &str, active: bool) -> AccountEvent {
        AccountEvent::UserRegistered {
            how: Registration::ByAdministrator,
            kind: AccountKind::User,
            roles: vec![role.into()],
            active,
            reason: None,
            password_change_required: false,
            profile: Private::new(KeyId(1), Profile::default()),
            password: None,
            at: Timestamp(1),
        }
    }

    #[test]
    fn a_channel_is_seen_by_all_but_guests_and_read_by_those_who_may_look_into_it() {
        let mut world = World::new();
        world.room("c", RoomKind::Channel, RoomSwitches::default(), None);
        let seen = ["admin", "member", "outsider", "guest-in", "bot"];
        for purpose in [P::Particulars, P::Members, P::Participation] {
            assert_eq!(world.seers("c", purpose), seen, "{purpose:?}");
        }
        let read = ["admin", "member", "outsider", "guest-in"];
        assert_eq!(world.seers("c", P::Messages), read);
        assert_eq!(world.seers("c", P::Inspection), [""; 0]);
    }

    #[test]
    fn a_private_group_is_there_for_its_members_and_for_those_who_administer_rooms() {
        let mut world = World::new();
        world.room("p", RoomKind::Group, RoomSwitches::default(), None);
        for purpose in EVERY {
            let seen: &[&str] = match purpose {
                P::Existence => &["member", "guest-in", "gone"],
                P::Administration => &["admin", "member", "guest-in"],
                P::Inspection => &[],
                _ => &["member", "guest-in"],
            };
            assert_eq!(world.seers("p", purpose), seen, "{purpose:?}");
        }
        let admin = UserId::new("admin");
        let sight = world
            .model
            .sight_of(Some(&admin), &RoomId::new("p"), P::Administration)
            .unwrap();
        assert!(sight.right.is_audited());
    }

    #[test]
    fn a_direct_conversation_is_inspected_only_where_the_workspace_allows_it() {
        use hansard_domain::setting::SettingEvent;

        let mut world = World::new();
        world.room("d", RoomKind::Direct, RoomSwitches::default(), None);
        assert_eq!(world.seers("d", P::Inspection), [""; 0]);
        let value = Private::new(KeyId(1), true.into());
        let setting = "API_Enable_Direct_Message_History_EndPoint";
        world.happen("setting", setting, SettingEvent::SettingChanged { value });
        let seen = ["admin", "member", "guest-in"];
        assert_eq!(world.seers("d", P::Inspection), seen);
        assert_eq!(world.seers("d", P::Messages), ["member", "guest-in"]);
    }

    #[test]
    fn the_members_of_a_broadcast_room_are_told_to_those_who_run_it() {
        let mut world = World::new();
        let switches = RoomSwitches {
            broadcast: true,
            ..RoomSwitches::default()
        };
        world.room("c", RoomKind::Channel, switches, None);
        // Who made the room is its owner.
        assert_eq!(world.seers("c", P::Members), ["admin", "member"]);
    }

    #[test]
    fn a_discussion_is_seen_by_whoever_sees_the_room_it_is_about() {
        let mut world = World::new();
        world.room("c", RoomKind::Channel, RoomSwitches::default(), None);
        world.room("p", RoomKind::Group, RoomSwitches::default(), None);
        for (room, parent) in [("of-c", "c"), ("of-p", "p"), ("of-none", "none")] {
            world.room(room, RoomKind::Group, RoomSwitches::default(), Some(parent));
        }
        let leave = |user: &str| RoomEvent::MemberLeft { user: user.into() };
        world.happen("room", "of-p", leave("member"));
        assert_eq!(world.seers("of-p", P::Messages), ["member", "guest-in"]);
        let read = ["admin", "member", "outsider", "guest-in"];
        assert_eq!(world.seers("of-c", P::Messages), read);
        assert_eq!(world.seers("of-none", P::Messages), ["member", "guest-in"]);
    }

    #[test]
    fn without_an_account_channels_are_seen_where_the_workspace_is_open() {
        use hansard_domain::setting::SettingEvent;

        let mut world = World::new();
        world.room("c", RoomKind::Channel, RoomSwitches::default(), None);
        world.room("p", RoomKind::Group, RoomSwitches::default(), None);
        let value = Private::new(KeyId(1), true.into());
        let setting = "Accounts_AllowAnonymousRead";
        world.happen("setting", setting, SettingEvent::SettingChanged { value });
        assert!(world.seers("c", P::Messages).contains(&"nobody"));
        assert!(!world.seers("p", P::Messages).contains(&"nobody"));
    }

    #[test]
    fn permissions_taken_away_close_rooms() {
        let mut world = World::new();
        world.room("c", RoomKind::Channel, RoomSwitches::default(), None);
        world.room("p", RoomKind::Group, RoomSwitches::default(), None);
        world.grant("preview-c-room", &["admin"]);
        let read = ["admin", "member", "guest-in"];
        assert_eq!(world.seers("c", P::Messages), read);
        world.grant("view-c-room", &[]);
        assert_eq!(world.seers("c", P::Particulars), ["guest-in"]);
        world.grant("view-p-room", &[]);
        assert_eq!(world.seers("p", P::Messages), ["guest-in"]);
        world.grant("view-joined-room", &[]);
        assert_eq!(world.seers("p", P::Messages), [""; 0]);
        assert_eq!(
            world.seers("p", P::Existence),
            ["member", "guest-in", "gone"]
        );
    }
}
