//! How events change the tables.
//!
//! What happens often (messages, new members, new rooms, new accounts) is gathered and written with
//! one statement a table. What happens rarely is written at once, after what was gathered before it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hansard_domain::account::AccountEvent;
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{MessageId, RoleId, RoomId, Timestamp, UserId};
use hansard_domain::log::Position;
use hansard_domain::message::{MessageEvent, Sent, ThreadReply};
use hansard_domain::room::{RoomDetails, RoomEvent, RoomKind};
use hansard_domain::subscription::{Subscription, SubscriptionEvent};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sqlx::{AnyConnection, Row};

use crate::gone::{self, Leaving, is_remembered};
use crate::rows::{ByKey, Insert};
use crate::sql;
use crate::view::ViewError;

/// Messages whose time is further from their recording are imports: nobody has to read them.
const IMPORTED: Duration = Duration::from_secs(60);

const ROOM: Insert = Insert::into(
    "room",
    &[
        "id",
        "kind",
        "name",
        "fname",
        "parent",
        "archived",
        "participants",
    ],
);

const FLOW: Insert = Insert::into("flow", &["room", "counted", "shown", "heard"]).on_conflict(
    "ON CONFLICT (room) DO UPDATE SET counted = excluded.counted, shown = excluded.shown, \
     heard = excluded.heard",
);

const OWN: Insert = Insert::into("own", &["id", "counted", "shown"]).on_conflict(
    "ON CONFLICT (id) DO UPDATE SET counted = own.counted + excluded.counted, \
     shown = own.shown + excluded.shown",
);

const SUBSCRIPTION: Insert = Insert::into(
    "subscription",
    &[
        "id",
        "room",
        "account",
        "since",
        "roles",
        "favourite",
        "hidden",
        "alert",
        "seen",
        "counted_read",
        "own_counted_read",
        "shown_read",
        "own_shown_read",
        "called",
        "ignored",
        "preferences",
        "updated",
    ],
);

const MENTION: Insert =
    Insert::into("mention", &["room", "account", "number"]).on_conflict("ON CONFLICT DO NOTHING");

const SUMMONS: Insert = Insert::into("summons", &["room", "sender", "number"]);

const FOLLOWER: Insert = Insert::into("follower", &["id", "thread", "account"])
    .on_conflict("ON CONFLICT (id) DO NOTHING");

const UNREAD_THREAD: Insert = Insert::into(
    "unread_thread",
    &["id", "room", "account", "thread", "mentioned", "summoned"],
)
.on_conflict(
    "ON CONFLICT (id) DO UPDATE SET \
     mentioned = CASE WHEN excluded.mentioned = 1 THEN 1 ELSE unread_thread.mentioned END, \
     summoned = CASE WHEN excluded.summoned = 1 THEN 1 ELSE unread_thread.summoned END",
);

const ACCOUNT: Insert = Insert::into("account", &["id", "username", "name"]).on_conflict(
    "ON CONFLICT (id) DO UPDATE SET username = excluded.username, name = excluded.name",
);

const PARTICIPANT: Insert = Insert::into("participant", &["room", "account"]);

const REMOVED: Insert = Insert::into("removed", &["id", "account", "at"])
    .on_conflict("ON CONFLICT (id) DO UPDATE SET at = excluded.at");

const FLOWS: ByKey = ByKey::new("SELECT room, counted, shown, heard FROM flow WHERE room IN");
const FORGET_OWN: ByKey = ByKey::new("DELETE FROM own WHERE id IN");
const RETURN: ByKey = ByKey::new("DELETE FROM removed WHERE id IN");

const TOUCH: &str = "UPDATE subscription SET updated = $1 WHERE id = $2 AND updated < $1";

const UNREAD: ByKey = ByKey::new("SELECT thread, room, account FROM unread_thread WHERE thread IN");

const END_THREADS: [ByKey; 2] = [
    ByKey::new("DELETE FROM follower WHERE thread IN"),
    ByKey::new("DELETE FROM unread_thread WHERE thread IN"),
];

