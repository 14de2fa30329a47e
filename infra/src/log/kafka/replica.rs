//! Filling the local copy: everything that was committed to the topic, in its order.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;

use super::config::KafkaConfig;
use super::feed::Feed;
use super::{reason, record};
use crate::log::Progress;
use crate::log::batch::EventRow;
use crate::log::sqlite::SqliteLog;

/// Events are written together up to about these sizes.
const BATCH_EVENTS: usize = 4096;
const BATCH_BYTES: usize = 8 << 20;

/// How often the end of the topic is asked for.
const LOOK: Duration = Duration::from_secs(1);

pub struct Copying {
    pub config: KafkaConfig,
    pub replica: Arc<SqliteLog>,
    pub progress: watch::Sender<Progress>,
    /// Changes, or has nobody left who could change it, when it is time to end.
    pub stop: watch::Receiver<()>,
}

impl Copying {
    pub async fn run(mut self) {
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                error = self.copy() => {
                    tracing::error!(error, "the event log is not copied");
                    self.progress.send_modify(|progress| progress.at_end = false);
                }
            }
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Copies from where the replica ends, until something fails.
    async fn copy(&mut self) -> String {
        let start = self.replica.watch_head().borrow().0;
        let feed = match Feed::open(&self.config, self.config.topic(), start) {
            Ok(feed) => feed,
            Err(error) => return reason(&error),
        };
        let error = tokio::select! {
            error = self.take(&feed) => error,
            error = self.look(&feed) => error,
        };
        // Taking leave of the brokers may take a moment.
        tokio::task::spawn_blocking(move || drop(feed));
        error
    }

    /// Keeps an eye on the topic's end.
    async fn look(&self, feed: &Feed) -> String {
        loop {
            let ends = feed.ends().await;
            self.progress.send_if_modified(|progress| {
                let before = *progress;
                progress.reachable = ends.is_ok();
                if let Ok((_, end)) = ends {
                    progress.end = progress.end.max(end);
                }
                *progress != before
            });
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn take(&self, feed: &Feed) -> String {
        let head = self.replica.watch_head();
        let mut rows: Vec<EventRow> = Vec::new();
        let mut bytes = 0;
        loop {
            let read = match feed.next().now_or_never() {
                Some(read) if rows.len() < BATCH_EVENTS && bytes < BATCH_BYTES => read,
                // What is there is written before waiting for more.
                unread => {
                    bytes = 0;
                    if let Err(error) = self.write(&mut rows).await {
                        return error;
                    }
                    match unread {
                        Some(read) => read,
                        None => feed.next().await,
                    }
                }
            };
            match read {
                Ok(None) => {
                    if let Err(error) = self.write(&mut rows).await {
                        return error;
                    }
                    self.progress.send_if_modified(|progress| {
                        !std::mem::replace(&mut progress.at_end, true)
                    });
                }
                Ok(Some(message)) => {
                    use rdkafka::Message;
                    let offset = message.offset() as u64;
                    // Whoever writes has put into the copy what it wrote.
                    if offset < head.borrow().0 {
                        if rows.is_empty() {
                            self.passed(offset + 1);
                        }
                        continue;
                    }
                    match record::read(&message) {
                        Ok(Some(row)) => {
                            bytes += row.event.payload.len();
                            rows.push(row);
                        }
                        Ok(None) => {
                            if let Err(error) = self.write(&mut rows).await {
                                return error;
                            }
                            self.passed(offset + 1);
                        }
                        Err(error) => {
                            return format!(
                                "the record at offset {offset} is not an event: {error}"
                            );
                        }
                    }
                }
                Err(error) => return reason(&error),
            }
        }
    }

    /// Writes the commits that are complete; the events of one that is not stay.
    async fn write(&self, rows: &mut Vec<EventRow>) -> Result<(), String> {
        let whole = rows.iter().rposition(|row| row.following == 0);
        let Some(last) = whole else { return Ok(()) };
        let rest = rows.split_off(last + 1);
        let whole = std::mem::replace(rows, rest);
        let next = whole[last].position;
        self.replica
            .fill(whole)
            .await
            .map_err(|error| error.to_string())?;
        self.passed(next);
        Ok(())
    }

    fn passed(&self, next: u64) {
        self.progress.send_modify(|progress| {
            progress.applied = progress.applied.max(next);
            progress.end = progress.end.max(next);
            progress.at_end = false;
        });
    }
}
