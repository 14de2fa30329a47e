//! `permissions.*`: which roles hold which permission.

use std::collections::BTreeMap;

use hansard_commands::role;
use hansard_domain::id::{RoleId, Timestamp};
use hansard_projections::configuration::{self, Changes};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, answer};
use super::body::{Body, Params};
use super::caller::Caller;
use super::decided;
use super::failure::Failure;
use super::lenient;
use crate::app::App;
use crate::operations::Operation;
use crate::wire::Removed;

pub const OPERATIONS: &[Operation] = &[LIST_ALL, UPDATE];

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
struct Grant {
    #[serde(rename = "_id")]
    id: String,
    #[schema(value_type = Vec<String>)]
    roles: Vec<RoleId>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Permission {
    #[serde(flatten)]
    grant: Grant,
    #[serde(rename = "_updatedAt")]
    updated_at: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct Since {
    /// Only those that changed after this time, in ISO 8601.
    updated_since: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AllPermissions {
    update: Vec<Permission>,
    /// Always empty: permissions are never removed.
    #[schema(value_type = Vec<Removed>)]
    remove: Vec<Value>,
}

fn changed_after(app: &App, changes: &Changes, after: Option<Timestamp>) -> Vec<Permission> {
    let model = app.commands.model();
    let permissions: BTreeMap<_, _> = model.permissions().collect();
    let permissions = permissions.into_iter().map(|(id, permission)| {
        let grant = Grant {
            id: id.clone(),
            roles: permission.roles.clone(),
        };
        (changes.of(id), grant)
    });
    permissions
        .filter(|(at, _)| after.is_none_or(|after| *at > after))
        .map(|(at, grant)| Permission {
            grant,
            updated_at: at.iso(),
        })
        .collect()
}

pub const LIST_ALL: Operation = Operation::get("permissions.listAll", &list_all)
    .tells("All permissions, with the roles that hold them.");

async fn list_all(app: App, _: Caller, Params(asked): Params<Since>) -> Answer<AllPermissions> {
    let after = asked.updated_since.as_deref().map(|text| {
        Timestamp::parse(text).ok_or_else(|| {
            Failure::refused(
                "error-roomId-param-invalid",
                "The \"updatedSince\" query parameter must be a valid date.",
            )
        })
    });
    let after = after.transpose()?;
    let mut tables = app.views.configuration.read().await?;
    let changes = configuration::of_permissions(&mut tables).await?;
    answer(AllPermissions {
        update: changed_after(&app, &changes, after),
        remove: vec![],
    })
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = UpdatePermissions)]
struct Update {
    #[schema(value_type = Vec<Grant>)]
    permissions: Value,
}

#[derive(Debug, Serialize, ToSchema)]
struct Updated {
    permissions: Vec<Permission>,
}

pub const UPDATE: Operation = Operation::post("permissions.update", &update)
    .tells("Grant permissions to exactly the roles beside them.")
    .notes("Needs `access-permissions`.");

async fn update(app: App, caller: Caller, Body(request): Body<Update>) -> Answer<Updated> {
    let grants: Vec<Grant> = lenient::read(request.permissions)
        .map_err(|_| Failure::refused("error-invalid-body-params", "Invalid body params"))?;
    let grants = grants.into_iter().map(|grant| (grant.id, grant.roles));
    let done = role::grant_permissions(&app.commands, &caller, grants.collect()).await?;
    let changes = decided::changes_of_permissions(&app, done.entries()).await;
    answer(Updated {
        permissions: changed_after(&app, &changes, None),
    })
}
