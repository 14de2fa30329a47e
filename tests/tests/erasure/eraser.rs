//! The eraser when it is killed between a deletion and the end of its erasure, and what comes late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use hansard_commands::account::delete as account;
use hansard_commands::bus::Commands;
use hansard_commands::caller::Caller;
use hansard_commands::eraser::{Eraser, Readable, ReadableMessages};
use hansard_commands::error::CommandError;
use hansard_commands::policy::{self, Policy, RunningPolicy};
use hansard_commands::room;
use hansard_commands::shredder::Shredder;
use hansard_commands::snapshot::Snapshots;
use hansard_domain::account::{
    AccountCommand, AccountEvent, AccountKind, MessageErasure, Profile, Registration,
};
use hansard_domain::event::Event;
use hansard_domain::id::{Clock, MessageId, RandomIds, RoomId, SystemClock, UserId};
use hansard_domain::journal::{Context, Draft, Journal, Proposal};
use hansard_domain::log::{Actor, Position, StreamId, Version};
use hansard_domain::message::{Content, MessageCommand, MessageEvent, Sent};
use hansard_domain::room::{RoomCommand, RoomDetails, RoomEvent, RoomKind, RoomSwitches};
use hansard_domain::seal::Private;
use hansard_domain::setting::SettingCommand;
use hansard_infra::log::memory::MemoryLog;
use hansard_infra::vault::memory::MemoryVault;
use hansard_projections::messages::{self, MessagesView};
use hansard_projections::{Answers, Projector, Store, View};
use hansard_tests::shelf::Shelf;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

struct Views(Store);

#[async_trait]
impl ReadableMessages for Views {
    async fn said_in(&self, room: &RoomId) -> Result<Vec<Readable>, CommandError> {
        let mut reading = self.0.read().await.unwrap();
        Ok(messages::readable_in(&mut reading, room).await.unwrap())
    }

    async fn said_by(&self, user: &UserId) -> Result<Vec<Readable>, CommandError> {
        let mut reading = self.0.read().await.unwrap();
        Ok(messages::readable_by(&mut reading, user).await.unwrap())
    }

    async fn among(&self, messages: &[MessageId]) -> Result<Vec<Readable>, CommandError> {
        let mut reading = self.0.read().await.unwrap();
        let found = messages::readable_among(&mut reading, messages).await;
        Ok(found.unwrap())
    }
}

/// Tells of one message and then of none: an erasure that ends in the middle.
struct Half {
    views: Arc<Views>,
    told: AtomicBool,
}

impl Half {
    fn of(views: &Arc<Views>) -> Arc<Self> {
        Arc::new(Self {
            views: views.clone(),
            told: AtomicBool::new(false),
        })
    }

    fn first(&self, mut found: Vec<Readable>) -> Vec<Readable> {
        let told = !found.is_empty() && self.told.swap(true, Ordering::SeqCst);
        found.truncate(usize::from(!told));
        found
    }
}

#[async_trait]
impl ReadableMessages for Half {
    async fn said_in(&self, room: &RoomId) -> Result<Vec<Readable>, CommandError> {
        Ok(self.first(self.views.said_in(room).await?))
    }

    async fn said_by(&self, user: &UserId) -> Result<Vec<Readable>, CommandError> {
        Ok(self.first(self.views.said_by(user).await?))
    }

    async fn among(&self, messages: &[MessageId]) -> Result<Vec<Readable>, CommandError> {
        Ok(self.first(self.views.among(messages).await?))
    }
}

struct World {
    journal: Arc<Journal>,
    commands: Commands,
    operator: Caller,
    views: Arc<Views>,
    _files: TempDir,
}

