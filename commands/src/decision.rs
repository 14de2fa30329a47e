//! A decision: what a use case does between looking at the write model and recording events.
//!
//! It runs inside the committer, on a model that holds everything decided before it. Commands to
//! aggregates take effect in the decision's own copy at once, so that a later one sees the earlier;
//! all events of a decision are one commit, or none if it ends with an error.

use std::sync::Arc;

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
use hansard_domain::message::{Content, Mentions, Message, MessageCommand, Sent};
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

/// See the module.
pub struct Decision<'a> {
    base: &'a WriteModel,
    /// The copy that this decision's events were applied to; none until one concerns the model.
    changed: Option<WriteModel>,
    caller: &'a Caller,
    now: Timestamp,
    tools: &'a Tools,
    drafts: Vec<Draft>,
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
        now: Timestamp,
        tools: &'a Tools,
    ) -> Self {
        Self {
            base,
            changed: None,
            caller,
            now,
            tools,
            drafts: Vec::new(),
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
        let holder = token::holder(self.model(), token, self.now);
        if holder == self.caller.user {
            return Ok(());
        }
        Err(CommandError::NotLoggedIn)
    }

    /// The time that this decision's events are recorded with.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// A fresh id of 17 characters.
    pub fn id(&self) -> CompactString {
        self.tools.ids.id(self.now)
    }

    /// A secret of so many characters.
    pub fn secret(&self, length: usize) -> String {
        self.tools.ids.secret(length)
    }

    /// A data key that nothing has been sealed under.
    pub fn fresh_key(&self) -> Result<KeyId, CommandError> {
        self.tools.keys().fresh().ok_or(CommandError::OutOfKeys)
    }

    pub fn account(&mut self, id: &UserId, command: AccountCommand) -> Result<(), CommandError> {
        let current = self
            .model()
            .accounts
            .get(id)
            .map(Arc::as_ref)
            .cloned()
            .unwrap_or_default();
        self.execute::<Account>(id, current, command)
    }

    pub fn room(&mut self, id: &RoomId, command: RoomCommand) -> Result<(), CommandError> {
        let current = self
            .model()
            .rooms
            .get(id)
            .map(Arc::as_ref)
            .cloned()
            .unwrap_or_default();
        self.execute::<Room>(id, current, command)
    }

    pub fn subscription(
        &mut self,
        room: &RoomId,
        user: &UserId,
        command: SubscriptionCommand,
    ) -> Result<(), CommandError> {
        let current = self.model().subscription(room, user);
        self.execute::<Subscription>(Subscription::key(room, user), current, command)
    }

    pub fn role(&mut self, id: &RoleId, command: RoleCommand) -> Result<(), CommandError> {
        let current = self
            .model()
            .roles
            .get(id)
            .map(Arc::as_ref)
            .cloned()
            .unwrap_or_default();
        self.execute::<Role>(id, current, command)
    }

    pub fn permission(&mut self, id: &str, command: PermissionCommand) -> Result<(), CommandError> {
        let current = self.model().permission(id).cloned().unwrap_or_default();
        self.execute::<Permission>(id, current, command)
    }

    pub fn setting(&mut self, id: &str, command: SettingCommand) -> Result<(), CommandError> {
        let current = self
            .model()
            .settings
            .get(id)
            .map(Arc::as_ref)
            .cloned()
            .unwrap_or_default();
        self.execute::<Setting>(id, current, command)
    }

    pub fn integration(
        &mut self,
        id: &IntegrationId,
        command: IntegrationCommand,
    ) -> Result<(), CommandError> {
        let current = self.model().integrations.get(id).map(Arc::as_ref).cloned();
        self.execute::<Integration>(id, current.unwrap_or_default(), command)
    }

    /// A command to a delivery that was loaded from its stream (or the default, for a new one).
    pub fn delivery(
        &mut self,
        id: &DeliveryId,
        loaded: &Versioned<Delivery>,
        command: DeliveryCommand,
    ) -> Result<(), CommandError> {
        self.execute::<Delivery>(id, loaded.clone(), command)
    }

    /// A command to a message that was loaded from its stream.
    pub fn message(
        &mut self,
        id: &MessageId,
        loaded: &Versioned<Message>,
        command: MessageCommand,
    ) -> Result<(), CommandError> {
        self.execute::<Message>(id, loaded.clone(), command)
    }

    /// A message that is new. If one with its id is there already, the commit conflicts. A room that
    /// was deleted takes none, and an account that was deleted sends none.
    pub fn new_message(
        &mut self,
        id: &MessageId,
        sent: Sent,
        content: Content,
    ) -> Result<(), CommandError> {
        if self.model().room_is_gone(&sent.room) {
            return Err(CommandError::plain("error-invalid-room"));
        }
        if self.model().erasure(&sent.sender).is_some() {
            return Err(CommandError::refused("error-invalid-user", "Invalid user"));
        }
        let key = self.fresh_key()?;
        let command = MessageCommand::Send { key, sent, content };
        self.execute::<Message>(id, Versioned::default(), command)
    }

    /// A message that the server itself writes into a room: that somebody joined (`uj`), the room
    /// was renamed (`r`), … The text is what Rocket.Chat puts there.
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
            at: self.now,
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
        let held = self.claim_of(&claim_key(&self.tools.claims, namespace, name));
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

    /// Who holds a name.
    pub fn holder(&self, namespace: Namespace, name: &str) -> Option<String> {
        self.claim_of(&claim_key(&self.tools.claims, namespace, name))
            .state
            .owner
    }

    fn claim_of(&self, key: &str) -> Versioned<Claim> {
        self.model()
            .claims
            .get(key)
            .map(Arc::as_ref)
            .cloned()
            .unwrap_or_default()
    }

    fn change_claim(
        &mut self,
        namespace: Namespace,
        name: &str,
        command: ClaimCommand,
    ) -> Result<(), CommandError> {
        let key = claim_key(&self.tools.claims, namespace, name);
        let current = self.claim_of(&key);
        self.execute::<Claim>(&key, current, command)
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
        let founded = WorkspaceEvent::WorkspaceFounded { id, at: self.now };
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

    fn execute<A>(
        &mut self,
        id: impl std::fmt::Display,
        current: Versioned<A>,
        command: A::Command,
    ) -> Result<(), CommandError>
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
        self.record(
            stream,
            version,
            events.into_iter().map(Into::into).collect(),
        );
        Ok(())
    }

    fn record(&mut self, stream: StreamId, current: Version, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut version = current;
        for event in &events {
            version = version.next();
            if concerns_model(event) {
                let base = self.base;
                let model = self.changed.get_or_insert_with(|| base.clone());
                model.apply(&stream, version, event);
            }
        }
        let ids = &self.tools.ids;
        let now = self.now;
        let events = events.into_iter().map(|event| (ids.event_id(now), event));
        match self.drafts.iter_mut().find(|draft| draft.stream == stream) {
            Some(draft) => draft.events.extend(events),
            None => {
                self.drafts.push(Draft {
                    stream,
                    expected: current,
                    events: events.collect(),
                });
            }
        }
    }

    /// What was decided: the commit, and the model it leads to if it concerns the model. `None` if
    /// nothing is to be recorded.
    pub(crate) fn finish(self) -> (Option<Proposal>, Option<WriteModel>) {
        if self.drafts.is_empty() {
            return (None, None);
        }
        let caller = self.caller;
        let key = self.origin_key();
        let origin = caller
            .origin
            .clone()
            .zip(key)
            .map(|(origin, key)| Private::new(key, origin));
        let context = Context {
            at: self.now,
            actor: caller.actor.clone(),
            correlation: caller.correlation.clone(),
            causation: caller.causation,
            origin,
        };
        (
            Some(Proposal {
                drafts: self.drafts,
                context,
            }),
            self.changed,
        )
    }

    /// An origin is sealed under its user's key, so that erasing the user erases it; where there is
    /// no user, under a key of its own.
    fn origin_key(&self) -> Option<KeyId> {
        self.caller.origin.as_ref()?;
        let account = self
            .caller
            .user
            .as_ref()
            .and_then(|user| self.base.account(user));
        account
            .map(|account| account.key)
            .or_else(|| self.tools.keys().fresh())
    }
}

/// Whether an event changes the write model; see [`WriteModel::apply`].
fn concerns_model(event: &Event) -> bool {
    !matches!(event, Event::Message(_) | Event::Audit(_))
}
