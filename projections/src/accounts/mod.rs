//! Accounts: everybody there is, as they are listed, found and shown.
//!
//! What proves who somebody is (passwords, sessions) is not here. Presence is what the user chose
//! last; connections are known in memory only.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::account::{AccountEvent, AccountKind, Presence, Profile};
use hansard_domain::event::{Entry, Event};
use hansard_domain::free::KeptObject;
use hansard_domain::id::{RoleId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, Row};

use crate::folding::folded;
use crate::fragments::number;
use crate::rows::{ByKey, Insert};
use crate::sql::Dialect;
use crate::view::{View, ViewError};

mod decided;
mod queries;
#[cfg(test)]
mod tests;

pub use decided::changed_at;

pub use queries::{
    Filter, Order, Page, Search, SearchFields, all, by_id, by_ids, by_username, count_by_role,
    list, one, reading, some,
};

/// An account as the view knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    pub id: UserId,
    pub profile: Profile,
    pub kind: AccountKind,
    pub active: bool,
    /// What the user chose to be seen as; nothing chosen is offline.
    pub status: Option<Presence>,
    pub roles: Vec<RoleId>,
    pub preferences: KeptObject,
    pub has_password: bool,
    pub password_change_required: bool,
    /// Why it asked to be let in, until it is.
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub last_login: Option<Timestamp>,
}

/// The view `accounts`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accounts;

#[async_trait]
impl View for Accounts {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn version(&self) -> u32 {
        5
    }

    fn schema(&self) -> &'static str {
        include_str!("schema.sql")
    }

    fn own_schema(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => include_str!("fts5.sql"),
            Dialect::Postgres => "",
        }
    }

    fn indexes(&self) -> &'static str {
        include_str!("indexes.sql")
    }

    fn concerns(&self, event: &Event) -> bool {
        matches!(event, Event::Account(_))
    }

    async fn apply(
        &self,
        tables: &mut AnyConnection,
        entries: &[Arc<Entry>],
    ) -> Result<(), ViewError> {
        let mut touched: Vec<&str> = entries
            .iter()
            .filter(|entry| matches!(entry.event, Event::Account(_)))
            .map(|entry| entry.stream.key())
            .collect();
        touched.sort_unstable();
        touched.dedup();
        if touched.is_empty() {
            return Ok(());
        }
        let before = load(tables, &touched).await?;
        let mut accounts = before.clone();
        for entry in entries {
            if let Event::Account(event) = &entry.event {
                change(&mut accounts, entry, event);
            }
        }
        write(tables, &touched, &before, &accounts).await
    }
}

/// An account, and the position of its registration.
#[derive(Debug, Clone, PartialEq)]
struct Numbered {
    number: i64,
    user: User,
}

type Users = HashMap<String, Numbered>;

const LOAD: ByKey = ByKey::new("SELECT id, number, document FROM account WHERE id IN");

async fn load(tables: &mut AnyConnection, ids: &[&str]) -> Result<Users, ViewError> {
    let mut users = Users::with_capacity(ids.len());
    for row in LOAD.fetch(tables, ids).await? {
        let document: String = row.try_get("document")?;
        let numbered = Numbered {
            number: row.try_get("number")?,
            user: hansard_domain::json::from_str(&document)?,
        };
        users.insert(row.try_get("id")?, numbered);
    }
    Ok(users)
}

/// What an event does to the accounts. One whose profile has been shredded was deleted later in the
/// log and is never shown again.
fn change(users: &mut Users, entry: &Entry, event: &AccountEvent) {
    let (id, at) = (entry.stream.key(), entry.at);
    if let AccountEvent::UserRegistered {
        kind,
        roles,
        active,
        reason,
        password_change_required,
        profile,
        password,
        ..
    } = event
    {
        let Some(profile) = profile.value() else {
            return;
        };
        let user = User {
            id: UserId::new(id),
            profile: profile.clone(),
            kind: *kind,
            active: *active,
            roles: roles.clone(),
            has_password: password.is_some(),
            password_change_required: *password_change_required,
            reason: reason.as_ref().and_then(|reason| reason.value().cloned()),
            created_at: at,
            updated_at: at,
            ..User::default()
        };
        let number = number(entry.position);
        users.insert(id.to_owned(), Numbered { number, user });
        return;
    }
    if matches!(event, AccountEvent::UserDeleted { .. }) {
        users.remove(id);
        return;
    }
    let Some(Numbered { user, .. }) = users.get_mut(id) else {
        return;
    };
    if !decided::is_shown(event) {
        return;
    }
    match event {
        AccountEvent::UserRegistered { .. }
        | AccountEvent::UserDeleted { .. }
        | AccountEvent::UserLoggedOut { .. }
        | AccountEvent::SessionsEnded { .. }
        | AccountEvent::LoginFailed { .. }
        | AccountEvent::PersonalAccessTokenCreated { .. }
        | AccountEvent::PersonalAccessTokenRemoved { .. } => return,
        AccountEvent::UserLoggedIn { session, .. } => user.last_login = Some(session.since),
        AccountEvent::UserProfileChanged { profile } => {
            let Some(profile) = profile.value() else {
                return;
            };
            user.profile = profile.clone();
        }
        AccountEvent::UserPasswordChanged {
            change_required, ..
        } => {
            user.has_password = true;
            user.password_change_required = *change_required;
        }
        AccountEvent::UserPreferencesChanged { preferences } => {
            let Some(preferences) = preferences.value() else {
                return;
            };
            user.preferences = preferences.clone().into();
        }
        AccountEvent::UserPresenceChosen { presence } => user.status = Some(*presence),
        AccountEvent::UserActivated {} => {
            user.active = true;
            user.reason = None;
        }
        AccountEvent::UserDeactivated { .. } => user.active = false,
        AccountEvent::RoleGranted { role } => {
            if !user.roles.contains(role) {
                user.roles.push(role.clone());
            }
        }
        AccountEvent::RoleRevoked { role } => user.roles.retain(|held| held != role),
    }
    user.updated_at = at;
}

