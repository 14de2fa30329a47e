//! `settings`: what the workspace is set to.

use std::cmp::Reverse;
use std::collections::HashSet;

use hansard_commands::model::WriteModel;
use hansard_commands::setting;
use hansard_domain::setting::definitions::{self, Definition, Kind};
use hansard_projections::configuration::{self, Changes};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::answer::{Answer, Nothing, answer, done};
use super::body::Body;
use super::caller::{Caller, MaybeCaller};
use super::failure::Failure;
use super::paging::{Direction, Fields, Paging};
use super::query::Query;
use crate::app::App;
use crate::operations::Operation;
use crate::operations::request::Path;
use crate::record::inspected;
use crate::wire::setting::SettingValue;

pub const OPERATIONS: &[Operation] = &[PUBLIC, LIST, GET_ONE, CHANGE];

/// A setting. `fields` asks for more than `_id`, `value` and `enterprise`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "a schema: what is answered follows `fields`")]
struct Setting {
    #[serde(rename = "_id")]
    id: String,
    #[schema(value_type = SettingValue, required = false)]
    value: Value,
    #[schema(required = false)]
    enterprise: bool,
    #[serde(rename = "type")]
    kind: Option<String>,
    group: Option<String>,
    section: Option<String>,
    public: Option<bool>,
    secret: Option<bool>,
    /// What it is where nobody has set it.
    #[schema(value_type = Option<SettingValue>)]
    package_value: Option<Value>,
    /// What it can be set to, where it is one of several.
    values: Option<Vec<Choice>>,
    #[serde(rename = "_updatedAt")]
    updated_at: Option<String>,
}

/// A value that a setting can have.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SettingChoice)]
#[allow(dead_code, reason = "a schema: what is answered follows `fields`")]
struct Choice {
    key: String,
    #[serde(rename = "i18nLabel")]
    label: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SettingList)]
struct Settings {
    #[schema(value_type = Vec<Setting>)]
    settings: Vec<Map<String, Value>>,
    count: usize,
    offset: u64,
    total: u64,
}

/// What a list shows where `fields` asks for no more.
const SHOWN: [&str; 3] = ["_id", "value", "enterprise"];

/// What a `query` may ask about.
const QUERIED: &[&str] = &[
    "_id",
    "value",
    "type",
    "group",
    "section",
    "public",
    "enterprise",
    "_updatedAt",
];

fn object(model: &WriteModel, changes: &Changes, setting: &Definition) -> Map<String, Value> {
    let values: Vec<Value> = setting
        .options
        .iter()
        .map(|option| json!({ "key": option, "i18nLabel": option }))
        .collect();
    let members = [
        ("_id", json!(setting.id)),
        ("value", model.setting(setting.id)),
        ("enterprise", json!(false)),
        ("type", json!(setting.kind)),
        ("group", json!(setting.group)),
        ("section", json!(setting.section)),
        ("public", json!(setting.public)),
        ("secret", json!(setting.secret)),
        ("values", json!(values)),
        ("packageValue", setting.default_value()),
        ("_updatedAt", json!(changes.of(setting.id).iso())),
    ];
    let members = members.into_iter();
    members
        .map(|(name, value)| (name.to_owned(), value))
        .filter(|(_, value)| !value.is_null())
        .collect()
}

/// A page of the settings that are shown, and how many of those that it was taken from are secrets.
async fn page(
    app: &App,
    paging: &Paging,
    shown: impl Fn(&Definition) -> bool,
) -> Result<(Settings, u64), Failure> {
    let query = paging.query.as_ref().filter(|query| !query.is_empty());
    let ids = query.and_then(ids);
    let query = match query {
        Some(query) if ids.is_none() => {
            Some(Query::read(&paging.client, query.clone(), QUERIED).await?)
        }
        _ => None,
    };
    let mut tables = app.views.configuration.read().await?;
    let changes = configuration::of_settings(&mut tables).await?;
    drop(tables);
    let model = app.commands.model();
    let among: Vec<_> = definitions::all()
        .filter(|setting| !setting.hidden && shown(setting))
        .filter(|setting| ids.as_ref().is_none_or(|ids| ids.contains(setting.id)))
        .collect();
    // What is not on the page tells of itself by that, where a query asks for values.
    let secrets = among.iter().filter(|setting| holds_secret(&model, setting));
    let secrets = secrets.count() as u64;
    let mut all: Vec<_> = among
        .into_iter()
        .map(|setting| object(&model, &changes, setting))
        .collect();
    if let Some(query) = query {
        all = query.filter(all, Map::clone).await?;
    }
    all.sort_by_cached_key(|setting| place(paging, setting));
    let total = all.len() as u64;
    let mut settings = paging.slice(all);
    for setting in &mut settings {
        setting.retain(|name, _| SHOWN.contains(&name.as_str()) || asked(paging, name));
    }
    let page = Settings {
        count: settings.len(),
        offset: paging.offset,
        total,
        settings,
    };
    Ok((page, secrets))
}