pub(super) async fn apply(
    tables: &mut AnyConnection,
    entries: &[Arc<Entry>],
) -> Result<(), ViewError> {
    let mut gathered = Gathered {
        flows: flows(tables, entries).await?,
        ..Gathered::default()
    };
    for entry in entries {
        match &entry.event {
            Event::Message(event) => {
                if !gathered.message(entry, event) {
                    gathered.write(tables).await?;
                    change_thread(tables, entry, event).await?;
                }
            }
            Event::Room(event) => {
                let room = RoomId::new(entry.stream.key());
                if !gathered.room(&room, entry, event) {
                    gathered.write(tables).await?;
                    change_room(tables, &room, entry.at, event).await?;
                    if let RoomEvent::RoomDeleted { .. } = event {
                        gathered.flows.remove(&room);
                    }
                }
            }
            Event::Subscription(event) => {
                gathered.write(tables).await?;
                change_subscription(tables, entry.stream.key(), entry.at, event).await?;
            }
            Event::Account(event) => {
                let account = UserId::new(entry.stream.key());
                if !gathered.account(&account, event) {
                    gathered.write(tables).await?;
                    change_account(tables, &account, entry.at, event).await?;
                }
            }
            _ => {}
        }
    }
    gathered.write(tables).await
}

/// The counters of the rooms that the entries are about.
async fn flows(
    tables: &mut AnyConnection,
    entries: &[Arc<Entry>],
) -> Result<HashMap<RoomId, Flow>, ViewError> {
    let mut rooms: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Message(MessageEvent::MessageSent { sent, .. }) => Some(sent.room.clone()),
            Event::Room(RoomEvent::MemberJoined { .. }) => Some(RoomId::new(entry.stream.key())),
            _ => None,
        })
        .collect();
    rooms.sort();
    rooms.dedup();
    FLOWS
        .fetch(tables, &rooms)
        .await?
        .iter()
        .map(|row| {
            let flow = Flow {
                counted: row.try_get(1)?,
                shown: row.try_get(2)?,
                heard: Timestamp(row.try_get(3)?),
                changed: false,
            };
            Ok((RoomId::new(row.try_get::<String, _>(0)?), flow))
        })
        .collect()
}

#[derive(Default, Clone, Copy)]
struct Flow {
    counted: i64,
    shown: i64,
    heard: Timestamp,
    changed: bool,
}

/// Changes that are written together.
#[derive(Default)]
struct Gathered {
    accounts: Vec<(UserId, Option<String>, Option<String>)>,
    rooms: Vec<RoomRow>,
    /// As they are now; kept from one write to the next.
    flows: HashMap<RoomId, Flow>,
    /// What was said since the last write, counted and shown.
    own: BTreeMap<String, (i64, i64)>,
    subscriptions: Vec<SubscriptionRow>,
    mentions: Vec<(RoomId, UserId, i64)>,
    summons: Vec<(RoomId, UserId, i64)>,
    /// Messages that went: a thread goes with the message that it hangs on.
    leaving: Vec<(MessageId, RoomId, Position, Timestamp)>,
}

struct RoomRow {
    id: RoomId,
    kind: RoomKind,
    details: RoomDetails,
    parent: Option<RoomId>,
    participants: Option<Vec<UserId>>,
}

impl RoomRow {
    fn participants(&self) -> impl Iterator<Item = (&RoomId, &UserId)> {
        let participants = self.participants.iter().flatten();
        participants.map(|account| (&self.id, account))
    }
}

struct SubscriptionRow {
    room: RoomId,
    account: UserId,
    since: Timestamp,
    roles: Vec<RoleId>,
    hidden: bool,
    called: bool,
    seen: Timestamp,
    flow: Flow,
    updated: Timestamp,
}

impl Gathered {
    /// Takes what happens often; answers whether it did.
    fn message(&mut self, entry: &Entry, event: &MessageEvent) -> bool {
        match event {
            MessageEvent::MessageSent { sent, .. } => {
                self.count(entry, sent);
                sent.thread.is_none()
            }
            MessageEvent::MessageDeleted {
                room,
                show_deleted: false,
                ..
            } => {
                let message = MessageId::new(entry.stream.key());
                self.leaving
                    .push((message, room.clone(), entry.position, entry.at));
                true
            }
            MessageEvent::ThreadFollowed { .. } | MessageEvent::ThreadUnfollowed { .. } => false,
            _ => true,
        }
    }

