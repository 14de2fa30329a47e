//! `users.*`: accounts.

mod create;
mod info;
mod own;
mod presence;
mod search;
mod tokens;
mod update;
pub mod user;

use std::sync::Arc;

use hansard_commands::after::AccountAfter;
use hansard_commands::bus::Done;
use hansard_domain::id::UserId;
use hansard_projections::accounts::{self, User as Row};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub use self::user::User;
use super::decided;
use super::failure::Failure;
use crate::app::App;
use crate::operations::Operation;

pub const OPERATIONS: &[&[Operation]] = &[
    create::OPERATIONS,
    info::OPERATIONS,
    own::OPERATIONS,
    presence::OPERATIONS,
    search::OPERATIONS,
    tokens::OPERATIONS,
    update::OPERATIONS,
];

/// Names a user, by id or by name.
#[derive(Debug, Clone, Default, Deserialize, ToSchema, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct UserParam {
    pub user_id: Option<String>,
    pub username: Option<String>,
    /// The same as `username`.
    pub user: Option<String>,
}

impl UserParam {
    fn given(text: Option<&String>) -> Option<&str> {
        text.map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// Whether any user is named.
    pub fn names_somebody(&self) -> bool {
        let Self {
            user_id,
            username,
            user,
        } = self;
        [user_id, username, user]
            .into_iter()
            .any(|text| Self::given(text.as_ref()).is_some())
    }

    /// The user that is named.
    pub fn find(&self, app: &App) -> Result<UserId, Failure> {
        let model = app.commands.model();
        let found = if let Some(id) = Self::given(self.user_id.as_ref()) {
            let id = UserId::new(id);
            model.account(&id).is_some().then_some(id)
        } else {
            let name = Self::given(self.username.as_ref()).or(Self::given(self.user.as_ref()));
            let Some(name) = name else {
                return Err(Failure::refused(
                    "error-user-param-not-provided",
                    "The required \"userId\" or \"username\" param was not provided",
                ));
            };
            model.user_by_name(name).cloned()
        };
        found.ok_or_else(|| {
            Failure::refused(
                "error-invalid-user",
                "The required \"userId\" or \"username\" param provided does not match any users",
            )
        })
    }

    /// The user that is named, or the caller where nobody is.
    pub fn find_or(&self, app: &App, caller: &UserId) -> Result<UserId, Failure> {
        if self.names_somebody() {
            self.find(app)
        } else {
            Ok(caller.clone())
        }
    }
}

/// An account as the view has it.
pub async fn row(app: &App, id: &UserId) -> Result<Arc<Row>, Failure> {
    let found = accounts::one(&app.views.accounts, id).await?;
    found.ok_or_else(|| Failure::plain("User not found"))
}

/// An answer with one user in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneUser {
    pub user: User,
}

/// The account as it is after a change of it.
pub async fn changed(app: &App, done: &Done<AccountAfter>) -> OneUser {
    let row = decided::account(app, done).await;
    let user = User::whole(&app.commands.model(), &row);
    OneUser { user }
}
