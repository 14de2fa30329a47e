//! `GET /api/hansard/v1/events`: the log as pages, or as a stream that goes on; and one stream of it.

use futures::StreamExt;
use hansard_commands::error::CommandError;
use hansard_domain::event::Entry;
use hansard_domain::journal::JournalError;
use hansard_domain::log::{Position, StreamId, Version};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::reveal::ShownEvent;
use super::{event_types, feed, inspected, page_size, position, require};
use crate::app::App;
use crate::operations::Operation;
use crate::operations::reply::{Answer, EVENT_STREAM, OrStream, Reply, Success, answer};
use crate::operations::request::{Caller, Follow, Params, Path};
use crate::rest::failure::Failure;

pub const PERMISSION: &[&str] = &["view-event-log"];

/// The longest page.
const MOST: u64 = 1000;

/// How many events are looked at for one page; a filter that lets few through answers with fewer.
const LOOKED_AT: usize = 20_000;

/// The longest name of a stream that is asked for.
const LONGEST_STREAM: usize = 256;

pub const OPERATIONS: &[Operation] = &[EVENTS, STREAM];

#[derive(Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// After this position; from the beginning by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
    /// Types of events, separated by commas; all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<String>,
    /// The name of a stream, `room-GENERAL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// Events of a page, at most 1000; 100 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

#[derive(Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StreamQuery {
    /// After this version of the stream; from the beginning by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
    /// Events of a page, at most 1000; 100 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct EventsPage {
    events: Vec<ShownEvent>,
    /// Ask again with this as `after` for what follows.
    next: u64,
    /// The position of the last event of the log. There is nothing more while `next` equals it.
    head: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct StreamPage {
    events: Vec<ShownEvent>,
    /// Ask again with this as `after` for what follows; not there at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// Which events are shown.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    types: Vec<String>,
    stream: Option<StreamId>,
}

impl EventFilter {
    pub fn lets_through(&self, entry: &Entry) -> bool {
        let kind = entry.event.kind();
        (self.types.is_empty() || self.types.iter().any(|wanted| wanted == kind))
            && self
                .stream
                .as_ref()
                .is_none_or(|stream| *stream == entry.stream)
    }
}

pub const EVENTS: Operation = Operation::get("hansard.events", &events)
    .own("/api/hansard/v1/events")
    .tagged("record")
    .tells("Read the log.")
    .notes(
        "With `Accept: text/event-stream` the answer goes on as events are recorded, from \
         `Last-Event-ID` if that is given, until the caller may not see it any more. Needs \
         `view-event-log`; each request is put on the record.",
    );

async fn events(
    app: App,
    caller: Caller,
    (Params(query), follow): (Params<EventsQuery>, Option<Follow>),
) -> Result<OrStream<Success<EventsPage>>, Failure> {
    require(&app, &caller, PERMISSION)?;
    let filter = EventFilter {
        types: event_types(query.types.as_deref())?,
        stream: query.stream.as_deref().map(stream_id).transpose()?,
    };
    let mut after = position(query.after.unwrap_or(0));
    let asked = serde_json::to_string(&query).unwrap_or_default();
    if let Some(follow) = follow {
        if let Some(last) = follow.last {
            after = position(last.trim().parse().map_err(|_| {
                Failure::invalid_params("'Last-Event-ID' must be a position of the log")
            })?);
        }
        inspected(&app, &caller, "events", asked, 0).await?;
        let feed = feed::events(app, caller, filter, after);
        return Ok(OrStream::Stream(Reply::stream(EVENT_STREAM, feed.map(Ok))));
    }
    let page = page(&app, &filter, after, page_size(query.limit, MOST)?).await?;
    inspected(&app, &caller, "events", asked, page.events.len() as u64).await?;
    Ok(OrStream::Whole(answer(page)?))
}

pub const STREAM: Operation = Operation::get("hansard.stream", &stream)
    .own("/api/hansard/v1/streams/{stream}")
    .tagged("record")
    .tells("Read one stream of the log, such as `room-GENERAL`.")
    .notes("Needs `view-event-log`; each request is put on the record.");

async fn stream(
    app: App,
    caller: Caller,
    (Path(name), Params(query)): (Path, Params<StreamQuery>),
) -> Answer<StreamPage> {
    require(&app, &caller, PERMISSION)?;
    let limit = page_size(query.limit, MOST)? as usize;
    let id = stream_id(&name)?;
    let after = Version(query.after.unwrap_or(0).min(i64::MAX as u64));
    let journal = app.commands.journal();
    let entries = journal.stream(&id, after).await.map_err(unavailable)?;
    if entries.is_empty() && after == Version::NONE {
        return Err(Failure::not_found("There is no such stream"));
    }
    let events: Vec<_> = entries
        .iter()
        .take(limit)
        .map(|entry| ShownEvent::of(entry))
        .collect();
    let next = events
        .last()
        .filter(|_| entries.len() > limit)
        .map(|event| event.version);
    inspected(&app, &caller, "stream", name, events.len() as u64).await?;
    answer(StreamPage { events, next })
}

fn stream_id(name: &str) -> Result<StreamId, Failure> {
    if name.is_empty() || name.len() > LONGEST_STREAM || name.contains('\0') {
        return Err(Failure::invalid_params(
            "'stream' must be the name of a stream, like room-GENERAL",
        ));
    }
    Ok(StreamId::from_name(name))
}

fn unavailable(error: JournalError) -> Failure {
    CommandError::from(error).into()
}

async fn page(
    app: &App,
    filter: &EventFilter,
    after: Position,
    limit: u64,
) -> Result<EventsPage, Failure> {
    let journal = app.commands.journal();
    let head = journal.head();
    let limit = limit as usize;
    let mut events = Vec::new();
    if let Some(stream) = &filter.stream {
        let entries = journal.stream(stream, Version::NONE).await;
        let entries = entries.map_err(unavailable)?;
        let later = entries.iter().filter(|entry| entry.position > after);
        let shown = later.filter(|entry| filter.lets_through(entry));
        events.extend(shown.take(limit).map(|entry| ShownEvent::of(entry)));
        let more = events.len() == limit;
        let last = events.last().filter(|_| more).map(|event| event.position);
        let next = last.unwrap_or(head.0.max(after.0));
        let head = head.0;
        return Ok(EventsPage { events, next, head });
    }
    let mut next = after;
    let mut looked_at = 0;
    let mut batches = journal.all(after);
    'page: while let Some(batch) = batches.next().await {
        for entry in batch.map_err(unavailable)?.iter() {
            if events.len() == limit || looked_at == LOOKED_AT {
                break 'page;
            }
            looked_at += 1;
            next = entry.position;
            if filter.lets_through(entry) {
                events.push(ShownEvent::of(entry));
            }
        }
    }
    Ok(EventsPage {
        events,
        next: next.0,
        head: head.0.max(next.0),
    })
}
