//! What a batch of events does to the index.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use hansard_domain::account::{AccountEvent, MessageErasure, SYSTEM_ACCOUNT};
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::log::Position;
use hansard_domain::message::{Content, MessageEvent, Sent};
use hansard_domain::room::RoomEvent;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::index;
use super::question::Mark;
use super::words::{beginnings, words};
use crate::rows::{ByKey, Insert};
use crate::view::ViewError;

const ENTRY: Insert = Insert::into("entry", &["number", "id", "text", "scope"]);
const READ: ByKey = ByKey::new("SELECT number, id, text, scope FROM entry WHERE id IN");
const DELETE: ByKey = ByKey::new("DELETE FROM entry WHERE id IN");

/// How many low bits of an entry's number come from its position in the log.
const POSITION_BITS: u32 = 22;

/// What is said is 5,000 letters at most, where the workspace does not allow more; attachments are up to
/// 256 KiB. Every word that is entered costs as much again when the message is changed or erased.
const MOST_INDEXED: usize = 16 << 10;

/// How often a word is entered of one text. FTS5's secure deletion leaves parts of lists of some hundred places
/// behind (seen with SQLite 3.54.1): what is erased would stay.
const MOST_TIMES: usize = 40;

/// How many messages of a room that is gone, or of somebody who is, are changed at once.
const CHUNK: i64 = 2_000;

