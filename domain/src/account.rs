//! An account: who somebody is, how they prove it, and what they may do everywhere.
//!
//! Names are unique through [`claim`](crate::claim)s in the same commit; password hashes and token
//! hashes are made outside. What an account does in rooms is the rooms'.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::free::KeptObject;
use crate::id::{RoleId, Timestamp, UserId};
use crate::network::Network;
use crate::role::Roles;
use crate::seal::{Confidential, Part, Private};
use crate::vault::KeyId;

/// The account that speaks for the server itself: its id and its username.
pub const SYSTEM_ACCOUNT: &str = "rocket.cat";

/// What is personal about an account; sealed under the account's key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    pub username: String,
    /// The full name, shown beside the username.
    pub name: Option<String>,
    pub emails: Vec<Email>,
    pub nickname: Option<String>,
    pub bio: Option<String>,
    pub status_text: String,
    pub custom_fields: KeptObject,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Email {
    pub address: String,
    pub verified: bool,
}

/// A password as an argon2id PHC string.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(pub String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// The SHA-256 of an auth token, in base64; what the log and the write model know of a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenHash(pub String);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountKind {
    #[default]
    User,
    Bot,
    App,
}

/// How an account came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Registration {
    SelfService,
    ByAdministrator,
    /// By the server: the first administrator, the system's own account.
    Bootstrap,
}

/// What becomes of the messages of an account that is deleted (`Message_ErasureType`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MessageErasure {
    /// They stay, and show that their author is gone.
    #[default]
    Keep,
    /// They stay, and show the [`SYSTEM_ACCOUNT`] instead of their author.
    Unlink,
    /// They go with the account.
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeactivationReason {
    ByAdministrator,
    Idle,
}

/// How a session was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoginMethod {
    Password,
    Resume,
    /// Made for the user by somebody who may (`users.createToken`).
    Issued,
    Registration,
}

/// What the user wants to be seen as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    Online,
    Away,
    Busy,
    /// Also of somebody who never chose.
    #[default]
    Offline,
}

impl Presence {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Away => "away",
            Self::Busy => "busy",
            Self::Offline => "offline",
        }
    }
}

/// A login session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub since: Timestamp,
    pub expires: Option<Timestamp>,
}

/// A token that a user made for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonalAccessToken {
    pub hash: TokenHash,
    pub created: Timestamp,
    pub last_six: String,
    pub bypass_two_factor: bool,
}

#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
pub enum AccountEvent {
    UserRegistered {
        how: Registration,
        kind: AccountKind,
        roles: Vec<RoleId>,
        active: bool,
        /// Why it is not active yet, where it asked to be let in.
        #[serde(default)]
        reason: Option<Private<String>>,
        password_change_required: bool,
        profile: Private<Profile>,
        password: Option<Private<PasswordHash>>,
        at: Timestamp,
    },
    UserProfileChanged {
        profile: Private<Profile>,
    },
    UserPasswordChanged {
        password: Private<PasswordHash>,
        change_required: bool,
    },
    UserPreferencesChanged {
        preferences: Private<Map<String, Value>>,
    },
    UserPresenceChosen {
        presence: Presence,
    },
    UserActivated {},
    UserDeactivated {
        reason: DeactivationReason,
    },
    /// The account is gone and its personal data with it; the key is to be shredded.
    UserDeleted {
        key: KeyId,
        #[serde(default)]
        messages: MessageErasure,
    },
    RoleGranted {
        role: RoleId,
    },
    RoleRevoked {
        role: RoleId,
    },
    UserLoggedIn {
        method: LoginMethod,
        token: TokenHash,
        session: Session,
        /// From where, of a login by password.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Private<Network>>,
    },
    UserLoggedOut {
        token: TokenHash,
    },
    /// Every session but one was ended (or every one).
    SessionsEnded {
        kept: Option<TokenHash>,
        /// Personal access tokens too.
        personal_access_tokens: bool,
    },
    /// A wrong password was given.
    LoginFailed {
        /// By the clock of the node that recorded it, even where the log's time is ahead of that.
        at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Private<Network>>,
        /// What it was asked for, in Rocket.Chat's name of the operation (`users.deleteOwnAccount`),
        /// where it was not for a login.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operation: Option<String>,
        /// The account was called by one of its email addresses.
        #[serde(
            default,
            rename = "byEmail",
            skip_serializing_if = "std::ops::Not::not"
        )]
        by_email: bool,
    },
    PersonalAccessTokenCreated {
        name: Private<String>,
        token: PersonalAccessToken,
    },
    PersonalAccessTokenRemoved {
        hash: TokenHash,
    },
}

