//! The REST door: every operation of the table at its path, by one handler.

use axum::Router;
use axum::extract::{FromRequestParts as _, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};

use super::answer::EVENT_STREAM;
use super::exchange::RequestId;
use super::{body, caller};
use crate::app::App;
use crate::handover;
use crate::operations::asked::{Asked, AskedBy};
use crate::operations::request::{BodyKind, Follow, Input};
use crate::operations::{Method, Operation};

/// Serves operations.
pub fn routes(operations: impl Iterator<Item = &'static Operation>) -> Router<App> {
    operations.fold(Router::new(), |router, operation| {
        router.route(&operation.route(), serve(operation))
    })
}

fn serve(operation: &'static Operation) -> MethodRouter<App> {
    let method = match operation.method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
    };
    on(
        method,
        async move |State(app): State<App>, request: Request| answer(operation, app, request).await,
    )
}

async fn answer(operation: &'static Operation, app: App, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut asked = asked(&app, &mut parts).await;
    let admitted = asked.admit(&app, operation).await;
    // Who may not come in is not told what else is wrong with the request, and nothing more of it is read.
    let admitted = match admitted {
        Err(failure) if !failure.is_elsewhere() => return failure.into_response(),
        admitted => admitted,
    };
    let request = Request::from_parts(parts, body);
    let read = match operation.body() {
        BodyKind::None => Ok(()),
        BodyKind::Value => body::value(request, &app)
            .await
            .map(|value| asked.input.body = value),
        BodyKind::Payload => body::payload(request, &app)
            .await
            .map(|payload| asked.input.payload = payload),
    };
    match read {
        Ok(()) => handover::answer(&app, operation, asked, admitted).await,
        Err(failure) => failure.into_response(),
    }
}

/// What a request says but for its body.
async fn asked(app: &App, parts: &mut Parts) -> Asked {
    let headers = &parts.headers;
    let token = headers.get(caller::TOKEN);
    let token = token.and_then(|token| Some(token.to_str().ok()?.to_owned()));
    let input = Input {
        query: parts.uri.query().unwrap_or_default().to_owned(),
        proof: proof(headers),
        follow: follow(headers),
        token,
        ..Input::default()
    };
    let extensions = &parts.extensions;
    let request_id = extensions.get().map_or("", RequestId::as_str).to_owned();
    let asked_by = extensions.get::<AskedBy>().cloned();
    let mut asked = Asked {
        credentials: caller::credentials(headers),
        address: caller::client_address(headers, extensions, app.config.forwarded_count),
        user_agent: caller::user_agent(headers),
        request_id,
        input,
        by: asked_by.unwrap_or_default(),
    };
    // Text that is not UTF-8 stands for nothing that there is.
    if let Ok(parameters) = RawPathParams::from_request_parts(parts, app).await {
        let texts = parameters.iter().map(|(_, text)| text.to_owned());
        asked.input.path = texts.collect();
    }
    asked
}

/// Whether the client takes a stream, and where it was.
fn follow(headers: &HeaderMap) -> Option<Follow> {
    let accepted = headers.get(header::ACCEPT)?.to_str().ok()?;
    let last = headers.get("last-event-id");
    accepted.contains(EVENT_STREAM).then(|| Follow {
        last: last.map(|last| String::from_utf8_lossy(last.as_bytes()).into_owned()),
    })
}

/// The password that a client gives again as a second proof, as Rocket.Chat's clients do: the hexadecimal
/// SHA-256 of it, or it itself.
fn proof(headers: &HeaderMap) -> Option<String> {
    let told = |name: &str| headers.get(name)?.to_str().ok();
    let method = told("x-2fa-method")?;
    let code = told("x-2fa-code").filter(|code| !code.is_empty())?;
    (method == "password").then(|| code.to_owned())
}
