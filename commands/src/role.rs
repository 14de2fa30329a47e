//! Roles: which there are, who has them, and what they are granted.

use std::collections::HashSet;

use hansard_domain::account::AccountCommand;
use hansard_domain::id::{RoleId, RoomId, UserId};
use hansard_domain::limit::{self, OutOfBounds};
use hansard_domain::permission::RoleScope;
use hansard_domain::role::{PermissionCommand, RoleCommand, RoleDetails};
use hansard_domain::room::RoomCommand;

use crate::account::{ADMIN, is_last_admin};
use crate::after::RoleAfter;
use crate::bus::{Commands, Done};
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;

const PERMISSION: &str = "access-permissions";

/// A role as somebody wants it.
#[derive(Debug, Clone)]
pub struct NewRole {
    pub name: String,
    pub scope: Option<RoleScope>,
    pub description: String,
    pub mandatory_2fa: Option<bool>,
}

impl NewRole {
    fn check_size(&self) -> Result<(), OutOfBounds> {
        limit::ROLE_NAME.check(&self.name)?;
        limit::ROLE_DESCRIPTION.check(&self.description)
    }
}

fn require_access(model: &WriteModel, caller: &Caller) -> Result<(), CommandError> {
    model.require_or(
        caller,
        PERMISSION,
        None,
        "error-action-not-allowed",
        "Accessing permissions is not allowed",
    )
}

/// The role of this id, or else of this name.
pub fn find(model: &WriteModel, id_or_name: &str) -> Option<RoleId> {
    let by_id = RoleId::new(id_or_name);
    if model.role(&by_id).is_some() {
        return Some(by_id);
    }
    named(model, id_or_name)
}

fn named(model: &WriteModel, name: &str) -> Option<RoleId> {
    let has_name = |details: &RoleDetails| details.name == name;
    model
        .roles()
        .find(|(_, role)| role.details.as_ref().is_some_and(has_name))
        .map(|(id, _)| id.clone())
}

fn no_role() -> CommandError {
    CommandError::refused("error-invalid-roleId", "This role does not exist")
}

fn name_taken() -> CommandError {
    CommandError::refused(
        "error-duplicate-role-names-not-allowed",
        "Role name already exists",
    )
}

/// Makes a role; answers its id.
pub async fn create(
    commands: &Commands,
    caller: &Caller,
    new: NewRole,
) -> Result<Done<RoleAfter>, CommandError> {
    new.check_size()?;
    commands
        .run(caller, move |decision| {
            require_access(decision.model(), decision.caller())?;
            limit::WORKSPACE_ROLES.check_count(decision.model().roles().count() + 1)?;
            if find(decision.model(), &new.name).is_some() {
                return Err(name_taken());
            }
            let id = RoleId::new(decision.id());
            let details = RoleDetails {
                name: new.name.clone(),
                scope: new.scope.unwrap_or(RoleScope::Users),
                description: new.description.clone(),
                mandatory_2fa: new.mandatory_2fa.unwrap_or_default(),
            };
            decision.role(&id, RoleCommand::Create(details))?;
            decision.role_after(&id)
        })
        .await
}

/// Changes a role. Name and scope of those that every workspace has stay.
pub async fn change(
    commands: &Commands,
    caller: &Caller,
    id: RoleId,
    new: NewRole,
) -> Result<Done<RoleAfter>, CommandError> {
    new.check_size()?;
    commands
        .run(caller, move |decision| {
            let model = decision.model();
            require_access(model, decision.caller())?;
            let role = model.role(&id).ok_or_else(no_role)?;
            let old = role.details.as_ref().ok_or_else(no_role)?;
            let scope = new.scope.unwrap_or(old.scope);
            if role.protected && (new.name != old.name || scope != old.scope) {
                return Err(CommandError::refused(
                    "error-role-protected",
                    "Role is protected",
                ));
            }
            if named(model, &new.name).is_some_and(|other| other != id) {
                return Err(name_taken());
            }
            let details = RoleDetails {
                name: new.name.clone(),
                scope,
                description: new.description.clone(),
                mandatory_2fa: new.mandatory_2fa.unwrap_or(old.mandatory_2fa),
            };
            decision.role(&id, RoleCommand::Change(details))?;
            decision.role_after(&id)
        })
        .await
}

/// Deletes a role that nobody has.
pub async fn delete(
    commands: &Commands,
    caller: &Caller,
    id_or_name: String,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            let model = decision.model();
            require_access(model, decision.caller())?;
            let id = find(model, &id_or_name).ok_or_else(no_role)?;
            let protected = model.role(&id).is_some_and(|role| role.protected);
            if !protected && is_in_use(model, &id) {
                return Err(CommandError::refused(
                    "error-role-in-use",
                    "Cannot delete role because it's in use",
                ));
            }
            decision.role(&id, RoleCommand::Delete)?;
            withdraw_grants(decision, &id)
        })
        .await?;
    Ok(())
}

fn is_in_use(model: &WriteModel, role: &RoleId) -> bool {
    model.holders(role.as_str()).next().is_some()
        || model
            .rooms()
            .any(|(_, room)| room.holders(role.as_str()).next().is_some())
}

