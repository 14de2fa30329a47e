//! What the names of an integration refer to.
//!
//! `#alerts` is the room of that name when the integration is saved, and stays that room: by its id, however
//! it is called later, and whatever takes its name. So what is sent to a private group never reaches
//! a channel that somebody calls like it.

use hansard_domain::id::UserId;
use hansard_domain::integration::{Integration, IntegrationDetails, Referent, Referents};

use crate::authorization::sight::Purpose;
use crate::model::WriteModel;

/// What the names of an integration refer to now.
pub fn referents(model: &WriteModel, details: &IntegrationDetails) -> Referents {
    let named = details
        .channels
        .iter()
        .filter(|channel| channel.starts_with(['#', '@']));
    Referents {
        channels: named
            .filter_map(|channel| Some((channel.clone(), model.referent(channel)?)))
            .collect(),
        target: target(model, &details.target_room),
    }
}

/// What a `target_room` refers to now.
pub fn target(model: &WriteModel, name: &str) -> Option<Referent> {
    Some(name)
        .filter(|name| !name.is_empty())
        .and_then(|name| model.referent(name))
}

/// Whether something that an integration names is not there any more.
pub fn misses_one(model: &WriteModel, integration: &Integration) -> bool {
    let details = &integration.details;
    let channels = details.channels.iter();
    let mut channels = channels.filter(|channel| channel.starts_with(['#', '@']));
    let is_gone = |referent: Option<&Referent>| !referent.is_some_and(|it| model.is_there(it));
    channels.any(|channel| is_gone(details.referent(channel)))
        || !details.target_room.is_empty() && is_gone(details.target())
}

/// A name as it is to be shown: of what it refers to, as that is called now. The id in its place where that
/// is gone, or the viewer does not see it, so that saving what was shown never turns to something else.
pub fn shown(
    model: &WriteModel,
    viewer: &UserId,
    name: &str,
    referent: Option<&Referent>,
) -> String {
    let said = name.strip_prefix(['#', '@']).unwrap_or(name);
    let sign = &name[..name.len() - said.len()];
    let (id, called) = match referent {
        None => return name.to_owned(),
        Some(Referent::Room(id)) => {
            let seen = model.sight_of(Some(viewer), id, Purpose::Administration);
            let called = seen.map(|sight| sight.room.details.name.as_str());
            (id.as_str(), called.filter(|called| !called.is_empty()))
        }
        Some(Referent::Person(id)) => {
            let account = model.account(id);
            // Without a sign it is no name of a person.
            let called = account.map(|account| account.profile.username.as_str());
            (id.as_str(), called.filter(|_| !sign.is_empty()))
        }
    };
    let called = called.filter(|_| said != id).unwrap_or(id);
    format!("{sign}{called}")
}
