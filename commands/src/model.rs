//! The write model: the aggregates that decisions need at once, in memory.
//!
//! Accounts, rooms, roles, permissions, settings, integrations and claims, with the indexes to find them
//! by, and the webhook deliveries that are under way. All of it is persistent maps, so that a copy costs
//! nothing and a decision whose commit fails is dropped with its copy. Messages are not here, nor is what
//! members keep about rooms: they are too many.

use std::ops::Deref;
use std::sync::Arc;

use compact_str::CompactString;
use cqrs_es::Aggregate;
use hansard_domain::account::{Account, AccountEvent, MessageErasure, TokenHash};
use hansard_domain::claim::{Claim, ClaimEvent, ClaimKey};
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{DeliveryId, IntegrationId, MessageId, RoleId, RoomId, Timestamp, UserId};
use hansard_domain::integration::{
    Delivery, DeliveryEvent, DeliveryState, Integration, IntegrationEvent,
};
use hansard_domain::log::{Place, Position, StreamId, Version};
use hansard_domain::members::{Members, RoomsOf};
use hansard_domain::message::Message;
use hansard_domain::node::NodeEvent;
use hansard_domain::role::{Permission, Role};
use hansard_domain::room::{Room, RoomEvent, RoomKind};
use hansard_domain::setting::Setting;
use hansard_domain::setting::definitions::{Definition, definition};
use hansard_domain::subscription::Subscription;
use hansard_domain::vault::KeyId;
use hansard_domain::workspace::WorkspaceEvent;
use imbl::{HashMap, OrdSet};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::authorization::withdrawn::changes_rules;
use crate::integration::referents::referents;
use crate::left::Left;
use crate::room_times::RoomTimes;
use crate::table::Table;

/// An aggregate, and the version its stream has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Versioned<A> {
    pub version: Version,
    pub state: A,
}

impl<A> Deref for Versioned<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.state
    }
}

/// Aggregates by their id. A part of it is a record of the snapshot: some four thousand bytes.
type Live<K, A> = Table<K, Arc<Versioned<A>>, 12>;

/// The same where there are few.
type Few<K, A> = HashMap<K, Arc<Versioned<A>>>;

/// One receiver: an integration, and which of its URLs. Its deliveries are made one after the other.
pub type Lane = (IntegrationId, u32);

/// A delivery's turn in its lane: when it was queued, where its cause stands, and its id.
pub type Turn = (Timestamp, Position, DeliveryId);

/// What is known of an account that was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GoneAccount {
    version: Version,
    key: KeyId,
    erasure: MessageErasure,
}

/// What is known of a room that was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GoneRoom {
    version: Version,
    key: KeyId,
}

/// Who holds a name, or that it was given back: a [`Claim`] in few bytes, as there are two for each
/// account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    version: u32,
    owner: Option<CompactString>,
}

/// See the module. Cloning costs some twenty reference counts.
#[derive(Debug, Clone, Default)]
pub struct WriteModel {
    pub(crate) place: Place,
    /// The time of the newest event.
    pub(crate) newest: Timestamp,
    pub(crate) room_times: RoomTimes,
    /// How often the rules changed of who sees what, since the process began.
    pub(crate) rules: u64,
    /// The messages that decisions of the batch under way have changed; none outside of one.
    changed_messages: HashMap<MessageId, Arc<Versioned<Message>>>,
    /// The same of what members keep about rooms.
    changed_subscriptions: HashMap<(RoomId, UserId), Arc<Versioned<Subscription>>>,
    pub(crate) workspace_id: Option<String>,
    /// The address of the node that was elected last to write the log.
    pub(crate) writer: Option<String>,
    pub(crate) accounts: Live<UserId, Account>,
    pub(crate) gone_accounts: Table<UserId, GoneAccount>,
    pub(crate) rooms: Live<RoomId, Room>,
    pub(crate) gone_rooms: Table<RoomId, GoneRoom>,
    pub(crate) left: Left,
    pub(crate) roles: Few<RoleId, Role>,
    pub(crate) permissions: Few<String, Permission>,
    pub(crate) settings: Few<String, Setting>,
    pub(crate) integrations: Few<IntegrationId, Integration>,
    pub(crate) claims: Table<ClaimKey, Held>,
    /// Only those that are neither delivered nor dead.
    pub(crate) deliveries: Few<DeliveryId, Delivery>,
    pub(crate) lanes: HashMap<Lane, OrdSet<Turn>>,
    /// The latest event that a delivery was queued for. They are queued in the order of the events.
    pub(crate) queued: Position,
    /// Where in the log each integration was saved last.
    pub(crate) saved: HashMap<IntegrationId, Position>,
    /// Where in the log a channel became a group, or a group a channel, last.
    pub(crate) turned: HashMap<RoomId, Position>,
    usernames: Table<CompactString, UserId>,
    emails: Table<CompactString, UserId>,
    /// Who has a role of the workspace.
    holders: HashMap<RoleId, Members>,
    tokens: Table<TokenHash, UserId>,
    room_names: Table<CompactString, RoomId>,
    /// Direct conversations by their participants, in order.
    direct_rooms: Table<Vec<UserId>, RoomId>,
    rooms_of: Table<UserId, RoomsOf>,
    /// How many rooms somebody [made](hansard_domain::limit::ROOMS_OF_ONE) that are there.
    rooms_made: Table<UserId, u32>,
    /// The rooms that new accounts join.
    default_rooms: OrdSet<RoomId>,
}

