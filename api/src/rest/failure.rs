//! What a request is answered when it is not done: one type, in Rocket.Chat's shapes.
//!
//! Two shapes go back to Rocket.Chat's two layers. The router speaks
//! `{"status":"error","message":…}` (401, 404 for a path, 405); everything behind it speaks
//! `{"success":false,"error":…}`. An error with a code reads `reason [code]` and carries the code
//! again as `errorType`.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hansard_commands::account::profile::PASSWORD_CHANGE_REQUIRED;
use hansard_commands::error::CommandError;
use hansard_domain::id::RoomId;
use hansard_domain::limit::OutOfBounds;
use hansard_projections::ViewError;
use serde_json::{Value, json};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

/// Seconds after which a client may ask again when the server was too busy to take a command.
const RETRY_AFTER: u64 = 1;

/// See the module.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    body: Value,
    retry_after: Option<u64>,
    /// Another node can do it.
    elsewhere: bool,
    /// It is for want of a right, and nobody has put that on the record.
    refusal: Option<Box<Refusal>>,
    /// It is for want of a right, and on the record, with this room.
    noted: Option<Box<Noted>>,
}

/// What stands on the record of a refusal.
#[derive(Debug)]
pub struct Noted {
    pub room: Option<RoomId>,
}

/// What somebody lacks a right for, which is not on the record yet.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub permission: Option<String>,
    pub room: Option<RoomId>,
}

