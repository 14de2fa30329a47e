//! Rooms as they are answered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hansard_domain::id::{RoomId, Timestamp, UserId};
use hansard_domain::pace::each_row;
use hansard_domain::room::RoomKind;
use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use crate::answers::{Answer, Subject, object_bytes};
use crate::conditions::Conditions;
use crate::folding::containing;
use crate::fragments::{Fragments, Tag, Total};
use crate::rows::ByKey;
use crate::sql::{self, Dialect};
use crate::store::{Reading, Store};
use crate::view::ViewError;

/// A stretch of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    pub offset: i64,
    /// At most so many; 0 is all of them.
    pub count: i64,
}

impl Paging {
    pub const ALL: Self = Self {
        offset: 0,
        count: 0,
    };

    pub(super) fn limit(self) -> i64 {
        if self.count == 0 {
            i64::MAX
        } else {
            self.count
        }
    }
}

/// Somebody, as answers name them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    pub username: Option<String>,
    pub name: Option<String>,
}

/// A room, with the names of the people that its answer names.
#[derive(Debug, Clone)]
pub struct Room {
    pub id: RoomId,
    pub kind: RoomKind,
    pub name: Option<String>,
    pub fname: Option<String>,
    pub creator: Option<UserId>,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub default: bool,
    pub read_only: bool,
    pub archived: bool,
    pub participants: Option<Vec<UserId>>,
    pub muted: Vec<UserId>,
    /// Who may speak although the room is read-only.
    pub unmuted: Vec<UserId>,
    pub messages: i64,
    pub members: i64,
    /// When something was last said in it.
    pub spoken: Option<Timestamp>,
    pub(super) more: Map<String, Value>,
    pub(super) people: HashMap<UserId, Person>,
}

/// Which rooms.
#[derive(Debug, Clone, Default)]
pub struct RoomFilter {
    /// Those of this kind only.
    pub kind: Option<RoomKind>,
    /// Those that somebody is in only.
    pub member: Option<UserId>,
    /// Channels, and the groups that somebody is in, only.
    pub open_to: Option<UserId>,
    /// Those whose name or shown name has this in it, whatever the case.
    pub name: Option<String>,
    /// Those that changed after this only.
    pub changed_after: Option<Timestamp>,
    pub order: RoomOrder,
    pub descending: bool,
}

impl RoomFilter {
    /// Whether it asks for nothing that a room's name and kind can't tell.
    fn asks_for_a_name(&self) -> bool {
        self.member.is_none() && self.open_to.is_none() && self.changed_after.is_none()
    }

    /// The same in parts that have no room in common, and an index each.
    fn parts(&self) -> Vec<Self> {
        match &self.open_to {
            Some(viewer) if self.kind.is_none() && self.member.is_none() => {
                let part = |kind, member| Self {
                    kind: Some(kind),
                    member,
                    open_to: None,
                    ..self.clone()
                };
                vec![
                    part(RoomKind::Channel, None),
                    part(RoomKind::Group, Some(viewer.clone())),
                ]
            }
            _ => vec![self.clone()],
        }
    }
}

/// What a list of rooms is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RoomOrder {
    #[default]
    Name,
    ShownName,
    Created,
    Updated,
    Spoken,
    Messages,
    Members,
}

impl RoomOrder {
    /// By the field's name in answers.
    pub fn parse(field: &str) -> Option<Self> {
        Some(match field {
            "name" => Self::Name,
            "fname" => Self::ShownName,
            "ts" => Self::Created,
            "_updatedAt" => Self::Updated,
            "lm" => Self::Spoken,
            "msgs" => Self::Messages,
            "usersCount" => Self::Members,
            _ => return None,
        })
    }

    /// Whether it changes with every message or member.
    fn is_of_activity(self) -> bool {
        matches!(self, Self::Spoken | Self::Messages | Self::Members)
    }

