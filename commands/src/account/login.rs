//! Logging in and out, and what is done against guessing.
//!
//! An unknown name and a wrong password look the same from outside: in what is answered, in how long
//! it takes, and in when an attempt is blocked.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hansard_domain::account::{Account, AccountCommand, AccountEvent, LoginMethod};
use hansard_domain::audit::AuditEvent;
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{Timestamp, UserId};
use hansard_domain::journal::Journal;
use hansard_domain::limit;
use hansard_domain::log::{Actor, Position};
use hansard_domain::seal::Private;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::password::Secret;
use super::token::{AuthToken, Opened, expiry, open};
use super::{password, token};
use crate::bus::Commands;
use crate::caller::Caller;
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

/// How many addresses and names failures are remembered of; those that failed longest ago are
/// forgotten first.
const REMEMBERED: usize = 10_000;

/// How many failures are remembered of each.
const FAILURES: usize = 1_000;

/// Failed logins by where they came from, and of names that nobody has; counted from the journal.
#[derive(Default)]
pub struct FailedLogins {
    by_address: Mutex<Failures>,
    by_unknown_name: Mutex<Failures>,
    /// How far in the journal they are counted.
    reached: watch::Sender<Position>,
}

/// What happened longer before a start is not counted any more.
const LATELY: Duration = Duration::from_mins(10);

/// How long a login waits for those before it to be counted, and counting for a journal that failed.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Failures(HashMap<String, VecDeque<Timestamp>>);

impl Failures {
    fn count_since(&self, who: &str, since: Timestamp) -> i64 {
        let failures = self.0.get(who);
        failures.map_or(0, |failures| {
            failures.iter().filter(|at| **at > since).count() as i64
        })
    }

    fn add(&mut self, who: &str, at: Timestamp) {
        if self.0.len() >= REMEMBERED && !self.0.contains_key(who) {
            let oldest = self.0.iter().min_by_key(|(_, failures)| failures.back());
            if let Some(oldest) = oldest.map(|(who, _)| who.clone()) {
                self.0.remove(&oldest);
            }
        }
        let failures = self.0.entry(who.to_owned()).or_default();
        if failures.len() == FAILURES {
            failures.pop_front();
        }
        failures.push_back(at);
    }

    fn forget(&mut self, who: &str) {
        self.0.remove(who);
    }
}

/// A limit of `Block_Multiple_Failed_Logins_*`; `None` where it is off.
struct Limit {
    attempts: i64,
    since: Timestamp,
}

impl Limit {
    fn of(model: &WriteModel, by: &str, attempts: &str, now: Timestamp) -> Option<Self> {
        let setting = |name: &str| format!("Block_Multiple_Failed_Logins_{name}");
        if !model.flag(&setting("Enabled")) || !model.flag(&setting(&format!("By_{by}"))) {
            return None;
        }
        let attempts = model.number(&setting(&format!("Attempts_Until_Block_{attempts}")));
        let minutes = model
            .setting(&setting(&format!("Time_To_Unblock_By_{by}_In_Minutes")))
            .as_f64()
            .unwrap_or_default();
        let window = Duration::from_secs_f64((minutes * 60.0).clamp(0.0, 1e9));
        (attempts > 0).then(|| Self {
            attempts,
            since: now.minus(window),
        })
    }
}

