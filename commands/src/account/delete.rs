//! The end of an account.
//!
//! What it leaves behind follows `Message_ErasureType`: its messages are deleted, or stay without a
//! name to them once the account's key is shredded.

use hansard_domain::account::AccountCommand;
use hansard_domain::claim::Namespace;
use hansard_domain::id::{RoomId, UserId};
use hansard_domain::room::RoomCommand;

use super::password::{self, Secret};
use super::rooms::Farewell;
use super::{existing, is_last_admin};
use crate::bootstrap::SYSTEM_ACCOUNT;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;

/// Deletes somebody's account. One that alone owns rooms goes only if that is `confirmed`: the
/// rooms get other owners, or go too if nobody is left in them.
pub async fn delete(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
    confirmed: bool,
) -> Result<(), CommandError> {
    let permission = "delete-user";
    let model = commands.model();
    if !model.allows(caller, permission, None) {
        caller.user_id()?;
        return Err(CommandError::unauthorized(permission, None));
    }
    if model.account(&user).is_none() {
        return Err(CommandError::refused(
            "error-invalid-user",
            "Invalid user to delete",
        ));
    }
    erase(commands, caller, user, confirmed).await
}

/// Deletes the caller's own account; `digest` is the hexadecimal SHA-256 of its password.
pub async fn delete_own(
    commands: &Commands,
    caller: &Caller,
    digest: &str,
    confirmed: bool,
) -> Result<(), CommandError> {
    let user = caller.user_id()?.clone();
    let hash = {
        let model = commands.model();
        if !model.flag("Accounts_AllowDeleteOwnAccount") {
            return Err(CommandError::refused("error-not-allowed", "Not allowed"));
        }
        existing(&model, &user)?.password.clone()
    };
    let secret = Secret::of_digest(digest).unwrap_or_else(|| Secret::of(digest));
    if !password::verify(secret, hash).await? {
        return Err(CommandError::refused(
            "error-invalid-password",
            "Invalid password",
        ));
    }
    erase(commands, caller, user, confirmed).await
}

fn check(model: &WriteModel, user: &UserId, confirmed: bool) -> Result<Farewell, CommandError> {
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
    farewell.check(model, confirmed)?;
    Ok(farewell)
}

async fn erase(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
    confirmed: bool,
) -> Result<(), CommandError> {
    check(&commands.model(), &user, confirmed)?;
    commands
        .run(caller, move |decision| {
            let farewell = check(decision.model(), &user, confirmed)?;
            farewell.hand_over(decision)?;
            leave_rooms(decision, &user, &farewell)?;
            let profile = existing(decision.model(), &user)?.profile.clone();
            decision.release(Namespace::Username, &profile.username, user.as_str())?;
            for email in &profile.emails {
                decision.release(Namespace::Email, &email.address, user.as_str())?;
            }
            decision.account(&user, AccountCommand::Delete)
        })
        .await?;
    Ok(())
}

fn leave_rooms(
    decision: &mut Decision<'_>,
    user: &UserId,
    farewell: &Farewell,
) -> Result<(), CommandError> {
    let rooms: Vec<RoomId> = decision.model().rooms_of(user).cloned().collect();
    for room in rooms {
        if farewell.remove.contains(&room) {
            continue;
        }
        decision.room(
            &room,
            RoomCommand::Remove {
                user: user.clone(),
                by: None,
            },
        )?;
    }
    Ok(())
}
