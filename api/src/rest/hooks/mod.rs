//! `/hooks/{integration}/{token}`: where incoming webhooks are posted to.
//!
//! The token in the path is all that is asked for. Rocket.Chat's older form has a user in between;
//! it is not looked at.

use hansard_commands::error::{CommandError, FIELD_TOO_LARGE};
use hansard_commands::integration::incoming::{HookError, check, receive};
use hansard_domain::fair;
use hansard_domain::free::{self, Unreadable};
use hansard_domain::id::IntegrationId;
use serde_json::{Map, Value};

use super::exchange::number_of;
use super::failure::Failure;
use super::lenient;
use crate::app::App;
use crate::operations::reply::{Answer, Nothing, done};
use crate::operations::request::{MaybeCaller, Paths, Payload};
use crate::operations::{Limit, Operation};

pub const OPERATIONS: &[Operation] = &[POST, GET, POST_OF_USER, GET_OF_USER];

const POST: Operation = Operation::post("hooks.post", &take)
    .at("/hooks/{integration}/{token}")
    .limited(Limit::Other)
    .tells("Post messages through an incoming webhook.")
    .notes(
        "Takes what Slack and Rocket.Chat take, as JSON or as a form with the JSON in `payload`: `text`, \
         `attachments`, `username` or `alias`, `icon_url` or `avatar`, `icon_emoji` or `emoji`, `tmid`, \
         `parseUrls`, `groupable`, `customFields`, and `channel` or `roomId` (one or several) where the \
         integration allows other destinations. A payload that is empty posts nothing. What the \
         integration names itself is the room or the person that was called so when it was saved; where \
         that is gone, nothing is posted until it is saved with another one.",
    );

const GET: Operation = Operation::get("hooks.get", &take)
    .at("/hooks/{integration}/{token}")
    .records()
    .limited(Limit::Other)
    .tells("Check that an incoming webhook is there.")
    .notes("As in Rocket.Chat a body of a `GET` posts too, but hardly any client sends one.");

const POST_OF_USER: Operation = Operation::post("hooks.postOfUser", &take)
    .at("/hooks/{integration}/{user}/{token}")
    .limited(Limit::Other)
    .tells("Post messages through an incoming webhook, by the path that older integrations have.")
    .notes("The user in it is not looked at.");

const GET_OF_USER: Operation = Operation::get("hooks.getOfUser", &take)
    .at("/hooks/{integration}/{user}/{token}")
    .records()
    .limited(Limit::Other)
    .tells("Check that an incoming webhook is there, by the path that older integrations have.");

async fn take(
    app: App,
    asking: MaybeCaller,
    (Paths(path), payload): (Paths, Payload),
) -> Answer<Nothing> {
    let (Some(integration), Some(token)) = (path.first(), path.last()) else {
        return Err(Failure::no_endpoint());
    };
    let integration = IntegrationId::new(integration);
    check(&app.commands, &integration, token)?;
    // Its line is its own, from however many networks it is posted to.
    fair::is_known_as(number_of(&integration));
    let payload = read(payload.text.as_bytes(), payload.is_form)?;
    receive(
        &app.commands,
        &integration,
        token,
        &payload,
        asking.origin.clone(),
        asking.correlation.as_deref(),
    )
    .await?;
    done()
}

/// The payload: a JSON object, a form, or a form that holds the object in `payload`.
fn read(bytes: &[u8], form: bool) -> Result<Map<String, Value>, Failure> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let object = |bytes: &[u8]| match free::read(bytes, &free::REQUEST) {
        Ok(Value::Object(payload)) => Ok(payload),
        Ok(_) => Err(Failure::plain("The payload is not a JSON object")),
        Err(Unreadable::NotJson(error)) => Err(Failure::plain(error.to_string())),
        Err(Unreadable::OutOfBounds(excess)) => Err(excess.into()),
    };
    if !form {
        return object(bytes);
    }
    let fields: Map<String, Value> = lenient::read(lenient::form(bytes)?)?;
    match fields.get("payload") {
        Some(Value::String(payload)) if fields.len() == 1 => object(payload.as_bytes()),
        _ => Ok(fields),
    }
}

/// Rocket.Chat answers hooks with the code of an error alone.
impl From<HookError> for Failure {
    fn from(error: HookError) -> Self {
        let said = error.to_string();
        match error {
            HookError::Unknown => Self::not_found(&said),
            HookError::Disabled => Self::unavailable(&said),
            HookError::FixedDestination => Self::plain(said),
            HookError::Command(error @ CommandError::Refused { .. }) if is_too_large(&error) => {
                error.into()
            }
            HookError::Command(
                CommandError::Refused { code, reason, .. }
                | CommandError::Denied { code, reason, .. },
            ) => Self::plain(if code.is_empty() {
                reason
            } else {
                code.into_owned()
            }),
            HookError::Command(error) => error.into(),
        }
    }
}

/// Whoever sends too much is told of what.
fn is_too_large(error: &CommandError) -> bool {
    matches!(error, CommandError::Refused { code, .. } if code == FIELD_TOO_LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_payload_is_json_or_a_form_around_it() {
        let expected = json!({ "text": "hi & bye" });
        let expected = expected.as_object().unwrap();
        for (body, form) in [
            (&br#"{"text":"hi & bye"}"#[..], false),
            (b"payload=%7B%22text%22%3A%22hi%20%26%20bye%22%7D", true),
            (b"text=hi+%26+bye", true),
        ] {
            assert_eq!(read(body, form).unwrap(), *expected);
        }
        assert!(read(b" ", false).unwrap().is_empty());
        assert!(read(b"{", false).is_err());
        assert!(read(b"payload=%7B", true).is_err());
    }
}
