//! Retention policies on a clock of our own: when they are enforced, and on what.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hansard_commands::bus::Commands;
use hansard_commands::caller::Caller;
use hansard_commands::error::CommandError;
use hansard_commands::prune::DeletedMessages;
use hansard_commands::retention::{Retention, SETTLE};
use hansard_commands::room::MessageIndex;
use hansard_commands::snapshot::Snapshots;
use hansard_domain::id::{Clock, MessageId, RandomIds, RoomId, Timestamp, UserId};
use hansard_domain::journal::Journal;
use hansard_domain::message::{Content, MessageCommand, Sent};
use hansard_domain::room::{
    PruneCriteria, Pruned, RetentionOverride, RoomCommand, RoomDetails, RoomKind, RoomSwitches,
};
use hansard_domain::setting::SettingCommand;
use hansard_domain::vault::{KeyId, KeyVault};
use hansard_infra::log::memory::MemoryLog;
use hansard_infra::vault::memory::MemoryVault;
use hansard_projections::messages::{Filter, Messages, MessagesView, Order, Slice};
use hansard_projections::retention::{Retention as RetentionView, deleted};
use hansard_projections::{Answers, Projector, Store, View};
use hansard_tests::shelf::Shelf;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// A clock that goes when it is told to.
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

struct Index {
    messages: Messages,
    retention: Store,
}

#[async_trait]
impl MessageIndex for Index {
    async fn matching(
        &self,
        room: &RoomId,
        criteria: &PruneCriteria,
        most: u64,
    ) -> Result<Vec<Pruned>, CommandError> {
        Ok(self.messages.matching(room, criteria, most).await.unwrap())
    }
}

#[async_trait]
impl DeletedMessages for Index {
    async fn deleted(&self, room: &RoomId) -> Result<Vec<MessageId>, CommandError> {
        let mut reading = self.retention.read().await.unwrap();
        Ok(deleted(&mut reading, room).await.unwrap())
    }
}

struct World {
    clock: Arc<HandClock>,
    operator: Caller,
    commands: Commands,
    index: Arc<Index>,
    log: Arc<MemoryLog>,
    vault: MemoryVault,
    state: Arc<Shelf>,
    retention: Retention,
    _views: TempDir,
}

impl World {
    /// At noon, with the channel `c` and the group `p`.
    async fn new() -> Self {
        let noon = Timestamp::parse("2026-03-01T12:00:00Z").unwrap();
        let clock = Arc::new(HandClock(AtomicI64::new(noon.0)));
        let world = Self::on(clock, Arc::new(MemoryLog::new()), MemoryVault::new()).await;
        world.room("c", RoomKind::Channel).await;
        world.room("p", RoomKind::Group).await;
        world
    }

    /// All that is not the log or the vault is made of these.
    async fn on(clock: Arc<HandClock>, log: Arc<MemoryLog>, vault: MemoryVault) -> Self {
        let journal = Journal::open(log.clone(), Arc::new(vault.clone()))
            .await
            .unwrap();
        let state = Arc::new(Shelf::default());
        let snapshots = Snapshots::open(state.clone(), &journal).await.unwrap();
        let model = snapshots.restore(&journal).await.unwrap();
        let ids = Arc::new(RandomIds);
        let (commands, _) = Commands::start(journal.clone(), model, clock.clone(), ids, None)
            .await
            .unwrap();
        let views = tempfile::tempdir().unwrap();
        let all: Vec<Arc<dyn View>> = vec![Arc::new(MessagesView), Arc::new(RetentionView)];
        let projector = Projector::start(
            journal,
            views.path(),
            all,
            Answers::new(1 << 20),
            CancellationToken::new(),
        )
        .await
        .unwrap();
        projector.until_ready().await;
        let index = Arc::new(Index {
            messages: Messages::new(projector.store("messages").unwrap()),
            retention: projector.store("retention").unwrap(),
        });
        let retention = Self::load(&commands, &index, &state).await;
        Self {
            clock,
            operator: Caller::system("test"),
            commands,
            index,
            log,
            vault,
            state,
            retention,
            _views: views,
        }
    }

    async fn load(commands: &Commands, index: &Arc<Index>, state: &Arc<Shelf>) -> Retention {
        Retention::load(
            commands.clone(),
            index.clone(),
            index.clone(),
            state.clone(),
        )
        .await
    }

    /// Another process takes over.
    async fn restart(&mut self) {
        self.retention = Self::load(&self.commands, &self.index, &self.state).await;
    }