pub(super) async fn apply(
    tables: &mut AnyConnection,
    entries: &[Arc<Entry>],
) -> Result<(), ViewError> {
    for part in entries.split_inclusive(|entry| deletes_room(entry) || unlinks(&entry.event)) {
        let mut fold = Fold::load(tables, part).await?;
        for entry in part {
            fold.apply(entry);
        }
        fold.write(tables).await?;
        match part.last() {
            Some(last) if deletes_room(last) => {
                forget_room(tables, &RoomId::new(last.stream.key())).await?;
            }
            Some(last) if unlinks(&last.event) => {
                unlink(tables, &UserId::new(last.stream.key())).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The number of the first message that could have been sent at a time. Numbers sort by the time a
/// message shows, then by its place in the log; two messages of one millisecond would have to lie
/// four million events apart to share one.
pub(super) fn number_at(at: Timestamp) -> i64 {
    at.0.clamp(i64::MIN >> POSITION_BITS, i64::MAX >> POSITION_BITS) << POSITION_BITS
}

fn number(at: Timestamp, position: Position) -> i64 {
    number_at(at) | (position.0 & ((1 << POSITION_BITS) - 1)) as i64
}

/// What the words of ids begin with.
const ROOM: char = 'r';
const SENDER: char = 'u';

/// The word for a room: its id in hexadecimal, because the index knows no case and no punctuation.
pub(super) fn room_word(room: &RoomId) -> String {
    hex(ROOM, room.as_str())
}

pub(super) fn sender_word(sender: &UserId) -> String {
    hex(SENDER, sender.as_str())
}

fn hex(kind: char, id: &str) -> String {
    let mut word = String::with_capacity(1 + id.len() * 2);
    word.push(kind);
    for byte in id.bytes() {
        // Writing to a string does not fail.
        let _ = write!(word, "{byte:02x}");
    }
    word
}

fn deletes_room(entry: &Entry) -> bool {
    matches!(entry.event, Event::Room(RoomEvent::RoomDeleted { .. }))
}

/// Whether the server's own account is shown from now on instead of somebody who is gone.
pub(super) fn unlinks(event: &Event) -> bool {
    matches!(
        event,
        Event::Account(AccountEvent::UserDeleted {
            messages: MessageErasure::Unlink,
            ..
        })
    )
}

/// What stands in the index of a message.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub number: i64,
    pub text: String,
    /// Words: that of the room, that of the sender, and one for each thing that the message has.
    pub scope: String,
}

impl Row {
    /// From the columns `number, id, text, scope`.
    pub fn read(row: &AnyRow) -> Result<(MessageId, Self), ViewError> {
        let id = MessageId::new(row.try_get::<String, _>(1)?);
        let row = Self {
            number: row.try_get(0)?,
            text: row.try_get(2)?,
            scope: spelled_out(row.try_get(3)?),
        };
        Ok((id, row))
    }
}

/// In front of an id that stands in a scope for its word, which has twice as many letters.
const ID: char = '=';

/// A scope as it is stored.
fn shortened(scope: &str) -> String {
    let mut words = scope.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for word in words.iter_mut().take(2) {
        let digits = word.get(1..).unwrap_or_default();
        let id: Option<String> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
            .map(|byte| byte.filter(u8::is_ascii_alphanumeric).map(char::from))
            .collect();
        if let Some(id) = id {
            *word = format!("{ID}{id}");
        }
    }
    words.join(" ")
}

fn spelled_out(stored: String) -> String {
    if !stored.contains(ID) {
        return stored;
    }
    let words = stored
        .split(' ')
        .zip(0..)
        .map(|(word, place)| match word.strip_prefix(ID) {
            Some(id) => hex(if place == 0 { ROOM } else { SENDER }, id),
            None => word.to_owned(),
        });
    words.collect::<Vec<_>>().join(" ")
}

/// The rows that a batch touches: what stands in the index, and what shall.
#[derive(Default)]
struct Fold {
    before: HashMap<MessageId, Row>,
    after: BTreeMap<MessageId, Row>,
    touched: BTreeSet<MessageId>,
}

impl Fold {
    async fn load(tables: &mut AnyConnection, entries: &[Arc<Entry>]) -> Result<Self, ViewError> {
        let mut sent = HashSet::new();
        let mut wanted = BTreeSet::new();
        for entry in entries {
            match &entry.event {
                Event::Message(MessageEvent::MessageSent { .. }) => {
                    sent.insert(entry.stream.key());
                }
                Event::Message(
                    MessageEvent::MessageEdited { .. }
                    | MessageEvent::MessageDeleted { .. }
                    | MessageEvent::MessagePinned { .. }
                    | MessageEvent::MessageUnpinned { .. },
                ) => {
                    wanted.insert(entry.stream.key());
                }
                Event::Room(RoomEvent::ChannelPruned { pruned, .. }) => {
                    wanted.extend(pruned.iter().map(|pruned| pruned.message.as_str()));
                }
                _ => {}
            }
        }
        let wanted: Vec<&str> = wanted.into_iter().filter(|id| !sent.contains(id)).collect();
        let mut fold = Self::default();
        for row in READ.fetch(tables, &wanted).await? {
            let (id, row) = Row::read(&row)?;
            fold.before.insert(id.clone(), row.clone());
            fold.after.insert(id, row);
        }
        Ok(fold)
    }

    fn apply(&mut self, entry: &Entry) {
        use MessageEvent as E;
        match &entry.event {
            Event::Message(event) => {
                let id = MessageId::new(entry.stream.key());
                match event {
                    E::MessageSent { sent, content } => {
                        let content = content.value().filter(|_| sent.system.is_none());
                        if let Some(content) = content {
                            let row = Row {
                                number: number(sent.at, entry.position),
                                text: text(content),
                                scope: scope(sent, content),
                            };
                            self.after.insert(id, row);
                        }
                    }
                    E::MessageEdited { content, .. } => {
                        if let Some(content) = content.value() {
                            self.change(id, |row| {
                                row.text = text(content);
                                for (mark, has) in marks_of(content) {
                                    set(&mut row.scope, mark, has);
                                }
                            });
                        }
                    }
                    E::MessagePinned { .. } => {
                        self.change(id, |row| set(&mut row.scope, Mark::Pinned, true));
                    }
                    E::MessageUnpinned { .. } => {
                        self.change(id, |row| set(&mut row.scope, Mark::Pinned, false));
                    }
                    E::MessageDeleted { .. } => self.remove(&id),
                    _ => {}
                }
            }
            Event::Room(RoomEvent::ChannelPruned { pruned, .. }) => {
                for pruned in pruned {
                    self.remove(&pruned.message);
                }
            }
            _ => {}
        }
    }

    fn change(&mut self, id: MessageId, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.after.get_mut(&id) {
            change(row);
            self.touched.insert(id);
        }
    }

    fn remove(&mut self, id: &MessageId) {
        if self.after.remove(id).is_some() {
            self.touched.insert(id.clone());
        }
    }

    async fn write(self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        let forgotten: Vec<_> = self
            .touched
            .iter()
            .filter_map(|id| Some((id, self.before.get(id)?)))
            .collect();
        forget(tables, &forgotten).await?;
        let mut written: Vec<_> = self
            .after
            .iter()
            .filter(|(id, _)| self.touched.contains(*id) || !self.before.contains_key(*id))
            .collect();
        // The index writes what it has gathered whenever a number is not larger than the last.
        written.sort_unstable_by_key(|(_, row)| row.number);
        enter(tables, &written).await
    }
}

async fn forget(tables: &mut AnyConnection, rows: &[(&MessageId, &Row)]) -> Result<(), ViewError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut ordered = rows.to_vec();
    ordered.sort_unstable_by_key(|(_, row)| row.number);
    index::forget(tables, &ordered).await?;
    let ids: Vec<&MessageId> = rows.iter().map(|(id, _)| *id).collect();
    DELETE.execute(tables, &ids).await?;
    Ok(())
}

async fn forget_room(tables: &mut AnyConnection, room: &RoomId) -> Result<(), ViewError> {
    loop {
        let rows = scoped(tables, &room_word(room)).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = rows.iter().map(|(id, row)| (id, row)).collect();
        forget(tables, &rows).await?;
    }
}

/// Has what somebody said found as the server's own.
async fn unlink(tables: &mut AnyConnection, user: &UserId) -> Result<(), ViewError> {
    let (word, system) = (sender_word(user), sender_word(&UserId::new(SYSTEM_ACCOUNT)));
    loop {
        let mut rows = scoped(tables, &word).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let before: Vec<_> = rows.iter().map(|(id, row)| (id, row)).collect();
        forget(tables, &before).await?;
        for (_, row) in &mut rows {
            let words = row.scope.split(' ');
            let words = words.map(|it| if it == word { &*system } else { it });
            row.scope = words.collect::<Vec<_>>().join(" ");
        }
        let after: Vec<_> = rows.iter().map(|(id, row)| (id, row)).collect();
        enter(tables, &after).await?;
    }
}

async fn scoped(
    tables: &mut AnyConnection,
    word: &str,
) -> Result<Vec<(MessageId, Row)>, ViewError> {
    let found = index::scoped(tables, word, CHUNK).await?;
    found.iter().map(Row::read).collect()
}

/// Enters rows, which are in the order of their numbers.
async fn enter(tables: &mut AnyConnection, rows: &[(&MessageId, &Row)]) -> Result<(), ViewError> {
    ENTRY
        .write(tables, rows, |(id, row), values| {
            values.number(row.number);
            values.text(id);
            values.text(&row.text);
            values.text(shortened(&row.scope));
        })
        .await?;
    index::add(tables, rows).await
}

/// The members of an attachment that are read by people.
const READ_BY_PEOPLE: [&str; 4] = ["title", "text", "description", "author_name"];

/// Everything in a message that is found by its words: the first [`MOST_INDEXED`] bytes of it.
fn text(content: &Content) -> String {
    let mut text = content.text.clone();
    add_attachments(&mut text, content);
    let end = text.floor_char_boundary(MOST_INDEXED);
    text.truncate(end);
    without_repetitions(&text)
}

/// A text in which each word stands [`MOST_TIMES`] at most, without what else there is of it.
fn without_repetitions(text: &str) -> String {
    let starts: Vec<usize> = beginnings(text).collect();
    if starts.len() <= MOST_TIMES {
        return text.to_owned();
    }
    let mut times: HashMap<String, usize> = HashMap::new();
    let mut kept = text[..starts[0]].to_owned();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    for ((start, end), word) in starts.iter().copied().zip(ends).zip(words(text)) {
        let times = times.entry(word).or_default();
        *times += 1;
        if *times <= MOST_TIMES {
            kept.push_str(&text[start..end]);
        }
    }
    kept
}

fn add_attachments(text: &mut String, content: &Content) {
    for attachment in content.attachments.read() {
        let said = READ_BY_PEOPLE
            .iter()
            .filter_map(|field| attachment.get(*field)?.as_str());
        for said in said {
            text.push('\n');
            text.push_str(said);
        }
        let fields = attachment.get("fields").and_then(Value::as_array);
        for field in fields.into_iter().flatten() {
            for said in ["title", "value"] {
                if let Some(said) = field.get(said).and_then(Value::as_str) {
                    text.push('\n');
                    text.push_str(said);
                }
            }
        }
    }
}

fn scope(sent: &Sent, content: &Content) -> String {
    let mut scope = room_word(&sent.room);
    scope.push(' ');
    scope.push_str(&sender_word(&sent.sender));
    for (mark, has) in marks_of(content) {
        set(&mut scope, mark, has);
    }
    if sent.has_files {
        set(&mut scope, Mark::File, true);
    }
    set(&mut scope, Mark::Thread, sent.thread.is_some());
    scope
}

/// What a message's content says that it has.
fn marks_of(content: &Content) -> [(Mark, bool); 6] {
    let attachments = content.attachments.read();
    let any = |field: &str| {
        let mut all = attachments.iter();
        all.any(|attachment| attachment.get(field).is_some_and(|value| !value.is_null()))
    };
    [
        (Mark::Link, !content.urls.is_empty()),
        (Mark::File, any("title_link")),
        (Mark::Image, any("image_url")),
        (Mark::Audio, any("audio_url")),
        (Mark::Video, any("video_url")),
        (Mark::Attachment, !content.attachments.is_empty()),
    ]
}

fn set(scope: &mut String, mark: Mark, has: bool) {
    let word = mark.as_ref();
    let stands = scope.split(' ').any(|stands| stands == word);
    if has && !stands {
        scope.push(' ');
        scope.push_str(word);
    } else if !has && stands {
        *scope = scope
            .split(' ')
            .filter(|stands| *stands != word)
            .collect::<Vec<_>>()
            .join(" ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_stored_with_ids_instead_of_their_words() {
        for (room, sender, stored) in [
            (
                "GENERAL",
                "rocket.cat",
                "=GENERAL u726f636b65742e636174 link",
            ),
            ("Zz9", "a", "=Zz9 =a link"),
            ("a b", "é", "r612062 uc3a9 link"),
        ] {
            let (room, sender) = (
                room_word(&RoomId::new(room)),
                sender_word(&UserId::new(sender)),
            );
            let scope = format!("{room} {sender} link");
            assert_eq!(shortened(&scope), stored);
            assert_eq!(spelled_out(stored.to_owned()), scope);
        }
    }

    #[test]
    fn a_word_is_entered_so_often_at_most() {
        let text = format!(
            "one, {}two; Éa {}end.",
            "Éa! ".repeat(100),
            "ONE ".repeat(60)
        );
        let kept = without_repetitions(&text);
        let times = |wanted: &str| words(&kept).filter(|word| word == wanted).count();
        assert_eq!(times("ea"), MOST_TIMES);
        assert_eq!(times("one"), MOST_TIMES);
        assert_eq!((times("two"), times("end")), (1, 1));
        assert!(kept.starts_with("one, Éa! Éa! "), "{kept}");
        assert_eq!(without_repetitions("a few words."), "a few words.");
    }
}
