//! A decision: what a use case does between looking at the write model and recording events.
//!
//! It runs inside the committer, on a model that holds everything decided before it. Commands to
//! aggregates take effect in the decision's own copy at once, so that a later one sees the earlier;
//! all events of a decision are one commit, or none if it ends with an error.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use futures::FutureExt;
use hansard_domain::account::{Account, AccountCommand};
use hansard_domain::audit::{AUDIT, AuditEvent};
use hansard_domain::claim::{Claim, ClaimCommand, Namespace, claim_key};
use hansard_domain::event::Event;
use hansard_domain::id::{
    DeliveryId, Ids, IntegrationId, MessageId, RoleId, RoomId, Timestamp, UserId,
};
use hansard_domain::integration::{Delivery, DeliveryCommand, Integration, IntegrationCommand};
use hansard_domain::journal::{Context, Draft, Proposal};
use hansard_domain::keyring::Keyring;
use hansard_domain::log::{StreamId, Version};
use hansard_domain::message::{Content, Mentions, Message, MessageCommand, MessageEvent, Sent};
use hansard_domain::node::{NODE, NodeEvent};
use hansard_domain::role::{Permission, PermissionCommand, Role, RoleCommand};
use hansard_domain::room::{Room, RoomCommand};
use hansard_domain::seal::Private;
use hansard_domain::setting::{Setting, SettingCommand};
use hansard_domain::subscription::{Subscription, SubscriptionCommand};
use hansard_domain::vault::{DataKey, KeyId};
use hansard_domain::workspace::{WORKSPACE, WorkspaceEvent};
use tokio::task::coop::unconstrained;

use crate::account::token;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::{Versioned, WriteModel};
use crate::subscription::LoadedSubscription;
use crate::time::Moment;

/// How far a room's time may run ahead of the log's, where more is said in it than one message a
/// millisecond.
const LEAD: Duration = Duration::from_millis(750);

/// See the module.
pub struct Decision<'a> {
    base: &'a WriteModel,
    /// The copy that this decision's events were applied to; none until one concerns the model.
    changed: Option<WriteModel>,
    caller: &'a Caller,
    moment: Moment,
    tools: &'a Tools,
    drafts: Vec<Draft>,
    /// Where the draft of each stream is.
    places: HashMap<StreamId, usize>,
    /// The fresh keys that it has taken.
    keys: RefCell<Vec<KeyId>>,
}

/// What was decided.
#[derive(Default)]
pub(crate) struct Finished {
    /// The commit; `None` if nothing is to be recorded.
    pub proposal: Option<Proposal>,
    /// The model that it leads to, if it concerns the model.
    pub changed: Option<WriteModel>,
    /// The fresh keys that it is sealed under.
    pub keys: Vec<KeyId>,
}

/// What decisions are made with.
pub(crate) struct Tools {
    pub ids: Arc<dyn Ids>,
    pub journal: Arc<hansard_domain::journal::Journal>,
    /// Hashes names for claims.
    pub claims: DataKey,
}

impl Tools {
    fn keys(&self) -> &Keyring {
        self.journal.keys()
    }
}

impl<'a> Decision<'a> {
    pub(crate) fn new(
        base: &'a WriteModel,
        caller: &'a Caller,
        moment: Moment,
        tools: &'a Tools,
    ) -> Self {
        Self {
            base,
            changed: None,
            caller,
            moment,
            tools,
            drafts: Vec::new(),
            places: HashMap::new(),
            keys: RefCell::default(),
        }
    }

    /// The write model as this decision has made it so far.
    pub fn model(&self) -> &WriteModel {
        self.changed.as_ref().unwrap_or(self.base)
    }

