//! Rooms that a request names and that the caller does not know of.
//!
//! Whatever such a request is answered, it is refused for want of a right, and goes on the record with each
//! of them: an operation that answers that there is no such room need not think of it.

use std::collections::HashSet;

use hansard_commands::authorization::sight::Purpose;
use hansard_commands::caller::Caller as Asking;
use hansard_commands::model::WriteModel;
use hansard_domain::id::RoomId;
use serde_json::Value;

use super::request::Input;
use crate::rest::lenient::form_urlencoded;

/// How requests name rooms, by id or name.
const NAMES: [&str; 5] = ["roomId", "rid", "roomName", "room", "channel"];

/// So many names are looked up of one request.
const LOOKED_UP: usize = 10_000;

/// So many rooms are told of one request, each once: who names more of them knows them all.
const MOST: usize = 64;

/// The rooms that a request names wherever it may, in whatever order, which are there and which the caller
/// does not know of.
pub fn hidden_rooms(input: &Input, asking: &Asking, model: &WriteModel) -> Vec<RoomId> {
    let (mut hidden, mut looked_up) = (Vec::new(), HashSet::new());
    each_name(input, |called| {
        // A name with an `@` is a person's.
        let called = called.trim().trim_start_matches('#');
        if called.starts_with('@') || looked_up.len() >= LOOKED_UP || hidden.len() >= MOST {
            return;
        }
        if !looked_up.insert(called.to_owned()) {
            return;
        }
        let by_id = Some(RoomId::new(called)).filter(|id| model.room(id).is_some());
        let room = by_id.or_else(|| model.room_by_name(called).cloned());
        // What the caller is shown of them is not of interest here.
        let user = asking.user.as_ref();
        let is_hidden = |room: &RoomId| model.sight_of(user, room, Purpose::Existence).is_none();
        if let Some(room) = room.filter(is_hidden)
            && !hidden.contains(&room)
        {
            hidden.push(room);
        }
    });
    hidden
}

/// Tells what a request calls rooms.
fn each_name(input: &Input, mut tell: impl FnMut(&str)) {
    if !input.query.is_empty() {
        for (name, text) in form_urlencoded(input.query.as_bytes()) {
            let name = name.strip_suffix("[]").unwrap_or(&name);
            if NAMES.contains(&name) {
                tell(&text);
            }
        }
    }
    for body in [&input.body, &input.body["message"], &input.body["data"]] {
        for named in NAMES.into_iter().filter_map(|name| body.get(name)) {
            match named {
                Value::String(text) => tell(text),
                Value::Array(texts) => texts.iter().filter_map(Value::as_str).for_each(&mut tell),
                _ => {}
            }
        }
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
        let mut named = Vec::new();
        each_name(&input, |called| named.push(called.to_owned()));
        named
    }

    #[test]
    fn rooms_are_found_wherever_a_request_names_them() {
        assert_eq!(named("roomId=a%20b&count=7", Value::Null), ["a b"]);
        assert_eq!(named("channel[]=a&channel[]=b", Value::Null), ["a", "b"]);
        assert_eq!(named("", json!({ "rid": "a", "msg": "b" })), ["a"]);
        let message = json!({ "message": { "rid": "a", "_id": "b" } });
        assert_eq!(named("", message), ["a"]);
        assert_eq!(
            named("", json!({ "channel": ["#a", "@b", 7] })),
            ["#a", "@b"]
        );
        assert_eq!(named("", json!({ "roomId": { "$ne": null } })), [""; 0]);
        let many = vec!["room"; 1_000];
        let last = json!({ "channel": many, "roomName": "last" });
        assert!(named("", last).contains(&"last".to_owned()));
    }
}