impl DomainEvent for AccountEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for AccountEvent {
    fn parts(&mut self, visit: &mut dyn FnMut(&mut dyn Part)) {
        match self {
            Self::UserRegistered {
                profile,
                password,
                reason,
                ..
            } => {
                visit(profile);
                if let Some(password) = password {
                    visit(password);
                }
                if let Some(reason) = reason {
                    visit(reason);
                }
            }
            Self::UserProfileChanged { profile } => visit(profile),
            Self::UserPasswordChanged { password, .. } => visit(password),
            Self::UserPreferencesChanged { preferences } => visit(preferences),
            Self::PersonalAccessTokenCreated { name, .. } => visit(name),
            Self::UserLoggedIn { from, .. } | Self::LoginFailed { from, .. } => {
                if let Some(from) = from {
                    visit(from);
                }
            }
            Self::UserPresenceChosen { .. }
            | Self::UserActivated {}
            | Self::UserDeactivated { .. }
            | Self::UserDeleted { .. }
            | Self::RoleGranted { .. }
            | Self::RoleRevoked { .. }
            | Self::UserLoggedOut { .. }
            | Self::SessionsEnded { .. }
            | Self::PersonalAccessTokenRemoved { .. } => {}
        }
    }
}

#[derive(Debug, Clone)]
pub enum AccountCommand {
    Register {
        key: KeyId,
        how: Registration,
        kind: AccountKind,
        roles: Vec<RoleId>,
        active: bool,
        reason: Option<String>,
        password_change_required: bool,
        profile: Profile,
        password: Option<PasswordHash>,
        at: Timestamp,
    },
    ChangeProfile(Profile),
    ChangePassword {
        password: PasswordHash,
        change_required: bool,
    },
    /// Preferences that replace those of the same name.
    ChangePreferences(Map<String, Value>),
    ChoosePresence(Presence),
    Activate,
    Deactivate(DeactivationReason),
    Delete(MessageErasure),
    GrantRole(RoleId),
    RevokeRole(RoleId),
    LogIn {
        method: LoginMethod,
        token: TokenHash,
        session: Session,
        /// From where, of a login by password.
        from: Option<Network>,
    },
    LogOut(TokenHash),
    EndSessions {
        kept: Option<TokenHash>,
        personal_access_tokens: bool,
    },
    RecordFailedLogin {
        at: Timestamp,
        from: Option<Network>,
        /// See [`AccountEvent::LoginFailed`].
        operation: Option<String>,
        by_email: bool,
    },
    CreatePersonalAccessToken {
        name: String,
        token: PersonalAccessToken,
    },
    /// A new secret under the name of an old one.
    RegeneratePersonalAccessToken {
        name: String,
        token: PersonalAccessToken,
    },
    RemovePersonalAccessToken {
        name: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("the account exists already")]
    Exists,
    #[error("there is no such account")]
    Missing,
    #[error("the account is not active")]
    Inactive,
    #[error(
        "nobody can tell whose account it is: its key is gone. Delete it, or put the vault back that has the key"
    )]
    Lost,
    #[error("the user has the role {0} already")]
    HasRole(RoleId),
    #[error("the user does not have the role {0}")]
    LacksRole(RoleId),
    #[error("a personal access token of that name exists already")]
    TokenExists,
    #[error("there is no personal access token of that name")]
    NoToken,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub key: KeyId,
    pub created: Timestamp,
    pub kind: AccountKind,
    pub exists: bool,
    /// Whether it may do anything. Never so while it is lost.
    pub active: bool,
    pub deleted: bool,
    /// Nobody can tell whose it is: the key of what it says of itself is gone, and with it the person, who was
    /// erased after the copy of the log that was put back, or whose key the vault that was put back does not
    /// have yet.
    #[serde(default)]
    pub lost: bool,
    /// Why it asked to be let in, until it is.
    #[serde(default)]
    pub reason: Option<String>,
    /// What was decided about its messages when it was deleted.
    #[serde(default)]
    pub erasure: MessageErasure,
    pub profile: Profile,
    pub password: Option<PasswordHash>,
    pub password_change_required: bool,
    pub preferences: KeptObject,
    pub presence: Presence,
    pub roles: Roles,
    pub sessions: LiteMap<TokenHash, Session>,
    /// By name.
    pub personal_access_tokens: LiteMap<String, PersonalAccessToken>,
    /// Wrong passwords since the right one was last given from the same network, newest last; at most
    /// [`FAILURES_KEPT`] with the username, and as many with an address.
    pub failed_logins: Vec<FailedLogin>,
    /// Where somebody logged in from with the password, newest last; at most [`NETWORKS_KEPT`].
    pub known_networks: Vec<Network>,
    pub last_login: Option<Timestamp>,
}

/// A wrong password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedLogin {
    pub at: Timestamp,
    pub from: Option<Network>,
    #[serde(default)]
    pub by_email: bool,
}