    fn sql(self, descending: bool) -> &'static str {
        match (self, descending) {
            (Self::Name, false) => " ORDER BY r.name NULLS FIRST, r.id",
            (Self::Name, true) => " ORDER BY r.name DESC NULLS LAST, r.id DESC",
            (Self::ShownName, false) => " ORDER BY r.fname NULLS FIRST, r.id",
            (Self::ShownName, true) => " ORDER BY r.fname DESC NULLS LAST, r.id DESC",
            (Self::Created, false) => " ORDER BY r.created, r.id",
            (Self::Created, true) => " ORDER BY r.created DESC, r.id DESC",
            (Self::Updated, false) => " ORDER BY r.updated, r.id",
            (Self::Updated, true) => " ORDER BY r.updated DESC, r.id DESC",
            (Self::Spoken, false) => " ORDER BY a.spoken, r.id",
            (Self::Spoken, true) => " ORDER BY a.spoken DESC, r.id DESC",
            (Self::Messages, false) => " ORDER BY a.messages, r.id",
            (Self::Messages, true) => " ORDER BY a.messages DESC, r.id DESC",
            (Self::Members, false) => " ORDER BY a.members, r.id",
            (Self::Members, true) => " ORDER BY a.members DESC, r.id DESC",
        }
    }
}

const FILTERED: &str = " FROM room r JOIN activity a ON a.room = r.id \
    /* walks r: a page in its order, or a name that many have, or of a letter or two */ \
    /* walks a: likewise, in an order that is there */";

/// Where nothing is asked about what changes with every message.
const COUNTED: &str =
    " FROM room r /* walks r: what is asked for has no index */ /* walks room: all are counted */";

/// The tables for a list of those that pass a filter. Where no index leads to them it is a
/// [walk](Store::walk).
pub async fn reading(store: &Store, filter: &RoomFilter) -> Result<Reading, ViewError> {
    let reading = store.moment().await?;
    let named = filter.name.as_deref().is_some_and(|name| !name.is_empty());
    if !named || fragments(Dialect::of(&reading), filter).is_some() {
        return Ok(reading);
    }
    drop(reading);
    store.walk().await
}

/// What is asked of the index of fragments for those of a name.
fn fragments(dialect: Dialect, filter: &RoomFilter) -> Option<Fragments> {
    let kind = filter.kind.map(|kind| match kind {
        RoomKind::Channel => "s c",
        RoomKind::Group => "s p",
        RoomKind::Direct => "s d",
    });
    let columns = ["name_folded", "fname_folded"];
    let kind = kind.map(Tag::Has);
    Fragments::of(dialect, filter.name.as_deref()?, columns, kind)
}

/// Those of a filter whose name the index finds.
fn found(filter: &RoomFilter, fragments: Fragments) -> Conditions {
    let mut rest = filter.clone();
    if fragments.is_exact() {
        rest.name = None;
    }
    let mut conditions = conditions(&rest);
    fragments.hold(&mut conditions, "r.number");
    conditions
}

fn conditions(filter: &RoomFilter) -> Conditions {
    let mut conditions = Conditions::default();
    if let Some(kind) = filter.kind {
        // Somebody's rooms are fewer than those of a kind (hence `||`).
        let of_kind = match filter.member {
            Some(_) => "r.kind || '' = $",
            None => "r.kind = $",
        };
        conditions.with(of_kind, kind.letter());
    }
    if let Some(member) = &filter.member {
        let theirs = "r.id IN (SELECT m.room FROM member m WHERE m.account = $)";
        conditions.with(theirs, member.as_str());
    }
    if let Some(viewer) = &filter.open_to {
        let theirs = "SELECT m.room FROM member m WHERE m.account = $";
        let open = format!("(r.kind = 'c' OR r.kind = 'p' AND r.id IN ({theirs}))");
        conditions.with(&open, viewer.as_str());
    }
    if let Some(name) = filter.name.as_deref().filter(|name| !name.is_empty()) {
        let named = "(r.name_folded LIKE $ ESCAPE '\\' OR r.fname_folded LIKE $ ESCAPE '\\')";
        conditions.with(named, containing(name));
    }
    if let Some(after) = filter.changed_after.filter(|after| after.0 != 0) {
        conditions.with("(r.updated > $ OR a.changed > $)", after.0);
    }
    conditions
}

const LISTED: &str = " FROM room r JOIN activity a ON a.room = r.id";

/// As lists show them.
const COLUMNS: &str = "SELECT r.id, r.kind, r.name, r.fname, r.creator, r.created, r.updated, \
    r.is_default, r.read_only, r.archived, r.participants, r.muted, coalesce(r.listed, r.more), \
    a.messages, a.members, a.spoken, r.unmuted, a.changed";

