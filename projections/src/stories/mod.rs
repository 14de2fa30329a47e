//! Views against a plain model, on random stories: what a view keeps up to date must be what follows
//! from the list of what happened.
//!
//! A story is told by a seed, which is printed when a comparison fails. `HANSARD_STORY_SEED=7` tells
//! that one again, and no other; `HANSARD_STORY_EVENTS` says how long it is.

mod compare;
mod kept;
mod messages;
mod others;
mod past;
mod rooms;
pub(crate) mod teller;
mod told;

use std::sync::Arc;

use hansard_domain::event::Entry;
use hansard_domain::seal::Confidential;
use hansard_domain::vault::DataKey;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::compare::compare;
use self::past::Past;
use self::teller::Teller;
use crate::messages::MessagesView;
use crate::retention::Retention;
use crate::rooms::Rooms;
use crate::search::SearchView;
use crate::sql::Dialect;
use crate::statistics::Statistics;
use crate::subscriptions::Subscriptions;
use crate::testing::{ON, Served, on_both_engines};

/// Stories that are told in each run; those that found something are among them.
const SEEDS: [u64; 5] = [1, 2, 3, 4, 102];

/// How many events a story has, and how often the views are compared on the way.
const EVENTS: usize = 3_000;
const LOOKS: usize = 4;

/// The views that are compared, fed with the same events.
struct Views {
    messages: Served,
    rooms: Served,
    subscriptions: Served,
    search: Served,
    statistics: Served,
    retention: Served,
}

impl Views {
    /// As they serve, without an event.
    async fn empty() -> Self {
        let mut views = Self::building().await;
        views.finish().await;
        views
    }

    /// As a rebuild begins.
    async fn building() -> Self {
        Self {
            messages: Served::building(MessagesView).await,
            rooms: Served::building(Rooms).await,
            subscriptions: Served::building(Subscriptions).await,
            search: Served::building(SearchView).await,
            statistics: Served::building(Statistics).await,
            retention: Served::building(Retention).await,
        }
    }

    fn all(&mut self) -> [&mut Served; 6] {
        [
            &mut self.messages,
            &mut self.rooms,
            &mut self.subscriptions,
            &mut self.search,
            &mut self.statistics,
            &mut self.retention,
        ]
    }

    async fn finish(&mut self) {
        for served in self.all() {
            served.finish().await;
        }
    }

    async fn take(&mut self, entries: &[Arc<Entry>]) {
        for served in self.all() {
            served.take(entries).await;
        }
    }
}

fn seeds(fresh: usize) -> Vec<u64> {
    match std::env::var("HANSARD_STORY_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number in HANSARD_STORY_SEED")],
        Err(_) => {
            let fixed = match ON.get() {
                Dialect::Sqlite => &SEEDS[..],
                // The same statements, and slower.
                Dialect::Postgres => &SEEDS[..1],
            };
            let fresh = (0..fresh).map(|_| rand::random_range(1_000..1_000_000));
            fixed.iter().copied().chain(fresh).collect()
        }
    }
}

fn events() -> usize {
    let asked = std::env::var("HANSARD_STORY_EVENTS").ok();
    asked.map_or(EVENTS, |asked| {
        asked.parse().expect("a number in HANSARD_STORY_EVENTS")
    })
}

async fn views_answer_what_follows_from_what_happened() {
    for seed in seeds(1) {
        let mut teller = Teller::new(seed);
        teller.tell_until(events());
        let entries = teller.entries;
        let mut dice = StdRng::seed_from_u64(seed ^ 0xba7c4);
        let mut views = Views::empty().await;
        let mut taken = 0;
        for look in 1..=LOOKS {
            let goal = entries.len() * look / LOOKS;
            while taken < goal {
                let batch = match dice.random_range(0..3) {
                    0 => 1,
                    1 => dice.random_range(1..20),
                    _ => dice.random_range(1..500),
                };
                let end = (taken + batch).min(goal);
                views.take(&entries[taken..end]).await;
                taken = end;
            }
            let past = Past::of(&entries[..goal]);
            compare(
                &mut views,
                &past,
                &format!("HANSARD_STORY_SEED={seed}, after {goal} events"),
            )
            .await;
        }
        // What was erased can't be read any more when the views are built again.
        let kept = shredded(&entries);
        let mut rebuilt = Views::building().await;
        for batch in kept.chunks(700) {
            rebuilt.take(batch).await;
        }
        rebuilt.finish().await;
        let past = Past::of(&entries);
        compare(
            &mut rebuilt,
            &past,
            &format!("HANSARD_STORY_SEED={seed}, rebuilt"),
        )
        .await;
    }
}

/// The events as the log gives them back once the keys are gone that they name.
fn shredded(entries: &[Arc<Entry>]) -> Vec<Arc<Entry>> {
    let mut gone = std::collections::HashSet::new();
    for entry in entries {
        // The keys of accounts and rooms are one for all here.
        gone.extend(entry.event.erases().into_iter().filter(|key| key.0 > 10));
    }
    let shred = |entry: &Arc<Entry>| {
        let mut entry = Entry::clone(entry);
        entry.event.parts(&mut |part| {
            if gone.contains(&part.key()) {
                part.seal(&DataKey([7; 32]), b"").unwrap();
                part.open(None, b"");
            }
        });
        Arc::new(entry)
    };
    entries.iter().map(shred).collect()
}

on_both_engines!(views_answer_what_follows_from_what_happened);
