//! The streams in memory, and what a server makes of an append or a read.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

use super::wire::{AppendResp, Expected, Id, Query, ReadResp, RecordedEvent, StreamIdentifier};

/// An event as a stream holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub id: Uuid,
    pub event_type: String,
    pub data: Vec<u8>,
    /// The custom metadata.
    pub metadata: Vec<u8>,
}

/// The streams, and the position of the newest event among all of them.
#[derive(Default)]
pub struct Log {
    streams: HashMap<String, Stream>,
    position: u64,
}

#[derive(Default)]
struct Stream {
    /// The revision of the first event held.
    first: u64,
    events: Vec<Held>,
}

struct Held {
    event: Stored,
    content_type: String,
    position: u64,
    /// Ticks of 100 ns since 1970.
    created: u128,
}

impl Stream {
    /// The revision the next event gets.
    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn at(&self, revision: u64) -> Option<&Held> {
        self.events.get(index(revision.checked_sub(self.first)?))
    }

    fn find(&self, id: Uuid) -> Option<u64> {
        let place = self.events.iter().position(|held| held.event.id == id)?;
        Some(self.first + place as u64)
    }
}

/// What is to be done with an append.
enum Verdict {
    Write,
    /// The same events stand there already and this is the revision after the last of them.
    Stands(u64),
    Wrong,
}

impl Log {
    /// The events of a stream, oldest first.
    pub fn events(&self, stream: &str) -> Vec<Stored> {
        let held = self.streams.get(stream).map(|stream| &stream.events);
        held.into_iter()
            .flatten()
            .map(|held| held.event.clone())
            .collect()
    }

    /// Drops the events of a stream before a revision.
    pub fn truncate(&mut self, stream: &str, before: u64) {
        if let Some(stream) = self.streams.get_mut(stream) {
            let gone = before.clamp(stream.first, stream.next()) - stream.first;
            stream.events.drain(..index(gone));
            stream.first += gone;
        }
    }

    fn judge(&self, stream: &str, expected: Expected, ids: &[Uuid]) -> Verdict {
        let nothing = Stream::default();
        let stream = self.streams.get(stream).unwrap_or(&nothing);
        let next = match expected {
            Expected::StreamExists(()) if stream.next() == 0 => return Verdict::Wrong,
            Expected::Any(()) | Expected::StreamExists(()) => {
                let mut places = ids.iter().map(|id| stream.find(*id));
                let Some(Some(first)) = places.next() else {
                    return Verdict::Write;
                };
                return places
                    .try_fold(first, |_, place| place)
                    .map_or(Verdict::Wrong, |last| Verdict::Stands(last + 1));
            }
            Expected::NoStream(()) => 0,
            Expected::Revision(revision) => revision.saturating_add(1),
        };
        if next == stream.next() {
            return Verdict::Write;
        }
        let stands = |(id, revision): (&Uuid, u64)| {
            stream.at(revision).is_some_and(|held| held.event.id == *id)
        };
        if next < stream.next() && ids.iter().zip(next..).all(stands) {
            Verdict::Stands(next + ids.len() as u64)
        } else {
            Verdict::Wrong
        }
    }

    /// Appends without asking.
    pub fn write(&mut self, stream: &str, events: Vec<(Stored, String)>) {
        if events.is_empty() {
            return;
        }
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let stream = self.streams.entry(stream.to_owned()).or_default();
        for (event, content_type) in events {
            self.position += 1;
            let (position, created) = (self.position, since.as_nanos() / 100);
            stream.events.push(Held {
                event,
                content_type,
                position,
                created,
            });
        }
    }

    /// Appends when the expectation is met or the same events stand behind it already.
    pub fn append(
        &mut self,
        stream: &str,
        expected: Expected,
        events: Vec<(Stored, String)>,
    ) -> AppendResp {
        let ids: Vec<_> = events.iter().map(|(event, _)| event.id).collect();
        let next = match self.judge(stream, expected, &ids) {
            Verdict::Write => {
                self.write(stream, events);
                self.streams.get(stream).map_or(0, Stream::next)
            }
            Verdict::Stands(next) => next,
            Verdict::Wrong => {
                let next = self.streams.get(stream).map_or(0, Stream::next);
                return AppendResp::wrong(expected, next.checked_sub(1));
            }
        };
        let last = next.checked_sub(1);
        let held = last.and_then(|last| self.streams.get(stream)?.at(last));
        AppendResp::success(last, held.map_or(self.position, |held| held.position))
    }

    /// What is answered to a read.
    pub fn read(&self, query: &Query) -> Vec<ReadResp> {
        let Some(stream) = self.streams.get(&query.stream) else {
            return vec![ReadResp::not_found(&query.stream)];
        };
        let next = stream.next();
        // Of a metadata stream, a server keeps the newest event only.
        let first = if query.stream.starts_with("$$") {
            next - 1
        } else {
            stream.first
        };
        let found = if query.backwards {
            first..query.from.saturating_add(1).clamp(first, next)
        } else {
            query.from.clamp(first, next)..next
        };
        let wanted = usize::try_from(query.count).unwrap_or(usize::MAX);
        let complete = found.clone().nth(wanted).is_none();
        let revisions: Vec<_> = if query.backwards {
            found.rev().take(wanted).collect()
        } else {
            found.take(wanted).collect()
        };
        let mut answer: Vec<_> = revisions
            .into_iter()
            .filter_map(|revision| Some(stream.at(revision)?.answer(revision, query)))
            .collect();
        // Told by a read that came to the end of what there is, to a client that can take it.
        if complete && query.compatibility > 0 {
            answer.push(ReadResp::end_at(next - 1));
        }
        answer
    }
}

impl Held {
    fn answer(&self, revision: u64, query: &Query) -> ReadResp {
        let metadata = [
            ("type", self.event.event_type.clone()),
            ("content-type", self.content_type.clone()),
            ("created", self.created.to_string()),
        ];
        let event = RecordedEvent {
            id: Some(Id::of(self.event.id, query.structured)),
            stream: Some(StreamIdentifier::new(&query.stream)),
            revision,
            prepare: self.position,
            commit: self.position,
            metadata: metadata
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            custom_metadata: self.event.metadata.clone(),
            data: self.event.data.clone(),
        };
        ReadResp::event(event)
    }
}

fn index(revision: u64) -> usize {
    usize::try_from(revision).expect("a stream in memory is short")
}