const BY_ID: ByKey = ByKey::new(
    "SELECT r.id, r.kind, r.name, r.fname, r.creator, r.created, r.updated, r.is_default, \
     r.read_only, r.archived, r.participants, r.muted, r.more, a.messages, a.members, a.spoken, \
     r.unmuted, a.changed FROM room r JOIN activity a ON a.room = r.id WHERE r.id IN",
);

const REMOVED: ByKey = ByKey::new("SELECT room, at FROM removed WHERE room IN");

const PEOPLE: ByKey = ByKey::new("SELECT id, username, name FROM account WHERE id IN");

/// Rooms by filter, a page of them as lists show them: without what they tell of themselves where that is
/// large; and how many there are in all.
pub async fn by_filter(
    tables: &mut AnyConnection,
    filter: &RoomFilter,
    paging: Paging,
) -> Result<(Vec<Room>, i64), ViewError> {
    // A page and its total are of one moment.
    let mut moment = tables.begin().await?;
    let (mut total, mut at_most) = (0, false);
    for filter in filter.parts() {
        match told(&mut moment, &filter).await? {
            Total::Exact(part) => total += part,
            Total::AtMost(part) => {
                total += part;
                at_most = true;
            }
            Total::ToBeCounted => total += counted(&mut moment, &filter).await?,
        }
    }
    let rooms = some(&mut moment, filter, paging).await?;
    moment.commit().await?;
    if at_most {
        total = Total::corrected(total, paging.offset, rooms.len(), paging.limit());
    }
    Ok((rooms, total))
}

async fn told(tables: &mut AnyConnection, filter: &RoomFilter) -> Result<Total, ViewError> {
    match fragments(Dialect::of(tables), filter) {
        Some(fragments) if filter.asks_for_a_name() => fragments.total(tables).await,
        _ => Ok(Total::ToBeCounted),
    }
}

async fn counted(tables: &mut AnyConnection, filter: &RoomFilter) -> Result<i64, ViewError> {
    // The rooms that somebody is in are fewer than those that have a name.
    let fragments = fragments(Dialect::of(tables), filter).filter(|_| filter.asks_for_a_name());
    let conditions = match fragments {
        Some(fragments) => found(filter, fragments),
        None => conditions(filter),
    };
    let from = match filter.changed_after {
        Some(_) => FILTERED,
        None => COUNTED,
    };
    let counting = format!("SELECT count(*){from}{}", conditions.sql());
    let counting = conditions.bind(sql::query(AssertSqlSafe(counting)));
    Ok(counting.fetch_one(tables).await?.try_get(0)?)
}

/// Rooms by filter, a page of them as lists show them.
pub async fn some(
    tables: &mut AnyConnection,
    filter: &RoomFilter,
    paging: Paging,
) -> Result<Vec<Room>, ViewError> {
    let (page, conditions) = page(tables, filter, paging).await?;
    let sorted = filter.order.sql(filter.descending);
    let listing = format!("{COLUMNS}{LISTED} WHERE r.id IN ({page}){sorted}");
    let listing = conditions.bind(sql::query(AssertSqlSafe(listing)));
    let rows = listing.fetch_all(&mut *tables).await?;
    with_people(tables, rows).await
}

/// The ids of rooms by filter, a page of them.
pub async fn ids(
    tables: &mut AnyConnection,
    filter: &RoomFilter,
    paging: Paging,
) -> Result<Vec<RoomId>, ViewError> {
    let (page, conditions) = page(tables, filter, paging).await?;
    let listing = conditions.bind(sql::query(AssertSqlSafe(page)));
    let rows = listing.fetch_all(tables).await?;
    let id = |row: &AnyRow| Ok(RoomId::new(row.try_get::<String, _>(0)?));
    each_row(&rows, id).await
}

/// So many that have a name are looked up and sorted rather than met in their order.
const MANY: i64 = if cfg!(test) { 2 } else { 4_000 };

