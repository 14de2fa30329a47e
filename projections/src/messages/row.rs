//! A row of the table `message`, and how it is read and written.

use std::time::Duration;

use hansard_domain::account::Author;
use hansard_domain::event::Entry;
use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::log::Position;
use hansard_domain::message::{Content, Sent};
use hansard_domain::vault::KeyId;
use serde_json::{Map, Value};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::wire::{self, Columns};
use crate::rows::{ByKey, Insert, Values};
use crate::view::ViewError;

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub room: RoomId,
    pub at: Timestamp,
    pub position: Position,
    pub id: MessageId,
    pub updated: Timestamp,
    pub changed: Option<Timestamp>,
    pub sender: UserId,
    pub key: KeyId,
    pub system: Option<String>,
    /// Whom a system message is about.
    pub about: Option<UserId>,
    pub thread: Option<MessageId>,
    pub main: bool,
    pub pinned: bool,
    pub discussion: bool,
    pub has_files: bool,
    pub stars: i64,
    pub counts: bool,
    pub replies: i64,
    pub last_reply: Option<Timestamp>,
    pub reactions: Vec<(String, UserId)>,
    pub wire: Shape,
}

/// A message as it is answered, without its author: a text of JSON, which the first of several changes takes
/// apart. It is put together again but once.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// What it was before it was taken apart.
    text: String,
    fields: Option<Map<String, Value>>,
}

impl From<String> for Shape {
    fn from(text: String) -> Self {
        Self { text, fields: None }
    }
}

impl Shape {
    pub fn is_apart(&self) -> bool {
        self.fields.is_some()
    }

    /// Takes it apart.
    fn apart(&mut self) -> Result<&mut Map<String, Value>, ViewError> {
        match &mut self.fields {
            Some(fields) => Ok(fields),
            none => Ok(none.insert(hansard_domain::json::object(&self.text)?)),
        }
    }

    /// Puts it together.
    pub fn settle(&mut self) -> Result<(), ViewError> {
        if let Some(fields) = self.fields.take() {
            self.text = serde_json::to_string(&fields)?;
        }
        Ok(())
    }

    /// Changes it, and leaves it as much in one piece as it was.
    fn change(&mut self, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), ViewError> {
        let whole = !self.is_apart();
        change(self.apart()?);
        if whole {
            self.settle()?;
        }
        Ok(())
    }

    pub fn into_fields(mut self) -> Result<Map<String, Value>, ViewError> {
        self.apart().map(std::mem::take)
    }

    pub fn into_text(mut self) -> Result<String, ViewError> {
        self.settle()?;
        Ok(self.text)
    }
}

/// A message can show a time other than that of its event by so much before it counts as changed
/// (clients that catch up look so far back).
pub(super) const SKEW: Duration = Duration::from_secs(60);

pub(super) const WRITE: Insert = Insert::into(
    "message",
    &[
        "room",
        "at",
        "position",
        "id",
        "updated",
        "changed",
        "sender",
        "key_id",
        "system",
        "about",
        "thread",
        "main",
        "pinned",
        "discussion",
        "has_files",
        "stars",
        "counts",
        "replies",
        "last_reply",
        "reactions",
        "wire",
    ],
);

pub(super) const REWRITE: Insert = WRITE.on_conflict(
    "ON CONFLICT (room, at, position) DO UPDATE SET updated = excluded.updated, \
     changed = excluded.changed, system = excluded.system, about = excluded.about, \
     pinned = excluded.pinned, has_files = excluded.has_files, stars = excluded.stars, \
     counts = excluded.counts, replies = excluded.replies, \
     last_reply = excluded.last_reply, reactions = excluded.reactions, wire = excluded.wire",
);

/// The same where somebody else is to have sent it.
pub(super) const REPLACE: Insert = WRITE.on_conflict(
    "ON CONFLICT (room, at, position) DO UPDATE SET updated = excluded.updated, \
     changed = excluded.changed, sender = excluded.sender, about = excluded.about, \
     reactions = excluded.reactions, wire = excluded.wire",
);

pub(super) const READ: ByKey = ByKey::new(
    "SELECT room, at, position, id, updated, changed, sender, key_id, system, about, thread, main, \
     pinned, discussion, has_files, stars, counts, replies, last_reply, reactions, wire \
     FROM message WHERE id IN",
);

impl Row {
    pub fn sent(
        id: MessageId,
        sent: &Sent,
        content: Option<&Content>,
        key: KeyId,
        entry: &Entry,
    ) -> Result<Self, ViewError> {
        let wire = match content {
            Some(content) => wire::sent(&id, sent, content, entry)?,
            None => wire::sent(&id, sent, &Content::default(), entry)?,
        };
        let late = entry.at.is_further_than(SKEW, sent.at);
        Ok(Self {
            room: sent.room.clone(),
            at: sent.at,
            position: entry.position,
            id,
            updated: entry.at,
            changed: late.then_some(entry.at),
            sender: sent.sender.clone(),
            key,
            system: sent.system.clone(),
            about: about(sent, content),
            thread: sent.thread.as_ref().map(|thread| thread.parent.clone()),
            main: sent.thread.as_ref().is_none_or(|thread| thread.shown),
            pinned: false,
            discussion: sent.discussion.is_some(),
            has_files: sent.has_files,
            stars: 0,
            counts: false,
            replies: 0,
            last_reply: None,
            reactions: Vec::new(),
            wire: wire.into(),
        })
    }

