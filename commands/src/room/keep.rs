//! What a member keeps for itself: favourites, what it has read, what stands in its list.

use hansard_domain::id::{RoomId, Timestamp};
use hansard_domain::limit;
use hansard_domain::subscription::SubscriptionCommand;
use serde_json::{Map, Value};

use crate::bus::Commands;
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::subscription::on_subscription;

async fn of_member(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    missing: fn() -> CommandError,
    command: impl Fn(&Decision<'_>) -> SubscriptionCommand + Clone + Send + 'static,
) -> Result<(), CommandError> {
    on_subscription(commands, caller, &room, move |decision, loaded| {
        let (model, room) = (decision.model(), loaded.room());
        let found = model.room(room);
        if !found.is_some_and(|room| room.is_member(loaded.user())) {
            return Err(model.refusal(decision.caller(), room, missing()));
        }
        let command = command(decision);
        decision.subscription(loaded, command)
    })
    .await
}

fn invalid_subscription() -> CommandError {
    CommandError::refused("error-invalid-subscription", "Invalid subscription")
}

/// Marks a room as a favourite, or not.
pub async fn favour(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    favourite: bool,
) -> Result<(), CommandError> {
    let missing = || {
        CommandError::refused(
            "error-invalid-subscription",
            "You must be part of a room to favorite it",
        )
    };
    of_member(commands, caller, room, missing, move |_| {
        SubscriptionCommand::Favour(favourite)
    })
    .await
}

/// Everything that has been said is read, in threads too if asked. Nothing is recorded where nothing has
/// happened since the mark that is there.
pub async fn read(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    threads: bool,
) -> Result<(), CommandError> {
    let missing = || CommandError::plain("error-invalid-subscription");
    let read_in = room.clone();
    of_member(commands, caller, room, missing, move |decision| {
        // Where much is said, its times run ahead of the log's.
        let said = decision.model().room_time(&read_in);
        SubscriptionCommand::Read {
            at: decision.now().max(said),
            threads,
            stirred: decision.model().stirred(&read_in).max(said),
        }
    })
    .await
}

/// Everything from a time on is unread again.
pub async fn unread(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    from: Timestamp,
) -> Result<(), CommandError> {
    let missing =
        || CommandError::refused("error-subscription-not-found", "Subscription not found");
    of_member(commands, caller, room, missing, move |_| {
        SubscriptionCommand::MarkUnread { from }
    })
    .await
}

/// Puts a room back into the caller's list.
pub async fn open(commands: &Commands, caller: &Caller, room: RoomId) -> Result<(), CommandError> {
    of_member(commands, caller, room, invalid_subscription, |_| {
        SubscriptionCommand::Open
    })
    .await
}

/// Takes a room out of the caller's list until something is said in it.
pub async fn close(commands: &Commands, caller: &Caller, room: RoomId) -> Result<(), CommandError> {
    of_member(commands, caller, room, invalid_subscription, |_| {
        SubscriptionCommand::Hide
    })
    .await
}

/// Refuses what is none of the values of a preference: they are recorded in clear.
fn check_preference(name: &str, value: &Value) -> Result<(), CommandError> {
    let Some(text) = value.as_str() else {
        return Ok(());
    };
    limit::NOTIFICATION.check(text)?;
    let known = match name {
        // The id of a sound.
        "audioNotificationValue" => text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b' ')),
        _ => CHOICES.contains(&text),
    };
    if known {
        return Ok(());
    }
    Err(CommandError::refused(
        "error-invalid-settings",
        format!("{name} takes one of {}", CHOICES.join(", ")),
    ))
}

/// What somebody may want to be told of.
const CHOICES: &[&str] = &["default", "all", "mentions", "nothing"];

/// Changes how the caller is told of what happens in a room.
pub async fn notify(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    preferences: Map<String, Value>,
) -> Result<(), CommandError> {
    for (name, value) in &preferences {
        check_preference(name, value)?;
    }
    of_member(commands, caller, room, invalid_subscription, move |_| {
        SubscriptionCommand::ChangeNotifications(preferences.clone())
    })
    .await
}
