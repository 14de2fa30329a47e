//! What members keep about rooms, which stands in its streams alone: that decisions on it are those that
//! a plain reading of the log would make, in one batch, on two nodes, over leaves and restarts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cqrs_es::Aggregate;
use futures::TryStreamExt;
use futures::future::{BoxFuture, join_all};
use hansard_commands::bus::{Commands, Done};
use hansard_commands::caller::Caller;
use hansard_commands::decision::Decision;
use hansard_commands::error::CommandError;
use hansard_commands::message;
use hansard_commands::model::Versioned;
use hansard_commands::room;
use hansard_commands::snapshot::Snapshots;
use hansard_domain::account::{AccountCommand, AccountKind, Profile, Registration};
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{MessageId, RandomIds, RoomId, SystemClock, Timestamp, UserId};
use hansard_domain::journal::{Batch, Journal};
use hansard_domain::log::{Position, Role, Version};
use hansard_domain::message::{Content, MessageEvent, Sent};
use hansard_domain::room::{
    Entry as Way, RoomCommand, RoomDetails, RoomEvent, RoomKind, RoomSwitches,
};
use hansard_domain::subscription::{Subscription, SubscriptionCommand, SubscriptionEvent};
use hansard_infra::log::memory::MemoryLog;
use hansard_infra::vault::memory::MemoryVault;
use hansard_tests::shelf::Shelf;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

const USERS: [&str; 4] = ["mary", "paul", "zoe", "jim"];
const ROOMS: [&str; 3] = ["GENERAL", "attic", "cellar"];

async fn node(log: &MemoryLog, vault: &MemoryVault, shelf: &Arc<Shelf>) -> Commands {
    let (log, vault) = (Arc::new(log.clone()), Arc::new(vault.clone()));
    let journal = Journal::open(log, vault).await.unwrap();
    let snapshots = Snapshots::open(shelf.clone(), &journal).await.unwrap();
    let model = snapshots.restore(&journal).await.unwrap();
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(RandomIds));
    let started = Commands::start(journal, model, clock, ids, None).await;
    started.unwrap().0
}

async fn alone() -> Commands {
    let node = node(&MemoryLog::new(), &MemoryVault::new(), &Arc::default()).await;
    people_and_rooms(&node).await;
    node
}

async fn decide<T: Send + 'static>(
    node: &Commands,
    decide: impl FnMut(&mut Decision<'_>) -> Result<T, CommandError> + Send + 'static,
) -> Result<Done<T>, CommandError> {
    node.run(&Caller::system("test"), decide).await
}

async fn people_and_rooms(node: &Commands) {
    let made = decide(node, |decision| {
        let at = decision.now();
        for user in USERS {
            let register = AccountCommand::Register {
                key: decision.fresh_key()?,
                how: Registration::Bootstrap,
                kind: AccountKind::User,
                roles: vec!["user".into()],
                active: true,
                reason: None,
                password_change_required: false,
                profile: Profile {
                    username: user.to_owned(),
                    ..Profile::default()
                },
                password: None,
                at,
            };
            decision.account(&user.into(), register)?;
        }
        for room in ROOMS {
            let create = RoomCommand::Create {
                key: decision.fresh_key()?,
                kind: RoomKind::Channel,
                creator: None,
                members: USERS.map(UserId::new).to_vec(),
                switches: RoomSwitches::default(),
                parent: None,
                details: RoomDetails {
                    name: room.to_owned(),
                    ..RoomDetails::default()
                },
                at,
            };
            decision.room(&room.into(), create)?;
        }
        Ok(())
    });
    made.await.unwrap();
}

fn leave(room: &RoomId, user: &UserId) -> (RoomId, RoomCommand) {
    let user = user.clone();
    (room.clone(), RoomCommand::Leave { user })
}

fn enter(room: &RoomId, user: &UserId, at: Timestamp) -> (RoomId, RoomCommand) {
    let (user, entry) = (user.clone(), Way::Joined);
    (room.clone(), RoomCommand::Enter { user, entry, at })
}

/// Whoever left and came back in one decision.
async fn leave_and_return(node: &Commands, room: RoomId, user: UserId) -> Result<(), CommandError> {
    let both = decide(node, move |decision| {
        let (id, command) = leave(&room, &user);
        decision.room(&id, command)?;
        let (id, command) = enter(&room, &user, decision.now());
        decision.room(&id, command)
    });
    both.await.map(drop)
}

