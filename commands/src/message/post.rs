//! Posting: the way in for bots and webhooks, which name rooms and people in words.

use hansard_domain::id::{RoomId, UserId};
use hansard_domain::integration::Referent;
use hansard_domain::limit;
use hansard_domain::room::RoomKind;

use super::send::{Outgoing, SIZE_EXCEEDED, Said, check_room, deliver, prepare};
use crate::authorization::sight::Purpose;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::integration::answerable::check_opening;
use crate::model::WriteModel;
use crate::retried::retried;
use crate::room;

/// Says what is to be done about a destination that is not there any more.
const GONE: &str = "What this integration posts to is gone: a room that was deleted, or an account that was \
                    deleted or deactivated. Somebody who may manage the integration has to save it with a \
                    channel that is there";

/// Where a post goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Room(RoomId),
    /// A direct conversation that has yet to be opened.
    Person(UserId),
}

/// How somebody says where a post is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `#name`, `@username`, or an id or name: what it means now.
    Named(String),
    /// Such a name, and what it meant when it was saved; `None` if that was nothing.
    Saved(String, Option<Referent>),
}

impl Address {
    fn name(&self) -> &str {
        match self {
            Self::Named(name) | Self::Saved(name, _) => name,
        }
    }

    /// Whether what was meant when it was saved is not there any more.
    pub fn is_gone(&self, model: &WriteModel) -> bool {
        match self {
            Self::Named(_) => false,
            Self::Saved(_, meant) => !meant.as_ref().is_some_and(|meant| model.is_there(meant)),
        }
    }

    /// Who does not know of a room is told that there is none; that goes on the record.
    fn unknown(&self, model: &WriteModel) -> CommandError {
        let error = CommandError::refused("invalid-channel", "");
        let meant = match self {
            Self::Named(name) => model.referent(name),
            Self::Saved(_, meant) => meant.clone(),
        };
        match meant {
            Some(Referent::Room(room)) => error.denied_in(&room),
            _ => error,
        }
    }

    fn target(&self, model: &WriteModel, user: &UserId) -> Option<Target> {
        match self {
            Self::Named(name) => resolve(model, user, name),
            Self::Saved(_, meant) => target(model, user, meant.clone()?),
        }
    }
}

/// A message for one or more channels.
#[derive(Debug, Clone)]
pub struct Post {
    pub to: Vec<Address>,
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
    limit::CHANNELS.check_count(post.to.len())?;
    post.message.check_size(&commands.model())?;
    let bytes = post.message.bytes();
    if bytes.saturating_mul(post.to.len()) > limit::POSTED.most {
        let most = (limit::POSTED.most / bytes).max(1);
        return Err(CommandError::refused(
            SIZE_EXCEEDED,
            format!("A message of {bytes} bytes can be posted to at most {most} channels at once"),
        ));
    }
    let mut posted: Vec<Posted> = Vec::new();
    for address in post.to {
        if posted
            .iter()
            .any(|earlier| earlier.channel == address.name())
        {
            continue;
        }
        let user = caller.user_id()?.clone();
        let target = {
            let model = commands.model();
            if address.is_gone(&model) {
                return Err(CommandError::plain(GONE));
            }
            let target = address.target(&model, &user);
            target.ok_or_else(|| address.unknown(&model))?
        };
        let room = enter(commands, caller, user, target).await?;
        let message = Outgoing {
            room: Some(room.clone()),
            ..post.message.clone()
        };
        let prepared = prepare(commands, caller, message).await?;
        let said = deliver(commands, caller, prepared, |_, _| Ok(())).await?;
        posted.push(Posted {
            channel: address.name().to_owned(),
            room,
            said,
        });
    }
    Ok(posted)
}

/// The room or person that a channel's name means to a user: of rooms, one that it knows of. An id means
/// its owner, whatever others are called.
pub fn resolve(model: &WriteModel, user: &UserId, channel: &str) -> Option<Target> {
    target(model, user, model.referent(channel)?)
}

fn target(model: &WriteModel, user: &UserId, meant: Referent) -> Option<Target> {
    match meant {
        Referent::Room(room) => {
            let known = model.sight_of(Some(user), &room, Purpose::Existence);
            known.map(|_| Target::Room(room.clone()))
        }
        Referent::Person(other) => Some(direct(model, user, other)),
    }
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
    retried(async || {
        let loaded = match &target {
            Target::Room(_) => None,
            Target::Person(other) => {
                room::own(commands, caller, &participants(&user, other)).await?
            }
        };
        let (target, user) = (target.clone(), user.clone());
        let entered = commands.run(caller, move |decision| match &target {
            Target::Room(room) => {
                let (model, caller) = (decision.model(), decision.caller());
                let found = check_room(model, caller, &user, room)?;
                // Who does not get in by itself does not get in by posting.
                room::check_code(model, caller, (room, found), None)?;
                room::enter(decision, room, &user, None)?;
                Ok(room.clone())
            }
            Target::Person(other) => {
                check_opening(decision.model(), decision.caller(), &user, other)?;
                room::open_direct(decision, &participants(&user, other), loaded.as_ref())
            }
        });
        Ok(entered.await?.answer)
    })
    .await
}

fn participants(user: &UserId, other: &UserId) -> Vec<UserId> {
    let mut both = vec![user.clone(), other.clone()];
    both.sort_unstable();
    both.dedup();
    both
}
