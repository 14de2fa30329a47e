//! Filling the local copy: the commits of the stream that are whole, in its order.
//!
//! A commit that is too big for one append is written by several, each event of it with the number of
//! those that follow. If somebody else's event stands between them, the writer was overtaken and began
//! anew: what stands before counts for nothing, on every node alike.

use std::sync::Arc;
use std::time::Duration;

use kurrentdb::RecordedEvent;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use uuid::Uuid;

use super::record::{self, Piece};
use super::server::Server;
use crate::log::Progress;
use crate::log::batch::EventRow;
use crate::log::sqlite::SqliteLog;

/// How often the end of the stream is looked for while nobody waits for it. What another node writes
/// is seen here that much later at most.
const LOOK: Duration = Duration::from_millis(50);

/// A page with more events than others write in a moment.
const FEW: usize = 200;

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);

pub struct Copying {
    pub server: Server,
    pub replica: Arc<SqliteLog>,
    pub progress: watch::Sender<Progress>,
    /// Whether a commit has begun that is not whole yet.
    pub partial: watch::Sender<bool>,
    /// Told when there is something to copy.
    pub wake: Arc<Notify>,
    /// Changes, or has nobody left who could change it, when it is time to end.
    pub stop: watch::Receiver<()>,
}

impl Copying {
    pub async fn run(self) {
        let mut stop = self.stop.clone();
        tokio::select! {
            _ = stop.changed() => {}
            never = self.copy() => match never {},
        }
    }

