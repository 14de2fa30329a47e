//! How events change the tables.
//!
//! What happens often (messages, new members, new rooms, new accounts) is gathered and written with
//! one statement a table. What happens rarely is written at once, after what was gathered before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hansard_domain::account::{AccountEvent, Profile};
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{MessageId, RoleId, RoomId, Timestamp, UserId};
use hansard_domain::log::Position;
use hansard_domain::message::MessageEvent;
use hansard_domain::room::{RetentionOverride, RoomDetails, RoomEvent, RoomKind, RoomSwitches};
use hansard_domain::subscription::Subscription;
use serde_json::{Map, Value, json};
use sqlx::{AnyConnection, Row};

use crate::folding::folded;
use crate::fragments::number;
use crate::gone::{self, Leaving};
use crate::rows::{ByKey, Insert};
use crate::shortened::left_out;
use crate::sql;
use crate::view::ViewError;

/// Messages whose time is further from their recording are imports: they count, but nobody has
/// just spoken.
const IMPORTED: Duration = Duration::from_secs(60);

const ROOM: Insert = Insert::into(
    "room",
    &[
        "id",
        "number",
        "kind",
        "name",
        "fname",
        "name_folded",
        "fname_folded",
        "creator",
        "created",
        "updated",
        "is_default",
        "read_only",
        "archived",
        "parent",
        "participants",
        "muted",
        "unmuted",
        "listed",
        "more",
    ],
);

const ACTIVITY: Insert = Insert::into(
    "activity",
    &["room", "messages", "members", "spoken", "changed"],
)
.on_conflict(
    "ON CONFLICT (room) DO UPDATE SET \
     messages = activity.messages + excluded.messages, \
     members = activity.members + excluded.members, \
     spoken = CASE WHEN excluded.spoken > activity.spoken \
     THEN excluded.spoken ELSE activity.spoken END, \
     changed = CASE WHEN excluded.changed > activity.changed \
     THEN excluded.changed ELSE activity.changed END",
);

const MEMBER: Insert = Insert::into("member", &["id", "room", "account", "since", "roles"])
    .on_conflict("ON CONFLICT (id) DO UPDATE SET since = excluded.since, roles = excluded.roles");

const ACCOUNT: Insert = Insert::into(
    "account",
    &[
        "id",
        "username",
        "name",
        "username_folded",
        "name_folded",
        "nickname",
        "active",
        "presence",
        "updated",
    ],
)
.on_conflict(
    "ON CONFLICT (id) DO UPDATE SET username = excluded.username, name = excluded.name, \
     username_folded = excluded.username_folded, name_folded = excluded.name_folded, \
     nickname = excluded.nickname, active = excluded.active, presence = excluded.presence, \
     updated = excluded.updated",
);

const THERE: ByKey = ByKey::new("SELECT id FROM room WHERE id IN");

const NAMED: Insert =
    Insert::into("named", &["room", "account"]).on_conflict("ON CONFLICT DO NOTHING");

const REMOVED: Insert = Insert::into("removed", &["room", "at"]);

pub(super) async fn apply(
    tables: &mut AnyConnection,
    entries: &[Arc<Entry>],
) -> Result<(), ViewError> {
    let mut gathered = Gathered::default();
    for entry in entries {
        match &entry.event {
            Event::Message(event) => gathered.message(entry, event),
            Event::Room(event) => {
                let room = RoomId::new(entry.stream.key());
                if !gathered.room(&room, entry, event) {
                    gathered.write(tables).await?;
                    change_room(tables, &room, entry.at, event).await?;
                }
            }
            Event::Account(event) => {
                let account = UserId::new(entry.stream.key());
                if !gathered.account(&account, entry.at, event) {
                    gathered.write(tables).await?;
                    change_account(tables, &account, entry.at, event).await?;
                }
            }
            _ => {}
        }
    }
    gathered.write(tables).await
}

