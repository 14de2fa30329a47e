//! What a batch of events does to the tables.
//!
//! A batch is folded in memory: the rows that its events touch are read at once, changed one event
//! after the other, and written at once. A plain message costs its row and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use hansard_domain::account::{AccountEvent, Author, MessageErasure, Profile, SYSTEM_ACCOUNT};
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::log::Position;
use hansard_domain::message::{MessageEvent, Sent};
use hansard_domain::pace::Pace;
use hansard_domain::room::RoomEvent;
use hansard_domain::vault::KeyId;
use serde_json::{Map, Value, json};
use sqlx::{AnyConnection, Row as _};

use super::MessageHead;
use super::naming::{self, forget};
use super::row::{READ, REWRITE, Row, WRITE};
use super::unlink::unlink;
use super::wire;
use crate::rows::{ByKey, Insert};
use crate::sql;
use crate::view::ViewError;

const AUTHOR: Insert = Insert::into("author", &["id", "username", "wire"]).on_conflict(
    "ON CONFLICT (id) DO UPDATE SET username = excluded.username, wire = excluded.wire",
);
const STAR: Insert = Insert::into("star", &["room", "user_id", "at", "position"])
    .on_conflict("ON CONFLICT DO NOTHING");
const MENTION: Insert = Insert::into("mention", &["room", "user_id", "at", "position"])
    .on_conflict("ON CONFLICT DO NOTHING");
const NAMED: Insert =
    Insert::into("named", &["user_id", "id"]).on_conflict("ON CONFLICT DO NOTHING");
const DELETED: Insert = Insert::into("deleted", &["id", "room", "thread", "at", "position"])
    .on_conflict("ON CONFLICT DO NOTHING");
const TOTAL: Insert = Insert::into("total", &["room", "messages"])
    .on_conflict("ON CONFLICT (room) DO UPDATE SET messages = total.messages + excluded.messages");

const AUTHORS: ByKey = ByKey::new("SELECT id, wire FROM author WHERE id IN");

const REMAIN: Insert = Insert::into("remains", &["id", "room", "sender", "key_id"])
    .on_conflict("ON CONFLICT DO NOTHING");
const ERASED: ByKey = ByKey::new("DELETE FROM remains WHERE id IN");

const LAST_REPLIES: ByKey =
    ByKey::new("SELECT thread, max(at) FROM message WHERE counts = 1 AND thread IN")
        .then("GROUP BY thread");

/// How an account is named that is gone with its personal data.
pub(super) const REMOVED_NAME: &str = "Removed User";

pub(super) async fn apply(
    tables: &mut AnyConnection,
    entries: &[Arc<Entry>],
) -> Result<(), ViewError> {
    // A room that goes takes rows with it that nobody counted up, and whoever goes is in any number of
    // rows: it is done between two folds.
    for part in entries.split_inclusive(|entry| deletes_room(entry) || erasure(entry).is_some()) {
        let mut fold = Fold::load(tables, part).await?;
        let mut pace = Pace::new();
        for entry in part {
            fold.apply(entry)?;
            pace.keep().await;
        }
        fold.write(tables).await?;
        let Some(last) = part.last() else {
            continue;
        };
        if deletes_room(last) {
            delete_room(tables, last.stream.key()).await?;
        }
        let user = UserId::new(last.stream.key());
        match erasure(last) {
            Some(MessageErasure::Unlink) => unlink(tables, &user, last.at).await?,
            Some(MessageErasure::Delete) => forget(tables, &user, true, last.at).await?,
            Some(MessageErasure::Keep) => forget(tables, &user, false, last.at).await?,
            None => {}
        }
    }
    Ok(())
}

