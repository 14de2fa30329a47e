//! Changes of accounts by administrators.

use hansard_commands::account::profile::{self, UserChange};
use hansard_commands::account::status;
use hansard_domain::id::{RoleId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::create::check_name;
use super::info::FULL_INFO;
use super::{OneUser, User, changed};
use crate::app::App;
use crate::operations::request::Proof;
use crate::operations::{Limit, Operation};
use crate::rest::answer::{Answer, answer};
use crate::rest::body::{Body, free_object};
use crate::rest::caller::Caller;
use crate::rest::decided;
use crate::wire::AnyObject;

pub const OPERATIONS: &[Operation] = &[UPDATE, SET_ACTIVE_STATUS, DEACTIVATE_IDLE];

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UpdateUser)]
struct Update {
    user_id: String,
    data: UpdateData,
    /// That rooms it alone owns get other owners.
    #[serde(default)]
    confirm_relinquish: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UpdateData {
    email: Option<String>,
    name: Option<String>,
    username: Option<String>,
    password: Option<String>,
    active: Option<bool>,
    #[schema(value_type = Option<Vec<String>>)]
    roles: Option<Vec<RoleId>>,
    verified: Option<bool>,
    require_password_change: Option<bool>,
    bio: Option<String>,
    nickname: Option<String>,
    status_text: Option<String>,
    language: Option<String>,
    #[schema(value_type = Option<AnyObject>)]
    custom_fields: Option<Map<String, Value>>,
}

pub const UPDATE: Operation = Operation::post("users.update", &update)
    .limited(Limit::AsksForPassword)
    .tells("Change somebody's account.")
    .notes(
        "Needs `edit-other-user-info`; for a password `edit-other-user-password`, for roles \
         `assign-roles`, to activate or deactivate `edit-other-user-active-status`, too. Another email \
         address or password of the caller itself takes its password of now: the hexadecimal SHA-256 of \
         it in `X-2fa-Code`, and `password` in `X-2fa-Method`.",
    );

async fn update(
    app: App,
    caller: Caller,
    (Proof(proof), Body(request)): (Proof, Body<Update>),
) -> Answer<OneUser> {
    let data = request.data;
    if let Some(name) = &data.name {
        check_name(name)?;
    }
    let change = UserChange {
        username: data.username,
        name: data.name,
        email: data.email,
        verified: data.verified,
        password: data.password,
        roles: data.roles,
        active: data.active,
        confirmed: request.confirm_relinquish,
        require_password_change: data.require_password_change,
        bio: data.bio,
        nickname: data.nickname,
        status_text: data.status_text,
        custom_fields: data
            .custom_fields
            .map(|fields| free_object("customFields", fields))
            .transpose()?,
        language: data.language,
        current_password: proof,
    };
    let user = UserId::new(&request.user_id);
    let failed = &app.failed_logins;
    let done = profile::update(&app.commands, failed, &caller, user, change).await?;
    let updated = changed(&app, &done).await;
    let model = app.commands.model();
    if done.answer.id == *caller.user() || model.allows(&caller, FULL_INFO, None) {
        return answer(updated);
    }
    // Who may change an account is not shown all of it for that.
    let row = decided::account(&app, &done).await;
    answer(OneUser {
        user: User::public(&model, &row),
    })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SetActiveStatus {
    user_id: String,
    active_status: bool,
    /// That rooms it alone owns get other owners.
    #[serde(default)]
    confirm_relinquish: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct ActiveUser {
    user: Active,
}

#[derive(Debug, Serialize, ToSchema)]
struct Active {
    #[serde(rename = "_id")]
    id: String,
    active: bool,
}

pub const SET_ACTIVE_STATUS: Operation =
    Operation::post("users.setActiveStatus", &set_active_status)
        .tells("Activate or deactivate an account.")
        .notes("Needs `edit-other-user-active-status` or `manage-moderation-actions`.");

async fn set_active_status(
    app: App,
    caller: Caller,
    Body(request): Body<SetActiveStatus>,
) -> Answer<ActiveUser> {
    let user = UserId::new(&request.user_id);
    let (active, confirmed) = (request.active_status, request.confirm_relinquish);
    let done = status::set_active(&app.commands, &caller, user, active, confirmed).await?;
    answer(ActiveUser {
        user: Active {
            id: done.answer.id.to_string(),
            active: done.answer.state.active,
        },
    })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeactivateIdle {
    days_idle: u64,
    /// Only who has this role; `user` if it is not said.
    role: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Count {
    count: u64,
}

pub const DEACTIVATE_IDLE: Operation = Operation::post("users.deactivateIdle", &deactivate_idle)
    .tells("Deactivate who has not logged in for so many days.")
    .notes("Needs `edit-other-user-active-status`.");

async fn deactivate_idle(
    app: App,
    caller: Caller,
    Body(request): Body<DeactivateIdle>,
) -> Answer<Count> {
    let role = RoleId::new(request.role.as_deref().unwrap_or("user"));
    let count = status::deactivate_idle(&app.commands, &caller, request.days_idle, role).await?;
    answer(Count { count })
}