    async fn copy(&self) -> std::convert::Infallible {
        let mut parts = Parts::default();
        loop {
            let next = self.progress.borrow().applied;
            let pause = match self.step(&mut parts, next).await {
                Ok(true) => continue,
                Ok(false) => LOOK,
                Err(error) => {
                    tracing::error!(error, "the event log is not copied");
                    parts = Parts::default();
                    let copied = self.replica.watch_head().borrow().0;
                    self.progress.send_modify(|progress| {
                        // Parts that were read are to be read again.
                        progress.applied = copied;
                        progress.end = progress.end.max(next + 1);
                        progress.at_end = false;
                    });
                    PAUSE
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Copies a page; whether there was one.
    async fn step(&self, parts: &mut Parts, next: u64) -> Result<bool, String> {
        let read = self.server.read(next).await;
        // Where there is more than a page it is worth knowing how much more.
        let behind = read.as_ref().is_ok_and(|page| page.len() > FEW);
        let end = if behind {
            self.server.end().await.ok()
        } else {
            None
        };
        let reachable = read.is_ok();
        self.progress.send_if_modified(|progress| {
            std::mem::replace(&mut progress.reachable, reachable) != reachable
        });
        let events = read.map_err(|failure| failure.to_string())?;
        let Some(last) = events.last().map(|event| event.revision) else {
            self.progress
                .send_if_modified(|progress| !std::mem::replace(&mut progress.at_end, true));
            return Ok(false);
        };
        let whole = take(parts, &events, next)?;
        let partial = !parts.events.is_empty();
        self.partial
            .send_if_modified(|was| std::mem::replace(was, partial) != partial);
        if !whole.is_empty() {
            let filled = self.replica.fill(whole).await;
            filled.map_err(|error| error.to_string())?;
        }
        self.progress.send_modify(|progress| {
            progress.applied = last + 1;
            progress.end = progress.end.max(last + 1).max(end.unwrap_or_default());
            progress.at_end = false;
        });
        Ok(true)
    }
}

/// The events of a commit whose last piece has not been read yet.
#[derive(Default)]
struct Parts {
    commit: Uuid,
    events: Vec<EventRow>,
    /// How many pieces of the last event follow.
    pieces: u32,
}

impl Parts {
    /// Takes the next piece in; gives the events of a commit when it is whole.
    fn take(&mut self, piece: Piece) -> Option<Vec<EventRow>> {
        let Piece {
            commit,
            pieces,
            first,
            row,
        } = piece;
        let whole = row.following == 0 && pieces == 0;
        match self.events.last_mut() {
            // A commit begins; what stands here of another one was overtaken.
            _ if first && commit == row.event.id => {
                self.events.clear();
                self.events.push(row);
            }
            // The next piece of the last event.
            Some(last) if !first && last.event.id == row.event.id && self.pieces == pieces + 1 => {
                last.event.payload.push_str(&row.event.payload);
                last.position = row.position;
            }
            // The next event.
            Some(last)
                if first
                    && self.commit == commit
                    && self.pieces == 0
                    && last.following == row.following + 1 =>
            {
                self.events.push(row);
            }
            // The end of a commit that was overtaken, which has begun before.
            _ => {
                self.events.clear();
                return None;
            }
        }
        (self.commit, self.pieces) = (commit, pieces);
        whole.then(|| std::mem::take(&mut self.events))
    }
}

/// The events of the commits that a page makes whole.
fn take(parts: &mut Parts, page: &[RecordedEvent], next: u64) -> Result<Vec<EventRow>, String> {
    let mut whole = Vec::with_capacity(page.len());
    for (event, expected) in page.iter().zip(next..) {
        if event.revision != expected {
            return Err(format!(
                "the stream has revision {} where {expected} is needed: events were deleted from it",
                event.revision
            ));
        }
        let piece = record::read(event).map_err(|error| {
            format!("what stands at revision {expected} is not an event: {error}")
        })?;
        whole.extend(parts.take(piece).into_iter().flatten());
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use hansard_domain::log::{NewEvent, StreamId};

    use super::*;
    use crate::log::batch::Envelope;

    /// An event of a commit that begins with the event `commit`.
    fn event(commit: u128, id: u128, following: u32) -> Piece {
        piece(commit, id, following, true, 0)
    }

    fn piece(commit: u128, id: u128, following: u32, first: bool, pieces: u32) -> Piece {
        let envelope = Envelope {
            at: 0,
            clock: None,
            actor: "system".into(),
            correlation: None,
            causation: None,
        };
        Piece {
            commit: Uuid::from_u128(commit),
            pieces,
            first,
            row: EventRow {
                position: 1,
                stream: StreamId::from_name("room-a"),
                version: 1,
                event: NewEvent {
                    id: Uuid::from_u128(id),
                    kind: "Happened".into(),
                    schema: 1,
                    payload: "x".to_owned(),
                    origin: None,
                },
                envelope: Arc::new(envelope),
                following,
            },
        }
    }

    /// The ids of the events that come out, and how many pieces their payloads have.
    fn whole(pieces: Vec<Piece>) -> Vec<(u128, usize)> {
        let mut parts = Parts::default();
        let taken = pieces.into_iter().filter_map(|piece| parts.take(piece));
        taken
            .flatten()
            .map(|row| (row.event.id.as_u128(), row.event.payload.len()))
            .collect()
    }

    #[test]
    fn a_commit_comes_out_when_it_is_whole() {
        assert_eq!(whole(vec![event(1, 1, 0)]), [(1, 1)]);
        assert_eq!(whole(vec![event(1, 1, 1)]), []);
        assert_eq!(
            whole(vec![event(1, 1, 1), event(1, 2, 0)]),
            [(1, 1), (2, 1)]
        );
    }

    #[test]
    fn a_commit_that_was_overtaken_counts_for_nothing() {
        let between = vec![event(1, 1, 1), event(5, 5, 0), event(1, 2, 0)];
        assert_eq!(whole(between), [(5, 1)]);
        let begun_anew = vec![
            event(1, 1, 2),
            event(1, 2, 1),
            event(5, 5, 0),
            event(1, 1, 2),
            event(1, 2, 1),
            event(1, 3, 0),
        ];
        assert_eq!(whole(begun_anew), [(5, 1), (1, 1), (2, 1), (3, 1)]);
        let begun_anew_at_once = vec![event(1, 1, 1), event(1, 1, 1), event(1, 2, 0)];
        assert_eq!(whole(begun_anew_at_once), [(1, 1), (2, 1)]);
    }

    #[test]
    fn pieces_make_an_event() {
        let pieces = || {
            vec![
                event(1, 1, 1),
                piece(1, 2, 0, true, 2),
                piece(1, 2, 0, false, 1),
                piece(1, 2, 0, false, 0),
            ]
        };
        assert_eq!(whole(pieces()), [(1, 1), (2, 3)]);
        let mut overtaken = pieces();
        overtaken.insert(3, event(5, 5, 0));
        assert_eq!(whole(overtaken), [(5, 1)]);
        let mut missing = pieces();
        missing.remove(2);
        assert_eq!(whole(missing), []);
    }
}