/// See [`message_of_stream`](super::message_of_stream).
pub(super) fn alone(
    id: &MessageId,
    entries: &[Arc<Entry>],
    viewer: &UserId,
    author: impl Fn(&UserId) -> Author,
) -> Result<Option<MessageHead>, ViewError> {
    let mut fold = Fold::default();
    for entry in entries {
        fold.apply(entry)?;
    }
    let Some(Slot { mut row, .. }) = fold.slots.remove(id) else {
        return Ok(None);
    };
    row.set_names(&author)?;
    let mut wire = row.wire.into_fields()?;
    wire.insert("u".into(), serde_json::to_value(author(&row.sender))?);
    if fold.stars.get(&(viewer.clone(), id.clone())) == Some(&true) {
        wire.insert("starred".into(), json!([{ "_id": viewer }]));
    }
    Ok(Some(MessageHead {
        json: serde_json::to_string(&wire)?,
        room: row.room,
        sender: row.sender,
        at: row.at,
        thread: row.thread,
    }))
}

fn deletes_room(entry: &Entry) -> bool {
    matches!(entry.event, Event::Room(RoomEvent::RoomDeleted { .. }))
}

/// What becomes of the messages of an account that is deleted.
fn erasure(entry: &Entry) -> Option<MessageErasure> {
    match &entry.event {
        Event::Account(AccountEvent::UserDeleted { messages, .. }) => Some(*messages),
        _ => None,
    }
}

async fn delete_room(tables: &mut AnyConnection, room: &str) -> Result<(), ViewError> {
    const STATEMENTS: [&str; 7] = [
        "INSERT INTO remains (id, room, sender, key_id) \
         SELECT id, room, sender, key_id FROM message WHERE room = $1",
        "DELETE FROM named WHERE id IN (SELECT id FROM message WHERE room = $1)",
        "DELETE FROM message WHERE room = $1",
        "DELETE FROM star WHERE room = $1",
        "DELETE FROM mention WHERE room = $1",
        "DELETE FROM deleted WHERE room = $1",
        "DELETE FROM total WHERE room = $1",
    ];
    for statement in STATEMENTS {
        sql::query(statement)
            .bind(room.to_owned())
            .execute(&mut *tables)
            .await?;
    }
    Ok(())
}

/// A row, and what has to be done about it.
struct Slot {
    row: Row,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not in the table yet.
    New,
    /// As it stands in the table.
    Stored,
    /// In the table, but different.
    Changed,
}

/// The rows that a batch touches, on their way from the tables and back.
#[derive(Default)]
struct Fold {
    slots: HashMap<MessageId, Slot>,
    /// New messages in the order they were sent.
    sent: Vec<MessageId>,
    authors: BTreeMap<UserId, Name>,
    /// Accounts whose profiles changed in this batch, with the names that stand in the table.
    profiles: BTreeMap<UserId, Option<String>>,
    removed: Vec<Row>,
    deleted: BTreeMap<MessageId, Deleted>,
    /// `(user, message)` to whether the star stands.
    stars: BTreeMap<(UserId, MessageId), bool>,
    /// Messages whose mentions changed.
    mentioned: BTreeMap<MessageId, Vec<UserId>>,
    /// Whom messages name beside their authors.
    named: BTreeSet<(UserId, MessageId)>,
    /// Messages deleted with their history kept.
    remains: BTreeMap<MessageId, Remains>,
    /// Messages that were pruned, known here or not.
    pruned: BTreeSet<MessageId>,
    /// Messages whose threads lost replies.
    shrunk: BTreeSet<MessageId>,
    /// Those that are taken apart, the last one at the end.
    apart: VecDeque<MessageId>,
}

/// So many messages are taken apart at a time: one has megabytes then.
const APART: usize = 16;

struct Remains {
    room: RoomId,
    sender: UserId,
    key: KeyId,
}

struct Name {
    author: Author,
    wire: String,
}

struct Deleted {
    room: RoomId,
    thread: Option<MessageId>,
    at: Timestamp,
    position: Position,
}