async fn say(node: &Commands, room: RoomId, sender: UserId) -> Result<(), CommandError> {
    let said = decide(node, move |decision| {
        let sent = Sent {
            room: room.clone(),
            sender: sender.clone(),
            system: None,
            thread: None,
            mentions: Default::default(),
            integration: None,
            bot: false,
            groupable: true,
            discussion: None,
            has_files: false,
            // As a client may say that sent it a while ago.
            at: Timestamp(decision.now().0 - 20_000),
        };
        let id = MessageId::new(decision.id());
        decision.new_message(&id, sent, Content::default())
    });
    said.await.map(drop)
}

/// What somebody keeps, as decisions on a node see it.
async fn kept(node: &Commands, room: &RoomId, user: &UserId) -> Versioned<Subscription> {
    let loaded = node.subscription(room, user).await.unwrap();
    loaded.in_model(&node.model())
}

async fn recorded(node: &Commands) -> Vec<Arc<Entry>> {
    let batches = node.journal().all(Position::START).try_collect();
    let batches: Vec<Batch> = batches.await.unwrap();
    batches.iter().flat_map(|batch| batch.to_vec()).collect()
}

type Key = (RoomId, UserId);

/// A plain reading of the log.
#[derive(Default)]
struct Plain {
    kept: HashMap<Key, (Version, Subscription)>,
    members: HashSet<Key>,
    /// Rooms that something happened in since somebody read them; the same with threads.
    stirred: HashSet<(Key, bool)>,
}

impl Plain {
    fn of(entries: &[Arc<Entry>]) -> Self {
        let mut plain = Self::default();
        entries.iter().for_each(|entry| plain.take(entry));
        plain
    }

    fn stir(&mut self, room: &RoomId) {
        let everybody = USERS.map(|user| (room.clone(), UserId::new(user)));
        let both = everybody.map(|key| [(key.clone(), true), (key, false)]);
        self.stirred.extend(both.into_iter().flatten());
    }

    /// Takes in an entry; panics where a decision must not have made it.
    fn take(&mut self, entry: &Entry) {
        let room = RoomId::new(entry.stream.key());
        match &entry.event {
            Event::Room(RoomEvent::RoomCreated { members, .. }) => {
                let members = members.iter().map(|user| (room.clone(), user.clone()));
                self.members.extend(members);
                self.stir(&room);
            }
            Event::Room(RoomEvent::MemberLeft { user }) => {
                let key = (room.clone(), user.clone());
                self.members.remove(&key);
                if let Some((_, kept)) = self.kept.get_mut(&key) {
                    *kept = Subscription::default();
                }
                self.stirred.extend([(key.clone(), true), (key, false)]);
            }
            Event::Room(RoomEvent::MemberJoined { user, .. }) => {
                self.members.insert((room, user.clone()));
            }
            Event::Room(RoomEvent::RoomRenamed { .. }) => self.stir(&room),
            Event::Message(MessageEvent::MessageSent { sent, .. }) => self.stir(&sent.room),
            Event::Subscription(event) => self.keep(entry, event),
            _ => {}
        }
    }

    fn keep(&mut self, entry: &Entry, event: &SubscriptionEvent) {
        use SubscriptionEvent as E;
        let (room, user) = entry.stream.key().split_once('/').unwrap();
        let key = (RoomId::new(room), UserId::new(user));
        assert!(self.members.contains(&key), "{entry:?}");
        let (version, kept) = self.kept.entry(key.clone()).or_default();
        let sound = match event {
            E::RoomFavourited {} => !kept.favourite,
            E::RoomUnfavourited {} => kept.favourite,
            E::UserIgnored { user } => !kept.ignored.contains(user),
            E::UserUnignored { user } => kept.ignored.contains(user),
            E::NotificationsChanged { preferences } => {
                let mut known = kept.notifications.keys();
                *preferences != kept.notifications
                    && known.all(|name| preferences.contains_key(name))
                    && preferences.len() <= kept.notifications.len() + 1
            }
            _ => true,
        };
        assert!(sound, "{entry:?} on {kept:?}");
        assert_eq!(entry.version, version.next(), "{entry:?}");
        *version = entry.version;
        kept.apply(event.clone());
        match event {
            E::RoomRead { threads, .. } => {
                self.stirred.remove(&(key.clone(), false));
                if *threads {
                    self.stirred.remove(&(key, true));
                }
            }
            E::RoomHidden {} | E::RoomMarkedUnread { .. } => {
                self.stirred.extend([(key.clone(), true), (key, false)]);
            }
            _ => {}
        }
    }

