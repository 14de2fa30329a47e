//! What every request goes through, whatever it asks for: it gets an id and a span, is counted, may
//! not take for ever, and a panic in it is an answer.

use std::any::Any;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use hansard_domain::fair;
use hansard_domain::log::{Position, Role};
use hansard_domain::network::Network;
use hansard_projections::lag;
use tokio::sync::Semaphore;
use tracing::Instrument;

use super::caller::{client_address, session};
use super::failure::Failure;
use super::rate_limit::waiting::{self, Taker};
use crate::app::App;
use crate::http_in::Ending;
use crate::monitoring::{self, times};
use crate::openapi;
use crate::operations::asked::AskedBy;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// On answers to writes: a view that has applied this position shows what was written. A request
/// that sends it back, to whatever node, is answered from views at least that far.
const POSITION: HeaderName = HeaderName::from_static("hansard-position");
/// On answers from a view that could not catch up in time: events behind.
const LAG: HeaderName = HeaderName::from_static("hansard-lag");

/// How long a request waits for what another node wrote.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many wait for it who are not logged in: anybody can name a position that nobody will write. Beyond
/// that nobody waits.
static STRANGERS: Semaphore = Semaphore::const_new(16);

/// The longest id that is taken from a client: a UUID, a trace's id, a number.
const MAX_REQUEST_ID: usize = 64;

/// The id of a request: its client's `X-Request-Id`, or one made here. Events carry it as their
/// correlation, for ever and in clear: an id that could say something is not taken.
#[derive(Debug, Clone)]
pub struct RequestId(Arc<str>);

impl RequestId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(request: &Request, app: &App) -> Self {
        let sane = |id: &&str| {
            (1..=MAX_REQUEST_ID).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        };
        let given = request
            .headers()
            .get(REQUEST_ID)
            .and_then(|id| id.to_str().ok())
            .filter(sane);
        Self(given.map_or_else(
            || {
                let commands = &app.commands;
                commands.ids().id(commands.clock().now()).as_str().into()
            },
            Into::into,
        ))
    }
}

/// A number that stands for a client where all clients are served by turns.
pub fn number_of(client: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    client.hash(&mut hasher);
    hasher.finish()
}

/// The outermost step of a request's way.
pub async fn conduct<N, F>(app: &App, mut request: Request, next: N) -> Response
where
    N: FnOnce(Request) -> F,
    F: Future<Output = Response>,
{
    let start = Instant::now();
    let id = RequestId::of(&request, app);
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let proxies = app.config.forwarded_count;
    let address = client_address(request.headers(), request.extensions(), proxies);
    let ending = request.extensions_mut().remove::<Ending>();
    let asked_by = AskedBy::default();
    request.extensions_mut().insert(asked_by.clone());
    // The path as it is declared: the one that was asked for may carry a token.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let span = tracing::info_span!("request", id = id.as_str(), %method, route);
    // Who asks how the server is doing is to hear of it now.
    let probes = matches!(route, monitoring::HEALTH | monitoring::READY);
    let seen = position(request.headers()).filter(|_| !probes);

    let answer = async {
        if let Some(seen) = seen {
            heard_for(app, request.headers(), seen).await;
        }
        next(request).await
    };
    // Until it is known whose session it is, if it is one.
    let answer = fair::on_behalf_of(number_of(&Network::from(address)), answer);
    let answer = tokio::time::timeout(app.config.request_timeout(), answer);
    let (answer, behind) = lag::noting(answer).instrument(span.clone()).await;
    let response = answer.unwrap_or_else(|_| {
        Failure::unavailable("The request took too long [error-timeout]").into_response()
    });
    // Those of the server's own pages are made for nobody.
    let mut response = if route.starts_with(openapi::PAGE) {
        response
    } else {
        let taker = || Taker {
            network: address.into(),
            account: asked_by.user(),
            ending,
        };
        waiting::limit(app, taker, response)
    };

    let status = response.status();
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    if !method.is_safe() && !headers.contains_key(POSITION) {
        headers.insert(POSITION, app.commands.journal().head().0.into());
    }
    if behind > 0 {
        headers.insert(LAG, behind.into());
    }
    let elapsed = start.elapsed();
    span.in_scope(|| {
        // Whoever waits for the server to become ready asks again and again.
        if status.is_server_error() && route != monitoring::READY {
            tracing::warn!(status = status.as_u16(), ?elapsed, "a request failed");
        } else {
            tracing::debug!(status = status.as_u16(), ?elapsed, "answered");
        }
    });
    times::took(method_label(&method), route, status, elapsed);
    response
}

/// The position that a request or an answer names.
pub fn position(headers: &HeaderMap) -> Option<Position> {
    let position = headers.get(POSITION)?.to_str().ok()?;
    position.parse().ok().map(Position)
}

/// Waits for what the client of a request has seen, if it may wait.
async fn heard_for(app: &App, headers: &HeaderMap, seen: Position) {
    let now = app.commands.clock().now();
    if session(headers, &app.commands.model(), now).is_some() {
        heard(app, seen).await;
    } else if let Ok(_place) = STRANGERS.try_acquire() {
        heard(app, seen).await;
    }
}

/// Waits until this node has heard of a position, for at most two seconds.
pub async fn heard(app: &App, position: Position) {
    let journal = app.commands.journal();
    // The write model hears of it last.
    if journal.role() == Role::Sole || app.commands.model().position() >= position {
        return;
    }
    let mut head = journal.watch_head();
    let heard = async {
        // The journal lives as long as the server.
        let _ = head.wait_for(|head| *head >= position).await;
        app.commands.model_at(position).await;
    };
    if tokio::time::timeout(PATIENCE, heard).await.is_err() {
        lag::note(position.0.saturating_sub(journal.head().0));
    }
}

/// A client may send any word as a method; only known ones become labels.
pub fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// What a panic in a handler is answered.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of an unknown kind");
    tracing::error!(message, "a handler panicked");
    Failure::internal().into_response()
}