impl WriteModel {
    /// The model of an empty log: the default roles and grants.
    pub fn empty() -> Self {
        let fresh = |state| {
            Arc::new(Versioned {
                version: Version::NONE,
                state,
            })
        };
        Self {
            roles: Role::defaults()
                .map(|(id, role)| (id, fresh(role)))
                .collect(),
            permissions: Permission::defaults()
                .map(|(id, permission)| {
                    (
                        id.to_owned(),
                        Arc::new(Versioned {
                            version: Version::NONE,
                            state: permission,
                        }),
                    )
                })
                .collect(),
            ..Self::default()
        }
    }

    /// The position of the last event in it.
    pub fn position(&self) -> Position {
        self.place.position
    }

    /// The time of the newest event in it.
    pub fn newest(&self) -> Timestamp {
        self.newest
    }

    /// A message as an earlier decision of the batch under way has left it.
    pub(crate) fn changed_message(&self, id: &MessageId) -> Option<&Versioned<Message>> {
        self.changed_messages.get(id).map(Deref::deref)
    }

    pub(crate) fn note_message(&mut self, id: MessageId, message: Versioned<Message>) {
        self.changed_messages.insert(id, Arc::new(message));
    }

    /// What somebody keeps about a room as an earlier decision of the batch under way has left it.
    pub(crate) fn changed_subscription(
        &self,
        room: &RoomId,
        user: &UserId,
    ) -> Option<&Versioned<Subscription>> {
        let found = self
            .changed_subscriptions
            .get(&(room.clone(), user.clone()));
        found.map(Deref::deref)
    }

    pub(crate) fn note_subscription(
        &mut self,
        room: &RoomId,
        user: &UserId,
        subscription: Versioned<Subscription>,
    ) {
        let key = (room.clone(), user.clone());
        self.changed_subscriptions
            .insert(key, Arc::new(subscription));
    }

    /// The time of the last message of a room, or a later one that is before the newest event.
    pub(crate) fn room_time(&self, room: &RoomId) -> Timestamp {
        self.room_times.said(room)
    }

    /// When something last happened in a room that there is to read, or a later time.
    pub(crate) fn stirred(&self, room: &RoomId) -> Timestamp {
        self.room_times.stirred(room)
    }

    /// Where in the log somebody left a room last that is there, as is its account.
    pub(crate) fn left(&self, room: &RoomId, user: &UserId) -> Option<Position> {
        self.left.last(room, user)
    }

    /// The id the workspace was founded with; `None` before that.
    pub fn workspace_id(&self) -> Option<&str> {
        self.workspace_id.as_deref()
    }

    /// The address of the node that writes the log, where one of several was elected to.
    pub fn writer(&self) -> Option<&str> {
        self.writer.as_deref()
    }

    /// An account that is there (deleted ones are not).
    pub fn account(&self, id: &UserId) -> Option<&Versioned<Account>> {
        self.accounts
            .get(id)
            .map(Deref::deref)
            .filter(|account| account.exists)
    }