impl World {
    /// With mary and joe, and the channels `garden` and `attic`.
    async fn new() -> Self {
        let journal = Journal::open(Arc::new(MemoryLog::new()), Arc::new(MemoryVault::new()))
            .await
            .unwrap();
        let snapshots = Snapshots::open(Arc::new(Shelf::default()), &journal)
            .await
            .unwrap();
        let model = snapshots.restore(&journal).await.unwrap();
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(RandomIds));
        let (commands, _) = Commands::start(journal.clone(), model, clock, ids, None)
            .await
            .unwrap();
        let files = tempfile::tempdir().unwrap();
        let all: Vec<Arc<dyn View>> = vec![Arc::new(MessagesView)];
        let stop = CancellationToken::new();
        let projector = Projector::start(
            journal.clone(),
            files.path(),
            all,
            Answers::new(1 << 20),
            stop,
        )
        .await
        .unwrap();
        projector.until_ready().await;
        let world = Self {
            journal,
            commands,
            operator: Caller::system("test"),
            views: Arc::new(Views(projector.store("messages").unwrap())),
            _files: files,
        };
        for name in ["mary", "joe"] {
            world.register(name).await;
        }
        for room in ["garden", "attic"] {
            world.create(room).await;
        }
        world
    }

    async fn register(&self, name: &'static str) {
        let register = self.commands.run(&self.operator, move |decision| {
            let (key, at) = (decision.fresh_key()?, decision.now());
            let command = AccountCommand::Register {
                key,
                how: Registration::Bootstrap,
                kind: AccountKind::User,
                roles: vec!["user".into()],
                active: true,
                reason: None,
                password_change_required: false,
                profile: Profile {
                    username: name.to_owned(),
                    ..Profile::default()
                },
                password: None,
                at,
            };
            decision.account(&name.into(), command)
        });
        register.await.unwrap();
    }

    async fn create(&self, room: &'static str) {
        let create = self.commands.run(&self.operator, move |decision| {
            let command = RoomCommand::Create {
                key: decision.fresh_key()?,
                kind: RoomKind::Channel,
                creator: Some("joe".into()),
                members: vec!["mary".into()],
                switches: RoomSwitches::default(),
                parent: None,
                details: RoomDetails {
                    name: room.to_owned(),
                    ..RoomDetails::default()
                },
                at: decision.now(),
            };
            decision.room(&room.into(), command)
        });
        create.await.unwrap();
    }

    async fn say(
        &self,
        room: &'static str,
        sender: &'static str,
        id: &'static str,
    ) -> Result<(), CommandError> {
        let say = self.commands.run(&self.operator, move |decision| {
            let sent = sent(room, sender);
            decision.new_message(&id.into(), sent, content())
        });
        say.await.map(drop)
    }

    /// Another node, which has not heard of a deletion yet, records a message.
    async fn say_elsewhere(&self, room: &str, sender: &str, id: &str) {
        let key = self.journal.keys().fresh().unwrap();
        let event = MessageEvent::MessageSent {
            sent: sent(room, sender),
            content: Private::new(key, content()),
        };
        let draft = Draft {
            stream: StreamId::new("message", id),
            expected: Version::NONE,
            events: vec![(Uuid::now_v7(), event.into())],
        };
        let context = Context {
            at: SystemClock.now(),
            clock: None,
            actor: Actor::User(UserId::new(sender)),
            correlation: None,
            causation: None,
            origin: None,
        };
        let drafts = vec![draft];
        let recorded = self
            .journal
            .append(None, vec![Proposal { drafts, context }]);
        recorded.await.unwrap().remove(0).unwrap();
        // The model hears of it with the next commit.
        self.set("Message_MaxAll", json!(Uuid::now_v7().as_fields().0))
            .await;
    }

    async fn delete_with_history(&self, id: &'static str) {
        let loaded = self.commands.message(&id.into()).await.unwrap().unwrap();
        let delete = self.commands.run(&self.operator, move |decision| {
            let command = MessageCommand::Delete {
                by: "joe".into(),
                keep_history: true,
                show_deleted: false,
                at: decision.now(),
            };
            decision.message(&id.into(), &loaded, command)
        });
        delete.await.unwrap();
    }

    async fn set(&self, id: &'static str, value: serde_json::Value) {
        let change = self.commands.run(&self.operator, move |decision| {
            let (key, value) = (decision.fresh_key()?, value.clone());
            decision.setting(id, SettingCommand::Change { key, value })
        });
        change.await.unwrap();
    }

    /// A policy from a cursor that is lost, or was never written.
    async fn start(&self, policy: Arc<dyn Policy>) -> (RunningPolicy, CancellationToken) {
        let stop = CancellationToken::new();
        let (commands, state) = (self.commands.clone(), Arc::new(Shelf::default()));
        let running = policy::start(policy, commands, state, Position::START, stop.clone());
        (running.await, stop)
    }

    /// An eraser is at work, and ends without having written down how far it came.
    async fn erase(&self, messages: Arc<dyn ReadableMessages>) {
        let (eraser, stop) = self.start(Arc::new(Eraser::new(messages))).await;
        eraser.reached(self.journal.head()).await;
        stop.cancel();
        eraser.stopped().await;
    }

    /// The messages that prunes have named, in their order.
    async fn pruned(&self) -> Vec<String> {
        let mut named = Vec::new();
        for room in ["garden", "attic"] {
            let stream = StreamId::new("room", room);
            for entry in self.journal.stream(&stream, Version::NONE).await.unwrap() {
                if let Event::Room(RoomEvent::ChannelPruned { pruned, .. }) = &entry.event {
                    named.extend(pruned.iter().map(|pruned| pruned.message.to_string()));
                }
            }
        }
        named.sort();
        named
    }

    /// Whether a message's text can be read from the log, once the shredder has done its work.
    async fn readable(&self, id: &str) -> bool {
        let snapshots = Snapshots::open(Arc::new(Shelf::default()), &self.journal);
        let shredder = Shredder::new(Arc::new(snapshots.await.unwrap()));
        let (shredder, stop) = self.start(Arc::new(shredder)).await;
        shredder.reached(self.journal.head()).await;
        stop.cancel();
        shredder.stopped().await;
        let message = self.commands.message(&MessageId::new(id)).await.unwrap();
        !message.unwrap().content.text.is_empty()
    }
}

