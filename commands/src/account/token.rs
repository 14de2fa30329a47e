//! Auth tokens: what a client shows after it has logged in.
//!
//! The server keeps their SHA-256 only. A token has 43 characters of 55, some 248 bits, so a plain
//! hash of it can't be turned back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hansard_domain::account::{
    AccountCommand, LoginMethod, PersonalAccessToken, Session, TokenHash,
};
use hansard_domain::id::{Ids, Timestamp, UserId};
use hansard_domain::limit;
use sha2::{Digest, Sha256};

use crate::after::AccountAfter;
use crate::bus::{Commands, Done};
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;

const LENGTH: usize = 43;

/// How many sessions an account has at most; the oldest make room.
const MAX_SESSIONS: usize = 50;

/// A token in the clear: only the client that it is for ever sees it.
#[derive(Clone)]
pub struct AuthToken(pub String);

impl AuthToken {
    pub fn fresh(ids: &dyn Ids) -> Self {
        Self(ids.secret(LENGTH))
    }

    pub fn hash(&self) -> TokenHash {
        hash(&self.0)
    }

    fn last_six(&self) -> String {
        self.0[LENGTH - 6..].to_owned()
    }
}

/// What the server keeps of a token: its SHA-256 in base64.
pub fn hash(token: &str) -> TokenHash {
    TokenHash(BASE64.encode(Sha256::digest(token.as_bytes())))
}

/// A session that was opened for a user.
#[derive(Clone)]
pub struct Opened {
    pub user: UserId,
    pub token: AuthToken,
    pub expires: Option<Timestamp>,
    /// The account since.
    pub account: Done<AccountAfter>,
}

impl Opened {
    pub(super) fn with(token: AuthToken, account: Done<AccountAfter>) -> Self {
        let session = account.answer.state.sessions.get(&token.hash());
        Self {
            expires: session.and_then(|session| session.expires),
            user: account.answer.id.clone(),
            token,
            account,
        }
    }
}

/// Whose token this is, if it is still good: that of an active account, and not expired.
pub fn holder(model: &WriteModel, token: &TokenHash, now: Timestamp) -> Option<UserId> {
    let user = model.user_by_token(token)?;
    let account = model.account(user).filter(|account| account.active)?;
    let session = account
        .sessions
        .get(token)
        .is_some_and(|session| session.expires.is_none_or(|expires| expires > now));
    let personal = || {
        account
            .personal_access_tokens
            .values()
            .any(|personal| personal.hash == *token)
    };
    (session || personal()).then(|| user.clone())
}

/// When a session opened now ends, by `Accounts_LoginExpiration` (in days).
pub fn expiry(model: &WriteModel, now: Timestamp) -> Option<Timestamp> {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let days = match model.number("Accounts_LoginExpiration") {
        days @ 1.. => days,
        _ => 90,
    };
    Some(Timestamp(now.0.saturating_add(days.saturating_mul(DAY))))
}

/// Opens a session, and ends what is expired or too many.
pub(crate) fn open(
    decision: &mut Decision<'_>,
    user: &UserId,
    method: LoginMethod,
    token: TokenHash,
    expires: Option<Timestamp>,
) -> Result<(), CommandError> {
    let now = decision.now();
    let from = match method {
        LoginMethod::Password => decision.caller().network(),
        LoginMethod::Resume | LoginMethod::Issued | LoginMethod::Registration => None,
    };
    let session = Session {
        since: now,
        expires,
    };
    decision.account(
        user,
        AccountCommand::LogIn {
            method,
            token: token.clone(),
            session,
            from,
        },
    )?;
    let Some(account) = decision.model().account(user) else {
        return Ok(());
    };
    let mut sessions: Vec<_> = account
        .sessions
        .iter()
        .filter(|(hash, _)| **hash != token)
        .map(|(hash, session)| (session.since, session.expires, hash.clone()))
        .collect();
    sessions.sort_unstable_by_key(|(since, ..)| std::cmp::Reverse(*since));
    let expired =
        |expires: Option<Timestamp>| expires.is_some_and(|expires: Timestamp| expires <= now);
    let ended: Vec<_> = sessions
        .into_iter()
        .enumerate()
        .filter(|(place, (_, expires, _))| *place + 1 >= MAX_SESSIONS || expired(*expires))
        .map(|(_, (_, _, hash))| hash)
        .collect();
    for hash in ended {
        decision.account(user, AccountCommand::LogOut(hash))?;
    }
    Ok(())
}

