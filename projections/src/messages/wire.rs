//! A message as clients see it, but for its author.

use hansard_domain::account::Author;
use hansard_domain::event::Entry;
use hansard_domain::free::{Kept, KeptList, KeptObject};
use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::message::{Content, Sent};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A message in Rocket.Chat's fields; first those that [`Columns`] know.
#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "_id")]
    id: &'a MessageId,
    rid: &'a RoomId,
    ts: String,
    #[serde(rename = "_updatedAt")]
    updated: String,
    #[serde(flatten)]
    said: Said<'a>,
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    system: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tmid: Option<&'a MessageId>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tshow: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    drid: Option<&'a RoomId>,
    #[serde(skip_serializing_if = "Clone::clone")]
    groupable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bot: Option<Bot<'a>>,
}

/// The lists of most messages, as JSON.
const NONE_LISTED: &str = r#","urls":[],"mentions":[],"channels":[]"#;

/// What the other columns of a row say of its wire: a stored wire begins after it.
pub(super) struct Columns<'a> {
    pub id: &'a MessageId,
    pub room: &'a RoomId,
    pub at: Timestamp,
    pub updated: Timestamp,
}

impl Columns<'_> {
    /// How a wire of this row begins; `None` where the database would write it in another way.
    fn beginning(&self) -> Option<String> {
        let plain = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let dated = |at: Timestamp| (0..=LATEST_DATED).contains(&at.0);
        let plain = plain(self.id.as_str()) && plain(self.room.as_str());
        (plain && dated(self.at) && dated(self.updated)).then(|| {
            format!(
                r#"{{"_id":"{}","rid":"{}","ts":"{}","_updatedAt":"{}""#,
                self.id,
                self.room,
                self.at.iso(),
                self.updated.iso()
            )
        })
    }

    /// A wire as it is stored, less than half as long for most messages: after `+` stands what comes after
    /// the beginning, after `-` what comes after the empty lists that follow it.
    pub fn stored(&self, wire: String) -> String {
        let beginning = self.beginning();
        let Some(rest) = beginning.and_then(|beginning| wire.strip_prefix(&beginning)) else {
            return wire;
        };
        match rest.strip_prefix(NONE_LISTED) {
            Some(rest) => format!("-{rest}"),
            None => format!("+{rest}"),
        }
    }

    /// A wire from how it is stored; statements put it together by `one!`.
    pub fn whole(&self, stored: String) -> String {
        let parts = match stored.split_at_checked(1) {
            Some(("+", rest)) => Some(("", rest)),
            Some(("-", rest)) => Some((NONE_LISTED, rest)),
            _ => None,
        };
        match (parts, self.beginning()) {
            (Some((lists, rest)), Some(beginning)) => [&beginning, lists, rest].concat(),
            _ => stored,
        }
    }
}

/// The last millisecond of the year 9999.
const LATEST_DATED: i64 = 253_402_300_799_999;

/// Which program wrote: `{"i": integration}`, or just that one did.
#[derive(Serialize)]
#[serde(untagged)]
enum Bot<'a> {
    Integration { i: &'a str },
    Some(bool),
}

/// What comes from the confidential content, and goes with it.
#[derive(Serialize)]
struct Said<'a> {
    urls: Vec<Link<'a>>,
    mentions: &'a [Value],
    channels: &'a [Value],
    msg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emoji: Option<&'a str>,
    #[serde(skip_serializing_if = "Kept::is_empty")]
    attachments: &'a KeptList,
    #[serde(skip_serializing_if = "Kept::is_empty")]
    blocks: &'a KeptList,
    #[serde(rename = "customFields", skip_serializing_if = "Kept::is_empty")]
    custom_fields: &'a KeptObject,
    #[serde(flatten)]
    system: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Link<'a> {
    #[serde(rename = "url")]
    address: &'a str,
    meta: Empty,
    /// The sender wants no preview of it.
    #[serde(rename = "ignoreParse", skip_serializing_if = "std::ops::Not::not")]
    ignored: bool,
}

#[derive(Serialize)]
struct Empty {}

/// The fields of [`Said`] that may be absent, and so have to be taken away when a text changes.
const OPTIONAL: [&str; 6] = [
    "alias",
    "avatar",
    "emoji",
    "attachments",
    "blocks",
    "customFields",
];