impl FailedLogins {
    /// Counts what the journal tells of, on whatever node it happened; from what happened lately on.
    pub async fn follow(&self, journal: &Arc<Journal>, now: Timestamp) {
        let lately = now.minus(LATELY);
        let mut after = journal.position_at(lately).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "who failed to log in before this start is not known");
            journal.head()
        });
        loop {
            let mut batches = journal.follow(after);
            while let Some(Ok(batch)) = batches.next().await {
                for entry in batch.iter() {
                    self.count(entry);
                    after = entry.position;
                }
                self.reached.send_replace(after);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until what was recorded up to a position is counted; not for long.
    async fn counted(&self, position: Position) {
        let mut reached = self.reached.subscribe();
        let counted = reached.wait_for(|reached| *reached >= position);
        // Who can't be counted in time is counted later.
        let _ = tokio::time::timeout(PAUSE, counted).await;
    }

    fn count(&self, entry: &Entry) {
        let address = || Some(entry.origin.as_ref()?.value()?.address.clone());
        match &entry.event {
            Event::Account(AccountEvent::LoginFailed { at }) => {
                if let Some(address) = address() {
                    self.by_address.lock().add(&address, *at);
                }
            }
            Event::Audit(AuditEvent::UnknownLoginFailed { name }) => {
                if let Some(address) = address() {
                    self.by_address.lock().add(&address, entry.at);
                }
                if let Some(name) = name.value() {
                    // What is longer is no name that somebody could log in by.
                    let name = limit::cut(name, &limit::LOGIN_NAME);
                    self.by_unknown_name.lock().add(&folded(name), entry.at);
                }
            }
            Event::Account(AccountEvent::UserLoggedIn {
                method: LoginMethod::Password,
                ..
            }) => {
                if let Some(address) = address() {
                    self.by_address.lock().forget(&address);
                }
            }
            _ => {}
        }
    }

    fn check_address(
        &self,
        model: &WriteModel,
        address: &str,
        now: Timestamp,
    ) -> Result<(), LoginError> {
        let exempt = model.text("Block_Multiple_Failed_Logins_Ip_Whitelist");
        if exempt.split(',').any(|exempt| exempt.trim() == address) {
            return Ok(());
        }
        let Some(limit) = Limit::of(model, "Ip", "By_Ip", now) else {
            return Ok(());
        };
        if self.by_address.lock().count_since(address, limit.since) < limit.attempts {
            return Ok(());
        }
        Err(LoginError::Refused {
            code: "error-login-blocked-for-ip",
            reason: "Login has been temporarily blocked For IP",
        })
    }

    fn check_user(
        &self,
        model: &WriteModel,
        name: &str,
        account: Option<&Account>,
        now: Timestamp,
    ) -> Result<(), LoginError> {
        let Some(limit) = Limit::of(model, "User", "by_User", now) else {
            return Ok(());
        };
        let failed = match account {
            Some(account) => account
                .failed_logins
                .iter()
                .filter(|at| **at > limit.since)
                .count() as i64,
            None => self.by_unknown_name.lock().count_since(name, limit.since),
        };
        if failed < limit.attempts {
            return Ok(());
        }
        Err(LoginError::Refused {
            code: "error-login-blocked-for-user",
            reason: "Login has been temporarily blocked For User",
        })
    }
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
    let now = commands.clock().now();
    let address = caller
        .origin
        .as_ref()
        .map(|origin| origin.address.clone())
        .unwrap_or_default();
    let folded = folded(name.as_str());
    let model = commands.model();
    failed.counted(model.position()).await;
    let (user, hash) = {
        let user = name.find(&model);
        let account = user.as_ref().and_then(|user| model.account(user));
        failed.check_address(&model, &address, now)?;
        failed.check_user(&model, &folded, account.map(|account| &account.state), now)?;
        (user, account.and_then(|account| account.password.clone()))
    };
    let right = password::verify(secret, hash).await?;
    let Some(user) = user.as_ref().filter(|_| right) else {
        record_failure(commands, caller, user, name).await?;
        return Err(LoginError::Unauthorized);
    };
    check_may_log_in(&commands.model(), user)?;
    let opened = enter(commands, caller, user, LoginMethod::Password).await?;
    Ok(opened)
}

fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

async fn record_failure(
    commands: &Commands,
    caller: &Caller,
    user: Option<UserId>,
    name: Name,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            let at = decision.now();
            if let Some(user) = &user {
                return decision.account(user, AccountCommand::RecordFailedLogin { at });
            }
            let key = decision.fresh_key()?;
            let name = Private::new(key, name.as_str().to_owned());
            decision.audit(AuditEvent::UnknownLoginFailed { name });
            Ok(())
        })
        .await?;
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
    let exempt = verified || account.roles.contains(super::ADMIN);
    if model.flag("Accounts_EmailVerification") && !exempt {
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

async fn enter(
    commands: &Commands,
    caller: &Caller,
    user: &UserId,
    method: LoginMethod,
) -> Result<Opened, CommandError> {
    let token = AuthToken::fresh(commands.ids());
    let (id, hash) = (user.clone(), token.hash());
    let done = commands
        .run(&as_user(caller, user), move |decision| {
            let expires = expiry(decision.model(), decision.now());
            open(decision, &id, method, hash.clone(), expires)?;
            Ok(expires)
        })
        .await?;
    Ok(Opened {
        user: user.clone(),
        token,
        expires: done.answer,
    })
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
            Some((user, session))
        })
    };
    let Some((user, session)) = found else {
        return Err(LoginError::Refused {
            code: "403",
            reason: "You've been logged out by the server. Please log in again.",
        });
    };
    let expires = session.and_then(|session| session.expires);
    if session.is_some() {
        let id = user.clone();
        commands
            .run(&as_user(caller, &user), move |decision| {
                open(decision, &id, LoginMethod::Resume, hash.clone(), expires)
            })
            .await?;
    }
    Ok(Opened {
        user,
        token: AuthToken(given),
        expires,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_blocked_by_its_failures_alone_and_until_they_are_old() {
        let model = WriteModel::empty();
        let failed = FailedLogins::default();
        let minute = 60_000;
        for at in 0..50 {
            assert!(failed.check_address(&model, "a", Timestamp(at)).is_ok());
            failed.by_address.lock().add("a", Timestamp(at));
        }
        assert!(failed.check_address(&model, "a", Timestamp(50)).is_err());
        assert!(failed.check_address(&model, "b", Timestamp(50)).is_ok());
        let later = Timestamp(5 * minute + 49);
        assert!(failed.check_address(&model, "a", later).is_ok());
    }

    #[test]
    fn a_name_that_nobody_has_is_blocked_like_one_that_somebody_has() {
        let model = WriteModel::empty();
        let failed = FailedLogins::default();
        let mut account = Account::default();
        for at in 0..10 {
            let now = Timestamp(at);
            assert!(failed.check_user(&model, "x", None, now).is_ok());
            assert!(failed.check_user(&model, "y", Some(&account), now).is_ok());
            failed.by_unknown_name.lock().add("x", now);
            account.failed_logins.push(now);
        }
        let now = Timestamp(10);
        assert!(failed.check_user(&model, "x", None, now).is_err());
        assert!(failed.check_user(&model, "y", Some(&account), now).is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut failures = Failures::default();
        for number in 0..REMEMBERED + 5 {
            failures.add(&number.to_string(), Timestamp(number as i64));
        }
        assert_eq!(failures.0.len(), REMEMBERED);
        assert!(!failures.0.contains_key("0"));
        for at in 0..FAILURES + 5 {
            failures.add("x", Timestamp(at as i64));
        }
        assert_eq!(failures.0["x"].len(), FAILURES);
    }
}