    fn count(&mut self, entry: &Entry, sent: &Sent) {
        let counted = sent.thread.is_none();
        let shown = sent.thread.as_ref().is_none_or(|thread| thread.shown);
        let imported = sent.at.is_further_than(IMPORTED, entry.at);
        if sent.system.is_some() || imported || !shown {
            return;
        }
        let flow = self.flows.entry(sent.room.clone()).or_default();
        flow.changed = true;
        flow.shown += 1;
        flow.counted += i64::from(counted);
        flow.heard = flow.heard.max(entry.at);
        let number = flow.counted;
        let own = self
            .own
            .entry(Subscription::key(&sent.room, &sent.sender))
            .or_default();
        own.0 += i64::from(counted);
        own.1 += 1;
        if !counted {
            return;
        }
        let mentioned = sent
            .mentions
            .users
            .iter()
            .filter(|user| **user != sent.sender);
        let before = self.mentions.len();
        self.mentions
            .extend(mentioned.map(|user| (sent.room.clone(), user.clone(), number)));
        // Who is called by name is not called again as one of all.
        if sent.mentions.everybody && self.mentions.len() == before {
            self.summons
                .push((sent.room.clone(), sent.sender.clone(), number));
        }
    }

    /// Takes what happens often; answers whether it did.
    fn room(&mut self, room: &RoomId, entry: &Entry, event: &RoomEvent) -> bool {
        let updated = entry.at;
        match event {
            RoomEvent::RoomCreated {
                kind,
                creator,
                members,
                parent,
                details,
                at,
                ..
            } => {
                let direct = *kind == RoomKind::Direct;
                let mut everybody: Vec<_> = creator.iter().chain(members).cloned().collect();
                everybody.sort();
                everybody.dedup();
                for account in &everybody {
                    let created = creator.as_ref() == Some(account);
                    let owner = created && !direct;
                    self.subscriptions.push(SubscriptionRow {
                        room: room.clone(),
                        account: account.clone(),
                        since: *at,
                        roles: owner.then(|| RoleId::new("owner")).into_iter().collect(),
                        // A conversation of two shows up for the other once something is said.
                        hidden: direct && !created && everybody.len() <= 2,
                        called: false,
                        seen: if owner { *at } else { Timestamp::default() },
                        flow: Flow::default(),
                        updated,
                    });
                }
                self.rooms.push(RoomRow {
                    id: room.clone(),
                    kind: *kind,
                    details: details.value().cloned().unwrap_or_default(),
                    parent: parent.as_ref().map(|parent| parent.room.clone()),
                    participants: direct.then_some(everybody),
                });
                true
            }
            RoomEvent::MemberJoined { user, at, .. } => {
                let flow = self.flows.get(room).copied().unwrap_or_default();
                self.subscriptions.push(SubscriptionRow {
                    room: room.clone(),
                    account: user.clone(),
                    since: *at,
                    roles: Vec::new(),
                    hidden: false,
                    called: true,
                    seen: Timestamp::default(),
                    flow,
                    updated,
                });
                // What it said before it joined does not count.
                self.own.remove(&Subscription::key(room, user));
                true
            }
            RoomEvent::ChannelPruned { pruned, .. } => {
                let all = pruned.iter().map(|pruned| pruned.message.clone());
                self.leaving
                    .extend(all.map(|message| (message, room.clone(), entry.position, entry.at)));
                true
            }
            _ => false,
        }
    }

    /// Takes what happens often; answers whether it did.
    fn account(&mut self, account: &UserId, event: &AccountEvent) -> bool {
        match event {
            AccountEvent::UserRegistered { profile, .. } => {
                let profile = profile.value();
                self.accounts.push((
                    account.clone(),
                    profile.map(|profile| profile.username.clone()),
                    profile.and_then(|profile| profile.name.clone()),
                ));
                true
            }
            AccountEvent::UserProfileChanged { .. } | AccountEvent::UserDeleted { .. } => false,
            _ => true,
        }
    }

