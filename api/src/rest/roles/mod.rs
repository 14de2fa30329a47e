//! `roles.*`: which roles there are, and who has them.

use hansard_commands::after::RoleAfter;
use hansard_commands::authorization::sight::{OTHERS_ROOMS, Purpose};
use hansard_commands::bus::Done;
use hansard_commands::inspection::{self, Inspection};
use hansard_commands::model::WriteModel;
use hansard_commands::role::{self, NewRole};
use hansard_domain::id::{RoleId, RoomId, UserId};
use hansard_domain::permission::RoleScope;
use hansard_domain::role::Role as Decided;
use hansard_projections::accounts::{self, Filter, Page, User as Row};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, Nothing, answer, done};
use super::body::{Body, Params};
use super::caller::Caller;
use super::failure::Failure;
use super::paging::Paging;
use super::users::{User, UserParam};
use super::{decided, lenient};
use crate::app::App;
use crate::operations::Operation;

pub const OPERATIONS: &[Operation] = &[
    LIST,
    CREATE,
    UPDATE,
    DELETE,
    ADD_USER_TO_ROLE,
    REMOVE_USER_FROM_ROLE,
    GET_USERS_IN_ROLE,
];

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Role {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    /// `Users`: held everywhere. `Subscriptions`: held in one room.
    #[schema(value_type = String)]
    scope: RoleScope,
    description: String,
    #[serde(rename = "mandatory2fa")]
    mandatory_2fa: bool,
    /// One of those that every workspace has.
    protected: bool,
    #[serde(rename = "_updatedAt", skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
}

fn role_of(id: &RoleId, role: &Decided) -> Option<Role> {
    let details = role.details.as_ref()?;
    Some(Role {
        id: id.to_string(),
        name: details.name.clone(),
        scope: details.scope,
        description: details.description.clone(),
        mandatory_2fa: details.mandatory_2fa,
        protected: role.protected,
        updated_at: None,
    })
}

#[derive(Debug, Serialize, ToSchema)]
struct OneRole {
    role: Role,
}

async fn one(app: &App, done: &Done<RoleAfter>) -> Answer<OneRole> {
    let RoleAfter { id, state } = &done.answer;
    let missing = || Failure::refused("error-role-not-found", "Role not found");
    let mut role = role_of(id, state).ok_or_else(missing)?;
    let changes = decided::changes_of_roles(app, done.entries()).await;
    role.updated_at = Some(changes.of(id.as_str()).iso());
    answer(OneRole { role })
}

#[derive(Debug, Serialize, ToSchema)]
struct Roles {
    roles: Vec<Role>,
}

pub const LIST: Operation = Operation::get("roles.list", &list).tells("All roles.");

async fn list(app: App, _: Caller, (): ()) -> Answer<Roles> {
    let model = app.commands.model();
    let mut roles: Vec<Role> = model
        .roles()
        .filter_map(|(id, role)| role_of(id, role))
        .collect();
    roles.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    answer(Roles { roles })
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateRole)]
struct Create {
    name: String,
    #[schema(value_type = Option<String>)]
    scope: Option<RoleScope>,
    description: Option<String>,
    mandatory2fa: Option<bool>,
}

impl From<Create> for NewRole {
    fn from(create: Create) -> Self {
        Self {
            name: create.name,
            scope: create.scope,
            description: create.description.unwrap_or_default(),
            mandatory_2fa: create.mandatory2fa,
        }
    }
}

pub const CREATE: Operation = Operation::post("roles.create", &create)
    .tells("Make a role.")
    .notes("Needs `access-permissions`, as do all changes of roles.");

async fn create(app: App, caller: Caller, Body(request): Body<Create>) -> Answer<OneRole> {
    let done = role::create(&app.commands, &caller, request.into()).await?;
    one(&app, &done).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UpdateRole)]
struct Update {
    role_id: String,
    name: String,
    #[schema(value_type = Option<String>)]
    scope: Option<RoleScope>,
    description: Option<String>,
    mandatory2fa: Option<bool>,
}

pub const UPDATE: Operation = Operation::post("roles.update", &update)
    .tells("Change a role. Name and scope of those that every workspace has stay.");

