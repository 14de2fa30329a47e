//! Subscriptions as they are answered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use hansard_domain::id::{MessageId, RoleId, RoomId, Timestamp, UserId};
use hansard_domain::pace::each_row;
use hansard_domain::room::RoomKind;
use hansard_domain::subscription::Subscription as Aggregate;
use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::answers::{Answer, Subject, object_bytes};
use crate::rows::ByKey;
use crate::sql;
use crate::store::Store;
use crate::view::ViewError;

/// What makes a message count as unread: the settings `Unread_Count` and `Unread_Count_DM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    AllMessages,
    UserMentions,
    GroupMentions,
    UserAndGroupMentions,
}

impl Counting {
    /// By the setting's value; what it does not know counts mentions of both kinds.
    pub fn parse(value: &str) -> Self {
        match value {
            "all_messages" => Self::AllMessages,
            "user_mentions_only" => Self::UserMentions,
            "group_mentions_only" => Self::GroupMentions,
            _ => Self::UserAndGroupMentions,
        }
    }
}

/// What a member sees of a room.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub id: String,
    pub room: RoomId,
    pub account: UserId,
    pub kind: RoomKind,
    pub since: Timestamp,
    pub roles: Vec<RoleId>,
    pub favourite: bool,
    /// Stands in the member's list.
    pub open: bool,
    pub alert: bool,
    /// When the room was last read.
    pub seen: Option<Timestamp>,
    /// Messages of others since then.
    pub said: i64,
    pub user_mentions: i64,
    pub group_mentions: i64,
    pub ignored: Vec<UserId>,
    pub updated: Timestamp,
    called: bool,
    archived: bool,
    parent: Option<String>,
    name: Option<String>,
    fname: Option<String>,
    participants: Vec<UserId>,
    preferences: Map<String, Value>,
    threads: Vec<UnreadThread>,
    people: HashMap<UserId, (String, Option<String>)>,
}

#[derive(Debug, Clone)]
struct UnreadThread {
    thread: MessageId,
    mentioned: bool,
    summoned: bool,
}

const SELECT: &str = "SELECT s.id, s.room, s.account, r.kind, s.since, s.roles, s.favourite, \
    s.hidden, s.alert, s.seen, s.called, s.ignored, s.preferences, s.updated, \
    r.name, r.fname, r.parent, r.archived, r.participants, \
    COALESCE(f.counted, 0) - s.counted_read - COALESCE(o.counted, 0) + s.own_counted_read, \
    COALESCE(f.shown, 0) - s.shown_read - COALESCE(o.shown, 0) + s.own_shown_read, \
    COALESCE(f.heard, 0), \
    (SELECT count(*) FROM mention m \
      WHERE m.room = s.room AND m.account = s.account AND m.number > s.counted_read), \
    (SELECT count(*) FROM summons g \
      WHERE g.room = s.room AND g.number > s.counted_read AND g.sender <> s.account) \
    FROM subscription s JOIN room r ON r.id = s.room \
    LEFT JOIN flow f ON f.room = s.room LEFT JOIN own o ON o.id = s.id ";

const PEOPLE: ByKey = ByKey::new("SELECT id, username, name FROM account WHERE id IN");

/// All subscriptions of an account, in the order it came into the rooms.
pub async fn of_account(
    tables: &mut AnyConnection,
    account: &UserId,
) -> Result<Vec<Subscription>, ViewError> {
    let sql = format!("{SELECT}WHERE s.account = $1 ORDER BY s.since, s.id");
    let rows = sql::query(AssertSqlSafe(sql))
        .bind(account.as_str().to_owned())
        .fetch_all(&mut *tables)
        .await?;
    complete(tables, account, &rows).await
}

/// What an account keeps about its rooms.
#[derive(Debug)]
pub struct Mine {
    /// Its subscriptions, in the order it came into the rooms.
    pub subscriptions: Vec<Subscription>,
    /// When one of them ended last.
    pub ended: Option<Timestamp>,
}

/// What an account keeps about its rooms, kept until something happens in one of them.
pub async fn mine(store: &Store, account: &UserId) -> Result<Arc<Mine>, ViewError> {
    let read = async || {
        let mut reading = store.moment().await?;
        let ended = sql::query("SELECT max(at) FROM removed WHERE account = $1")
            .bind(account.as_str().to_owned())
            .fetch_one(&mut reading)
            .await?;
        let mine = Mine {
            subscriptions: of_account(&mut reading, account).await?,
            ended: ended.try_get::<Option<i64>, _>(0)?.map(Timestamp),
        };
        let mut about = vec![Subject::Account(account.clone())];
        for subscription in &mine.subscriptions {
            about.push(Subject::Room(subscription.room.clone()));
            about.push(Subject::Subscription(subscription.id.clone()));
        }
        Ok(Answer {
            own: true,
            bytes: mine.subscriptions.iter().map(Subscription::bytes).sum(),
            about,
            value: mine,
        })
    };
    store
        .answer("subscriptions".to_owned(), account, read)
        .await
}

