//! What is erased is gone from the memory of the journal, too: from what is kept for those who follow,
//! from what was read ahead, from snapshots; and nothing is recorded any more that is sealed under
//! its keys.

use std::sync::Arc;

use futures::StreamExt;
use hansard_commands::bus::Commands;
use hansard_commands::caller::Caller;
use hansard_commands::policy::Policy;
use hansard_commands::shredder::Shredder;
use hansard_commands::snapshot::Snapshots;
use hansard_domain::account::{
    AccountCommand, AccountEvent, AccountKind, MessageErasure, Profile, Registration,
};
use hansard_domain::event::{Entry, Event, Origin};
use hansard_domain::id::{RandomIds, SystemClock, Timestamp, UserId};
use hansard_domain::journal::{Batch, Batches, Context, Draft, Journal, Proposal};
use hansard_domain::log::{Actor, Position, Role, StreamId, Version};
use hansard_domain::message::{Content, MessageEvent, Sent};
use hansard_domain::room::{PruneCriteria, PruneReason, Pruned, RoomDetails, RoomEvent};
use hansard_domain::seal::{Fault, Private};
use hansard_domain::setting::SettingCommand;
use hansard_domain::vault::KeyId;
use hansard_infra::log::memory::MemoryLog;
use hansard_infra::vault::master_key::MasterKey;
use hansard_infra::vault::memory::MemoryVault;
use hansard_infra::vault::sqlite::SqliteVault;
use hansard_tests::shelf::Shelf;
use serde_json::json;
use uuid::Uuid;

const SECRET: &str = "marigoldzanzibar";

async fn journal() -> (Arc<Journal>, MemoryVault) {
    let vault = MemoryVault::new();
    (journal_on(&MemoryLog::new(), &vault).await, vault)
}

async fn journal_on(log: &MemoryLog, vault: &MemoryVault) -> Arc<Journal> {
    let journal = Journal::open(Arc::new(log.clone()), Arc::new(vault.clone()));
    let journal = journal.await.unwrap();
    journal.keys().reserve(10).await.unwrap();
    journal
}

fn proposal(stream: &str, version: u64, event: impl Into<Event>) -> Proposal {
    Proposal {
        drafts: vec![Draft {
            stream: StreamId::from_name(stream),
            expected: Version(version),
            events: vec![(Uuid::now_v7(), event.into())],
        }],
        context: Context {
            at: Timestamp(1),
            clock: None,
            actor: Actor::System,
            correlation: None,
            causation: None,
            origin: None,
        },
    }
}

fn content(key: KeyId) -> Private<Content> {
    let text = SECRET.to_owned();
    Private::new(
        key,
        Content {
            text,
            ..Content::default()
        },
    )
}

fn sent(key: KeyId) -> MessageEvent {
    MessageEvent::MessageSent {
        sent: Sent {
            room: "attic".into(),
            sender: "mary".into(),
            system: None,
            thread: None,
            mentions: Default::default(),
            integration: None,
            bot: false,
            groupable: true,
            discussion: None,
            has_files: false,
            at: Timestamp(1),
        },
        content: content(key),
    }
}

fn edited(key: KeyId) -> MessageEvent {
    MessageEvent::MessageEdited {
        room: "attic".into(),
        editor: "mary".into(),
        mentions: Default::default(),
        content: content(key),
        at: Timestamp(1),
    }
}

fn pruned(key: KeyId) -> RoomEvent {
    RoomEvent::ChannelPruned {
        reason: PruneReason::Requested,
        criteria: PruneCriteria::default(),
        pruned: vec![Pruned {
            message: "m1".into(),
            key,
        }],
    }
}

/// The texts that can be read.
fn texts<'a>(entries: impl IntoIterator<Item = &'a Arc<Entry>>) -> usize {
    let readable = entries.into_iter().filter(|entry| match &entry.event {
        Event::Message(
            MessageEvent::MessageSent { content, .. } | MessageEvent::MessageEdited { content, .. },
        ) => content.value().is_some(),
        _ => false,
    });
    readable.count()
}

async fn follow(journal: &Arc<Journal>, after: u64, count: usize) -> Vec<Arc<Entry>> {
    let mut batches = journal.follow(Position(after));
    let mut entries = Vec::new();
    while entries.len() < count {
        entries.extend(batches.next().await.unwrap().unwrap().iter().cloned());
    }
    entries
}