/// Changes that are written together.
#[derive(Default)]
struct Gathered {
    accounts: Vec<AccountRow>,
    rooms: Vec<RoomRow>,
    activity: BTreeMap<RoomId, Activity>,
    members: Vec<MemberRow>,
    /// Messages that went: which, from where, when, and whether a prune is to name them.
    leaving: Vec<(MessageId, RoomId, Position, bool)>,
    /// Rooms of which something changed that is not in their row, and when.
    touched: BTreeMap<RoomId, Timestamp>,
}

struct AccountRow {
    id: UserId,
    profile: Profile,
    active: bool,
    at: Timestamp,
}

struct MemberRow {
    room: RoomId,
    account: UserId,
    since: Timestamp,
    roles: Vec<RoleId>,
}

#[derive(Default)]
struct Activity {
    messages: i64,
    members: i64,
    spoken: Timestamp,
    changed: Timestamp,
}

struct RoomRow {
    id: RoomId,
    number: i64,
    kind: RoomKind,
    creator: Option<UserId>,
    created: Timestamp,
    updated: Timestamp,
    parent: Option<RoomId>,
    participants: Option<Vec<UserId>>,
    switches: RoomSwitches,
    details: RoomDetails,
    message: Option<Value>,
}

impl Gathered {
    fn activity(&mut self, room: &RoomId) -> &mut Activity {
        self.activity.entry(room.clone()).or_default()
    }

    fn message(&mut self, entry: &Entry, event: &MessageEvent) {
        match event {
            MessageEvent::MessageSent { sent, .. } => {
                let activity = self.activity(&sent.room);
                activity.changed = activity.changed.max(entry.at);
                activity.messages += 1;
                let in_thread_only = sent.thread.as_ref().is_some_and(|thread| !thread.shown);
                let now = !sent.at.is_further_than(IMPORTED, entry.at);
                if sent.system.is_none() && !in_thread_only && now {
                    activity.spoken = activity.spoken.max(sent.at);
                }
            }
            MessageEvent::MessageDeleted {
                room,
                erased,
                show_deleted,
                ..
            } => {
                let kept = erased.is_none() || *show_deleted;
                let message = MessageId::new(entry.stream.key());
                self.leaving
                    .push((message, room.clone(), entry.position, kept));
                self.touch(room, entry.at);
            }
            // What a room shows of its last message may be another one now.
            MessageEvent::MessageEdited { room, .. }
            | MessageEvent::ReactionAdded { room, .. }
            | MessageEvent::ReactionRemoved { room, .. }
            | MessageEvent::MessagePinned { room, .. }
            | MessageEvent::MessageUnpinned { room, .. }
            | MessageEvent::MessageStarred { room, .. }
            | MessageEvent::MessageUnstarred { room, .. }
            | MessageEvent::ThreadFollowed { room, .. }
            | MessageEvent::ThreadUnfollowed { room, .. } => self.touch(room, entry.at),
            MessageEvent::MessageReported { .. } => {}
        }
    }

    /// Something changed that a room shows.
    fn touch(&mut self, room: &RoomId, at: Timestamp) {
        let changed = self.touched.entry(room.clone()).or_default();
        *changed = at.max(*changed);
    }

    /// Takes what happens often; answers whether it did.
    fn room(&mut self, room: &RoomId, entry: &Entry, event: &RoomEvent) -> bool {
        match event {
            RoomEvent::RoomCreated {
                kind,
                creator,
                members,
                switches,
                parent,
                details,
                at: created,
            } => {
                let direct = *kind == RoomKind::Direct;
                let mut everybody: Vec<_> = creator.iter().chain(members).cloned().collect();
                everybody.sort();
                everybody.dedup();
                for account in &everybody {
                    let owner = !direct && creator.as_ref() == Some(account);
                    let roles = owner.then(|| RoleId::new("owner")).into_iter().collect();
                    self.enter(room, account, *created, roles);
                }
                self.rooms.push(RoomRow {
                    id: room.clone(),
                    number: number(entry.position),
                    kind: *kind,
                    creator: creator.clone(),
                    created: *created,
                    updated: entry.at,
                    parent: parent.as_ref().map(|parent| parent.room.clone()),
                    participants: direct.then_some(everybody),
                    switches: switches.clone(),
                    details: details.value().cloned().unwrap_or_default(),
                    message: parent
                        .as_ref()
                        .and_then(|parent| Some(json!(parent.message.as_ref()?))),
                });
            }
            RoomEvent::MemberJoined { user, at, .. } => {
                self.enter(room, user, *at, Vec::new());
                self.touch(room, entry.at);
            }
            RoomEvent::ChannelPruned { pruned, .. } => {
                let all = pruned.iter().map(|pruned| pruned.message.clone());
                self.leaving
                    .extend(all.map(|message| (message, room.clone(), entry.position, false)));
                self.touch(room, entry.at);
            }
            _ => return false,
        }
        true
    }

