//! What ids on the record are called now.

use hansard_commands::model::WriteModel;
use hansard_domain::id::{RoomId, UserId};
use hansard_domain::log::Actor;

use crate::rest::failure::Failure;

/// The username of a user who is there.
pub fn username(model: &WriteModel, user: &UserId) -> Option<String> {
    let account = model.account(user)?;
    Some(account.profile.username.clone())
}

/// The username behind an actor, if it is a user.
pub fn actor_name(model: &WriteModel, actor: &str) -> Option<String> {
    match actor.parse() {
        Ok(Actor::User(user)) => username(model, &user),
        _ => None,
    }
}

/// The name of a room that is there and has one.
pub fn room_name(model: &WriteModel, room: &str) -> Option<String> {
    let room = model.room(&RoomId::new(room))?;
    Some(room.details.fname.clone()).filter(|name| !name.is_empty())
}

/// The actor that a filter means: `user:<id>` and so on, the id of a user, or a username.
pub fn actor(model: &WriteModel, text: &str) -> Result<String, Failure> {
    if let Ok(actor) = text.parse::<Actor>() {
        return Ok(actor.to_string());
    }
    let user = model.account_called(text.trim_start_matches('@'));
    let user = user.ok_or_else(|| {
        Failure::invalid_params(&format!(
            "'actor' must be a username, the id of a user, or one of user:<id>, \
             integration:<id>, policy:<name>, system, anonymous; '{text}' is none of them"
        ))
    })?;
    Ok(Actor::User(user).to_string())
}

/// The room that a filter means, by its id or its name. A room that is gone has its id alone.
pub fn room(model: &WriteModel, text: &str) -> String {
    let room = model.room_called(text.trim_start_matches('#'));
    room.map_or_else(|| text.to_owned(), |room| room.to_string())
}

/// The target that a filter means: `@username`, `#room`, or an id as it stands.
pub fn target(model: &WriteModel, text: &str) -> Result<String, Failure> {
    let unknown = || Failure::invalid_params(&format!("'target' names nobody and nothing: {text}"));
    if let Some(name) = text.strip_prefix('@') {
        let user = model.user_by_name(name).ok_or_else(unknown)?;
        return Ok(user.to_string());
    }
    if let Some(name) = text.strip_prefix('#') {
        let room = model.room_by_name(name).ok_or_else(unknown)?;
        return Ok(room.to_string());
    }
    Ok(text.to_owned())
}
