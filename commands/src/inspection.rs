//! Looks into rooms by right of a permission: they go on the audit before anything is shown.

use hansard_domain::audit::AuditEvent;
use hansard_domain::id::{RoomId, UserId};

use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;

/// What somebody saw that it would not have seen as a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The permission that showed it.
    pub permission: &'static str,
    /// The room that was looked into; none for a list of rooms.
    pub room: Option<RoomId>,
    /// Whose rooms or counters were asked for, where they are not the caller's own.
    pub user: Option<UserId>,
    /// How many rooms or messages are shown.
    pub shown: u64,
}

/// So many rooms that were looked into at once are named, each by an event of its own.
const NAMED: usize = 50;

/// Puts a look into several rooms on the record: each of them, where they are not too many to be named.
pub async fn record_each(
    commands: &Commands,
    caller: &Caller,
    rooms: &[RoomId],
    inspection: Inspection,
) -> Result<(), CommandError> {
    if rooms.is_empty() || rooms.len() > NAMED {
        return record(commands, caller, inspection).await;
    }
    let looks = rooms.iter().map(|room| Inspection {
        room: Some(room.clone()),
        shown: 1,
        ..inspection.clone()
    });
    record_all(commands, caller, looks.collect()).await
}

/// Puts a look on the record, under the name of the operation that the caller asked for.
pub async fn record(
    commands: &Commands,
    caller: &Caller,
    inspection: Inspection,
) -> Result<(), CommandError> {
    record_all(commands, caller, vec![inspection]).await
}

async fn record_all(
    commands: &Commands,
    caller: &Caller,
    looks: Vec<Inspection>,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            let action = decision.caller().action.to_string();
            for look in looks.clone() {
                decision.audit(AuditEvent::RoomsInspected {
                    action: action.clone(),
                    permission: look.permission.to_owned(),
                    room: look.room,
                    user: look.user,
                    shown: look.shown,
                });
            }
            Ok(())
        })
        .await?;
    Ok(())
}
