//! Who asks for a command, and from where.

use std::sync::Arc;

use compact_str::CompactString;
use hansard_domain::account::TokenHash;
use hansard_domain::event::Origin;
use hansard_domain::id::UserId;
use hansard_domain::log::Actor;
use hansard_domain::network::Network;
use uuid::Uuid;

use crate::authorization::withdrawn::Seen;
use crate::error::CommandError;

/// The one who asks. Rights are those of `user`; the record names `actor`.
#[derive(Debug, Clone)]
pub struct Caller {
    pub actor: Actor,
    pub user: Option<UserId>,
    /// The token the request came with.
    pub token: Option<TokenHash>,
    pub origin: Option<Origin>,
    /// What is asked for, in Rocket.Chat's name of the operation (`channels.archive`).
    pub action: CompactString,
    /// The id of the request.
    pub correlation: Option<CompactString>,
    /// The event a policy reacts to.
    pub causation: Option<Uuid>,
    /// What it is let see, where that is asked again before it is answered.
    pub seen: Option<Arc<Seen>>,
}

impl Caller {
    /// The server itself, which may do everything.
    pub fn system(action: &str) -> Self {
        Self {
            actor: Actor::System,
            user: None,
            token: None,
            origin: None,
            action: action.into(),
            correlation: None,
            causation: None,
            seen: None,
        }
    }

    /// A policy; it may do everything.
    pub fn policy(name: &str, causation: Option<Uuid>) -> Self {
        Self {
            actor: Actor::Policy(name.into()),
            causation,
            ..Self::system(name)
        }
    }

    /// A user, as far as rights go; requests add their token and origin.
    pub fn user(user: UserId, action: &str) -> Self {
        Self {
            actor: Actor::User(user.clone()),
            user: Some(user),
            ..Self::system(action)
        }
    }

    /// Whether rights are not asked about: the server itself and its policies.
    pub fn is_trusted(&self) -> bool {
        matches!(self.actor, Actor::System | Actor::Policy(_))
    }

    /// Where the request came from.
    pub fn network(&self) -> Option<Network> {
        Network::parse(&self.origin.as_ref()?.address)
    }

    /// The same, whatever has become of its session: what was refused to it, or given in vain, goes on the record.
    pub(crate) fn even_if_logged_out(&self) -> Self {
        Self {
            token: None,
            ..self.clone()
        }
    }

    pub fn user_id(&self) -> Result<&UserId, CommandError> {
        self.user.as_ref().ok_or(CommandError::NotLoggedIn)
    }
}
