//! Reactions, pins, stars, followed threads, reports, and whom the caller does not want to read.

use hansard_commands::message::{self, Reaction};
use hansard_domain::id::{MessageId, RoomId, UserId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{message_id, not_found, required};
use crate::app::App;
use crate::operations::Operation;
use crate::rest::answer::{Answer, Nothing, done};
use crate::rest::body::{Body, Params};
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::message_shape::{Written, recorded, stands};
use crate::wire::message::MessageAnswer;

pub const OPERATIONS: &[Operation] = &[
    REACT,
    PIN,
    UNPIN,
    STAR,
    UNSTAR,
    FOLLOW,
    UNFOLLOW,
    REPORT,
    IGNORE_USER,
];

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

pub const REACT: Operation =
    Operation::post("chat.react", &react).tells("React to a message, or take a reaction back.");

async fn react(app: App, caller: Caller, Body(request): Body<React>) -> Answer<Nothing> {
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

pub const PIN: Operation = Operation::post("chat.pinMessage", &pin)
    .tells("Pin a message to its room. Needs `pin-message`.")
    .notes(
        "Answers the notice that is put into the room, or the message itself where it was pinned \
         already.",
    );

async fn pin(
    app: App,
    caller: Caller,
    Body(request): Body<Marked>,
) -> Result<Written<MessageAnswer>, Failure> {
    let id = request.id(&app, MISSING).await?;
    let json = match message::pin(&app.commands, &caller, &id).await? {
        Some(notice) => recorded(&app.commands.model(), &notice)?,
        None => stands(&app, &caller, &id, None).await?.json,
    };
    Ok(Written::new().json("message", &json))
}

pub const UNPIN: Operation =
    Operation::post("chat.unPinMessage", &unpin).tells("Unpin a message. Needs `pin-message`.");

async fn unpin(app: App, caller: Caller, Body(request): Body<Marked>) -> Answer<Nothing> {
    message::unpin(&app.commands, &caller, &request.id(&app, REQUIRED).await?).await?;
    done()
}

pub const STAR: Operation =
    Operation::post("chat.starMessage", &star).tells("Star a message; nobody else sees it.");

async fn star(app: App, caller: Caller, Body(request): Body<Marked>) -> Answer<Nothing> {
    message::star(
        &app.commands,
        &caller,
        &request.id(&app, REQUIRED).await?,
        true,
    )
    .await?;
    done()
}

pub const UNSTAR: Operation =
    Operation::post("chat.unStarMessage", &unstar).tells("Take a star back.");

async fn unstar(app: App, caller: Caller, Body(request): Body<Marked>) -> Answer<Nothing> {
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

pub const FOLLOW: Operation = Operation::post("chat.followMessage", &follow)
    .tells("Follow the thread that a message hangs on or stands in.");

async fn follow(app: App, caller: Caller, Body(request): Body<Followed>) -> Answer<Nothing> {
    message::follow(&app.commands, &caller, &request.id(&app).await?, true).await?;
    done()
}

pub const UNFOLLOW: Operation =
    Operation::post("chat.unfollowMessage", &unfollow).tells("Stop following a thread.");

async fn unfollow(app: App, caller: Caller, Body(request): Body<Followed>) -> Answer<Nothing> {
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

pub const REPORT: Operation =
    Operation::post("chat.reportMessage", &report).tells("Report a message to those who moderate.");

async fn report(app: App, caller: Caller, Body(request): Body<Report>) -> Answer<Nothing> {
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

pub const IGNORE_USER: Operation = Operation::get("chat.ignoreUser", &ignore_user)
    .records()
    .tells("Hide what a user says in a room from the caller, or show it again.");

async fn ignore_user(
    app: App,
    caller: Caller,
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