    pub fn read(row: &AnyRow) -> Result<Self, ViewError> {
        let reactions: Option<String> = row.try_get("reactions")?;
        let room = RoomId::new(row.try_get::<String, _>("room")?);
        let id = MessageId::new(row.try_get::<String, _>("id")?);
        let at = Timestamp(row.try_get("at")?);
        let updated = Timestamp(row.try_get("updated")?);
        let columns = Columns {
            id: &id,
            room: &room,
            at,
            updated,
        };
        let wire = columns.whole(row.try_get("wire")?).into();
        Ok(Self {
            room,
            at,
            position: Position(row.try_get::<i64, _>("position")? as u64),
            id,
            updated,
            changed: row.try_get::<Option<i64>, _>("changed")?.map(Timestamp),
            sender: UserId::new(row.try_get::<String, _>("sender")?),
            key: KeyId(row.try_get::<i64, _>("key_id")? as u64),
            system: row.try_get("system")?,
            about: row.try_get::<Option<String>, _>("about")?.map(UserId::new),
            thread: row
                .try_get::<Option<String>, _>("thread")?
                .map(MessageId::new),
            main: row.try_get::<i64, _>("main")? != 0,
            pinned: row.try_get::<i64, _>("pinned")? != 0,
            discussion: row.try_get::<i64, _>("discussion")? != 0,
            has_files: row.try_get::<i64, _>("has_files")? != 0,
            stars: row.try_get("stars")?,
            counts: row.try_get::<i64, _>("counts")? != 0,
            replies: row.try_get("replies")?,
            last_reply: row.try_get::<Option<i64>, _>("last_reply")?.map(Timestamp),
            reactions: match reactions {
                Some(reactions) => hansard_domain::json::from_str(&reactions)?,
                None => Vec::new(),
            },
            wire,
        })
    }

    pub fn bind(&self, values: &mut Values) {
        values.text(&self.room);
        values.time(self.at);
        values.position(self.position);
        values.text(&self.id);
        values.time(self.updated);
        values.maybe_time(self.changed);
        values.text(&self.sender);
        values.number(self.key.0 as i64);
        values.maybe_text(self.system.as_ref());
        values.maybe_text(self.about.as_ref());
        values.maybe_text(self.thread.as_ref());
        values.flag(self.main);
        values.flag(self.pinned);
        values.flag(self.discussion);
        values.flag(self.has_files);
        values.number(self.stars);
        values.flag(self.counts);
        values.number(self.replies);
        values.maybe_time(self.last_reply);
        let reactions = (!self.reactions.is_empty())
            .then(|| serde_json::to_string(&self.reactions).unwrap_or_default());
        values.maybe_text(reactions);
        let wire = match &self.wire.fields {
            None => self.wire.text.clone(),
            // A value of JSON can always be written.
            Some(fields) => serde_json::to_string(fields).unwrap_or_default(),
        };
        let columns = Columns {
            id: &self.id,
            room: &self.room,
            at: self.at,
            updated: self.updated,
        };
        values.text(columns.stored(wire));
    }

    /// Puts the time of the last reply of the thread that hangs on it where one stands.
    pub fn set_last_reply(&mut self, last: Option<Timestamp>) -> Result<(), ViewError> {
        self.last_reply = last;
        self.wire.change(|wire| {
            wire.insert("tlm".into(), last.map(Timestamp::iso).into());
        })
    }

    /// Changes the wire, at a time that clients which catch up see. Leaves it apart: more may follow.
    pub fn change(
        &mut self,
        at: Timestamp,
        change: impl FnOnce(&mut Map<String, Value>) -> serde_json::Result<()>,
    ) -> Result<(), ViewError> {
        let wire = self.wire.apart()?;
        change(wire)?;
        wire.insert("_updatedAt".into(), at.iso().into());
        self.updated = at;
        self.changed = Some(at);
        Ok(())
    }

    /// Whom it names beside its author.
    pub fn people(&self) -> Result<Vec<UserId>, ViewError> {
        let mut people: Vec<_> = match &self.wire.fields {
            Some(fields) => wire::people(fields).collect(),
            None => wire::people(&hansard_domain::json::object(&self.wire.text)?).collect(),
        };
        people.extend(self.reactions.iter().map(|(_, user)| user.clone()));
        people.extend(self.about.clone());
        Ok(people)
    }

    /// Writes the names of those that it names beside its author.
    pub fn set_names(&mut self, named: impl Fn(&UserId) -> Author) -> Result<(), ViewError> {
        let (about, reactions) = (&self.about, &self.reactions);
        self.wire.change(|wire| {
            if let Some(about) = about {
                wire::set_about(wire, &named(about).username);
            }
            wire::set_names(wire, reactions, named);
        })
    }
}

/// System messages that are about the one they are from: it came, or left.
const ABOUT_SENDER: [&str; 3] = ["uj", "ut", "ul"];

/// Whom a system message is about, as far as it says so: earlier versions recorded the username alone.
fn about(sent: &Sent, content: Option<&Content>) -> Option<UserId> {
    let kind = sent.system.as_deref()?;
    let about = content.and_then(|content| content.about.clone());
    about.or_else(|| ABOUT_SENDER.contains(&kind).then(|| sent.sender.clone()))
}
