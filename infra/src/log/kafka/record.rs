//! An event as a record of the topic.
//!
//! The key is the stream, the value the event's payload as it is, and all else stands in headers as
//! text: any tool for Kafka shows what happened. A record without a key is a marker that a writer
//! leaves when it takes over; it is no event.

use std::sync::Arc;

use hansard_domain::log::{NewEvent, StreamId};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use uuid::Uuid;

use crate::log::batch::{Envelope, EventRow};

pub fn headers(row: &EventRow) -> OwnedHeaders {
    let envelope = &row.envelope;
    let id = row.event.id.to_string();
    let schema = row.event.schema.to_string();
    let version = row.version.to_string();
    let at = envelope.at.to_string();
    let clock = envelope.clock.map(|clock| clock.to_string());
    let following = row.following.to_string();
    let causation = envelope
        .causation
        .as_deref()
        .and_then(|id| Uuid::from_slice(id).ok())
        .map(|id| id.to_string());
    [
        ("id", Some(id.as_str())),
        ("type", Some(row.event.kind.as_str())),
        ("schema", Some(&schema)),
        ("version", Some(&version)),
        ("at", Some(&at)),
        ("clock", clock.as_deref()),
        ("actor", Some(&envelope.actor)),
        ("correlation", envelope.correlation.as_deref()),
        ("causation", causation.as_deref()),
        ("origin", row.event.origin.as_deref()),
        ("following", Some(&following)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .fold(
        OwnedHeaders::new_with_capacity(11),
        |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        },
    )
}

/// Reads a record back; `None` for a marker.
pub fn read(message: &BorrowedMessage) -> Result<Option<EventRow>, String> {
    let Some(stream) = message.key() else {
        return Ok(None);
    };
    let utf8 = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| "it has text that is not UTF-8".to_owned())
    };
    let stream = utf8(stream)?;
    let payload = utf8(message.payload().ok_or("it has no value")?)?;
    let (mut id, mut kind, mut schema, mut version, mut at) = (None, None, None, None, None);
    let (mut actor, mut correlation, mut causation) = (None, None, None);
    let (mut clock, mut origin, mut following) = (None, None, None);
    for header in message.headers().into_iter().flat_map(Headers::iter) {
        let Some(value) = header.value else { continue };
        let value = std::str::from_utf8(value).map_err(|_| "a header is not UTF-8".to_owned())?;
        let slot = match header.key {
            "id" => &mut id,
            "type" => &mut kind,
            "schema" => &mut schema,
            "version" => &mut version,
            "at" => &mut at,
            "clock" => &mut clock,
            "actor" => &mut actor,
            "correlation" => &mut correlation,
            "causation" => &mut causation,
            "origin" => &mut origin,
            "following" => &mut following,
            _ => continue,
        };
        *slot = Some(value);
    }
    let needed = |name: &str, value: Option<&str>| {
        value
            .map(str::to_owned)
            .ok_or_else(|| format!("it has no header {name}"))
    };
    let wrong = |name: &str, value: &str| format!("its header {name} can't be '{value}'");
    let uuid = |name: &str, text: &str| Uuid::parse_str(text).map_err(|_| wrong(name, text));
    let number = |name: &str, value: Option<&str>| {
        let text = needed(name, value)?;
        text.parse::<i64>().map_err(|_| wrong(name, &text))
    };
    let causation = causation.map(|text| uuid("causation", text)).transpose()?;
    let schema = number("schema", schema)?;
    let envelope = Envelope {
        at: number("at", at)?,
        clock: clock
            .map(|clock| number("clock", Some(clock)))
            .transpose()?,
        actor: needed("actor", actor)?.into(),
        correlation: correlation.map(Into::into),
        causation: causation.map(|id| id.as_bytes().as_slice().into()),
    };
    Ok(Some(EventRow {
        position: message.offset() as u64 + 1,
        stream: StreamId::from_name(&stream),
        version: number("version", version)? as u64,
        event: NewEvent {
            id: uuid("id", &needed("id", id)?)?,
            kind: needed("type", kind)?.into(),
            schema: u16::try_from(schema).map_err(|_| wrong("schema", &schema.to_string()))?,
            payload,
            origin: origin.map(str::to_owned),
        },
        envelope: Arc::new(envelope),
        following: number("following", following)? as u32,
    }))
}