/// Whether a setting is one that is secret, and was set.
fn holds_secret(model: &WriteModel, setting: &Definition) -> bool {
    let secret = setting.secret || setting.kind == Kind::Password;
    secret && model.setting(setting.id) != setting.default_value()
}

/// Puts on the record how many secret settings were looked at.
async fn looked(app: &App, caller: &Caller, which: String, secrets: u64) -> Result<(), Failure> {
    if secrets == 0 {
        return Ok(());
    }
    inspected(app, caller, "settings", which, secrets).await
}

/// The ids that a query asks for and nothing else: `{"_id": "…"}` or `{"_id": {"$in": ["…", …]}}`, as
/// clients do before a login. `None` for every other query.
fn ids(query: &Map<String, Value>) -> Option<HashSet<&str>> {
    let asked = query.get("_id").filter(|_| query.len() == 1)?;
    let listed = asked.as_object().filter(|asked| asked.len() == 1);
    match listed {
        Some(listed) => {
            let ids = listed.get("$in")?.as_array()?;
            ids.iter().map(Value::as_str).collect()
        }
        None => asked.as_str().map(|id| HashSet::from([id])),
    }
}

fn asked(paging: &Paging, name: &str) -> bool {
    matches!(&paging.fields, Some(Fields::Only(names)) if names.contains(name))
}

/// A value that settings are ordered by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Ascending(String),
    Descending(Reverse<String>),
}

/// What a setting's place depends on: what was asked for, else its id.
fn place(paging: &Paging, setting: &Map<String, Value>) -> Vec<By> {
    let text = |name: &str| match setting.get(name).unwrap_or(&Value::Null) {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let asked = paging.sort.iter().map(|(name, direction)| match direction {
        Direction::Ascending => By::Ascending(text(name)),
        Direction::Descending => By::Descending(Reverse(text(name))),
    });
    asked.chain([By::Ascending(text("_id"))]).collect()
}

pub const PUBLIC: Operation = Operation::get("settings.public", &public)
    .tells("The settings that everybody may read, also before a login.")
    .notes(
        "Without a login `query` can name settings by their `_id` (one, or several with `$in`), and ask \
         nothing else.",
    );

async fn public(app: App, caller: MaybeCaller, paging: Paging) -> Answer<Settings> {
    let query = paging.query.as_ref().filter(|query| !query.is_empty());
    if caller.user.is_none() && query.is_some_and(|query| ids(query).is_none()) {
        return Err(Failure::not_logged_in());
    }
    let (page, _) = page(&app, &paging, |setting| setting.public && !setting.secret).await?;
    answer(page)
}

pub const LIST: Operation = Operation::get("settings", &list)
    .tells("The settings.")
    .notes(
        "All of them with `view-privileged-setting`, else those that are public. That secrets were \
         among those that were looked through is on the record.",
    );

async fn list(app: App, caller: Caller, paging: Paging) -> Answer<Settings> {
    let privileged = setting::may_view(&app.commands.model(), &caller);
    let shown = |setting: &Definition| privileged || (setting.public && !setting.secret);
    let (page, secrets) = page(&app, &paging, shown).await?;
    looked(&app, &caller, String::new(), secrets).await?;
    answer(page)
}

#[derive(Debug, Serialize, ToSchema)]
struct OneSetting {
    #[serde(rename = "_id")]
    id: String,
    #[schema(value_type = SettingValue)]
    value: Value,
}

fn missing() -> Failure {
    Failure::refused("error-invalid-setting", "Invalid setting")
}

pub const GET_ONE: Operation = Operation::get("settings.get", &get_one)
    .at("/api/v1/settings/{id}")
    .tagged("settings")
    .tells("One setting.")
    .notes("Needs `view-privileged-setting`. That a secret was shown is on the record.");

async fn get_one(app: App, caller: Caller, Path(id): Path) -> Answer<OneSetting> {
    let model = app.commands.model();
    if !setting::may_view(&model, &caller) {
        return Err(Failure::forbidden_because("unauthorized"));
    }
    let found = definitions::definition(&id).filter(|setting| !setting.hidden);
    let setting = found.ok_or_else(missing)?;
    let secrets = u64::from(holds_secret(&model, setting));
    looked(&app, &caller, id, secrets).await?;
    answer(OneSetting {
        id: setting.id.to_owned(),
        value: model.setting(setting.id),
    })
}

#[derive(Debug, Deserialize, ToSchema)]
struct Change {
    #[schema(value_type = SettingValue)]
    value: Option<Value>,
}

pub const CHANGE: Operation = Operation::post("settings.set", &change)
    .at("/api/v1/settings/{id}")
    .tagged("settings")
    .tells("Set a setting.")
    .notes("Needs `edit-privileged-setting`. The value must be of the setting's kind.");

async fn change(
    app: App,
    caller: Caller,
    (Path(id), Body(request)): (Path, Body<Change>),
) -> Answer<Nothing> {
    let value = request.value.unwrap_or_default();
    setting::change(&app.commands, &caller, &id, value).await?;
    done()
}
