//! Accounts: how they come to be, prove who they are, change and go.
//!
//! Passwords are hashed here, before a decision; rights are asked inside it.

pub mod create;
pub mod delete;
pub mod guessing;
pub mod hashing;
pub mod login;
pub mod names;
pub mod password;
pub mod profile;
pub mod recovery;
mod rooms;
pub mod status;
pub mod token;

use hansard_domain::account::Account;
use hansard_domain::id::{RoleId, UserId};

use crate::error::CommandError;
use crate::model::{Versioned, WriteModel};

/// The role that may do everything; a workspace is never without somebody who has it.
pub const ADMIN: &str = "admin";

/// An account that must be there.
pub(crate) fn existing<'m>(
    model: &'m WriteModel,
    user: &UserId,
) -> Result<&'m Versioned<Account>, CommandError> {
    model
        .account(user)
        .ok_or_else(|| CommandError::refused("error-invalid-user", "Invalid user"))
}

/// Whether nobody else has the role `admin` and is active.
pub(crate) fn is_last_admin(model: &WriteModel, user: &UserId) -> bool {
    let active = |user: &UserId| model.account(user).is_some_and(|account| account.active);
    let mut holders = model.holders(ADMIN).filter(active);
    holders.next().as_ref() == Some(user) && holders.next().is_none()
}

/// Refuses roles that are none of the workspace's.
pub(crate) fn check_roles(model: &WriteModel, roles: &[RoleId]) -> Result<(), CommandError> {
    if roles.iter().all(|role| model.role(role).is_some()) {
        return Ok(());
    }
    Err(CommandError::refused(
        "error-action-not-allowed",
        "The field Roles consist invalid role id",
    ))
}
