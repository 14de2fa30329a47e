//! The log as a node's event feed tells it.

use hansard_domain::id::Timestamp;
use serde_json::Value;

use crate::server::{Answer, Client};

/// Events of a page.
const PAGE: usize = 1000;

/// An event, as far as the checks want to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub position: u64,
    pub stream: String,
    pub version: u64,
    /// Milliseconds since 1970, by the clock of the node that decided it.
    pub at: i64,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Somebody said something in a room.
    Said(Said),
    /// A node came to write.
    Elected { address: String },
    /// Anything else, system messages with it.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub id: String,
    pub room: String,
    pub sender: String,
    pub text: String,
    /// The time that it shows.
    pub shows: String,
}

/// A feed that is not one.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("the feed was refused: {} {}", .0.status, .0.body)]
    Refused(Answer),
    #[error("the feed shows something that is no event: {0}")]
    Nonsense(Value),
}

/// Every event of the log, read page by page. The looks themselves are on the log, too; those that
/// came while it was read may be missing.
pub async fn read(client: &Client) -> Result<Vec<Recorded>, FeedError> {
    let mut log = Vec::new();
    let mut after = 0;
    loop {
        let page = feed(client, after, "").await?;
        let events = page["events"].as_array().cloned().unwrap_or_default();
        let last = events.len() < PAGE;
        for event in events {
            let recorded = Recorded::of(&event).ok_or(FeedError::Nonsense(event))?;
            log.push(recorded);
        }
        after = page["next"].as_u64().ok_or(FeedError::Nonsense(page))?;
        if last {
            return Ok(log);
        }
    }
}

/// The address of the node that was elected last; `None` where nodes elect none.
pub async fn writer(client: &Client) -> Result<Option<String>, FeedError> {
    let mut writer = None;
    let mut after = 0;
    loop {
        let page = feed(client, after, "&types=WriterElected").await?;
        for event in page["events"].as_array().into_iter().flatten() {
            writer = event["payload"]["address"].as_str().map(str::to_owned);
        }
        let told = |name: &str| page[name].as_u64();
        let (next, head) = (told("next"), told("head"));
        after = next.ok_or_else(|| FeedError::Nonsense(page.clone()))?;
        if next >= head {
            return Ok(writer);
        }
    }
}

async fn feed(client: &Client, after: u64, more: &str) -> Result<Value, FeedError> {
    let path = format!("/api/hansard/v1/events?after={after}&limit={PAGE}{more}");
    let answer = client.get_path(&path).await;
    if answer.status.is_success() {
        Ok(answer.body)
    } else {
        Err(FeedError::Refused(answer))
    }
}

impl Recorded {
    fn of(event: &Value) -> Option<Self> {
        let stream = event["stream"].as_str()?.to_owned();
        let payload = &event["payload"];
        let what = match event["type"].as_str()? {
            "MessageSent" if payload["sent"]["system"].is_null() => What::Said(Said {
                id: stream.strip_prefix("message-")?.to_owned(),
                room: payload["sent"]["room"].as_str()?.to_owned(),
                sender: payload["sent"]["sender"].as_str()?.to_owned(),
                text: payload["content"]["t"].as_str()?.to_owned(),
                shows: time(&payload["sent"]["at"])?.iso(),
            }),
            "WriterElected" => What::Elected {
                address: payload["address"].as_str()?.to_owned(),
            },
            _ => What::Other,
        };
        Some(Self {
            position: event["position"].as_u64()?,
            stream,
            version: event["version"].as_u64()?,
            at: time(&event["at"])?.0,
            what,
        })
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse(text),
        value => value.as_i64().map(Timestamp),
    }
}