#[tokio::test]
async fn what_is_erased_is_gone_for_those_who_follow_before_its_key_is_shredded() {
    let (journal, _) = journal().await;
    let key = journal.keys().fresh().unwrap();
    let other = journal.keys().fresh().unwrap();
    for (stream, key) in [("message-m1", key), ("message-m2", other)] {
        let recorded = journal
            .append(None, vec![proposal(stream, 0, sent(key))])
            .await;
        recorded.unwrap().remove(0).unwrap();
    }
    assert_eq!(texts(&follow(&journal, 0, 2).await), 2, "the test can fail");
    let recorded = journal.append(None, vec![proposal("room-attic", 0, pruned(key))]);
    recorded.await.unwrap().remove(0).unwrap();
    assert_eq!(texts(&follow(&journal, 0, 3).await), 1);
    let since = journal.since(Position::START).await.unwrap().concat();
    assert_eq!(texts(&since), 1);
    let all: Vec<Batch> = journal
        .all(Position::START)
        .map(|batch| batch.unwrap())
        .collect()
        .await;
    assert_eq!(texts(all.iter().flat_map(|batch| batch.iter())), 1);
}

#[tokio::test]
async fn a_reader_that_is_interested_in_few_events_is_not_shown_what_the_others_say() {
    let (journal, _) = journal().await;
    let (said, created) = (journal.keys().fresh(), journal.keys().fresh());
    let (said, created) = (said.unwrap(), created.unwrap());
    let details = RoomDetails {
        name: SECRET.to_owned(),
        ..RoomDetails::default()
    };
    let room = RoomEvent::RoomRenamed {
        details: Private::new(created, details),
    };
    for mut proposal in [
        proposal("message-m1", 0, sent(said)),
        proposal("room-attic", 0, room),
    ] {
        let origin = Origin {
            address: "192.0.2.1".to_owned(),
            user_agent: SECRET.to_owned(),
        };
        let key = journal.keys().fresh().unwrap();
        proposal.context.origin = Some(Private::new(key, origin));
        let recorded = journal.append(None, vec![proposal]).await;
        recorded.unwrap().remove(0).unwrap();
    }
    let shown = async |batches: Batches| {
        let batches: Vec<Batch> = batches.map(|batch| batch.unwrap()).collect().await;
        let entries: Vec<_> = batches.iter().flat_map(|batch| batch.iter()).collect();
        let names = entries.iter().filter(|entry| match &entry.event {
            Event::Room(RoomEvent::RoomRenamed { details }) => details.value().is_some(),
            _ => false,
        });
        let origins = entries.iter().filter_map(|entry| entry.origin.as_ref());
        let origins = origins.filter(|origin| origin.value().is_some());
        let faults = entries.iter().filter(|entry| entry.fault.is_some());
        let (names, origins, faults) = (names.count(), origins.count(), faults.count());
        (texts(entries.iter().copied()), names, origins, faults)
    };
    assert_eq!(shown(journal.all(Position::START)).await, (1, 1, 2, 0));
    let sparse = journal.all_sparsely(Position::START, |event| !matches!(event, Event::Message(_)));
    assert_eq!(shown(sparse).await, (0, 1, 0, 0));
}

#[tokio::test]
async fn what_was_read_ahead_of_an_erasure_is_not_handed_out_after_it() {
    let (journal, _) = journal().await;
    let key = journal.keys().fresh().unwrap();
    let recorded = journal
        .append(None, vec![proposal("message-m1", 0, sent(key))])
        .await;
    recorded.unwrap().remove(0).unwrap();
    let mut ahead = journal.all(Position::START);
    // What was read waits in the channel once the reader has had its turns.
    let mut reading = journal.all(Position::START);
    let read = reading.next().await.unwrap().unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(texts(read.iter()), 1, "the test can fail");
    let recorded = journal.append(None, vec![proposal("room-attic", 0, pruned(key))]);
    recorded.await.unwrap().remove(0).unwrap();
    journal.shred(&[key]).await.unwrap();
    let handed_out = ahead.next().await.unwrap().unwrap();
    assert_eq!(texts(handed_out.iter()), 0);
    assert_eq!(texts(journal.still_there(&read).await.unwrap().iter()), 0);
}

#[tokio::test]
async fn nothing_is_sealed_under_a_key_after_its_erasure_is_on_the_record() {
    let (journal, _) = journal().await;
    let key = journal.keys().fresh().unwrap();
    let recorded = journal
        .append(None, vec![proposal("message-m1", 0, sent(key))])
        .await;
    recorded.unwrap().remove(0).unwrap();
    // With it, in one append, and after it.
    let at_once = vec![
        proposal("room-attic", 0, pruned(key)),
        proposal("message-m1", 1, edited(key)),
    ];
    let recorded = journal.append(None, at_once).await.unwrap();
    assert!(recorded[0].is_ok() && recorded[1].is_err());
    let late = journal.append(None, vec![proposal("message-m1", 1, edited(key))]);
    assert!(late.await.unwrap().remove(0).is_err());
    assert_eq!(texts(&follow(&journal, 0, 2).await), 0);
}

