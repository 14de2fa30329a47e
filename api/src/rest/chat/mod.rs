//! `chat.*`: saying something, changing it, marking it, finding it again.

mod change;
mod lists;
mod marks;
mod say;
mod search;
mod sync;
mod threads;

use hansard_domain::id::MessageId;

use super::failure::Failure;
use crate::app::App;
use crate::operations::Operation;

pub const OPERATIONS: &[&[Operation]] = &[
    say::OPERATIONS,
    change::OPERATIONS,
    marks::OPERATIONS,
    lists::OPERATIONS,
    threads::OPERATIONS,
    sync::OPERATIONS,
    search::OPERATIONS,
];

/// A parameter that has to be there, or what Rocket.Chat says when it is not.
fn required<'a>(given: Option<&'a str>, code: &str, reason: &str) -> Result<&'a str, Failure> {
    given
        .filter(|given| !given.trim().is_empty())
        .ok_or_else(|| Failure::refused(code, reason))
}

/// The id of a message that a client calls so, or what is said to one that can't exist.
async fn message_id(
    app: &App,
    given: &str,
    missing: impl FnOnce() -> Failure,
) -> Result<MessageId, Failure> {
    let called = MessageId::parse(given).map_err(|_| missing())?;
    Ok(app.commands.message_id(called).await?)
}

fn not_found() -> Failure {
    Failure::refused(
        "error-message-not-found",
        "The provided \"messageId\" does not match any existing message.",
    )
}

fn not_allowed(reason: &'static str) -> impl Fn() -> Failure {
    move || Failure::refused("error-not-allowed", reason).denied(None)
}
