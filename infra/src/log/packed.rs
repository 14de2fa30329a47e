//! Events in few bytes: what a log keeps of an event that it is not asked by.
//!
//! A record is an array of MessagePack, compressed by zstd (RFC 8878) with a dictionary of what events have in
//! common. In front stands a number for the way it was written, so that other dictionaries can follow. On the
//! real chat the record of a message has 223 bytes, of which some 190 are ciphertext and ids, and 387 before.
//!
//! The example `dictionary` made the dictionary, from a log that `hansard-load play` and the tests'
//! `client_walk.py` and `contract.py` had filled. It never changes: records are read with the dictionary that
//! they were written with.

use std::cell::RefCell;
use std::io;
use std::sync::LazyLock;

use hansard_domain::id::Timestamp;
use hansard_domain::log::{Metadata, NewEvent};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::{CParameter, get_frame_content_size};

use super::batch::Envelope;

/// In front of a record that this version writes.
const NUMBER: u8 = 1;

/// Every frame of zstd begins so; it is not stored.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

const LEVEL: i32 = 3;

/// No event has so many bytes: an append has some four million at most.
const MOST: usize = 64 << 20;

static DICTIONARY: &[u8] = include_bytes!("events.zdict");
static PACKING: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static UNPACKING: LazyLock<DecoderDictionary<'static>> =
    LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

// Each has some hundred kilobytes, and costs more to make than to use.
thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Why a record can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it was written by a newer version of hansard, or is damaged")]
    Unknown,
    #[error("it can't be unpacked: {0}")]
    Packed(#[from] io::Error),
    #[error("it is none of an event: {0}")]
    Record(#[from] rmp_serde::decode::Error),
    #[error("it names nobody who acts: {0}")]
    Actor(String),
}

/// Written as an array: the order of the fields never changes.
#[derive(Serialize, Deserialize)]
pub struct Record<'a> {
    pub kind: &'a str,
    pub schema: u16,
    pub actor: &'a str,
    pub correlation: Option<&'a str>,
    pub causation: Option<Uuid>,
    pub origin: Option<&'a str>,
    pub payload: &'a str,
}

impl Record<'_> {
    /// What is compressed.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        rmp_serde::to_vec(self).map_err(io::Error::other)
    }
}

pub fn pack(event: &NewEvent, envelope: &Envelope) -> io::Result<Vec<u8>> {
    let causation = envelope.causation.as_deref().map(Uuid::from_slice);
    let record = Record {
        kind: &event.kind,
        schema: event.schema,
        actor: &envelope.actor,
        correlation: envelope.correlation.as_deref(),
        causation: causation.transpose().map_err(io::Error::other)?,
        origin: event.origin.as_deref(),
        payload: &event.payload,
    };
    let bytes = record.bytes()?;
    let frame = COMPRESSOR.with_borrow_mut(|compressor| {
        let compressor = match compressor {
            Some(compressor) => compressor,
            none => none.insert(new_compressor()?),
        };
        compressor.compress(&bytes)
    })?;
    let mut packed = Vec::with_capacity(1 + frame.len() - MAGIC.len());
    packed.push(NUMBER);
    packed.extend(&frame[MAGIC.len()..]);
    Ok(packed)
}

fn new_compressor() -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::with_prepared_dictionary(&PACKING)?;
    compressor.set_parameter(CParameter::DictIdFlag(false))?;
    compressor.set_parameter(CParameter::ChecksumFlag(false))?;
    compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
    Ok(compressor)
}

