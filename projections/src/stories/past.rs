//! What happened, asked plainly: lists of events that are looked through, and nothing that is kept up
//! to date. Slow, and easy to see through.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use hansard_domain::account::{AccountEvent, MessageErasure, Profile, SYSTEM_ACCOUNT};
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::message::{Content, MessageEvent, Sent};
use hansard_domain::room::{RoomDetails, RoomEvent, RoomKind, RoomSwitches};
use hansard_domain::subscription::SubscriptionEvent;
use serde_json::{Value, json};

/// Messages whose time is further from their recording are imports.
const IMPORTED: i64 = 60_000;

/// Everything up to some event. An event is named by its place in the list.
pub struct Past<'a> {
    pub entries: &'a [Arc<Entry>],
    pub said: Vec<Said<'a>>,
    /// Who was unlinked from what it said, when, and how things were then.
    pub unlinkings: Vec<(UserId, usize, Past<'a>)>,
    /// Whose messages were deleted with the account, and where that stands.
    pub goings: Vec<(UserId, usize)>,
    /// The events of each stream.
    streams: HashMap<&'a str, Vec<usize>>,
}

/// A message that was sent, and what was recorded about it later.
pub struct Said<'a> {
    pub place: usize,
    pub id: MessageId,
    pub entry: &'a Entry,
    pub sent: &'a Sent,
    pub content: Option<&'a Content>,
    /// In its own stream, after it was sent.
    pub events: Vec<(usize, &'a MessageEvent)>,
    pub prunes: Vec<usize>,
    /// The end of its room, after it was sent.
    pub room_ended: Option<usize>,
}