impl Failure {
    fn new(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            body,
            retry_after: None,
            elsewhere: false,
            refusal: None,
            noted: None,
        }
    }

    /// Says that the caller lacks a right, by name where it is one alone, so that it goes on the record.
    pub fn denied(self, permission: Option<&str>) -> Self {
        let refusal = Refusal {
            permission: permission.map(str::to_owned),
            room: None,
        };
        Self {
            refusal: Some(Box::new(refusal)),
            ..self
        }
    }

    /// The same about a room, whatever the answer says of it: one that the caller does not see is not there.
    pub fn denied_in(self, room: &RoomId) -> Self {
        let refusal = Refusal {
            permission: None,
            room: Some(room.clone()),
        };
        Self {
            refusal: Some(Box::new(refusal)),
            ..self
        }
    }

    fn unsuccessful(status: StatusCode, error: impl Into<String>) -> Self {
        Self::new(status, json!({ "success": false, "error": error.into() }))
    }

    fn router(status: StatusCode, message: &str) -> Self {
        Self::new(status, json!({ "status": "error", "message": message }))
    }

    /// 400 with a code: `reason [code]`.
    pub fn refused(code: &str, reason: &str) -> Self {
        Self::refused_with(code, reason, Value::Null)
    }

    /// 400 with a code, and details that a program can read; `null` for none.
    pub fn refused_with(code: &str, reason: &str, details: Value) -> Self {
        // Some of Rocket.Chat's errors have words and no code, a few a code and no words.
        if code.is_empty() {
            return Self::plain(reason);
        }
        let error = format!("{reason} [{code}]");
        let mut body = json!({ "success": false, "error": error.trim_start(), "errorType": code });
        if !details.is_null() {
            body["details"] = details;
        }
        Self::new(StatusCode::BAD_REQUEST, body)
    }

    /// 400 with a text and no code, as endpoints that check by hand answer.
    pub fn plain(error: impl Into<String>) -> Self {
        Self::unsuccessful(StatusCode::BAD_REQUEST, error)
    }

    /// 400 for a body or a query string of the wrong form.
    pub fn invalid_params(reason: &str) -> Self {
        Self::refused("invalid-params", reason)
    }

    /// 400 with a body of its own shape.
    pub fn with_body(body: Value) -> Self {
        Self::new(StatusCode::BAD_REQUEST, body)
    }

    /// 401: the endpoint needs a login.
    pub fn not_logged_in() -> Self {
        Self::router(
            StatusCode::UNAUTHORIZED,
            "You must be logged in to do this.",
        )
    }

    /// 401: the path needs a token of its own.
    pub fn without_token() -> Self {
        Self::router(
            StatusCode::UNAUTHORIZED,
            "The token in 'Authorization: Bearer' is missing, or is another one.",
        )
    }

    /// 401 of `login`: `error` is a code, or the word `Unauthorized`.
    pub fn login_refused(error: &str, message: &str, details: Value) -> Self {
        let mut body = json!({ "status": "error", "error": error, "message": message });
        if !details.is_null() {
            body["details"] = details;
        }
        Self::new(StatusCode::UNAUTHORIZED, body)
    }

    /// 403: the caller lacks the permission that the endpoint needs.
    pub fn forbidden() -> Self {
        Self::forbidden_because(
            "User does not have the permissions required for this action [error-unauthorized]",
        )
    }

    /// 403 with a text of the endpoint's own; Rocket.Chat's bare one is `unauthorized`.
    pub fn forbidden_because(error: &str) -> Self {
        Self::unsuccessful(StatusCode::FORBIDDEN, error).denied(None)
    }

    /// 403: nothing else is answered before the account has another password.
    pub fn password_change_required() -> Self {
        let code = PASSWORD_CHANGE_REQUIRED;
        let error = format!(
            "The password of this account has to be changed before anything else: post \
             {{\"data\": {{\"currentPassword\": …, \"newPassword\": …}}}} to \
             /api/v1/users.updateOwnBasicInfo [{code}]"
        );
        let body = json!({ "success": false, "error": error, "errorType": code });
        Self::new(StatusCode::FORBIDDEN, body)
    }

    /// 404 for a thing; Rocket.Chat's bare text is `Resource not found`.
    pub fn not_found(error: &str) -> Self {
        Self::unsuccessful(StatusCode::NOT_FOUND, error)
    }

    /// 404 for a path that is no endpoint.
    pub fn no_endpoint() -> Self {
        Self::router(StatusCode::NOT_FOUND, "API endpoint does not exist")
    }

    /// 405 for a path that is an endpoint with another method.
    pub fn wrong_method() -> Self {
        Self::router(
            StatusCode::METHOD_NOT_ALLOWED,
            "API endpoint does not exist",
        )
    }

    /// 408: the body arrives so slowly that it is not waited for any longer.
    pub fn too_slow() -> Self {
        Self::unsuccessful(
            StatusCode::REQUEST_TIMEOUT,
            "The request arrives too slowly [error-request-timeout]",
        )
    }

    /// 413: more than the configured limit of bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::unsuccessful(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The request is larger than {limit} bytes [error-request-too-large]"),
        )
    }

    /// 429.
    pub fn too_many_requests(seconds: u64) -> Self {
        let error = format!(
            "Error, too many requests. Please slow down. You must wait {seconds} seconds before \
             trying this endpoint again. [error-too-many-requests]"
        );
        Self {
            retry_after: Some(seconds),
            ..Self::unsuccessful(StatusCode::TOO_MANY_REQUESTS, error)
        }
    }

    /// 429: more requests of one client are under way than it may have.
    pub fn too_many_at_once() -> Self {
        let error = "Too many requests at a time, wait for the answers of some \
                     [error-too-many-requests]";
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::unsuccessful(StatusCode::TOO_MANY_REQUESTS, error)
        }
    }

    /// 500. Says nothing of what went wrong: the log does, under the request's id.
    pub fn internal() -> Self {
        Self::unsuccessful(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
    }

    /// 503: nothing was recorded, or it is not known whether it was; ask again.
    pub fn busy() -> Self {
        let error = "The server is too busy, try again [error-too-busy]";
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::unavailable(error)
        }
    }

    /// 503: the caller lost rights each time that it was about to be answered.
    pub fn rights_changed() -> Self {
        Self::unavailable("Your rights change all the time, try again [error-too-busy]")
    }

    /// 503: more clients are connected than the server serves at a time.
    pub fn crowded() -> Self {
        Self::unavailable("The server has too many connections, try again [error-too-busy]")
    }

    /// 503 because something the server stands on does not answer.
    pub fn unavailable(error: &str) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::unsuccessful(StatusCode::SERVICE_UNAVAILABLE, error)
        }
    }

    /// 503 of a node that does not write the log, to a question that only the one that does can
    /// answer. No client sees it while that one can be reached.
    pub fn elsewhere() -> Self {
        let error = "No node writes the log at the moment, try again [error-no-writer]";
        Self {
            elsewhere: true,
            ..Self::unavailable(error)
        }
    }

    /// 500 of a node that took over from the one that did what was asked.
    pub fn answer_lost() -> Self {
        Self::unsuccessful(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The request was done, and its answer was lost with the node that did it: look before you \
             ask again [error-answer-lost]",
        )
    }

    /// 503: it was handed over to the node that writes, which did not answer.
    pub fn outcome_unknown() -> Self {
        Self::unavailable(
            "The node that writes did not answer; whether it was done is not known \
             [error-unavailable]",
        )
    }

    /// Whether another node can do it.
    pub fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// That it is for want of a right, where nobody has put that on the record.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take().map(|refusal| *refusal)
    }

    /// That it is refused and nobody says why in terms of rights: it may be because the caller does not know
    /// of what it asked for.
    pub fn may_hide_something(&self) -> bool {
        let refused = matches!(
            self.status,
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
        );
        refused && self.noted.is_none() && !self.elsewhere
    }

    /// What stands on the record of it.
    pub fn noted(&self) -> Option<&Noted> {
        self.noted.as_deref()
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused {
                code,
                reason,
                details,
            } => Self::refused_with(&code, &reason, details),
            CommandError::Denied {
                code,
                reason,
                permission,
                room,
                forbidden,
                noted,
            } => {
                let failure = match (forbidden, code.is_empty()) {
                    (true, true) => Self::forbidden_because(&reason),
                    (true, false) => Self::forbidden_because(&format!("{reason} [{code}]")),
                    (false, _) => Self::refused(&code, &reason),
                };
                let (refusal, noted) = if noted {
                    (None, Some(Box::new(Noted { room })))
                } else {
                    (Some(Box::new(Refusal { permission, room })), None)
                };
                Self {
                    refusal,
                    noted,
                    ..failure
                }
            }
            CommandError::NotLoggedIn => Self::not_logged_in(),
            CommandError::Conflict(_) => Self::unavailable(&format!("{error} [error-conflict]")),
            CommandError::Follower => Self::elsewhere(),
            CommandError::Busy | CommandError::OutOfKeys => Self::busy(),
            CommandError::TooManyAtOnce => Self::too_many_at_once(),
            CommandError::TooMuch => Self::refused("error-too-much", &error.to_string()),
            // What the log says of itself is for the operator; the committer has logged it.
            CommandError::Unavailable(_) | CommandError::State(_) => {
                Self::unavailable("The record is unavailable, try again [error-unavailable]")
            }
            CommandError::Broken => Self::internal(),
            CommandError::Stopping => Self::unavailable("The server is stopping [error-stopping]"),
        }
    }
}