    fn pass(&self, time: Duration) {
        self.clock
            .0
            .fetch_add(time.as_millis() as i64, Ordering::SeqCst);
    }

    async fn room(&self, id: &'static str, kind: RoomKind) {
        let create = self.commands.run(&self.operator, move |decision| {
            let command = RoomCommand::Create {
                key: decision.fresh_key()?,
                kind,
                creator: Some("mary".into()),
                members: Vec::new(),
                switches: RoomSwitches::default(),
                parent: None,
                details: RoomDetails {
                    name: id.to_owned(),
                    ..RoomDetails::default()
                },
                at: decision.now(),
            };
            decision.room(&id.into(), command)
        });
        create.await.unwrap();
    }

    /// Answers the key of a first change.
    async fn set(&self, id: &'static str, value: Value) -> KeyId {
        let change = self.commands.run(&self.operator, move |decision| {
            let (key, value) = (decision.fresh_key()?, value.clone());
            decision.setting(id, SettingCommand::Change { key, value })?;
            Ok(key)
        });
        change.await.unwrap().answer
    }

    /// Messages of channels go after an hour; it is looked every half hour.
    async fn switch_on(&self) {
        self.set(
            "RetentionPolicy_TTL_Channels",
            json!(HOUR.as_millis() as u64),
        )
        .await;
        self.set("RetentionPolicy_AppliesToChannels", json!(true))
            .await;
        self.set("RetentionPolicy_Enabled", json!(true)).await;
    }

    async fn say(&self, room: &'static str, id: &'static str) {
        let say = self.commands.run(&self.operator, move |decision| {
            let sent = Sent {
                room: room.into(),
                sender: "mary".into(),
                system: None,
                thread: None,
                mentions: Default::default(),
                integration: None,
                bot: false,
                groupable: true,
                discussion: None,
                has_files: false,
                at: decision.now(),
            };
            let content = Content {
                text: id.to_owned(),
                ..Content::default()
            };
            decision.new_message(&id.into(), sent, content)
        });
        say.await.unwrap();
    }

    async fn pin(&self, id: &'static str) {
        let loaded = self.commands.message(&id.into()).await.unwrap().unwrap();
        let pin = self.commands.run(&self.operator, move |decision| {
            let command = MessageCommand::Pin {
                by: "mary".into(),
                at: decision.now(),
            };
            decision.message(&id.into(), &loaded, command)
        });
        pin.await.unwrap();
    }

    async fn override_retention(&self, room: &'static str, own: RetentionOverride) {
        let change = self.commands.run(&self.operator, move |decision| {
            decision.room(
                &room.into(),
                RoomCommand::OverrideRetention(Some(own.clone())),
            )
        });
        change.await.unwrap();
    }

    /// Looks whether there is something to do; answers how many messages went, if it ran.
    async fn turn(&mut self) -> Option<u64> {
        self.retention.turn().await.unwrap()
    }

    /// The settings stand still for long enough.
    async fn settle(&mut self) -> Option<u64> {
        assert_eq!(self.turn().await, None);
        self.pass(SETTLE);
        self.turn().await
    }