    /// All accounts that are there, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = (&UserId, &Versioned<Account>)> {
        self.accounts
            .iter()
            .map(|(id, account)| (id, account.as_ref()))
            .filter(|(_, account)| account.exists)
    }

    /// An account as a command finds it, whether it is there, was, or is to be.
    pub(crate) fn any_account(&self, id: &UserId) -> Versioned<Account> {
        if let Some(account) = self.accounts.get(id) {
            return account.as_ref().clone();
        }
        let gone = self.gone_accounts.get(id).map(|gone| Versioned {
            version: gone.version,
            state: Account::gone(gone.key, gone.erasure),
        });
        gone.unwrap_or_default()
    }

    /// What becomes of the messages of an account that was deleted; `None` while it is there.
    pub fn erasure(&self, id: &UserId) -> Option<MessageErasure> {
        self.gone_accounts.get(id).map(|gone| gone.erasure)
    }

    /// By username, whatever its case.
    pub fn user_by_name(&self, username: &str) -> Option<&UserId> {
        self.usernames.get(username.to_lowercase().as_str())
    }

    /// Who has a role of the workspace, in no order that means anything.
    pub fn holders(&self, role: &str) -> impl Iterator<Item = UserId> {
        let holders = self.holders.get(role).into_iter();
        holders.flat_map(|holders| holders.iter().map(|(user, _)| user))
    }

    /// By email address, whatever its case.
    pub fn user_by_email(&self, address: &str) -> Option<&UserId> {
        self.emails.get(address.to_lowercase().as_str())
    }

    /// Whose auth token or personal access token this is; whether it is still good is the
    /// account's to say.
    pub fn user_by_token(&self, token: &TokenHash) -> Option<&UserId> {
        self.tokens.get(token)
    }

    /// A room that is there (deleted ones are not).
    pub fn room(&self, id: &RoomId) -> Option<&Versioned<Room>> {
        self.rooms
            .get(id)
            .map(Deref::deref)
            .filter(|room| room.exists)
    }

    /// A room as a command finds it, whether it is there, was, or is to be.
    pub(crate) fn any_room(&self, id: &RoomId) -> Versioned<Room> {
        if let Some(room) = self.rooms.get(id) {
            return room.as_ref().clone();
        }
        let gone = self.gone_rooms.get(id).map(|gone| Versioned {
            version: gone.version,
            state: Room::gone(gone.key),
        });
        gone.unwrap_or_default()
    }

    /// Who holds a name.
    pub(crate) fn claim(&self, key: &ClaimKey) -> Versioned<Claim> {
        let held = self.claims.get(key).map(|held| Versioned {
            version: Version(held.version.into()),
            state: Claim {
                owner: held.owner.as_ref().map(ToString::to_string),
            },
        });
        held.unwrap_or_default()
    }

    /// The names that somebody holds, in their order.
    pub(crate) fn claims_of(&self, owner: &str) -> Vec<ClaimKey> {
        let held = self.claims.iter();
        let held = held.filter(|(_, held)| held.owner.as_deref() == Some(owner));
        let mut keys: Vec<_> = held.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// All rooms that are there, in no order.
    pub fn rooms(&self) -> impl Iterator<Item = (&RoomId, &Versioned<Room>)> {
        self.rooms
            .iter()
            .map(|(id, room)| (id, room.as_ref()))
            .filter(|(_, room)| room.exists)
    }

    /// Whether there is an account of this id, or was.
    pub(crate) fn knows_account(&self, id: &str) -> bool {
        self.accounts.contains_key(id) || self.gone_accounts.contains_key(id)
    }

    /// Whether there is a room of this id, or was.
    pub(crate) fn knows_room(&self, id: &str) -> bool {
        self.rooms.contains_key(id) || self.gone_rooms.contains_key(id)
    }

    /// Whether there was such a room that was deleted.
    pub fn room_is_gone(&self, id: &RoomId) -> bool {
        self.gone_rooms.contains_key(id)
    }

    /// By name, whatever its case; direct conversations have none.
    pub fn room_by_name(&self, name: &str) -> Option<&RoomId> {
        self.room_names.get(name.to_lowercase().as_str())
    }

    /// The direct conversation between exactly these.
    pub fn direct_room(&self, participants: &[UserId]) -> Option<&RoomId> {
        let mut participants = participants.to_vec();
        participants.sort_unstable();
        participants.dedup();
        self.direct_rooms.get(&participants)
    }

    /// The rooms a user is a member of, in no order that means anything.
    pub fn rooms_of(&self, user: &UserId) -> impl Iterator<Item = RoomId> {
        self.rooms_of.get(user).into_iter().flat_map(RoomsOf::iter)
    }

    pub(crate) fn rooms_made(&self, user: &UserId) -> u32 {
        self.rooms_made.get(user).copied().unwrap_or_default()
    }

    pub(crate) fn all_rooms_of(&self, user: &UserId) -> Option<&RoomsOf> {
        self.rooms_of.get(user)
    }

    /// Whether a user is a member of one of some rooms.
    pub fn is_in_one_of(&self, user: &UserId, rooms: &RoomsOf) -> bool {
        let theirs = self.rooms_of.get(user);
        theirs.is_some_and(|theirs| theirs.shares(rooms))
    }

    /// The rooms that new accounts join, in the order of their ids.
    pub(crate) fn default_rooms(&self) -> impl Iterator<Item = &RoomId> {
        self.default_rooms.iter()
    }

    pub fn role(&self, id: &RoleId) -> Option<&Versioned<Role>> {
        self.roles
            .get(id)
            .map(Deref::deref)
            .filter(|role| role.details.is_some())
    }

    pub fn roles(&self) -> impl Iterator<Item = (&RoleId, &Versioned<Role>)> {
        self.roles
            .iter()
            .map(|(id, role)| (id, role.as_ref()))
            .filter(|(_, role)| role.details.is_some())
    }

    pub fn permission(&self, id: &str) -> Option<&Versioned<Permission>> {
        self.permissions.get(id).map(Deref::deref)
    }

    pub fn permissions(&self) -> impl Iterator<Item = (&String, &Versioned<Permission>)> {
        self.permissions
            .iter()
            .map(|(id, permission)| (id, permission.as_ref()))
    }

    pub fn integration(&self, id: &IntegrationId) -> Option<&Versioned<Integration>> {
        let found = self.integrations.get(id).map(Deref::deref);
        found.filter(|integration| integration.exists && !integration.removed)
    }

    pub fn integrations(&self) -> impl Iterator<Item = (&IntegrationId, &Versioned<Integration>)> {
        self.integrations
            .iter()
            .map(|(id, integration)| (id, integration.as_ref()))
            .filter(|(_, integration)| integration.exists && !integration.removed)
    }

    /// A delivery that is under way; those that are delivered or dead are not here.
    pub fn pending_delivery(&self, id: &DeliveryId) -> Option<&Versioned<Delivery>> {
        self.deliveries.get(id).map(Deref::deref)
    }

    /// The receivers for which deliveries are under way, each with these in their order.
    pub fn lanes(&self) -> &HashMap<Lane, OrdSet<Turn>> {
        &self.lanes
    }

    /// The latest event that a webhook delivery was queued for.
    pub fn queued(&self) -> Position {
        self.queued
    }

    /// Where in the log an integration was saved last: since then it is what it is.
    pub fn saved(&self, id: &IntegrationId) -> Option<Position> {
        self.saved.get(id).copied()
    }

    /// Where in the log a room became a channel or a group, if it was not made so.
    pub fn turned(&self, room: &RoomId) -> Option<Position> {
        self.turned.get(room).copied()
    }

    /// A setting's value: what the workspace set, or the definition's default; `null` for a setting
    /// that nobody knows.
    pub fn setting(&self, id: &str) -> Value {
        self.changed_setting(id)
            .cloned()
            .or_else(|| definition(id).map(Definition::default_value))
            .unwrap_or_default()
    }

    /// Whether a setting has a value, as far as that is known.
    pub fn is_set_to(&self, id: &str, value: &Value) -> bool {
        !self.is_lost(id) && self.setting(id) == *value
    }

    /// Whether it is not known what the workspace set a setting to.
    pub fn is_lost(&self, id: &str) -> bool {
        self.settings.get(id).is_some_and(|setting| setting.lost)
    }

    /// The settings of which it is not known what the workspace set them to, by their ids: the vault
    /// has not got their keys.
    pub fn lost_settings(&self) -> Vec<&str> {
        let lost = self.settings.iter().filter(|(_, setting)| setting.lost);
        let mut ids: Vec<_> = lost.map(|(id, _)| id.as_str()).collect();
        ids.sort_unstable();
        ids
    }

    /// What the workspace set, if it did.
    pub fn changed_setting(&self, id: &str) -> Option<&Value> {
        self.settings
            .get(id)
            .and_then(|setting| setting.value.as_ref())
    }

    /// A boolean setting.
    pub fn flag(&self, id: &str) -> bool {
        self.setting(id).as_bool().unwrap_or_default()
    }

    /// A number setting; select settings hold numbers as text.
    pub fn number(&self, id: &str) -> i64 {
        let value = self.setting(id);
        value
            .as_i64()
            .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
            .unwrap_or_default()
    }

    /// A text setting.
    pub fn text(&self, id: &str) -> String {
        self.setting(id).as_str().unwrap_or_default().to_owned()
    }

    /// Takes in an event that was recorded at a time, or is about to be.
    pub(crate) fn take_in(
        &mut self,
        stream: &StreamId,
        version: Version,
        event: &Event,
        at: Timestamp,
    ) {
        self.rules += u64::from(changes_rules(event));
        self.room_times.note(stream, event, at, self.newest);
        match event {
            Event::Account(event) => self.apply_account(UserId::new(stream.key()), version, event),
            Event::Room(event) => self.apply_room(RoomId::new(stream.key()), version, event),
            Event::Role(event) => {
                advance(
                    self.roles.entry(RoleId::new(stream.key())).or_default(),
                    version,
                    event.clone(),
                );
            }
            Event::Permission(event) => {
                advance(
                    self.permissions.entry(stream.key().to_owned()).or_default(),
                    version,
                    event.clone(),
                );
            }
            Event::Setting(event) => {
                advance(
                    self.settings.entry(stream.key().to_owned()).or_default(),
                    version,
                    event.clone(),
                );
            }
            Event::Integration(event) => {
                let id = IntegrationId::new(stream.key());
                advance(
                    self.integrations.entry(id.clone()).or_default(),
                    version,
                    event.clone(),
                );
                self.refer(&id);
            }
            Event::Claim(event) => {
                if let Some(key) = ClaimKey::parse(stream.key()) {
                    let owner = match event {
                        ClaimEvent::NameClaimed { owner } => Some(owner.as_str().into()),
                        ClaimEvent::NameReleased {} => None,
                    };
                    let version = u32::try_from(version.0).unwrap_or(u32::MAX);
                    self.claims.insert(key, Held { version, owner });
                }
            }
            Event::Workspace(WorkspaceEvent::WorkspaceFounded { id, .. }) => {
                self.workspace_id = Some(id.clone());
            }
            Event::Delivery(event) => {
                self.apply_delivery(DeliveryId::new(stream.key()), version, event);
            }
            Event::Node(NodeEvent::WriterElected { address }) => {
                self.writer = Some(address.clone());
            }
            Event::Message(_) | Event::Subscription(_) | Event::Audit(_) => {}
        }
    }

    /// Says what the names of an integration refer to where its event does not, as those of earlier versions
    /// don't: what they are at this place in the log. Whoever reads the log again finds the same, but
    /// for what is erased by then, whose names refer to nothing; nothing can be said to it either way.
    fn refer(&mut self, id: &IntegrationId) {
        let found = self.integrations.get(id);
        let Some(found) = found.filter(|found| found.details.referents.is_none()) else {
            return;
        };
        let referents = referents(self, &found.details);
        if let Some(integration) = self.integrations.get_mut(id) {
            Arc::make_mut(integration).state.details.referents = Some(referents);
        }
    }

    /// Takes in an event, whenever that was.
    #[cfg(test)]
    pub(crate) fn apply(&mut self, stream: &StreamId, version: Version, event: &Event) {
        self.take_in(stream, version, event, Timestamp::default());
    }

    /// Takes in what was recorded.
    pub(crate) fn advance(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            self.take_in(&entry.stream, entry.version, &entry.event, entry.at);
            self.place(entry);
        }
        if let Some(last) = entries.last() {
            self.reach(last);
        }
    }

    /// Remembers where in the log an event stands that is in the model, where that matters.
    pub(crate) fn place(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Integration(
                IntegrationEvent::IntegrationCreated { .. }
                | IntegrationEvent::IntegrationUpdated { .. },
            ) => {
                let id = IntegrationId::new(entry.stream.key());
                self.saved.insert(id, entry.position);
            }
            Event::Integration(IntegrationEvent::IntegrationRemoved { .. }) => {
                self.saved.remove(&IntegrationId::new(entry.stream.key()));
            }
            Event::Room(RoomEvent::RoomTypeChanged { .. }) => {
                let id = RoomId::new(entry.stream.key());
                self.turned.insert(id, entry.position);
            }
            Event::Room(RoomEvent::RoomDeleted { .. }) => {
                self.turned.remove(&RoomId::new(entry.stream.key()));
            }
            Event::Room(RoomEvent::MemberLeft { user } | RoomEvent::MemberRemoved { user, .. }) => {
                self.leave(&RoomId::new(entry.stream.key()), user, entry.position);
            }
            _ => {}
        }
        self.newest = self.newest.max(entry.at);
    }

    /// Says that everything up to an entry is in the model, and recorded.
    pub(crate) fn reach(&mut self, entry: &Entry) {
        if !self.changed_messages.is_empty() {
            self.changed_messages = HashMap::new();
        }
        if !self.changed_subscriptions.is_empty() {
            self.changed_subscriptions = HashMap::new();
        }
        self.place = Place {
            position: entry.position,
            event: Some(entry.id),
        };
        self.newest = self.newest.max(entry.at);
    }

    fn apply_delivery(&mut self, id: DeliveryId, version: Version, event: &DeliveryEvent) {
        if let DeliveryEvent::WebhookQueued { cause, .. } = event {
            self.queued = self.queued.max(cause.position);
        }
        let known = self.deliveries.remove(&id);
        if let Some((lane, turn)) = known.as_ref().and_then(|known| turn(&id, known)) {
            if let Some(turns) = self.lanes.get_mut(&lane) {
                turns.remove(&turn);
            }
            if self.lanes.get(&lane).is_some_and(OrdSet::is_empty) {
                self.lanes.remove(&lane);
            }
        }
        let mut delivery = known.map(Arc::unwrap_or_clone).unwrap_or_default();
        delivery.version = version;
        delivery.state.apply(event.clone());
        if delivery.state.state == DeliveryState::Pending {
            self.index_delivery(&id, &delivery);
            self.deliveries.insert(id, Arc::new(delivery));
        }
    }

    fn index_delivery(&mut self, id: &DeliveryId, delivery: &Delivery) {
        if let Some((lane, turn)) = turn(id, delivery) {
            self.lanes.entry(lane).or_default().insert(turn);
        }
    }

    fn apply_account(&mut self, id: UserId, version: Version, event: &AccountEvent) {
        match event {
            AccountEvent::UserLoggedIn { token, .. } => {
                self.tokens.insert(token.clone(), id.clone());
            }
            AccountEvent::UserLoggedOut { token } => {
                self.tokens.remove(token);
            }
            AccountEvent::PersonalAccessTokenCreated { token, .. } => {
                self.tokens.insert(token.hash.clone(), id.clone());
            }
            AccountEvent::PersonalAccessTokenRemoved { hash } => {
                self.tokens.remove(hash);
            }
            AccountEvent::RoleGranted { role } => self.hold(role, &id),
            AccountEvent::RoleRevoked { role } => self.let_go(role, &id),
            AccountEvent::UserDeleted { key, messages } => {
                if let Some(account) = self.accounts.remove(&id) {
                    self.unindex_account(&id, &account);
                }
                self.left.forget_user(&id);
                let gone = GoneAccount {
                    version,
                    key: *key,
                    erasure: *messages,
                };
                self.gone_accounts.insert(id, gone);
                return;
            }
            AccountEvent::UserRegistered { .. }
            | AccountEvent::UserProfileChanged { .. }
            | AccountEvent::SessionsEnded { .. } => {
                // The indexes are taken back for what was, and set for what is.
                if let Some(account) = self.accounts.get(&id).cloned() {
                    self.unindex_account(&id, &account);
                }
                advance(
                    self.accounts.get_or_default(id.clone()),
                    version,
                    event.clone(),
                );
                if let Some(account) = self.accounts.get(&id).cloned() {
                    self.index_account(&id, &account);
                }
                return;
            }
            _ => {}
        }
        advance(self.accounts.get_or_default(id), version, event.clone());
    }

    fn hold(&mut self, role: &RoleId, user: &UserId) {
        let holders = self.holders.entry(role.clone()).or_default();
        holders.insert(user, Timestamp::default());
    }

    fn let_go(&mut self, role: &RoleId, user: &UserId) {
        if let Some(holders) = self.holders.get_mut(role) {
            holders.remove(user);
        }
    }

    fn unindex_account(&mut self, id: &UserId, account: &Account) {
        for role in &account.roles {
            self.let_go(role, id);
        }
        self.usernames
            .remove(account.profile.username.to_lowercase().as_str());
        for email in &account.profile.emails {
            self.emails.remove(email.address.to_lowercase().as_str());
        }
        let tokens = account
            .personal_access_tokens
            .values()
            .map(|token| &token.hash);
        for token in account.sessions.keys().chain(tokens) {
            self.tokens.remove(token);
        }
    }

    pub(crate) fn index_account(&mut self, id: &UserId, account: &Account) {
        for role in &account.roles {
            self.hold(role, id);
        }
        if !account.profile.username.is_empty() {
            self.usernames
                .insert(account.profile.username.to_lowercase().into(), id.clone());
        }
        for email in &account.profile.emails {
            self.emails
                .insert(email.address.to_lowercase().into(), id.clone());
        }
        let tokens = account
            .personal_access_tokens
            .values()
            .map(|token| &token.hash);
        for token in account.sessions.keys().chain(tokens) {
            self.tokens.insert(token.clone(), id.clone());
        }
    }

    fn apply_room(&mut self, id: RoomId, version: Version, event: &RoomEvent) {
        match event {
            RoomEvent::MemberJoined { user, .. } => self.enter(&id, user),
            RoomEvent::MemberLeft { user } | RoomEvent::MemberRemoved { user, .. } => {
                self.exit(&id, user);
                self.leave(&id, user, Left::UNDECIDED);
                let kept = self
                    .changed_subscriptions
                    .get_mut(&(id.clone(), user.clone()));
                if let Some(kept) = kept {
                    Arc::make_mut(kept).state = Subscription::default();
                }
            }
            RoomEvent::RoomRenamed { .. } => {
                if let Some(room) = self.rooms.get(&id).cloned() {
                    self.unindex_name(&id, &room);
                }
                advance(
                    self.rooms.get_or_default(id.clone()),
                    version,
                    event.clone(),
                );
                if let Some(room) = self.rooms.get(&id).cloned() {
                    self.index_name(&id, &room);
                }
                return;
            }
            RoomEvent::RoomCreated { .. } => {
                advance(
                    self.rooms.get_or_default(id.clone()),
                    version,
                    event.clone(),
                );
                if let Some(room) = self.rooms.get(&id).cloned() {
                    self.index_room(&id, &room);
                }
                return;
            }
            RoomEvent::RoomDeleted { key } => {
                if let Some(room) = self.rooms.remove(&id) {
                    self.unindex_room(&id, &room);
                }
                self.left.forget_room(&id);
                self.gone_rooms.insert(id, GoneRoom { version, key: *key });
                return;
            }
            // It holds thousands of message ids and changes nothing here but the version.
            RoomEvent::ChannelPruned { .. } => {
                if let Some(room) = self.rooms.get_mut(&id) {
                    Arc::make_mut(room).version = version;
                } else if let Some(gone) = self.gone_rooms.get_mut(&id) {
                    gone.version = version;
                }
                return;
            }
            RoomEvent::RoomSwitchesChanged { .. }
            | RoomEvent::RoomTypeChanged { .. }
            | RoomEvent::RoomArchived {}
            | RoomEvent::RoomUnarchived {} => {
                advance(
                    self.rooms.get_or_default(id.clone()),
                    version,
                    event.clone(),
                );
                self.index_default(&id);
                return;
            }
            _ => {}
        }
        advance(self.rooms.get_or_default(id), version, event.clone());
    }

    /// Notes whether new accounts join a room.
    fn index_default(&mut self, id: &RoomId) {
        let joined = self.room(id).is_some_and(|room| {
            room.switches.default && room.kind != RoomKind::Direct && !room.archived
        });
        if joined {
            self.default_rooms.insert(id.clone());
        } else {
            self.default_rooms.remove(id);
        }
    }

    fn enter(&mut self, room: &RoomId, user: &UserId) {
        self.rooms_of.get_or_default(user.clone()).insert(room);
    }

    fn exit(&mut self, room: &RoomId, user: &UserId) {
        if let Some(rooms) = self.rooms_of.get_mut(user) {
            rooms.remove(room);
            if rooms.is_empty() {
                self.rooms_of.remove(user);
            }
        }
    }

    /// Whoever comes back to a room starts anew, while the stream of what it keeps goes on where it was.
    fn leave(&mut self, room: &RoomId, user: &UserId, position: Position) {
        if self.rooms.contains_key(room) && self.accounts.contains_key(user) {
            self.left.note(room, user, position);
        }
    }

    fn unindex_name(&mut self, id: &RoomId, room: &Room) {
        let name = room.details.name.to_lowercase();
        if self.room_names.get(name.as_str()) == Some(id) {
            self.room_names.remove(name.as_str());
        }
    }

    fn index_name(&mut self, id: &RoomId, room: &Room) {
        if room.kind != RoomKind::Direct && !room.details.name.is_empty() {
            self.room_names
                .insert(room.details.name.to_lowercase().into(), id.clone());
        }
    }

    fn unindex_room(&mut self, id: &RoomId, room: &Room) {
        self.unindex_name(id, room);
        self.default_rooms.remove(id);
        if room.kind == RoomKind::Direct {
            self.direct_rooms.remove(&room.participants);
        }
        if let Some(creator) = counts_for(room)
            && let Some(made) = self.rooms_made.get_mut(creator)
        {
            *made = made.saturating_sub(1);
            if *made == 0 {
                self.rooms_made.remove(creator);
            }
        }
        for (user, _) in room.members.iter() {
            self.exit(id, &user);
        }
    }

    pub(crate) fn index_room(&mut self, id: &RoomId, room: &Room) {
        self.index_room_alone(id, room);
        for (user, _) in room.members.iter() {
            self.enter(id, &user);
        }
    }

    /// Everything about a room but who is in it.
    fn index_room_alone(&mut self, id: &RoomId, room: &Room) {
        if room.kind == RoomKind::Direct {
            let mut participants = room.participants.clone();
            participants.sort_unstable();
            self.direct_rooms.insert(participants, id.clone());
        }
        if let Some(creator) = counts_for(room) {
            *self.rooms_made.get_or_default(creator.clone()) += 1;
        }
        self.index_name(id, room);
        self.index_default(id);
    }

    /// Makes the indexes of a model that was put together from its aggregates.
    pub(crate) fn index_all(&mut self) {
        for (id, account) in self.accounts.clone().iter() {
            self.index_account(id, account);
        }
        let rooms = self.rooms.clone();
        for (id, room) in rooms.iter() {
            self.index_room_alone(id, room);
        }
        let members = rooms.iter().map(|(id, room)| (id, &room.members));
        self.rooms_of = RoomsOf::collect(members).into_iter().collect();
        for (id, delivery) in &self.deliveries.clone() {
            self.index_delivery(id, delivery);
        }
    }
}