/// The statement that finds the ids of a page, and its parameters.
async fn page(
    tables: &mut AnyConnection,
    filter: &RoomFilter,
    paging: Paging,
) -> Result<(String, Conditions), ViewError> {
    let mut conditions = conditions(filter);
    if let Some(fragments) = fragments(Dialect::of(tables), filter) {
        let wanted = paging.limit().saturating_add(paging.offset);
        let many = fragments.to_look_up(tables, Some(wanted), MANY).await?;
        if many <= wanted.max(MANY) {
            conditions = found(filter, fragments);
        }
    }
    let from = if filter.changed_after.is_some() || filter.order.is_of_activity() {
        FILTERED
    } else {
        COUNTED
    };
    let page = format!(
        "SELECT r.id{from}{}{} LIMIT {} OFFSET {}",
        conditions.sql().to_owned(),
        filter.order.sql(filter.descending),
        conditions.parameter(paging.limit()),
        conditions.parameter(paging.offset),
    );
    Ok((page, conditions))
}

/// The rooms of these ids that there are, in no order.
pub async fn by_ids(tables: &mut AnyConnection, ids: &[RoomId]) -> Result<Vec<Room>, ViewError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = BY_ID.fetch(tables, ids).await?;
    let mut seen = HashSet::new();
    let mut rooms = with_people(tables, rows).await?;
    rooms.retain(|room| seen.insert(room.id.clone()));
    Ok(rooms)
}

/// The rooms somebody is in that changed after a time.
pub async fn of_member(
    tables: &mut AnyConnection,
    member: &UserId,
    changed_after: Option<Timestamp>,
) -> Result<Vec<Room>, ViewError> {
    let filter = RoomFilter {
        member: Some(member.clone()),
        changed_after,
        ..RoomFilter::default()
    };
    some(tables, &filter, Paging::ALL).await
}

/// All rooms that somebody is in, kept until something happens in one of them.
pub async fn mine(store: &Store, member: &UserId) -> Result<Arc<Vec<Room>>, ViewError> {
    let read = async || {
        let mut reading = store.moment().await?;
        let rooms = of_member(&mut reading, member, None).await?;
        let rooms_of = rooms.iter().map(|room| Subject::Room(room.id.clone()));
        Ok(Answer {
            own: true,
            bytes: rooms.iter().map(Room::bytes).sum(),
            about: rooms_of.chain([Subject::Account(member.clone())]).collect(),
            value: rooms,
        })
    };
    store.answer("rooms".to_owned(), member, read).await
}

/// Which of these rooms were deleted after a time, and when, in this order.
pub async fn removed_among(
    tables: &mut AnyConnection,
    rooms: &[RoomId],
    after: Timestamp,
) -> Result<Vec<(RoomId, Timestamp)>, ViewError> {
    let rows = REMOVED.fetch(tables, rooms).await?;
    let removed = |row: &AnyRow| {
        Ok::<_, ViewError>((
            RoomId::new(row.try_get::<String, _>(0)?),
            Timestamp(row.try_get(1)?),
        ))
    };
    let mut removed = each_row(&rows, removed).await?;
    removed.retain(|(_, at)| *at > after);
    removed.sort_unstable_by(|(a, then), (b, now)| (then, a.as_str()).cmp(&(now, b.as_str())));
    Ok(removed)
}

async fn with_people(
    tables: &mut AnyConnection,
    rows: Vec<AnyRow>,
) -> Result<Vec<Room>, ViewError> {
    let mut rooms = each_row(&rows, Room::read).await?;
    let named: HashSet<_> = rooms.iter().flat_map(Room::named).cloned().collect();
    let named: Vec<_> = named.into_iter().collect();
    let mut people = HashMap::new();
    if !named.is_empty() {
        for row in PEOPLE.fetch(tables, &named).await? {
            let person = Person {
                username: row.try_get(1)?,
                name: row.try_get(2)?,
            };
            people.insert(UserId::new(row.try_get::<String, _>(0)?), person);
        }
    }
    for room in &mut rooms {
        let theirs: Vec<_> = room.named().cloned().collect();
        room.people = theirs
            .into_iter()
            .filter_map(|id| people.get(&id).map(|person| (id, person.clone())))
            .collect();
    }
    Ok(rooms)
}