    async fn write(&mut self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        ACCOUNT
            .write(
                tables,
                &std::mem::take(&mut self.accounts),
                |(id, username, name), values| {
                    values.text(id);
                    values.maybe_text(username.as_ref());
                    values.maybe_text(name.as_ref());
                },
            )
            .await?;
        let rooms = std::mem::take(&mut self.rooms);
        ROOM.write(tables, &rooms, |row, values| {
            values.text(&row.id);
            values.text(row.kind.letter());
            values.maybe_text(filled(&row.details.name));
            values.maybe_text(filled(&row.details.fname));
            values.maybe_text(row.parent.as_ref());
            values.flag(false);
            values.maybe_text(row.participants.as_ref().map(|all| json!(all).to_string()));
        })
        .await?;
        let participants: Vec<_> = rooms.iter().flat_map(RoomRow::participants).collect();
        PARTICIPANT
            .write(tables, &participants, |(room, account), values| {
                values.text(room);
                values.text(account);
            })
            .await?;
        self.write_subscriptions(tables).await?;
        self.write_counters(tables).await?;
        self.end_threads(tables).await
    }

    async fn end_threads(&mut self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        let leaving = std::mem::take(&mut self.leaving);
        let messages: Vec<&MessageId> = leaving.iter().map(|(message, ..)| message).collect();
        let went: HashMap<&str, Timestamp> = leaving
            .iter()
            .map(|(message, _, _, at)| (message.as_str(), *at))
            .collect();
        for row in UNREAD.fetch(tables, &messages).await? {
            let (thread, room, account): (String, String, String) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            if let Some(at) = went.get(thread.as_str()) {
                set(tables, &format!("{room}/{account}"), *at, TOUCH).await?;
            }
        }
        for statement in END_THREADS {
            statement.execute(tables, &messages).await?;
        }
        let leaving: Vec<_> = leaving
            .iter()
            .map(|(message, room, position, _)| Leaving {
                message: message.as_str(),
                room: room.as_str(),
                position: *position,
                kept: false,
            })
            .collect();
        gone::leave(tables, &leaving).await?;
        Ok(())
    }

    async fn write_subscriptions(&mut self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        let subscriptions = std::mem::take(&mut self.subscriptions);
        if subscriptions.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = subscriptions
            .iter()
            .map(|row| Subscription::key(&row.room, &row.account))
            .collect();
        RETURN.execute(tables, &ids).await?;
        FORGET_OWN.execute(tables, &ids).await?;
        SUBSCRIPTION
            .write(tables, &subscriptions, |row, values| {
                values.text(Subscription::key(&row.room, &row.account));
                values.text(&row.room);
                values.text(&row.account);
                values.time(row.since);
                values.text(json!(row.roles).to_string());
                values.flag(false);
                values.flag(row.hidden);
                values.flag(row.called);
                values.time(row.seen);
                values.number(row.flow.counted);
                values.number(0);
                values.number(row.flow.shown);
                values.number(0);
                values.flag(row.called);
                values.text("[]");
                values.text("{}");
                values.time(row.updated);
            })
            .await
    }

    async fn write_counters(&mut self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        let changed: Vec<_> = self
            .flows
            .iter_mut()
            .filter_map(|(room, flow)| {
                std::mem::take(&mut flow.changed).then(|| (room.clone(), *flow))
            })
            .collect();
        FLOW.write(tables, &changed, |(room, flow), values| {
            values.text(room);
            values.number(flow.counted);
            values.number(flow.shown);
            values.time(flow.heard);
        })
        .await?;
        let own: Vec<_> = std::mem::take(&mut self.own).into_iter().collect();
        OWN.write(tables, &own, |(id, (counted, shown)), values| {
            values.text(id);
            values.number(*counted);
            values.number(*shown);
        })
        .await?;
        MENTION
            .write(
                tables,
                &std::mem::take(&mut self.mentions),
                |(room, account, number), values| {
                    values.text(room);
                    values.text(account);
                    values.number(*number);
                },
            )
            .await?;
        SUMMONS
            .write(
                tables,
                &std::mem::take(&mut self.summons),
                |(room, sender, number), values| {
                    values.text(room);
                    values.text(sender);
                    values.number(*number);
                },
            )
            .await
    }
}

fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// What happens rarely to a room.
async fn change_room(
    tables: &mut AnyConnection,
    room: &RoomId,
    at: Timestamp,
    event: &RoomEvent,
) -> Result<(), ViewError> {
    let id = room.as_str().to_owned();
    match event {
        RoomEvent::RoomRenamed { details } => {
            let details = details.value().cloned().unwrap_or_default();
            sql::query("UPDATE room SET name = $1, fname = $2 WHERE id = $3")
                .bind(filled(&details.name).map(str::to_owned))
                .bind(filled(&details.fname).map(str::to_owned))
                .bind(id.clone())
                .execute(&mut *tables)
                .await?;
            sql::query("UPDATE subscription SET alert = 1, updated = $1 WHERE room = $2")
                .bind(at.0)
                .bind(id)
                .execute(tables)
                .await?;
        }
        RoomEvent::RoomTypeChanged { kind } => {
            sql::query("UPDATE room SET kind = $1 WHERE id = $2")
                .bind(kind.letter())
                .bind(id.clone())
                .execute(&mut *tables)
                .await?;
            sql::query("UPDATE subscription SET updated = $1 WHERE room = $2")
                .bind(at.0)
                .bind(id)
                .execute(tables)
                .await?;
        }
        RoomEvent::MemberLeft { user } | RoomEvent::MemberRemoved { user, .. } => {
            let ended = [(Subscription::key(room, user), user.clone())];
            for statement in [
                "DELETE FROM subscription WHERE id = $1",
                "DELETE FROM own WHERE id = $1",
            ] {
                sql::query(statement)
                    .bind(ended[0].0.clone())
                    .execute(&mut *tables)
                    .await?;
            }
            for statement in [
                "DELETE FROM mention WHERE room = $1 AND account = $2",
                "DELETE FROM unread_thread WHERE room = $1 AND account = $2",
            ] {
                sql::query(statement)
                    .bind(id.clone())
                    .bind(user.as_str().to_owned())
                    .execute(&mut *tables)
                    .await?;
            }
            remember_removed(tables, &ended, at).await?;
        }
        RoomEvent::RoomRoleGranted { user, role } => {
            let key = Subscription::key(room, user);
            change_list(
                tables,
                ListColumn::Roles,
                &key,
                at,
                |roles: &mut Vec<RoleId>| {
                    roles.push(role.clone());
                    roles.sort();
                },
            )
            .await?;
        }
        RoomEvent::RoomRoleRevoked { user, role } => {
            let key = Subscription::key(room, user);
            change_list(
                tables,
                ListColumn::Roles,
                &key,
                at,
                |roles: &mut Vec<RoleId>| {
                    roles.retain(|held| held != role);
                },
            )
            .await?;
        }
        RoomEvent::RoomArchived {} => {
            sql::query("UPDATE room SET archived = 1 WHERE id = $1")
                .bind(id.clone())
                .execute(&mut *tables)
                .await?;
            sql::query(
                "UPDATE subscription SET alert = 0, hidden = 1, updated = $1, \
                 shown_read = COALESCE((SELECT f.shown FROM flow f WHERE f.room = subscription.room), 0), \
                 own_shown_read = COALESCE((SELECT o.shown FROM own o WHERE o.id = subscription.id), 0) \
                 WHERE room = $2",
            )
            .bind(at.0)
            .bind(id)
            .execute(tables)
            .await?;
        }
        RoomEvent::RoomUnarchived {} => {
            sql::query("UPDATE room SET archived = 0 WHERE id = $1")
                .bind(id.clone())
                .execute(&mut *tables)
                .await?;
            sql::query("UPDATE subscription SET hidden = 0, updated = $1 WHERE room = $2")
                .bind(at.0)
                .bind(id)
                .execute(tables)
                .await?;
        }
        RoomEvent::RoomDeleted { .. } => delete_room(tables, room, at).await?,
        _ => {}
    }
    Ok(())
}