fn sent(room: &str, sender: &str) -> Sent {
    Sent {
        room: RoomId::new(room),
        sender: UserId::new(sender),
        system: None,
        thread: None,
        mentions: Default::default(),
        integration: None,
        bot: false,
        groupable: true,
        discussion: None,
        has_files: false,
        at: SystemClock.now(),
    }
}

fn content() -> Content {
    Content {
        text: "marigoldzanzibar".to_owned(),
        ..Content::default()
    }
}

#[tokio::test]
async fn a_deletion_that_was_interrupted_is_finished_and_finished_once() {
    let world = World::new().await;
    for id in ["one", "two", "three"] {
        world.say("garden", "mary", id).await.unwrap();
    }
    world.say("attic", "mary", "elsewhere").await.unwrap();
    world.delete_with_history("two").await;
    let deleted = room::delete(&world.commands, &world.operator, "garden".into());
    assert!(deleted.await.unwrap().is_some());
    assert_eq!(world.pruned().await, Vec::<String>::new());
    assert!(world.readable("two").await, "the test can fail");

    world.erase(Half::of(&world.views)).await;
    assert_eq!(world.pruned().await.len(), 1, "killed in the middle");
    world.erase(world.views.clone()).await;
    assert_eq!(world.pruned().await, ["one", "three", "two"]);
    world.erase(world.views.clone()).await;
    assert_eq!(world.pruned().await, ["one", "three", "two"]);
    for id in ["one", "two", "three"] {
        assert!(!world.readable(id).await, "{id}");
    }
    assert!(world.readable("elsewhere").await);
}

#[tokio::test]
async fn an_account_that_goes_with_its_messages_leaves_none_however_often_it_is_interrupted() {
    let world = World::new().await;
    world.set("Message_ErasureType", json!("Delete")).await;
    for (room, sender, id) in [
        ("garden", "mary", "one"),
        ("garden", "mary", "two"),
        ("garden", "joe", "his"),
        ("attic", "mary", "three"),
    ] {
        world.say(room, sender, id).await.unwrap();
    }
    world.delete_with_history("two").await;
    let delete = account::delete(&world.commands, &world.operator, "mary".into(), true);
    delete.await.unwrap();

    world.erase(Half::of(&world.views)).await;
    assert_eq!(world.pruned().await.len(), 1, "killed in the middle");
    world.erase(world.views.clone()).await;
    world.erase(world.views.clone()).await;
    assert_eq!(world.pruned().await, ["one", "three", "two"]);
    for id in ["one", "two", "three"] {
        assert!(!world.readable(id).await, "{id}");
    }
    assert!(world.readable("his").await);
}

#[tokio::test]
async fn nothing_is_said_in_a_deleted_room_or_by_a_deleted_account() {
    let world = World::new().await;
    let delete = room::delete(&world.commands, &world.operator, "garden".into());
    delete.await.unwrap();
    let refused = world.say("garden", "joe", "late").await;
    assert!(
        matches!(refused, Err(CommandError::Refused { .. })),
        "{refused:?}"
    );
    let delete = account::delete(&world.commands, &world.operator, "mary".into(), true);
    delete.await.unwrap();
    let refused = world.say("attic", "mary", "late").await;
    assert!(
        matches!(refused, Err(CommandError::Refused { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_another_node_lets_through_afterwards_is_erased() {
    let world = World::new().await;
    world.set("Message_ErasureType", json!("Delete")).await;
    let delete = room::delete(&world.commands, &world.operator, "garden".into());
    delete.await.unwrap();
    let delete = account::delete(&world.commands, &world.operator, "mary".into(), true);
    delete.await.unwrap();
    world.erase(world.views.clone()).await;
    world.say_elsewhere("garden", "joe", "into the room").await;
    world.say_elsewhere("attic", "mary", "by the account").await;
    world.say_elsewhere("attic", "joe", "neither").await;
    world.erase(world.views.clone()).await;
    assert_eq!(world.pruned().await, ["by the account", "into the room"]);
    assert!(!world.readable("into the room").await);
    assert!(!world.readable("by the account").await);
    assert!(world.readable("neither").await);
}

#[tokio::test]
async fn messages_that_are_kept_or_unlinked_stay() {
    for (setting, expected) in [
        ("Keep", MessageErasure::Keep),
        ("Unlink", MessageErasure::Unlink),
    ] {
        let world = World::new().await;
        world.set("Message_ErasureType", json!(setting)).await;
        world.say("attic", "mary", "one").await.unwrap();
        let delete = account::delete(&world.commands, &world.operator, "mary".into(), true);
        delete.await.unwrap();
        world.erase(world.views.clone()).await;
        assert!(world.readable("one").await);
        let stream = StreamId::new("account", "mary");
        let entries = world.journal.stream(&stream, Version::NONE).await.unwrap();
        let last = &entries.last().unwrap().event;
        let Event::Account(AccountEvent::UserDeleted { messages, .. }) = last else {
            panic!("{last:?}");
        };
        assert_eq!(*messages, expected);
    }
}
