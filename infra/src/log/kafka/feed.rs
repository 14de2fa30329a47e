//! A topic as it is read: from a place of our own choice, and only what was committed.

use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::Offset;

use super::config::{KafkaConfig, PATIENCE};
use super::context::{Quiet, passes, tell_error};

pub struct Feed {
    consumer: Arc<StreamConsumer<Quiet>>,
    topic: String,
}

impl Feed {
    /// Reads from an offset on.
    pub fn open(config: &KafkaConfig, topic: &str, offset: u64) -> Result<Self, KafkaError> {
        let consumer: StreamConsumer<Quiet> = config.reading().create_with_context(Quiet)?;
        let mut places = TopicPartitionList::with_capacity(1);
        places.add_partition_offset(topic, 0, Offset::Offset(offset as i64))?;
        consumer.assign(&places)?;
        Ok(Self {
            consumer: Arc::new(consumer),
            topic: topic.to_owned(),
        })
    }

    /// The next record; `None` when the end is reached, which is told once.
    ///
    /// Brokers that are away are waited for.
    pub async fn next(&self) -> Result<Option<BorrowedMessage<'_>>, KafkaError> {
        loop {
            match self.consumer.recv().await {
                Ok(message) => return Ok(Some(message)),
                Err(KafkaError::PartitionEOF(_)) => return Ok(None),
                Err(error) if passes(&error) => tell_error(&error, "reading goes on later"),
                Err(error) => return Err(error),
            }
        }
    }

    /// The offsets of the first record and after the last one.
    pub async fn ends(&self) -> Result<(u64, u64), KafkaError> {
        let consumer = self.consumer.clone();
        let topic = self.topic.clone();
        let asked =
            tokio::task::spawn_blocking(move || consumer.fetch_watermarks(&topic, 0, PATIENCE));
        let (first, end) = asked.await.unwrap_or(Err(KafkaError::Canceled))?;
        Ok((first.max(0) as u64, end.max(0) as u64))
    }
}