/// How many failed logins an account remembers; a limit above it could never be reached.
pub const FAILURES_KEPT: usize = 100;

/// How many networks an account remembers.
pub const NETWORKS_KEPT: usize = 16;

impl Account {
    /// Whether it holds a role in the whole workspace.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.contains(role)
    }

    /// What is left of an account that was deleted.
    pub fn gone(key: KeyId, erasure: MessageErasure) -> Self {
        Self {
            key,
            exists: true,
            deleted: true,
            erasure,
            ..Self::default()
        }
    }

    fn private<T>(&self, value: T) -> Private<T> {
        Private::new(self.key, value)
    }

    /// Whether nothing is to be answered to the account before it has another password. One that has none
    /// is used by tokens that others made for it, and has nothing to change.
    pub fn must_change_password(&self) -> bool {
        self.password_change_required && self.password.is_some()
    }

    /// Whether the right password came from this network, lately.
    pub fn knows(&self, from: Option<Network>) -> bool {
        from.is_some_and(|network| self.known_networks.contains(&network))
    }

    /// How many wrong passwords between two times, both exclusive, count against whoever tries from this
    /// network. One that the right password came from answers for itself alone; all others answer
    /// together, so that nobody can lock a user out of where it is at home. Those that called it by its
    /// email address count against who does so as well, and no others: nobody learns whose address it is.
    pub fn failures_between(
        &self,
        (since, until): (Timestamp, Timestamp),
        from: Option<Network>,
        by_email: bool,
    ) -> usize {
        let known = |from: &Option<Network>| self.knows(*from);
        let counts = |failure: &&FailedLogin| {
            if known(&from) {
                failure.from == from
            } else {
                !known(&failure.from)
            }
        };
        let recent = |failure: &&FailedLogin| failure.at > since && failure.at < until;
        let called = |failure: &&FailedLogin| failure.by_email == by_email;
        let recent = self.failed_logins.iter().filter(recent).filter(called);
        recent.filter(counts).count()
    }

    fn create_token(&self, name: String, token: PersonalAccessToken) -> AccountEvent {
        AccountEvent::PersonalAccessTokenCreated {
            name: self.private(name),
            token,
        }
    }

    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        use AccountCommand as C;
        use AccountEvent as E;
        let event = match command {
            C::Register { .. } if self.exists => return Err(AccountError::Exists),
            C::Register {
                key,
                how,
                kind,
                roles,
                active,
                reason,
                password_change_required,
                profile,
                password,
                at,
            } => E::UserRegistered {
                how,
                kind,
                roles,
                active,
                reason: reason.map(|reason| Private::new(key, reason)),
                password_change_required,
                profile: Private::new(key, profile),
                password: password.map(|password| Private::new(key, password)),
                at,
            },
            _ if !self.exists || self.deleted => return Err(AccountError::Missing),
            C::ChangeProfile(profile) if profile == self.profile => return Ok(vec![]),
            C::ChangeProfile(profile) => E::UserProfileChanged {
                profile: self.private(profile),
            },
            C::ChangePassword {
                password,
                change_required,
            } => E::UserPasswordChanged {
                password: self.private(password),
                change_required,
            },
            C::ChangePreferences(changes) => {
                let held = self.preferences.read();
                let mut preferences = held.clone();
                preferences.extend(changes);
                if preferences == held {
                    return Ok(vec![]);
                }
                E::UserPreferencesChanged {
                    preferences: self.private(preferences),
                }
            }
            C::ChoosePresence(presence) if presence == self.presence => return Ok(vec![]),
            C::ChoosePresence(presence) => E::UserPresenceChosen { presence },
            C::Activate if self.active => return Ok(vec![]),
            C::Activate if self.lost => return Err(AccountError::Lost),
            C::Activate => E::UserActivated {},
            C::Deactivate(_) if !self.active => return Ok(vec![]),
            C::Deactivate(reason) => {
                return Ok(vec![
                    E::UserDeactivated { reason },
                    E::SessionsEnded {
                        kept: None,
                        personal_access_tokens: false,
                    },
                ]);
            }
            C::Delete(messages) => E::UserDeleted {
                key: self.key,
                messages,
            },
            C::GrantRole(role) if self.roles.contains(&role) => {
                return Err(AccountError::HasRole(role));
            }
            C::GrantRole(role) => E::RoleGranted { role },
            C::RevokeRole(role) if !self.roles.contains(&role) => {
                return Err(AccountError::LacksRole(role));
            }
            C::RevokeRole(role) => E::RoleRevoked { role },
            C::LogIn { .. } if !self.active => return Err(AccountError::Inactive),
            C::LogIn {
                method,
                token,
                session,
                from,
            } => E::UserLoggedIn {
                method,
                token,
                session,
                from: from.map(|from| self.private(from)),
            },
            C::LogOut(token) if !self.sessions.contains_key(&token) => return Ok(vec![]),
            C::LogOut(token) => E::UserLoggedOut { token },
            C::EndSessions {
                kept,
                personal_access_tokens,
            } => E::SessionsEnded {
                kept,
                personal_access_tokens,
            },
            C::RecordFailedLogin {
                at,
                from,
                operation,
                by_email,
            } => E::LoginFailed {
                at,
                from: from.map(|from| self.private(from)),
                operation,
                by_email,
            },
            C::CreatePersonalAccessToken { name, .. }
                if self.personal_access_tokens.contains_key(&name) =>
            {
                return Err(AccountError::TokenExists);
            }
            C::CreatePersonalAccessToken { name, token } => self.create_token(name, token),
            C::RegeneratePersonalAccessToken { name, token } => {
                let old = self
                    .personal_access_tokens
                    .get(&name)
                    .ok_or(AccountError::NoToken)?;
                return Ok(vec![
                    E::PersonalAccessTokenRemoved {
                        hash: old.hash.clone(),
                    },
                    self.create_token(name, token),
                ]);
            }
            C::RemovePersonalAccessToken { name } => {
                let token = self
                    .personal_access_tokens
                    .get(&name)
                    .ok_or(AccountError::NoToken)?;
                E::PersonalAccessTokenRemoved {
                    hash: token.hash.clone(),
                }
            }
        };
        Ok(vec![event])
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = AccountError;
    type Services = ();

    async fn handle(
        &mut self,
        command: AccountCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), AccountError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::UserRegistered {
                kind,
                roles,
                active,
                reason,
                password_change_required,
                profile,
                password,
                at,
                ..
            } => {
                self.key = profile.key();
                self.created = at;
                self.exists = true;
                self.kind = kind;
                let profile = profile.into_value();
                self.lost = profile.is_none();
                self.active = active && !self.lost;
                self.reason = reason.and_then(Private::into_value);
                self.roles = roles.into_iter().collect();
                self.password_change_required = password_change_required;
                self.profile = profile.unwrap_or_default();
                self.password = password.and_then(Private::into_value);
            }
            AccountEvent::UserProfileChanged { profile } => {
                self.profile = profile.into_value().unwrap_or_default();
            }
            AccountEvent::UserPasswordChanged {
                password,
                change_required,
            } => {
                self.password = password.into_value();
                self.password_change_required = change_required;
            }
            AccountEvent::UserPreferencesChanged { preferences } => {
                self.preferences = preferences.into_value().unwrap_or_default().into();
            }
            AccountEvent::UserPresenceChosen { presence } => self.presence = presence,
            AccountEvent::UserActivated {} => {
                self.active = !self.lost;
                self.reason = None;
            }
            AccountEvent::UserDeactivated { .. } => self.active = false,
            AccountEvent::UserDeleted { messages, .. } => *self = Self::gone(self.key, messages),
            AccountEvent::RoleGranted { role } => {
                self.roles.insert(role);
            }
            AccountEvent::RoleRevoked { role } => {
                self.roles.remove(&role);
            }
            AccountEvent::UserLoggedIn {
                method,
                token,
                session,
                from,
            } => {
                self.last_login = Some(session.since);
                self.sessions.insert(token, session);
                if method == LoginMethod::Password {
                    let from = from.and_then(Private::into_value);
                    // Of older events it is not known where they came from.
                    self.failed_logins
                        .retain(|failed| failed.from.is_some() && failed.from != from);
                    if let Some(network) = from {
                        remember(&mut self.known_networks, network);
                    }
                }
            }
            AccountEvent::UserLoggedOut { token } => {
                self.sessions.remove(&token);
            }
            AccountEvent::SessionsEnded {
                kept,
                personal_access_tokens,
            } => {
                let kept =
                    kept.and_then(|token| Some((token.clone(), *self.sessions.get(&token)?)));
                self.sessions = kept.into_iter().collect();
                if personal_access_tokens {
                    self.personal_access_tokens.clear();
                }
            }
            AccountEvent::LoginFailed {
                at, from, by_email, ..
            } => {
                let failed = &mut self.failed_logins;
                let is_alike = |one: &FailedLogin| one.by_email == by_email;
                if failed.iter().filter(|one| is_alike(one)).count() == FAILURES_KEPT
                    && let Some(oldest) = failed.iter().position(is_alike)
                {
                    failed.remove(oldest);
                }
                let from = from.and_then(Private::into_value);
                self.failed_logins.push(FailedLogin { at, from, by_email });
            }
            AccountEvent::PersonalAccessTokenCreated { name, token } => {
                if let Some(name) = name.into_value() {
                    self.personal_access_tokens.insert(name, token);
                }
            }
            AccountEvent::PersonalAccessTokenRemoved { hash } => {
                let named = |(_, token): &(&String, &PersonalAccessToken)| token.hash == hash;
                let name = self
                    .personal_access_tokens
                    .iter()
                    .find(named)
                    .map(|(name, _)| name.clone());
                if let Some(name) = name {
                    self.personal_access_tokens.remove(&name);
                }
            }
        }
    }
}

