//! What members keep about rooms: loaded from its stream where a decision needs it.
//!
//! A member that leaves a room and comes back starts anew, and the stream goes on where it was. So what
//! stands in it before the member left last counts for nothing, which the write model knows the place of.

use std::sync::Arc;

use cqrs_es::Aggregate;
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{RoomId, UserId};
use hansard_domain::log::{Position, StreamId, Version};
use hansard_domain::subscription::Subscription;
use moka::sync::Cache;

use crate::bus::Commands;
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::{Versioned, WriteModel};
use crate::retried::retried;

/// How many are kept in memory, so that of their streams only what is new is read. One takes some 300
/// bytes; a stream grows for as long as somebody reads in a room.
const KEPT: u64 = 65_536;

/// The streams that were loaded last, by room and user.
pub(crate) type Recent = Cache<(RoomId, UserId), Arc<Taken>>;

pub(crate) fn recent() -> Recent {
    Cache::new(KEPT)
}

/// A stream as far as a write model knows of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    version: Version,
    state: Subscription,
    /// Where its member left the room last, as that write model knows.
    left: Option<Position>,
}

/// What a member keeps about a room, as its stream told. See [`Commands::subscription`].
#[derive(Debug, Clone)]
pub struct LoadedSubscription {
    room: RoomId,
    user: UserId,
    taken: Arc<Taken>,
    /// What came after that, which other nodes recorded.
    later: Vec<Arc<Entry>>,
}

impl LoadedSubscription {
    pub fn room(&self) -> &RoomId {
        &self.room
    }

    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// What it is to decisions on a write model, which is the one that it was loaded with or a later one.
    pub fn in_model(&self, model: &WriteModel) -> Versioned<Subscription> {
        let left = model.left(&self.room, &self.user);
        let mut state = if left == self.taken.left {
            self.taken.state.clone()
        } else {
            // It was left after everything that was taken in.
            Subscription::default()
        };
        for entry in &self.later {
            take(&mut state, entry, left);
        }
        let version = self.later.last().map(|entry| entry.version);
        Versioned {
            version: version.unwrap_or(self.taken.version),
            state,
        }
    }
}

/// Takes in an event, if it stands after the place where the room was left.
fn take(state: &mut Subscription, entry: &Entry, left: Option<Position>) {
    if let Event::Subscription(event) = &entry.event
        && left.is_none_or(|left| entry.position > left)
    {
        state.apply(event.clone());
    }
}

/// The stream of what somebody keeps about a room.
pub(crate) fn stream(room: &RoomId, user: &UserId) -> StreamId {
    StreamId::new(Subscription::TYPE, Subscription::key(room, user))
}

impl Commands {
    /// What somebody keeps about a room, from its stream; the default if there is nothing in it.
    pub async fn subscription(
        &self,
        room: &RoomId,
        user: &UserId,
    ) -> Result<LoadedSubscription, CommandError> {
        let key = (room.clone(), user.clone());
        let known = self.subscriptions().get(&key).unwrap_or_default();
        // After what is known was looked up, so that it is none of an earlier model.
        let model = self.model();
        let left = model.left(room, user);
        let mut taken = known.clone();
        if known.left != left {
            // It was left after everything that is known.
            taken = Arc::new(Taken {
                version: known.version,
                state: Subscription::default(),
                left,
            });
        }
        let mut later = Vec::new();
        let journal = self.journal();
        let show = |entry: Arc<Entry>| {
            if entry.position > model.position() {
                later.push(entry);
                return;
            }
            let taken = Arc::make_mut(&mut taken);
            take(&mut taken.state, &entry, left);
            taken.version = entry.version;
        };
        journal
            .each(&stream(room, user), known.version, show)
            .await?;
        if taken.version > Version::NONE && !Arc::ptr_eq(&taken, &known) {
            self.subscriptions().insert(key, taken.clone());
        }
        Ok(LoadedSubscription {
            room: room.clone(),
            user: user.clone(),
            taken,
            later,
        })
    }
}

/// Loads what the caller keeps about a room, has something decided on it, and does so again when it
/// changed in between.
pub(crate) async fn on_subscription(
    commands: &Commands,
    caller: &Caller,
    room: &RoomId,
    decide: impl Fn(&mut Decision<'_>, &LoadedSubscription) -> Result<(), CommandError>
    + Clone
    + Send
    + 'static,
) -> Result<(), CommandError> {
    let user = caller.user_id()?;
    retried(async || {
        let loaded = commands.subscription(room, user).await?;
        let decide = decide.clone();
        let decided = commands.run(caller, move |decision| decide(decision, &loaded));
        decided.await.map(drop)
    })
    .await
}