/// The event `id`, recorded at `at`.
pub fn unpack(
    packed: &[u8],
    id: Uuid,
    at: Timestamp,
    clock: Option<Timestamp>,
) -> Result<(NewEvent, Metadata), Unreadable> {
    let Some((&NUMBER, rest)) = packed.split_first() else {
        return Err(Unreadable::Unknown);
    };
    let frame = [&MAGIC, rest].concat();
    let size = get_frame_content_size(&frame).ok().flatten();
    let size = size.and_then(|size| usize::try_from(size).ok());
    let size = size
        .filter(|size| *size <= MOST)
        .ok_or(Unreadable::Unknown)?;
    let bytes = DECOMPRESSOR.with_borrow_mut(|decompressor| {
        let decompressor = match decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::with_prepared_dictionary(&UNPACKING)?),
        };
        decompressor.decompress(&frame, size)
    })?;
    let record: Record<'_> = rmp_serde::from_slice(&bytes)?;
    let actor = record.actor.parse();
    let event = NewEvent {
        id,
        kind: record.kind.into(),
        schema: record.schema,
        payload: record.payload.to_owned(),
        origin: record.origin.map(str::to_owned),
    };
    let metadata = Metadata {
        at,
        clock,
        actor: actor.map_err(|error| Unreadable::Actor(format!("{error}")))?,
        correlation: record.correlation.map(Into::into),
        causation: record.causation,
    };
    Ok((event, metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(payload: &str) -> (NewEvent, Envelope) {
        let event = NewEvent {
            id: Uuid::from_u128(7),
            kind: "MessageSent".into(),
            schema: 3,
            payload: payload.to_owned(),
            origin: Some(r#"{"k":1,"c":{"2":"AAAA"}}"#.to_owned()),
        };
        let envelope = Envelope {
            at: 5,
            clock: Some(4),
            actor: "user:mary".into(),
            correlation: Some("\"a\nb".into()),
            causation: Some(Uuid::from_u128(9).as_bytes().as_slice().into()),
        };
        (event, envelope)
    }

    fn unpacked(packed: &[u8]) -> Result<(NewEvent, Metadata), Unreadable> {
        unpack(packed, Uuid::from_u128(7), Timestamp(5), Some(Timestamp(4)))
    }

    #[test]
    fn what_is_packed_is_read_back() {
        for payload in ["", "{}", "ä\u{0}\n", &"x".repeat(1 << 20)] {
            let (event, envelope) = event(payload);
            let (read, metadata) = unpacked(&pack(&event, &envelope).unwrap()).unwrap();
            assert_eq!(read, event);
            assert_eq!(metadata.actor.to_string(), "user:mary");
            assert_eq!(metadata.correlation.as_deref(), Some("\"a\nb"));
            assert_eq!(metadata.causation, Some(Uuid::from_u128(9)));
        }
        let (event, _) = event("{}");
        let event = NewEvent {
            origin: None,
            ..event
        };
        let envelope = Envelope {
            at: 5,
            clock: None,
            actor: "system".into(),
            correlation: None,
            causation: None,
        };
        let (read, metadata) = unpacked(&pack(&event, &envelope).unwrap()).unwrap();
        assert_eq!(read, event);
        assert_eq!((metadata.correlation, metadata.causation), (None, None));
    }

    #[test]
    fn a_record_that_is_cut_or_changed_is_an_error() {
        let (event, envelope) = event(r#"{"sent":{"room":"general"}}"#);
        let packed = pack(&event, &envelope).unwrap();
        for length in 0..packed.len() {
            assert!(unpacked(&packed[..length]).is_err(), "{length}");
        }
        for at in 0..packed.len() {
            let mut changed = packed.clone();
            changed[at] ^= 0x40;
            // No checksum is kept: what was changed is another record, or none, and never a panic.
            let _ = unpacked(&changed);
        }
        assert!(matches!(unpacked(&[9]), Err(Unreadable::Unknown)));
    }

    /// Records that were written once are read for ever.
    #[test]
    fn the_dictionary_is_the_one_that_records_were_written_with() {
        let packed = include_bytes!("event.packed");
        let (read, metadata) = unpacked(packed).unwrap();
        assert_eq!(
            read.payload,
            r#"{"sent":{"room":"general","sender":"mary"}}"#
        );
        assert_eq!(metadata.actor.to_string(), "user:mary");
    }
}