    pub fn caller(&self) -> &'a Caller {
        self.caller
    }

    /// Refuses a caller whose session ended after its request was let in: logged out, deactivated or
    /// deleted a moment ago.
    pub(crate) fn check_caller(&self) -> Result<(), CommandError> {
        let Some(token) = &self.caller.token else {
            return Ok(());
        };
        let holder = token::holder(self.model(), token, self.now());
        if holder == self.caller.user {
            return Ok(());
        }
        Err(CommandError::NotLoggedIn)
    }

    /// The time that this decision's events are recorded with.
    pub fn now(&self) -> Timestamp {
        self.moment.at
    }

    /// What the clock says, where the log's time is ahead of it.
    pub fn clock(&self) -> Timestamp {
        self.moment.clock.unwrap_or(self.moment.at)
    }

    /// The time of a message that comes next in a room; `asked` is the one that its sender would like.
    ///
    /// Clients page through a room by these times, so each is later than the one before it. In a room
    /// where more is said than one message a millisecond they run ahead of [`Self::now`], by [`LEAD`]
    /// at most; what comes faster still has the same time as what came before it. With what batches are
    /// ahead of the clock themselves, they are ahead of it by a second.
    fn message_time(&self, room: &RoomId, asked: Timestamp) -> Timestamp {
        let now = self.now();
        let wanted = asked.min(now);
        let last = self.model().room_time(room);
        let lead = i64::try_from(LEAD.as_millis()).unwrap_or(i64::MAX);
        let limit = Timestamp(now.0.saturating_add(lead)).max(last);
        wanted.max(Timestamp(last.0.saturating_add(1))).min(limit)
    }

    /// A fresh id of 17 characters.
    pub fn id(&self) -> CompactString {
        self.tools.ids.id(self.now())
    }

    /// A secret of so many characters.
    pub fn secret(&self, length: usize) -> String {
        self.tools.ids.secret(length)
    }

    /// A data key that nothing has been sealed under.
    pub fn fresh_key(&self) -> Result<KeyId, CommandError> {
        let key = self.tools.keys().fresh().ok_or(CommandError::OutOfKeys)?;
        self.keys.borrow_mut().push(key);
        Ok(key)
    }

    pub fn account(&mut self, id: &UserId, command: AccountCommand) -> Result<(), CommandError> {
        let current = self.model().any_account(id);
        self.execute::<Account>(id, current, command).map(drop)
    }

    pub fn room(&mut self, id: &RoomId, command: RoomCommand) -> Result<(), CommandError> {
        let current = self.model().any_room(id);
        self.execute::<Room>(id, current, command).map(drop)
    }

    /// A command to what somebody keeps about a room, as it was loaded from its stream. If a decision
    /// before this one in the same batch has changed it since, the command is for what it is then.
    pub fn subscription(
        &mut self,
        loaded: &LoadedSubscription,
        command: SubscriptionCommand,
    ) -> Result<(), CommandError> {
        let (room, user) = (loaded.room(), loaded.user());
        let model = self.model();
        let changed = model.changed_subscription(room, user);
        let current = newest(loaded.in_model(model), changed);
        let version = current.version;
        let id = Subscription::key(room, user);
        let after = self.execute::<Subscription>(id, current, command)?;
        if after.version > version {
            self.change().note_subscription(room, user, after);
        }
        Ok(())
    }

    pub fn role(&mut self, id: &RoleId, command: RoleCommand) -> Result<(), CommandError> {
        let current = self
            .model()
            .roles
            .get(id)
            .map(Arc::as_ref)
            .cloned()
            .unwrap_or_default();
        self.execute::<Role>(id, current, command).map(drop)
    }

    pub fn permission(&mut self, id: &str, command: PermissionCommand) -> Result<(), CommandError> {
        let current = self.model().permission(id).cloned().unwrap_or_default();
        self.execute::<Permission>(id, current, command).map(drop)
    }

    pub fn setting(&mut self, id: &str, command: SettingCommand) -> Result<(), CommandError> {
        let current = self
            .model()
            .settings
            .get(id)
            .map(Arc::as_ref)
            .cloned()
            .unwrap_or_default();
        self.execute::<Setting>(id, current, command).map(drop)
    }

    pub fn integration(
        &mut self,
        id: &IntegrationId,
        command: IntegrationCommand,
    ) -> Result<(), CommandError> {
        let current = self.model().integrations.get(id).map(Arc::as_ref).cloned();
        self.execute::<Integration>(id, current.unwrap_or_default(), command)
            .map(drop)
    }

    /// A command to a delivery that was loaded from its stream (or the default, for a new one).
    pub fn delivery(
        &mut self,
        id: &DeliveryId,
        loaded: &Versioned<Delivery>,
        command: DeliveryCommand,
    ) -> Result<(), CommandError> {
        self.execute::<Delivery>(id, loaded.clone(), command)
            .map(drop)
    }

    /// A command to a message that was loaded from its stream. If a decision before this one in the
    /// same batch has changed the message since, the command is for what it is then: many may react
    /// to one message at once.
    pub fn message(
        &mut self,
        id: &MessageId,
        loaded: &Versioned<Message>,
        command: MessageCommand,
    ) -> Result<(), CommandError> {
        let current = newest(loaded.clone(), self.model().changed_message(id));
        let version = current.version;
        let after = self.execute::<Message>(id, current, command)?;
        if after.version > version {
            self.change().note_message(id.clone(), after);
        }
        Ok(())
    }

    /// A message that is new. If one with its id is there already, the commit conflicts. A room that
    /// was deleted takes none, and an account that was deleted sends none. Its time is the one that
    /// `sent` asks for, if nothing later stands in the room.
    pub fn new_message(
        &mut self,
        id: &MessageId,
        mut sent: Sent,
        content: Content,
    ) -> Result<(), CommandError> {
        if self.model().room_is_gone(&sent.room) {
            return Err(CommandError::plain("error-invalid-room"));
        }
        if self.model().erasure(&sent.sender).is_some() {
            return Err(CommandError::refused("error-invalid-user", "Invalid user"));
        }
        sent.at = self.message_time(&sent.room, sent.at);
        let key = self.fresh_key()?;
        let command = MessageCommand::Send { key, sent, content };
        self.execute::<Message>(id, Versioned::default(), command)
            .map(drop)
    }

    /// A message that the server itself writes into a room: that it was renamed (`r`), archived
    /// (`room-archived`), … The text is what Rocket.Chat puts there.
    pub fn system_message(
        &mut self,
        room: &RoomId,
        kind: &str,
        sender: &UserId,
        text: impl Into<String>,
    ) -> Result<MessageId, CommandError> {
        let content = Content {
            text: text.into(),
            ..Content::default()
        };
        self.system_message_with(room, kind, sender, content)
    }

    /// A system message about somebody: that it joined (`uj`), was muted (`user-muted`), … The text is
    /// the username.
    pub fn system_message_about(
        &mut self,
        room: &RoomId,
        kind: &str,
        sender: &UserId,
        about: &UserId,
    ) -> Result<MessageId, CommandError> {
        let content = Content {
            about: Some(about.clone()),
            ..Content::default()
        };
        self.system_message_with(room, kind, sender, content)
    }

    /// A system message with more than a text.
    pub fn system_message_with(
        &mut self,
        room: &RoomId,
        kind: &str,
        sender: &UserId,
        content: Content,
    ) -> Result<MessageId, CommandError> {
        let id = MessageId::new(self.id());
        let sent = Sent {
            room: room.clone(),
            sender: sender.clone(),
            system: Some(kind.to_owned()),
            thread: None,
            mentions: Mentions::default(),
            integration: None,
            bot: false,
            groupable: false,
            discussion: None,
            has_files: false,
            at: self.now(),
        };
        self.new_message(&id, sent, content)?;
        Ok(id)
    }

    /// Takes a name for an owner; the error is `error-field-unavailable` if it is somebody else's.
    pub fn claim(
        &mut self,
        namespace: Namespace,
        name: &str,
        owner: &str,
    ) -> Result<(), CommandError> {
        self.change_claim(
            namespace,
            name,
            ClaimCommand::Claim {
                owner: owner.to_owned(),
            },
        )
    }

    /// Gives a name back; nothing happens if it is not the owner's.
    pub fn release(
        &mut self,
        namespace: Namespace,
        name: &str,
        owner: &str,
    ) -> Result<(), CommandError> {
        let held = self.claim_of(namespace, name);
        if held.owner.as_deref() != Some(owner) {
            return Ok(());
        }
        self.change_claim(
            namespace,
            name,
            ClaimCommand::Release {
                owner: owner.to_owned(),
            },
        )
    }

    /// Gives back whatever an owner holds, where the names are not known any more. It looks through all names
    /// that are held.
    pub fn release_all(&mut self, owner: &str) -> Result<(), CommandError> {
        for key in self.model().claims_of(owner) {
            let current = self.model().claim(&key);
            let owner = owner.to_owned();
            self.execute::<Claim>(key, current, ClaimCommand::Release { owner })?;
        }
        Ok(())
    }

    /// Who holds a name.
    pub fn holder(&self, namespace: Namespace, name: &str) -> Option<String> {
        self.claim_of(namespace, name).state.owner
    }

    fn claim_of(&self, namespace: Namespace, name: &str) -> Versioned<Claim> {
        self.model()
            .claim(&claim_key(&self.tools.claims, namespace, name))
    }

    fn change_claim(
        &mut self,
        namespace: Namespace,
        name: &str,
        command: ClaimCommand,
    ) -> Result<(), CommandError> {
        let key = claim_key(&self.tools.claims, namespace, name);
        let current = self.model().claim(&key);
        self.execute::<Claim>(key, current, command)
            .map(drop)
            .map_err(|error| match error {
                CommandError::Refused { .. } => CommandError::refused(
                    "error-field-unavailable",
                    format!("{name} is already in use :("),
                ),
                other => other,
            })
    }

    /// Puts a refusal or a look on the record.
    pub fn audit(&mut self, event: AuditEvent) {
        let id = self.id();
        self.record(StreamId::new(AUDIT, id), Version::NONE, vec![event.into()]);
    }

    /// Founds the workspace: the first event of a log.
    pub fn found(&mut self, id: String) {
        let founded = WorkspaceEvent::WorkspaceFounded { id, at: self.now() };
        self.record(
            StreamId::new(WORKSPACE, 0),
            Version::NONE,
            vec![founded.into()],
        );
    }

    /// Says that this node writes the log from now on.
    pub fn elect(&mut self, address: String) {
        let elected = NodeEvent::WriterElected { address };
        let id = self.id();
        self.record(StreamId::new(NODE, id), Version::NONE, vec![elected.into()]);
    }

    /// Has an aggregate decide; answers it as it is afterwards.
    fn execute<A>(
        &mut self,
        id: impl std::fmt::Display,
        current: Versioned<A>,
        command: A::Command,
    ) -> Result<Versioned<A>, CommandError>
    where
        A: Aggregate<Services = ()>,
        A::Event: Into<Event>,
        CommandError: From<A::Error>,
    {
        let Versioned { version, mut state } = current;
        let stream = StreamId::new(A::TYPE, id);
        let sink = EventSink::default();
        // Our aggregates never wait for anything; the trait is asynchronous for those that do. The
        // sink's lock is tokio's, which makes a task that took many of them wait for its next turn,
        // unless it is told not to.
        let handled = unconstrained(state.handle(command, &(), &sink)).now_or_never();
        handled.unwrap_or_else(|| unreachable!("an aggregate waited"))?;
        let events = sink.collect().now_or_never().unwrap_or_default();
        let after = Version(version.0 + events.len() as u64);
        self.record(
            stream,
            version,
            events.into_iter().map(Into::into).collect(),
        );
        Ok(Versioned {
            version: after,
            state,
        })
    }

    /// The copy of the model that this decision changes.
    fn change(&mut self) -> &mut WriteModel {
        let base = self.base;
        self.changed.get_or_insert_with(|| base.clone())
    }

    fn record(&mut self, stream: StreamId, current: Version, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut version = current;
        for event in &events {
            version = version.next();
            if concerns_model(event) {
                let at = self.now();
                self.change().take_in(&stream, version, event, at);
            }
        }
        let ids = &self.tools.ids;
        let now = self.now();
        let events = events.into_iter().map(|event| (ids.event_id(now), event));
        match self.places.entry(stream) {
            Entry::Occupied(place) => self.drafts[*place.get()].events.extend(events),
            Entry::Vacant(place) => {
                let draft = Draft {
                    stream: place.key().clone(),
                    expected: current,
                    events: events.collect(),
                };
                place.insert(self.drafts.len());
                self.drafts.push(draft);
            }
        }
    }

    /// Gives back what was taken for a decision that comes to nothing; tells how many keys it took.
    pub(crate) fn give_up(self) -> usize {
        let keys = self.keys.into_inner();
        let taken = keys.len();
        self.tools.keys().give_back(keys);
        taken
    }

    /// What was decided.
    pub(crate) fn finish(self) -> Finished {
        if self.drafts.is_empty() {
            self.give_up();
            return Finished::default();
        }
        let caller = self.caller;
        let key = self.origin_key();
        let origin = caller
            .origin
            .clone()
            .zip(key)
            .map(|(origin, key)| Private::new(key, origin));
        let context = Context {
            at: self.moment.at,
            clock: self.moment.clock,
            actor: caller.actor.clone(),
            correlation: caller.correlation.clone(),
            causation: caller.causation,
            origin,
        };
        Finished {
            proposal: Some(Proposal {
                drafts: self.drafts,
                context,
            }),
            changed: self.changed,
            keys: self.keys.into_inner(),
        }
    }

    /// An origin is sealed under its user's key, so that erasing the user erases it. Where nobody is
    /// logged in that is the account that the commit is about, of somebody who registers or logs in;
    /// where there is none, under a key of its own. Of an account that is gone nothing more is recorded.
    fn origin_key(&self) -> Option<KeyId> {
        self.caller.origin.as_ref()?;
        if let Some(user) = &self.caller.user {
            let account = self
                .base
                .account(user)
                .or_else(|| self.model().account(user));
            return account.map(|account| account.key);
        }
        let concerned = || {
            let mut streams = self.drafts.iter().map(|draft| &draft.stream);
            let stream = streams.find(|stream| stream.category() == Account::TYPE)?;
            Some(UserId::new(stream.key()))
        };
        concerned()
            .and_then(|user| self.model().account(&user).map(|account| account.key))
            .or_else(|| self.fresh_key().ok())
    }
}

/// Whether an event changes the write model; see [`WriteModel::take_in`].
fn concerns_model(event: &Event) -> bool {
    match event {
        Event::Message(event) => matches!(
            event,
            MessageEvent::MessageSent { .. }
                | MessageEvent::MessageDeleted { .. }
                | MessageEvent::ThreadUnfollowed { .. }
        ),
        Event::Subscription(_) | Event::Audit(_) => false,
        _ => true,
    }
}

/// An aggregate as it was loaded, or as the batch under way has changed it since.
fn newest<A: Clone>(loaded: Versioned<A>, changed: Option<&Versioned<A>>) -> Versioned<A> {
    match changed {
        Some(changed) if changed.version > loaded.version => changed.clone(),
        _ => loaded,
    }
}
