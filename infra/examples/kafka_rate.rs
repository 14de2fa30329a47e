//! Prints how fast the Kafka log appends, and how fast an empty copy fills.
//!
//! `cargo run --release -p hansard-infra --example kafka_rate kafka://broker/topic [directory]`
//!
//! The topic should be a new one; what is written stays in it.

mod shared;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hansard_domain::log::{EventLog, Role};
use hansard_infra::log::kafka::{KafkaConfig, KafkaLog};

use self::shared::message;

async fn open(
    config: &KafkaConfig,
    directory: &Path,
    name: &str,
) -> Result<KafkaLog, Box<dyn Error>> {
    let path = directory.join(format!("kafka_rate-{}-{name}.db", std::process::id()));
    let log = KafkaLog::open(config.clone(), path).await?;
    log.caught_up().await?;
    Ok(log)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("name a log: kafka://broker/topic")?;
    let directory = arguments.next().unwrap_or_else(|| ".".to_owned());
    let directory = Path::new(&directory);
    let config = KafkaConfig::from_url(&url)?;
    let log = Arc::new(open(&config, directory, "writer").await?);
    log.role().wait_for(|role| *role == Role::Sole).await?;

    let mut written = 0;
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
        written += latencies.len();
        latencies.sort();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
        println!(
            "append, {writers} writers: {rate:.0}/s, p50 {:?}, p99 {:?}, max {:?}",
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    log.close().await;

    let started = Instant::now();
    let log = open(&config, directory, "copy").await?;
    let rate = written as f64 / started.elapsed().as_secs_f64();
    println!(
        "an empty copy: {written} events in {:?}, {rate:.0}/s",
        started.elapsed()
    );
    log.close().await;
    Ok(())
}
