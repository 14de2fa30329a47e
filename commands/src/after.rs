//! What a decision left of what it changed, to answer whoever asked for it.
//!
//! An answer made of it tells what was decided, whatever others have done since, and however far the
//! views are.

use std::sync::Arc;

use hansard_domain::account::{Account, Author};
use hansard_domain::event::Entry;
use hansard_domain::id::{RoleId, RoomId, UserId};
use hansard_domain::role::Role;
use hansard_domain::room::Room;

use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::Versioned;

/// An aggregate as a decision left it.
#[derive(Debug, Clone)]
pub struct After<I, A> {
    pub id: I,
    pub state: Arc<Versioned<A>>,
}

pub type AccountAfter = After<UserId, Account>;
pub type RoomAfter = After<RoomId, Room>;
pub type RoleAfter = After<RoleId, Role>;

/// A message that was just recorded.
#[derive(Debug, Clone)]
pub struct MessageAfter {
    pub entry: Arc<Entry>,
    /// Who said it, as the decision knew it.
    pub author: Author,
}

impl<I: Clone, A> After<I, A> {
    /// `state` is there whenever something was decided about it.
    pub(crate) fn of(id: &I, state: Option<&Arc<Versioned<A>>>) -> Result<Self, CommandError> {
        let state = state.cloned().ok_or(CommandError::Broken)?;
        Ok(Self {
            id: id.clone(),
            state,
        })
    }
}

impl Decision<'_> {
    /// An account as it is now in this decision. A caller's own may have been deleted since it was found
    /// by its token.
    pub fn account_after(&self, id: &UserId) -> Result<AccountAfter, CommandError> {
        let own = self.caller().user.as_ref() == Some(id);
        if own && self.model().account(id).is_none() {
            return Err(CommandError::NotLoggedIn);
        }
        After::of(id, self.model().accounts.get(id))
    }

    /// How somebody who says something is named as of this decision. Whoever has been deleted since it was
    /// found by its token says nothing.
    pub fn author(&self, id: &UserId) -> Result<Author, CommandError> {
        let account = self.model().account(id).ok_or(CommandError::NotLoggedIn)?;
        Ok(Author {
            id: id.clone(),
            username: account.profile.username.clone(),
            name: account.profile.name.clone(),
        })
    }

    /// A room as it is now in this decision.
    pub fn room_after(&self, id: &RoomId) -> Result<RoomAfter, CommandError> {
        After::of(id, self.model().rooms.get(id))
    }

    /// A role as it is now in this decision.
    pub fn role_after(&self, id: &RoleId) -> Result<RoleAfter, CommandError> {
        After::of(id, self.model().roles.get(id))
    }
}
