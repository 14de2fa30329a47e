//! The first start of a workspace, and what every start sets.
//!
//! Ids and names are those that Rocket.Chat starts with, because clients know them: the channel
//! `GENERAL`, the bot `rocket.cat` that speaks for the server.

use cqrs_es::Aggregate;
use hansard_domain::account::{
    AccountCommand, AccountKind, Email, PasswordHash, Profile, Registration,
};
use hansard_domain::claim::{CLAIMS, Claim, Namespace, claim_key};
use hansard_domain::id::{RoleId, RoomId, UserId};
use hansard_domain::journal::{Journal, JournalError};
use hansard_domain::log::{StreamId, Version};
use hansard_domain::room::{RoomCommand, RoomDetails, RoomKind, RoomSwitches};
use hansard_domain::setting::SettingCommand;
use hansard_domain::setting::definitions::{Kind, SettingError, definition};
use hansard_domain::workspace::WORKSPACE;
use serde_json::Value;

pub use hansard_domain::account::SYSTEM_ACCOUNT;

use crate::account::hashing::Asker;
use crate::account::password::{self, Secret};
use crate::bus::Commands;
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;

/// The channel that everybody is in.
pub const GENERAL: &str = "GENERAL";

/// How long a password is that the server makes.
const PASSWORD_LENGTH: usize = 20;

/// The first administrator, as the operator wants it.
#[derive(Clone, Default)]
pub struct Administrator {
    pub username: Option<String>,
    pub name: Option<String>,
    pub email: Option<String>,
    /// Without one, a password is made that has to be changed at the first login.
    pub password: Option<String>,
}

/// A password that the server made; nothing else knows it.
pub struct OneTimePassword {
    pub username: String,
    pub password: String,
}

/// Whether a start was the first one of its workspace.
pub enum Founding {
    /// The workspace was there, or another node founded it.
    Before,
    /// Founded here; with the administrator's password where it was made here, too.
    Now(Option<OneTimePassword>),
}

/// A workspace can't be started as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("OVERWRITE_SETTING_{0}: there is no such setting; GET /api/v1/settings lists them")]
    UnknownSetting(String),
    #[error("OVERWRITE_SETTING_{id}: {source}")]
    Setting { id: String, source: SettingError },
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Founds the workspace unless it is: its id, the administrator, the system's account, the first
/// channel. `address` is where the server is reached until somebody sets `Site_Url`.
pub async fn found(
    commands: &Commands,
    administrator: Administrator,
    address: String,
) -> Result<Founding, BootstrapError> {
    if commands.model().workspace_id().is_some() {
        return Ok(Founding::Before);
    }
    let username = administrator.username.unwrap_or_else(|| "admin".to_owned());
    let generated = administrator.password.is_none();
    let password = administrator
        .password
        .unwrap_or_else(|| commands.ids().secret(PASSWORD_LENGTH));
    let hash = password::hash(Asker::server(), Secret::of(&password)).await?;
    let emails = administrator.email.into_iter();
    let profile = Profile {
        username: username.clone(),
        name: Some(
            administrator
                .name
                .unwrap_or_else(|| "Administrator".to_owned()),
        ),
        emails: emails
            .map(|address| Email {
                address,
                verified: false,
            })
            .collect(),
        ..Profile::default()
    };
    let founding = move |decision: &mut Decision<'_>| {
        if decision.model().workspace_id().is_some() {
            return Ok(false);
        }
        let workspace = decision.id();
        decision.found(workspace.to_string());
        set(decision, "uniqueID", Value::from(workspace.as_str()))?;
        set(decision, "Site_Url", Value::from(address.as_str()))?;
        register_system_account(decision)?;
        let administrator = register(decision, profile.clone(), hash.clone(), generated)?;
        create_general(decision, administrator)?;
        Ok(true)
    };
    let done = commands.run(&Caller::system("bootstrap"), founding).await?;
    if !done.answer {
        return Ok(Founding::Before);
    }
    let made = generated.then_some(OneTimePassword { username, password });
    Ok(Founding::Now(made))
}

/// Whether a log was written with these keys: names in it are hashed with one of them, and the name of
/// the server's own account is taken from the first commit on.
pub async fn belong_together(journal: &Journal) -> Result<bool, JournalError> {
    let founding = StreamId::new(WORKSPACE, 0);
    if journal.stream(&founding, Version::NONE).await?.is_empty() {
        return Ok(true);
    }
    let secret = journal.keys().secret(CLAIMS).await?;
    let key = claim_key(&secret, Namespace::Username, SYSTEM_ACCOUNT);
    let claim = StreamId::new(Claim::TYPE, key);
    Ok(!journal.stream(&claim, Version::NONE).await?.is_empty())
}

