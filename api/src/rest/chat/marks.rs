//! Reactions, pins, stars, followed threads, reports, and whom the caller does not want to read.

use axum::extract::State;
use hansard_commands::message::{self, Reaction};
use hansard_domain::id::{MessageId, RoomId, UserId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{message_id, not_found, required};
use crate::app::App;
use crate::rest::answer::{Answer, Nothing, Success, done};
use crate::rest::body::{Body, Params};
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::message_shape::{MessageAnswer, Written, recorded, stands};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(react))
        .routes(routes!(pin))
        .routes(routes!(unpin))
        .routes(routes!(star))
        .routes(routes!(unstar))
        .routes(routes!(follow))
        .routes(routes!(unfollow))
        .routes(routes!(report))
        .routes(routes!(ignore_user))
}

const MISSING: &str = "The required \"messageId\" param is missing.";
const REQUIRED: &str = "The required \"messageId\" param is required.";

/// Which message is meant.
#[derive(Debug, Deserialize, ToSchema)]
struct Marked {
    #[serde(rename = "messageId")]
    #[schema(required = true)]
    message_id: Option<String>,
}

impl Marked {
    async fn id(&self, app: &App, reason: &str) -> Result<MessageId, Failure> {
        let given = self.message_id.as_deref();
        let given = required(given, "error-messageid-param-not-provided", reason)?;
        message_id(app, given, not_found).await
    }
}

#[derive(Debug, Deserialize, ToSchema)]
struct React {
    #[serde(rename = "messageId")]
    #[schema(required = true)]
    message_id: Option<String>,
    /// The emoji's name, with or without colons.
    emoji: Option<String>,
    /// The same, by its older name.
    reaction: Option<String>,
    /// Add it or take it back; without, whichever is not the case.
    #[serde(rename = "shouldReact")]
    should_react: Option<bool>,
}

/// React to a message, or take a reaction back.
#[utoipa::path(
    post, path = "/api/v1/chat.react", tag = "chat",
    request_body = React, responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn react(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<React>,
) -> Answer<Nothing> {
    let given = request.message_id.as_deref();
    let id = required(given, "error-messageid-param-not-provided", MISSING)?;
    let message = message_id(&app, id, not_found).await?;
    // A message that is not there is told before an emoji that is missing.
    if app.commands.message(&message).await?.is_none() {
        return Err(not_found());
    }
    let emoji = request.emoji.or(request.reaction);
    let emoji = required(
        emoji.as_deref(),
        "error-emoji-param-not-provided",
        "The required \"emoji\" param is missing.",
    )?;
    let reaction = Reaction {
        message,
        emoji: emoji.to_owned(),
        add: request.should_react,
    };
    message::react(&app.commands, &caller, reaction).await?;
    done()
}

/// Pin a message to its room. Needs `pin-message`.
///
/// Answers the notice that is put into the room, or the message itself where it was pinned already.
#[utoipa::path(
    post, path = "/api/v1/chat.pinMessage", tag = "chat",
    request_body = Marked, responses((status = 200, body = MessageAnswer), Failure)
)]
async fn pin(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<Marked>,
) -> Result<Written, Failure> {
    let id = request.id(&app, MISSING).await?;
    let json = match message::pin(&app.commands, &caller, &id).await? {
        Some(notice) => recorded(&app.commands.model(), &notice)?,
        None => stands(&app, &caller, &id, None).await?.json,
    };
    Ok(Written::new().json("message", &json))
}

/// Unpin a message. Needs `pin-message`.
#[utoipa::path(
    post, path = "/api/v1/chat.unPinMessage", tag = "chat",
    request_body = Marked, responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn unpin(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<Marked>,
) -> Answer<Nothing> {
    message::unpin(&app.commands, &caller, &request.id(&app, REQUIRED).await?).await?;
    done()
}

/// Star a message; nobody else sees it.
#[utoipa::path(
    post, path = "/api/v1/chat.starMessage", tag = "chat",
    request_body = Marked, responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn star(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<Marked>,
) -> Answer<Nothing> {
    message::star(
        &app.commands,
        &caller,
        &request.id(&app, REQUIRED).await?,
        true,
    )
    .await?;
    done()
}

/// Take a star back.
#[utoipa::path(
    post, path = "/api/v1/chat.unStarMessage", tag = "chat",
    request_body = Marked, responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn unstar(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<Marked>,
) -> Answer<Nothing> {
    message::star(
        &app.commands,
        &caller,
        &request.id(&app, REQUIRED).await?,
        false,
    )
    .await?;
    done()
}

#[derive(Debug, Deserialize, ToSchema)]
struct Followed {
    #[schema(required = true)]
    mid: Option<String>,
}

impl Followed {
    async fn id(&self, app: &App) -> Result<MessageId, Failure> {
        let given = self.mid.as_deref();
        let given = required(given, "The required \"mid\" body param is missing.", "")?;
        message_id(app, given, || {
            Failure::refused("error-invalid-message", "Invalid message")
        })
        .await
    }
}

/// Follow the thread that a message hangs on or stands in.
#[utoipa::path(
    post, path = "/api/v1/chat.followMessage", tag = "chat",
    request_body = Followed, responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn follow(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<Followed>,
) -> Answer<Nothing> {
    message::follow(&app.commands, &caller, &request.id(&app).await?, true).await?;
    done()
}

/// Stop following a thread.
#[utoipa::path(
    post, path = "/api/v1/chat.unfollowMessage", tag = "chat",
    request_body = Followed, responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn unfollow(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<Followed>,
) -> Answer<Nothing> {
    message::follow(&app.commands, &caller, &request.id(&app).await?, false).await?;
    done()
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Report {
    message_id: String,
    /// What is wrong with it.
    description: String,
}

/// Report a message to those who moderate.
#[utoipa::path(
    post, path = "/api/v1/chat.reportMessage", tag = "chat",
    request_body = Report, responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn report(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<Report>,
) -> Answer<Nothing> {
    let unknown = || Failure::plain("error-invalid-message_id");
    let id = message_id(&app, &request.message_id, unknown).await?;
    message::report(&app.commands, &caller, &id, request.description).await?;
    done()
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct IgnoreUser {
    #[param(required = true)]
    rid: Option<String>,
    #[serde(rename = "userId")]
    #[param(required = true)]
    user_id: Option<String>,
    /// `false` to read the user again.
    ignore: Option<String>,
}

/// Hide what a user says in a room from the caller, or show it again.
#[utoipa::path(
    get, path = "/api/v1/chat.ignoreUser", tag = "chat",
    params(IgnoreUser), responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn ignore_user(
    caller: Caller,
    State(app): State<App>,
    Params(asked): Params<IgnoreUser>,
) -> Answer<Nothing> {
    let room = required(
        asked.rid.as_deref(),
        "error-room-id-param-not-provided",
        "The required \"rid\" param is missing.",
    )?;
    let user = required(
        asked.user_id.as_deref(),
        "error-user-id-param-not-provided",
        "The required \"userId\" param is missing.",
    )?;
    let ignore = asked
        .ignore
        .is_none_or(|ignore| ignore.contains("true") || ignore.contains('1'));
    let (room, user) = (RoomId::new(room), UserId::new(user));
    message::ignore_user(&app.commands, &caller, room, user, ignore).await?;
    done()
}
