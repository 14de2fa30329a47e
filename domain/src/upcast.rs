//! Payloads of earlier versions, made into those of today.
//!
//! What was recorded is never written anew. When the type of an event changes so that it does not read
//! its earlier payloads any more, a step is added to [`STEPS`] that makes the earlier payload into the new
//! one, and with it the number of the type's schema rises: new events are written with the new number, and
//! old ones take the steps from theirs when they are read. A step stays for ever. It knows JSON alone, so
//! that it does not change with the types.
//!
//! A member that is added with a default needs no step, nor does one that is left out. What is sealed can't
//! be changed by a step, as it is opened after it: the types in it go on reading what they ever wrote, by
//! `#[serde(default)]`, `alias` or `from`.
//!
//! `tests/events` holds every event as each schema first wrote it.

use serde_json::{Map, Value, json};

/// From one schema of a type to the next.
struct Step {
    kind: &'static str,
    /// The schema that is left; the first one is 1.
    from: u16,
    take: fn(&mut Map<String, Value>),
}

/// In the order of their numbers.
const STEPS: &[Step] = &[
    Step {
        kind: "ReactionAdded",
        from: 1,
        take: name_what_is_clear,
    },
    Step {
        kind: "ReactionRemoved",
        from: 1,
        take: name_what_is_clear,
    },
];

/// Reactions were not confidential at first, and stood there as a text.
fn name_what_is_clear(payload: &mut Map<String, Value>) {
    if let Some(reaction) = payload.get_mut("reaction")
        && reaction.is_string()
    {
        *reaction = json!({ "k": 0, "clear": reaction.take() });
    }
}

/// The schema that payloads of a type are written with today.
pub fn schema(kind: &str) -> u16 {
    let steps = STEPS.iter().filter(|step| step.kind == kind);
    steps.map(|step| step.from + 1).max().unwrap_or(1)
}

/// A payload as it would be written today.
pub(crate) fn to_today(kind: &str, schema: u16, payload: &mut Map<String, Value>) {
    for step in STEPS {
        if step.kind == kind && step.from >= schema {
            (step.take)(payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    #[test]
    fn the_steps_of_a_type_follow_each_other() {
        for kind in Event::kinds() {
            let steps = STEPS.iter().filter(|step| step.kind == kind);
            let from: Vec<_> = steps.map(|step| step.from).collect();
            let due: Vec<_> = (1..schema(kind)).collect();
            assert_eq!(from, due, "{kind}");
        }
        for step in STEPS {
            assert!(
                Event::kinds().any(|kind| kind == step.kind),
                "{}",
                step.kind
            );
        }
    }

    #[test]
    fn a_payload_takes_the_steps_from_its_schema_on() {
        let clear = || Map::from_iter([("reaction".to_owned(), json!(":wave:"))]);
        let mut first = clear();
        to_today("ReactionAdded", 1, &mut first);
        assert_eq!(first["reaction"], json!({ "k": 0, "clear": ":wave:" }));
        let mut second = clear();
        to_today("ReactionAdded", 2, &mut second);
        assert_eq!(second, clear());
    }
}