/// Whose room it is that [only so many](hansard_domain::limit::ROOMS_OF_ONE) may have made.
fn counts_for(room: &Room) -> Option<&UserId> {
    let of_two = room.kind == RoomKind::Direct && room.participants.len() <= 2;
    room.creator.as_ref().filter(|_| !of_two)
}

fn turn(id: &DeliveryId, delivery: &Delivery) -> Option<(Lane, Turn)> {
    let cause = delivery.cause.as_ref()?;
    let lane = (cause.integration.clone(), cause.url);
    Some((lane, (delivery.queued, cause.position, id.clone())))
}

fn advance<A: Aggregate + Clone>(live: &mut Arc<Versioned<A>>, version: Version, event: A::Event) {
    let aggregate = Arc::make_mut(live);
    aggregate.version = version;
    aggregate.state.apply(event);
}

#[cfg(test)]
mod tests {
    use hansard_domain::integration::{Direction, IntegrationDetails, Referent};
    use hansard_domain::room::{RoomDetails, RoomSwitches};
    use hansard_domain::seal::Private;
    use hansard_domain::vault::KeyId;

    use super::*;

    #[test]
    fn where_somebody_left_a_room_is_known_while_both_are_there() {
        let (room, user) = (RoomId::new("GENERAL"), UserId::new("mary"));
        let mut model = WriteModel::default();
        model.rooms.get_or_default(room.clone());
        model.accounts.get_or_default(user.clone());
        let left: Event = RoomEvent::MemberLeft { user: user.clone() }.into();
        let (of_room, of_user) = (
            StreamId::new("room", &room),
            StreamId::new("account", &user),
        );
        let kept = Versioned {
            version: Version(4),
            state: Subscription {
                favourite: true,
                ..Subscription::default()
            },
        };

        let mut batch = model.clone();
        batch.note_subscription(&room, &user, kept);
        batch.apply(&of_room, Version(2), &left);
        assert_eq!(batch.left(&room, &user), Some(Left::UNDECIDED));
        let kept = batch.changed_subscription(&room, &user).unwrap();
        assert_eq!(kept.state, Subscription::default());
        assert_eq!(kept.version, Version(4), "the stream goes on");

        let gone = RoomEvent::RoomDeleted { key: KeyId(1) };
        let erased = AccountEvent::UserDeleted {
            key: KeyId(1),
            messages: MessageErasure::Keep,
        };
        for (stream, gone) in [(&of_room, gone.into()), (&of_user, Event::from(erased))] {
            let mut model = batch.clone();
            model.apply(stream, Version(3), &gone);
            assert_eq!(model.left(&room, &user), None);
            model.leave(&room, &user, Position(9));
            assert_eq!(model.left.all(), [], "of what is gone nothing is kept");
        }
    }