    fn enter(&mut self, room: &RoomId, account: &UserId, since: Timestamp, roles: Vec<RoleId>) {
        self.activity(room).members += 1;
        self.members.push(MemberRow {
            room: room.clone(),
            account: account.clone(),
            since,
            roles,
        });
    }

    /// Takes what happens often; answers whether it did.
    fn account(&mut self, account: &UserId, at: Timestamp, event: &AccountEvent) -> bool {
        match event {
            AccountEvent::UserRegistered {
                profile, active, ..
            } => self.accounts.push(AccountRow {
                id: account.clone(),
                profile: profile.value().cloned().unwrap_or_default(),
                active: *active,
                at,
            }),
            AccountEvent::UserProfileChanged { .. }
            | AccountEvent::UserPresenceChosen { .. }
            | AccountEvent::UserActivated {}
            | AccountEvent::UserDeactivated { .. }
            | AccountEvent::UserDeleted { .. } => return false,
            _ => {}
        }
        true
    }

    async fn write(&mut self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        let Self {
            accounts,
            rooms,
            activity,
            members,
            leaving,
            touched,
        } = std::mem::take(self);
        ACCOUNT
            .write(tables, &accounts, |row, values| {
                values.text(&row.id);
                values.maybe_text(filled(&row.profile.username));
                values.maybe_text(row.profile.name.as_ref());
                values.maybe_text(filled(&row.profile.username).map(folded));
                values.maybe_text(row.profile.name.as_deref().map(folded));
                values.maybe_text(row.profile.nickname.as_ref());
                values.flag(row.active);
                values.text("offline");
                values.time(row.at);
            })
            .await?;
        ROOM.write(tables, &rooms, |row, values| {
            values.text(&row.id);
            values.number(row.number);
            values.text(row.kind.letter());
            values.maybe_text(filled(&row.details.name));
            values.maybe_text(filled(&row.details.fname));
            values.maybe_text(filled(&row.details.name).map(folded));
            values.maybe_text(filled(&row.details.fname).map(folded));
            values.maybe_text(row.creator.as_ref());
            values.time(row.created);
            values.time(row.updated);
            values.flag(row.switches.default);
            values.flag(row.switches.read_only);
            values.flag(false);
            values.maybe_text(row.parent.as_ref());
            values.maybe_text(row.participants.as_ref().map(|all| json!(all).to_string()));
            values.text("[]");
            values.text("[]");
            let more = row.more();
            values.maybe_text(listed(&more));
            values.text(Value::Object(more).to_string());
        })
        .await?;
        let named: Vec<_> = rooms.iter().flat_map(RoomRow::named).collect();
        name(tables, &named).await?;
        let activity: Vec<_> = activity.into_iter().collect();
        ACTIVITY
            .write(tables, &activity, |(room, row), values| {
                values.text(room);
                values.number(row.messages);
                values.number(row.members);
                values.time(row.spoken);
                values.time(row.changed);
            })
            .await?;
        for (room, at) in touched {
            sql::query("UPDATE activity SET changed = $1 WHERE room = $2 AND changed < $1")
                .bind(at.0)
                .bind(room.as_str())
                .execute(&mut *tables)
                .await?;
        }
        take_off(tables, &leaving).await?;
        MEMBER
            .write(tables, &members, |row, values| {
                values.text(Subscription::key(&row.room, &row.account));
                values.text(&row.room);
                values.text(&row.account);
                values.time(row.since);
                values.text(json!(row.roles).to_string());
            })
            .await
    }
}

