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

/// Puts a look on the record, under the name of the operation that the caller asked for.
pub async fn record(
    commands: &Commands,
    caller: &Caller,
    inspection: Inspection,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            let Inspection {
                permission,
                room,
                user,
                shown,
            } = inspection.clone();
            decision.audit(AuditEvent::RoomsInspected {
                action: decision.caller().action.to_string(),
                permission: permission.to_owned(),
                room,
                user,
                shown,
            });
            Ok(())
        })
        .await?;
    Ok(())
}
