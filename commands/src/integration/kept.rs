//! What is kept of a delivery's exchange, and how it is shown.
//!
//! A body names people and a room, and each of these names is to be gone with whom it belongs to, while
//! one key seals the whole exchange. So the record holds ids in place of names; whoever is shown it gets
//! the names of those who are still there, as they are now.

use hansard_domain::id::{RoomId, UserId};
use hansard_domain::integration::Exchange;
use hansard_domain::json;
use serde_json::{Map, Value};

use super::escapes::readings;
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

/// What is kept of an answer that repeats the token which was sent along.
const SECRET: &str = "[an answer that repeats the integration's token is not kept]";

/// What is kept of an attempt. The token stays out, also where the answer repeats it: the record is shown
/// to more people than the integration is.
pub(super) fn exchange(
    url: &str,
    payload: &Payload,
    sent: &Result<WebhookResponse, SendError>,
) -> Exchange {
    let token = payload.body.get("token").and_then(Value::as_str);
    let response = match sent {
        Ok(response) if tells(&response.body, token.unwrap_or_default()) => SECRET.to_owned(),
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

/// A request that was kept, with the names of those that are there, for who sees the room that it tells of:
/// whoever was sent away from it is not told what it and its people are called since. As it is if it is
/// not JSON.
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
    let told_of = ["/channel_id", "/room/_id"];
    let mut rooms = told_of.iter().filter_map(|path| body.pointer(path));
    // Who is in a room, or was, is for those who see it.
    if rooms.any(|room| room.as_str().and_then(seen).is_none()) {
        return;
    }
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

/// Whether an answer has one of these names in it.
fn answers_with(body: &str, names: &[String]) -> bool {
    readings(body).iter().any(|text| repeats(text, names))
}

/// Whether an answer has a secret anywhere in it.
fn tells(body: &str, secret: &str) -> bool {
    !secret.is_empty() && readings(body).iter().any(|text| text.contains(secret))
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
    use hansard_domain::vault::KeyId;

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

    #[test]
    fn an_answer_that_repeats_the_token_is_not_kept() {
        let body = serde_json::json!({ "token": "s/e-cret", "text": "hi" });
        let payload = Payload {
            body: body.as_object().unwrap().clone(),
            key: KeyId(1),
            carried: Vec::new(),
            names: Vec::new(),
        };
        let answered = |body: &str| {
            let response = WebhookResponse {
                status: 200,
                content_type: "text/plain".into(),
                retry_after: None,
                body: body.into(),
            };
            exchange("https://example.com/", &payload, &Ok(response)).response
        };
        assert_eq!(answered("fine"), "fine");
        for told in ["got s/e-cret", r#"{"got":"s\/e-cret"}"#, "token=s%2Fe-cret"] {
            assert_eq!(answered(told), SECRET, "{told}");
        }
    }
}