impl Room {
    fn read(row: &AnyRow) -> Result<Self, ViewError> {
        let kind: String = row.try_get(1)?;
        let participants: Option<String> = row.try_get(10)?;
        let spoken = Timestamp(row.try_get(15)?);
        Ok(Self {
            id: RoomId::new(row.try_get::<String, _>(0)?),
            kind: serde_json::from_value(json!(kind))?,
            name: row.try_get(2)?,
            fname: row.try_get(3)?,
            creator: row.try_get::<Option<String>, _>(4)?.map(UserId::new),
            created: Timestamp(row.try_get(5)?),
            updated: Timestamp(row.try_get(6)?).max(Timestamp(row.try_get(17)?)),
            default: row.try_get::<i64, _>(7)? != 0,
            read_only: row.try_get::<i64, _>(8)? != 0,
            archived: row.try_get::<i64, _>(9)? != 0,
            participants: participants
                .map(|list| hansard_domain::json::from_str(&list))
                .transpose()?,
            muted: hansard_domain::json::from_str(&row.try_get::<String, _>(11)?)?,
            unmuted: hansard_domain::json::from_str(&row.try_get::<String, _>(16)?)?,
            more: hansard_domain::json::object(&row.try_get::<String, _>(12)?)?,
            messages: row.try_get::<i64, _>(13)?.max(0),
            members: row.try_get(14)?,
            spoken: Some(spoken).filter(|spoken| spoken.0 > 0),
            people: HashMap::new(),
        })
    }

    /// The memory it takes, about.
    fn bytes(&self) -> usize {
        let texts = [&self.name, &self.fname].map(|text| text.as_ref().map_or(0, String::len));
        let people = self.named().count() + self.people.len();
        size_of::<Self>() + texts.iter().sum::<usize>() + object_bytes(&self.more) + 100 * people
    }

    pub(super) fn named(&self) -> impl Iterator<Item = &UserId> {
        self.creator
            .iter()
            .chain(self.participants.iter().flatten())
            .chain(&self.muted)
            .chain(&self.unmuted)
    }

    fn username(&self, id: &UserId) -> Option<&str> {
        self.people.get(id)?.username.as_deref()
    }

    /// As Rocket.Chat writes a room. What was said last, `lastMessage`, is for the caller to add.
    pub fn wire(&self) -> Map<String, Value> {
        let direct = self.kind == RoomKind::Direct;
        let mut wire = Map::new();
        wire.insert("_id".into(), json!(self.id));
        wire.insert("t".into(), json!(self.kind));
        if let Some(fname) = &self.fname {
            wire.insert("fname".into(), json!(fname));
        }
        if let Some(name) = &self.name {
            wire.insert("name".into(), json!(name));
        }
        wire.insert("msgs".into(), json!(self.messages));
        wire.insert("usersCount".into(), json!(self.members));
        if let Some(participants) = &self.participants {
            let mut people: Vec<_> = participants
                .iter()
                .filter_map(|id| self.people.get(id))
                .filter_map(|person| {
                    let username = person.username.as_deref()?;
                    Some((
                        person.name.as_deref().unwrap_or(username).to_lowercase(),
                        username,
                    ))
                })
                .collect();
            people.sort();
            let usernames: Vec<_> = people.into_iter().map(|(_, username)| username).collect();
            wire.insert("usernames".into(), json!(usernames));
            wire.insert("uids".into(), json!(participants));
        } else if let Some(creator) = &self.creator {
            let mut u = Map::from_iter([("_id".to_owned(), json!(creator))]);
            if let Some(person) = self.people.get(creator) {
                u.insert("username".into(), json!(person.username));
                if let Some(name) = &person.name {
                    u.insert("name".into(), json!(name));
                }
            }
            wire.insert("u".into(), Value::Object(u));
        }
        wire.insert("ts".into(), json!(self.created.iso()));
        if !direct {
            wire.insert("ro".into(), json!(self.read_only));
            wire.insert("default".into(), json!(self.default));
        }
        if self.archived {
            wire.insert("archived".into(), json!(true));
        }
        for (field, ids) in [("muted", &self.muted), ("unmuted", &self.unmuted)] {
            let usernames: Vec<_> = ids.iter().filter_map(|id| self.username(id)).collect();
            if !usernames.is_empty() {
                wire.insert(field.into(), json!(usernames));
            }
        }
        wire.extend(self.more.clone());
        if let Some(spoken) = self.spoken {
            wire.insert("lm".into(), json!(spoken.iso()));
        }
        wire.insert("_updatedAt".into(), json!(self.updated.iso()));
        wire
    }
}
