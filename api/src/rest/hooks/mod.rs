//! `/hooks/{integration}/{token}`: where incoming webhooks are posted to.
//!
//! The token in the path is all that is asked for. Rocket.Chat's older form has a user in between;
//! it is not looked at.

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::header;
use hansard_commands::error::{CommandError, FIELD_TOO_LARGE};
use hansard_commands::integration::incoming::{HookError, check, receive};
use hansard_domain::fair;
use hansard_domain::free::{self, Unreadable};
use hansard_domain::id::IntegrationId;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Nothing, Success, done};
use super::body;
use super::caller::MaybeCaller;
use super::exchange::number_of;
use super::failure::Failure;
use super::lenient;
use crate::app::App;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(post_hook, get_hook))
        .routes(routes!(post_hook_of_user, get_hook_of_user))
}

/// Post messages through an incoming webhook.
///
/// Takes what Slack and Rocket.Chat take, as JSON or as a form with the JSON in `payload`: `text`,
/// `attachments`, `username` or `alias`, `icon_url` or `avatar`, `icon_emoji` or `emoji`, `tmid`,
/// `parseUrls`, `groupable`, `customFields`, and `channel` or `roomId` (one or several) where the
/// integration allows other destinations. A payload that is empty posts nothing. What the integration names
/// itself is the room or the person that was called so when it was saved; where that is gone, nothing is
/// posted until it is saved with another one.
#[utoipa::path(
    post, path = "/hooks/{integration}/{token}", tag = "hooks", security(()),
    params(
        ("integration" = String, Path, description = "The integration's id."),
        ("token" = String, Path, description = "Its token."),
    ),
    request_body = Map<String, Value>,
    responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn post_hook(
    Path((integration, token)): Path<(String, String)>,
    State(app): State<App>,
    request: Request,
) -> Answer<Nothing> {
    take(&app, &integration, &token, request).await
}

/// Check that an incoming webhook is there.
///
/// As in Rocket.Chat a body of a `GET` posts too, but hardly any client sends one.
#[utoipa::path(
    get, path = "/hooks/{integration}/{token}", tag = "hooks", security(()),
    params(
        ("integration" = String, Path, description = "The integration's id."),
        ("token" = String, Path, description = "Its token."),
    ),
    responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn get_hook(
    Path((integration, token)): Path<(String, String)>,
    State(app): State<App>,
    request: Request,
) -> Answer<Nothing> {
    take(&app, &integration, &token, request).await
}

/// Post messages through an incoming webhook, by its older address.
#[utoipa::path(
    post, path = "/hooks/{integration}/{user}/{token}", tag = "hooks", security(()),
    params(
        ("integration" = String, Path, description = "The integration's id."),
        ("user" = String, Path, description = "Not looked at."),
        ("token" = String, Path, description = "Its token."),
    ),
    request_body = Map<String, Value>,
    responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn post_hook_of_user(
    Path((integration, _user, token)): Path<(String, String, String)>,
    State(app): State<App>,
    request: Request,
) -> Answer<Nothing> {
    take(&app, &integration, &token, request).await
}

/// Check that an incoming webhook is there, by its older address.
#[utoipa::path(
    get, path = "/hooks/{integration}/{user}/{token}", tag = "hooks", security(()),
    params(
        ("integration" = String, Path, description = "The integration's id."),
        ("user" = String, Path, description = "Not looked at."),
        ("token" = String, Path, description = "Its token."),
    ),
    responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn get_hook_of_user(
    Path((integration, _user, token)): Path<(String, String, String)>,
    State(app): State<App>,
    request: Request,
) -> Answer<Nothing> {
    take(&app, &integration, &token, request).await
}

async fn take(app: &App, integration: &str, token: &str, request: Request) -> Answer<Nothing> {
    let integration = IntegrationId::new(integration);
    check(&app.commands, &integration, token)?;
    let (mut parts, body) = request.into_parts();
    let asking = MaybeCaller::from_request_parts(&mut parts, app).await?;
    // Its line is its own, from however many networks it is posted to.
    fair::is_known_as(number_of(&integration));
    let form = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let bytes = body::bytes(Request::from_parts(parts, body), app).await?;
    let payload = read(&bytes, form)?;
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
    let fields: Map<String, Value> = lenient::read_form(bytes)?;
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
