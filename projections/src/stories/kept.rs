//! Answers that are kept, against the tables: what was answered before must be answered still, or not be
//! kept any more.

use std::fmt::Debug;
use std::sync::Arc;

use hansard_domain::id::{RoomId, UserId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::past::Past;
use super::teller::{SYSTEM_KINDS, Teller};
use super::{Views, seeds};
use crate::messages::{History, Messages, Slice, history_page};
use crate::subscriptions::{self, Counting};
use crate::testing::on_both_engines;
use crate::{rooms, store::Store};

/// How many events a story has, and how many are taken in at once, at most.
const EVENTS: usize = 1_000;
const BATCH: usize = 4;

/// How many of what is asked was kept, and how many were not.
#[derive(Default)]
struct Count {
    kept: usize,
    read: usize,
}

impl Count {
    /// Whether two answers that were given one after the other are one.
    fn note<T>(&mut self, before: Option<&Arc<T>>, now: &Arc<T>) {
        match before {
            Some(before) if Arc::ptr_eq(before, now) => self.kept += 1,
            _ => self.read += 1,
        }
    }
}

fn same(kept: &impl Debug, read: &impl Debug, what: &str) {
    assert_eq!(format!("{kept:#?}"), format!("{read:#?}"), "{what}");
}

async fn histories(store: &Store, viewer: &UserId, room: &RoomId, count: &mut Count, when: &str) {
    let messages = Messages::new(store.clone());
    for (count_of, threads, hidden) in [(50, false, &SYSTEM_KINDS[..2]), (3, true, &[][..])] {
        let asked = History {
            threads,
            hidden: hidden.iter().map(ToString::to_string).collect(),
            slice: Slice {
                offset: 0,
                count: Some(count_of),
            },
            ..History::default()
        };
        let kept = messages.history(viewer, room, &asked).await.unwrap();
        let again = messages.history(viewer, room, &asked).await.unwrap();
        count.note(Some(&kept), &again);
        let mut reading = store.read().await.unwrap();
        let read = history_page(&mut reading, viewer, room, &asked)
            .await
            .unwrap();
        same(
            &kept.json,
            &read.json,
            &format!("{room} as {viewer} sees it, {when}"),
        );
    }
}

async fn lists(views: &Views, user: &UserId, count: &mut Count, when: &str) {
    let store = &views.rooms.store;
    let kept = rooms::mine(store, user).await.unwrap();
    count.note(Some(&kept), &rooms::mine(store, user).await.unwrap());
    let mut reading = store.moment().await.unwrap();
    let read = rooms::of_member(&mut reading, user, None).await.unwrap();
    drop(reading);
    let wires = |all: &[rooms::Room]| all.iter().map(rooms::Room::wire).collect::<Vec<_>>();
    same(
        &wires(&kept),
        &wires(&read),
        &format!("the rooms of {user}, {when}"),
    );

    let store = &views.subscriptions.store;
    let kept = subscriptions::mine(store, user).await.unwrap();
    count.note(
        Some(&kept),
        &subscriptions::mine(store, user).await.unwrap(),
    );
    let mut reading = store.moment().await.unwrap();
    let read = subscriptions::of_account(&mut reading, user).await.unwrap();
    let any = hansard_domain::id::Timestamp(0);
    let ended = subscriptions::removed_since(&mut reading, user, any)
        .await
        .unwrap();
    let wires = |all: &[subscriptions::Subscription]| {
        let wire = |one: &subscriptions::Subscription| {
            one.wire(Counting::AllMessages, Counting::AllMessages)
        };
        all.iter().map(wire).collect::<Vec<_>>()
    };
    let what = format!("what {user} keeps about rooms, {when}");
    same(&wires(&kept.subscriptions), &wires(&read), &what);
    same(&kept.ended, &ended.iter().map(|(_, at)| *at).max(), &what);
}

async fn what_is_kept_is_what_the_tables_say() {
    for seed in seeds(1) {
        let mut teller = Teller::new(seed);
        teller.tell_until(EVENTS);
        let entries = teller.entries;
        let mut dice = StdRng::seed_from_u64(seed ^ 0x6e97);
        let mut views = Views::empty().await;
        let (mut taken, mut count) = (0, Count::default());
        while taken < entries.len() {
            let end = (taken + dice.random_range(1..=BATCH)).min(entries.len());
            views.take(&entries[taken..end]).await;
            taken = end;
            // A few of all, so that what is kept becomes old before it is asked for again.
            let past = Past::of(&entries[..taken]);
            let (users, rooms) = (past.users(), past.all_rooms());
            let when = format!("HANSARD_STORY_SEED={seed}, after {taken} events");
            for _ in 0..3 {
                let Some(user) = users.get(dice.random_range(0..users.len().max(1))) else {
                    continue;
                };
                if dice.random_range(0..3) == 0 {
                    lists(&views, user, &mut count, &when).await;
                } else if let Some(room) = rooms.iter().nth(dice.random_range(0..=rooms.len())) {
                    let store = &views.messages.store;
                    histories(store, user, room, &mut count, &when).await;
                }
            }
        }
        assert!(count.kept > 500, "{} were kept", count.kept);
        assert_eq!(count.read, 0, "asked twice in a row, an answer is kept");
    }
}

on_both_engines!(what_is_kept_is_what_the_tables_say);
