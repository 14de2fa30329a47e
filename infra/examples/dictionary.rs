//! Makes the dictionary of `log::packed` from logs, and a record that is packed with it.
//!
//! `cargo run --release -p hansard-infra --example dictionary -- events.zdict log.db …`
//!
//! What is recorded once needs the dictionary that it was written with: one that is made anew gets a
//! number of its own beside the others.

use std::collections::HashMap;
use std::env;
use std::error::Error;

use futures::TryStreamExt;
use hansard_domain::log::{EventLog, Position};
use hansard_infra::log::packed::Record;
use hansard_infra::log::sqlite::SqliteLog;

/// Records of one event type that are learnt from: messages are not all there is.
const OF_A_KIND: usize = 1_500;

/// More save nothing.
const BYTES: usize = 16 << 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let target = arguments.next().ok_or("the dictionary is to go where?")?;
    let mut samples: Vec<Vec<u8>> = Vec::new();
    for path in arguments {
        let mut of_a_kind: HashMap<String, usize> = HashMap::new();
        let log = SqliteLog::open(path).await?;
        let mut pages = log.all(Position::START);
        while let Some(page) = pages.try_next().await? {
            for stored in page {
                let seen = of_a_kind.entry(stored.event.kind.to_string()).or_default();
                *seen += 1;
                if *seen > OF_A_KIND {
                    continue;
                }
                let record = Record {
                    kind: &stored.event.kind,
                    schema: stored.event.schema,
                    actor: &stored.metadata.actor.to_string(),
                    correlation: stored.metadata.correlation.as_deref(),
                    causation: stored.metadata.causation,
                    origin: stored.event.origin.as_deref(),
                    payload: &stored.event.payload,
                };
                samples.push(record.bytes()?);
            }
        }
        log.close().await;
    }
    let dictionary = zstd::dict::from_samples(&samples, BYTES)?;
    std::fs::write(&target, &dictionary)?;
    println!(
        "{} bytes of {} records in {target}",
        dictionary.len(),
        samples.len()
    );
    Ok(())
}