/// Takes messages off that went, each once. A room that is gone itself has no count any more.
async fn take_off(
    tables: &mut AnyConnection,
    leaving: &[(MessageId, RoomId, Position, bool)],
) -> Result<(), ViewError> {
    let rooms: BTreeSet<&RoomId> = leaving.iter().map(|(_, room, ..)| room).collect();
    let rooms: Vec<&RoomId> = rooms.into_iter().collect();
    let mut there = BTreeSet::new();
    for row in THERE.fetch(tables, &rooms).await? {
        there.insert(RoomId::new(row.try_get::<String, _>(0)?));
    }
    let leaving: Vec<_> = leaving
        .iter()
        .filter(|(_, room, ..)| there.contains(room))
        .map(|(message, room, position, kept)| Leaving {
            message: message.as_str(),
            room: room.as_str(),
            position: *position,
            kept: *kept,
        })
        .collect();
    let first = gone::leave(tables, &leaving).await?;
    let mut fewer: BTreeMap<&str, i64> = BTreeMap::new();
    for (leaving, first) in leaving.iter().zip(first) {
        *fewer.entry(leaving.room).or_default() += i64::from(first);
    }
    for (room, fewer) in fewer {
        sql::query("UPDATE activity SET messages = messages - $1 WHERE room = $2")
            .bind(fewer)
            .bind(room)
            .execute(&mut *tables)
            .await?;
    }
    Ok(())
}

/// Remembers whom rooms name.
async fn name(tables: &mut AnyConnection, named: &[(&RoomId, &UserId)]) -> Result<(), ViewError> {
    NAMED
        .write(tables, named, |(room, account), values| {
            values.text(room);
            values.text(account);
        })
        .await
}

/// The rarer fields of a room of which nothing else is known yet.
pub(super) fn first_fields(kind: RoomKind) -> Map<String, Value> {
    let mut more = Map::new();
    if kind != RoomKind::Direct {
        more.insert("sysMes".into(), json!(true));
        more.insert("customFields".into(), json!({}));
    }
    more
}

impl RoomRow {
    fn named(&self) -> impl Iterator<Item = (&RoomId, &UserId)> {
        let people = self.participants.iter().flatten().chain(&self.creator);
        people.map(|account| (&self.id, account))
    }

    fn more(&self) -> Map<String, Value> {
        let mut more = first_fields(self.kind);
        set_details(&mut more, &self.details);
        set_switches(&mut more, &self.switches);
        set(
            &mut more,
            "prid",
            self.parent.as_ref().map(|parent| json!(parent)),
        );
        set(&mut more, "pmid", self.message.clone());
        more
    }
}

/// What a room tells of itself stands in lists up to so many bytes, longest things first left out: whoever
/// is in many rooms gets it of each, and others put it there.
const LISTED: usize = 8 << 10;

/// What stands in lists of the rarer fields; `None` where it is all of them.
fn listed(more: &Map<String, Value>) -> Option<String> {
    let size = |value: &Value| match value {
        Value::String(text) => text.len(),
        value => value.to_string().len(),
    };
    let told = ["topic", "announcement", "description", "customFields"];
    let told = told
        .into_iter()
        .filter_map(|field| Some((size(more.get(field)?), field)));
    let large = left_out(told, LISTED);
    if large.is_empty() {
        return None;
    }
    let mut listed = more.clone();
    listed.retain(|field, _| !large.contains(&field.as_str()));
    Some(Value::Object(listed).to_string())
}

pub(super) fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

pub(super) fn set(more: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => more.insert(field.to_owned(), value),
        None => more.shift_remove(field),
    };
}

pub(super) fn set_details(more: &mut Map<String, Value>, details: &RoomDetails) {
    let fields = &details.custom_fields;
    set(
        more,
        "topic",
        details.topic.as_ref().map(|text| json!(text)),
    );
    set(
        more,
        "description",
        details.description.as_ref().map(|text| json!(text)),
    );
    set(
        more,
        "announcement",
        details.announcement.as_ref().map(|text| json!(text)),
    );
    if !fields.is_empty() || more.contains_key("customFields") {
        set(more, "customFields", Some(json!(fields)));
    }
}