struct World {
    log: MemoryLog,
    journal: Arc<Journal>,
    vault: MemoryVault,
    commands: Commands,
    shelf: Arc<Shelf>,
    snapshots: Snapshots,
}

impl World {
    async fn new() -> Self {
        let (log, vault) = (MemoryLog::new(), MemoryVault::new());
        let log = log.on_another_node(Role::Shared);
        let journal = journal_on(&log, &vault).await;
        let shelf = Arc::new(Shelf::default());
        let snapshots = Snapshots::open(shelf.clone(), &journal).await.unwrap();
        let model = snapshots.restore(&journal).await.unwrap();
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(RandomIds));
        let (commands, _) = Commands::start(journal.clone(), model, clock, ids, None)
            .await
            .unwrap();
        Self {
            log,
            journal,
            vault,
            commands,
            shelf,
            snapshots,
        }
    }

    async fn another_node(&self) -> Arc<Journal> {
        journal_on(&self.log.on_another_node(Role::Shared), &self.vault).await
    }

    async fn register(&self, caller: Caller) -> KeyId {
        let register = self.commands.run(&caller, move |decision| {
            let (key, at) = (decision.fresh_key()?, decision.now());
            let profile = Profile {
                username: SECRET.to_owned(),
                ..Profile::default()
            };
            let command = AccountCommand::Register {
                key,
                how: Registration::SelfService,
                kind: AccountKind::User,
                roles: Vec::new(),
                active: true,
                reason: None,
                password_change_required: false,
                profile,
                password: None,
                at,
            };
            decision.account(&"mary".into(), command)?;
            Ok(key)
        });
        register.await.unwrap().answer
    }

    async fn name_site(&self) {
        let caller = Caller::system("test");
        let change = self.commands.run(&caller, move |decision| {
            let key = decision.fresh_key()?;
            let value = json!("Town hall");
            decision.setting("Site_Name", SettingCommand::Change { key, value })
        });
        change.await.unwrap();
    }

    async fn saved(&self) -> String {
        let records = self.snapshots.reveal().await.unwrap();
        String::from_utf8_lossy(&records.concat()).into_owned()
    }
}

#[tokio::test]
async fn the_snapshot_after_an_erasure_does_not_hold_what_was_erased() {
    let world = World::new().await;
    let key = world.register(Caller::system("test")).await;
    world.snapshots.save(&world.commands.model()).await.unwrap();
    assert!(world.saved().await.contains(SECRET), "the test can fail");

    // The shredder hears of it before the model has it.
    let deleted = AccountEvent::UserDeleted {
        key,
        messages: MessageErasure::Keep,
    };
    let elsewhere = world.another_node().await;
    let recorded = elsewhere.append(None, vec![proposal("account-mary", 1, deleted)]);
    let batch = recorded.await.unwrap().remove(0).unwrap();
    let shredder = Shredder::new(Arc::new(world.snapshots.clone()));
    shredder.react(&world.commands, &batch).await.unwrap();
    assert!(!world.saved().await.contains(SECRET));
}

#[tokio::test]
async fn an_older_snapshot_does_not_replace_a_newer_one() {
    let world = World::new().await;
    world.register(Caller::system("test")).await;
    let older = world.commands.model();
    world.name_site().await;
    world.snapshots.save(&world.commands.model()).await.unwrap();
    world.snapshots.save(&older).await.unwrap();
    let restored = world.snapshots.restore(&world.journal).await.unwrap();
    assert_eq!(restored.text("Site_Name"), "Town hall");
    assert_eq!(world.shelf.saves().len(), 1);
}

#[tokio::test]
async fn where_somebody_came_from_who_was_not_logged_in_goes_with_the_account() {
    let world = World::new().await;
    let stranger = Caller {
        actor: Actor::Anonymous,
        origin: Some(Origin {
            address: "192.0.2.7".to_owned(),
            user_agent: "a browser".to_owned(),
        }),
        ..Caller::system("users.register")
    };
    let key = world.register(stranger.clone()).await;
    let failed = world.commands.run(&stranger, |decision| {
        let at = decision.now();
        decision.account(
            &UserId::new("mary"),
            AccountCommand::RecordFailedLogin {
                at,
                from: None,
                operation: None,
                by_email: false,
            },
        )
    });
    failed.await.unwrap();
    let entries = follow(&world.journal, 0, 2).await;
    let keys: Vec<_> = entries
        .iter()
        .map(|entry| entry.origin.as_ref().unwrap().key())
        .collect();
    assert_eq!(keys, [key, key]);
}