    async fn compare(&self, node: &Commands) {
        for key in &self.members {
            let (version, expected) = self.kept.get(key).cloned().unwrap_or_default();
            let found = kept(node, &key.0, &key.1).await;
            assert_eq!((found.version, found.state), (version, expected), "{key:?}");
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Favour(bool),
    Read(bool),
    Unread,
    Open,
    Close,
    Notify(&'static str, &'static str),
    Ignore(UserId, bool),
    Leave,
    Return,
    LeaveAndReturn,
    Say,
    Rename(u32),
}

fn step(random: &mut StdRng) -> Step {
    let other = UserId::new(USERS[random.random_range(0..USERS.len())]);
    let yes = random.random_range(0..2) == 0;
    match random.random_range(0..20) {
        0..3 => Step::Favour(yes),
        3..8 => Step::Read(yes),
        8 => Step::Unread,
        9 => Step::Open,
        10 => Step::Close,
        11..13 => {
            let names = [
                "mobilePushNotifications",
                "emailNotifications",
                "desktopNotifications",
            ];
            let name = names[random.random_range(0..names.len())];
            Step::Notify(name, if yes { "all" } else { "nothing" })
        }
        13..15 => Step::Ignore(other, yes),
        15 => Step::Leave,
        16 => Step::Return,
        17 => Step::LeaveAndReturn,
        18 => Step::Say,
        _ => Step::Rename(random.random_range(0..1_000_000)),
    }
}

/// Has a step done; answers whether it was, and not refused to somebody who is no member.
fn done<'a>(node: &'a Commands, key: &Key, step: &Step) -> BoxFuture<'a, bool> {
    let (room, user) = key.clone();
    let step = step.clone();
    Box::pin(async move {
        let caller = Caller::user(user.clone(), "test");
        let outcome = match step {
            Step::Favour(yes) => room::favour(node, &caller, room, yes).await,
            Step::Read(threads) => room::read(node, &caller, room, threads).await,
            Step::Unread => room::unread(node, &caller, room, Timestamp(5)).await,
            Step::Open => room::open(node, &caller, room).await,
            Step::Close => room::close(node, &caller, room).await,
            Step::Notify(name, value) => {
                let preferences = json!({ name: value }).as_object().cloned().unwrap();
                room::notify(node, &caller, room, preferences).await
            }
            Step::Ignore(other, yes) => message::ignore_user(node, &caller, room, other, yes).await,
            Step::Leave => {
                let left = decide(node, move |decision| {
                    let (id, command) = leave(&room, &user);
                    decision.room(&id, command)
                });
                left.await.map(drop)
            }
            Step::Return => {
                let entered = decide(node, move |decision| {
                    let (id, command) = enter(&room, &user, decision.now());
                    decision.room(&id, command)
                });
                entered.await.map(drop)
            }
            Step::LeaveAndReturn => leave_and_return(node, room, user).await,
            Step::Say => say(node, room, user).await,
            Step::Rename(number) => {
                let renamed = decide(node, move |decision| {
                    let rename = RoomCommand::Rename {
                        name: format!("{room}-{number}"),
                        fname: String::new(),
                    };
                    decision.room(&room, rename)
                });
                renamed.await.map(drop)
            }
        };
        match outcome {
            Ok(()) => true,
            Err(CommandError::Refused { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    })
}

fn anybody(random: &mut StdRng) -> Key {
    let room = ROOMS[random.random_range(0..ROOMS.len())];
    let user = USERS[random.random_range(0..USERS.len())];
    (room.into(), user.into())
}

/// That a step led to what it is for.
fn assert_reached(plain: &Plain, key: &Key, step: &Step) {
    let kept = plain.kept.get(key).cloned().unwrap_or_default().1;
    let reached = match step {
        Step::Favour(yes) => kept.favourite == *yes,
        Step::Read(threads) => {
            let read = |threads| !plain.stirred.contains(&(key.clone(), threads));
            read(false) && (!threads || read(true))
        }
        Step::Close => kept.hidden,
        Step::Open => !kept.hidden,
        Step::Ignore(other, yes) => kept.ignored.contains(other) == *yes,
        Step::Notify(name, value) => kept.notifications.get(*name) == Some(&json!(value)),
        _ => true,
    };
    assert!(reached, "{step:?} of {key:?} led to {kept:?}");
}

#[tokio::test]
async fn decisions_one_by_one_are_those_of_a_plain_reading_of_the_log_over_restarts() {
    for seed in 0..3 {
        let mut random = StdRng::seed_from_u64(seed);
        let (log, vault) = (MemoryLog::new(), MemoryVault::new());
        let shelf = Arc::new(Shelf::default());
        let mut at_work = node(&log, &vault, &shelf).await;
        people_and_rooms(&at_work).await;
        let mut plain = Plain::of(&recorded(&at_work).await);
        let mut known = at_work.journal().head();
        let (mut reads, mut marks) = (0, 0);
        for number in 0..600 {
            let (key, step) = (anybody(&mut random), step(&mut random));
            let was_done = done(&at_work, &key, &step).await;
            let mut batches = at_work.journal().all(known);
            while let Some(batch) = batches.try_next().await.unwrap() {
                for entry in batch.iter() {
                    plain.take(entry);
                    known = entry.position;
                    marks += usize::from(matches!(
                        entry.event,
                        Event::Subscription(SubscriptionEvent::RoomRead { .. })
                    ));
                }
            }
            if was_done {
                assert_reached(&plain, &key, &step);
                reads += usize::from(matches!(step, Step::Read(_)));
            }
            if number % 60 == 59 {
                plain.compare(&at_work).await;
                if random.random_range(0..2) == 0 {
                    let snapshots = Snapshots::open(shelf.clone(), at_work.journal());
                    let saved = snapshots.await.unwrap().save(&at_work.model()).await;
                    saved.unwrap();
                }
                let of_start = if random.random_range(0..2) == 0 {
                    Arc::default()
                } else {
                    shelf.clone()
                };
                at_work = node(&log, &vault, &of_start).await;
                plain.compare(&at_work).await;
            }
        }
        assert!(
            marks > 10 && marks < reads,
            "{marks} marks of {reads} reads"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_of_many_at_once_on_two_nodes_are_those_of_a_plain_reading_of_the_log() {
    for seed in 0..3 {
        let mut random = StdRng::seed_from_u64(seed);
        let (log, vault) = (MemoryLog::new(), MemoryVault::new());
        let shelves = [(); 2].map(|()| Arc::default());
        let [east, west] = [(); 2].map(|()| log.on_another_node(Role::Shared));
        let nodes = [
            node(&east, &vault, &shelves[0]).await,
            node(&west, &vault, &shelves[1]).await,
        ];
        people_and_rooms(&nodes[0]).await;
        for _ in 0..40 {
            let count = random.random_range(1..20);
            let steps = (0..count).map(|_| {
                let node = &nodes[random.random_range(0..2)];
                done(node, &anybody(&mut random), &step(&mut random))
            });
            let steps: Vec<_> = steps.collect();
            join_all(steps).await;
        }
        let plain = Plain::of(&recorded(&nodes[0]).await);
        let head = nodes[0].journal().true_head().await.unwrap();
        for node in &nodes {
            let heard = tokio::time::timeout(Duration::from_mins(1), node.model_at(head));
            heard.await.expect("the node hears of everything");
            plain.compare(node).await;
        }
    }
}

fn ignore(user: String) -> SubscriptionCommand {
    SubscriptionCommand::Ignore {
        user: UserId::new(&user),
        ignore: true,
    }
}

#[tokio::test]
async fn what_is_decided_in_one_batch_is_all_kept_and_a_later_batch_loads_again() {
    let node = alone().await;
    let (room, user) = (RoomId::new("GENERAL"), UserId::new("mary"));
    let loaded = node.subscription(&room, &user).await.unwrap();
    let on_loaded = |command: SubscriptionCommand| {
        let loaded = loaded.clone();
        decide(&node, move |decision| {
            decision.subscription(&loaded, command.clone())
        })
    };
    let all = (0..50).map(|number| on_loaded(ignore(format!("user{number}"))));
    for outcome in join_all(all).await {
        outcome.unwrap();
    }
    assert_eq!(kept(&node, &room, &user).await.ignored.len(), 50);
    let late = on_loaded(ignore("late".to_owned())).await;
    assert!(matches!(late, Err(CommandError::Conflict(_))), "{late:?}");
    let caller = Caller::user(user.clone(), "test");
    let asked = message::ignore_user(&node, &caller, room.clone(), "paul".into(), true);
    asked.await.unwrap();
    assert_eq!(kept(&node, &room, &user).await.ignored.len(), 51);
}

#[tokio::test]
async fn who_leaves_and_returns_within_a_batch_starts_anew_there() {
    let node = alone().await;
    let (room, user) = (RoomId::new("GENERAL"), UserId::new("mary"));
    let caller = Caller::user(user.clone(), "test");
    room::favour(&node, &caller, room.clone(), true)
        .await
        .unwrap();
    let loaded = node.subscription(&room, &user).await.unwrap();
    let on_loaded = |command: SubscriptionCommand| {
        let loaded = loaded.clone();
        decide(&node, move |decision| {
            decision.subscription(&loaded, command.clone())
        })
    };
    let (before, gone, after, again, at_last, last) = tokio::join!(
        on_loaded(ignore("before".to_owned())),
        leave_and_return(&node, room.clone(), user.clone()),
        on_loaded(SubscriptionCommand::Favour(true)),
        on_loaded(ignore("after".to_owned())),
        leave_and_return(&node, room.clone(), user.clone()),
        on_loaded(SubscriptionCommand::Favour(true)),
    );
    gone.unwrap();
    at_last.unwrap();
    for (outcome, why) in [
        (before, "it is a member"),
        (after, "it is no favourite any more"),
        (again, "it ignores nobody"),
        (last, "it has left again"),
    ] {
        assert!(outcome.unwrap().batch.is_some(), "{why}");
    }
    let found = kept(&node, &room, &user).await;
    let expected = Subscription {
        favourite: true,
        ..Subscription::default()
    };
    assert_eq!(found.state, expected);
    assert_eq!(found.version, Version(5));
}

#[tokio::test]
async fn who_comes_back_has_kept_nothing_with_a_snapshot_and_without_one() {
    let (log, vault) = (MemoryLog::new(), MemoryVault::new());
    let shelf = Arc::new(Shelf::default());
    let first = node(&log, &vault, &shelf).await;
    people_and_rooms(&first).await;
    let [room, other] = ["GENERAL", "attic"].map(RoomId::new);
    let user = UserId::new("mary");
    let caller = Caller::user(user.clone(), "test");
    for room in [&room, &other] {
        room::favour(&first, &caller, room.clone(), true)
            .await
            .unwrap();
    }
    leave_and_return(&first, room.clone(), user.clone())
        .await
        .unwrap();
    let snapshots = Snapshots::open(shelf.clone(), first.journal())
        .await
        .unwrap();
    snapshots.save(&first.model()).await.unwrap();
    for shelf in [&shelf, &Arc::default()] {
        let again = node(&log, &vault, shelf).await;
        let found = kept(&again, &room, &user).await;
        assert_eq!(found.state, Subscription::default());
        assert_eq!(found.version, Version(1), "the stream goes on");
        assert!(kept(&again, &other, &user).await.favourite);
    }
    let again = node(&log, &vault, &shelf).await;
    room::favour(&again, &caller, room.clone(), true)
        .await
        .unwrap();
    assert!(kept(&again, &room, &user).await.favourite);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_node_recorded_is_decided_on_at_once() {
    let (log, vault) = (MemoryLog::new(), MemoryVault::new());
    let [east, west] = [(); 2].map(|()| log.on_another_node(Role::Shared));
    let east = node(&east, &vault, &Arc::default()).await;
    let west = node(&west, &vault, &Arc::default()).await;
    people_and_rooms(&east).await;
    let (room, user) = (RoomId::new("GENERAL"), UserId::new("mary"));
    let caller = Caller::user(user.clone(), "test");
    for number in 0..100 {
        let [one, other] = if number % 2 == 0 {
            [&east, &west]
        } else {
            [&west, &east]
        };
        // Whoever writes second need not have heard of the first.
        room::favour(one, &caller, room.clone(), true)
            .await
            .unwrap();
        room::favour(other, &caller, room.clone(), false)
            .await
            .unwrap();
    }
    let plain = Plain::of(&recorded(&west).await);
    let (version, last) = &plain.kept[&(room, user)];
    assert_eq!((*version, last.favourite), (Version(200), false));
}