/// Takes a deleted role out of every permission, so that a later role can't come into its rights.
fn withdraw_grants(decision: &mut Decision<'_>, role: &RoleId) -> Result<(), CommandError> {
    let granted: Vec<(String, Vec<RoleId>)> = decision
        .model()
        .permissions()
        .filter(|(_, permission)| permission.roles.contains(role))
        .map(|(id, permission)| {
            let others = permission.roles.iter().filter(|other| *other != role);
            (id.clone(), others.cloned().collect())
        })
        .collect();
    for (permission, roles) in granted {
        decision.permission(&permission, PermissionCommand::Grant(roles))?;
    }
    Ok(())
}

/// Gives a user a role: in one room where the role is one of rooms, else in the whole workspace.
pub async fn grant(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
    role: RoleId,
    room: Option<RoomId>,
) -> Result<Done<RoleAfter>, CommandError> {
    commands
        .run(caller, move |decision| {
            let model = decision.model();
            // First of all: who may not ask is not told who has a role.
            require_access(model, decision.caller())?;
            let scope = scope_of(model, &role)?;
            if has(model, &user, &role, scope, room.as_ref()) {
                return Err(CommandError::refused(
                    "error-user-already-in-role",
                    "User already in role",
                ));
            }
            if role.as_str() == ADMIN {
                model.require_or(
                    decision.caller(),
                    "assign-admin-role",
                    None,
                    "error-action-not-allowed",
                    "Assigning admin is not allowed",
                )?;
            }
            if scope == RoleScope::Users {
                decision.account(&user, AccountCommand::GrantRole(role.clone()))?;
            } else {
                let room = member_room(model, &user, room.as_ref())?;
                let (user, role) = (user.clone(), role.clone());
                decision.room(&room, RoomCommand::GrantRole { user, role })?;
            }
            decision.role_after(&role)
        })
        .await
}

/// Takes a role from a user. Somebody stays an administrator, and every room keeps an owner.
pub async fn revoke(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
    role: RoleId,
    room: Option<RoomId>,
) -> Result<Done<RoleAfter>, CommandError> {
    commands
        .run(caller, move |decision| {
            let model = decision.model();
            model.require_or(
                decision.caller(),
                PERMISSION,
                None,
                "error-not-allowed",
                "Accessing permissions is not allowed",
            )?;
            let scope = scope_of(model, &role)?;
            if !has(model, &user, &role, scope, room.as_ref()) {
                return Err(CommandError::refused(
                    "error-user-not-in-role",
                    "User is not in this role",
                ));
            }
            if role.as_str() == ADMIN && is_last_admin(model, &user) {
                return Err(CommandError::refused(
                    "error-admin-required",
                    "You need to have at least one admin",
                ));
            }
            if scope == RoleScope::Users {
                decision.account(&user, AccountCommand::RevokeRole(role.clone()))?;
            } else {
                let room = member_room(model, &user, room.as_ref())?;
                let (user, role) = (user.clone(), role.clone());
                decision.room(&room, RoomCommand::RevokeRole { user, role })?;
            }
            decision.role_after(&role)
        })
        .await
}

fn scope_of(model: &WriteModel, role: &RoleId) -> Result<RoleScope, CommandError> {
    let details = model.role(role).and_then(|role| role.details.as_ref());
    details
        .map(|details| details.scope)
        .ok_or_else(|| CommandError::refused("error-invalid-role", "Invalid Role"))
}

fn has(
    model: &WriteModel,
    user: &UserId,
    role: &RoleId,
    scope: RoleScope,
    room: Option<&RoomId>,
) -> bool {
    match (scope, room) {
        (RoleScope::Users, _) => model
            .account(user)
            .is_some_and(|account| account.roles.contains(role)),
        (RoleScope::Subscriptions, Some(room)) => model
            .room(room)
            .is_some_and(|room| room.has_role(user, role.as_str())),
        (RoleScope::Subscriptions, None) => false,
    }
}

/// The room that a role is asked for in; the user must be in it.
fn member_room(
    model: &WriteModel,
    user: &UserId,
    room: Option<&RoomId>,
) -> Result<RoomId, CommandError> {
    room.filter(|id| model.room(id).is_some_and(|room| room.is_member(user)))
        .cloned()
        .ok_or_else(|| {
            CommandError::refused("error-invalid-user", "User is not part of given room")
        })
}

/// Grants each permission to exactly the roles beside it; all of them or none.
pub async fn grant_permissions(
    commands: &Commands,
    caller: &Caller,
    mut grants: Vec<(String, Vec<RoleId>)>,
) -> Result<Done<()>, CommandError> {
    limit::PERMISSIONS.check_count(grants.len())?;
    for (_, roles) in &mut grants {
        limit::WORKSPACE_ROLES.check_count(roles.len())?;
        let mut seen = HashSet::new();
        roles.retain(|role| seen.insert(role.clone()));
    }
    commands
        .run(caller, move |decision| {
            let model = decision.model();
            model.require_or(
                decision.caller(),
                PERMISSION,
                None,
                "error-edit-permissions-not-allowed",
                "Editing permissions is not allowed",
            )?;
            for (permission, roles) in &grants {
                if model.permission(permission).is_none() {
                    return Err(CommandError::refused(
                        "error-invalid-permission",
                        "Invalid permission",
                    ));
                }
                if roles.iter().any(|role| model.role(role).is_none()) {
                    return Err(CommandError::refused("error-invalid-role", "Invalid role"));
                }
            }
            for (permission, roles) in &grants {
                decision.permission(permission, PermissionCommand::Grant(roles.clone()))?;
            }
            Ok(())
        })
        .await
}
