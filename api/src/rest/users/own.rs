//! What users do with their own accounts.

use std::collections::HashSet;

use hansard_commands::account::names;
use hansard_commands::account::profile::{self, OwnChange};
use hansard_domain::account::Presence;
use hansard_domain::id::UserId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::create::check_name;
use super::info::FULL_INFO;
use super::{OneUser, changed, row};
use crate::app::App;
use crate::operations::request::Proof;
use crate::operations::{Limit, Operation};
use crate::rest::answer::{Answer, answer};
use crate::rest::body::{Body, Params, free_object};
use crate::rest::caller::{Caller, LoggedIn};
use crate::rest::failure::Failure;
use crate::wire::AnyObject;

pub const OPERATIONS: &[Operation] = &[
    UPDATE_OWN_BASIC_INFO,
    SET_PREFERENCES,
    GET_PREFERENCES,
    GET_USERNAME_SUGGESTION,
    CHECK_USERNAME_AVAILABILITY,
];

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UpdateOwn {
    data: OwnData,
    #[schema(value_type = Option<AnyObject>)]
    custom_fields: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OwnData {
    email: Option<String>,
    name: Option<String>,
    username: Option<String>,
    nickname: Option<String>,
    bio: Option<String>,
    status_text: Option<String>,
    /// `online`, `away`, `busy` or `offline`.
    status_type: Option<String>,
    /// The hexadecimal SHA-256 of the password; a change of email or password takes it.
    current_password: Option<String>,
    new_password: Option<String>,
}

pub fn presence(status: &str) -> Result<Presence, Failure> {
    match status {
        "online" => Ok(Presence::Online),
        "away" => Ok(Presence::Away),
        "busy" => Ok(Presence::Busy),
        "offline" => Ok(Presence::Offline),
        _ => Err(Failure::refused(
            "error-invalid-status",
            "Valid status types include online, away, offline, and busy.",
        )),
    }
}

pub const UPDATE_OWN_BASIC_INFO: Operation = Operation::post(
    "users.updateOwnBasicInfo",
    &update_own_basic_info,
)
.limited(Limit::AsksForPassword)
.tells("Change the caller's own account, as far as the workspace's settings let users.")
.notes(
    "Where a new password is required of the account, this is how it is set, by `newPassword` and \
         `currentPassword` alone.",
);

async fn update_own_basic_info(
    app: App,
    LoggedIn(caller): LoggedIn,
    (Proof(proof), Body(request)): (Proof, Body<UpdateOwn>),
) -> Answer<OneUser> {
    let data = request.data;
    if let Some(name) = &data.name {
        check_name(name)?;
    }
    let status = data.status_type.filter(|status| !status.is_empty());
    let change = OwnChange {
        username: data.username,
        name: data.name,
        email: data.email,
        new_password: data.new_password,
        current_password: data.current_password.or(proof),
        bio: data.bio,
        nickname: data.nickname,
        status_text: data.status_text,
        presence: status.as_deref().map(presence).transpose()?,
        custom_fields: request
            .custom_fields
            .filter(|fields| !fields.is_empty())
            .map(|fields| free_object("customFields", fields))
            .transpose()?,
    };
    let done = profile::update_own(&app.commands, &app.failed_logins, &caller, change).await?;
    answer(changed(&app, &done).await)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SetPreferences {
    /// The caller, if it is not said.
    user_id: Option<String>,
    #[schema(value_type = AnyObject)]
    data: Map<String, Value>,
}

#[derive(Debug, Serialize, ToSchema)]
struct PreferredUser {
    user: Preferred,
}

#[derive(Debug, Serialize, ToSchema)]
struct Preferred {
    #[serde(rename = "_id")]
    id: String,
    settings: Settings,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserSettings)]
struct Settings {
    #[schema(value_type = AnyObject)]
    preferences: Map<String, Value>,
}

pub const SET_PREFERENCES: Operation = Operation::post("users.setPreferences", &set_preferences)
    .tells("Change preferences.")
    .notes("Of another account than the caller's it needs `edit-other-user-info`.");

async fn set_preferences(
    app: App,
    caller: Caller,
    Body(request): Body<SetPreferences>,
) -> Answer<PreferredUser> {
    let user = request.user_id.filter(|id| !id.is_empty());
    let user = user.map_or_else(|| caller.user().clone(), UserId::new);
    let given: HashSet<String> = request.data.keys().cloned().collect();
    let preferences = free_object("data", request.data)?;
    let done = profile::set_preferences(&app.commands, &caller, user, preferences).await?;
    let mut preferences = done.answer.state.preferences.read();
    let own = done.answer.id == *caller.user();
    if !own && !app.commands.model().allows(&caller, FULL_INFO, None) {
        // Who may change them is not shown all of them for that.
        preferences.retain(|name, _| given.contains(name));
    }
    answer(PreferredUser {
        user: Preferred {
            id: done.answer.id.to_string(),
            settings: Settings { preferences },
        },
    })
}

pub const GET_PREFERENCES: Operation = Operation::get("users.getPreferences", &get_preferences)
    .tells("The caller's preferences, those that were chosen.");

async fn get_preferences(app: App, caller: Caller, (): ()) -> Answer<Settings> {
    let row = row(&app, caller.user()).await?;
    answer(Settings {
        preferences: row.preferences.read(),
    })
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SuggestedName)]
struct Suggestion {
    result: String,
}

pub const GET_USERNAME_SUGGESTION: Operation =
    Operation::get("users.getUsernameSuggestion", &get_username_suggestion)
        .tells("A username for the caller that is free and looks like the name.");

async fn get_username_suggestion(app: App, caller: Caller, (): ()) -> Answer<Suggestion> {
    let model = app.commands.model();
    let account = model
        .account(caller.user())
        .ok_or_else(Failure::not_logged_in)?;
    answer(Suggestion {
        result: names::suggestion(&model, account),
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Username {
    username: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Availability {
    result: bool,
}

pub const CHECK_USERNAME_AVAILABILITY: Operation = Operation::get(
    "users.checkUsernameAvailability",
    &check_username_availability,
)
.tells("Whether the caller could have a username.");

async fn check_username_availability(
    app: App,
    caller: Caller,
    Params(Username { username }): Params<Username>,
) -> Answer<Availability> {
    let model = app.commands.model();
    if username.is_empty() {
        return Err(Failure::refused(
            "error-invalid-username",
            "Invalid username",
        ));
    }
    if !model.flag("Accounts_AllowUsernameChange") {
        return Err(Failure::refused("error-not-allowed", "Not allowed"));
    }
    let own = model.user_by_name(&username) == Some(caller.user());
    let result = own || names::is_available(&model, &username)?;
    answer(Availability { result })
}
