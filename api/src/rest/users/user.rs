//! An account on the wire, in as much detail as whoever asks may see.

use std::sync::LazyLock;

use hansard_commands::model::WriteModel;
use hansard_domain::account::{Email, Presence};
use hansard_domain::id::{RoleId, Timestamp};
use hansard_domain::setting::definitions::{self, Definition};
use hansard_projections::accounts::User as Row;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::wire::{AnyObject, account};

/// A user. Who may not see it all gets fewer members.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    #[serde(rename = "_id")]
    pub id: String,
    #[schema(required = false)]
    pub username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bio: Option<String>,
    /// `user`, `bot` or `app`.
    #[serde(rename = "type")]
    #[schema(required = false)]
    pub kind: &'static str,
    #[schema(required = false)]
    pub active: bool,
    /// `online`, `away`, `busy` or `offline`.
    #[schema(required = false)]
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
    /// Why somebody who is not let in yet wants to be; only for those who may see the whole account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utc_offset: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<AnyObject>)]
    pub custom_fields: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_default: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_connection: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<account::UserEmail>>)]
    pub emails: Option<Vec<Email>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub roles: Option<Vec<RoleId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_password_change: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_login: Option<String>,
    #[serde(rename = "_updatedAt", skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// `{"preferences": {…}}`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<account::Settings>)]
    pub settings: Option<Value>,
    /// What the account can log in with; only for its own user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<account::Services>)]
    pub services: Option<Value>,
    /// Whether more is shown than to everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_view_all_info: Option<bool>,
    /// The first verified address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// The rooms it is in, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<account::UserRoom>>)]
    pub rooms: Option<Vec<Value>>,
}

fn kind(row: &Row) -> &'static str {
    use hansard_domain::account::AccountKind;
    match row.kind {
        AccountKind::User => "user",
        AccountKind::Bot => "bot",
        AccountKind::App => "app",
    }
}

pub fn status(row: &Row) -> &'static str {
    row.status.unwrap_or(Presence::Offline).as_str()
}

fn fields(fields: Map<String, Value>) -> Option<Map<String, Value>> {
    Some(fields).filter(|fields| !fields.is_empty())
}

impl User {
    /// What everybody may see. Of custom fields, those that the workspace calls public.
    pub fn public(model: &WriteModel, row: &Row) -> Self {
        let profile = &row.profile;
        let shown: Map<String, Value> = profile
            .custom_fields
            .read()
            .into_iter()
            .filter(|(name, _)| is_public_field(model, name))
            .collect();
        Self {
            id: row.id.to_string(),
            username: profile.username.clone(),
            name: profile.name.clone(),
            nickname: profile.nickname.clone(),
            bio: profile.bio.clone(),
            kind: kind(row),
            active: row.active,
            status: status(row),
            status_text: Some(profile.status_text.clone()).filter(|text| !text.is_empty()),
            utc_offset: Some(0),
            custom_fields: fields(shown),
            can_view_all_info: Some(false),
            ..Self::default()
        }
    }

    /// What administrators see, and everybody of themselves.
    pub fn full(model: &WriteModel, row: &Row) -> Self {
        Self {
            emails: Some(row.profile.emails.clone()),
            reason: row.reason.clone(),
            roles: Some(row.roles.clone()),
            status_default: Some(status(row)),
            status_connection: Some("offline"),
            require_password_change: row.password_change_required.then_some(true),
            created_at: Some(row.created_at.iso()),
            last_login: row.last_login.map(Timestamp::iso),
            updated_at: Some(row.updated_at.iso()),
            custom_fields: fields(row.profile.custom_fields.read()),
            can_view_all_info: Some(true),
            ..Self::public(model, row)
        }
    }

    /// An account as an answer to whoever has just made or changed it.
    pub fn whole(model: &WriteModel, row: &Row) -> Self {
        Self {
            settings: Some(json!({ "preferences": row.preferences })),
            can_view_all_info: None,
            ..Self::full(model, row)
        }
    }

    /// An account as its own user gets it after a login, with all preferences.
    pub fn own(model: &WriteModel, row: &Row) -> Self {
        let verified = row.profile.emails.iter().find(|email| email.verified);
        let site = model.text("Site_Url");
        let avatar = format!(
            "{}/avatar/{}",
            site.trim_end_matches('/'),
            row.profile.username
        );
        Self {
            email: verified.map(|email| email.address.clone()),
            avatar_url: Some(avatar),
            settings: Some(json!({ "profile": {}, "preferences": preferences(model, row) })),
            services: Some(json!({ "password": { "exists": row.has_password } })),
            can_view_all_info: None,
            ..Self::full(model, row)
        }
    }

    /// The object that lists project and filter.
    pub fn into_object(self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(object)) => object,
            // A struct of plain values is always an object.
            _ => Map::new(),
        }
    }
}

/// The names of preferences, and the settings that hold the workspace's defaults of them.
static DEFAULTS: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    const PREFIX: &str = "Accounts_Default_User_Preferences_";
    let named = |setting: &'static Definition| Some((setting.id.strip_prefix(PREFIX)?, setting.id));
    definitions::all().filter_map(named).collect()
});

/// The workspace's defaults, and over them what the user chose.
fn preferences(model: &WriteModel, row: &Row) -> Map<String, Value> {
    let defaults = DEFAULTS.iter();
    let mut preferences: Map<String, Value> = defaults
        .map(|(name, setting)| ((*name).to_owned(), model.setting(setting)))
        .collect();
    preferences.extend(row.preferences.read());
    preferences
}

fn is_public_field(model: &WriteModel, name: &str) -> bool {
    let text = model.text("Accounts_CustomFields");
    let rules: Option<Map<String, Value>> = serde_json::from_str(&text).ok();
    rules.is_some_and(|rules| rules.get(name).is_some_and(|rule| rule["public"] == true))
}
