//! What is kept of a delivery's exchange, and how it is shown.
//!
//! A body names people and a room, and each of these names is to be gone with whom it belongs to, while
//! one key seals the whole exchange. So the record holds ids in place of names; whoever is shown it gets
//! the names of those who are still there, as they are now.

use hansard_domain::id::{RoomId, UserId};
use hansard_domain::integration::Exchange;
use hansard_domain::json;
use serde_json::{Map, Value};

use super::payload::{Payload, name};
use super::sender::{SendError, WebhookResponse};
use crate::authorization::sight::Purpose;
use crate::model::WriteModel;

/// What is kept of an answer, in bytes.
const KEPT: usize = 4096;

/// What is kept of an answer that repeats a name which is not to be kept.
const NAMING: &str = "[an answer that names somebody or a room is not kept]";

/// Where a body tells of people.
const PEOPLE: [&str; 4] = ["/user", "/owner", "/room/u", "/message/u"];

/// What is kept of an attempt. The token stays out: the record is shown to more people than the
/// integration is.
pub(super) fn exchange(
    url: &str,
    payload: &Payload,
    sent: &Result<WebhookResponse, SendError>,
) -> Exchange {
    let response = match sent {
        Ok(response) if answers_with(&response.body, &payload.names) => NAMING.to_owned(),
        Ok(response) => cut(&response.body).to_owned(),
        Err(error) => error.to_string(),
    };
    let mut body = Value::from(payload.body.clone());
    take_names_out(&mut body);
    Exchange {
        url: url.to_owned(),
        request: body.to_string(),
        response,
    }
}

/// A request that was kept, with the names of those that are there, as far as somebody sees them: whoever
/// was sent away from a room is not told what it is called since. As it is if it is not JSON.
pub fn with_names(model: &WriteModel, viewer: &UserId, request: &str) -> String {
    let Ok(mut body) = json::value(request) else {
        return request.to_owned();
    };
    // Those of earlier versions hold names as they were.
    take_names_out(&mut body);
    put_names_in(model, viewer, &mut body);
    body.to_string()
}

fn take_names_out(body: &mut Value) {
    for path in PEOPLE {
        take(body.pointer_mut(path), &["username", "name"]);
    }
    take(body.pointer_mut("/room"), &["name", "fname", "topic"]);
    take(Some(body), &["token", "user_name", "channel_name"]);
}

fn take(object: Option<&mut Value>, members: &[&str]) {
    if let Some(Value::Object(object)) = object {
        object.retain(|member, _| !members.contains(&member.as_str()));
    }
}

fn put_names_in(model: &WriteModel, viewer: &UserId, body: &mut Value) {
    let seen = |id: &str| {
        let sight = model.sight_of(Some(viewer), &RoomId::new(id), Purpose::Administration);
        sight.map(|sight| sight.room)
    };
    for path in PEOPLE {
        let Some(Value::Object(person)) = body.pointer_mut(path) else {
            continue;
        };
        let Some(account) = id(person, "_id").and_then(|id| model.account(&UserId::new(id))) else {
            continue;
        };
        person.insert("username".into(), account.profile.username.clone().into());
        // Elsewhere a body has the username alone.
        if !path.ends_with("/u") {
            person.insert("name".into(), account.profile.name.clone().into());
        }
    }
    if let Some(Value::Object(shown)) = body.pointer_mut("/room")
        && let Some(room) = id(shown, "_id").and_then(seen)
    {
        shown.insert("name".into(), name(&room.details.name));
        shown.insert("fname".into(), name(&room.details.fname));
        shown.insert("topic".into(), room.details.topic.clone().into());
    }
    let Value::Object(body) = body else {
        return;
    };
    if let Some(account) = id(body, "user_id").and_then(|id| model.account(&UserId::new(id))) {
        body.insert("user_name".into(), account.profile.username.clone().into());
    }
    if let Some(room) = id(body, "channel_id").and_then(seen) {
        body.insert("channel_name".into(), name(&room.details.name));
    }
}

fn id<'a>(object: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    object.get(member)?.as_str()
}

/// Whether an answer has one of these names in it, also where its JSON writes letters as numbers.
fn answers_with(body: &str, names: &[String]) -> bool {
    let read = json::value(body).map(|body| body.to_string());
    repeats(body, names) || read.is_ok_and(|read| repeats(&read, names))
}

/// Whether a text has one of these names in it as words of their own, whatever their case.
fn repeats(text: &str, names: &[String]) -> bool {
    let text = text.to_lowercase();
    let inside = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    names.iter().any(|name| {
        let name = name.to_lowercase();
        let mut found = text.match_indices(&name);
        !name.is_empty()
            && found.any(|(at, _)| {
                let (before, after) = (&text[..at], &text[at + name.len()..]);
                !inside(before.chars().next_back()) && !inside(after.chars().next())
            })
    })
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(KEPT)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_a_name_where_it_stands_as_a_word() {
        let names = ["Eve".to_owned(), "Eve Adams".to_owned(), String::new()];
        for text in ["eve", r#"{"text":"Hello, EVE!"}"#, "to:eve adams"] {
            assert!(repeats(text, &names), "{text}");
        }
        for text in ["", "{}", "every evening", "Steve"] {
            assert!(!repeats(text, &names), "{text}");
        }
        let names = ["Jürgens".to_owned()];
        assert!(answers_with(r#"{"to":"J\u00fcrgens"}"#, &names));
        assert!(!answers_with(r#"{"to":"J\u00fcrg"}"#, &names));
    }
}
