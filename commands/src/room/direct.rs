//! Direct conversations, also between several people and with oneself.

use hansard_domain::audit::AuditEvent;
use hansard_domain::id::{RoomId, UserId};
use hansard_domain::limit;
use hansard_domain::room::{RoomCommand, RoomDetails, RoomKind, RoomSwitches};
use hansard_domain::subscription::SubscriptionCommand;

use super::create::check_made;
use super::{invalid_user, not_allowed};
use crate::after::RoomAfter;
use crate::authorization::sight::ADMINISTRATION;
use crate::bus::{Commands, Done};
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;
use crate::retried::retried;
use crate::subscription::{LoadedSubscription, stream};

/// Opens the conversation between the caller and those of these usernames, or, without the caller,
/// between those alone; answers the one that there is. Between others only who administers rooms does
/// that, and it is on the audit: it tells who talks with whom.
pub async fn direct(
    commands: &Commands,
    caller: &Caller,
    usernames: Vec<String>,
    exclude_self: bool,
) -> Result<Done<RoomAfter>, CommandError> {
    limit::MEMBERS
        .check_count(usernames.len())
        .map_err(|excess| excess.of("usernames"))?;
    retried(async || {
        let loaded = match participants(&commands.model(), caller, &usernames, exclude_self) {
            Ok(participants) => own(commands, caller, &participants).await?,
            Err(_) => None,
        };
        let usernames = usernames.clone();
        let opened = commands.run(caller, move |decision| {
            let caller = decision.caller();
            let participants = participants(decision.model(), caller, &usernames, exclude_self)?;
            let takes_part = participants.contains(caller.user_id()?);
            if !takes_part {
                decision.model().require_or(
                    caller,
                    ADMINISTRATION,
                    None,
                    "error-not-allowed",
                    "Not allowed",
                )?;
            }
            let action = caller.action.to_string();
            let room = open_direct(decision, &participants, loaded.as_ref())?;
            if !takes_part {
                decision.audit(AuditEvent::RoomsInspected {
                    action,
                    permission: ADMINISTRATION.to_owned(),
                    room: Some(room.clone()),
                    user: None,
                    shown: 1,
                });
            }
            decision.room_after(&room)
        });
        opened.await
    })
    .await
}

/// What the caller keeps about the conversation between exactly these, if there is one.
pub(crate) async fn own(
    commands: &Commands,
    caller: &Caller,
    participants: &[UserId],
) -> Result<Option<LoadedSubscription>, CommandError> {
    let me = caller.user_id()?;
    let found = commands.model().direct_room(participants).cloned();
    match found.filter(|_| participants.contains(me)) {
        Some(room) => commands.subscription(&room, me).await.map(Some),
        None => Ok(None),
    }
}

fn participants(
    model: &WriteModel,
    caller: &Caller,
    usernames: &[String],
    exclude_self: bool,
) -> Result<Vec<UserId>, CommandError> {
    let me = caller.user_id()?;
    let own = super::username(model, me);
    let to_oneself = matches!(usernames, [one] if *one == own);
    if to_oneself && !model.flag("Message_AllowDirectMessagesToYourself") {
        return Err(invalid_user());
    }
    let mut participants = usernames
        .iter()
        .filter(|username| **username != own)
        .map(|username| {
            model
                .user_by_name(username)
                .cloned()
                .ok_or_else(invalid_user)
        })
        .collect::<Result<Vec<_>, _>>()?;
    if !exclude_self {
        participants.push(me.clone());
    }
    participants.sort();
    participants.dedup();
    if participants.len() == 1 && participants[0] != *me {
        return Err(invalid_user());
    }
    Ok(participants)
}

/// The conversation between exactly these, which is opened for the caller, or made if there is none
/// (`create-d`). `loaded` is what the caller [keeps about it](own); where that is not known the command
/// conflicts.
pub fn open_direct(
    decision: &mut Decision<'_>,
    participants: &[UserId],
    loaded: Option<&LoadedSubscription>,
) -> Result<RoomId, CommandError> {
    let caller = decision.caller();
    let model = decision.model();
    let found = model.direct_room(participants).cloned();
    if !model.allows(caller, "create-d", None) {
        let known = found.filter(|_| model.allows(caller, "view-d-room", None));
        return known.ok_or_else(not_allowed);
    }
    let most = model.number("DirectMesssage_maxUsers").max(1);
    if participants.len() as i64 > most {
        return Err(CommandError::refused(
            "error-direct-message-max-user-exceeded",
            format!(
                "You cannot add more than {most} users, including yourself to a direct message"
            ),
        ));
    }
    let me = caller.user_id()?;
    let takes_part = participants.contains(me);
    if let Some(room) = found {
        if takes_part {
            let loaded = loaded.filter(|loaded| *loaded.room() == room && loaded.user() == me);
            let made_meanwhile = || CommandError::Conflict(stream(&room, me));
            let loaded = loaded.ok_or_else(made_meanwhile)?;
            decision.subscription(loaded, SubscriptionCommand::Open)?;
        }
        return Ok(room);
    }
    // Of those of two there are no more than there are people.
    if takes_part && participants.len() > 2 {
        check_made(model, caller, me)?;
    }
    let encrypted = model.flag("E2E_Enable") && model.flag("E2E_Enabled_Default_DirectRooms");
    let room = fresh_id(decision, participants);
    let create = RoomCommand::Create {
        key: decision.fresh_key()?,
        kind: RoomKind::Direct,
        creator: takes_part.then(|| me.clone()),
        members: participants
            .iter()
            .filter(|user| *user != me)
            .cloned()
            .collect(),
        switches: RoomSwitches {
            encrypted,
            ..RoomSwitches::default()
        },
        parent: None,
        details: RoomDetails::default(),
        at: decision.now(),
    };
    decision.room(&room, create)?;
    Ok(room)
}

/// Rocket.Chat's id of a conversation of two is made of theirs, unless that one has been deleted.
fn fresh_id(decision: &Decision<'_>, participants: &[UserId]) -> RoomId {
    let mut ids: Vec<_> = participants.iter().map(UserId::as_str).collect();
    ids.sort_unstable();
    match RoomId::parse(&ids.concat()) {
        Ok(id) if ids.len() == 2 && !decision.model().knows_room(id.as_str()) => id,
        _ => RoomId::new(decision.id()),
    }
}
