//! Logging in and out, and giving one's password again.
//!
//! An unknown name and a wrong password look the same from outside: in what is answered, in how long
//! it takes, and in when an attempt is blocked.

use hansard_domain::account::{AccountCommand, LoginMethod, PasswordHash};
use hansard_domain::audit::AuditEvent;
use hansard_domain::fair;
use hansard_domain::id::{Timestamp, UserId};
use hansard_domain::limit;
use hansard_domain::log::Actor;
use hansard_domain::seal::Private;

use super::guessing::{Attempt, Called, FailedLogins, Tried};
use super::hashing::Asker;
use super::password::Secret;
use super::token::{AuthToken, Opened, expiry, open};
use super::{existing, password, token};
use crate::after::AccountAfter;
use crate::bus::{Commands, Done};
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;

/// How a client says who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    Username(String),
    Email(String),
}

impl Name {
    fn as_str(&self) -> &str {
        match self {
            Self::Username(name) | Self::Email(name) => name,
        }
    }

    fn called(&self) -> Called {
        match self {
            Self::Username(_) => Called::ByUsername,
            Self::Email(_) => Called::ByEmail,
        }
    }

    fn find(&self, model: &WriteModel) -> Option<UserId> {
        match self {
            Self::Username(name) => model.user_by_name(name).cloned(),
            Self::Email(address) => model.user_by_email(address).cloned(),
        }
    }
}

/// Why somebody is not logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No such account, not its password, or a token that is not good (any more).
    #[error("who logs in is not known, or not by this")]
    Unauthorized,
    /// A rule says no, though the password may be right.
    #[error("{reason} [{code}]")]
    Refused {
        code: &'static str,
        reason: &'static str,
    },
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Logs in by name and password.
pub async fn with_password(
    commands: &Commands,
    failed: &FailedLogins,
    caller: &Caller,
    name: Name,
    secret: Secret,
) -> Result<Opened, LoginError> {
    limit::LOGIN_NAME
        .check(name.as_str())
        .map_err(CommandError::from)?;
    let user = name.find(&commands.model());
    let whose = match &user {
        Some(user) => Whose::Account(user.clone(), name.called()),
        None => Whose::Nobodys(commands.unknown_name(&name)),
    };
    let tried = match &whose {
        Whose::Account(user, called) => Tried::Account(user, *called),
        Whose::Nobodys(name) => Tried::Name(name),
    };
    let attempt = failed.admit(commands, tried, caller.network()).await?;
    let network = caller.network();
    let (hash, known) = {
        let model = commands.model();
        let account = user.as_ref().and_then(|user| model.account(user));
        let hash = account.and_then(|account| account.password.clone());
        (hash, account.is_some_and(|account| account.knows(network)))
    };
    let asker = match &user {
        Some(user) if known => Asker::at_home(user.clone(), network),
        _ => Asker::stranger(network),
    };
    let right = password::verify(asker, secret, hash.clone()).await?;
    let Some(user) = user.as_ref().filter(|_| right) else {
        record_failure(commands, failed, caller, whose, None).await?;
        return Err(LoginError::Unauthorized);
    };
    if let Err(error) = check_may_log_in(&commands.model(), user) {
        // Somebody knows the password of an account that nobody may use.
        record_failure(
            commands,
            failed,
            caller,
            whose,
            Some(caller.action.to_string()),
        )
        .await?;
        return Err(error);
    }
    drop(attempt);
    let opened = enter(commands, caller, user, hash).await?;
    opened.ok_or(LoginError::Unauthorized)
}

/// Whether the caller knows the password of its own account, which some operations ask for again. A
/// wrong one is counted and put on the record like that of a login.
pub async fn confirm(
    commands: &Commands,
    failed: &FailedLogins,
    caller: &Caller,
    secret: Secret,
) -> Result<bool, CommandError> {
    let _attempt = admit_own(commands, failed, caller).await?;
    let hash = existing(&commands.model(), caller.user_id()?)?
        .password
        .clone();
    let right = password::verify(Asker::of(caller), secret, hash).await?;
    if !right {
        failed_own(commands, failed, caller).await?;
    }
    Ok(right)
}