pub(super) fn set_switches(more: &mut Map<String, Value>, switches: &RoomSwitches) {
    let RoomSwitches {
        read_only: _,
        default: _,
        react_when_read_only,
        broadcast,
        encrypted,
        featured,
        favourite,
        hidden_system_messages,
        join_code_required,
    } = switches;
    for (field, on) in [
        ("reactWhenReadOnly", *react_when_read_only),
        ("broadcast", *broadcast),
        ("encrypted", *encrypted),
        ("featured", *featured),
        ("joinCodeRequired", *join_code_required),
    ] {
        // What was never switched on is not mentioned.
        let mentioned = on || more.contains_key(field);
        set(more, field, mentioned.then(|| json!(on)));
    }
    set(more, "favorite", favourite.then_some(json!(true)));
    if let Some(hidden) = hidden_system_messages {
        set(more, "sysMes", Some(json!(hidden)));
    }
}

pub(super) fn retention(retention: &RetentionOverride) -> Value {
    json!({
        "enabled": retention.enabled,
        "overrideGlobal": retention.override_global,
        "maxAge": retention.max_age / 86_400_000,
        "excludePinned": retention.exclude_pinned,
        "filesOnly": retention.files_only,
        "ignoreThreads": retention.ignore_threads,
    })
}

/// What happens rarely to a room.
async fn change_room(
    tables: &mut AnyConnection,
    room: &RoomId,
    at: Timestamp,
    event: &RoomEvent,
) -> Result<(), ViewError> {
    match event {
        RoomEvent::RoomRenamed { details }
        | RoomEvent::TopicChanged { details }
        | RoomEvent::DescriptionChanged { details }
        | RoomEvent::AnnouncementChanged { details }
        | RoomEvent::CustomFieldsChanged { details } => {
            let details = details.value().cloned().unwrap_or_default();
            sql::query(
                "UPDATE room SET name = $1, fname = $2, name_folded = $3, fname_folded = $4 \
                 WHERE id = $5",
            )
            .bind(filled(&details.name).map(str::to_owned))
            .bind(filled(&details.fname).map(str::to_owned))
            .bind(filled(&details.name).map(folded))
            .bind(filled(&details.fname).map(folded))
            .bind(room.as_str().to_owned())
            .execute(&mut *tables)
            .await?;
            more(tables, room, |more| set_details(more, &details)).await?;
        }
        RoomEvent::JoinCodeChanged { required, .. } => {
            let required = required.then_some(json!(true));
            more(tables, room, |more| set(more, "joinCodeRequired", required)).await?;
        }
        RoomEvent::RoomTypeChanged { kind } => {
            sql::query("UPDATE room SET kind = $1 WHERE id = $2")
                .bind(kind.letter())
                .bind(room.as_str().to_owned())
                .execute(&mut *tables)
                .await?;
        }
        RoomEvent::RoomSwitchesChanged { switches } => {
            sql::query("UPDATE room SET is_default = $1, read_only = $2 WHERE id = $3")
                .bind(i64::from(switches.default))
                .bind(i64::from(switches.read_only))
                .bind(room.as_str().to_owned())
                .execute(&mut *tables)
                .await?;
            more(tables, room, |more| set_switches(more, switches)).await?;
        }
        RoomEvent::RetentionOverridden { retention: chosen } => {
            let chosen = chosen.as_ref().map(retention);
            more(tables, room, |more| set(more, "retention", chosen)).await?;
        }
        RoomEvent::MemberMuted { user } => {
            name(tables, &[(room, user)]).await?;
            voices(tables, room, |voices| {
                voices.forget(user);
                voices.muted.push(user.clone());
            })
            .await?;
        }
        RoomEvent::MemberUnmuted { user } => {
            name(tables, &[(room, user)]).await?;
            voices(tables, room, |voices| {
                voices.forget(user);
                if voices.read_only {
                    voices.unmuted.push(user.clone());
                }
            })
            .await?;
        }
        RoomEvent::MemberLeft { user } | RoomEvent::MemberRemoved { user, .. } => {
            sql::query("DELETE FROM member WHERE id = $1")
                .bind(Subscription::key(room, user))
                .execute(&mut *tables)
                .await?;
            sql::query("UPDATE activity SET members = members - 1 WHERE room = $1")
                .bind(room.as_str().to_owned())
                .execute(&mut *tables)
                .await?;
            // A mute outlasts membership; the server removes accounts that are deleted.
            let for_good = matches!(event, RoomEvent::MemberRemoved { by: None, .. });
            voices(tables, room, |voices| {
                if for_good {
                    voices.forget(user);
                } else {
                    voices.unmuted.retain(|id| id != user);
                }
            })
            .await?;
        }
        RoomEvent::RoomRoleGranted { user, role } => {
            roles(tables, room, user, |roles| {
                roles.push(role.clone());
                roles.sort();
            })
            .await?;
        }
        RoomEvent::RoomRoleRevoked { user, role } => {
            roles(tables, room, user, |roles| {
                roles.retain(|held| held != role);
            })
            .await?;
        }
        RoomEvent::RoomArchived {} => archived(tables, room, true).await?,
        RoomEvent::RoomUnarchived {} => archived(tables, room, false).await?,
        RoomEvent::RoomDeleted { .. } => return delete(tables, room, at).await,
        RoomEvent::RoomCreated { .. }
        | RoomEvent::MemberJoined { .. }
        | RoomEvent::ChannelPruned { .. } => {}
    }
    sql::query("UPDATE room SET updated = $1 WHERE id = $2")
        .bind(at.0)
        .bind(room.as_str().to_owned())
        .execute(tables)
        .await?;
    Ok(())
}

