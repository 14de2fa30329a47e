//! Who writes: the member of a consumer group that a topic's only partition is assigned to.
//!
//! The group notices within seconds when a member dies or hangs, and gives the partition to another.
//! That is a hint and no lock: what keeps a former writer from writing is the fencing of its
//! producer. So it is enough that a member finds out soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hansard_domain::log::Role;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use tokio::sync::watch;

use super::config::KafkaConfig;
use super::context::{tell, tell_error};

const POLL: Duration = Duration::from_millis(200);

/// Whoever did not run for so long may have been replaced; the group's patience is 6 s.
const FROZEN: Duration = Duration::from_secs(3);

/// Time for another member to be chosen.
const PAUSE: Duration = Duration::from_secs(1);

/// A node's membership. Ends when it is dropped, and another member is chosen at once.
pub struct Campaign {
    held: watch::Receiver<bool>,
    /// To say that the partition counts for nothing any more; none once the campaign ends.
    hold: Option<watch::Sender<bool>>,
    again: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Campaign {
    /// Joins the group. A partition that is taken away makes the role follower at once.
    pub fn start(config: &KafkaConfig, role: watch::Sender<Role>) -> Result<Self, KafkaError> {
        let (hold, held) = watch::channel(false);
        let topic = config.writer_topic();
        let consumer: BaseConsumer<Member> = config.campaigning().create_with_context(Member {
            hold: hold.clone(),
            role,
        })?;
        consumer.subscribe(&[&topic])?;
        let again = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(AtomicBool::new(false));
        let campaign = Self {
            held,
            hold: Some(hold),
            again: again.clone(),
            stop: stop.clone(),
        };
        thread::Builder::new()
            .name("kafka-campaign".to_owned())
            .spawn(move || run(&consumer, &topic, &again, &stop))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(campaign)
    }

    /// Whether the partition is this node's.
    pub fn held(&self) -> watch::Receiver<bool> {
        self.held.clone()
    }

    /// Gives the partition back and joins anew. It counts as given back at once, so that nobody takes
    /// over by it in the moment until it is.
    pub fn again(&self) {
        if let Some(hold) = &self.hold {
            hold.send_if_modified(|held| std::mem::replace(held, false));
        }
        self.again.store(true, Ordering::Relaxed);
    }

    /// Waits until the group was left.
    pub async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.hold = None;
        let mut held = self.held.clone();
        // The thread ends, and the last sender with it.
        while held.changed().await.is_ok() {}
    }
}

impl Drop for Campaign {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn run(consumer: &BaseConsumer<Member>, topic: &str, again: &AtomicBool, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        poll(consumer, POLL);
        let frozen = asked.elapsed() > FROZEN;
        if frozen {
            tracing::warn!("this node did not run for {:?}", asked.elapsed());
        }
        if !again.swap(false, Ordering::Relaxed) && !frozen {
            continue;
        }
        consumer.context().lose();
        consumer.unsubscribe();
        let left = Instant::now();
        while left.elapsed() < PAUSE {
            poll(consumer, POLL);
        }
        if let Err(error) = consumer.subscribe(&[topic]) {
            tracing::error!(%error, "this node takes no part in the choice of the writer");
            again.store(true, Ordering::Relaxed);
        }
    }
    consumer.context().lose();
}

/// Lets the group's news in. The topic has no messages.
fn poll(consumer: &BaseConsumer<Member>, wait: Duration) {
    if let Some(Err(error)) = consumer.poll(wait) {
        tell_error(&error, "the choice of the writer");
    }
}

struct Member {
    hold: watch::Sender<bool>,
    role: watch::Sender<Role>,
}

impl Member {
    fn lose(&self) {
        // In this order: who becomes the writer looks at the one after it has set the other.
        self.hold
            .send_if_modified(|held| std::mem::replace(held, false));
        follow(&self.role);
    }
}

/// Makes the role follower, and tells it if it was another.
pub fn follow(role: &watch::Sender<Role>) {
    role.send_if_modified(|role| std::mem::replace(role, Role::Follower) != Role::Follower);
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tell(level, facility, message);
    }

    fn error(&self, error: KafkaError, text: &str) {
        tell_error(&error, text);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(partitions) if partitions.count() > 0 => self.lose(),
            Rebalance::Error(_) => self.lose(),
            _ => {}
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance
            && partitions.count() > 0
        {
            self.hold.send_replace(true);
        }
    }
}