/// Lets the caller try the password of its own account, for as long as the answer is there; refuses it where
/// it was wrong too often.
pub(super) async fn admit_own<'a>(
    commands: &Commands,
    failed: &'a FailedLogins,
    caller: &Caller,
) -> Result<Attempt<'a>, CommandError> {
    let tried = Tried::Account(caller.user_id()?, Called::ByUsername);
    let attempt = failed.admit(commands, tried, caller.network()).await;
    attempt.map_err(|error| match error {
        LoginError::Refused { code, reason } => CommandError::refused(code, reason),
        LoginError::Command(error) => error,
        LoginError::Unauthorized => CommandError::NotLoggedIn,
    })
}

/// Counts and records that the caller did not know the password of its own account.
pub(super) async fn failed_own(
    commands: &Commands,
    failed: &FailedLogins,
    caller: &Caller,
) -> Result<(), CommandError> {
    let operation = Some(caller.action.to_string());
    let whose = Whose::Account(caller.user_id()?.clone(), Called::ByUsername);
    record_failure(commands, failed, caller, whose, operation).await
}

/// Whose password was tried in vain.
enum Whose {
    Account(UserId, Called),
    /// A name that nobody has, [hashed](Commands::unknown_name).
    Nobodys(String),
}

async fn record_failure(
    commands: &Commands,
    failed: &FailedLogins,
    caller: &Caller,
    whose: Whose,
    operation: Option<String>,
) -> Result<(), CommandError> {
    let caller = &caller.even_if_logged_out();
    let recording = commands.run(caller, move |decision| {
        let at = decision.clock();
        match &whose {
            Whose::Account(user, called) => {
                let failed = AccountCommand::RecordFailedLogin {
                    at,
                    from: decision.caller().network(),
                    operation: operation.clone(),
                    by_email: *called == Called::ByEmail,
                };
                decision.account(user, failed)
            }
            Whose::Nobodys(name) => {
                let key = decision.fresh_key()?;
                let name = Private::new(key, name.clone());
                decision.audit(AuditEvent::UnknownLoginFailed { name });
                Ok(())
            }
        }
    });
    let done = fair::as_the_server(recording).await?;
    failed.recorded(done.batch.as_ref());
    Ok(())
}

/// What may keep somebody out who knows the password.
fn check_may_log_in(model: &WriteModel, user: &UserId) -> Result<(), LoginError> {
    let Some(account) = model.account(user) else {
        return Err(LoginError::Unauthorized);
    };
    if !account.active {
        return Err(LoginError::Refused {
            code: "error-user-is-not-activated",
            reason: "User is not activated",
        });
    }
    let verified = account.profile.emails.iter().any(|email| email.verified);
    let exempt = verified || account.has_role(super::ADMIN);
    let verification = "Accounts_EmailVerification";
    if (model.flag(verification) || model.is_lost(verification)) && !exempt {
        return Err(LoginError::Refused {
            code: "error-invalid-email",
            reason: "Invalid email __email__",
        });
    }
    Ok(())
}

/// The caller of a login is the user who logs in, from where the request came; the session that the
/// request may have come with is not that of the login.
fn as_user(caller: &Caller, user: &UserId) -> Caller {
    Caller {
        actor: Actor::User(user.clone()),
        user: Some(user.clone()),
        token: None,
        ..caller.clone()
    }
}

/// Opens a session for who knew the password; none if that is another one by now.
async fn enter(
    commands: &Commands,
    caller: &Caller,
    user: &UserId,
    known: Option<PasswordHash>,
) -> Result<Option<Opened>, CommandError> {
    let token = AuthToken::fresh(commands.ids());
    let (id, hash) = (user.clone(), token.hash());
    let opened = commands
        .run(&as_user(caller, user), move |decision| {
            let model = decision.model();
            if existing(model, &id)?.password != known {
                return Ok(None);
            }
            let expires = expiry(model, decision.now());
            open(decision, &id, LoginMethod::Password, hash.clone(), expires)?;
            decision.account_after(&id).map(Some)
        })
        .await?;
    let Done { answer, batch } = opened;
    Ok(answer.map(|answer| Opened::with(token, Done { answer, batch })))
}

