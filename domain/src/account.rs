//! An account: who somebody is, how they prove it, and what they may do everywhere.
//!
//! Names are unique through [`claim`](crate::claim)s in the same commit; password hashes and token
//! hashes are made outside. What an account does in rooms is the rooms'.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{RoleId, Timestamp, UserId};
use crate::seal::{Confidential, Part, Private};
use crate::vault::KeyId;

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
    pub custom_fields: Map<String, Value>,
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
    #[default]
    Online,
    Away,
    Busy,
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
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
    LoginFailed {
        at: Timestamp,
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
            Self::UserPresenceChosen { .. }
            | Self::UserActivated {}
            | Self::UserDeactivated { .. }
            | Self::UserDeleted { .. }
            | Self::RoleGranted { .. }
            | Self::RoleRevoked { .. }
            | Self::UserLoggedIn { .. }
            | Self::UserLoggedOut { .. }
            | Self::SessionsEnded { .. }
            | Self::LoginFailed { .. }
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
    Delete,
    GrantRole(RoleId),
    RevokeRole(RoleId),
    LogIn {
        method: LoginMethod,
        token: TokenHash,
        session: Session,
    },
    LogOut(TokenHash),
    EndSessions {
        kept: Option<TokenHash>,
        personal_access_tokens: bool,
    },
    RecordFailedLogin {
        at: Timestamp,
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
    pub kind: AccountKind,
    pub exists: bool,
    pub active: bool,
    pub deleted: bool,
    pub profile: Profile,
    pub password: Option<PasswordHash>,
    pub password_change_required: bool,
    pub preferences: Map<String, Value>,
    pub presence: Presence,
    pub roles: OrdSet<RoleId>,
    pub sessions: OrdMap<TokenHash, Session>,
    /// By name.
    pub personal_access_tokens: OrdMap<String, PersonalAccessToken>,
    /// Failed logins since the last one that worked, newest last; at most [`FAILURES_KEPT`].
    pub failed_logins: Vec<Timestamp>,
    pub last_login: Option<Timestamp>,
}

/// How many failed logins an account remembers; a limit above it could never be reached.
pub const FAILURES_KEPT: usize = 100;

impl Account {
    fn private<T>(&self, value: T) -> Private<T> {
        Private::new(self.key, value)
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
            } => E::UserRegistered {
                how,
                kind,
                roles,
                active,
                reason: reason.map(|reason| Private::new(key, reason)),
                password_change_required,
                profile: Private::new(key, profile),
                password: password.map(|password| Private::new(key, password)),
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
                let mut preferences = self.preferences.clone();
                preferences.extend(changes);
                if preferences == self.preferences {
                    return Ok(vec![]);
                }
                E::UserPreferencesChanged {
                    preferences: self.private(preferences),
                }
            }
            C::ChoosePresence(presence) if presence == self.presence => return Ok(vec![]),
            C::ChoosePresence(presence) => E::UserPresenceChosen { presence },
            C::Activate if self.active => return Ok(vec![]),
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
            C::Delete => E::UserDeleted { key: self.key },
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
            } => E::UserLoggedIn {
                method,
                token,
                session,
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
            C::RecordFailedLogin { at } => E::LoginFailed { at },
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
                password_change_required,
                profile,
                password,
                ..
            } => {
                self.key = profile.key();
                self.exists = true;
                self.kind = kind;
                self.active = active;
                self.roles = roles.into_iter().collect();
                self.password_change_required = password_change_required;
                self.profile = profile.into_value().unwrap_or_default();
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
                self.preferences = preferences.into_value().unwrap_or_default();
            }
            AccountEvent::UserPresenceChosen { presence } => self.presence = presence,
            AccountEvent::UserActivated {} => self.active = true,
            AccountEvent::UserDeactivated { .. } => self.active = false,
            AccountEvent::UserDeleted { .. } => {
                *self = Self {
                    key: self.key,
                    exists: true,
                    deleted: true,
                    ..Self::default()
                };
            }
            AccountEvent::RoleGranted { role } => {
                self.roles.insert(role);
            }
            AccountEvent::RoleRevoked { role } => {
                self.roles.remove(&role);
            }
            AccountEvent::UserLoggedIn { token, session, .. } => {
                self.last_login = Some(session.since);
                self.failed_logins.clear();
                self.sessions.insert(token, session);
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
            AccountEvent::LoginFailed { at } => {
                if self.failed_logins.len() == FAILURES_KEPT {
                    self.failed_logins.remove(0);
                }
                self.failed_logins.push(at);
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

/// Who an account is, as messages and rooms name it: `{_id, username, name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    #[serde(rename = "_id")]
    pub id: UserId,
    pub username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
