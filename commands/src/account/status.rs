//! Whether an account may be used, and what its user wants to be seen as.

use hansard_domain::account::{AccountCommand, DeactivationReason, Presence};
use hansard_domain::id::{RoleId, Timestamp, UserId};

use super::create::status_text;
use super::rooms::Farewell;
use super::{existing, is_last_admin};
use crate::after::AccountAfter;
use crate::bus::{Commands, Done};
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Activates or deactivates an account. One that alone owns rooms is deactivated only if that is
/// `confirmed`: the rooms get other owners.
pub async fn set_active(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
    active: bool,
    confirmed: bool,
) -> Result<Done<AccountAfter>, CommandError> {
    commands
        .run(caller, move |decision| {
            let model = decision.model();
            let may = ["edit-other-user-active-status", "manage-moderation-actions"]
                .iter()
                .any(|permission| model.allows(decision.caller(), permission, None));
            if !may {
                decision.caller().user_id()?;
                return Err(CommandError::unauthorized(
                    "edit-other-user-active-status",
                    None,
                ));
            }
            change_active(decision, &user, active, confirmed)?;
            decision.account_after(&user)
        })
        .await
}

pub(super) fn change_active(
    decision: &mut Decision<'_>,
    user: &UserId,
    active: bool,
    confirmed: bool,
) -> Result<(), CommandError> {
    let model = decision.model();
    existing(model, user)?;
    if active {
        return decision.account(user, AccountCommand::Activate);
    }
    if is_last_admin(model, user) {
        return Err(CommandError::refused(
            "error-action-not-allowed",
            "Leaving the app without an active admin is not allowed",
        ));
    }
    let farewell = Farewell::of(model, user);
    farewell.check(model, decision.caller(), confirmed)?;
    farewell.hand_over(decision)?;
    decision.account(
        user,
        AccountCommand::Deactivate(DeactivationReason::ByAdministrator),
    )
}

/// Deactivates those who have a role and have not logged in for so many days; answers how many.
/// Who never logged in is idle since the account was made. The last administrator stays.
pub async fn deactivate_idle(
    commands: &Commands,
    caller: &Caller,
    days: u64,
    role: RoleId,
) -> Result<u64, CommandError> {
    let done = commands
        .run(caller, move |decision| {
            let permission = "edit-other-user-active-status";
            let model = decision.model();
            if !model.allows(decision.caller(), permission, None) {
                decision.caller().user_id()?;
                return Err(CommandError::unauthorized(permission, None));
            }
            let span = i64::try_from(days).unwrap_or(i64::MAX).saturating_mul(DAY);
            let limit = Timestamp(decision.now().0.saturating_sub(span));
            let mut idle: Vec<UserId> = model
                .holders(role.as_str())
                .filter(|user| {
                    let account = model.account(user).filter(|account| account.active);
                    account.is_some_and(|account| {
                        account.last_login.unwrap_or(account.created) <= limit
                    })
                })
                .collect();
            idle.sort_unstable();
            let mut count = 0;
            for user in idle {
                if !is_last_admin(decision.model(), &user) {
                    let reason = DeactivationReason::Idle;
                    decision.account(&user, AccountCommand::Deactivate(reason))?;
                    count += 1;
                }
            }
            Ok(count)
        })
        .await?;
    Ok(done.answer)
}

/// Sets what a user is seen as and the text beside it; of another one it takes
/// `edit-other-user-info`.
pub async fn set_status(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
    presence: Option<Presence>,
    text: Option<String>,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            let model = decision.model();
            if !model.flag("Accounts_AllowUserStatusMessageChange") {
                return Err(CommandError::refused(
                    "error-not-allowed",
                    "Change status is not allowed",
                ));
            }
            if decision.caller().user.as_ref() != Some(&user)
                && !model.allows(decision.caller(), "edit-other-user-info", None)
            {
                return Err(CommandError::unauthorized("edit-other-user-info", None));
            }
            change_status(decision, &user, presence, text.as_deref())
        })
        .await?;
    Ok(())
}

pub(super) fn change_status(
    decision: &mut Decision<'_>,
    user: &UserId,
    presence: Option<Presence>,
    text: Option<&str>,
) -> Result<(), CommandError> {
    let model = decision.model();
    let invisible = model.flag("Accounts_AllowInvisibleStatusOption");
    if presence == Some(Presence::Offline) && !invisible {
        return Err(CommandError::refused(
            "error-status-not-allowed",
            "Invisible status is disabled",
        ));
    }
    if let Some(text) = text {
        let mut profile = existing(model, user)?.profile.clone();
        profile.status_text = status_text(text);
        decision.account(user, AccountCommand::ChangeProfile(profile))?;
    }
    if let Some(presence) = presence {
        decision.account(user, AccountCommand::ChoosePresence(presence))?;
    }
    Ok(())
}
