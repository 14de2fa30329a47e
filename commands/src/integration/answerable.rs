//! What an integration may do: what whoever answers for it may, at the moment that it does it.
//!
//! Who holds the permission for all integrations answers for one that hears and says what it was set
//! up for, as in Rocket.Chat. Who may manage its own alone answers for one that hears what it could
//! read itself, and speaks as itself or as the server's own account, where it could speak. Nothing is
//! done for somebody who is not active, or may not manage such integrations any more, until somebody
//! with the permission for all saves the integration and answers for it.

use hansard_domain::account::AccountKind;
use hansard_domain::id::{RoomId, UserId};
use hansard_domain::integration::{HeldBack, Integration, Trigger};
use hansard_domain::log::Actor;
use hansard_domain::room::RoomKind;

use super::manage::permissions;
use super::trigger::uses_channels;
use crate::authorization::sight::Purpose;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::message::may_write;
use crate::model::WriteModel;

/// How far somebody may go with an integration that it answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It may manage all integrations.
    All,
    /// It may manage its own alone.
    Own,
}

/// How far an integration reaches now.
pub fn reach(model: &WriteModel, integration: &Integration) -> Result<Reach, HeldBack> {
    let maker = &integration.created_by;
    if !model.account(maker).is_some_and(|account| account.active) {
        return Err(HeldBack::MakerInactive);
    }
    let [all, own] = permissions(integration.direction);
    if model.permitted(maker, all, None) {
        Ok(Reach::All)
    } else if model.permitted(maker, own, None) {
        Ok(Reach::Own)
    } else {
        Err(HeldBack::MakerMayNotManage)
    }
}

/// Whether an outgoing webhook may tell of something.
pub fn may_hear(
    model: &WriteModel,
    integration: &Integration,
    trigger: Trigger,
    room: Option<&RoomId>,
) -> Result<(), HeldBack> {
    if reach(model, integration)? == Reach::All {
        return Ok(());
    }
    let maker = Some(&integration.created_by);
    room.filter(|_| uses_channels(trigger))
        .and_then(|room| model.sight_of(maker, room, Purpose::Messages))
        .map(drop)
        .ok_or(HeldBack::RoomOutOfSight)
}

/// Whether somebody that may manage its own integrations alone may have one post as an account: as
/// itself, and as the server's own.
pub fn is_own(model: &WriteModel, maker: &UserId, account: &UserId) -> bool {
    let bot = || {
        model
            .account(account)
            .is_some_and(|account| account.kind == AccountKind::Bot)
    };
    maker == account || bot()
}

/// Refuses an integration to post into a room what whoever answers for it could not say there. Callers
/// that are no integration are not asked.
pub fn check_post(
    model: &WriteModel,
    caller: &Caller,
    poster: &UserId,
    room: &RoomId,
) -> Result<(), CommandError> {
    check(model, caller, poster, |maker| {
        if model
            .sight_of(Some(maker), room, Purpose::Participation)
            .is_some_and(|sight| may_write(model, maker, room, sight.room).is_ok())
        {
            return true;
        }
        // The server's own account writes to those that the maker writes to.
        model.room(room).is_some_and(|room| {
            let mut others = room.participants.iter().filter(|other| *other != poster);
            room.kind == RoomKind::Direct && others.all(|other| writes_to(model, maker, other))
        })
    })
}

/// Refuses an integration to open a direct conversation with somebody that whoever answers for it has
/// none with.
pub fn check_opening(
    model: &WriteModel,
    caller: &Caller,
    poster: &UserId,
    other: &UserId,
) -> Result<(), CommandError> {
    check(model, caller, poster, |maker| {
        maker == poster || writes_to(model, maker, other)
    })
}

fn writes_to(model: &WriteModel, maker: &UserId, other: &UserId) -> bool {
    maker == other || model.direct_room(&[maker.clone(), other.clone()]).is_some()
}

fn check(
    model: &WriteModel,
    caller: &Caller,
    poster: &UserId,
    reaches: impl FnOnce(&UserId) -> bool,
) -> Result<(), CommandError> {
    let Actor::Integration(id) = &caller.actor else {
        return Ok(());
    };
    let refused = |why: HeldBack| {
        CommandError::denied(
            "error-not-allowed",
            format!(
                "The integration is held back ({}): somebody with the permission for all integrations has \
                 to save it",
                why.as_str()
            ),
        )
    };
    let Some(integration) = model.integration(id) else {
        return Err(CommandError::refused(
            "error-invalid-integration",
            "Invalid integration",
        ));
    };
    if !integration.enabled {
        return Err(CommandError::refused(
            "error-integration-disabled",
            "The integration is disabled",
        ));
    }
    let impersonates = integration.details.impersonate_user;
    if *poster != integration.user && !impersonates {
        return Err(CommandError::refused(
            "error-not-allowed",
            "The integration does not post as somebody else",
        ));
    }
    let maker = &integration.created_by;
    match reach(model, integration).map_err(refused)? {
        Reach::All => Ok(()),
        Reach::Own if !is_own(model, maker, poster) => Err(refused(HeldBack::OtherAccount)),
        Reach::Own if !reaches(maker) => Err(refused(HeldBack::RoomOutOfSight)),
        Reach::Own => Ok(()),
    }
}