    async fn left(&self, room: &str) -> Vec<String> {
        let (nobody, room, all) = (UserId::default(), RoomId::new(room), Filter::default());
        let found =
            self.index
                .messages
                .list(&nobody, &room, &all, Order::OldestFirst, Slice::default());
        let found: Vec<Value> = serde_json::from_str(&found.await.unwrap().json).unwrap();
        found
            .iter()
            .map(|message| message["msg"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test]
async fn nothing_is_pruned_while_retention_is_off() {
    let mut world = World::new().await;
    world.say("c", "one").await;
    world.pass(90 * DAY);
    assert_eq!(world.turn().await, None);
    assert_eq!(world.retention.status().next_run, None);
    assert_eq!(world.left("c").await, ["one"]);
}

#[tokio::test]
async fn a_policy_that_is_switched_on_late_is_enforced_once_the_settings_stand_still() {
    let mut world = World::new().await;
    world.say("c", "one").await;
    world.say("p", "a group").await;
    world.pass(2 * HOUR);
    world.say("c", "two").await;
    world.switch_on().await;
    assert_eq!(world.turn().await, None);
    world.pass(SETTLE / 2);
    world
        .set("RetentionPolicy_DoNotPrunePinned", json!(true))
        .await;
    assert_eq!(world.turn().await, None);
    world.pass(SETTLE / 2);
    assert_eq!(world.turn().await, None, "the settings changed meanwhile");
    world.pass(SETTLE / 2);
    assert_eq!(world.turn().await, Some(1));
    assert_eq!(world.left("c").await, ["two"]);
    assert_eq!(world.left("p").await, ["a group"]);
}

#[tokio::test]
async fn a_quiet_room_is_pruned_on_schedule() {
    let mut world = World::new().await;
    world.switch_on().await;
    world.say("c", "one").await;
    assert_eq!(world.settle().await, Some(0));
    world.pass(20 * MINUTE);
    assert_eq!(world.turn().await, None, "half an hour has not passed");
    for expected in [0, 1, 0] {
        world.pass(30 * MINUTE);
        assert_eq!(world.turn().await, Some(expected));
        assert_eq!(world.turn().await, None);
    }
    assert!(world.left("c").await.is_empty());
}

#[tokio::test]
async fn a_run_that_was_missed_is_made_up_for_after_a_restart() {
    let mut world = World::new().await;
    world.switch_on().await;
    world.say("c", "one").await;
    assert_eq!(world.settle().await, Some(0));
    world.restart().await;
    assert_eq!(world.turn().await, None, "it ran a moment ago");
    world.pass(3 * HOUR);
    world.restart().await;
    assert_eq!(world.turn().await, Some(1));
}

#[tokio::test]
async fn a_clock_that_was_ahead_keeps_nothing_from_being_pruned() {
    let mut world = World::new().await;
    world.switch_on().await;
    world.pass(400 * DAY);
    assert_eq!(world.settle().await, Some(0));
    let year = (400 * DAY).as_millis() as i64;
    world.clock.0.fetch_sub(year, Ordering::SeqCst);
    world.restart().await;
    assert_eq!(world.turn().await, Some(0), "it ran last at a time to come");
    world.pass(20 * MINUTE);
    assert_eq!(world.turn().await, None);
    world.pass(HOUR);
    assert_eq!(world.turn().await, Some(0));
}

#[tokio::test]
async fn nothing_is_pruned_while_it_is_not_known_what_is_to_be_kept() {
    let world = World::new().await;
    world.say("c", "one").await;
    world.switch_on().await;
    let files_only = "RetentionPolicy_FilesOnly";
    let key = world.set(files_only, json!(true)).await;
    // An older vault is put back, without what was made from the log.
    world.vault.shred(&[key]).await.unwrap();
    let mut world = World::on(world.clock, world.log, world.vault).await;
    for _ in 0..3 {
        world.pass(HOUR);
        assert_eq!(world.turn().await, None);
    }
    assert_eq!(world.retention.status().next_run, None);
    assert_eq!(world.left("c").await, ["one"]);

    // Its default is an answer, too, but somebody has to give it.
    world.set(files_only, json!(false)).await;
    assert_eq!(world.settle().await, Some(1));
    assert!(world.left("c").await.is_empty());
}

#[tokio::test]
async fn pinned_messages_stay_where_they_are_to_stay() {
    let mut world = World::new().await;
    world.say("c", "one").await;
    world.say("c", "pinned").await;
    world.pin("pinned").await;
    world.pass(2 * HOUR);
    world
        .set("RetentionPolicy_DoNotPrunePinned", json!(true))
        .await;
    world.switch_on().await;
    assert_eq!(world.settle().await, Some(1));
    assert_eq!(world.left("c").await, ["pinned"]);
    world
        .set("RetentionPolicy_DoNotPrunePinned", json!(false))
        .await;
    assert_eq!(world.settle().await, Some(1));
}

#[tokio::test]
async fn a_rooms_own_policy_holds_over_the_workspaces() {
    let mut world = World::new().await;
    world.room("exempt", RoomKind::Channel).await;
    for room in ["c", "p", "exempt"] {
        world.say(room, room).await;
    }
    let own = RetentionOverride {
        enabled: true,
        override_global: true,
        ..RetentionOverride::default()
    };
    let long = RetentionOverride {
        max_age: 30 * DAY.as_millis() as i64,
        ..own.clone()
    };
    let short = RetentionOverride {
        max_age: HOUR.as_millis() as i64,
        ..own
    };
    world.override_retention("c", long).await;
    world.override_retention("p", short).await;
    world
        .override_retention("exempt", RetentionOverride::default())
        .await;
    world.pass(2 * HOUR);
    world.switch_on().await;
    assert_eq!(world.settle().await, Some(1));
    assert_eq!(world.left("p").await, Vec::<String>::new());
    world.pass(30 * DAY);
    assert_eq!(world.turn().await, Some(1));
    assert_eq!(world.left("c").await, Vec::<String>::new());
    assert_eq!(world.left("exempt").await, ["exempt"]);
}
