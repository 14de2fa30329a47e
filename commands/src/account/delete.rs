//! The end of an account.
//!
//! What it said follows `Message_ErasureType`: `Delete` erases it; `Unlink` shows the server's own
//! account by it; otherwise it stays as it is, and nobody's name stands by it once the account's key
//! is shredded. Conversations of two and private groups that nobody is left in go with the account.
//!
//! The account is gone at once; texts are erased by the [eraser](crate::eraser) after it.

use hansard_domain::account::{AccountCommand, MessageErasure};
use hansard_domain::claim::Namespace;
use hansard_domain::id::{RoomId, UserId};
use hansard_domain::log::Position;
use hansard_domain::room::{RoomCommand, RoomKind};

use super::guessing::FailedLogins;
use super::password::Secret;
use super::rooms::Farewell;
use super::{existing, is_last_admin, login};
use crate::bootstrap::SYSTEM_ACCOUNT;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;
use crate::setting;

/// Refuses who may not delete accounts.
pub fn check_may_delete(model: &WriteModel, caller: &Caller) -> Result<(), CommandError> {
    let permission = "delete-user";
    if model.allows(caller, permission, None) {
        return Ok(());
    }
    caller.user_id()?;
    Err(CommandError::unauthorized(permission, None))
}

/// Deletes somebody's account, and answers where that stands in the log. One that alone owns rooms goes only if that is `confirmed`: the
/// rooms get other owners, or go too if nobody is left in them.
pub async fn delete(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
    confirmed: bool,
) -> Result<Option<Position>, CommandError> {
    {
        let model = commands.model();
        check_may_delete(&model, caller)?;
        if model.account(&user).is_none() {
            return Err(CommandError::refused(
                "error-invalid-user",
                "Invalid user to delete",
            ));
        }
    }
    erase(commands, caller, user, confirmed, check_may_delete).await
}

/// Deletes the caller's own account; `digest` is the hexadecimal SHA-256 of its password.
pub async fn delete_own(
    commands: &Commands,
    failed: &FailedLogins,
    caller: &Caller,
    digest: &str,
    confirmed: bool,
) -> Result<Option<Position>, CommandError> {
    let user = caller.user_id()?.clone();
    check_own(&commands.model(), caller)?;
    let secret = Secret::of_digest(digest).unwrap_or_else(|| Secret::of(digest));
    if !login::confirm(commands, failed, caller, secret).await? {
        return Err(CommandError::refused(
            "error-invalid-password",
            "Invalid password",
        ));
    }
    erase(commands, caller, user, confirmed, check_own).await
}

fn check_own(model: &WriteModel, _: &Caller) -> Result<(), CommandError> {
    if model.flag("Accounts_AllowDeleteOwnAccount") {
        return Ok(());
    }
    Err(CommandError::refused("error-not-allowed", "Not allowed"))
}

fn check(
    model: &WriteModel,
    caller: &Caller,
    user: &UserId,
    confirmed: bool,
) -> Result<Farewell, CommandError> {
    existing(model, user)?;
    if user.as_str() == SYSTEM_ACCOUNT {
        return Err(CommandError::refused(
            "error-action-not-allowed",
            "Deleting the rocket.cat user is not allowed",
        ));
    }
    if is_last_admin(model, user) {
        return Err(CommandError::refused(
            "error-action-not-allowed",
            "Leaving the app without admins is not allowed",
        ));
    }
    let farewell = Farewell::of(model, user);
    farewell.check(model, caller, confirmed)?;
    Ok(farewell)
}

/// One commit: whoever says something before it is erased with it, and nobody does after it.
async fn erase(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
    confirmed: bool,
    may: fn(&WriteModel, &Caller) -> Result<(), CommandError>,
) -> Result<Option<Position>, CommandError> {
    let done = commands.run(caller, move |decision| {
        may(decision.model(), decision.caller())?;
        let farewell = check(decision.model(), decision.caller(), &user, confirmed)?;
        farewell.hand_over(decision)?;
        leave_rooms(decision, &user, &farewell)?;
        let account = existing(decision.model(), &user)?;
        let (profile, lost) = (account.profile.clone(), account.lost);
        if lost {
            decision.release_all(user.as_str())?;
        }
        decision.release(Namespace::Username, &profile.username, user.as_str())?;
        for email in &profile.emails {
            decision.release(Namespace::Email, &email.address, user.as_str())?;
        }
        setting::require_known(decision.model(), "Message_ErasureType")?;
        let messages = match decision.model().text("Message_ErasureType").as_str() {
            "Delete" => MessageErasure::Delete,
            "Unlink" => MessageErasure::Unlink,
            _ => MessageErasure::Keep,
        };
        decision.account(&user, AccountCommand::Delete(messages))
    });
    let batch = done.await?.batch;
    Ok(batch.and_then(|batch| batch.last().map(|entry| entry.position)))
}

/// The rooms that go with the account.
fn doomed(model: &WriteModel, user: &UserId, farewell: &Farewell) -> Vec<RoomId> {
    let of_two = |id: &RoomId| {
        model
            .room(id)
            .is_some_and(|room| room.kind == RoomKind::Direct && room.participants.len() <= 2)
    };
    let mut rooms = farewell.remove.clone();
    rooms.extend(model.rooms_of(user).filter(of_two));
    rooms.sort_unstable();
    rooms
}

fn leave_rooms(
    decision: &mut Decision<'_>,
    user: &UserId,
    farewell: &Farewell,
) -> Result<(), CommandError> {
    let doomed = doomed(decision.model(), user, farewell);
    for room in &doomed {
        let Some(name) = decision
            .model()
            .room(room)
            .map(|room| room.details.name.clone())
        else {
            continue;
        };
        if !name.is_empty() {
            decision.release(Namespace::Room, &name, room.as_str())?;
        }
        decision.room(room, RoomCommand::Delete)?;
    }
    let mut rooms: Vec<RoomId> = decision.model().rooms_of(user).collect();
    rooms.sort_unstable();
    for room in rooms {
        let (user, by) = (user.clone(), None);
        decision.room(&room, RoomCommand::Remove { user, by })?;
    }
    Ok(())
}
