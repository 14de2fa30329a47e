//! What an operator does about accounts from the server's own machine, without an account.

use hansard_domain::account::AccountCommand;
use hansard_domain::id::UserId;

use super::hashing::Asker;
use super::password::{self, Secret};
use super::{ADMIN, existing};
use crate::bus::Commands;
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;

/// How long a one-time password is.
const LENGTH: usize = 20;

/// A password that is to be set.
#[derive(Clone)]
pub enum NewPassword {
    Chosen(String),
    /// One that is made here, and has to be changed at the next login.
    OneTime,
}

/// What has become of the account.
#[derive(Debug)]
pub struct Recovered {
    pub username: String,
    /// The password that was made here.
    pub one_time: Option<String>,
    /// Sessions and personal access tokens that have ended.
    pub ended: usize,
    pub active: bool,
}

/// Why a password can't be set.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error("there is no account '{name}'; the administrators are {administrators}")]
    Unknown {
        name: String,
        administrators: String,
    },
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// The account of a username, whatever its case, or an email address.
pub fn find(model: &WriteModel, name: &str) -> Result<UserId, RecoveryError> {
    let found = model
        .user_by_name(name)
        .or_else(|| model.user_by_email(name));
    found.cloned().ok_or_else(|| {
        let mut administrators: Vec<_> = model
            .holders(ADMIN)
            .filter_map(|user| Some(model.account(&user)?.profile.username.as_str()))
            .collect();
        administrators.sort_unstable();
        RecoveryError::Unknown {
            name: name.to_owned(),
            administrators: administrators.join(", "),
        }
    })
}

/// Sets an account's password, and ends what was opened with the one before: sessions and personal
/// access tokens. It is recorded as done by the server itself.
pub async fn set_password(
    commands: &Commands,
    name: &str,
    new: NewPassword,
) -> Result<Recovered, RecoveryError> {
    let model = commands.model();
    let user = find(&model, name)?;
    let account = existing(&model, &user)?;
    let (password, one_time) = match new {
        NewPassword::Chosen(password) => {
            password::check_policy(&model, &password)?;
            (password, None)
        }
        NewPassword::OneTime => {
            let made = commands.ids().secret(LENGTH);
            (made.clone(), Some(made))
        }
    };
    let hash = password::hash(Asker::server(), Secret::of(&password)).await?;
    let change_required = one_time.is_some();
    let setting = {
        let user = user.clone();
        move |decision: &mut Decision<'_>| {
            let change = AccountCommand::ChangePassword {
                password: hash.clone(),
                change_required,
            };
            decision.account(&user, change)?;
            let end = AccountCommand::EndSessions {
                kept: None,
                personal_access_tokens: true,
            };
            decision.account(&user, end)
        }
    };
    let caller = Caller {
        correlation: Some("hansard passwd".into()),
        ..Caller::system("passwd")
    };
    commands.run(&caller, setting).await?;
    Ok(Recovered {
        username: account.profile.username.clone(),
        one_time,
        ended: account.sessions.len() + account.personal_access_tokens.len(),
        active: account.active,
    })
}