async fn update(app: App, caller: Caller, Body(request): Body<Update>) -> Answer<OneRole> {
    let id = RoleId::new(&request.role_id);
    let new = Create {
        name: request.name,
        scope: request.scope,
        description: request.description,
        mandatory2fa: request.mandatory2fa,
    };
    let done = role::change(&app.commands, &caller, id, new.into()).await?;
    one(&app, &done).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RoleParam {
    /// Its id, or its name.
    role_id: String,
}

pub const DELETE: Operation =
    Operation::post("roles.delete", &delete).tells("Delete a role that nobody has.");

async fn delete(app: App, caller: Caller, Body(request): Body<RoleParam>) -> Answer<Nothing> {
    role::delete(&app.commands, &caller, request.role_id).await?;
    done()
}

/// Names a role: by id, or, as older clients do, by name.
fn find_role(
    app: &App,
    id: Option<&String>,
    name: Option<&String>,
    missing: impl FnOnce() -> Failure,
) -> Result<RoleId, Failure> {
    let given = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
    let Some(asked) = given(id).or_else(|| given(name)) else {
        return Err(Failure::plain("error-invalid-role-properties"));
    };
    role::find(&app.commands.model(), &asked).ok_or_else(missing)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AddUser {
    #[serde(flatten, deserialize_with = "lenient::beside")]
    user: UserParam,
    role_id: Option<String>,
    role_name: Option<String>,
    /// Where the role is held in a room.
    room_id: Option<String>,
}

pub const ADD_USER_TO_ROLE: Operation =
    Operation::post("roles.addUserToRole", &add_user_to_role).tells("Give a user a role.");

async fn add_user_to_role(
    app: App,
    caller: Caller,
    Body(request): Body<AddUser>,
) -> Answer<OneRole> {
    let user = request.user.find(&app)?;
    let (id, name) = (request.role_id.as_ref(), request.role_name.as_ref());
    let role = find_role(&app, id, name, || {
        Failure::refused("Role not found", "error-role-not-found")
    })?;
    let room = request.room_id.map(RoomId::new);
    let done = role::grant(&app.commands, &caller, user, role, room).await?;
    one(&app, &done).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RemoveUser {
    username: String,
    role_id: Option<String>,
    role_name: Option<String>,
    /// The room, where the role is held in one.
    scope: Option<String>,
}

pub const REMOVE_USER_FROM_ROLE: Operation =
    Operation::post("roles.removeUserFromRole", &remove_user_from_role)
        .tells("Take a role from a user.");

async fn remove_user_from_role(
    app: App,
    caller: Caller,
    Body(request): Body<RemoveUser>,
) -> Answer<OneRole> {
    let user = app
        .commands
        .model()
        .user_by_name(&request.username)
        .cloned()
        .ok_or_else(|| {
            Failure::refused("error-invalid-user", "There is no user with this username")
        })?;
    let (id, name) = (request.role_id.as_ref(), request.role_name.as_ref());
    let role = find_role(&app, id, name, || {
        Failure::refused("error-invalid-roleId", "This role does not exist")
    })?;
    let room = request.scope.map(RoomId::new);
    let done = role::revoke(&app.commands, &caller, user, role, room).await?;
    one(&app, &done).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct InRole {
    /// The role's id, or its name.
    role: Option<String>,
    /// Where the role is held in a room.
    room_id: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Holders {
    #[schema(value_type = Vec<User>)]
    users: Vec<Map<String, Value>>,
    total: u64,
}

pub const GET_USERS_IN_ROLE: Operation = Operation::get("roles.getUsersInRole", &get_users_in_role)
    .tells("Who has a role.")
    .notes(
        "Needs `access-permissions`; for a room `view-other-user-channels`, too, and a look into one \
         that the caller does not see goes on the audit.",
    );

async fn get_users_in_role(
    app: App,
    caller: Caller,
    (Params(asked), paging): (Params<InRole>, Paging),
) -> Answer<Holders> {
    let model = app.commands.model();
    let Some(role) = asked.role.filter(|role| !role.is_empty()) else {
        return Err(Failure::refused(
            "error-param-not-provided",
            "Query param \"role\" is required",
        ));
    };
    let require = |permission| {
        model.require_or(
            &caller,
            permission,
            None,
            "error-not-allowed",
            "Not allowed",
        )
    };
    require("access-permissions")?;
    let room = asked.room_id.filter(|room| !room.is_empty());
    if room.is_some() {
        require(OTHERS_ROOMS)?;
    }
    let role = role::find(&model, &role)
        .ok_or_else(|| Failure::refused("error-invalid-roleId", "error-invalid-roleId"))?;
    let mut tables = app.views.accounts.read().await?;
    let (rows, total) = if let Some(room) = room {
        let found = model.room(&RoomId::new(&room));
        let holders: Vec<UserId> = found
            .into_iter()
            .flat_map(|room| room.holders(role.as_str()).cloned())
            .collect();
        let mut rows = accounts::by_ids(&mut tables, &holders).await?;
        rows.sort_unstable_by(|one, other| one.profile.username.cmp(&other.profile.username));
        let total = rows.len() as u64;
        let id = RoomId::new(&room);
        if found.is_some() && !model.sees(&caller, &id, Purpose::Particulars) {
            let inspection = Inspection {
                permission: OTHERS_ROOMS,
                room: Some(id),
                user: None,
                shown: total,
            };
            inspection::record(&app.commands, &caller, inspection).await?;
        }
        (paging.slice(rows), total)
    } else {
        let filter = Filter {
            role: Some(role),
            ..Filter::default()
        };
        let page = Page {
            offset: paging.offset,
            limit: paging.count,
            ..Page::default()
        };
        accounts::list(&mut tables, &filter, &page).await?
    };
    let users = rows.iter().map(|row| holder(&model, row)).collect();
    answer(Holders { users, total })
}

fn holder(model: &WriteModel, row: &Row) -> Map<String, Value> {
    const SHOWN: [&str; 6] = [
        "_id",
        "username",
        "name",
        "emails",
        "createdAt",
        "_updatedAt",
    ];
    let mut user = User::full(model, row).into_object();
    user.retain(|name, _| SHOWN.contains(&name.as_str()));
    user
}