/// Reads settings from texts, as an operator gives them in the environment: id and value.
fn read_settings(
    settings: Vec<(String, String)>,
) -> Result<Vec<(&'static str, Value)>, BootstrapError> {
    settings
        .into_iter()
        .map(|(id, text)| {
            let Some(definition) = definition(&id) else {
                return Err(BootstrapError::UnknownSetting(id));
            };
            let value = read(definition.kind, &text);
            match definition.validate(&value) {
                Ok(()) => Ok((definition.id, value)),
                Err(source) => Err(BootstrapError::Setting { id, source }),
            }
        })
        .collect()
}

/// Refuses settings that [`overwrite_settings`] would refuse; sets none.
pub fn check_settings(settings: Vec<(String, String)>) -> Result<(), BootstrapError> {
    read_settings(settings).map(drop)
}

/// Sets settings from texts, as an operator gives them in the environment: id and value.
pub async fn overwrite_settings(
    commands: &Commands,
    settings: Vec<(String, String)>,
) -> Result<(), BootstrapError> {
    let settings = read_settings(settings)?;
    let overwriting = move |decision: &mut Decision<'_>| {
        settings
            .iter()
            .try_for_each(|(id, value)| set(decision, id, value.clone()))
    };
    commands
        .run(&Caller::system("bootstrap"), overwriting)
        .await?;
    Ok(())
}

/// What a text means for a setting of this kind; a text that means nothing stays one, and does not
/// validate.
fn read(kind: Kind, text: &str) -> Value {
    let as_text = || Value::from(text);
    match kind {
        Kind::Boolean => text.parse().map_or_else(|_| as_text(), Value::Bool),
        Kind::Int | Kind::Timespan => text.parse::<i64>().map_or_else(|_| as_text(), Value::from),
        Kind::MultiSelect | Kind::Asset => serde_json::from_str(text).unwrap_or_else(|_| as_text()),
        _ => as_text(),
    }
}

fn set(decision: &mut Decision<'_>, id: &str, value: Value) -> Result<(), CommandError> {
    if decision.model().is_set_to(id, &value) {
        return Ok(());
    }
    let key = decision.fresh_key()?;
    decision.setting(id, SettingCommand::Change { key, value })
}

fn register_system_account(decision: &mut Decision<'_>) -> Result<(), CommandError> {
    let profile = Profile {
        username: SYSTEM_ACCOUNT.to_owned(),
        name: Some("Rocket.Cat".to_owned()),
        ..Profile::default()
    };
    decision.claim(Namespace::Username, SYSTEM_ACCOUNT, SYSTEM_ACCOUNT)?;
    let register = AccountCommand::Register {
        key: decision.fresh_key()?,
        how: Registration::Bootstrap,
        kind: AccountKind::Bot,
        roles: vec![RoleId::new("bot")],
        active: true,
        reason: None,
        password_change_required: false,
        profile,
        password: None,
        at: decision.now(),
    };
    decision.account(&UserId::new(SYSTEM_ACCOUNT), register)
}

fn register(
    decision: &mut Decision<'_>,
    profile: Profile,
    password: PasswordHash,
    password_change_required: bool,
) -> Result<UserId, CommandError> {
    let id = UserId::new(decision.id());
    decision.claim(Namespace::Username, &profile.username, id.as_str())?;
    for email in &profile.emails {
        decision.claim(Namespace::Email, &email.address, id.as_str())?;
    }
    let register = AccountCommand::Register {
        key: decision.fresh_key()?,
        how: Registration::Bootstrap,
        kind: AccountKind::User,
        // As in Rocket.Chat not `user`, too: what is taken from users is taken from users alone.
        roles: vec![RoleId::new("admin")],
        active: true,
        reason: None,
        password_change_required,
        profile,
        password: Some(password),
        at: decision.now(),
    };
    decision.account(&id, register)?;
    Ok(id)
}

fn create_general(decision: &mut Decision<'_>, member: UserId) -> Result<(), CommandError> {
    const NAME: &str = "general";
    decision.claim(Namespace::Room, NAME, GENERAL)?;
    let create = RoomCommand::Create {
        key: decision.fresh_key()?,
        kind: RoomKind::Channel,
        creator: None,
        members: vec![member],
        switches: RoomSwitches {
            default: true,
            ..RoomSwitches::default()
        },
        parent: None,
        details: RoomDetails {
            name: NAME.to_owned(),
            fname: NAME.to_owned(),
            ..RoomDetails::default()
        },
        at: decision.now(),
    };
    decision.room(&RoomId::new(GENERAL), create)
}
