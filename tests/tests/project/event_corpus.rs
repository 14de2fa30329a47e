//! Events of every schema, as they were first written, and what they say when they are read today.
//!
//! `tests/events` holds a file for each type and schema, `<type>.<schema>.json`, and further ones of the
//! same schema that were written otherwise, `<type>.<schema>.<how>.json` (`first`: by the first version that
//! had a log). A file is never changed: there are logs that hold what stands in it. A new type or schema gets its file by
//! `HANSARD_WRITE_EVENTS=1 cargo test -p hansard-tests --test event_corpus`, which writes those that are missing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use hansard_domain::event::Event;
use hansard_domain::id::Timestamp;
use hansard_domain::json;
use hansard_domain::log::StreamId;
use hansard_domain::seal::Confidential;
use hansard_domain::upcast;
use hansard_domain::vault::{DataKey, KeyId};
use hansard_tests::load::dice::Dice;
use hansard_tests::specimen::values::Shape;
use hansard_tests::specimen::{Told, story};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the parts of the events are sealed under, and beside.
const KEY: DataKey = DataKey([7; 32]);
const CONTEXT: &[u8] = b"corpus";

/// A file of the corpus.
#[derive(Serialize, Deserialize)]
struct Kept {
    stream: String,
    /// As it stands in the log.
    payload: Value,
    /// What it says, its parts open.
    says: Value,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("events")
}

/// Type, schema and text of each file.
fn kept() -> Vec<(String, u16, Kept)> {
    if std::env::var_os("HANSARD_WRITE_EVENTS").is_some() {
        static WRITTEN: Once = Once::new();
        WRITTEN.call_once(write);
    }
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut parts = name.split('.');
        let kind = parts.next().unwrap().to_owned();
        let schema = parts.next().unwrap().parse().unwrap();
        let kept = json::from_str(&fs::read_to_string(path).unwrap());
        (
            kind,
            schema,
            kept.unwrap_or_else(|error| panic!("{name}: {error}")),
        )
    };
    let files = fs::read_dir(corpus()).unwrap();
    files.map(|file| read(file.unwrap().path())).collect()
}

fn revealed(event: &Event) -> Value {
    let mut event = event.clone();
    event.parts(&mut |part| part.reveal());
    json::value(&event.payload().unwrap()).unwrap()
}

/// One of every event there is, short and readable.
fn specimens() -> BTreeMap<&'static str, (StreamId, Event)> {
    let mut dice = Dice::new(1);
    let mut number = 0;
    let mut fresh = || {
        number += 1;
        KeyId(number)
    };
    let now = Timestamp(1_767_225_600_000);
    let mut specimens = BTreeMap::new();
    for Told { stream, events } in story(Shape::Plain, &mut dice, now, &mut fresh) {
        for event in events {
            specimens
                .entry(event.kind())
                .or_insert_with(|| (stream.clone(), event));
        }
    }
    specimens
}

/// Writes the files that are missing.
fn write() {
    fs::create_dir_all(corpus()).unwrap();
    for (kind, (stream, event)) in specimens() {
        let path = corpus().join(format!("{kind}.{}.json", upcast::schema(kind)));
        if path.exists() {
            continue;
        }
        let says = revealed(&event);
        let mut sealed = event;
        sealed.parts(&mut |part| part.seal(&KEY, CONTEXT).unwrap());
        let kept = Kept {
            stream: stream.to_string(),
            payload: json::value(&sealed.payload().unwrap()).unwrap(),
            says,
        };
        let text = serde_json::to_string_pretty(&kept).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }
}

#[test]
fn every_event_that_was_ever_written_is_read() {
    if std::env::var_os("HANSARD_WRITE_EVENTS").is_some() {
        write();
    }
    for (
        kind,
        schema,
        Kept {
            stream,
            payload,
            says,
        },
    ) in kept()
    {
        let stream = StreamId::from_name(&stream);
        let read = Event::read(stream.category(), &kind, schema, &payload.to_string());
        let mut event = read.unwrap_or_else(|error| panic!("{kind} of schema {schema}: {error}"));
        event.parts(&mut |part| {
            part.open(Some(&KEY), CONTEXT);
            assert_eq!(part.fault(), None, "{kind} of schema {schema}");
        });
        assert_eq!(event.kind(), kind);
        assert_eq!(
            revealed(&event),
            says,
            "{kind} of schema {schema} says something else"
        );
    }
}

#[test]
fn every_type_and_schema_is_kept() {
    let kept = kept();
    for kind in Event::kinds() {
        for schema in 1..=upcast::schema(kind) {
            let there = kept.iter().any(|(of, at, _)| of == kind && *at == schema);
            assert!(
                there,
                "there is no tests/events/{kind}.{schema}.json; HANSARD_WRITE_EVENTS=1 writes it"
            );
        }
    }
}
