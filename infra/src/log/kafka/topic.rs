//! The topics: made when they are missing, refused when they would lose what is written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode;

use super::config::{KafkaConfig, MAX_MESSAGE_BYTES, PATIENCE};
use super::context::Quiet;
use super::{OpenError, reason};
use crate::reach;

/// What a topic is for, and so what it must be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Events,
    Keys,
    Writer,
}

impl Purpose {
    /// What a new topic gets beside what depends on the number of brokers.
    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Events => &[
                ("cleanup.policy", "delete"),
                ("retention.ms", "-1"),
                ("retention.bytes", "-1"),
                ("max.message.bytes", MAX_MESSAGE_BYTES),
                // A node whose clock is off can write all the same.
                ("message.timestamp.type", "LogAppendTime"),
            ],
            // A shredded key is gone from the brokers' disks an hour and a half later at most: ten
            // minutes until its segment is full, an hour until it must be compacted. A tombstone
            // stays for a week, so that nodes that were away learn of it.
            Self::Keys => &[
                ("cleanup.policy", "compact"),
                ("segment.ms", "600000"),
                ("max.compaction.lag.ms", "3600000"),
                ("min.cleanable.dirty.ratio", "0.1"),
                ("delete.retention.ms", "604800000"),
                ("message.timestamp.type", "LogAppendTime"),
            ],
            Self::Writer => &[("cleanup.policy", "delete")],
        }
    }

    /// What an existing topic must have. Each with what is wrong otherwise.
    fn required(self) -> &'static [(&'static str, &'static str, &'static str)] {
        match self {
            Self::Events => &[
                (
                    "cleanup.policy",
                    "delete",
                    "it would drop events when it is compacted",
                ),
                ("retention.ms", "-1", "it would delete events by their age"),
                (
                    "retention.bytes",
                    "-1",
                    "it would delete events to save space",
                ),
            ],
            Self::Keys => &[(
                "cleanup.policy",
                "compact",
                "it would delete keys by their age, or keep those that were shredded",
            )],
            Self::Writer => &[],
        }
    }
}

/// Looks whether a broker answers; makes nothing.
pub async fn reach(config: &KafkaConfig) -> Result<(), OpenError> {
    reach::any(config.addresses()).await.map_err(|reasons| {
        OpenError::Unavailable(format!(
            "no broker can be reached: {reasons}; check the addresses, and that the brokers run"
        ))
    })?;
    let admin: AdminClient<Quiet> = config
        .client()
        .create_with_context(Quiet)
        .map_err(|error| OpenError::Misconfigured(reason(&error)))?;
    let asked = tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(None, PATIENCE));
    match asked.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(OpenError::Unavailable(format!(
            "no broker answered within {} s ({}); check security.protocol, user and password",
            PATIENCE.as_secs(),
            reason(&error)
        ))),
        Err(error) => Err(OpenError::Unavailable(error.to_string())),
    }
}

/// Makes sure of all topics, and tells the cluster's id.
pub async fn prepare(config: &KafkaConfig) -> Result<String, OpenError> {
    let admin: AdminClient<Quiet> = config
        .client()
        .create_with_context(Quiet)
        .map_err(|error| OpenError::Misconfigured(reason(&error)))?;
    let admin = Arc::new(admin);
    for (topic, purpose) in [
        (config.topic().to_owned(), Purpose::Events),
        (config.vault_topic(), Purpose::Keys),
        (config.writer_topic(), Purpose::Writer),
    ] {
        let found = look(&admin, &topic).await?;
        match found.partitions.as_slice() {
            [] => create(&admin, &topic, purpose, found.brokers).await?,
            [replicas] => check(&admin, config, &topic, purpose, *replicas).await?,
            many => {
                return Err(OpenError::Partitions {
                    topic,
                    partitions: many.len(),
                });
            }
        }
    }
    let asked = admin.clone();
    tokio::task::spawn_blocking(move || asked.inner().fetch_cluster_id(PATIENCE))
        .await
        .ok()
        .flatten()
        .ok_or_else(|| OpenError::Unavailable("no broker tells the cluster's id".to_owned()))
}

/// A topic as the brokers know it.
struct Found {
    brokers: usize,
    /// The number of replicas of each partition; none when there is no such topic.
    partitions: Vec<usize>,
    /// Whether it can be written to and read.
    led: bool,
}

