//! What requests about rooms say.

use hansard_commands::model::WriteModel;
use hansard_domain::id::{RoomId, UserId};
use hansard_domain::limit;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::rest::failure::Failure;

/// Which room.
#[derive(Debug, Clone, Default, Deserialize, ToSchema, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct RoomRef {
    /// The room's id.
    pub room_id: Option<String>,
    /// The room's name, where no id is given.
    pub room_name: Option<String>,
}

impl RoomRef {
    /// The room that is meant, if there is one.
    pub fn find(&self, model: &WriteModel) -> Option<RoomId> {
        match (&self.room_id, &self.room_name) {
            (Some(id), _) => {
                let id = RoomId::new(id);
                model.room(&id).map(|_| id)
            }
            (None, Some(name)) => model.room_by_name(name).cloned(),
            (None, None) => None,
        }
    }

    /// Whether neither an id nor a name was given.
    pub fn is_missing(&self) -> bool {
        let empty = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
        empty(&self.room_id) && empty(&self.room_name)
    }
}

/// Which user.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserRef {
    /// The user's id.
    pub user_id: Option<String>,
    /// The username, where no id is given.
    pub username: Option<String>,
    /// The same as `username`.
    pub user: Option<String>,
}

impl UserRef {
    fn name(&self) -> Option<&str> {
        let username = self.username.as_deref().map(str::trim);
        let user = self.user.as_deref().map(str::trim);
        username
            .into_iter()
            .chain(user)
            .find(|name| !name.is_empty())
    }

    /// The user that is meant, or why there is none.
    pub fn find(&self, model: &WriteModel) -> Result<UserId, Failure> {
        let id = self
            .user_id
            .as_deref()
            .map(str::trim)
            .filter(|id| !id.is_empty());
        let found = match (id, self.name()) {
            (Some(id), _) => {
                let id = UserId::new(id);
                model.account(&id).map(|_| id)
            }
            (None, Some(name)) => model.user_by_name(name).cloned(),
            (None, None) => {
                return Err(Failure::refused(
                    "error-user-param-not-provided",
                    "The required \"userId\" or \"username\" param was not provided",
                ));
            }
        };
        found.ok_or_else(|| {
            Failure::refused(
                "error-invalid-user",
                "The required \"userId\" or \"username\" param provided does not match any users",
            )
        })
    }
}

/// Which users.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsersRef {
    pub user_id: Option<String>,
    pub username: Option<String>,
    pub user: Option<String>,
    pub user_ids: Option<Vec<String>>,
    pub usernames: Option<Vec<String>>,
}

impl UsersRef {
    /// The users that are meant and that there are; an error if nobody is named.
    pub fn find(&self, model: &WriteModel) -> Result<Vec<UserId>, Failure> {
        let one = [&self.user_id, &self.username, &self.user]
            .into_iter()
            .flatten()
            .next();
        let several = self.user_ids.as_ref().or(self.usernames.as_ref());
        limit::MEMBERS.check_count(several.map_or(0, Vec::len))?;
        let mut named: Vec<&str> = several
            .into_iter()
            .flatten()
            .chain(one)
            .map(String::as_str)
            .filter(|name| !name.is_empty())
            .collect();
        named.sort_unstable();
        named.dedup();
        if named.is_empty() {
            return Err(Failure::refused(
                "error-users-params-not-provided",
                "Please provide \"userId\" or \"username\" or \"userIds\" or \"usernames\" as param",
            ));
        }
        let by_id = self.user_ids.is_some() || self.user_id.is_some();
        Ok(named
            .into_iter()
            .filter_map(|name| {
                if by_id {
                    let id = UserId::new(name);
                    model.account(&id).map(|_| id)
                } else {
                    model.user_by_name(name).cloned()
                }
            })
            .collect())
    }
}

/// Which members of a room.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MembersParams {
    /// Those that want to be seen as one of these only.
    #[serde(default)]
    pub status: Vec<String>,
    /// Those with this in their name only.
    pub filter: Option<String>,
}