impl<'a> Past<'a> {
    pub fn of(entries: &'a [Arc<Entry>]) -> Self {
        let mut said = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (place, entry) in entries.iter().enumerate() {
            if let Event::Message(MessageEvent::MessageSent { sent, content }) = &entry.event {
                places.insert(entry.stream.key(), said.len());
                said.push(Said {
                    place,
                    id: MessageId::new(entry.stream.key()),
                    entry,
                    sent,
                    content: content.value(),
                    events: Vec::new(),
                    prunes: Vec::new(),
                    room_ended: None,
                });
            }
        }
        for (place, entry) in entries.iter().enumerate() {
            match &entry.event {
                Event::Message(MessageEvent::MessageSent { .. }) => {}
                Event::Message(event) => {
                    if let Some(number) = places.get(entry.stream.key()) {
                        said[*number].events.push((place, event));
                    }
                }
                Event::Room(RoomEvent::ChannelPruned { pruned, .. }) => {
                    for pruned in pruned {
                        if let Some(number) = places.get(pruned.message.as_str()) {
                            said[*number].prunes.push(place);
                        }
                    }
                }
                Event::Room(RoomEvent::RoomDeleted { .. }) => {
                    let room = entry.stream.key();
                    for message in &mut said {
                        if message.sent.room.as_str() == room && message.place < place {
                            message.room_ended = message.room_ended.or(Some(place));
                        }
                    }
                }
                _ => {}
            }
        }
        let mut streams: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, entry) in entries.iter().enumerate() {
            streams.entry(entry.stream.key()).or_default().push(place);
        }
        let (mut unlinkings, mut goings) = (Vec::new(), Vec::new());
        for (place, entry) in entries.iter().enumerate() {
            if let Event::Account(AccountEvent::UserDeleted {
                messages: MessageErasure::Delete,
                ..
            }) = &entry.event
            {
                goings.push((UserId::new(entry.stream.key()), place));
            }
            if let Event::Account(AccountEvent::UserDeleted {
                messages: MessageErasure::Unlink,
                ..
            }) = &entry.event
            {
                let then = Past::of(&entries[..place]);
                unlinkings.push((UserId::new(entry.stream.key()), place, then));
            }
        }
        Self {
            entries,
            said,
            unlinkings,
            goings,
            streams,
        }
    }

    /// The events of a stream.
    fn stream(&self, key: &str) -> impl Iterator<Item = (usize, &'a Entry)> {
        let places = self.streams.get(key).into_iter().flatten();
        let entries = self.entries;
        places.map(move |place| (*place, &*entries[*place]))
    }

    pub fn message(&self, id: &MessageId) -> Option<&Said<'a>> {
        self.said.iter().find(|said| said.id == *id)
    }

    /// Messages that are there, place holders with them, by time.
    pub fn standing(&self) -> Vec<&Said<'a>> {
        let mut standing: Vec<_> = self
            .said
            .iter()
            .filter(|said| said.gone().is_none())
            .collect();
        standing.sort_by_key(|said| (said.sent.at, said.entry.position));
        standing
    }

    pub fn standing_in(&self, room: &RoomId) -> Vec<&Said<'a>> {
        let mut standing = self.standing();
        standing.retain(|said| said.sent.room == *room);
        standing
    }

    /// The replies that count for a thread: those that stand and were sent while its head stood.
    pub fn replies(&self, head: &Said) -> Vec<&Said<'a>> {
        let counts = |said: &&Said| said.counts_for(head) && said.shows_text();
        self.said.iter().filter(counts).collect()
    }

    /// What was recorded about accounts.
    fn of_account(&self, user: &UserId) -> Vec<(usize, &'a AccountEvent)> {
        let stream = self.stream(user.as_str());
        let events = stream.filter_map(|(place, entry)| match &entry.event {
            Event::Account(event) => Some((place, event)),
            _ => None,
        });
        events.collect()
    }

    /// When somebody was unlinked from what it said.
    pub fn unlinked(&self, user: &UserId) -> Option<usize> {
        let found = self.unlinkings.iter().find(|(who, _, _)| who == user);
        found.map(|(_, place, _)| *place)
    }

    fn profile(&self, user: &UserId) -> Option<&'a Profile> {
        let mut profile = None;
        for (_, event) in self.of_account(user) {
            match event {
                AccountEvent::UserRegistered { profile: is, .. }
                | AccountEvent::UserProfileChanged { profile: is } => profile = is.value(),
                AccountEvent::UserDeleted { .. } => profile = None,
                _ => {}
            }
        }
        profile
    }

    /// The username and name of an account that is there.
    pub fn names(&self, user: &UserId) -> Option<(String, Option<String>)> {
        let profile = self.profile(user)?;
        Some((profile.username.clone(), profile.name.clone()))
    }

    /// Somebody as messages show their author.
    pub fn author(&self, user: &UserId) -> Value {
        if let Some(profile) = self.profile(user) {
            let mut author = json!({ "_id": user, "username": profile.username });
            if let Some(name) = &profile.name {
                author["name"] = json!(name);
            }
            return author;
        }
        let removed = format!("removed-{user}");
        json!({ "_id": user, "username": removed, "name": "Removed User" })
    }

    pub fn username(&self, user: &UserId) -> String {
        self.author(user)["username"].as_str().unwrap().to_owned()
    }

    /// Who is shown for somebody by what stood at a place: the server's own account, if it was unlinked
    /// since.
    pub fn shown(&self, user: &UserId, since: usize) -> UserId {
        match self.unlinked(user) {
            Some(unlinked) if unlinked > since => UserId::new(SYSTEM_ACCOUNT),
            _ => user.clone(),
        }
    }

    /// Whom a message calls by what stood at a place, as it shows it.
    pub fn called(&self, user: &UserId, since: usize) -> Value {
        let shown = self.shown(user, since);
        let author = match self.unlinked(&shown) {
            Some(_) => json!({ "username": SYSTEM_ACCOUNT }),
            None => self.author(&shown),
        };
        let (username, name) = (&author["username"], &author["name"]);
        json!({ "_id": shown, "username": username, "name": name, "type": "user" })
    }

    /// What was recorded in a room's stream.
    pub fn of_room(&self, room: &RoomId) -> Vec<(usize, &'a RoomEvent)> {
        let stream = self.stream(room.as_str());
        let events = stream.filter_map(|(place, entry)| match &entry.event {
            Event::Room(event) => Some((place, event)),
            _ => None,
        });
        events.collect()
    }

    /// The rooms that there are.
    pub fn rooms(&self) -> Vec<RoomId> {
        let mut rooms = Vec::new();
        for entry in self.entries {
            let room = RoomId::new(entry.stream.key());
            match &entry.event {
                Event::Room(RoomEvent::RoomCreated { .. }) => rooms.push(room),
                Event::Room(RoomEvent::RoomDeleted { .. }) => rooms.retain(|it| *it != room),
                _ => {}
            }
        }
        rooms
    }

    /// Every room that was ever spoken in or made.
    pub fn all_rooms(&self) -> BTreeSet<RoomId> {
        let made = self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Room(_) => Some(RoomId::new(entry.stream.key())),
            _ => None,
        });
        let spoken_in = self.said.iter().map(|said| said.sent.room.clone());
        made.chain(spoken_in).collect()
    }

    pub fn users(&self) -> Vec<UserId> {
        let mut users = Vec::new();
        for entry in self.entries {
            let user = UserId::new(entry.stream.key());
            match &entry.event {
                Event::Account(AccountEvent::UserRegistered { .. }) => users.push(user),
                Event::Account(AccountEvent::UserDeleted { .. }) => users.retain(|it| *it != user),
                _ => {}
            }
        }
        users
    }

    pub fn kind(&self, room: &RoomId) -> RoomKind {
        let mut kind = RoomKind::default();
        for (_, event) in self.of_room(room) {
            match event {
                RoomEvent::RoomCreated { kind: is, .. }
                | RoomEvent::RoomTypeChanged { kind: is } => {
                    kind = *is;
                }
                _ => {}
            }
        }
        kind
    }

    pub fn details(&self, room: &RoomId) -> RoomDetails {
        let mut details = RoomDetails::default();
        for (_, event) in self.of_room(room) {
            match event {
                RoomEvent::RoomCreated { details: are, .. }
                | RoomEvent::RoomRenamed { details: are }
                | RoomEvent::TopicChanged { details: are } => {
                    details = are.value().cloned().unwrap_or_default();
                }
                _ => {}
            }
        }
        details
    }

    pub fn switches(&self, room: &RoomId, until: usize) -> RoomSwitches {
        let mut switches = RoomSwitches::default();
        for (place, event) in self.of_room(room) {
            match event {
                RoomEvent::RoomCreated { switches: are, .. }
                | RoomEvent::RoomSwitchesChanged { switches: are }
                    if place <= until =>
                {
                    switches = are.clone();
                }
                _ => {}
            }
        }
        switches
    }

    pub fn is_archived(&self, room: &RoomId) -> bool {
        let events = self.of_room(room);
        let last = events.iter().rev().find_map(|(_, event)| match event {
            RoomEvent::RoomArchived {} => Some(true),
            RoomEvent::RoomUnarchived {} => Some(false),
            _ => None,
        });
        last.unwrap_or(false)
    }

    /// When somebody came into a room, if it is still there; and whether by the room's creation.
    pub fn came(&self, room: &RoomId, user: &UserId) -> Option<(usize, bool)> {
        let mut came = None;
        for (place, event) in self.of_room(room) {
            match event {
                RoomEvent::RoomCreated {
                    creator, members, ..
                } if creator.as_ref() == Some(user) || members.contains(user) => {
                    came = Some((place, true));
                }
                RoomEvent::MemberJoined { user: who, .. } if who == user => {
                    came = Some((place, false));
                }
                RoomEvent::MemberLeft { user: who }
                | RoomEvent::MemberRemoved { user: who, .. }
                    if who == user =>
                {
                    came = None;
                }
                RoomEvent::RoomDeleted { .. } => came = None,
                _ => {}
            }
        }
        came
    }

    pub fn everybody_ever(&self) -> BTreeSet<UserId> {
        let all = self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Account(_) => Some(UserId::new(entry.stream.key())),
            _ => None,
        });
        all.collect()
    }

    pub fn members(&self, room: &RoomId) -> Vec<UserId> {
        let all = self.everybody_ever().into_iter();
        all.filter(|user| self.came(room, user).is_some()).collect()
    }

    /// What somebody did about its subscription, after a place.
    pub fn of_subscription(
        &self,
        room: &RoomId,
        user: &UserId,
        after: usize,
    ) -> Vec<(usize, &'a SubscriptionEvent)> {
        let key = format!("{room}/{user}");
        let stream = self.stream(&key).filter(|(place, _)| *place > after);
        let events = stream.filter_map(|(place, entry)| match &entry.event {
            Event::Subscription(event) => Some((place, event)),
            _ => None,
        });
        events.collect()
    }
}

