//! New accounts, and the end of them.

use hansard_commands::account::create::{self, Application, NewUser};
use hansard_commands::account::{delete, names};
use hansard_domain::id::RoleId;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{OneUser, UserParam, changed};
use crate::app::App;
use crate::operations::{Limit, Operation};
use crate::rest::answer::{Answer, Nothing, answer, done};
use crate::rest::body::{Body, free_object};
use crate::rest::caller::{Caller, MaybeCaller};
use crate::rest::failure::Failure;
use crate::rest::lenient;
use crate::wire::AnyObject;

pub const OPERATIONS: &[Operation] = &[CREATE_USER, REGISTER, DELETE_USER, DELETE_OWN];

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CreateUser)]
struct Create {
    email: String,
    name: String,
    username: String,
    password: Option<String>,
    #[serde(default)]
    set_random_password: bool,
    active: Option<bool>,
    #[schema(value_type = Option<Vec<String>>)]
    roles: Option<Vec<RoleId>>,
    join_default_channels: Option<bool>,
    #[serde(default)]
    require_password_change: bool,
    #[serde(default)]
    verified: bool,
    #[schema(value_type = Option<AnyObject>)]
    custom_fields: Option<Map<String, Value>>,
    bio: Option<String>,
    nickname: Option<String>,
    status_text: Option<String>,
}

pub fn check_name(name: &str) -> Result<(), Failure> {
    if names::has_valid_characters(name) {
        return Ok(());
    }
    Err(Failure::plain("Name contains invalid characters"))
}

pub const CREATE_USER: Operation = Operation::post("users.create", &create_user)
    .tells("Make an account for somebody.")
    .notes("Needs `create-user`; to make an administrator `assign-admin-role`, too.");

async fn create_user(app: App, caller: Caller, Body(request): Body<Create>) -> Answer<OneUser> {
    check_name(&request.name)?;
    let new = NewUser {
        username: request.username,
        name: Some(request.name),
        email: Some(request.email),
        verified: request.verified,
        password: request.password,
        set_random_password: request.set_random_password,
        require_password_change: request.require_password_change,
        roles: request.roles.unwrap_or_default(),
        active: request.active,
        join_default_channels: request.join_default_channels.unwrap_or(true),
        custom_fields: free_object("customFields", request.custom_fields.unwrap_or_default())?,
        bio: request.bio,
        nickname: request.nickname,
        status_text: request.status_text,
    };
    let done = create::create(&app.commands, &caller, new).await?;
    answer(changed(&app, &done).await)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Register {
    username: String,
    email: String,
    pass: String,
    name: String,
    /// The last part of a secret registration address.
    #[serde(rename = "secretURL")]
    secret_url: Option<String>,
    /// Why they should be let in, where an administrator decides that.
    reason: Option<String>,
    #[schema(value_type = Option<AnyObject>)]
    custom_fields: Option<Map<String, Value>>,
}

pub const REGISTER: Operation = Operation::post("users.register", &register)
    .limited(Limit::Registration)
    .tells("Make an account for oneself, where the workspace allows that.");

async fn register(app: App, caller: MaybeCaller, Body(request): Body<Register>) -> Answer<OneUser> {
    check_name(&request.name)?;
    let application = Application {
        username: request.username,
        name: request.name,
        email: request.email,
        password: request.pass,
        secret: request.secret_url,
        reason: request.reason,
        custom_fields: free_object("customFields", request.custom_fields.unwrap_or_default())?,
    };
    let done = create::register(&app.commands, &caller, application).await?;
    answer(changed(&app, &done).await)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeleteUser)]
struct Delete {
    #[serde(flatten, deserialize_with = "lenient::beside")]
    user: UserParam,
    /// That rooms it alone owns get other owners.
    #[serde(default)]
    confirm_relinquish: bool,
}

pub const DELETE_USER: Operation = Operation::post("users.delete", &delete_user)
    .tells("Delete an account, with all that is personal about it.")
    .notes("Needs `delete-user`.");

async fn delete_user(app: App, caller: Caller, Body(request): Body<Delete>) -> Answer<Nothing> {
    delete::check_may_delete(&app.commands.model(), &caller)?;
    let user = request.user.find(&app)?;
    let confirmed = request.confirm_relinquish;
    let deleted = delete::delete(&app.commands, &caller, user, confirmed).await?;
    app.erasure.follows(&app.commands, deleted).await;
    done()
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeleteOwn {
    /// The hexadecimal SHA-256 of the password.
    password: Option<String>,
    #[serde(default)]
    confirm_relinquish: bool,
}

pub const DELETE_OWN: Operation = Operation::post("users.deleteOwnAccount", &delete_own)
    .limited(Limit::AsksForPassword)
    .tells("Delete the account of the caller, where the workspace allows that.");

async fn delete_own(app: App, caller: Caller, Body(request): Body<DeleteOwn>) -> Answer<Nothing> {
    let Some(password) = request.password.filter(|password| !password.is_empty()) else {
        return Err(Failure::plain("Body parameter \"password\" is required."));
    };
    let confirmed = request.confirm_relinquish;
    let failed = &app.failed_logins;
    let deleted = delete::delete_own(&app.commands, failed, &caller, &password, confirmed).await?;
    app.erasure.follows(&app.commands, deleted).await;
    done()
}