impl Fold {
    /// Reads what the events are about and don't bring themselves.
    async fn load(tables: &mut AnyConnection, entries: &[Arc<Entry>]) -> Result<Self, ViewError> {
        let mut fold = Self::default();
        let mut sent = HashSet::new();
        let mut wanted = BTreeSet::new();
        for entry in entries {
            match &entry.event {
                Event::Message(MessageEvent::MessageSent { sent: message, .. }) => {
                    sent.insert(entry.stream.key());
                    if let Some(thread) = &message.thread {
                        wanted.insert(thread.parent.as_str());
                    }
                }
                Event::Message(_) => {
                    wanted.insert(entry.stream.key());
                }
                Event::Room(RoomEvent::ChannelPruned { pruned, .. }) => {
                    wanted.extend(pruned.iter().map(|pruned| pruned.message.as_str()));
                }
                Event::Account(AccountEvent::UserProfileChanged { .. }) => {
                    let id = UserId::new(entry.stream.key());
                    fold.profiles.insert(id, None);
                }
                _ => {}
            }
        }
        let wanted: BTreeSet<String> = wanted
            .into_iter()
            .filter(|id| !sent.contains(id))
            .map(str::to_owned)
            .collect();
        let users: Vec<UserId> = fold.profiles.keys().cloned().collect();
        for row in AUTHORS.fetch(tables, &users).await? {
            let id = UserId::new(row.try_get::<String, _>(0)?);
            fold.profiles.insert(id, Some(row.try_get(1)?));
        }
        fold.read(tables, &wanted.into_iter().collect::<Vec<_>>())
            .await?;
        // A thread loses a reply when that is deleted.
        let parents: BTreeSet<String> = fold
            .slots
            .values()
            .filter_map(|slot| slot.row.thread.as_ref())
            .filter(|parent| !fold.slots.contains_key(*parent) && !sent.contains(parent.as_str()))
            .map(ToString::to_string)
            .collect();
        fold.read(tables, &parents.into_iter().collect::<Vec<_>>())
            .await?;
        Ok(fold)
    }