impl<'a> Said<'a> {
    /// When it went for good.
    pub fn gone(&self) -> Option<usize> {
        let deleted = self.events.iter().find_map(|(place, event)| {
            let hidden = matches!(
                event,
                MessageEvent::MessageDeleted {
                    show_deleted: false,
                    ..
                }
            );
            hidden.then_some(*place)
        });
        let pruned = self.prunes.first().copied();
        [deleted, pruned, self.room_ended]
            .into_iter()
            .flatten()
            .min()
    }

    /// What happened to it while it was there.
    pub fn while_there(&self) -> Vec<(usize, &'a MessageEvent)> {
        let gone = self.gone().unwrap_or(usize::MAX);
        self.events
            .iter()
            .filter(|(place, _)| *place < gone)
            .copied()
            .collect()
    }

    /// When a place holder took its place.
    pub fn replaced(&self) -> Option<usize> {
        self.while_there().into_iter().find_map(|(place, event)| {
            matches!(event, MessageEvent::MessageDeleted { .. }).then_some(place)
        })
    }

    /// When its text went out of sight, for whatever reason.
    pub fn lost(&self) -> Option<usize> {
        [self.gone(), self.replaced()].into_iter().flatten().min()
    }

    pub fn shows_text(&self) -> bool {
        self.lost().is_none()
    }

