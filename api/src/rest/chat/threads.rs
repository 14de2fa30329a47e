//! The threads of a room and the messages in them.

use hansard_domain::id::{MessageId, RoomId, Timestamp};
use hansard_projections::messages::{Found, Order, Replies, Since, ThreadKind};
use hansard_projections::subscriptions::{self, Subscription};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::sync::DeletedAt;
use super::{message_id, not_allowed, required};
use crate::app::App;
use crate::operations::Operation;
use crate::rest::body::Params;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::message_shape::{Written, order, project, require_readable};
use crate::rest::paging::Paging;
use crate::rest::rate_limit::building::Builder;
use crate::rest::rooms::history::{between, unknown_condition};
use crate::rest::time::time;
use crate::wire::message::{Message, MessagesAnswer};

pub const OPERATIONS: &[Operation] = &[THREADS, THREAD, SYNC_THREADS, SYNC_THREAD];

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ThreadsOf {
    rid: String,
    /// `following` or `unread`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// To be found in the message that the thread hangs on.
    text: Option<String>,
}

/// Messages that threads hang on.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "a schema: the view holds messages finished")]
struct ThreadsAnswer {
    threads: Vec<Message>,
    count: u64,
    offset: u64,
    total: u64,
    #[schema(example = true)]
    success: bool,
}

pub const THREADS: Operation = Operation::get("chat.getThreadsList", &threads)
    .tells("The threads of a room, those replied to last first.")
    .notes(
        "A page does not end between two threads that were last replied to at the same time, and so can \
         hold more than `count`.",
    );