    async fn read(&mut self, tables: &mut AnyConnection, ids: &[String]) -> Result<(), ViewError> {
        for row in READ.fetch(tables, ids).await? {
            let row = Row::read(&row)?;
            let state = State::Stored;
            self.slots.insert(row.id.clone(), Slot { row, state });
        }
        Ok(())
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), ViewError> {
        match &entry.event {
            Event::Message(event) => self.message(entry, event),
            Event::Account(event) => self.account(entry, event),
            Event::Room(RoomEvent::ChannelPruned { pruned, .. }) => {
                for pruned in pruned {
                    self.remove(&pruned.message, entry)?;
                    self.remains.remove(&pruned.message);
                    self.pruned.insert(pruned.message.clone());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn account(&mut self, entry: &Entry, event: &AccountEvent) -> Result<(), ViewError> {
        let profile = match event {
            AccountEvent::UserRegistered { profile, .. }
            | AccountEvent::UserProfileChanged { profile } => profile.value(),
            AccountEvent::UserDeleted { .. } => None,
            _ => return Ok(()),
        };
        let id = UserId::new(entry.stream.key());
        let name = if erasure(entry) == Some(MessageErasure::Unlink) {
            Name::unlinked()?
        } else {
            Name::of(&id, profile)?
        };
        self.authors.insert(id, name);
        Ok(())
    }

    fn message(&mut self, entry: &Entry, event: &MessageEvent) -> Result<(), ViewError> {
        use MessageEvent as E;
        let id = MessageId::new(entry.stream.key());
        let at = entry.at;
        match event {
            E::MessageSent { sent, content } => {
                let row = Row::sent(id.clone(), sent, content.value(), content.key(), entry)?;
                return self.send(id, row, sent);
            }
            E::MessageDeleted {
                show_deleted: false,
                erased,
                ..
            } => {
                if erased.is_none()
                    && let Some(Slot { row, .. }) = self.slots.get(&id)
                {
                    let remains = Remains {
                        room: row.room.clone(),
                        sender: row.sender.clone(),
                        key: row.key,
                    };
                    self.remains.insert(id.clone(), remains);
                }
                return self.remove(&id, entry);
            }
            E::MessageReported { .. } => return Ok(()),
            _ => {}
        }
        let Some(slot) = self.slots.get_mut(&id) else {
            return Ok(());
        };
        if slot.state == State::Stored {
            slot.state = State::Changed;
        }
        let row = &mut slot.row;
        match event {
            E::MessageEdited {
                editor,
                mentions,
                content,
                at: edited,
                ..
            } => {
                let content = content.value().cloned().unwrap_or_default();
                // Whoever was unlinked is named by nothing that comes later.
                let unlinked = row.sender.as_str() == SYSTEM_ACCOUNT;
                row.change(at, |wire| {
                    let removed = wire
                        .get("alias")
                        .filter(|alias| unlinked && *alias == REMOVED_NAME)
                        .cloned();
                    wire::set_content(wire, &content)?;
                    if let Some(removed) = removed {
                        wire.insert("alias".into(), removed);
                    }
                    wire.insert("editedAt".into(), edited.iso().into());
                    wire.insert("editedBy".into(), wire::person(editor));
                    Ok(())
                })?;
                self.named.insert((editor.clone(), id.clone()));
                let called = mentions.users.iter();
                self.named
                    .extend(called.map(|user| (user.clone(), id.clone())));
                self.mentioned.insert(id, mentions.users.clone());
            }
            E::MessageDeleted {
                by, at: removed, ..
            } => {
                let parent = row.thread.clone().filter(|_| row.counts);
                row.counts = false;
                row.system = Some("rm".to_owned());
                row.about = None;
                row.pinned = false;
                row.has_files = false;
                row.reactions.clear();
                row.change(at, |wire| {
                    wire::set_removed(wire, by, *removed);
                    Ok(())
                })?;
                self.named.insert((by.clone(), id.clone()));
                self.mentioned.insert(id, Vec::new());
                self.lose_reply(parent.as_ref(), at)?;
            }
            E::ReactionAdded { user, reaction, .. } => {
                if let Some(reaction) = reaction.value() {
                    row.reactions.push((reaction.clone(), user.clone()));
                }
                row.change(at, |_| Ok(()))?;
                // Also where the reaction is erased by now: it was not, where this view took it in before.
                self.named.insert((user.clone(), id));
            }
            E::ReactionRemoved { user, reaction, .. } => {
                row.reactions
                    .retain(|(given, by)| Some(given) != reaction.value() || by != user);
                row.change(at, |_| Ok(()))?;
            }
            E::MessagePinned { by, at: pinned, .. } => {
                row.pinned = true;
                row.change(at, |wire| {
                    set_pin(wire, true, by, *pinned);
                    Ok(())
                })?;
                self.named.insert((by.clone(), id));
            }
            E::MessageUnpinned { by, .. } => {
                row.pinned = false;
                row.change(at, |wire| {
                    set_pin(wire, false, by, at);
                    Ok(())
                })?;
                self.named.insert((by.clone(), id));
            }
            E::MessageStarred { user, .. } => {
                row.stars += 1;
                row.change(at, |_| Ok(()))?;
                self.stars.insert((user.clone(), id), true);
            }
            E::MessageUnstarred { user, .. } => {
                row.stars -= 1;
                row.change(at, |_| Ok(()))?;
                self.stars.insert((user.clone(), id), false);
            }
            E::ThreadFollowed { user, .. } => {
                row.change(at, |wire| {
                    follow(wire, [user]);
                    Ok(())
                })?;
            }
            E::ThreadUnfollowed { user, .. } => {
                row.change(at, |wire| {
                    if let Some(Value::Array(replies)) = wire.get_mut("replies") {
                        replies.retain(|reply| reply != user.as_str());
                    }
                    Ok(())
                })?;
            }
            E::MessageSent { .. } | E::MessageReported { .. } => {}
        }
        self.taken_apart(&MessageId::new(entry.stream.key()))
    }

    /// Notes that a message may have been taken apart, and puts together what has been for long.
    fn taken_apart(&mut self, id: &MessageId) -> Result<(), ViewError> {
        if self.apart.contains(id) {
            return Ok(());
        }
        self.apart.push_back(id.clone());
        if self.apart.len() > APART
            && let Some(oldest) = self.apart.pop_front()
            && let Some(slot) = self.slots.get_mut(&oldest)
        {
            slot.row.wire.settle()?;
        }
        Ok(())
    }

    fn send(&mut self, id: MessageId, mut row: Row, sent: &Sent) -> Result<(), ViewError> {
        let at = row.updated;
        let thread = sent.thread.as_ref();
        row.counts = thread.is_some_and(|thread| self.slots.contains_key(&thread.parent));
        let named = sent.mentions.users.iter().chain(&row.about);
        self.named
            .extend(named.map(|user| (user.clone(), id.clone())));
        if !sent.mentions.users.is_empty() {
            self.mentioned
                .insert(id.clone(), sent.mentions.users.clone());
        }
        self.sent.push(id.clone());
        let state = State::New;
        self.slots.insert(id, Slot { row, state });
        let Some(thread) = &sent.thread else {
            return Ok(());
        };
        let Some(parent) = self.slots.get_mut(&thread.parent) else {
            return Ok(());
        };
        parent.touch();
        let parent = &mut parent.row;
        parent.replies += 1;
        parent.last_reply = parent.last_reply.max(Some(sent.at));
        let (replies, last) = (parent.replies, parent.last_reply);
        parent.change(at, |wire| {
            wire.insert("tcount".into(), replies.into());
            wire.insert("tlm".into(), last.map(Timestamp::iso).into());
            follow(wire, &thread.followers);
            Ok(())
        })?;
        self.taken_apart(&thread.parent)
    }

    fn remove(&mut self, id: &MessageId, entry: &Entry) -> Result<(), ViewError> {
        let Some(slot) = self.slots.remove(id) else {
            return Ok(());
        };
        let row = slot.row;
        self.deleted.insert(
            id.clone(),
            Deleted {
                room: row.room.clone(),
                thread: row.thread.clone(),
                at: entry.at,
                position: entry.position,
            },
        );
        self.lose_reply(row.thread.as_ref().filter(|_| row.counts), entry.at)?;
        self.stars.retain(|(_, message), _| message != id);
        self.mentioned.remove(id);
        self.named.retain(|(_, message)| message != id);
        if slot.state != State::New {
            self.removed.push(row);
        }
        Ok(())
    }

    fn lose_reply(&mut self, thread: Option<&MessageId>, at: Timestamp) -> Result<(), ViewError> {
        let Some(thread) = thread else {
            return Ok(());
        };
        let Some(parent) = self.slots.get_mut(thread) else {
            return Ok(());
        };
        parent.touch();
        let parent = &mut parent.row;
        self.shrunk.insert(parent.id.clone());
        parent.replies -= 1;
        let replies = parent.replies;
        if replies == 0 {
            parent.last_reply = None;
        }
        parent.change(at, |wire| {
            if replies == 0 {
                wire.shift_remove("tcount");
                wire.shift_remove("tlm");
            } else {
                wire.insert("tcount".into(), replies.into());
            }
            Ok(())
        })?;
        self.taken_apart(thread)
    }

    async fn write(mut self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        self.name_people(tables).await?;

        let authors: Vec<_> = self.authors.iter().collect();
        let changed = authors
            .into_iter()
            .filter(|(_, name)| !name.wire.is_empty());
        let changed: Vec<_> = changed.collect();
        AUTHOR
            .write(tables, &changed, |(id, name), values| {
                values.text(id);
                values.text(&name.author.username);
                values.text(&name.wire);
            })
            .await?;

        self.delete_rows(tables).await?;
        let sent = self.sent.iter().filter_map(|id| self.slots.get(id));
        let new: Vec<&Row> = sent.map(|slot| &slot.row).collect();
        WRITE
            .write(tables, &new, |row, values| row.bind(values))
            .await?;
        let mut rewritten: Vec<&Row> = self
            .slots
            .values()
            .filter(|slot| slot.state == State::Changed)
            .map(|slot| &slot.row)
            .collect();
        rewritten.sort_by_key(|row| row.position);
        REWRITE
            .write(tables, &rewritten, |row, values| row.bind(values))
            .await?;
        self.find_last_replies(tables).await?;
        let mut totals: BTreeMap<&RoomId, i64> = BTreeMap::new();
        for row in &self.removed {
            *totals.entry(&row.room).or_default() -= 1;
        }
        for id in &self.sent {
            if let Some(slot) = self.slots.get(id) {
                *totals.entry(&slot.row.room).or_default() += 1;
            }
        }
        let totals: Vec<_> = totals.into_iter().filter(|(_, more)| *more != 0).collect();
        TOTAL
            .write(tables, &totals, |(room, more), values| {
                values.text(room);
                values.number(*more);
            })
            .await?;
        self.write_marks(tables).await?;
        self.write_remains(tables).await?;
        let deleted: Vec<_> = self.deleted.iter().collect();
        DELETED
            .write(tables, &deleted, |(id, deleted), values| {
                values.text(id);
                values.text(&deleted.room);
                values.maybe_text(deleted.thread.as_ref());
                values.time(deleted.at);
                values.position(deleted.position);
            })
            .await?;
        let renamed = self.renamed();
        if !renamed.is_empty() {
            naming::begin(tables, &renamed).await?;
            naming::go_on(tables).await?;
        }
        Ok(())
    }

    /// Whoever has another name now than the table has.
    fn renamed(&self) -> Vec<UserId> {
        let changed = |(id, before): &(&UserId, &Option<String>)| {
            let now = self.authors.get(*id).map(|name| &name.wire);
            now.is_some() && now != before.as_ref()
        };
        let renamed = self.profiles.iter().filter(changed);
        renamed.map(|(id, _)| id.clone()).collect()
    }

    /// Threads that lost replies: which is the last one now, the rows that were written tell.
    async fn find_last_replies(&mut self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        let mut threads: Vec<MessageId> = std::mem::take(&mut self.shrunk).into_iter().collect();
        threads.retain(|id| self.slots.get(id).is_some_and(|slot| slot.row.replies > 0));
        let mut found = Vec::with_capacity(threads.len());
        for row in LAST_REPLIES.fetch(tables, &threads).await? {
            let last = row.try_get::<Option<i64>, _>(1)?.map(Timestamp);
            found.push((MessageId::new(row.try_get::<String, _>(0)?), last));
        }
        let mut rewritten = BTreeSet::new();
        for (id, last) in found {
            if let Some(Slot { row, .. }) = self.slots.get_mut(&id)
                && row.last_reply != last
            {
                row.set_last_reply(last)?;
                rewritten.insert(id);
            }
        }
        let rewritten = rewritten.iter().filter_map(|id| self.slots.get(id));
        let rewritten: Vec<&Row> = rewritten.map(|slot| &slot.row).collect();
        REWRITE
            .write(tables, &rewritten, |row, values| row.bind(values))
            .await
    }

    async fn delete_rows(&self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        if self.removed.is_empty() {
            return Ok(());
        }
        let ids: Vec<&MessageId> = self.removed.iter().map(|row| &row.id).collect();
        for statement in [
            "DELETE FROM message WHERE id IN",
            "DELETE FROM named WHERE id IN",
        ] {
            ByKey::new(statement).execute(tables, &ids).await?;
        }
        for row in &self.removed {
            for statement in [
                "DELETE FROM star WHERE position = $1",
                "DELETE FROM mention WHERE position = $1",
            ] {
                sql::query(statement)
                    .bind(row.position.0 as i64)
                    .execute(&mut *tables)
                    .await?;
            }
        }
        Ok(())
    }

    async fn write_remains(&self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        let pruned: Vec<_> = self.pruned.iter().collect();
        ERASED.execute(tables, &pruned).await?;
        let remains: Vec<_> = self.remains.iter().collect();
        REMAIN
            .write(tables, &remains, |(id, remains), values| {
                values.text(id);
                values.text(&remains.room);
                values.text(&remains.sender);
                values.number(remains.key.0 as i64);
            })
            .await
    }

    /// Stars, mentions, and who is named where.
    async fn write_marks(&self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        let mut starred = Vec::new();
        for ((user, id), stands) in &self.stars {
            let Some(Slot { row, .. }) = self.slots.get(id) else {
                continue;
            };
            if *stands {
                starred.push((user, row));
            } else {
                sql::query(
                    "DELETE FROM star \
                     WHERE room = $1 AND user_id = $2 AND at = $3 AND position = $4",
                )
                .bind(row.room.to_string())
                .bind(user.to_string())
                .bind(row.at.0)
                .bind(row.position.0 as i64)
                .execute(&mut *tables)
                .await?;
            }
        }
        let bind = |(user, row): &(&UserId, &Row), values: &mut crate::rows::Values| {
            values.text(&row.room);
            values.text(user);
            values.time(row.at);
            values.position(row.position);
        };
        STAR.write(tables, &starred, bind).await?;

        let mut mentions = Vec::new();
        for (id, users) in &self.mentioned {
            let Some(Slot { row, state }) = self.slots.get(id) else {
                continue;
            };
            if *state != State::New {
                sql::query("DELETE FROM mention WHERE position = $1")
                    .bind(row.position.0 as i64)
                    .execute(&mut *tables)
                    .await?;
            }
            let users: BTreeSet<_> = users.iter().collect();
            mentions.extend(users.into_iter().map(|user| (user, row)));
        }
        MENTION.write(tables, &mentions, bind).await?;

        let named: Vec<_> = self.named.iter().collect();
        NAMED
            .write(tables, &named, |(user, id), values| {
                values.text(user);
                values.text(id);
            })
            .await
    }

    /// Writes the names of people into the rows that name any and are written anyway.
    async fn name_people(&mut self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        let naming_somebody: HashSet<&MessageId> = self.named.iter().map(|(_, id)| id).collect();
        let mut naming: Vec<MessageId> = Vec::new();
        let mut unknown = BTreeSet::new();
        let mut pace = Pace::new();
        for (id, slot) in &self.slots {
            // A plain message that was only sent names nobody, and is not looked into.
            let plain = slot.state == State::New
                && slot.row.changed.is_none()
                && !naming_somebody.contains(id);
            if plain || slot.state == State::Stored {
                continue;
            }
            let people = slot.row.people()?;
            pace.keep().await;
            unknown.extend(
                people
                    .into_iter()
                    .filter(|user| !self.authors.contains_key(user)),
            );
            naming.push(id.clone());
        }
        let mut names = Names::known(tables, unknown).await?;
        for (id, name) in &self.authors {
            names.add(id.clone(), name.author.clone());
        }
        for id in naming {
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            slot.row.set_names(|user| names.of(user))?;
            slot.touch();
            pace.keep().await;
        }
        Ok(())
    }
}

/// How people are called whom messages name beside their authors.
#[derive(Default)]
pub(super) struct Names(HashMap<UserId, Author>);

impl Names {
    /// Those of them that are known.
    pub async fn known(
        tables: &mut AnyConnection,
        users: BTreeSet<UserId>,
    ) -> Result<Self, ViewError> {
        let users: Vec<_> = users.into_iter().collect();
        let mut names = Self::default();
        for row in AUTHORS.fetch(tables, &users).await? {
            let author = hansard_domain::json::from_str(&row.try_get::<String, _>(1)?)?;
            names.add(UserId::new(row.try_get::<String, _>(0)?), author);
        }
        Ok(names)
    }

    /// Somebody, as it or the one that is shown instead of it is called.
    fn add(&mut self, id: UserId, author: Author) {
        let author = Author {
            id: id.clone(),
            username: sql::clean(author.username),
            name: author.name.map(sql::clean),
        };
        self.0.insert(id, author);
    }

    /// Whose name is not known is called by its id.
    pub fn of(&self, user: &UserId) -> Author {
        self.0.get(user).cloned().unwrap_or_else(|| Author {
            id: user.clone(),
            username: user.to_string(),
            name: None,
        })
    }
}

impl Slot {
    fn touch(&mut self) {
        if self.state == State::Stored {
            self.state = State::Changed;
        }
    }
}

impl Name {
    /// Of somebody instead of whom the server's own account is shown.
    fn unlinked() -> Result<Self, ViewError> {
        Self::new(author_unlinked())
    }

    /// `None` for somebody whose personal data is gone.
    fn of(id: &UserId, profile: Option<&Profile>) -> Result<Self, ViewError> {
        Self::new(author(id, profile))
    }

    fn new(author: Author) -> Result<Self, ViewError> {
        Ok(Self {
            wire: serde_json::to_string(&author)?,
            author,
        })
    }
}

/// How an account is named beside what it said; `None` for one whose personal data is gone.
pub fn author(id: &UserId, profile: Option<&Profile>) -> Author {
    match profile {
        Some(profile) => Author {
            id: id.clone(),
            username: profile.username.clone(),
            name: profile.name.clone(),
        },
        None => removed(id),
    }
}

/// Who is named instead of an account that was deleted and unlinked from what it said.
pub fn author_unlinked() -> Author {
    Author {
        id: UserId::new(SYSTEM_ACCOUNT),
        username: SYSTEM_ACCOUNT.to_owned(),
        name: None,
    }
}

/// Somebody whose account is gone with its personal data.
pub(super) fn removed(id: &UserId) -> Author {
    Author {
        id: id.clone(),
        username: format!("removed-{id}"),
        name: Some(REMOVED_NAME.to_owned()),
    }
}

fn set_pin(wire: &mut Map<String, Value>, pinned: bool, by: &UserId, at: Timestamp) {
    wire.insert("pinned".into(), pinned.into());
    wire.insert("pinnedAt".into(), at.iso().into());
    wire.insert("pinnedBy".into(), wire::person(by));
}

/// Adds followers to the thread that hangs on a message.
fn follow<'a>(wire: &mut Map<String, Value>, users: impl IntoIterator<Item = &'a UserId>) {
    let replies = wire.entry("replies").or_insert_with(|| json!([]));
    if let Value::Array(replies) = replies {
        for user in users {
            if !replies.iter().any(|reply| reply == user.as_str()) {
                replies.push(user.as_str().into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hansard_domain::message::Content;
    use hansard_domain::seal::Private;

    use super::*;
    use crate::testing::Story;

    fn all_apart(fold: &Fold) -> usize {
        let apart = |slot: &&Slot| slot.row.wire.is_apart();
        fold.slots.values().filter(apart).count()
    }

    #[test]
    fn a_message_is_taken_apart_once_however_often_it_changes_and_few_are_at_a_time() {
        let mut story = Story::default();
        let ids: Vec<String> = (0..40).map(|number| format!("m{number}")).collect();
        for id in &ids {
            let sent = story.message("general", "mary");
            story.wrote(id, sent, "a text");
        }
        let mut fold = Fold::default();
        let mut taken = 0;
        let mut apply = |fold: &mut Fold, story: &mut Story| {
            for entry in &story.entries[taken..] {
                fold.apply(entry).unwrap();
            }
            taken = story.entries.len();
        };
        apply(&mut fold, &mut story);
        assert_eq!(all_apart(&fold), 0, "nothing has changed yet");
        let edited = || MessageEvent::MessageEdited {
            room: "general".into(),
            editor: "mary".into(),
            mentions: Default::default(),
            at: Timestamp(5),
            content: Private::new(KeyId(3), Content::default()),
        };
        for _ in 0..5 {
            story.on(&ids[0], edited());
            apply(&mut fold, &mut story);
            assert!(fold.slots[&MessageId::new(&ids[0])].row.wire.is_apart());
        }
        for id in &ids {
            story.on(id, edited());
            apply(&mut fold, &mut story);
            assert!(all_apart(&fold) <= APART);
        }
        assert_eq!(all_apart(&fold), APART);
    }
}
