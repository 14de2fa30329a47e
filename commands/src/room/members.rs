//! Coming, going, being sent away, being silenced.

use hansard_domain::id::{RoomId, UserId};
use hansard_domain::room::{Entry, Room, RoomCommand, RoomKind};
use subtle::ConstantTimeEq;

use super::{existing, invalid_user, known, not_allowed, refusal};
use crate::after::RoomAfter;
use crate::authorization::sight::Purpose;
use crate::bus::{Commands, Done};
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;

/// What it weighs with the committer that one more enters a room: two events and a key, to be decided and
/// taken in by all views. Measured, as long as texts of so many bytes.
const ENTERED: usize = 4 << 10;

/// The caller becomes a member.
pub async fn join(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    code: Option<String>,
) -> Result<Done<RoomAfter>, CommandError> {
    commands
        .run(caller, move |decision| {
            let caller = decision.caller();
            let user = caller.user_id()?.clone();
            let model = decision.model();
            let found = known(model, caller, &room)?;
            let seen = model.sees(caller, &room, Purpose::Participation);
            if found.kind == RoomKind::Direct || !seen {
                return Err(not_allowed());
            }
            check_code(model, caller, (&room, found), code.as_deref())?;
            enter(decision, &room, &user, None)?;
            decision.room_after(&room)
        })
        .await
}

/// Refuses who does not get into a room without its join code.
pub fn check_code(
    model: &WriteModel,
    caller: &Caller,
    (id, room): (&RoomId, &Room),
    code: Option<&str>,
) -> Result<(), CommandError> {
    if !room.switches.join_code_required || model.allows(caller, "join-without-join-code", None) {
        return Ok(());
    }
    match code.filter(|code| !code.is_empty()) {
        None => Err(CommandError::refused(
            "error-code-required",
            "Code required",
        )),
        Some(code) => {
            let expected = room.details.join_code.as_deref().unwrap_or_default();
            let right = bool::from(expected.as_bytes().ct_eq(code.as_bytes()));
            // Who guesses is on the audit.
            let wrong = || {
                let wrong = CommandError::denied("error-code-invalid", "Invalid code");
                wrong.denied_in(id)
            };
            right.then_some(()).ok_or_else(wrong)
        }
    }
}

/// Somebody becomes a member, by itself or through somebody; nothing happens if it is one.
pub fn enter(
    decision: &mut Decision<'_>,
    room: &RoomId,
    user: &UserId,
    by: Option<&UserId>,
) -> Result<(), CommandError> {
    let found = existing(decision.model(), room)?;
    if found.is_member(user) {
        return Ok(());
    }
    let discussion = found.parent.is_some();
    let entry = by.map_or(Entry::Joined, |by| Entry::Added { by: by.clone() });
    let at = decision.now();
    let user = user.clone();
    decision.room(
        room,
        RoomCommand::Enter {
            user: user.clone(),
            entry,
            at,
        },
    )?;
    match by {
        Some(by) => decision.system_message_about(room, "au", by, &user)?,
        None if discussion => decision.system_message_about(room, "ut", &user, &user)?,
        None => decision.system_message_about(room, "uj", &user, &user)?,
    };
    Ok(())
}

/// Makes others members: with `add-user-to-joined-room` in a room of one's own, otherwise with the
/// permission for rooms of its kind.
pub async fn invite(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    users: Vec<UserId>,
) -> Result<Done<RoomAfter>, CommandError> {
    let weight = users.len().saturating_mul(ENTERED);
    commands
        .run_heavy(caller, weight, move |decision| {
            let caller = decision.caller();
            let me = caller.user_id()?.clone();
            let model = decision.model();
            let found = existing(model, &room)?;
            let anywhere = match found.kind {
                RoomKind::Direct => {
                    let refused = CommandError::refused(
                        "error-cant-invite-for-direct-room",
                        "Can't invite user to direct rooms",
                    );
                    return Err(refusal(model, caller, &room, refused));
                }
                RoomKind::Channel => "add-user-to-any-c-room",
                RoomKind::Group => "add-user-to-any-p-room",
            };
            let here = found.is_member(&me)
                && model.allows(caller, "add-user-to-joined-room", Some(&room));
            if !here && !model.allows(caller, anywhere, None) {
                return Err(refusal(model, caller, &room, not_allowed()));
            }
            if users.iter().any(|user| model.account(user).is_none()) {
                return Err(CommandError::refused(
                    "error-invalid-username",
                    "Invalid username",
                ));
            }
            for user in &users {
                enter(decision, &room, user, Some(&me))?;
            }
            decision.room_after(&room)
        })
        .await
}

