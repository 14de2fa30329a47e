//! Tells random stories: what could stand in a log, with everything that happens in workspaces whose
//! settings differ, and with what only happens when several nodes or tasks race.

mod accounts;
mod changes;
mod rooms;
mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hansard_domain::account::{
    AccountEvent, AccountKind, DeactivationReason, LoginMethod, MessageErasure, Presence, Profile,
    Registration, SYSTEM_ACCOUNT, Session, TokenHash,
};
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{MessageId, RoleId, RoomId, Timestamp, UserId};
use hansard_domain::log::{Actor, Position, StreamId, Version};
use hansard_domain::message::{Content, Mentions, MessageEvent, Sent, ThreadReply};
use hansard_domain::room::{
    Entry as Way, Parent, PruneCriteria, PruneReason, Pruned, RoomDetails, RoomEvent, RoomKind,
    RoomSwitches,
};
use hansard_domain::seal::Private;
use hansard_domain::subscription::SubscriptionEvent;
use hansard_domain::vault::KeyId;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, json};

/// Words that texts are made of.
pub const WORDS: [&str; 8] = [
    "boot", "loader", "Müller", "grub", "disk", "kernel", "swap", "vim",
];

pub const REACTIONS: [&str; 3] = [":smile:", ":tada:", ":eyes:"];

/// System messages that a room can hide.
pub const SYSTEM_KINDS: [&str; 4] = ["uj", "ul", "r", "user-muted"];

/// The settings of a workspace that change what happens. They are thrown anew now and then.
#[derive(Debug, Clone, Copy)]
struct Settings {
    /// `Message_ShowDeletedStatus`
    show_deleted: bool,
    /// `Message_KeepHistory`
    keep_history: bool,
    /// `Message_ErasureType`
    erasure: MessageErasure,
    /// `Threads_enabled`
    threads: bool,
}

/// What a teller has to know of a message so that what it tells could happen.
struct Message {
    id: MessageId,
    room: RoomId,
    sender: UserId,
    key: KeyId,
    at: Timestamp,
    system: bool,
    thread: Option<MessageId>,
    pinned: bool,
    starred: BTreeSet<UserId>,
    reactions: BTreeSet<(String, UserId)>,
    followers: BTreeSet<UserId>,
    /// By a person: nothing more happens in its stream.
    deleted: bool,
    /// Its text is gone, or about to be.
    erased: bool,
}

#[derive(Default)]
struct Room {
    kind: RoomKind,
    participants: BTreeSet<UserId>,
    members: BTreeMap<UserId, BTreeSet<RoleId>>,
    muted: BTreeSet<UserId>,
    unmuted: BTreeSet<UserId>,
    switches: RoomSwitches,
    details: RoomDetails,
    archived: bool,
    deleted: bool,
}

pub struct Teller {
    dice: StdRng,
    pub entries: Vec<Arc<Entry>>,
    now: Timestamp,
    settings: Settings,
    /// Whether clocks are set back now and then.
    clock_falls: bool,
    users: Vec<UserId>,
    gone: Vec<UserId>,
    rooms: BTreeMap<RoomId, Room>,
    messages: Vec<Message>,
    /// Ids that replies name and that nobody has sent yet.
    announced: Vec<MessageId>,
    keys: u64,
}

impl Teller {
    pub fn new(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let settings = Settings::throw(&mut dice);
        let clock_falls = dice.random_bool(0.3);
        let mut teller = Self {
            dice,
            entries: Vec::new(),
            now: Timestamp(1_700_000_000_000),
            settings,
            clock_falls,
            users: Vec::new(),
            gone: Vec::new(),
            rooms: BTreeMap::new(),
            messages: Vec::new(),
            announced: Vec::new(),
            keys: 10,
        };
        teller.register(SYSTEM_ACCOUNT);
        for number in 0..5 {
            teller.register(&format!("user{number}"));
        }
        for kind in [RoomKind::Channel, RoomKind::Group, RoomKind::Direct] {
            teller.create(kind);
        }
        teller
    }