async fn threads(
    app: App,
    caller: Caller,
    (Params(asked), paging): (Params<ThreadsOf>, Paging),
) -> Result<Written<ThreadsAnswer>, Failure> {
    require_threads(&app)?;
    let room = RoomId::new(&asked.rid);
    require_readable(&app, &caller, &room, not_allowed("Not Allowed"))?;
    let kind = match asked.kind.as_deref() {
        Some("following") => ThreadKind::Following,
        Some("unread") => {
            let mut reading = app.views.subscriptions.read().await?;
            let own = subscriptions::one(&mut reading, &room, caller.user()).await?;
            let unread = own.iter().flat_map(Subscription::unread_threads);
            ThreadKind::Unread(unread.cloned().collect())
        }
        _ => ThreadKind::All,
    };
    let text = asked.text.unwrap_or_default();
    let messages = &app.views.messages;
    let found = messages
        .threads(caller.user(), &room, &kind, &text, (&paging).into())
        .await?;
    let found = project(found, &paging).await?;
    Ok(Written::new().page("threads", &found, paging.offset))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct InThread {
    #[param(required = true)]
    tmid: Option<String>,
}

pub const THREAD: Operation = Operation::get("chat.getThreadMessages", &thread)
    .tells("The replies of a thread, the oldest first.")
    .notes(
        "`query` takes a condition on `ts`, the time. A page holds more than `count` messages where the \
         last of them have the same time.",
    );

async fn thread(
    app: App,
    caller: Caller,
    (Params(asked), paging): (Params<InThread>, Paging),
) -> Result<Written<MessagesAnswer>, Failure> {
    require_threads(&app)?;
    let tmid = required_tmid(asked.tmid.as_deref())?;
    let parent = parent(&app, &caller, tmid).await?;
    let order = order(&paging, Order::OldestFirst);
    let replies = replies(&paging)?;
    let messages = &app.views.messages;
    let found = messages
        .thread(caller.user(), &parent, replies, order, (&paging).into())
        .await?;
    let found = project(found, &paging).await?;
    Ok(Written::new().page("messages", &found, paging.offset))
}

/// Which replies a client's own filter lets through: those between two times.
fn replies(paging: &Paging) -> Result<Replies, Failure> {
    let mut replies = Replies::default();
    for (name, wanted) in paging.query.iter().flatten() {
        match name.as_str() {
            "tmid" => {}
            "ts" => (replies.oldest, replies.latest) = between(wanted)?,
            _ => return Err(unknown_condition(name)),
        }
    }
    Ok(replies)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ThreadsSince {
    #[param(required = true)]
    rid: Option<String>,
    #[serde(rename = "updatedSince")]
    #[param(required = true)]
    updated_since: Option<String>,
}

/// What changed, and what is gone.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "a schema: the view holds messages finished")]
struct Changes {
    update: Vec<Message>,
    remove: Vec<DeletedAt>,
}

#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "a schema: the view holds messages finished")]
struct ThreadsChanges {
    threads: Changes,
    #[schema(example = true)]
    success: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "a schema: the view holds messages finished")]
struct ThreadChanges {
    messages: Changes,
    #[schema(example = true)]
    success: bool,
}

pub const SYNC_THREADS: Operation = Operation::get("chat.syncThreadsList", &sync_threads)
    .tells("The threads of a room that changed since a time, the earliest change first.")
    .notes(
        "An answer ends at 32 MiB of messages: what changed later is there for whoever asks again, with \
         the latest `_updatedAt` in it as `updatedSince`.",
    );

async fn sync_threads(
    app: App,
    caller: Caller,
    (Params(asked), mut paging, builder): (Params<ThreadsSince>, Paging, Builder),
) -> Result<Written<ThreadsChanges>, Failure> {
    require_threads(&app)?;
    let room = required(
        asked.rid.as_deref(),
        "error-room-id-param-not-provided",
        "The required \"rid\" query param is missing.",
    )?;
    let since = since(asked.updated_since.as_deref())?;
    let room = RoomId::new(room);
    // Before it is asked who may see it: what somebody may see can change while it waits.
    paging.whole(builder).await?;
    require_readable(&app, &caller, &room, not_allowed("Not Allowed"))?;
    let messages = &app.views.messages;
    let since = messages.threads_since(caller.user(), &room, since).await?;
    Ok(Written::new().json("threads", &changes(since, &paging).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ThreadSince {
    #[param(required = true)]
    tmid: Option<String>,
    #[serde(rename = "updatedSince")]
    #[param(required = true)]
    updated_since: Option<String>,
}

pub const SYNC_THREAD: Operation = Operation::get("chat.syncThreadMessages", &sync_thread)
    .tells("The messages of a thread that changed since a time, the earliest change first.")
    .notes(
        "An answer ends at 32 MiB of messages: what changed later is there for whoever asks again, with \
         the latest `_updatedAt` in it as `updatedSince`.",
    );

async fn sync_thread(
    app: App,
    caller: Caller,
    (Params(asked), mut paging, builder): (Params<ThreadSince>, Paging, Builder),
) -> Result<Written<ThreadChanges>, Failure> {
    require_threads(&app)?;
    let tmid = required_tmid(asked.tmid.as_deref())?;
    let since = since(asked.updated_since.as_deref())?;
    paging.whole(builder).await?;
    let parent = parent(&app, &caller, tmid).await?;
    let messages = &app.views.messages;
    let since = messages.thread_since(caller.user(), &parent, since).await?;
    Ok(Written::new().json("messages", &changes(since, &paging).await?))
}

async fn changes(since: Since, paging: &Paging) -> Result<String, Failure> {
    let Found { json: updated, .. } = project(since.updated, paging).await?;
    let gone = DeletedAt::list(since.deleted)?;
    Ok(format!("{{\"update\":{updated},\"remove\":{gone}}}"))
}

fn require_threads(app: &App) -> Result<(), Failure> {
    if app.commands.model().flag("Threads_enabled") {
        return Ok(());
    }
    Err(Failure::refused("error-not-allowed", "Threads Disabled"))
}

fn required_tmid(given: Option<&str>) -> Result<&str, Failure> {
    let reason = "The required \"tmid\" query param is missing.";
    required(given, "error-invalid-params", reason)
}

fn since(given: Option<&str>) -> Result<Timestamp, Failure> {
    let code = "error-updatedSince-param-invalid";
    let given = required(
        given,
        code,
        "The required param \"updatedSince\" is missing.",
    )?;
    time(given).ok_or_else(|| {
        let reason = "The \"updatedSince\" query parameter must be a valid date.";
        Failure::refused(code, reason)
    })
}

/// The message that a thread hangs on, in a room that the caller may see. As with Rocket.Chat, everybody
/// is told whether there is such a message: its id can't be guessed.
async fn parent(app: &App, caller: &Caller, tmid: &str) -> Result<MessageId, Failure> {
    let missing = || Failure::refused("error-invalid-message", "Invalid Message");
    let id = message_id(app, tmid, missing).await?;
    let message = app.views.messages.single(caller.user(), &id).await?;
    let room = message.ok_or_else(missing)?.room;
    require_readable(app, caller, &room, not_allowed("Not Allowed"))?;
    Ok(id)
}