/// Makes everybody a member (`add-all-to-room`).
pub async fn add_everybody(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    active_only: bool,
) -> Result<Done<RoomAfter>, CommandError> {
    let weight = commands.model().accounts().count().saturating_mul(ENTERED);
    commands
        .run_heavy(caller, weight, move |decision| {
            let caller = decision.caller();
            let model = decision.model();
            model.require_or(
                caller,
                "add-all-to-room",
                None,
                "403",
                "Access to Method Forbidden",
            )?;
            let mut users: Vec<_> = model
                .accounts()
                .filter(|(_, account)| account.active || !active_only)
                .map(|(user, _)| user.clone())
                .collect();
            if users.len() as i64 > model.number("API_User_Limit") {
                return Err(CommandError::refused(
                    "error-user-limit-exceeded",
                    "User Limit Exceeded",
                ));
            }
            existing(model, &room)?;
            users.sort();
            for user in &users {
                enter(decision, &room, user, None)?;
            }
            decision.room_after(&room)
        })
        .await
}

/// The caller is a member no more.
pub async fn leave(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
) -> Result<Done<RoomAfter>, CommandError> {
    commands
        .run(caller, move |decision| {
            let caller = decision.caller();
            let user = caller.user_id()?.clone();
            let model = decision.model();
            let found = known(model, caller, &room)?;
            let permission = match found.kind {
                RoomKind::Direct => return Err(not_allowed()),
                RoomKind::Channel => "leave-c",
                RoomKind::Group => "leave-p",
            };
            model.require_or(caller, permission, None, "error-not-allowed", "Not allowed")?;
            if !found.is_member(&user) {
                return Err(CommandError::refused(
                    "error-user-not-in-room",
                    "You are not in this room",
                ));
            }
            check_owner(found, &user)?;
            decision.system_message_about(&room, "ul", &user, &user)?;
            decision.room(&room, RoomCommand::Leave { user })?;
            decision.room_after(&room)
        })
        .await
}

/// A room keeps its last owner.
fn check_owner(room: &Room, user: &UserId) -> Result<(), CommandError> {
    if room.has_role(user, "owner") && room.holders("owner").count() == 1 {
        return Err(CommandError::refused(
            "error-you-are-last-owner",
            "You are the last owner. Please set new owner before leaving the room.",
        ));
    }
    Ok(())
}

/// Sends a member away (`remove-user`).
pub async fn kick(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    user: UserId,
) -> Result<Done<RoomAfter>, CommandError> {
    commands
        .run(caller, move |decision| {
            let caller = decision.caller();
            let me = caller.user_id()?.clone();
            let model = decision.model();
            model.require_or(
                caller,
                "remove-user",
                Some(&room),
                "error-not-allowed",
                "Not allowed",
            )?;
            let found = existing(model, &room)?;
            let from_any = match found.kind {
                RoomKind::Direct => return Err(not_allowed()),
                RoomKind::Channel => "kick-user-from-any-c-room",
                RoomKind::Group => "kick-user-from-any-p-room",
            };
            let any = model.allows(caller, from_any, None);
            if !any && !model.sees(caller, &room, Purpose::Particulars) {
                return Err(CommandError::denied(
                    "error-room-not-found",
                    "The required \"roomId\" or \"roomName\" param provided does not match any group",
                ));
            }
            if !found.is_member(&user) {
                if any {
                    return decision.room_after(&room);
                }
                return Err(CommandError::refused(
                    "error-user-not-in-room",
                    "User is not in this room",
                ));
            }
            check_owner(found, &user)?;
            decision.system_message_about(&room, "ru", &me, &user)?;
            let user = user.clone();
            decision.room(&room, RoomCommand::Remove { user, by: Some(me) })?;
            decision.room_after(&room)
        })
        .await
}

/// Silences a member (`mute-user`).
pub async fn mute(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    user: UserId,
) -> Result<(), CommandError> {
    silence(commands, caller, room, user, true).await
}

/// Lets somebody speak again that was silenced as a member (`mute-user`).
pub async fn unmute(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    user: UserId,
) -> Result<(), CommandError> {
    silence(commands, caller, room, user, false).await
}

async fn silence(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    user: UserId,
    silent: bool,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            let caller = decision.caller();
            let me = caller.user_id()?.clone();
            let model = decision.model();
            model.require_or(
                caller,
                "mute-user",
                Some(&room),
                "error-not-allowed",
                "Not allowed",
            )?;
            let found = existing(model, &room)?;
            if found.kind == RoomKind::Direct {
                return Err(CommandError::refused(
                    "error-invalid-room-type",
                    "d is not a valid room type",
                ));
            }
            // Who left is muted still, and may be heard again.
            let reached = found.is_member(&user) || !silent && found.muted.contains(&user);
            if !reached {
                return Err(CommandError::refused(
                    "error-user-not-in-room",
                    "User is not in this room",
                ));
            }
            model.account(&user).ok_or_else(invalid_user)?;
            let already = if silent {
                found.muted.contains(&user)
            } else {
                !found.is_silent(&user)
            };
            let (kind, command) = if silent {
                ("user-muted", RoomCommand::Mute { user: user.clone() })
            } else {
                ("user-unmuted", RoomCommand::Unmute { user: user.clone() })
            };
            if !already {
                decision.room(&room, command)?;
            }
            decision.system_message_about(&room, kind, &me, &user)?;
            Ok(())
        })
        .await?;
    Ok(())
}