    pub fn with_a_clock_that_never_falls(seed: u64) -> Self {
        let mut teller = Self::new(seed);
        teller.clock_falls = false;
        teller
    }

    /// Tells on until there are so many events at least.
    pub fn tell_until(&mut self, events: usize) {
        while self.entries.len() < events {
            self.step();
        }
    }

    fn step(&mut self) {
        match self.dice.random_range(0..1_000) {
            0..300 => self.say(),
            300..420 => self.reply(),
            420..480 => self.edit(),
            480..540 => self.delete(),
            540..600 => self.react(),
            600..630 => self.pin(),
            630..670 => self.star(),
            670..700 => self.follow(),
            700..720 => self.announce(),
            720..735 => self.prune(),
            735..810 => self.read(),
            810..850 => self.subscribe(),
            850..880 => self.join(),
            880..900 => self.leave(),
            900..920 => self.change_roles(),
            920..940 => self.change_room(),
            940..946 => {
                let kind = self.one_of(&[RoomKind::Channel, RoomKind::Group, RoomKind::Direct]);
                self.create(kind);
            }
            946..949 => self.delete_room(),
            949..955 => {
                let number = self.users.len() + self.gone.len();
                self.register(&format!("user{number}"));
            }
            955..970 => self.change_account(),
            970..973 => self.delete_account(),
            973..993 => self.race(),
            _ => self.settings = Settings::throw(&mut self.dice),
        }
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all.choose(&mut self.dice).unwrap().clone()
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.dice.random_ratio(1, one_in)
    }

    fn key(&mut self) -> KeyId {
        self.keys += 1;
        KeyId(self.keys)
    }

    fn tell(&mut self, actor: Actor, stream: StreamId, event: impl Into<Event>) {
        let position = Position(self.entries.len() as u64 + 1);
        self.entries.push(Arc::new(Entry {
            position,
            stream,
            version: Version(1),
            id: uuid::Uuid::from_u128(u128::from(position.0)),
            at: self.now,
            clock: None,
            actor,
            correlation: None,
            causation: None,
            origin: None,
            fault: None,
            event: event.into(),
        }));
        // Commits of several events, and busy moments, share a time.
        let later = match self.dice.random_range(0..10) {
            0..3 => 0,
            3..9 => self.dice.random_range(1..5_000),
            _ => self.dice.random_range(60_000..7_200_000),
        };
        self.now.0 += later;
        if self.clock_falls && self.chance(200) {
            self.now.0 -= self.dice.random_range(1..3_600_000);
        }
    }

    fn on_account(&mut self, user: &UserId, event: AccountEvent) {
        let actor = Actor::User(user.clone());
        self.tell(actor, StreamId::new("account", user.as_str()), event);
    }

    fn on_room(&mut self, room: &RoomId, event: RoomEvent) {
        self.tell(Actor::System, StreamId::new("room", room.as_str()), event);
    }

    fn on_message(&mut self, id: &MessageId, by: &UserId, event: MessageEvent) {
        let actor = Actor::User(by.clone());
        self.tell(actor, StreamId::new("message", id.as_str()), event);
    }

    fn on_subscription(&mut self, room: &RoomId, user: &UserId, event: SubscriptionEvent) {
        let stream = StreamId::new("subscription", format!("{room}/{user}"));
        self.tell(Actor::User(user.clone()), stream, event);
    }
}

impl Settings {
    fn throw(dice: &mut StdRng) -> Self {
        let erasures = [
            MessageErasure::Keep,
            MessageErasure::Unlink,
            MessageErasure::Delete,
        ];
        Self {
            show_deleted: dice.random_bool(0.5),
            keep_history: dice.random_bool(0.5),
            erasure: *erasures.choose(dice).unwrap(),
            threads: dice.random_bool(0.9),
        }
    }
}