/// A token for a user without a login; for somebody else's account it takes
/// `user-generate-access-token`.
pub async fn issue(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
) -> Result<Opened, CommandError> {
    let token = AuthToken::fresh(commands.ids());
    let (id, hash) = (user, token.hash());
    let opened = commands
        .run(caller, move |decision| {
            let model = decision.model();
            if decision.caller().user.as_ref() != Some(&id) {
                model.require_or(
                    decision.caller(),
                    "user-generate-access-token",
                    None,
                    "error-not-authorized",
                    "Not authorized",
                )?;
            }
            let expires = expiry(model, decision.now());
            open(decision, &id, LoginMethod::Issued, hash.clone(), expires)?;
            decision.account_after(&id)
        })
        .await?;
    Ok(Opened::with(token, opened))
}

fn may_have_tokens(decision: &Decision<'_>) -> Result<UserId, CommandError> {
    decision.model().require_or(
        decision.caller(),
        "create-personal-access-tokens",
        None,
        "not-authorized",
        "Not Authorized",
    )?;
    decision.caller().user_id().cloned()
}

/// Refuses who may not have personal access tokens.
pub fn check_may_have_tokens(model: &WriteModel, caller: &Caller) -> Result<(), CommandError> {
    model.require_or(
        caller,
        "create-personal-access-tokens",
        None,
        "not-authorized",
        "Not Authorized",
    )
}

/// A token that does not expire, under a name of the user's own.
pub async fn create_personal(
    commands: &Commands,
    caller: &Caller,
    name: String,
    bypass_two_factor: bool,
) -> Result<AuthToken, CommandError> {
    let fresh = AuthToken::fresh(commands.ids());
    let token = fresh.clone();
    commands
        .run(caller, move |decision| {
            let user = may_have_tokens(decision)?;
            limit::TOKEN_NAME.check(&name)?;
            let account = decision.model().account(&user);
            let held = account.map_or(0, |account| account.personal_access_tokens.len());
            limit::TOKENS.check_count(held + 1)?;
            let token = PersonalAccessToken {
                hash: token.hash(),
                created: decision.now(),
                last_six: token.last_six(),
                bypass_two_factor,
            };
            let name = name.clone();
            decision.account(
                &user,
                AccountCommand::CreatePersonalAccessToken { name, token },
            )
        })
        .await?;
    Ok(fresh)
}

/// Another token under a name there is one for already.
pub async fn regenerate_personal(
    commands: &Commands,
    caller: &Caller,
    name: String,
) -> Result<AuthToken, CommandError> {
    let fresh = AuthToken::fresh(commands.ids());
    let token = fresh.clone();
    commands
        .run(caller, move |decision| {
            let user = may_have_tokens(decision)?;
            let account = decision.model().account(&user);
            let old = account.and_then(|account| account.personal_access_tokens.get(&name));
            let token = PersonalAccessToken {
                hash: token.hash(),
                created: decision.now(),
                last_six: token.last_six(),
                bypass_two_factor: old.is_some_and(|old| old.bypass_two_factor),
            };
            let name = name.clone();
            decision.account(
                &user,
                AccountCommand::RegeneratePersonalAccessToken { name, token },
            )
        })
        .await?;
    Ok(fresh)
}

pub async fn remove_personal(
    commands: &Commands,
    caller: &Caller,
    name: String,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            let user = may_have_tokens(decision)?;
            let name = name.clone();
            decision.account(&user, AccountCommand::RemovePersonalAccessToken { name })
        })
        .await?;
    Ok(())
}
