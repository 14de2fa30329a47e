//! Prints how fast the logs append and read on this machine: SQLite's in a file of a directory, and
//! after it that of a PostgreSQL database, if a URL names one.
//!
//! `cargo run --release -p hansard-infra --example log_rate [directory [events [postgres://…]]]`
//!
//! The events that it leaves in the database stand in the schema `log_rate`.

mod shared;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use hansard_domain::id::{Clock, SystemClock};
use hansard_domain::log::{EventLog, Position};
use hansard_infra::log::postgres::PostgresLog;
use hansard_infra::log::sqlite::SqliteLog;
use hansard_infra::postgres::Database;

use self::shared::message;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| ".".to_owned());
    let events: usize = arguments
        .next()
        .map_or(Ok(1_000_000), |count| count.parse())?;
    let path = std::path::Path::new(&directory).join(format!("log_rate-{}.db", std::process::id()));
    let log = Arc::new(SqliteLog::open(&path).await?);
    println!("SQLite");
    measure(log.clone(), events).await?;
    let wal = std::fs::metadata(path.with_extension("db-wal"))?.len();
    println!("WAL {} MB", wal >> 20);
    log.close().await;
    for extension in ["db", "db-wal", "db-shm"] {
        // The WAL and its index are gone once the log is closed.
        let _ = std::fs::remove_file(path.with_extension(extension));
    }

    let Some(url) = arguments.next() else {
        return Ok(());
    };
    let separator = if url.contains('?') { '&' } else { '?' };
    let database = Database::open(&format!("{url}{separator}schema=log_rate")).await?;
    println!("PostgreSQL");
    measure(Arc::new(PostgresLog::open(&database).await?), events).await
}

/// Appends with ever more writers, then in large batches until there are so many events, then reads.
async fn measure(log: Arc<dyn EventLog>, events: usize) -> Result<(), Box<dyn Error>> {
    for writers in [1, 64, 1000] {
        let until = Instant::now() + Duration::from_secs(4);
        let tasks: Vec<_> = (0..writers)
            .map(|_| {
                let log = log.clone();
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    while Instant::now() < until {
                        let commit = message();
                        let started = Instant::now();
                        if log.append(vec![commit]).await.is_ok() {
                            latencies.push(started.elapsed());
                        }
                    }
                    latencies
                })
            })
            .collect();
        let started = Instant::now();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await?);
        }
        let rate = latencies.len() as f64 / started.elapsed().as_secs_f64();
        latencies.sort();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
        println!(
            "append, {writers} writers: {rate:.0}/s, p50 {:?}, p99 {:?}, max {:?}",
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }

    let missing = events.saturating_sub(log.head().await?.0 as usize);
    let started = Instant::now();
    let mut written = 0;
    while written < missing {
        let batch: Vec<_> = (0..1000).map(|_| message()).collect();
        log.append(batch).await?;
        written += 1000;
    }
    if written > 0 {
        println!(
            "append, batches of 1000: {:.0}/s",
            written as f64 / started.elapsed().as_secs_f64()
        );
    }
    println!("head {}", log.head().await?);

    let started = Instant::now();
    let mut pages = log.all(Position::START);
    let mut read = 0;
    while let Some(page) = pages.try_next().await? {
        read += page.len();
    }
    println!(
        "read: {read} events, {:.0}/s",
        read as f64 / started.elapsed().as_secs_f64()
    );

    let started = Instant::now();
    let now = SystemClock.now();
    log.position_at(now).await?;
    println!("position_at: {:?}", started.elapsed());
    Ok(())
}