    #[test]
    fn names_of_an_integration_that_has_no_ids_are_what_they_were_at_its_place_in_the_log() {
        let named = |name: &str| RoomDetails {
            name: name.to_owned(),
            ..RoomDetails::default()
        };
        let created = |name: &str| RoomEvent::RoomCreated {
            kind: RoomKind::Group,
            creator: None,
            members: Vec::new(),
            switches: RoomSwitches::default(),
            parent: None,
            details: Private::new(KeyId(1), named(name)),
            at: Timestamp(1),
        };
        let renamed = RoomEvent::RoomRenamed {
            details: Private::new(KeyId(1), named("operations")),
        };
        let details = IntegrationDetails {
            channels: vec!["#alerts".to_owned(), "#later".to_owned()],
            target_room: "alerts".to_owned(),
            ..IntegrationDetails::default()
        };
        let integration = IntegrationEvent::IntegrationCreated {
            direction: Direction::Incoming,
            trigger: None,
            enabled: true,
            user: "rocket.cat".into(),
            created_by: "mary".into(),
            details: Private::new(KeyId(2), details),
            at: Timestamp(1),
        };
        let hook = IntegrationId::new("hook");
        let first = StreamId::new("room", RoomId::new("first"));
        let log: [(StreamId, Event); 5] = [
            (first.clone(), created("alerts").into()),
            (StreamId::new("integration", &hook), integration.into()),
            (first, renamed.into()),
            (
                StreamId::new("room", RoomId::new("second")),
                created("alerts").into(),
            ),
            (
                StreamId::new("room", RoomId::new("third")),
                created("later").into(),
            ),
        ];
        let mut model = WriteModel::default();
        for (stream, event) in &log {
            model.apply(stream, Version(1), event);
        }
        let details = &model.integration(&hook).unwrap().details;
        let first = Some(&Referent::Room("first".into()));
        assert_eq!(details.referent("#alerts"), first);
        assert_eq!(details.target(), first);
        assert_eq!(details.referent("#later"), None);
    }

    #[test]
    fn a_room_is_found_by_its_new_name_alone() {
        let (room, user) = (RoomId::new("GENERAL"), UserId::new("mary"));
        let details = |name: &str| {
            let details = RoomDetails {
                name: name.to_owned(),
                ..RoomDetails::default()
            };
            Private::new(KeyId(1), details)
        };
        let mut model = WriteModel::default();
        let created = RoomEvent::RoomCreated {
            kind: RoomKind::Channel,
            creator: Some(user.clone()),
            members: Vec::new(),
            switches: RoomSwitches::default(),
            parent: None,
            details: details("general"),
            at: Timestamp(1),
        };
        let stream = StreamId::new("room", &room);
        model.apply(&stream, Version(1), &created.into());
        let renamed = RoomEvent::RoomRenamed {
            details: details("lobby"),
        };
        model.apply(&stream, Version(2), &renamed.into());
        assert_eq!(model.room_by_name("Lobby"), Some(&room));
        assert_eq!(model.room_by_name("general"), None);
        assert!(model.rooms_of(&user).any(|of| of == room));
    }
}