impl From<OutOfBounds> for Failure {
    fn from(excess: OutOfBounds) -> Self {
        CommandError::from(excess).into()
    }
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Building(view) => {
                Self::unavailable(&format!("The view {view} is being built [error-building]"))
            }
            ViewError::Unavailable(_)
            | ViewError::Damaged(_)
            | ViewError::Foreign
            | ViewError::Journal(_) => {
                tracing::error!(%error, "a view does not answer");
                Self::unavailable("The view is unavailable, try again [error-unavailable]")
            }
            ViewError::TooLong => Self::refused(
                "error-query-too-expensive",
                "The query takes too long; ask for less, or for a shorter time",
            ),
            ViewError::Busy => Self::busy(),
            ViewError::Elsewhere => {
                Self::unavailable("Another node feeds the views, ask that one [error-another-node]")
            }
            ViewError::Unknown(_) => Self::not_found(&error.to_string()),
            ViewError::Row(_) | ViewError::Panicked => {
                tracing::error!(%error, "a view answers nonsense");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A request that was refused.
#[derive(serde::Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "a schema: the body itself is written by Failure")]
pub struct ErrorAnswer {
    #[schema(example = false)]
    success: bool,
    /// What is wrong, for people: `reason [code]`.
    error: Option<String>,
    /// The code alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<String>,
    details: Option<Value>,
    message: Option<String>,
}

/// A request that did not get as far as the endpoint.
#[derive(serde::Serialize, ToSchema)]
#[allow(dead_code, reason = "a schema: the body itself is written by Failure")]
pub struct RouterErrorAnswer {
    #[schema(example = "error")]
    status: String,
    message: String,
    error: Option<Value>,
    details: Option<Value>,
}

const RESPONSES: [(&str, &str, &str); 7] = [
    (
        "400",
        "Refused",
        "The request is malformed, or a rule forbids it.",
    ),
    (
        "401",
        "NotLoggedIn",
        "The endpoint needs a login, or the login failed.",
    ),
    ("403", "Forbidden", "The caller lacks a permission."),
    ("404", "NotFound", "There is no such thing."),
    (
        "413",
        "TooLarge",
        "The request is larger than the server takes.",
    ),
    (
        "429",
        "TooManyRequests",
        "Called too often; `Retry-After` says when to call again.",
    ),
    (
        "503",
        "Unavailable",
        "Too busy, or the log does not answer; `Retry-After` says when to ask again.",
    ),
];

/// Every operation can fail in these ways; they stand in the document once, by reference.
impl IntoResponses for Failure {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        RESPONSES
            .iter()
            .map(|(status, name, _)| {
                (
                    (*status).to_owned(),
                    RefOr::Ref(Ref::from_response_name(*name)),
                )
            })
            .collect()
    }
}

/// What a [`Failure`] of a status looks like.
pub fn schema(status: &str) -> Ref {
    Ref::from_schema_name(match status {
        "401" => "RouterErrorAnswer",
        _ => "ErrorAnswer",
    })
}

/// What a status of [`Failure`] means.
pub fn description(status: &str) -> Option<&'static str> {
    let found = RESPONSES.iter().find(|(known, ..)| *known == status);
    found.map(|(_, _, description)| *description)
}