async fn delete_room(
    tables: &mut AnyConnection,
    room: &RoomId,
    at: Timestamp,
) -> Result<(), ViewError> {
    let ended = sql::query("SELECT id, account FROM subscription WHERE room = $1")
        .bind(room.as_str().to_owned())
        .fetch_all(&mut *tables)
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, UserId::new(row.try_get::<String, _>(1)?))))
        .collect::<Result<Vec<(String, _)>, ViewError>>()?;
    remember_removed(tables, &ended, at).await?;
    for statement in [
        "DELETE FROM own WHERE id IN (SELECT s.id FROM subscription s WHERE s.room = $1)",
        "DELETE FROM subscription WHERE room = $1",
        "DELETE FROM room WHERE id = $1",
        "DELETE FROM flow WHERE room = $1",
        "DELETE FROM mention WHERE room = $1",
        "DELETE FROM summons WHERE room = $1",
        "DELETE FROM unread_thread WHERE room = $1",
        "DELETE FROM gone WHERE room = $1",
        "DELETE FROM participant WHERE room = $1",
    ] {
        sql::query(statement)
            .bind(room.as_str().to_owned())
            .execute(&mut *tables)
            .await?;
    }
    Ok(())
}

async fn remember_removed(
    tables: &mut AnyConnection,
    ended: &[(String, UserId)],
    at: Timestamp,
) -> Result<(), ViewError> {
    REMOVED
        .write(tables, ended, |(id, account), values| {
            values.text(id);
            values.text(account);
            values.time(at);
        })
        .await
}

/// What a member keeps for itself; `id` is room/account.
async fn change_subscription(
    tables: &mut AnyConnection,
    id: &str,
    at: Timestamp,
    event: &SubscriptionEvent,
) -> Result<(), ViewError> {
    match event {
        SubscriptionEvent::RoomOpened {} => {
            set(tables, id, at, "UPDATE subscription SET updated = $1, hidden = 0 WHERE id = $2").await
        }
        SubscriptionEvent::RoomHidden {} => {
            set(
                tables,
                id,
                at,
                "UPDATE subscription SET updated = $1, hidden = 1, alert = 0, \
                 shown_read = COALESCE((SELECT f.shown FROM flow f WHERE f.room = subscription.room), 0), \
                 own_shown_read = COALESCE((SELECT o.shown FROM own o WHERE o.id = subscription.id), 0) \
                 WHERE id = $2",
            )
            .await
        }
        SubscriptionEvent::RoomFavourited {} => {
            set(tables, id, at, "UPDATE subscription SET updated = $1, favourite = 1 WHERE id = $2").await
        }
        SubscriptionEvent::RoomUnfavourited {} => {
            set(tables, id, at, "UPDATE subscription SET updated = $1, favourite = 0 WHERE id = $2").await
        }
        SubscriptionEvent::RoomRead { at: seen, threads } => {
            read(tables, id, at, *seen, *threads).await
        }
        SubscriptionEvent::RoomMarkedUnread { from } => {
            set(tables, id, at, "UPDATE subscription SET updated = $1, alert = 1, hidden = 0 WHERE id = $2")
                .await?;
            set(tables, id, *from, "UPDATE subscription SET seen = $1 WHERE id = $2").await
        }
        SubscriptionEvent::UserIgnored { user } => {
            change_list(tables, ListColumn::Ignored, id, at, |ignored: &mut Vec<UserId>| {
                ignored.push(user.clone());
            })
            .await
        }
        SubscriptionEvent::UserUnignored { user } => {
            change_list(tables, ListColumn::Ignored, id, at, |ignored: &mut Vec<UserId>| {
                ignored.retain(|id| id != user);
            })
            .await
        }
        SubscriptionEvent::NotificationsChanged { preferences } => {
            sql::query("UPDATE subscription SET updated = $1, preferences = $2 WHERE id = $3")
                .bind(at.0)
                .bind(json!(preferences).to_string())
                .bind(id.to_owned())
                .execute(tables)
                .await?;
            Ok(())
        }
    }
}