impl<'a> Said<'a> {
    fn of(content: &'a Content) -> Self {
        let link = |url: &'a String| Link {
            address: url,
            meta: Empty {},
            ignored: content
                .previews
                .as_ref()
                .is_some_and(|chosen| !chosen.contains(url)),
        };
        Self {
            urls: content.urls.iter().map(link).collect(),
            mentions: &content.mentions,
            channels: &content.channels,
            msg: &content.text,
            alias: content.alias.as_deref(),
            avatar: content.avatar.as_deref(),
            emoji: content.emoji.as_deref(),
            attachments: &content.attachments,
            blocks: &content.blocks,
            custom_fields: &content.custom_fields,
            system: &content.system,
        }
    }
}

/// The wire of a message that was just sent.
pub(super) fn sent(
    id: &MessageId,
    sent: &Sent,
    content: &Content,
    entry: &Entry,
) -> serde_json::Result<String> {
    let bot = match &sent.integration {
        Some(integration) => Some(Bot::Integration {
            i: integration.as_str(),
        }),
        None => sent.bot.then_some(Bot::Some(true)),
    };
    serde_json::to_string(&Wire {
        id,
        rid: &sent.room,
        ts: sent.at.iso(),
        updated: entry.at.iso(),
        said: Said::of(content),
        system: sent.system.as_deref(),
        tmid: sent.thread.as_ref().map(|thread| &thread.parent),
        tshow: sent.thread.as_ref().is_some_and(|thread| thread.shown),
        drid: sent.discussion.as_ref(),
        groupable: sent.groupable,
        bot,
    })
}

/// Puts other content into a wire.
pub(super) fn set_content(
    wire: &mut Map<String, Value>,
    content: &Content,
) -> serde_json::Result<()> {
    for field in OPTIONAL {
        wire.shift_remove(field);
    }
    if let Value::Object(said) = serde_json::to_value(Said::of(content))? {
        wire.extend(said);
    }
    Ok(())
}

/// Leaves the place of a deleted message and nothing of what it said.
pub(super) fn set_removed(wire: &mut Map<String, Value>, by: &UserId, at: Timestamp) {
    const KEPT: [&str; 9] = [
        "_id",
        "rid",
        "tmid",
        "tshow",
        "ts",
        "groupable",
        "tcount",
        "tlm",
        "replies",
    ];
    wire.retain(|field, _| KEPT.contains(&field.as_str()));
    wire.insert("t".into(), "rm".into());
    wire.insert("msg".into(), "".into());
    for list in ["urls", "mentions", "channels", "attachments"] {
        wire.insert(list.into(), json!([]));
    }
    wire.insert("reactions".into(), json!({}));
    wire.insert("editedAt".into(), at.iso().into());
    wire.insert("editedBy".into(), person(by));
}

/// Somebody named in a wire; the username is written by [`set_names`].
pub(super) fn person(id: &UserId) -> Value {
    json!({ "_id": id })
}

const PEOPLE: [&str; 2] = ["editedBy", "pinnedBy"];

/// Whom a wire names.
pub(super) fn people(wire: &Map<String, Value>) -> impl Iterator<Item = UserId> + '_ {
    let mentions = wire.get("mentions").and_then(Value::as_array);
    let mentioned = mentions.into_iter().flatten().filter_map(mentioned);
    PEOPLE
        .into_iter()
        .filter_map(|field| wire.get(field)?.get("_id")?.as_str())
        .map(UserId::new)
        .chain(mentioned)
}

/// Who is mentioned, if it is a person and not everybody.
fn mentioned(mention: &Value) -> Option<UserId> {
    let is_person = mention.get("type").is_some_and(|kind| kind == "user");
    let id = mention.get("_id").filter(|_| is_person)?;
    id.as_str().map(UserId::new)
}