/// Goes on with a session that an earlier login opened; it keeps its token and its end.
pub async fn resume(
    commands: &Commands,
    caller: &Caller,
    given: String,
) -> Result<Opened, LoginError> {
    let hash = token::hash(&given);
    let found = {
        let model = commands.model();
        let user = token::holder(&model, &hash, commands.clock().now());
        user.and_then(|user| {
            let account = model.account(&user)?;
            // A personal access token has no session to go on with; it is good as it is.
            let session = account.sessions.get(&hash).copied();
            let account = AccountAfter::of(&user, model.accounts.get(&user)).ok()?;
            Some((user, session, account))
        })
    };
    let ended = LoginError::Refused {
        code: "403",
        reason: "You've been logged out by the server. Please log in again.",
    };
    let Some((user, session, account)) = found else {
        return Err(ended);
    };
    let account = if session.is_some() {
        let id = user.clone();
        let opening = move |decision: &mut Decision<'_>| {
            // It may have ended since: it is not to begin anew.
            let (model, now) = (decision.model(), decision.now());
            let held = token::holder(model, &hash, now).filter(|holder| *holder == id);
            let account = held.and_then(|holder| model.account(&holder));
            let Some(session) = account.and_then(|account| account.sessions.get(&hash)) else {
                return Ok(None);
            };
            let expires = session.expires;
            open(decision, &id, LoginMethod::Resume, hash.clone(), expires)?;
            decision.account_after(&id).map(Some)
        };
        let Done { answer, batch } = commands.run(&as_user(caller, &user), opening).await?;
        let Some(answer) = answer else {
            return Err(ended);
        };
        Done { answer, batch }
    } else {
        Done {
            answer: account,
            batch: None,
        }
    };
    Ok(Opened::with(AuthToken(given), account))
}

/// Ends the session that the caller's token belongs to.
pub async fn log_out(commands: &Commands, caller: &Caller) -> Result<(), CommandError> {
    commands
        .run(caller, |decision| {
            let user = decision.caller().user_id()?.clone();
            match decision.caller().token.clone() {
                Some(token) => decision.account(&user, AccountCommand::LogOut(token)),
                None => Ok(()),
            }
        })
        .await?;
    Ok(())
}

/// Ends all sessions of a user; of another one it takes `logout-other-user`.
pub async fn log_out_everywhere(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            let model = decision.model();
            if decision.caller().user.as_ref() != Some(&user)
                && !model.allows(decision.caller(), "logout-other-user", None)
            {
                return Err(CommandError::unauthorized("logout-other-user", None));
            }
            if model.account(&user).is_none() {
                return Err(CommandError::refused(
                    "error-invalid-user-id",
                    "Invalid user id",
                ));
            }
            decision.account(
                &user,
                AccountCommand::EndSessions {
                    kept: None,
                    personal_access_tokens: true,
                },
            )
        })
        .await?;
    Ok(())
}

/// Ends the caller's other sessions, and answers when this one ends. Personal access tokens stay.
pub async fn log_out_others(
    commands: &Commands,
    caller: &Caller,
) -> Result<Option<Timestamp>, CommandError> {
    let done = commands
        .run(caller, |decision| {
            let user = decision.caller().user_id()?.clone();
            let kept = decision.caller().token.clone();
            decision.account(
                &user,
                AccountCommand::EndSessions {
                    kept: kept.clone(),
                    personal_access_tokens: false,
                },
            )?;
            let account = decision.model().account(&user);
            Ok(account
                .zip(kept)
                .and_then(|(account, kept)| account.sessions.get(&kept)?.expires))
        })
        .await?;
    Ok(done.answer)
}