async fn set(
    tables: &mut AnyConnection,
    id: &str,
    at: Timestamp,
    statement: &'static str,
) -> Result<(), ViewError> {
    sql::query(statement)
        .bind(at.0)
        .bind(id.to_owned())
        .execute(tables)
        .await?;
    Ok(())
}

async fn read(
    tables: &mut AnyConnection,
    id: &str,
    at: Timestamp,
    seen: Timestamp,
    threads: bool,
) -> Result<(), ViewError> {
    let (room, account) = id.split_once('/').unwrap_or_default();
    if threads {
        sql::query("DELETE FROM unread_thread WHERE account = $1 AND room = $2")
            .bind(account.to_owned())
            .bind(room.to_owned())
            .execute(&mut *tables)
            .await?;
    }
    sql::query("DELETE FROM mention WHERE room = $1 AND account = $2")
        .bind(room.to_owned())
        .bind(account.to_owned())
        .execute(&mut *tables)
        .await?;
    // Threads that are still unread go on calling.
    sql::query(
        "UPDATE subscription SET updated = $1, seen = $2, hidden = 0, called = 0, \
         alert = CASE WHEN EXISTS (SELECT 1 FROM unread_thread u \
           WHERE u.account = subscription.account AND u.room = subscription.room) \
           THEN 1 ELSE 0 END, \
         counted_read = COALESCE((SELECT f.counted FROM flow f WHERE f.room = subscription.room), 0), \
         shown_read = COALESCE((SELECT f.shown FROM flow f WHERE f.room = subscription.room), 0), \
         own_counted_read = COALESCE((SELECT o.counted FROM own o WHERE o.id = subscription.id), 0), \
         own_shown_read = COALESCE((SELECT o.shown FROM own o WHERE o.id = subscription.id), 0) \
         WHERE id = $3",
    )
    .bind(at.0)
    .bind(seen.0)
    .bind(id.to_owned())
    .execute(tables)
    .await?;
    Ok(())
}

/// Columns that hold a JSON list.
#[derive(Clone, Copy)]
enum ListColumn {
    Roles,
    Ignored,
}

async fn change_list<T: Serialize + DeserializeOwned>(
    tables: &mut AnyConnection,
    column: ListColumn,
    id: &str,
    at: Timestamp,
    change: impl FnOnce(&mut Vec<T>),
) -> Result<(), ViewError> {
    let (select, update) = match column {
        ListColumn::Roles => (
            "SELECT roles FROM subscription WHERE id = $1",
            "UPDATE subscription SET roles = $1, updated = $2 WHERE id = $3",
        ),
        ListColumn::Ignored => (
            "SELECT ignored FROM subscription WHERE id = $1",
            "UPDATE subscription SET ignored = $1, updated = $2 WHERE id = $3",
        ),
    };
    let Some(row) = sql::query(select)
        .bind(id.to_owned())
        .fetch_optional(&mut *tables)
        .await?
    else {
        return Ok(());
    };
    let mut list = hansard_domain::json::from_str(&row.try_get::<String, _>(0)?)?;
    change(&mut list);
    sql::query(update)
        .bind(json!(list).to_string())
        .bind(at.0)
        .bind(id.to_owned())
        .execute(tables)
        .await?;
    Ok(())
}

