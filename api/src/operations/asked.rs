//! An operation that is asked for: all that it takes to do it, here or on another node, once or again.

use std::net::IpAddr;
use std::sync::Arc;

use hansard_commands::account::token;
use hansard_commands::caller::Caller as Asking;
use hansard_commands::error::CommandError;
use hansard_commands::model::WriteModel;
use hansard_domain::account::TokenHash;
use hansard_domain::event::Origin;
use hansard_domain::fair;
use hansard_domain::id::{RoomId, Timestamp, UserId};
use hansard_domain::log::{Actor, Role};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::hidden::hidden_rooms;
use super::reply::Reply;
use super::request::Input;
use super::{Effect, Operation};
use crate::app::App;
use crate::rest::exchange::number_of;
use crate::rest::failure::{Failure, Refusal};

/// How often a look is begun at most: whoever loses something each time asks again itself.
const TIMES: usize = 3;

/// See the module. It has no `Debug`: it holds what clients are known by.
#[derive(Clone, Serialize, Deserialize)]
pub struct Asked {
    pub credentials: Option<Credentials>,
    /// The client's address.
    pub address: IpAddr,
    pub user_agent: String,
    /// The id of the request, which goes on the record.
    pub request_id: String,
    pub input: Input,
    #[serde(skip)]
    pub by: AskedBy,
}

/// What a client is known by.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    pub user: String,
    pub token: String,
}

impl Credentials {
    /// Whose session it is, if it holds.
    pub fn session(&self, model: &WriteModel, now: Timestamp) -> Option<(UserId, TokenHash)> {
        let token = token::hash(&self.token);
        let user = token::holder(model, &token, now)?;
        (user.as_str() == self.user).then_some((user, token))
    }
}

/// Who asks, once it is known.
#[derive(Debug, Clone, Default)]
pub struct AskedBy(Arc<Mutex<Option<Arc<Asking>>>>);

impl AskedBy {
    /// What is begun again is asked by whoever it is then.
    fn tell(&self, asking: &Arc<Asking>) {
        *self.0.lock() = Some(asking.clone());
    }

    /// The one who asks; `None` where nobody was interested.
    fn asking(&self) -> Option<Arc<Asking>> {
        self.0.lock().clone()
    }

    /// Whose session it is, where it is one.
    pub fn user(&self) -> Option<UserId> {
        self.0.lock().as_ref()?.user.clone()
    }
}

impl Asked {
    /// Looks up who asks, and refuses a caller that an operation is not for.
    pub async fn admit(&self, app: &App, operation: &Operation) -> Result<Arc<Asking>, Failure> {
        let session = self.session(app).await?;
        let (user, token) = session.unzip();
        let asking = Arc::new(Asking {
            actor: user.clone().map_or(Actor::Anonymous, Actor::User),
            user,
            token,
            origin: Some(Origin {
                address: self.address.to_string(),
                user_agent: self.user_agent.clone(),
            }),
            action: operation.on_record().into(),
            correlation: Some(self.request_id.as_str().into()),
            causation: None,
            // What changes something is decided on what holds then.
            seen: (operation.effect == Effect::Looks).then(Arc::default),
        });
        if let Some(user) = &asking.user {
            fair::is_known_as(number_of(user));
        }
        self.by.tell(&asking);
        operation.admit(app, &asking)?;
        Ok(asking)
    }

    async fn session(&self, app: &App) -> Result<Option<(UserId, TokenHash)>, Failure> {
        let Some(credentials) = &self.credentials else {
            return Ok(None);
        };
        let now = app.commands.clock().now();
        let session = credentials.session(&app.commands.model(), now);
        if session.is_some() {
            return Ok(session);
        }
        // This node may not have heard of it yet, because another one began it.
        match app.commands.journal().role() {
            Role::Sole => Ok(None),
            Role::Shared => {
                app.commands.caught_up().await;
                Ok(credentials.session(&app.commands.model(), now))
            }
            Role::Follower => Err(Failure::elsewhere()),
        }
    }