/// A log whose events are under keys that the vault has others of, as after an older vault was put
/// back: `message-m1` is under such a key, `message-m2` is not.
async fn poisoned() -> (MemoryLog, MemoryVault) {
    let (log, vault) = (MemoryLog::new(), MemoryVault::new());
    for (stream, vault) in [("message-m1", &MemoryVault::new()), ("message-m2", &vault)] {
        let journal = journal_on(&log, vault).await;
        let key = journal.keys().fresh().unwrap();
        let recorded = journal.append(None, vec![proposal(stream, 0, sent(key))]);
        recorded.await.unwrap().remove(0).unwrap();
    }
    (log, vault)
}

#[tokio::test]
async fn what_does_not_open_under_its_key_is_unreadable_and_nothing_else() {
    let (log, vault) = poisoned().await;
    let journal = journal_on(&log, &vault).await;
    let batch = journal.all(Position::START).next().await;
    let batch = batch.unwrap().unwrap();
    let faults: Vec<_> = batch.iter().map(|entry| entry.fault).collect();
    assert_eq!(faults, [Some(Fault::Forged), None]);
    assert_eq!(texts(batch.iter()), 1);
    let stream = StreamId::from_name("message-m1");
    let entries = journal.stream(&stream, Version::NONE).await.unwrap();
    assert_eq!(entries[0].fault, Some(Fault::Forged));

    // Nor does it keep the write model from what comes after it.
    let snapshots = Snapshots::open(Arc::new(Shelf::default()), &journal);
    let model = snapshots.await.unwrap().restore(&journal).await.unwrap();
    assert_eq!(model.position(), Position(2));
}

/// The highest number that the log names, and the first that is minted after the vault was put back to
/// its state from before; with the snapshot that was saved in between, or without any.
async fn minted_after_a_restore(with_snapshot: bool) -> (KeyId, KeyId) {
    let directory = tempfile::tempdir().unwrap();
    let (path, backup) = (
        directory.path().join("vault.db"),
        directory.path().join("backup.db"),
    );
    let (log, shelf, master) = (
        MemoryLog::new(),
        Arc::new(Shelf::default()),
        MasterKey::random(),
    );
    let open = async || {
        let vault = SqliteVault::open(&path, master.clone()).await.unwrap();
        let vault = Arc::new(vault);
        let journal = Journal::open(Arc::new(log.clone()), vault.clone());
        let journal = journal.await.unwrap();
        let snapshots = Snapshots::open(shelf.clone(), &journal).await.unwrap();
        (vault, journal, snapshots)
    };
    let (vault, ..) = open().await;
    vault.close().await;
    std::fs::copy(&path, &backup).unwrap();

    let (vault, journal, snapshots) = open().await;
    journal.keys().reserve(2).await.unwrap();
    let mut named = KeyId(0);
    for stream in ["message-m1", "message-m2"] {
        named = journal.keys().fresh().unwrap();
        let recorded = journal.append(None, vec![proposal(stream, 0, sent(named))]);
        recorded.await.unwrap().remove(0).unwrap();
    }
    let model = snapshots.restore(&journal).await.unwrap();
    if with_snapshot {
        snapshots.save(&Arc::new(model)).await.unwrap();
    }
    // What comes after the snapshot names no key.
    let activated = proposal("account-mary", 0, AccountEvent::UserActivated {});
    let recorded = journal.append(None, vec![activated]).await;
    recorded.unwrap().remove(0).unwrap();
    vault.close().await;
    std::fs::copy(&backup, &path).unwrap();

    let (_, journal, snapshots) = open().await;
    let model = snapshots.restore(&journal).await.unwrap();
    assert_eq!(model.position(), Position(3));
    journal.keys().reserve(1).await.unwrap();
    (named, journal.keys().fresh().unwrap())
}

#[tokio::test]
async fn no_number_that_the_log_names_is_given_out_again() {
    for with_snapshot in [true, false] {
        let (named, minted) = minted_after_a_restore(with_snapshot).await;
        assert!(minted > named, "{minted:?} after {named:?}");
    }
}
