//! The log as server-sent events.
//!
//! A client that reads slowly holds nothing up: its events are read from the log when it takes them.
//! What is erased before it takes them it does not get.
//! Its id is an event's position; a heartbeat carries one, too, so that a client whose filter lets
//! little through need not begin far back when it comes again.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use hansard_domain::log::Position;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::events::{EventFilter, PERMISSION};
use super::may_go_on;
use super::reveal::ShownEvent;
use crate::app::App;
use crate::rest::caller::Caller;

/// How often something is sent when nothing happens; also how often the caller's rights are looked
/// at then.
const HEARTBEAT: Duration = Duration::from_secs(10);

pub fn events(
    app: App,
    caller: Caller,
    filter: EventFilter,
    after: Position,
) -> impl Stream<Item = Bytes> {
    async_stream::stream! {
        let mut batches = app.commands.journal().follow(after);
        let mut heart = heart();
        let mut position = after;
        let journal = app.commands.journal().clone();
        loop {
            let mut seen = journal.erasures();
            let batch = tokio::select! {
                biased;
                () = app.stop.cancelled() => return,
                _ = heart.tick() => None,
                batch = batches.next() => Some(batch),
            };
            if !may_go_on(&app, &caller, PERMISSION) {
                return;
            }
            match batch {
                None => yield Bytes::from(format!("id: {position}\n:\n\n")),
                Some(Some(Ok(mut batch))) => for place in 0..batch.len() {
                    // The client may take its time with what was read for it.
                    if !may_go_on(&app, &caller, PERMISSION) {
                        return;
                    }
                    if journal.erasures() != seen {
                        seen = journal.erasures();
                        match journal.still_there(&batch).await {
                            Ok(left) => batch = left,
                            Err(error) => {
                                tracing::warn!(%error, "a feed of events ended: the keys can't be read");
                                return;
                            }
                        }
                    }
                    let entry = &batch[place];
                    position = entry.position;
                    if filter.lets_through(entry) {
                        let shown = ShownEvent::of(entry);
                        // JSON has no line breaks of its own.
                        match serde_json::to_string(&shown) {
                            Ok(json) => yield Bytes::from(format!(
                                "id: {position}\nevent: {}\ndata: {json}\n\n",
                                shown.kind
                            )),
                            Err(error) => tracing::error!(%error, "an event can't be written as JSON"),
                        }
                    }
                },
                Some(Some(Err(error))) => {
                    tracing::warn!(%error, "a feed of events ended: the log can't be read");
                    return;
                }
                Some(None) => return,
            }
        }
    }
}

fn heart() -> Interval {
    let mut heart = interval(HEARTBEAT);
    heart.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heart
}