async fn more(
    tables: &mut AnyConnection,
    room: &RoomId,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Result<(), ViewError> {
    let Some(row) = sql::query("SELECT more FROM room WHERE id = $1")
        .bind(room.as_str().to_owned())
        .fetch_optional(&mut *tables)
        .await?
    else {
        return Ok(());
    };
    let mut fields = hansard_domain::json::object(&row.try_get::<String, _>(0)?)?;
    change(&mut fields);
    sql::query("UPDATE room SET listed = $1, more = $2 WHERE id = $3")
        .bind(listed(&fields))
        .bind(Value::Object(fields).to_string())
        .bind(room.as_str().to_owned())
        .execute(tables)
        .await?;
    Ok(())
}

/// Who may not speak in a room, and who may although it is read-only.
struct Voices {
    muted: Vec<UserId>,
    unmuted: Vec<UserId>,
    read_only: bool,
}

impl Voices {
    fn forget(&mut self, user: &UserId) {
        self.muted.retain(|id| id != user);
        self.unmuted.retain(|id| id != user);
    }
}

async fn voices(
    tables: &mut AnyConnection,
    room: &RoomId,
    change: impl FnOnce(&mut Voices),
) -> Result<(), ViewError> {
    let Some(row) = sql::query("SELECT muted, unmuted, read_only FROM room WHERE id = $1")
        .bind(room.as_str().to_owned())
        .fetch_optional(&mut *tables)
        .await?
    else {
        return Ok(());
    };
    let mut voices = Voices {
        muted: hansard_domain::json::from_str(&row.try_get::<String, _>(0)?)?,
        unmuted: hansard_domain::json::from_str(&row.try_get::<String, _>(1)?)?,
        read_only: row.try_get::<i64, _>(2)? != 0,
    };
    change(&mut voices);
    sql::query("UPDATE room SET muted = $1, unmuted = $2 WHERE id = $3")
        .bind(json!(voices.muted).to_string())
        .bind(json!(voices.unmuted).to_string())
        .bind(room.as_str().to_owned())
        .execute(tables)
        .await?;
    Ok(())
}

async fn roles(
    tables: &mut AnyConnection,
    room: &RoomId,
    account: &UserId,
    change: impl FnOnce(&mut Vec<RoleId>),
) -> Result<(), ViewError> {
    let id = Subscription::key(room, account);
    let Some(row) = sql::query("SELECT roles FROM member WHERE id = $1")
        .bind(id.clone())
        .fetch_optional(&mut *tables)
        .await?
    else {
        return Ok(());
    };
    let mut roles = hansard_domain::json::from_str(&row.try_get::<String, _>(0)?)?;
    change(&mut roles);
    sql::query("UPDATE member SET roles = $1 WHERE id = $2")
        .bind(json!(roles).to_string())
        .bind(id)
        .execute(tables)
        .await?;
    Ok(())
}

async fn archived(
    tables: &mut AnyConnection,
    room: &RoomId,
    archived: bool,
) -> Result<(), ViewError> {
    sql::query("UPDATE room SET archived = $1 WHERE id = $2")
        .bind(i64::from(archived))
        .bind(room.as_str().to_owned())
        .execute(tables)
        .await?;
    Ok(())
}

async fn delete(tables: &mut AnyConnection, room: &RoomId, at: Timestamp) -> Result<(), ViewError> {
    for statement in [
        "DELETE FROM room WHERE id = $1",
        "DELETE FROM activity WHERE room = $1",
        "DELETE FROM member WHERE room = $1",
        "DELETE FROM gone WHERE room = $1",
        "DELETE FROM named WHERE room = $1",
    ] {
        sql::query(statement)
            .bind(room.as_str().to_owned())
            .execute(&mut *tables)
            .await?;
    }
    REMOVED
        .write(tables, &[room], |room, values| {
            values.text(room);
            values.time(at);
        })
        .await
}

/// What happens rarely to an account.
async fn change_account(
    tables: &mut AnyConnection,
    account: &UserId,
    at: Timestamp,
    event: &AccountEvent,
) -> Result<(), ViewError> {
    let id = account.as_str().to_owned();
    let query = match event {
        AccountEvent::UserProfileChanged { profile } => {
            let profile = profile.value().cloned().unwrap_or_default();
            sql::query(
                "UPDATE account SET updated = $1, username = $3, name = $4, username_folded = $5, \
                 name_folded = $6, nickname = $7 WHERE id = $2",
            )
            .bind(at.0)
            .bind(id)
            .bind(filled(&profile.username).map(str::to_owned))
            .bind(profile.name.clone())
            .bind(filled(&profile.username).map(folded))
            .bind(profile.name.as_deref().map(folded))
            .bind(profile.nickname)
        }
        AccountEvent::UserPresenceChosen { presence } => {
            sql::query("UPDATE account SET updated = $1, presence = $3 WHERE id = $2")
                .bind(at.0)
                .bind(id)
                .bind(presence.as_str())
        }
        AccountEvent::UserActivated {} => {
            sql::query("UPDATE account SET updated = $1, active = 1 WHERE id = $2")
                .bind(at.0)
                .bind(id)
        }
        AccountEvent::UserDeactivated { .. } => {
            sql::query("UPDATE account SET updated = $1, active = 0 WHERE id = $2")
                .bind(at.0)
                .bind(id)
        }
        AccountEvent::UserDeleted { .. } => {
            sql::query("DELETE FROM account WHERE id = $1").bind(id)
        }
        _ => return Ok(()),
    };
    query.execute(&mut *tables).await?;
    if matches!(
        event,
        AccountEvent::UserProfileChanged { .. } | AccountEvent::UserDeleted { .. }
    ) {
        sql::query(
            "UPDATE room SET updated = $1 WHERE updated < $1 \
             AND id IN (SELECT n.room FROM named n WHERE n.account = $2)",
        )
        .bind(at.0)
        .bind(account.as_str())
        .execute(tables)
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_room_tells_of_itself_is_left_out_of_lists_where_it_is_large() {
        let listed = |more: Value| listed(more.as_object().unwrap());
        let small = json!({"ro": true, "topic": "t", "customFields": {"a": 1}});
        assert_eq!(listed(small), None);
        let text = |bytes: usize| "€".repeat(bytes / 3);
        let large = json!({
            "ro": true, "topic": text(6_000), "announcement": text(1_500),
            "description": text(15_000), "customFields": {"a": text(15_000)},
        });
        let left = json!({"ro": true, "topic": text(6_000), "announcement": text(1_500)});
        assert_eq!(listed(large), Some(left.to_string()));
    }
}