/// An account's subscription to a room.
pub async fn one(
    tables: &mut AnyConnection,
    room: &RoomId,
    account: &UserId,
) -> Result<Option<Subscription>, ViewError> {
    let rows = sql::query(AssertSqlSafe(format!("{SELECT}WHERE s.id = $1")))
        .bind(Aggregate::key(room, account))
        .fetch_all(&mut *tables)
        .await?;
    Ok(complete(tables, account, &rows).await?.pop())
}

/// The subscriptions of an account that ended after a time, by id, and when.
pub async fn removed_since(
    tables: &mut AnyConnection,
    account: &UserId,
    after: Timestamp,
) -> Result<Vec<(String, Timestamp)>, ViewError> {
    sql::query("SELECT id, at FROM removed WHERE account = $1 AND at > $2 ORDER BY at, id")
        .bind(account.as_str().to_owned())
        .bind(after.0)
        .fetch_all(tables)
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, Timestamp(row.try_get(1)?))))
        .collect()
}

async fn complete(
    tables: &mut AnyConnection,
    account: &UserId,
    rows: &[AnyRow],
) -> Result<Vec<Subscription>, ViewError> {
    let mut all = each_row(rows, Subscription::read).await?;
    let mut threads = unread_threads(tables, account).await?;
    let named: HashSet<_> = all.iter().flat_map(Subscription::named).cloned().collect();
    let named: Vec<_> = named.into_iter().collect();
    let mut people = HashMap::new();
    for row in PEOPLE.fetch(tables, &named).await? {
        let username: Option<String> = row.try_get(1)?;
        let person = (username.unwrap_or_default(), row.try_get(2)?);
        people.insert(UserId::new(row.try_get::<String, _>(0)?), person);
    }
    for subscription in &mut all {
        subscription.threads = threads.remove(&subscription.room).unwrap_or_default();
        let theirs: Vec<_> = subscription.named().cloned().collect();
        subscription.people = theirs
            .into_iter()
            .filter_map(|id| people.get(&id).cloned().map(|it| (id, it)))
            .collect();
    }
    Ok(all)
}

async fn unread_threads(
    tables: &mut AnyConnection,
    account: &UserId,
) -> Result<BTreeMap<RoomId, Vec<UnreadThread>>, ViewError> {
    let mut threads = BTreeMap::<_, Vec<_>>::new();
    let rows = sql::query(
        "SELECT room, thread, mentioned, summoned FROM unread_thread WHERE account = $1 ORDER BY thread",
    )
    .bind(account.as_str().to_owned())
    .fetch_all(tables)
    .await?;
    for row in rows {
        threads
            .entry(RoomId::new(row.try_get::<String, _>(0)?))
            .or_default()
            .push(UnreadThread {
                thread: MessageId::new(row.try_get::<String, _>(1)?),
                mentioned: row.try_get::<i64, _>(2)? != 0,
                summoned: row.try_get::<i64, _>(3)? != 0,
            });
    }
    Ok(threads)
}

impl Subscription {
    fn read(row: &AnyRow) -> Result<Self, ViewError> {
        let kind: String = row.try_get(3)?;
        let flag = |column: usize| Ok::<_, ViewError>(row.try_get::<i64, _>(column)? != 0);
        let participants: Option<String> = row.try_get(18)?;
        let shown: i64 = row.try_get(20)?;
        let heard = Timestamp(row.try_get(21)?);
        let called = flag(10)?;
        let updated = Timestamp(row.try_get(13)?);
        Ok(Self {
            id: row.try_get(0)?,
            room: RoomId::new(row.try_get::<String, _>(1)?),
            account: UserId::new(row.try_get::<String, _>(2)?),
            kind: serde_json::from_value(json!(kind))?,
            since: Timestamp(row.try_get(4)?),
            roles: hansard_domain::json::from_str(&row.try_get::<String, _>(5)?)?,
            favourite: flag(6)?,
            open: !flag(7)? || shown > 0,
            alert: flag(8)? || shown > 0,
            seen: Some(Timestamp(row.try_get(9)?)).filter(|seen| seen.0 > 0),
            called,
            ignored: hansard_domain::json::from_str(&row.try_get::<String, _>(11)?)?,
            preferences: hansard_domain::json::from_str(&row.try_get::<String, _>(12)?)?,
            updated: if shown > 0 {
                updated.max(heard)
            } else {
                updated
            },
            name: row.try_get(14)?,
            fname: row.try_get(15)?,
            parent: row.try_get(16)?,
            archived: flag(17)?,
            participants: participants
                .map(|list| hansard_domain::json::from_str(&list))
                .transpose()?
                .unwrap_or_default(),
            said: row.try_get(19)?,
            user_mentions: row.try_get::<i64, _>(22)? + i64::from(called),
            group_mentions: row.try_get(23)?,
            threads: Vec::new(),
            people: HashMap::new(),
        })
    }

