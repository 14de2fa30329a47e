//! Posting: the way in for bots and webhooks, which name rooms and people in words.

use hansard_domain::id::{RoomId, UserId};
use hansard_domain::limit;
use hansard_domain::room::RoomKind;

use super::send::{Outgoing, SIZE_EXCEEDED, Said, check_room, deliver, prepare};
use crate::authorization::sight::Purpose;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::integration::answerable::check_opening;
use crate::model::WriteModel;
use crate::room;

/// Where a post goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Room(RoomId),
    /// A direct conversation that has yet to be opened.
    Person(UserId),
}

/// A message for one or more channels, each `#name`, `@username`, or an id or name.
#[derive(Debug, Clone)]
pub struct Post {
    pub channels: Vec<String>,
    pub message: Outgoing,
}

#[derive(Debug, Clone)]
pub struct Posted {
    /// As it was asked for.
    pub channel: String,
    pub room: RoomId,
    pub said: Said,
}

/// Posts a message to each channel, in order; what was posted before one is refused stays.
///
/// Whoever posts into a channel joins it; a direct conversation is opened where there is none.
pub async fn post(
    commands: &Commands,
    caller: &Caller,
    post: Post,
) -> Result<Vec<Posted>, CommandError> {
    limit::CHANNELS.check_count(post.channels.len())?;
    post.message.check_size(&commands.model())?;
    let bytes = post.message.bytes();
    if bytes.saturating_mul(post.channels.len()) > limit::POSTED.most {
        let most = (limit::POSTED.most / bytes).max(1);
        return Err(CommandError::refused(
            SIZE_EXCEEDED,
            format!("A message of {bytes} bytes can be posted to at most {most} channels at once"),
        ));
    }
    let mut posted: Vec<Posted> = Vec::new();
    for channel in post.channels {
        if posted.iter().any(|earlier| earlier.channel == channel) {
            continue;
        }
        let user = caller.user_id()?.clone();
        let target = resolve(&commands.model(), &user, &channel)
            .ok_or_else(|| CommandError::refused("invalid-channel", ""))?;
        let room = enter(commands, caller, user, target).await?;
        let message = Outgoing {
            room: Some(room.clone()),
            ..post.message.clone()
        };
        let prepared = prepare(commands, caller, message).await?;
        let said = deliver(commands, caller, prepared, |_, _| Ok(())).await?;
        posted.push(Posted {
            channel,
            room,
            said,
        });
    }
    Ok(posted)
}

/// The room or person that a channel's name means to a user: of rooms, one that it knows of. An id means
/// its owner, whatever others are called.
pub fn resolve(model: &WriteModel, user: &UserId, channel: &str) -> Option<Target> {
    if let Some(name) = channel.strip_prefix('#') {
        return named(model, user, name).map(Target::Room);
    }
    if let Some(name) = channel.strip_prefix('@') {
        return match model.account_called(name) {
            Some(other) => Some(direct(model, user, other)),
            None => named(model, user, name)
                .filter(|room| {
                    model
                        .room(room)
                        .is_some_and(|room| room.kind == RoomKind::Direct)
                })
                .map(Target::Room),
        };
    }
    named(model, user, channel).map(Target::Room).or_else(|| {
        let other = UserId::new(channel);
        model.account(&other)?;
        Some(direct(model, user, other))
    })
}

fn named(model: &WriteModel, user: &UserId, id_or_name: &str) -> Option<RoomId> {
    let named = model.room_called(id_or_name)?;
    let known = model.sight_of(Some(user), &named, Purpose::Existence);
    known.map(|_| named)
}

fn direct(model: &WriteModel, user: &UserId, other: UserId) -> Target {
    match model.direct_room(&[user.clone(), other.clone()]) {
        Some(room) => Target::Room(room.clone()),
        None => Target::Person(other),
    }
}

/// Lets the caller into the room it posts to.
async fn enter(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
    target: Target,
) -> Result<RoomId, CommandError> {
    let model = commands.model();
    match &target {
        Target::Room(room) => {
            let found = model.room(room);
            let joins = found
                .is_some_and(|found| found.kind == RoomKind::Channel && !found.is_member(&user));
            if !joins {
                return Ok(room.clone());
            }
        }
        Target::Person(_) => {}
    }
    let done = commands
        .run(caller, move |decision| match &target {
            Target::Room(room) => {
                let (model, caller) = (decision.model(), decision.caller());
                let found = check_room(model, caller, &user, room)?;
                // Who does not get in by itself does not get in by posting.
                room::check_code(model, caller, found, None)?;
                room::enter(decision, room, &user, None)?;
                Ok(room.clone())
            }
            Target::Person(other) => {
                check_opening(decision.model(), decision.caller(), &user, other)?;
                room::open_direct(decision, &participants(&user, other))
            }
        })
        .await?;
    Ok(done.answer)
}

fn participants(user: &UserId, other: &UserId) -> Vec<UserId> {
    let mut both = vec![user.clone(), other.clone()];
    both.sort_unstable();
    both.dedup();
    both
}
