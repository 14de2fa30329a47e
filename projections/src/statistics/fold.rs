//! How events change the statistics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hansard_domain::account::AccountEvent;
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::Timestamp;
use hansard_domain::log::Actor;
use hansard_domain::message::MessageEvent;
use hansard_domain::room::{RoomEvent, RoomKind};
use hansard_domain::subscription::SubscriptionEvent;
use sqlx::{AnyConnection, Row};

use super::queries::{LOGIN, MESSAGE, READ};
use crate::gone::{self, Leaving};
use crate::rows::{ByKey, Insert};
use crate::sql;
use crate::view::ViewError;

const MADE: Insert = Insert::into("room", &["id", "kind", "discussion", "messages"])
    .on_conflict("ON CONFLICT (id) DO NOTHING");

/// Adds to the messages of rooms that are there: a room that is gone stays gone.
const COUNT: Insert = Insert::into("room", &["id", "kind", "discussion", "messages"])
    .on_conflict("ON CONFLICT (id) DO UPDATE SET messages = room.messages + excluded.messages");

const KNOWN: ByKey = ByKey::new("SELECT id, kind, discussion FROM room WHERE id IN");
const DELETE: ByKey = ByKey::new("DELETE FROM room WHERE id IN");

const DAY: Insert = Insert::into("day", &["day", "messages", "logins", "registrations"])
    .on_conflict(
        "ON CONFLICT (day) DO UPDATE SET messages = day.messages + excluded.messages, \
         logins = day.logins + excluded.logins, \
         registrations = day.registrations + excluded.registrations",
    );

const ACTIVE: Insert = Insert::into("active", &["day", "user_id"])
    .on_conflict("ON CONFLICT (day, user_id) DO NOTHING");

const NEWEST: Insert = Insert::into("newest", &["what", "at"])
    .on_conflict("ON CONFLICT (what) DO UPDATE SET at = excluded.at WHERE newest.at < excluded.at");

/// What a day is counted by.
#[derive(Default)]
struct Day {
    messages: i64,
    logins: i64,
    registrations: i64,
}

/// What a batch comes to, for what is no matter of its order.
#[derive(Default)]
struct Batch<'a> {
    days: BTreeMap<i64, Day>,
    active: BTreeSet<(i64, &'a str)>,
    newest: BTreeMap<&'static str, Timestamp>,
    /// More or fewer messages of rooms.
    counts: BTreeMap<&'a str, i64>,
    /// Messages that went.
    leaving: Vec<Leaving<'a>>,
}

impl<'a> Batch<'a> {
    fn seen(&mut self, entry: &'a Entry, what: &'static str) -> &mut Day {
        self.note(what, entry.at);
        let day = day(entry.at);
        if let Actor::User(user) = &entry.actor {
            self.active.insert((day, user.as_str()));
        }
        self.days.entry(day).or_default()
    }

    /// A clock that is set back makes nothing newer.
    fn note(&mut self, what: &'static str, at: Timestamp) {
        let newest = self.newest.entry(what).or_insert(at);
        *newest = at.max(*newest);
    }

    /// Writes what was gathered of messages: before rooms change, for their changes to come after.
    async fn settle(&mut self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        let leaving = std::mem::take(&mut self.leaving);
        let first = gone::leave(tables, &leaving).await?;
        for (leaving, first) in leaving.iter().zip(first) {
            *self.counts.entry(leaving.room).or_default() -= i64::from(first);
        }
        let counts = std::mem::take(&mut self.counts);
        let rooms: Vec<&str> = counts.keys().copied().collect();
        let mut counted = Vec::with_capacity(rooms.len());
        for row in KNOWN.fetch(tables, &rooms).await? {
            let id: String = row.try_get(0)?;
            let more = counts.get(id.as_str()).copied().unwrap_or_default();
            let kind: String = row.try_get(1)?;
            let discussion: i64 = row.try_get(2)?;
            counted.push((id, kind, discussion, more));
        }
        // A room that was named twice to fill up a statement is told once.
        counted.sort();
        counted.dedup();
        COUNT
            .write(tables, &counted, |(id, kind, discussion, more), values| {
                values.text(id);
                values.text(kind);
                values.number(*discussion);
                values.number(*more);
            })
            .await
    }
}

pub(super) async fn apply(
    tables: &mut AnyConnection,
    entries: &[Arc<Entry>],
) -> Result<(), ViewError> {
    let mut batch = Batch::default();
    for entry in entries {
        let key = entry.stream.key();
        match &entry.event {
            Event::Message(MessageEvent::MessageSent { sent, .. }) => {
                let today = if sent.system.is_none() {
                    batch.seen(entry, MESSAGE)
                } else {
                    batch.days.entry(day(entry.at)).or_default()
                };
                today.messages += 1;
                *batch.counts.entry(sent.room.as_str()).or_default() += 1;
            }
            Event::Message(MessageEvent::MessageDeleted {
                room,
                erased,
                show_deleted,
                ..
            }) => batch.leaving.push(Leaving {
                message: key,
                room: room.as_str(),
                position: entry.position,
                kept: erased.is_none() || *show_deleted,
            }),
            Event::Room(RoomEvent::ChannelPruned { pruned, .. }) => {
                batch.leaving.extend(pruned.iter().map(|pruned| Leaving {
                    message: pruned.message.as_str(),
                    room: key,
                    position: entry.position,
                    kept: false,
                }));
            }
            Event::Room(RoomEvent::RoomCreated { kind, parent, .. }) => {
                make(tables, key, *kind, parent.is_some()).await?;
            }
            Event::Room(RoomEvent::RoomTypeChanged { kind }) => {
                sql::query("UPDATE room SET kind = $1 WHERE id = $2")
                    .bind(kind.letter())
                    .bind(key.to_owned())
                    .execute(&mut *tables)
                    .await?;
            }
            Event::Room(RoomEvent::RoomDeleted { .. }) => {
                batch.settle(tables).await?;
                DELETE.execute(tables, &[key]).await?;
                gone::forget_rooms(tables, &[key]).await?;
            }
            Event::Account(AccountEvent::UserRegistered { .. }) => {
                batch.days.entry(day(entry.at)).or_default().registrations += 1;
            }
            Event::Account(AccountEvent::UserLoggedIn { .. }) => {
                batch.seen(entry, LOGIN).logins += 1;
            }
            Event::Subscription(SubscriptionEvent::RoomRead { .. }) => {
                batch.note(READ, entry.at);
            }
            _ => {}
        }
    }
    batch.settle(tables).await?;
    let days: Vec<_> = batch.days.into_iter().collect();
    DAY.write(tables, &days, |(day, counts), values| {
        values.number(*day);
        values.number(counts.messages);
        values.number(counts.logins);
        values.number(counts.registrations);
    })
    .await?;
    let active: Vec<_> = batch.active.into_iter().collect();
    ACTIVE
        .write(tables, &active, |(day, user), values| {
            values.number(*day);
            values.text(user);
        })
        .await?;
    let newest: Vec<_> = batch.newest.into_iter().collect();
    NEWEST
        .write(tables, &newest, |(what, at), values| {
            values.text(what);
            values.time(*at);
        })
        .await
}

async fn make(
    tables: &mut AnyConnection,
    room: &str,
    kind: RoomKind,
    discussion: bool,
) -> Result<(), ViewError> {
    MADE.write(tables, &[room], |room, values| {
        values.text(room);
        values.text(kind.letter());
        values.flag(discussion);
        values.number(0);
    })
    .await
}

pub(super) fn day(at: Timestamp) -> i64 {
    at.0.div_euclid(86_400_000)
}
