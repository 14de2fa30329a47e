//! Whether somebody may see less than before.

use hansard_domain::event::Event;
use hansard_domain::id::UserId;
use hansard_domain::room::RoomEvent;

use crate::model::WriteModel;

/// Whether an event may take something out of the sight of people whom it does not name.
pub(crate) fn changes_rules(event: &Event) -> bool {
    match event {
        Event::Permission(_) | Event::Role(_) | Event::Setting(_) => true,
        Event::Room(event) => matches!(
            event,
            RoomEvent::RoomTypeChanged { .. }
                | RoomEvent::RoomSwitchesChanged { .. }
                | RoomEvent::RoomRoleRevoked { .. }
        ),
        _ => false,
    }
}

impl WriteModel {
    /// Whether a user, or somebody without an account, had rights in an earlier model that it may not
    /// have in this one: it is out of a room, lost a role, is not active any more, or the rules for all
    /// have changed.
    pub fn has_withdrawn(&self, before: &Self, user: Option<&UserId>) -> bool {
        if self.position() == before.position() {
            return false;
        }
        if self.rules != before.rules {
            return true;
        }
        let Some(user) = user else {
            return false;
        };
        if !before.rooms_remain(self, user) {
            return true;
        }
        match (before.account(user), self.account(user)) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(then), Some(now)) => {
                let inactive = then.active && !now.active;
                let locked = !then.must_change_password() && now.must_change_password();
                inactive || locked || !then.roles.iter().all(|role| now.roles.contains(role))
            }
        }
    }
}
