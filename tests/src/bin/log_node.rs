//! A node that has nothing but a log on Kafka: whenever it is the writer it appends, one event after
//! the other, and prints what came of it. Fail-over tests start several, and freeze and kill them.
//!
//! `hansard-log-node kafka://brokers/topic DIRECTORY`, a line each: `role Sole`, `ack ID POSITION`,
//! `failed ID REASON` (it may have been written all the same). `RUST_LOG` makes it tell more, on
//! stderr.

use std::error::Error;
use std::time::Duration;

use hansard_domain::id::{Clock, Ids, RandomIds, SystemClock};
use hansard_domain::log::{
    Actor, Append, Commit, EventLog, LogError, Metadata, NewEvent, Refusal, Role, StreamId, Version,
};
use hansard_infra::log::kafka::{KafkaConfig, KafkaLog};

const STREAM: &str = "room-hot";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: hansard-log-node kafka://brokers/topic DIRECTORY".into());
    };
    let path = std::path::Path::new(&directory).join("log.db");
    let log = loop {
        match KafkaLog::open(KafkaConfig::from_url(&url)?, &path).await {
            Ok(log) => break log,
            Err(error) => {
                eprintln!("{error}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    };
    log.caught_up().await?;
    let mut role = log.role();
    tokio::spawn({
        let mut role = role.clone();
        async move {
            loop {
                println!("role {:?}", *role.borrow_and_update());
                if role.changed().await.is_err() {
                    return;
                }
            }
        }
    });

    let mut version = Version::NONE;
    loop {
        role.wait_for(|role| *role == Role::Sole).await?;
        let commit = commit(version);
        let id = commit.appends[0].events[0].id;
        match log.append(vec![commit]).await {
            Ok(outcomes) => match &outcomes[0] {
                Ok(recorded) => {
                    println!("ack {id} {}", recorded.positions[0]);
                    version = version.next();
                }
                Err(Refusal::Conflict(conflict)) => version = conflict.actual,
                Err(Refusal::Overtaken) => return Err("it is decided on nothing".into()),
            },
            // Nothing was written, it is said.
            Err(LogError::Follower) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => {
                println!("failed {id} {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn commit(expected: Version) -> Commit {
    let now = SystemClock.now();
    let event = NewEvent {
        id: RandomIds.event_id(now),
        kind: "Happened".into(),
        schema: 1,
        payload: std::process::id().to_string(),
        origin: None,
    };
    let append = Append {
        stream: StreamId::from_name(STREAM),
        expected,
        events: vec![event],
    };
    Commit {
        after: None,
        appends: vec![append],
        metadata: Metadata {
            at: now,
            clock: None,
            actor: Actor::System,
            correlation: None,
            causation: None,
        },
    }
}