/// Puts somebody in another's place, with its id for a name; answers whether the other was named.
pub(super) fn replace_person(wire: &mut Map<String, Value>, old: &UserId, new: &UserId) -> bool {
    let mut named = false;
    for field in PEOPLE {
        if let Some(Value::Object(person)) = wire.get_mut(field)
            && person.get("_id").is_some_and(|id| id == old.as_str())
        {
            person.insert("_id".into(), json!(new));
            person.insert("username".into(), json!(new));
            named = true;
        }
    }
    if let Some(Value::Array(mentions)) = wire.get_mut("mentions") {
        for mention in mentions {
            if mentioned(mention).as_ref() == Some(old) {
                *mention = json!({ "_id": new, "type": "user" });
                named = true;
            }
        }
    }
    if let Some(Value::Array(replies)) = wire.get_mut("replies") {
        let followers = replies.len();
        replies.retain(|follower| follower != old.as_str());
        named |= replies.len() < followers;
    }
    named
}

/// Writes the name of the one that a system message is about.
pub(super) fn set_about(wire: &mut Map<String, Value>, username: &str) {
    let pointed_at = wire
        .get_mut("attachments")
        .and_then(|attachments| attachments.get_mut(0))
        .and_then(Value::as_object_mut);
    if let Some(pointed_at) = pointed_at {
        pointed_at.insert("author_name".into(), username.into());
        pointed_at.insert("author_icon".into(), format!("/avatar/{username}").into());
    } else {
        wire.insert("msg".into(), username.into());
    }
}

/// Writes the names of those that a wire names, and of those who reacted.
pub(super) fn set_names(
    wire: &mut Map<String, Value>,
    reactions: &[(String, UserId)],
    named: impl Fn(&UserId) -> Author,
) {
    let username = |user: &UserId| named(user).username;
    if let Some(Value::Array(mentions)) = wire.get_mut("mentions") {
        for mention in mentions {
            if let Some(person) = mentioned(mention).map(|user| named(&user)) {
                *mention = json!({
                    "_id": person.id,
                    "username": person.username,
                    "name": person.name,
                    "type": "user",
                });
            }
        }
    }
    for field in PEOPLE {
        let Some(Value::Object(person)) = wire.get_mut(field) else {
            continue;
        };
        if let Some(id) = person.get("_id").and_then(Value::as_str).map(UserId::new) {
            person.insert("username".into(), username(&id).into());
        }
    }
    if reactions.is_empty() {
        if !wire.get("t").is_some_and(|kind| kind == "rm") {
            wire.shift_remove("reactions");
        }
        return;
    }
    let mut given: Map<String, Value> = Map::new();
    for (reaction, user) in reactions {
        let entry = given
            .entry(reaction.clone())
            .or_insert_with(|| json!({ "usernames": [] }));
        if let Some(Value::Array(usernames)) = entry.get_mut("usernames") {
            usernames.push(username(user).into());
        }
    }
    // Last, whether it stood there before or not: batches must not tell in the order of members.
    wire.shift_remove("reactions");
    wire.insert("reactions".into(), given.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_is_stored_without_what_the_columns_say() {
        let columns = |id| (MessageId::new(id), RoomId::new("GENERAL"));
        let whole = |id: &str, rest: &str| {
            format!(
                r#"{{"_id":"{id}","rid":"GENERAL","ts":"1970-01-01T00:00:00.005Z","_updatedAt":"1970-01-01T00:00:00.007Z"{rest}"#
            )
        };
        let lists = r#","urls":[],"mentions":[],"channels":[],"msg":"hi"}"#;
        let cases = [
            ("a1", whole("a1", lists), Some(r#"-,"msg":"hi"}"#)),
            ("a1", whole("a1", "}"), Some("+}")),
            (
                "a1",
                whole("a1", r#","urls":[1]}"#),
                Some(r#"+,"urls":[1]}"#),
            ),
            // Of another message, or written otherwise by the database.
            ("a1", whole("a2", lists), None),
            ("a\"1", whole("a\\\"1", lists), None),
            ("a1", r#"{"_id":"a1"}"#.to_owned(), None),
        ];
        for (id, wire, expected) in cases {
            let (id, room) = columns(id);
            let columns = Columns {
                id: &id,
                room: &room,
                at: Timestamp(5),
                updated: Timestamp(7),
            };
            let stored = columns.stored(wire.clone());
            assert_eq!(stored, expected.unwrap_or(&wire));
            assert_eq!(columns.whole(stored), wire);
            let early = Columns {
                at: Timestamp(-5),
                ..columns
            };
            assert_eq!(early.stored(wire.clone()), wire);
        }
    }
}
