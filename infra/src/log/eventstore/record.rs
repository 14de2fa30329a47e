//! An event of ours as an event of the server's.
//!
//! Type and id are the event's own, the data is its payload as it is, and all else stands in the
//! metadata: any tool for the server shows what happened, and a projection can sort the events into
//! streams by the metadata's `stream`. A payload that is too big for one append stands in several
//! events, the pieces of it, of which the last says that none follows.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hansard_domain::log::{NewEvent, StreamId};
use kurrentdb::{EventData, RecordedEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::log::batch::{Envelope, EventRow};

/// How many bytes of a payload stand in one event at most.
const PIECE: usize = 700_000;

/// What an event carries besides its payload.
#[derive(Serialize, Deserialize)]
struct Metadata<'a> {
    stream: StreamId,
    version: u64,
    schema: u16,
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clock: Option<i64>,
    actor: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causation: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Cow<'a, str>>,
    /// The id of the first event of its commit.
    commit: Uuid,
    /// How many events of its commit follow.
    following: u32,
    /// Of which event this is a piece, where it is one that follows another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Uuid>,
    /// How many pieces of the payload follow.
    #[serde(default, skip_serializing_if = "nothing")]
    pieces: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn nothing(count: &u32) -> bool {
    *count == 0
}

/// A piece of an event as it stands in the stream: mostly all of it.
pub struct Piece {
    pub commit: Uuid,
    /// How many follow.
    pub pieces: u32,
    /// Whether it is the first.
    pub first: bool,
    /// With this piece of its payload.
    pub row: EventRow,
}

/// A piece on its way, and about how many bytes it takes.
pub struct Written {
    pub event: EventData,
    pub size: usize,
}

/// The pieces of an event.
pub fn write(row: &EventRow, commit: Uuid) -> Result<Vec<Written>, serde_json::Error> {
    let (envelope, id) = (&row.envelope, row.event.id);
    let pieces = split(&row.event.payload);
    let mut metadata = Metadata {
        stream: row.stream.clone(),
        version: row.version,
        schema: row.event.schema,
        at: envelope.at,
        clock: envelope.clock,
        actor: envelope.actor.clone(),
        correlation: envelope.correlation.clone(),
        causation: envelope
            .causation
            .as_deref()
            .and_then(|id| Uuid::from_slice(id).ok()),
        origin: row.event.origin.as_deref().map(Cow::Borrowed),
        commit,
        following: row.following,
        event: None,
        pieces: pieces.len() as u32,
    };
    let mut written = Vec::with_capacity(pieces.len());
    for (index, piece) in pieces.into_iter().enumerate() {
        metadata.pieces -= 1;
        metadata.event = (index > 0).then_some(id);
        let described = serde_json::to_vec(&metadata)?;
        // What the frame around them takes at most.
        let size = piece.len() + described.len() + 200;
        // As JSON only where that changes nothing: the client writes it without spaces around it.
        let json = serde_json::from_str::<&RawValue>(piece).ok();
        let event = match json.filter(|json| json.get().len() == piece.len()) {
            Some(json) => EventData::json(&row.event.kind, &json)?,
            None => {
                let bytes = Bytes::copy_from_slice(piece.as_bytes());
                EventData::binary(&row.event.kind, bytes)
            }
        };
        let event = event.id(id_of(id, index)).metadata(described.into());
        written.push(Written { event, size });
    }
    Ok(written)
}

/// A text in pieces; one at least.
fn split(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::with_capacity(1);
    while text.len() > PIECE {
        let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE));
        pieces.push(piece);
        text = rest;
    }
    pieces.push(text);
    pieces
}

/// The same whenever an event is written: the server knows by it what it has already.
fn id_of(event: Uuid, piece: usize) -> Uuid {
    if piece == 0 {
        return event;
    }
    let mut hash = Sha256::new();
    hash.update(event.as_bytes());
    hash.update((piece as u64).to_be_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(id).into_uuid()
}

pub fn read(event: &RecordedEvent) -> Result<Piece, String> {
    let metadata: Metadata = serde_json::from_slice(&event.custom_metadata)
        .map_err(|error| format!("its metadata can't be read: {error}"))?;
    let payload =
        String::from_utf8(event.data.to_vec()).map_err(|_| "its data is not UTF-8".to_owned())?;
    let envelope = Envelope {
        at: metadata.at,
        clock: metadata.clock,
        actor: metadata.actor,
        correlation: metadata.correlation,
        causation: metadata.causation.map(|id| id.as_bytes().as_slice().into()),
    };
    Ok(Piece {
        commit: metadata.commit,
        pieces: metadata.pieces,
        first: metadata.event.is_none(),
        row: EventRow {
            position: event.revision + 1,
            stream: metadata.stream,
            version: metadata.version,
            event: NewEvent {
                id: metadata.event.unwrap_or(event.id),
                kind: event.event_type.as_str().into(),
                schema: metadata.schema,
                payload,
                origin: metadata.origin.map(Cow::into_owned),
            },
            envelope: Arc::new(envelope),
            following: metadata.following,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_split_between_characters() {
        assert_eq!(split(""), [""]);
        let text = "å".repeat(PIECE);
        let pieces = split(&text);
        assert_eq!(pieces.concat(), text);
        assert_eq!(pieces.len(), 2);
        let odd = format!("x{text}");
        let pieces = split(&odd);
        assert_eq!(pieces.concat(), odd);
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
    }

    #[test]
    fn pieces_have_ids_of_their_own_that_stay() {
        let event = Uuid::from_u128(7);
        let ids: Vec<_> = (0..3).map(|piece| id_of(event, piece)).collect();
        assert_eq!(ids[0], event);
        assert!(ids[1] != ids[2] && ids[1] != event);
        assert_eq!(ids[1], id_of(event, 1));
    }
}