async fn look(admin: &Arc<AdminClient<Quiet>>, topic: &str) -> Result<Found, OpenError> {
    let asked = admin.clone();
    let name = topic.to_owned();
    let metadata =
        tokio::task::spawn_blocking(move || asked.inner().fetch_metadata(Some(&name), PATIENCE))
            .await
            .map_err(|error| OpenError::Unavailable(error.to_string()))?
            .map_err(|error| OpenError::Unavailable(reason(&error)))?;
    let described = metadata.topics().iter().find(|found| found.name() == topic);
    if let Some(error) = described.and_then(MetadataTopic::error) {
        let code = RDKafkaErrorCode::from(error);
        let missing = matches!(
            code,
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic
        );
        if !missing && code != RDKafkaErrorCode::LeaderNotAvailable {
            return Err(OpenError::Unavailable(format!("topic {topic}: {code}")));
        }
    }
    let partitions = described.map_or(&[][..], |found| found.partitions());
    Ok(Found {
        brokers: metadata.brokers().len(),
        partitions: partitions
            .iter()
            .map(|partition| partition.replicas().len())
            .collect(),
        led: !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0),
    })
}

async fn create(
    admin: &Arc<AdminClient<Quiet>>,
    topic: &str,
    purpose: Purpose,
    brokers: usize,
) -> Result<(), OpenError> {
    let replicas = brokers.clamp(1, 3) as i32;
    // What is acknowledged stands on two disks, and one of three brokers may be away.
    let in_sync = if replicas == 3 { "2" } else { "1" };
    let mut new = NewTopic::new(topic, 1, TopicReplication::Fixed(replicas))
        .set("min.insync.replicas", in_sync);
    for (name, value) in purpose.settings() {
        new = new.set(name, value);
    }
    let options = AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE));
    let made = admin
        .create_topics([&new], &options)
        .await
        .map_err(|error| OpenError::Unavailable(reason(&error)))?;
    for outcome in made {
        match outcome {
            // Another node was faster.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, error)) => {
                return Err(OpenError::Unavailable(format!(
                    "the topic {topic} could not be made: {error}"
                )));
            }
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while !look(admin, topic).await?.led {
        if Instant::now() > deadline {
            return Err(OpenError::Unavailable(format!(
                "the new topic {topic} has no leader yet"
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The settings of a topic. A broker that has only just heard of it may tell none.
async fn describe(admin: &AdminClient<Quiet>, topic: &str) -> Result<ConfigResource, OpenError> {
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let described = admin
            .describe_configs([&ResourceSpecifier::Topic(topic)], &options)
            .await
            .map_err(|error| OpenError::Unavailable(reason(&error)))?
            .into_iter()
            .next()
            .unwrap_or(Err(RDKafkaErrorCode::UnknownTopicOrPartition));
        let missing = match described {
            Ok(described) if described.get("cleanup.policy").is_some() => return Ok(described),
            Ok(_) => "its settings are not known yet".to_owned(),
            Err(error) => error.to_string(),
        };
        if Instant::now() > deadline {
            return Err(OpenError::Unavailable(format!("topic {topic}: {missing}")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn check(
    admin: &AdminClient<Quiet>,
    config: &KafkaConfig,
    topic: &str,
    purpose: Purpose,
    replicas: usize,
) -> Result<(), OpenError> {
    let described = describe(admin, topic).await?;
    let actual = |name: &str| described.get(name).and_then(|entry| entry.value.clone());
    let change = |setting: String| {
        format!(
            "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics \
             --entity-name {topic} --add-config {setting}",
            config.servers()
        )
    };
    for (name, wanted, danger) in purpose.required() {
        let value = actual(name).unwrap_or_default();
        if value != *wanted {
            return Err(OpenError::Unsafe {
                topic: topic.to_owned(),
                setting: format!("{name}={value}"),
                danger,
                change: change(format!("{name}={wanted}")),
            });
        }
    }
    if purpose != Purpose::Writer
        && replicas >= 3
        && actual("min.insync.replicas").as_deref() == Some("1")
    {
        let change = change("min.insync.replicas=2".to_owned());
        tracing::warn!(
            topic,
            change,
            "what is acknowledged may stand on one broker only"
        );
    }
    Ok(())
}