fn remember(networks: &mut Vec<Network>, network: Network) {
    networks.retain(|known| *known != network);
    if networks.len() == NETWORKS_KEPT {
        networks.remove(0);
    }
    networks.push(network);
}

/// Who an account is, as messages and rooms name it: `{_id, username, name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    #[serde(rename = "_id")]
    pub id: UserId,
    pub username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;
    use serde_json::json;

    use super::*;

    const KEY: KeyId = KeyId(7);

    fn account() -> TestFramework<Account> {
        TestFramework::with(())
    }

    fn gone(messages: MessageErasure) -> AccountEvent {
        let key = KEY;
        AccountEvent::UserDeleted { key, messages }
    }

    fn profile(username: &str) -> Profile {
        Profile {
            username: username.into(),
            ..Profile::default()
        }
    }

    fn registered() -> AccountEvent {
        AccountEvent::UserRegistered {
            how: Registration::ByAdministrator,
            kind: AccountKind::User,
            roles: vec!["user".into()],
            active: true,
            reason: None,
            password_change_required: false,
            profile: Private::new(KEY, profile("mary")),
            password: None,
            at: Timestamp(1),
        }
    }

    fn register() -> AccountCommand {
        AccountCommand::Register {
            key: KEY,
            how: Registration::ByAdministrator,
            kind: AccountKind::User,
            roles: vec!["user".into()],
            active: true,
            reason: None,
            password_change_required: false,
            profile: profile("mary"),
            password: None,
            at: Timestamp(1),
        }
    }

    fn deactivated() -> AccountEvent {
        AccountEvent::UserDeactivated {
            reason: DeactivationReason::ByAdministrator,
        }
    }

    fn token(hash: &str) -> TokenHash {
        TokenHash(hash.into())
    }

    fn session() -> Session {
        Session {
            since: Timestamp(5),
            expires: None,
        }
    }

    fn log_in(hash: &str) -> AccountCommand {
        AccountCommand::LogIn {
            method: LoginMethod::Password,
            token: token(hash),
            session: session(),
            from: None,
        }
    }

    fn logged_in(hash: &str) -> AccountEvent {
        AccountEvent::UserLoggedIn {
            method: LoginMethod::Password,
            token: token(hash),
            session: session(),
            from: None,
        }
    }

    fn network(address: &str) -> Network {
        Network::parse(address).unwrap()
    }

    fn logged_in_from(address: &str) -> AccountEvent {
        AccountEvent::UserLoggedIn {
            method: LoginMethod::Password,
            token: token("t"),
            session: session(),
            from: Some(Private::new(KEY, network(address))),
        }
    }

    #[test]
    fn failures_count_apart_by_how_the_account_was_called() {
        let by_email = |event| match event {
            AccountEvent::LoginFailed {
                at,
                from,
                operation,
                ..
            } => AccountEvent::LoginFailed {
                at,
                from,
                operation,
                by_email: true,
            },
            other => other,
        };
        let mut mary = Account::default();
        for at in 1..=3 {
            mary.apply(by_email(failed(at, "192.0.2.1")));
        }
        mary.apply(failed(4, "192.0.2.1"));
        let count = |mary: &Account, by_email| mary.failures_between(EVER, None, by_email);
        assert_eq!((count(&mary, true), count(&mary, false)), (3, 1));
        for at in 5..=2 * FAILURES_KEPT as i64 {
            mary.apply(failed(at, "192.0.2.1"));
        }
        assert_eq!(
            (count(&mary, true), count(&mary, false)),
            (3, FAILURES_KEPT)
        );
    }

    fn failed(at: i64, address: &str) -> AccountEvent {
        AccountEvent::LoginFailed {
            at: Timestamp(at),
            from: Some(Private::new(KEY, network(address))),
            operation: None,
            by_email: false,
        }
    }

    fn personal(hash: &str) -> PersonalAccessToken {
        PersonalAccessToken {
            hash: token(hash),
            created: Timestamp(5),
            last_six: "abcdef".into(),
            bypass_two_factor: false,
        }
    }

    fn personal_created(name: &str, hash: &str) -> AccountEvent {
        AccountEvent::PersonalAccessTokenCreated {
            name: Private::new(KEY, name.into()),
            token: personal(hash),
        }
    }

    /// What is left of an account after some events.
    fn after(events: Vec<AccountEvent>) -> Account {
        let mut account = Account::default();
        for event in events {
            account.apply(event);
        }
        account
    }

    #[tokio::test]
    async fn an_account_is_registered_under_a_key_of_its_own() {
        account()
            .given_no_previous_events()
            .when_async(register())
            .await
            .then_expect_events(vec![registered()]);
        assert_eq!(after(vec![registered()]).key, KEY);
    }

    #[tokio::test]
    async fn an_account_is_registered_once_even_after_it_was_deleted() {
        for more in [vec![], vec![gone(MessageErasure::Keep)]] {
            account()
                .given([vec![registered()], more].concat())
                .when_async(register())
                .await
                .then_expect_error(AccountError::Exists);
        }
    }

    #[tokio::test]
    async fn nothing_can_be_done_to_an_account_that_is_not_there_or_was_deleted() {
        for given in [vec![], vec![registered(), gone(MessageErasure::Keep)]] {
            for command in [
                AccountCommand::ChangeProfile(profile("paul")),
                AccountCommand::Activate,
                AccountCommand::Delete(MessageErasure::Keep),
                AccountCommand::GrantRole("admin".into()),
                AccountCommand::RecordFailedLogin {
                    at: Timestamp(1),
                    from: None,
                    operation: None,
                    by_email: false,
                },
                log_in("t"),
            ] {
                account()
                    .given(given.clone())
                    .when_async(command)
                    .await
                    .then_expect_error(AccountError::Missing);
            }
        }
    }

    #[tokio::test]
    async fn what_does_not_change_anything_is_not_recorded() {
        for command in [
            AccountCommand::ChangeProfile(profile("mary")),
            AccountCommand::ChangePreferences(Map::new()),
            AccountCommand::ChoosePresence(Presence::default()),
            AccountCommand::Activate,
            AccountCommand::LogOut(token("unknown")),
        ] {
            account()
                .given(vec![registered()])
                .when_async(command)
                .await
                .then_expect_events(vec![]);
        }
        account()
            .given(vec![registered(), deactivated()])
            .when_async(AccountCommand::Deactivate(DeactivationReason::Idle))
            .await
            .then_expect_events(vec![]);
    }

    #[tokio::test]
    async fn a_changed_profile_is_sealed_under_the_key_of_the_account() {
        account()
            .given(vec![registered()])
            .when_async(AccountCommand::ChangeProfile(profile("maria")))
            .await
            .then_expect_events(vec![AccountEvent::UserProfileChanged {
                profile: Private::new(KEY, profile("maria")),
            }]);
    }

    #[tokio::test]
    async fn a_changed_preference_leaves_the_others_as_they_are() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        account()
            .given(vec![
                registered(),
                AccountEvent::UserPreferencesChanged {
                    preferences: Private::new(KEY, object(json!({ "a": 1, "b": 1 }))),
                },
            ])
            .when_async(AccountCommand::ChangePreferences(object(json!({ "b": 2 }))))
            .await
            .then_expect_events(vec![AccountEvent::UserPreferencesChanged {
                preferences: Private::new(KEY, object(json!({ "a": 1, "b": 2 }))),
            }]);
    }

    #[test]
    fn a_new_password_replaces_the_old_one_and_the_order_to_change_it() {
        let password = |hash: &str, change_required| AccountEvent::UserPasswordChanged {
            password: Private::new(KEY, PasswordHash(hash.into())),
            change_required,
        };
        let mary = after(vec![registered(), password("old", true)]);
        assert!(mary.must_change_password());
        let mary = after(vec![
            registered(),
            password("old", true),
            password("new", false),
        ]);
        assert_eq!(mary.password, Some(PasswordHash("new".into())));
        assert!(!mary.must_change_password());
    }

    #[tokio::test]
    async fn a_deactivated_user_is_logged_out_everywhere() {
        account()
            .given(vec![registered(), logged_in("t")])
            .when_async(AccountCommand::Deactivate(DeactivationReason::Idle))
            .await
            .then_expect_events(vec![
                AccountEvent::UserDeactivated {
                    reason: DeactivationReason::Idle,
                },
                AccountEvent::SessionsEnded {
                    kept: None,
                    personal_access_tokens: false,
                },
            ]);
    }

    #[tokio::test]
    async fn only_an_active_user_logs_in() {
        account()
            .given(vec![registered(), deactivated()])
            .when_async(log_in("t"))
            .await
            .then_expect_error(AccountError::Inactive);
        account()
            .given(vec![
                registered(),
                deactivated(),
                AccountEvent::UserActivated {},
            ])
            .when_async(log_in("t"))
            .await
            .then_expect_events(vec![logged_in("t")]);
    }

    #[tokio::test]
    async fn a_user_who_asked_to_be_let_in_waits_until_activated() {
        let AccountEvent::UserRegistered {
            how,
            kind,
            roles,
            profile,
            ..
        } = registered()
        else {
            unreachable!()
        };
        let asked = AccountEvent::UserRegistered {
            how,
            kind,
            roles,
            active: false,
            reason: Some(Private::new(KEY, "I work here".into())),
            password_change_required: false,
            profile,
            password: None,
            at: Timestamp(1),
        };
        account()
            .given(vec![asked])
            .when_async(log_in("t"))
            .await
            .then_expect_error(AccountError::Inactive);
    }

    #[tokio::test]
    async fn a_session_is_ended_once() {
        account()
            .given(vec![registered(), logged_in("t")])
            .when_async(AccountCommand::LogOut(token("t")))
            .await
            .then_expect_events(vec![AccountEvent::UserLoggedOut { token: token("t") }]);
        account()
            .given(vec![
                registered(),
                logged_in("t"),
                AccountEvent::UserLoggedOut { token: token("t") },
            ])
            .when_async(AccountCommand::LogOut(token("t")))
            .await
            .then_expect_events(vec![]);
    }

    #[test]
    fn of_all_sessions_only_the_kept_one_stays() {
        let ended = |kept: Option<&str>, personal_access_tokens| {
            after(vec![
                registered(),
                logged_in("here"),
                logged_in("there"),
                personal_created("ci", "p"),
                AccountEvent::SessionsEnded {
                    kept: kept.map(token),
                    personal_access_tokens,
                },
            ])
        };
        let mary = ended(Some("here"), false);
        assert!(mary.sessions.keys().eq([&token("here")]));
        assert!(mary.personal_access_tokens.contains_key("ci"));
        assert!(ended(None, false).sessions.is_empty());
        assert!(ended(Some("forgotten"), false).sessions.is_empty());
        assert!(ended(None, true).personal_access_tokens.is_empty());
    }

    const EVER: (Timestamp, Timestamp) = (Timestamp(0), Timestamp(i64::MAX));

    const HOME: &str = "192.0.2.1";
    const ELSEWHERE: [&str; 2] = ["198.51.100.1", "198.51.100.2"];

    #[test]
    fn failed_logins_are_counted_until_one_works_from_the_same_network() {
        let count = |mary: &Account, from| mary.failures_between(EVER, Some(network(from)), false);
        let mut mary = after(vec![registered(), failed(1, HOME), failed(2, HOME)]);
        assert_eq!(count(&mary, HOME), 2);
        mary.apply(failed(3, ELSEWHERE[0]));
        assert_eq!(count(&mary, HOME), 3, "nobody is known here");
        mary.apply(logged_in_from(HOME));
        assert_eq!(mary.last_login, Some(session().since));
        assert_eq!(count(&mary, HOME), 0);
        assert_eq!(count(&mary, ELSEWHERE[0]), 1, "that was not mary's login");
    }

    #[test]
    fn strangers_lock_nobody_out_of_where_it_is_at_home() {
        let mut mary = after(vec![registered(), logged_in_from(HOME)]);
        for at in 1..=10 {
            mary.apply(failed(at, ELSEWHERE[at as usize % 2]));
        }
        let count = |from| mary.failures_between(EVER, Some(network(from)), false);
        assert_eq!(count(HOME), 0);
        assert_eq!(count(ELSEWHERE[0]), 10, "all strangers count together");
        assert_eq!(mary.failures_between(EVER, None, false), 10);
        assert_eq!(
            mary.failures_between((Timestamp(9), EVER.1), None, false),
            1,
            "old ones are over"
        );
        let set_back = (Timestamp(0), Timestamp(5));
        assert_eq!(
            mary.failures_between(set_back, None, false),
            4,
            "those ahead too"
        );
    }

    #[test]
    fn a_session_that_goes_on_makes_up_for_no_failure() {
        let resumed = AccountEvent::UserLoggedIn {
            method: LoginMethod::Resume,
            token: token("t"),
            session: session(),
            from: None,
        };
        let mary = after(vec![registered(), failed(1, HOME), resumed]);
        assert_eq!(mary.failures_between(EVER, None, false), 1);
    }

    #[test]
    fn what_an_account_remembers_of_logins_is_bounded() {
        let mut mary = after(vec![registered()]);
        for at in 0..=FAILURES_KEPT as i64 {
            mary.apply(failed(at, ELSEWHERE[0]));
        }
        assert_eq!(mary.failed_logins.len(), FAILURES_KEPT);
        assert_eq!(mary.failed_logins[0].at, Timestamp(1));
        for host in 0..=NETWORKS_KEPT {
            mary.apply(logged_in_from(&format!("192.0.2.{host}")));
        }
        mary.apply(logged_in_from("192.0.2.5"));
        assert_eq!(mary.known_networks.len(), NETWORKS_KEPT);
        assert!(!mary.known_networks.contains(&network("192.0.2.0")));
        assert_eq!(mary.known_networks.last(), Some(&network("192.0.2.5")));
    }

    #[test]
    fn older_events_of_logins_are_read() {
        let failed = json!({ "LoginFailed": { "at": 7 } });
        let failed: AccountEvent = serde_json::from_value(failed).unwrap();
        let mary = after(vec![registered(), failed.clone(), logged_in("t")]);
        assert!(mary.failed_logins.is_empty());
        assert_eq!(
            serde_json::to_value(&failed).unwrap(),
            json!({ "LoginFailed": { "at": 7 } })
        );
    }

    #[tokio::test]
    async fn a_role_is_granted_once() {
        let role = || RoleId::new("admin");
        account()
            .given(vec![registered()])
            .when_async(AccountCommand::GrantRole(role()))
            .await
            .then_expect_events(vec![AccountEvent::RoleGranted { role: role() }]);
        account()
            .given(vec![
                registered(),
                AccountEvent::RoleGranted { role: role() },
            ])
            .when_async(AccountCommand::GrantRole(role()))
            .await
            .then_expect_error(AccountError::HasRole(role()));
    }

    #[tokio::test]
    async fn only_a_role_that_is_held_is_revoked() {
        let role = || RoleId::new("user");
        account()
            .given(vec![registered()])
            .when_async(AccountCommand::RevokeRole(role()))
            .await
            .then_expect_events(vec![AccountEvent::RoleRevoked { role: role() }]);
        account()
            .given(vec![
                registered(),
                AccountEvent::RoleRevoked { role: role() },
            ])
            .when_async(AccountCommand::RevokeRole(role()))
            .await
            .then_expect_error(AccountError::LacksRole(role()));
    }

    #[tokio::test]
    async fn personal_access_tokens_have_names_of_their_own() {
        let create = || AccountCommand::CreatePersonalAccessToken {
            name: "ci".into(),
            token: personal("p"),
        };
        account()
            .given(vec![registered()])
            .when_async(create())
            .await
            .then_expect_events(vec![personal_created("ci", "p")]);
        account()
            .given(vec![registered(), personal_created("ci", "o")])
            .when_async(create())
            .await
            .then_expect_error(AccountError::TokenExists);
    }

    #[tokio::test]
    async fn a_regenerated_token_takes_the_place_of_the_old_one() {
        let regenerate = || AccountCommand::RegeneratePersonalAccessToken {
            name: "ci".into(),
            token: personal("new"),
        };
        let regenerated = vec![
            AccountEvent::PersonalAccessTokenRemoved { hash: token("old") },
            personal_created("ci", "new"),
        ];
        account()
            .given(vec![registered(), personal_created("ci", "old")])
            .when_async(regenerate())
            .await
            .then_expect_events(regenerated.clone());
        account()
            .given(vec![registered()])
            .when_async(regenerate())
            .await
            .then_expect_error(AccountError::NoToken);

        let given = vec![registered(), personal_created("ci", "old")];
        let mary = after([given, regenerated].concat());
        assert_eq!(
            mary.personal_access_tokens[&"ci".to_owned()].hash,
            token("new")
        );
    }

    #[tokio::test]
    async fn a_removed_token_is_gone() {
        let remove = || AccountCommand::RemovePersonalAccessToken { name: "ci".into() };
        let removed = || AccountEvent::PersonalAccessTokenRemoved { hash: token("p") };
        account()
            .given(vec![registered(), personal_created("ci", "p")])
            .when_async(remove())
            .await
            .then_expect_events(vec![removed()]);
        account()
            .given(vec![registered(), personal_created("ci", "p"), removed()])
            .when_async(remove())
            .await
            .then_expect_error(AccountError::NoToken);
    }

    #[tokio::test]
    async fn a_deleted_account_names_its_key_and_keeps_nothing_personal() {
        account()
            .given(vec![registered(), logged_in("t")])
            .when_async(AccountCommand::Delete(MessageErasure::Keep))
            .await
            .then_expect_events(vec![gone(MessageErasure::Keep)]);
        let deleted =
            |registered| after(vec![registered, logged_in("t"), gone(MessageErasure::Keep)]);
        let mary = deleted(registered());
        assert_eq!(mary.profile, Profile::default());
        assert!(mary.sessions.is_empty() && mary.roles.is_empty() && !mary.active);

        let mut shredded = registered();
        if let AccountEvent::UserRegistered { profile, .. } = &mut shredded {
            *profile = Private::Shredded { key: KEY };
        }
        assert_eq!(
            deleted(shredded),
            mary,
            "a replay without the key comes to the same"
        );
    }

    #[test]
    fn a_password_is_not_printed() {
        assert_eq!(
            format!("{:?}", PasswordHash("secret".into())),
            "PasswordHash(..)"
        );
    }
}