const ACCOUNT: Insert = Insert::into(
    "account",
    &[
        "id",
        "number",
        "username",
        "name",
        "nickname",
        "bio",
        "email",
        "kind",
        "active",
        "status",
        "created_at",
        "last_login",
        "document",
    ],
)
.on_conflict(
    "ON CONFLICT (id) DO UPDATE SET number = excluded.number, \
     username = excluded.username, name = excluded.name, nickname = excluded.nickname, bio = excluded.bio, email = excluded.email, \
     kind = excluded.kind, active = excluded.active, status = excluded.status, \
     created_at = excluded.created_at, last_login = excluded.last_login, \
     document = excluded.document",
);

const DELETE: ByKey = ByKey::new("DELETE FROM account WHERE id IN");

const ROLE: Insert = Insert::into("account_role", &["role", "account"]);

const DELETE_ROLES: ByKey = ByKey::new("DELETE FROM account_role WHERE account IN");

async fn write(
    tables: &mut AnyConnection,
    touched: &[&str],
    before: &Users,
    after: &Users,
) -> Result<(), ViewError> {
    let mut gone = Vec::new();
    let mut changed = Vec::new();
    let mut stripped = Vec::new();
    let mut granted = Vec::new();
    let mut tally: BTreeMap<_, i64> = BTreeMap::new();
    for &id in touched {
        let (old, new) = (before.get(id), after.get(id));
        if old == new {
            continue;
        }
        match new {
            Some(Numbered { number, user }) => {
                changed.push((*number, user, serde_json::to_string(user)?));
            }
            None => gone.push(id),
        }
        let (old, new) = (old.map(|old| &old.user), new.map(|new| &new.user));
        for (user, number) in [(old, -1), (new, 1)] {
            if let Some(user) = user {
                *tally.entry(counted_as(user)).or_default() += number;
            }
        }
        if old.map(|user| &user.roles) != new.map(|user| &user.roles) {
            stripped.extend(old.map(|_| id));
            granted.extend(
                new.into_iter()
                    .flat_map(|user| user.roles.iter().map(move |role| (role, id))),
            );
        }
    }
    // As the index of fragments takes them in best.
    changed.sort_unstable_by_key(|(number, ..)| *number);
    let tally: Vec<_> = tally
        .into_iter()
        .filter(|(_, number)| *number != 0)
        .collect();
    TALLY
        .write(
            tables,
            &tally,
            |((active, kind, logged_in), number), values| {
                values.flag(*active);
                values.text(*kind);
                values.flag(*logged_in);
                values.number(*number);
            },
        )
        .await?;
    if tally.iter().any(|(_, number)| *number < 0) {
        crate::sql::query("DELETE FROM tally WHERE number = 0")
            .execute(&mut *tables)
            .await?;
    }
    DELETE_ROLES.execute(tables, &stripped).await?;
    DELETE.execute(tables, &gone).await?;
    ACCOUNT
        .write(tables, &changed, |(number, user, document), values| {
            let maybe = |text: &Option<String>| folded(text.as_deref().unwrap_or_default());
            let addresses: Vec<&str> = user
                .profile
                .emails
                .iter()
                .map(|email| email.address.as_str())
                .collect();
            values.text(&user.id);
            values.number(*number);
            values.text(folded(&user.profile.username));
            values.text(maybe(&user.profile.name));
            values.text(maybe(&user.profile.nickname));
            values.text(maybe(&user.profile.bio));
            values.text(folded(&addresses.join(" ")));
            values.text(kind_name(user.kind));
            values.flag(user.active);
            values.text(user.status.unwrap_or(Presence::Offline).as_str());
            values.time(user.created_at);
            values.maybe_time(user.last_login);
            values.text(document);
        })
        .await?;
    ROLE.write(tables, &granted, |(role, account), values| {
        values.text(role);
        values.text(account);
    })
    .await
}

const TALLY: Insert = Insert::into("tally", &["active", "kind", "logged_in", "number"]).on_conflict(
    "ON CONFLICT (active, kind, logged_in) DO UPDATE SET number = tally.number + excluded.number",
);

fn counted_as(user: &User) -> (bool, &'static str, bool) {
    (user.active, kind_name(user.kind), user.last_login.is_some())
}

fn kind_name(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::User => "user",
        AccountKind::Bot => "bot",
        AccountKind::App => "app",
    }
}