/// The responses that [`Failure`]'s operations refer to, and their schemas, for the document.
pub fn describe(components: &mut utoipa::openapi::Components) {
    components
        .schemas
        .insert("ErrorAnswer".to_owned(), ErrorAnswer::schema());
    components
        .schemas
        .insert("RouterErrorAnswer".to_owned(), RouterErrorAnswer::schema());
    for (status, name, description) in RESPONSES {
        let content = Content::new(Some(schema(status)));
        let response = ResponseBuilder::new()
            .description(description)
            .content("application/json", content)
            .build();
        components
            .responses
            .insert(name.to_owned(), response.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_with_a_code_says_it_twice() {
        let failure = Failure::refused("error-invalid-room", "Invalid room");
        assert_eq!(failure.status(), StatusCode::BAD_REQUEST);
        assert_eq!(
            failure.body,
            json!({ "success": false, "error": "Invalid room [error-invalid-room]", "errorType": "error-invalid-room" })
        );
    }

    #[test]
    fn a_busy_server_says_when_to_ask_again() {
        let response = Failure::busy().into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    }

    #[test]
    fn every_documented_response_is_described() {
        let mut components = utoipa::openapi::Components::new();
        describe(&mut components);
        assert_eq!(components.responses.len(), Failure::responses().len());
    }
}
