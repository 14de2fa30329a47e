//! Rooms that a request names and that the caller does not know of.
//!
//! Whatever such a request is answered, it is refused for want of a right, and goes on the record: an
//! operation that answers that there is no such room need not think of it.

use hansard_commands::authorization::sight::Purpose;
use hansard_commands::caller::Caller as Asking;
use hansard_commands::model::WriteModel;
use hansard_domain::id::RoomId;
use serde_json::Value;

use super::request::Input;
use crate::rest::lenient::form_urlencoded;

/// How requests name rooms, by id or name.
const NAMES: [&str; 5] = ["roomId", "rid", "roomName", "room", "channel"];

/// A name is no longer, in bytes.
const LONGEST: usize = 1_000;

/// So many are looked at of one request.
const MOST: usize = 16;

/// What a request calls rooms, wherever it does.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NamedRooms(Vec<String>);

impl NamedRooms {
    pub fn of(input: &Input) -> Self {
        let mut named = Self::default();
        if !input.query.is_empty() {
            let parameters = form_urlencoded(input.query.as_bytes());
            for (name, text) in parameters {
                named.take(&name, &text);
            }
        }
        named.take_all(&input.body, 0);
        named
    }

    fn take(&mut self, name: &str, text: &str) {
        let is_a_room = NAMES.contains(&name) && !text.is_empty() && text.len() <= LONGEST;
        if is_a_room && self.0.len() < MOST {
            self.0.push(text.to_owned());
        }
    }

    /// Those of an object, and of the objects in it.
    fn take_all(&mut self, body: &Value, depth: usize) {
        let Value::Object(members) = body else {
            return;
        };
        for name in NAMES {
            match members.get(name) {
                Some(Value::String(text)) => self.take(name, text),
                Some(Value::Array(texts)) => {
                    for text in texts.iter().take(MOST).filter_map(Value::as_str) {
                        self.take(name, text);
                    }
                }
                _ => {}
            }
        }
        if depth == 0 {
            for member in ["message", "data"] {
                if let Some(inner) = members.get(member) {
                    self.take_all(inner, depth + 1);
                }
            }
        }
    }

    /// One of them that is there, and that the caller does not know of.
    pub fn hidden_from(&self, asking: &Asking, model: &WriteModel) -> Option<RoomId> {
        self.0.iter().find_map(|called| {
            let called = called.trim().trim_start_matches(['#', '@']);
            let by_id = Some(RoomId::new(called)).filter(|id| model.room(id).is_some());
            let room = by_id.or_else(|| model.room_by_name(called).cloned())?;
            (!model.sees(asking, &room, Purpose::Existence)).then_some(room)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(query: &str, body: Value) -> Vec<String> {
        let input = Input {
            query: query.to_owned(),
            body,
            ..Input::default()
        };
        NamedRooms::of(&input).0
    }

    #[test]
    fn rooms_are_found_wherever_a_request_names_them() {
        assert_eq!(
            named("roomId=a%20b&count=7&roomName=", Value::Null),
            ["a b"]
        );
        assert_eq!(named("", json!({ "rid": "a", "msg": "b" })), ["a"]);
        assert_eq!(
            named("", json!({ "message": { "rid": "a", "_id": "b" } })),
            ["a"]
        );
        assert_eq!(
            named("", json!({ "channel": ["#a", "@b", 7] })),
            ["#a", "@b"]
        );
        assert_eq!(named("", json!({ "roomId": { "$ne": null } })), [""; 0]);
        let many = vec!["room"; 10_000];
        assert_eq!(named("", json!({ "channel": many })).len(), MOST);
        assert_eq!(
            named("", json!({ "roomId": "x".repeat(LONGEST + 1) })),
            [""; 0]
        );
    }
}
