//! Prints how fast views are rebuilt on this machine.
//!
//! `cargo run --release -p hansard-projections --example rebuild_rate [directory [messages [view…]]]`

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use futures::TryStreamExt;
use hansard_domain::id::{Clock, Ids, RandomIds, SystemClock, Timestamp};
use hansard_domain::journal::{Context, Draft, Journal, Proposal};
use hansard_domain::log::{Actor, Position, StreamId, Version};
use hansard_domain::message::{Content, MessageEvent, Sent};
use hansard_domain::seal::Private;
use hansard_infra::log::sqlite::SqliteLog;
use hansard_infra::vault::master_key::MasterKey;
use hansard_infra::vault::sqlite::SqliteVault;
use hansard_projections::accounts::Accounts;
use hansard_projections::audit::Audit;
use hansard_projections::deliveries::DeliveriesView;
use hansard_projections::messages::MessagesView;
use hansard_projections::rebuild::Told;
use hansard_projections::rooms::Rooms;
use hansard_projections::subscriptions::Subscriptions;
use hansard_projections::{View, replay};

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 2000;

const WORDS: [&str; 12] = [
    "the", "motion", "is", "carried", "without", "division", "and", "members", "may", "now",
    "speak", "freely",
];

/// A line of chat of some 60 characters, by one of 500 people in one of 50 rooms.
fn message(journal: &Journal, number: usize) -> Option<Proposal> {
    let now = SystemClock.now();
    let text: Vec<_> = (0..10)
        .map(|place| WORDS[(number / (place + 1) + place) % 12])
        .collect();
    let sent = Sent {
        room: format!("room{:013}", number * 7 % 50).as_str().into(),
        sender: format!("user{:013}", number * 31 % 500).as_str().into(),
        system: None,
        thread: None,
        mentions: Default::default(),
        integration: None,
        bot: false,
        groupable: true,
        discussion: None,
        has_files: false,
        at: Timestamp(now.0),
    };
    let content = Content {
        text: text.join(" "),
        ..Default::default()
    };
    let event = MessageEvent::MessageSent {
        content: Private::new(journal.keys().fresh()?, content),
        sent,
    };
    let stream = StreamId::new("message", RandomIds.id(now));
    let events = vec![(RandomIds.event_id(now), event.into())];
    Some(Proposal {
        drafts: vec![Draft {
            stream,
            expected: Version::NONE,
            events,
        }],
        context: Context {
            at: now,
            clock: None,
            actor: Actor::System,
            correlation: None,
            causation: None,
            origin: None,
        },
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().unwrap_or_else(|| ".".to_owned());
    let messages: usize = arguments
        .next()
        .map_or(Ok(300_000), |count| count.parse())?;
    let directory = tempfile::tempdir_in(parent)?;
    let log = SqliteLog::open(directory.path().join("log.db")).await?;
    let vault = SqliteVault::open(directory.path().join("vault.db"), MasterKey::random()).await?;
    let journal = Journal::open(Arc::new(log), Arc::new(vault)).await?;

    let started = Instant::now();
    for from in (0..messages).step_by(BATCH) {
        journal.keys().reserve(BATCH).await?;
        let batch = (from..messages.min(from + BATCH)).filter_map(|n| message(&journal, n));
        journal.append(None, batch.collect()).await?;
    }
    println!(
        "append: {:.0} events/s",
        messages as f64 / started.elapsed().as_secs_f64()
    );

    let started = Instant::now();
    let mut batches = journal.all(Position::START);
    while batches.try_next().await?.is_some() {}
    println!(
        "read and open: {:.0} events/s",
        messages as f64 / started.elapsed().as_secs_f64()
    );

    let asked: Vec<_> = arguments.collect();
    let mut views: Vec<Arc<dyn View>> = vec![
        Arc::new(Accounts),
        Arc::new(Audit),
        Arc::new(DeliveriesView),
        Arc::new(MessagesView),
        Arc::new(Rooms),
        Arc::new(Subscriptions),
    ];
    views.retain(|view| asked.is_empty() || asked.iter().any(|name| name == view.name()));
    let alone = views.iter().map(|view| vec![view.clone()]);
    for views in alone.chain((views.len() > 1).then(|| views.clone())) {
        let names: Vec<_> = views.iter().map(|view| view.name()).collect();
        let into = directory.path().join(names.join("-"));
        let views = views
            .into_iter()
            .map(|view| (view, Told::default()))
            .collect();
        let started = Instant::now();
        replay::build_until(&journal, &into, journal.head(), views).await?;
        println!(
            "rebuild {}: {:.0} events/s",
            names.join(", "),
            messages as f64 / started.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