    /// Does it for a caller that was let in, and keeps what was given, so that it can be asked again.
    pub async fn perform(
        &self,
        app: &App,
        operation: &Operation,
        asking: Arc<Asking>,
    ) -> Result<Reply, Failure> {
        self.perform_with(app, operation, asking, self.input.clone())
            .await
    }

    /// The same, once.
    pub async fn perform_once(
        mut self,
        app: &App,
        operation: &Operation,
        asking: Arc<Asking>,
    ) -> Result<Reply, Failure> {
        let input = std::mem::take(&mut self.input);
        self.perform_with(app, operation, asking, input).await
    }

    /// What is refused for want of a right goes on the record.
    async fn perform_with(
        &self,
        app: &App,
        operation: &Operation,
        asking: Arc<Asking>,
        input: Input,
    ) -> Result<Reply, Failure> {
        let hidden = hidden_rooms(&input, &asking, &app.commands.model());
        let done = match operation.effect {
            Effect::Looks => self.look(app, operation, asking, input).await,
            Effect::Records | Effect::OfThisNode => operation.run(app.clone(), asking, input).await,
        };
        match done {
            Ok(reply) => Ok(reply),
            Err(failure) => Err(self.recorded(app, hidden, failure).await),
        }
    }

    /// A look is answered by what its caller may see when it is answered. It is asked who may see what, then
    /// a view is waited for, a turn, many rows: seconds, in which the caller may be logged out, put out of a
    /// room, lose a role. Where it lost anything, it is asked once more.
    async fn look(
        &self,
        app: &App,
        operation: &Operation,
        mut asking: Arc<Asking>,
        input: Input,
    ) -> Result<Reply, Failure> {
        for time in 0..TIMES {
            if time > 0 {
                asking = self.admit(app, operation).await?;
            }
            let before = app.commands.model();
            let running = operation.run(app.clone(), asking.clone(), input.clone());
            let reply = running.await?;
            if reply.is_done || still_may(app, &before, &asking) {
                return Ok(reply);
            }
        }
        Err(Failure::rights_changed())
    }

    /// Records a refusal that is not on the record yet. The committer records what it refuses itself; much is
    /// refused before anything is decided, most of all looks. Where this node can't, another one has to.
    async fn recorded(&self, app: &App, hidden: Vec<RoomId>, mut failure: Failure) -> Failure {
        let Some(asking) = self.by.asking() else {
            return failure;
        };
        let others = |told: Option<&RoomId>| {
            let others = hidden.iter().filter(|room| Some(*room) != told).cloned();
            refused_in(None, others)
        };
        let refusals = match failure.take_refusal() {
            // It concerns what was asked for, where it is not said what it concerns.
            Some(refusal) if refusal.room.is_none() && !hidden.is_empty() => {
                refused_in(refusal.permission.as_deref(), hidden.iter().cloned())
            }
            Some(refusal) => {
                let others = others(refusal.room.as_ref());
                [vec![refusal], others].concat()
            }
            None => match failure.noted() {
                Some(noted) => others(noted.room.as_ref()),
                None if failure.may_hide_something() => others(None),
                None => Vec::new(),
            },
        };
        for Refusal { permission, room } in refusals {
            match app.commands.refuse(&asking, permission, room).await {
                Ok(()) => {}
                Err(CommandError::Follower) => return Failure::elsewhere(),
                Err(error) => tracing::warn!(%error, "a refusal is not on the record yet"),
            }
        }
        failure
    }
}

/// The same refusal in each of some rooms.
fn refused_in(permission: Option<&str>, rooms: impl Iterator<Item = RoomId>) -> Vec<Refusal> {
    let refusal = |room| Refusal {
        permission: permission.map(str::to_owned),
        room: Some(room),
    };
    rooms.map(refusal).collect()
}

fn still_may(app: &App, before: &WriteModel, asking: &Asking) -> bool {
    let model = app.commands.model();
    !is_logged_out(app, &model, asking) && !model.has_withdrawn(before, asking)
}

/// Whether the session that was asked with has ended.
pub fn is_logged_out(app: &App, model: &WriteModel, asking: &Asking) -> bool {
    let now = app.commands.clock().now();
    let ended = |token| token::holder(model, token, now).is_none();
    asking.token.as_ref().is_some_and(ended)
}
