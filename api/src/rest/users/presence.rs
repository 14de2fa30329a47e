//! What users are seen as.
//!
//! A status is what its user chose last: there are no connections to tell more from.

use hansard_commands::account::status;
use hansard_domain::id::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{UserParam, own, row, user};
use crate::app::App;
use crate::operations::Operation;
use crate::rest::answer::{Answer, Nothing, answer, done};
use crate::rest::body::{Body, Params};
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::lenient;

pub const OPERATIONS: &[Operation] = &[GET_PRESENCE, GET_STATUS, SET_STATUS];

/// What is told of the caller only.
const NO_CONNECTION: &str = "offline";

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Presence {
    presence: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_login: Option<String>,
}

pub const GET_PRESENCE: Operation = Operation::get("users.getPresence", &get_presence)
    .tells("What a user is seen as; of the caller, when it last logged in, too.");

async fn get_presence(
    app: App,
    caller: Caller,
    Params(asked): Params<UserParam>,
) -> Answer<Presence> {
    let user = asked.find_or(&app, caller.user())?;
    let own = user == *caller.user();
    let row = row(&app, &user).await?;
    answer(Presence {
        presence: user::status(&row),
        connection_status: own.then_some(NO_CONNECTION),
        last_login: row.last_login.filter(|_| own).map(Timestamp::iso),
    })
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(rename = "_id")]
    id: String,
    status: &'static str,
    /// The text beside it.
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_status: Option<&'static str>,
}

pub const GET_STATUS: Operation = Operation::get("users.getStatus", &get_status)
    .tells("What a user is seen as, and the text beside it.");

async fn get_status(app: App, caller: Caller, Params(asked): Params<UserParam>) -> Answer<Status> {
    let user = asked.find_or(&app, caller.user())?;
    let own = user == *caller.user();
    let row = row(&app, &user).await?;
    answer(Status {
        id: row.id.to_string(),
        status: user::status(&row),
        message: row.profile.status_text.clone(),
        connection_status: own.then_some(NO_CONNECTION),
    })
}

#[derive(Debug, Deserialize, ToSchema)]
struct SetStatus {
    #[serde(flatten, deserialize_with = "lenient::beside")]
    user: UserParam,
    /// `online`, `away`, `busy` or `offline`.
    status: Option<String>,
    message: Option<String>,
}

pub const SET_STATUS: Operation = Operation::post("users.setStatus", &set_status)
    .tells("Set what a user is seen as, or the text beside it.")
    .notes("Of another account than the caller's it needs `edit-other-user-info`.");

async fn set_status(app: App, caller: Caller, Body(request): Body<SetStatus>) -> Answer<Nothing> {
    if request.status.is_none() && request.message.is_none() {
        return Err(Failure::plain(
            "Match error: Failed Match.OneOf, Match.Maybe or Match.Optional validation",
        ));
    }
    let user = request.user.find_or(&app, caller.user())?;
    let presence = request.status.filter(|status| !status.is_empty());
    let presence = presence.as_deref().map(own::presence).transpose()?;
    status::set_status(&app.commands, &caller, user, presence, request.message).await?;
    done()
}
