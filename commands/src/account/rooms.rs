//! What happens in rooms when an account comes or goes.

use hansard_domain::id::{RoomId, UserId};
use hansard_domain::room::{Entry, RoomCommand, RoomKind};
use serde_json::{Map, Value, json};

use crate::authorization::sight::Purpose;
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;

const OWNER: &str = "owner";

/// Lets a new account into the default rooms.
pub(super) fn join_defaults(
    decision: &mut Decision<'_>,
    user: &UserId,
) -> Result<(), CommandError> {
    let rooms: Vec<RoomId> = decision.model().default_rooms().cloned().collect();
    for room in rooms {
        let known = decision.model().room(&room);
        if known.is_none_or(|room| room.is_member(user)) {
            continue;
        }
        let at = decision.now();
        decision.room(
            &room,
            RoomCommand::Enter {
                user: user.clone(),
                entry: Entry::Assigned,
                at,
            },
        )?;
        decision.system_message_about(&room, "uj", user, user)?;
    }
    Ok(())
}

/// What becomes of the rooms of somebody who leaves them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Farewell {
    /// Rooms that this user alone owns, and who is to own them.
    pub hand_over: Vec<(RoomId, UserId)>,
    /// Rooms that nobody would be left in.
    pub remove: Vec<RoomId>,
}

impl Farewell {
    /// Of the rooms a user is in; direct conversations don't count.
    pub fn of(model: &WriteModel, user: &UserId) -> Self {
        let mut farewell = Self::default();
        let mut rooms: Vec<_> = model.rooms_of(user).collect();
        rooms.sort_unstable();
        for id in rooms {
            let Some(room) = model.room(&id).filter(|room| room.kind != RoomKind::Direct) else {
                continue;
            };
            if !room.has_role(user, OWNER) {
                if room.kind == RoomKind::Group && room.members.len() == 1 {
                    farewell.remove.push(id);
                }
                continue;
            }
            if room.holders(OWNER).count() > 1 {
                continue;
            }
            let heir = room
                .members
                .iter()
                .filter(|(member, _)| member != user)
                .filter(|(member, _)| model.account(member).is_some_and(|member| member.active))
                .min_by(|(one, since), (other, then)| (since, one).cmp(&(then, other)));
            match heir {
                Some((heir, _)) => farewell.hand_over.push((id, heir)),
                None if room.kind == RoomKind::Group => farewell.remove.push(id),
                None => {}
            }
        }
        farewell
    }

    /// Refuses to go on without the caller's word where rooms lose their last owner. Those that the caller
    /// does not know of are not named.
    pub fn check(
        &self,
        model: &WriteModel,
        caller: &Caller,
        confirmed: bool,
    ) -> Result<(), CommandError> {
        if confirmed || (self.hand_over.is_empty() && self.remove.is_empty()) {
            return Ok(());
        }
        let names = |rooms: &mut dyn Iterator<Item = &RoomId>| -> Vec<Value> {
            rooms
                .filter(|id| model.sees(caller, id, Purpose::Existence))
                .filter_map(|id| model.room(id))
                .map(|room| json!(room.details.fname))
                .collect()
        };
        let mut details = Map::new();
        let handed = names(&mut self.hand_over.iter().map(|(room, _)| room));
        details.insert("shouldChangeOwner".into(), handed.into());
        details.insert(
            "shouldBeRemoved".into(),
            names(&mut self.remove.iter()).into(),
        );
        Err(CommandError::refused_with(
            "user-last-owner",
            "",
            Value::Object(details),
        ))
    }

    /// Gives the rooms their new owners.
    pub fn hand_over(&self, decision: &mut Decision<'_>) -> Result<(), CommandError> {
        for (room, heir) in &self.hand_over {
            decision.room(
                room,
                RoomCommand::GrantRole {
                    user: heir.clone(),
                    role: OWNER.into(),
                },
            )?;
        }
        Ok(())
    }
}