    /// The memory it takes, about.
    fn bytes(&self) -> usize {
        let preferences = object_bytes(&self.preferences);
        let people = self.participants.len() + self.people.len() + self.ignored.len();
        let threads = self.threads.len() * size_of::<UnreadThread>();
        size_of::<Self>() + 200 + preferences + 100 * people + 2 * threads
    }

    fn named(&self) -> impl Iterator<Item = &UserId> {
        self.participants.iter().chain([&self.account])
    }

    /// The messages that threads with unread replies hang on.
    pub fn unread_threads(&self) -> impl Iterator<Item = &MessageId> {
        self.threads.iter().map(|unread| &unread.thread)
    }

    /// How many messages are unread, by what counts.
    pub fn unread(&self, counting: Counting) -> i64 {
        let direct = self.kind == RoomKind::Direct;
        let by_user = direct || counting != Counting::GroupMentions;
        let by_group = direct || counting != Counting::UserMentions;
        match counting {
            Counting::AllMessages => self.said + i64::from(self.called),
            _ => {
                self.user_mentions * i64::from(by_user) + self.group_mentions * i64::from(by_group)
            }
        }
    }

    /// A direct conversation is named after the others in it.
    fn names(&self) -> (Option<String>, Option<String>) {
        if self.kind != RoomKind::Direct {
            return (self.name.clone(), self.fname.clone());
        }
        let alone = self.participants.len() == 1;
        let mut others: Vec<_> = self
            .participants
            .iter()
            .filter(|id| alone || **id != self.account)
            .filter_map(|id| self.people.get(id))
            .map(|(username, name)| (name.as_deref().unwrap_or(username), username.as_str()))
            .collect();
        others.sort_by_key(|(name, _)| name.to_lowercase());
        let joined =
            |names: Vec<&str>, between| Some(names.join(between)).filter(|names| !names.is_empty());
        (
            joined(others.iter().map(|(_, username)| *username).collect(), ","),
            joined(others.iter().map(|(name, _)| *name).collect(), ", "),
        )
    }

    /// As Rocket.Chat writes a subscription.
    pub fn wire(&self, channels: Counting, direct: Counting) -> Value {
        let counting = if self.kind == RoomKind::Direct {
            direct
        } else {
            channels
        };
        let (name, fname) = self.names();
        let mut wire = Map::new();
        wire.insert("_id".into(), json!(self.id));
        wire.insert("rid".into(), json!(self.room));
        wire.insert("t".into(), json!(self.kind));
        wire.insert("ts".into(), json!(self.since.iso()));
        let mut text = |field: &str, value: Option<String>| {
            if let Some(value) = value {
                wire.insert(field.to_owned(), json!(value));
            }
        };
        text("name", name);
        text("fname", fname);
        text("prid", self.parent.clone());
        text("ls", self.seen.map(Timestamp::iso));
        wire.insert("u".into(), self.user());
        wire.insert("open".into(), json!(self.open));
        wire.insert("alert".into(), json!(self.alert));
        wire.insert("unread".into(), json!(self.unread(counting)));
        wire.insert("userMentions".into(), json!(self.user_mentions));
        wire.insert("groupMentions".into(), json!(self.group_mentions));
        if !self.roles.is_empty() {
            wire.insert("roles".into(), json!(self.roles));
        }
        if self.favourite {
            wire.insert("f".into(), json!(true));
        }
        if self.archived {
            wire.insert("archived".into(), json!(true));
        }
        if !self.ignored.is_empty() {
            wire.insert("ignored".into(), json!(self.ignored));
        }
        let threads = |wanted: fn(&UnreadThread) -> bool| {
            let ids: Vec<_> = self
                .threads
                .iter()
                .filter(|it| wanted(it))
                .map(|it| &it.thread)
                .collect();
            (!ids.is_empty()).then(|| json!(ids))
        };
        for (field, ids) in [
            ("tunread", threads(|_| true)),
            ("tunreadUser", threads(|thread| thread.mentioned)),
            ("tunreadGroup", threads(|thread| thread.summoned)),
        ] {
            if let Some(ids) = ids {
                wire.insert(field.into(), ids);
            }
        }
        wire.extend(self.preferences.clone());
        wire.insert("_updatedAt".into(), json!(self.updated.iso()));
        Value::Object(wire)
    }

    fn user(&self) -> Value {
        let mut user = Map::from_iter([("_id".to_owned(), json!(self.account))]);
        if let Some((username, name)) = self.people.get(&self.account) {
            user.insert("username".into(), json!(username));
            if let Some(name) = name {
                user.insert("name".into(), json!(name));
            }
        }
        Value::Object(user)
    }
}
