//! `GET /metrics`: how the server is doing, for Prometheus; and who may see it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use hansard_infra::plain;
use subtle::ConstantTimeEq;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use crate::app::App;
use crate::config::Config;
use crate::rest::failure::Failure;

/// Holds the token itself, where it is not in a file.
const TOKEN: &str = "HANSARD_METRICS_TOKEN";

/// The shortest token that is taken, in characters.
const SHORTEST: usize = 16;

/// What proxies add: with one of these a request of this machine is not of this machine.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

const BEARER: HeaderValue = HeaderValue::from_static("Bearer");

/// Whom the metrics are shown on the address that everything else is served on.
pub enum Access {
    /// Whoever is on this machine.
    ThisMachine,
    /// Whoever has the token.
    Token(Zeroizing<String>),
    /// Nobody: they have an address of their own. There they are shown to whoever reaches it, or has
    /// the token.
    Elsewhere(Option<Zeroizing<String>>),
}

/// The token can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(
        "cannot read the token for /metrics in the file that {place} names, {path}: {reason}",
        path = path.display()
    )]
    Unreadable {
        place: String,
        path: PathBuf,
        reason: String,
    },
    #[error("the token for /metrics is too short; it takes at least {SHORTEST} characters")]
    Short,
}

impl Access {
    /// What the configuration and the environment say.
    pub fn of(config: &Config) -> Result<Self, TokenError> {
        let token = match &config.metrics_token_file {
            Some(path) => {
                let read = std::fs::read_to_string(path);
                Some(read.map_err(|error| TokenError::Unreadable {
                    place: config.place("metrics-token-file"),
                    path: path.clone(),
                    reason: plain::io(&error),
                })?)
            }
            None => std::env::var(TOKEN).ok().filter(|token| !token.is_empty()),
        };
        let token = token.map(|token| Zeroizing::new(token.trim().to_owned()));
        if token.as_ref().is_some_and(|token| token.len() < SHORTEST) {
            return Err(TokenError::Short);
        }
        Ok(match (&config.metrics_listen, token) {
            (Some(_), token) => Self::Elsewhere(token),
            (None, Some(token)) => Self::Token(token),
            (None, None) => Self::ThisMachine,
        })
    }

    /// Lets a request in that came on the address of everything else.
    fn admit(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Refusal> {
        match self {
            Self::ThisMachine if is_here(peer, headers) => Ok(()),
            Self::ThisMachine => Err(Refusal::NotHere),
            Self::Token(token) => check(token, headers),
            Self::Elsewhere(_) => Err(Refusal::Elsewhere),
        }
    }

    /// Lets a request in that came on the address of the metrics alone.
    fn admit_elsewhere(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self {
            Self::Elsewhere(Some(token)) | Self::Token(token) => check(token, headers),
            Self::Elsewhere(None) | Self::ThisMachine => Ok(()),
        }
    }
}

/// Whether a request comes from this machine, and not through a proxy on it.
fn is_here(peer: IpAddr, headers: &HeaderMap) -> bool {
    peer.is_loopback() && !FORWARDED.iter().any(|name| headers.contains_key(*name))
}

fn check(token: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|given| given.as_bytes().strip_prefix(b"Bearer "));
    let same = given.is_some_and(|given| given.ct_eq(token.as_bytes()).into());
    if same { Ok(()) } else { Err(Refusal::Token) }
}

/// Why somebody may not see the metrics.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NotHere,
    Token,
    Elsewhere,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NotHere => Failure::forbidden_because(
                "Metrics are shown to the server's own machine alone, unless a token is set for \
                 them [error-not-allowed]",
            )
            .into_response(),
            Self::Token => {
                let failure = Failure::without_token().into_response();
                ([(header::WWW_AUTHENTICATE, BEARER)], failure).into_response()
            }
            Self::Elsewhere => Failure::no_endpoint().into_response(),
        }
    }
}

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// How the server is doing, for Prometheus.
///
/// Answered to this machine alone, or to whoever has the token that the server was given for it; not
/// here at all where the metrics have an address of their own.
#[utoipa::path(
    get, path = "/metrics", tag = "operation", security(()),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Metrics."),
        Failure,
    )
)]
async fn metrics(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    match app.metrics_access.admit(peer.ip(), &headers) {
        Ok(()) => render(&app),
        Err(refusal) => refusal.into_response(),
    }
}

/// The same, on an address of its own.
pub async fn elsewhere(State(app): State<App>, headers: HeaderMap) -> Response {
    match app.metrics_access.admit_elsewhere(&headers) {
        Ok(()) => render(&app),
        Err(refusal) => refusal.into_response(),
    }
}

fn render(app: &App) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
        headers
    }

    #[test]
    fn what_comes_through_a_proxy_is_not_of_this_machine() {
        let here: IpAddr = [127, 0, 0, 1].into();
        let access = Access::ThisMachine;
        assert_eq!(access.admit(here, &HeaderMap::new()), Ok(()));
        let there: IpAddr = [192, 0, 2, 1].into();
        assert_eq!(
            access.admit(there, &HeaderMap::new()),
            Err(Refusal::NotHere)
        );
        for name in FORWARDED {
            assert_eq!(
                access.admit(here, &headers(name, "192.0.2.1")),
                Err(Refusal::NotHere),
                "{name}"
            );
        }
    }

    #[test]
    fn a_token_is_asked_for_where_there_is_one() {
        let here: IpAddr = [127, 0, 0, 1].into();
        let access = Access::Token(Zeroizing::new("a token for metrics".to_owned()));
        let right = headers("authorization", "Bearer a token for metrics");
        let wrong = headers("authorization", "Bearer a token for metric");
        assert_eq!(access.admit(here, &right), Ok(()));
        assert_eq!(access.admit(here, &wrong), Err(Refusal::Token));
        assert_eq!(access.admit(here, &HeaderMap::new()), Err(Refusal::Token));
    }
}
