//! What an event says in clear, as that which its confidential parts are sealed beside.
//!
//! A part opens only where it was sealed: in this event of this stream, at this version, by this actor, at
//! this time, beside this payload, at this place in it. The payload counts as the text that stands in the
//! log, with the ciphertexts left out and their places kept: how it is read, and what later versions make
//! of it ([`upcast`](crate::upcast)), does not matter, nor does it whether one of its parts has been
//! shredded. The origin of an event is sealed beside the same, so that an event without parts can't be
//! changed either without its origin being found forged.

use std::ops::Range;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::id::Timestamp;
use crate::log::{Actor, StreamId, Version};

/// What stands before the ciphertext of a part, in the one way that Hansard writes JSON. Nothing that is
/// in a text looks so, as quotes are escaped there.
const BEFORE: &str = r#""c":{"2":""#;

/// An event as it stands in the log, but for its origin.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    pub stream: &'a StreamId,
    pub version: Version,
    pub id: Uuid,
    pub kind: &'a str,
    pub schema: u16,
    pub at: Timestamp,
    pub clock: Option<Timestamp>,
    pub actor: &'a Actor,
    pub correlation: Option<&'a str>,
    pub causation: Option<Uuid>,
    pub payload: &'a str,
}

/// What is the same for all parts of an event.
#[derive(Debug, Clone)]
pub struct Beside {
    digest: [u8; 32],
    /// Where the ciphertexts of the payload stand, in their order.
    places: Vec<Range<usize>>,
}

/// What one part is sealed beside.
pub type Context = [u8; 36];

impl Beside {
    pub fn new(said: &Said) -> Self {
        let places = places(said.payload);
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        let number = |number: Option<Timestamp>| number.map(|number| number.0.to_be_bytes());
        add(b"hansard event 2");
        add(said.id.as_bytes());
        add(said.stream.as_str().as_bytes());
        add(&said.version.0.to_be_bytes());
        add(said.kind.as_bytes());
        add(&said.schema.to_be_bytes());
        add(&said.at.0.to_be_bytes());
        add(number(said.clock).as_ref().map_or(&[], |clock| clock));
        add(said.actor.to_string().as_bytes());
        add(&[u8::from(said.correlation.is_some())]);
        add(said.correlation.unwrap_or_default().as_bytes());
        let causation = said.causation.as_ref();
        add(causation.map_or(&[], |event| event.as_bytes()));
        let mut from = 0;
        for place in &places {
            add(&said.payload.as_bytes()[from..place.start]);
            from = place.end;
        }
        add(&said.payload.as_bytes()[from..]);
        Self {
            digest: hash.finalize().into(),
            places,
        }
    }

    /// Where the ciphertexts of the payload stand, in their order.
    pub fn places(&self) -> &[Range<usize>] {
        &self.places
    }

    /// For the part whose ciphertext stands at a place, by the place's number from 0.
    pub fn part(&self, place: usize) -> Context {
        self.context(place as u32)
    }

    /// For the part with this ciphertext in the payload; `None` where that does not stand there exactly
    /// once, as it does when Hansard writes.
    pub fn part_of(&self, payload: &str, cipher: &str) -> Option<Context> {
        let places = self.places.iter().enumerate();
        let mut found = places.filter(|(_, place)| payload.get((*place).clone()) == Some(cipher));
        match (found.next(), found.next()) {
            (Some((place, _)), None) => Some(self.part(place)),
            _ => None,
        }
    }

    pub fn origin(&self) -> Context {
        self.context(u32::MAX)
    }

    fn context(&self, place: u32) -> Context {
        let mut context = [0; 36];
        context[..32].copy_from_slice(&self.digest);
        context[32..].copy_from_slice(&place.to_be_bytes());
        context
    }
}

/// The places of the ciphertexts in a payload.
fn places(payload: &str) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(found) = payload[from..].find(BEFORE) {
        let start = from + found + BEFORE.len();
        let Some(length) = payload[start..].find('"') else {
            break;
        };
        from = start + length;
        places.push(start..from);
    }
    places
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    const PAYLOAD: &str = r#"{"a":"\"c\":{\"2\":\"x","p":{"k":1,"c":{"2":"one"}},"q":[{"k":1,"c":{"2":"two"}}],"o":{"k":1,"c":"old"}}"#;

    static STREAM: LazyLock<StreamId> = LazyLock::new(|| StreamId::new("message", "m1"));

    fn beside<'a>(change: impl FnOnce(&mut Said<'a>)) -> Beside {
        let mut said = Said {
            stream: &STREAM,
            version: Version(3),
            id: Uuid::from_u128(7),
            kind: "MessageSent",
            schema: 1,
            at: Timestamp(1_767_225_600_000),
            clock: None,
            actor: &Actor::System,
            correlation: Some("request"),
            causation: None,
            payload: PAYLOAD,
        };
        change(&mut said);
        Beside::new(&said)
    }

    #[test]
    fn all_that_an_event_says_counts() {
        let stream = StreamId::new("message", "m2");
        let actor = Actor::Anonymous;
        let payloads = [
            PAYLOAD.replace("old", "new"),
            PAYLOAD.replace(r#""k":1,"c":{"#, r#""k":2,"c":{"#),
            PAYLOAD.replace(r#""p":"#, r#""p": "#),
        ];
        let mut all = vec![
            beside(|_| {}),
            beside(|said| said.stream = &stream),
            beside(|said| said.version = Version(4)),
            beside(|said| said.id = Uuid::from_u128(8)),
            beside(|said| said.kind = "MessageEdited"),
            beside(|said| said.schema = 2),
            beside(|said| said.at = Timestamp(0)),
            beside(|said| said.clock = Some(Timestamp(0))),
            beside(|said| said.actor = &actor),
            beside(|said| said.correlation = None),
            beside(|said| said.correlation = Some("")),
            beside(|said| said.causation = Some(Uuid::nil())),
        ];
        all.extend(
            payloads
                .iter()
                .map(|payload| beside(|said| said.payload = payload)),
        );
        let mut digests: Vec<_> = all.iter().map(|beside| beside.digest).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), all.len());
    }

    #[test]
    fn ciphertexts_are_left_out_and_their_places_kept() {
        let here = beside(|_| {});
        let texts: Vec<_> = here.places.iter().map(|at| &PAYLOAD[at.clone()]).collect();
        assert_eq!(texts, ["one", "two"]);
        assert_eq!(here.part_of(PAYLOAD, "two"), Some(here.part(1)));
        assert_eq!(here.part_of(PAYLOAD, "old"), None);
        let contexts = [here.part(0), here.part(1), here.origin()];
        assert!(contexts[0] != contexts[1] && contexts[1] != contexts[2]);

        let resealed = PAYLOAD.replace("one", "another");
        assert_eq!(beside(|said| said.payload = &resealed).digest, here.digest);
        // Which of two is meant is not known: none is.
        let twice = PAYLOAD.replace("two", "one");
        let doubled = beside(|said| said.payload = &twice);
        assert_eq!(doubled.part_of(&twice, "one"), None);
    }

    #[test]
    fn it_is_computed_as_ever() {
        // What stands in logs opens beside nothing else.
        let hex: String = beside(|_| {})
            .part(1)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "36fc3247ffc63e5cfdbf5c542a18edc1ee86571940f37871bf3ab42ec2cedde100000001"
        );
    }
}