    /// Whether it was sent into a thread while the thread's head was there.
    pub fn counts_for(&self, head: &Said) -> bool {
        let into = self
            .sent
            .thread
            .as_ref()
            .is_some_and(|thread| thread.parent == head.id);
        into && head.place < self.place && head.gone().is_none_or(|gone| gone > self.place)
    }

    pub fn is_imported(&self) -> bool {
        (self.sent.at.0 - self.entry.at.0).abs() > IMPORTED
    }

    pub fn is_main(&self) -> bool {
        self.sent.thread.as_ref().is_none_or(|thread| thread.shown)
    }

    /// The kind of a system message.
    pub fn kind(&self) -> Option<&str> {
        match self.replaced() {
            Some(_) => Some("rm"),
            None => self.sent.system.as_deref(),
        }
    }

    /// What it says now.
    pub fn content(&self) -> Option<&'a Content> {
        let mut content = self.content;
        for (_, event) in self.while_there() {
            if let MessageEvent::MessageEdited { content: is, .. } = event {
                content = is.value();
            }
        }
        content
    }

    /// Where what it says now was recorded.
    pub fn written(&self) -> usize {
        let edits = self.while_there().into_iter();
        let edits = edits.filter(|(_, event)| matches!(event, MessageEvent::MessageEdited { .. }));
        edits
            .map(|(place, _)| place)
            .next_back()
            .unwrap_or(self.place)
    }

    pub fn mentioned(&self) -> Vec<UserId> {
        let mut users = &self.sent.mentions.users;
        for (_, event) in self.while_there() {
            match event {
                MessageEvent::MessageEdited { mentions, .. } => users = &mentions.users,
                MessageEvent::MessageDeleted { .. } => return Vec::new(),
                _ => {}
            }
        }
        users.clone()
    }

    pub fn is_pinned(&self) -> bool {
        let mut pinned = false;
        for (_, event) in self.while_there() {
            match event {
                MessageEvent::MessagePinned { .. } => pinned = true,
                MessageEvent::MessageUnpinned { .. } | MessageEvent::MessageDeleted { .. } => {
                    pinned = false;
                }
                _ => {}
            }
        }
        pinned
    }

    pub fn is_starred_by(&self, user: &UserId) -> bool {
        let mut starred = false;
        for (_, event) in self.while_there() {
            match event {
                MessageEvent::MessageStarred { user: who, .. } if who == user => starred = true,
                MessageEvent::MessageUnstarred { user: who, .. } if who == user => starred = false,
                _ => {}
            }
        }
        starred
    }

    pub fn at(&self) -> Timestamp {
        self.sent.at
    }
}