/// What happens to threads: a reply calls those who follow.
async fn change_thread(
    tables: &mut AnyConnection,
    entry: &Entry,
    event: &MessageEvent,
) -> Result<(), ViewError> {
    match event {
        MessageEvent::MessageSent { sent, .. } => match &sent.thread {
            Some(thread) => reply(tables, entry, sent, thread).await,
            None => Ok(()),
        },
        MessageEvent::ThreadFollowed { user, .. } => {
            let thread = MessageId::new(entry.stream.key());
            follow(tables, &thread, std::slice::from_ref(user)).await
        }
        MessageEvent::ThreadUnfollowed { user, room } => {
            set(tables, &Subscription::key(room, user), entry.at, TOUCH).await?;
            let id = thread_key(&MessageId::new(entry.stream.key()), user);
            for statement in [
                "DELETE FROM follower WHERE id = $1",
                "DELETE FROM unread_thread WHERE id = $1",
            ] {
                sql::query(statement)
                    .bind(id.clone())
                    .execute(&mut *tables)
                    .await?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn thread_key(thread: &MessageId, account: &UserId) -> String {
    format!("{thread}/{account}")
}

async fn follow(
    tables: &mut AnyConnection,
    thread: &MessageId,
    accounts: &[UserId],
) -> Result<(), ViewError> {
    let mut accounts = accounts.to_vec();
    accounts.sort();
    accounts.dedup();
    FOLLOWER
        .write(tables, &accounts, |account, values| {
            values.text(thread_key(thread, account));
            values.text(thread);
            values.text(account);
        })
        .await
}

async fn reply(
    tables: &mut AnyConnection,
    entry: &Entry,
    sent: &Sent,
    thread: &ThreadReply,
) -> Result<(), ViewError> {
    // It may have been on its way while what it replies to went.
    let head = thread.parent.as_str();
    let known = gone::known(tables, std::iter::once(head)).await?;
    if known
        .get(head)
        .is_some_and(|went| is_remembered(*went, entry.position))
    {
        return Ok(());
    }
    follow(tables, &thread.parent, &thread.followers).await?;
    if sent.at.is_further_than(IMPORTED, entry.at) {
        return Ok(());
    }
    // Who follows and has left the room is not called.
    let called = sql::query(
        "SELECT s.account FROM follower f JOIN subscription s ON s.id = $1 || '/' || f.account \
         WHERE f.thread = $2 AND f.account <> $3",
    )
    .bind(sent.room.as_str().to_owned())
    .bind(head.to_owned())
    .bind(sent.sender.as_str().to_owned())
    .fetch_all(&mut *tables)
    .await?
    .iter()
    .map(|row| Ok(UserId::new(row.try_get::<String, _>(0)?)))
    .collect::<Result<Vec<_>, ViewError>>()?;
    UNREAD_THREAD
        .write(tables, &called, |account, values| {
            values.text(thread_key(&thread.parent, account));
            values.text(&sent.room);
            values.text(account);
            values.text(&thread.parent);
            values.flag(sent.mentions.users.contains(account));
            values.flag(sent.mentions.everybody);
        })
        .await?;
    sql::query(
        "UPDATE subscription SET updated = $1, alert = 1, hidden = 0 WHERE id IN \
         (SELECT $2 || '/' || f.account FROM follower f WHERE f.thread = $3 AND f.account <> $4)",
    )
    .bind(entry.at.0)
    .bind(sent.room.as_str())
    .bind(head)
    .bind(sent.sender.as_str())
    .execute(tables)
    .await?;
    Ok(())
}

/// What happens rarely to an account.
async fn change_account(
    tables: &mut AnyConnection,
    account: &UserId,
    at: Timestamp,
    event: &AccountEvent,
) -> Result<(), ViewError> {
    // Its own subscriptions name it, and so do those of its direct conversations.
    for statement in [
        "UPDATE subscription SET updated = $1 WHERE updated < $1 AND account = $2",
        "UPDATE subscription SET updated = $1 WHERE updated < $1 \
         AND room IN (SELECT p.room FROM participant p WHERE p.account = $2)",
    ] {
        set(tables, account.as_str(), at, statement).await?;
    }
    match event {
        AccountEvent::UserProfileChanged { profile } => {
            let profile = profile.value().cloned().unwrap_or_default();
            sql::query("UPDATE account SET username = $1, name = $2 WHERE id = $3")
                .bind(profile.username)
                .bind(profile.name)
                .bind(account.as_str().to_owned())
                .execute(tables)
                .await?;
        }
        AccountEvent::UserDeleted { .. } => {
            sql::query("DELETE FROM account WHERE id = $1")
                .bind(account.as_str().to_owned())
                .execute(tables)
                .await?;
        }
        _ => {}
    }
    Ok(())
}
