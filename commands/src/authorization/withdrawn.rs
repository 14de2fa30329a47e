//! Whether somebody may see less than before.

use hansard_domain::event::Event;
use hansard_domain::id::RoomId;
use parking_lot::Mutex;

use super::sight::Purpose;
use crate::caller::Caller;
use crate::model::WriteModel;

/// The rooms that somebody was let see while it was answered. Rows of lists are not among them: those are
/// chosen by what holds when they have been read.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Vec<(RoomId, Purpose)>>);

impl Seen {
    pub(super) fn note(&self, room: &RoomId, purpose: Purpose) {
        self.0.lock().push((room.clone(), purpose));
    }
}

/// Whether an event changes the rules of who may see what.
pub(crate) fn changes_rules(event: &Event) -> bool {
    matches!(
        event,
        Event::Permission(_) | Event::Role(_) | Event::Setting(_)
    )
}

impl WriteModel {
    /// Whether the caller had rights in an earlier model that it may not have in this one: it lost a role, is
    /// not active any more, does not see what it was let see, or the rules for all have changed.
    pub fn has_withdrawn(&self, before: &Self, caller: &Caller) -> bool {
        if self.position() == before.position() {
            return false;
        }
        let user = caller.user.as_ref();
        let unseen = || {
            let seen = caller.seen.as_ref().map(|seen| seen.0.lock());
            let mut seen = seen.iter().flat_map(|seen| seen.iter());
            seen.any(|(room, purpose)| self.sight_of(user, room, *purpose).is_none())
        };
        if self.rules != before.rules || unseen() {
            return true;
        }
        let Some(user) = user else {
            return false;
        };
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
