//! How often an endpoint may be called from one address, by the workspace's settings.
//!
//! A window begins with the first call and is over when its time has passed; calls beyond the limit
//! are refused until then. Holders of `api-bypass-rate-limit` are not counted.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hansard_commands::model::WriteModel;
use hansard_domain::id::Timestamp;
use moka::sync::Cache;
use parking_lot::Mutex;

use super::caller::{client_address, session};
use super::exchange::method_label;
use super::failure::Failure;
use crate::app::App;

/// How many windows are remembered at most, some 200 bytes each; the least used are forgotten.
const WINDOWS: u64 = 100_000;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// An endpoint, called from an address: by the word for its method, which a client may make up, and
/// its path as it is declared.
type Key = (IpAddr, &'static str, Box<str>);

/// The calls counted so far.
#[derive(Clone)]
pub struct RateLimiter {
    windows: Cache<Key, Arc<Mutex<Window>>>,
}

#[derive(Debug)]
struct Window {
    since: Timestamp,
    calls: i64,
}

/// So many calls in so many milliseconds.
#[derive(Debug, Clone, Copy)]
struct Limit {
    calls: i64,
    millis: i64,
}

/// What came of counting a call.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    allowed: bool,
    remaining: i64,
    /// Milliseconds until the window is over.
    reset: i64,
}

impl RateLimiter {
    pub fn new() -> Self {
        Self {
            windows: Cache::new(WINDOWS),
        }
    }

    fn count(&self, key: Key, limit: Limit, now: Timestamp) -> Counted {
        let fresh = || {
            Arc::new(Mutex::new(Window {
                since: now,
                calls: 0,
            }))
        };
        let window = self.windows.get_with(key, fresh);
        let mut window = window.lock();
        window.count(limit, now)
    }
}

impl Window {
    fn count(&mut self, limit: Limit, now: Timestamp) -> Counted {
        if now.0 - self.since.0 >= limit.millis {
            *self = Self {
                since: now,
                calls: 0,
            };
        }
        self.calls = self.calls.saturating_add(1);
        Counted {
            allowed: self.calls <= limit.calls,
            remaining: (limit.calls - self.calls).max(0),
            reset: limit.millis - (now.0 - self.since.0),
        }
    }
}

/// The layer that counts and refuses.
pub async fn limit(State(app): State<App>, request: Request, next: Next) -> Response {
    let now = app.commands.clock().now();
    let Some((limit, counted)) = counted(&app, &request, now) else {
        return next.run(request).await;
    };
    let mut response = if counted.allowed {
        next.run(request).await
    } else {
        Failure::too_many_requests(counted.reset.max(0).unsigned_abs().div_ceil(1000))
            .into_response()
    };
    tell(response.headers_mut(), limit, &counted, now);
    response
}

/// Counts a request, unless it is not limited.
fn counted(app: &App, request: &Request, now: Timestamp) -> Option<(Limit, Counted)> {
    let path = request.extensions().get::<MatchedPath>()?.as_str();
    let model = app.commands.model();
    let limit = limit_of(path, &model)?;
    let exempt = session(request.headers(), &model, now)
        .is_some_and(|(user, _)| model.permitted(&user, "api-bypass-rate-limit", None));
    if exempt {
        return None;
    }
    let address = client_address(
        request.headers(),
        request.extensions(),
        app.config.forwarded_count,
    );
    let key = (address, method_label(request.method()), path.into());
    Some((limit, app.limiter.count(key, limit, now)))
}

fn limit_of(path: &str, model: &WriteModel) -> Option<Limit> {
    if !path.starts_with("/api/v1/") || !model.flag("API_Enable_Rate_Limiter") {
        return None;
    }
    if cfg!(debug_assertions) && !model.flag("API_Enable_Rate_Limiter_Dev") {
        return None;
    }
    let calls = match path {
        "/api/v1/users.register" => "Rate_Limiter_Limit_RegisterUser",
        _ => "API_Enable_Rate_Limiter_Limit_Calls_Default",
    };
    let calls = model.number(calls);
    let millis = model.number("API_Enable_Rate_Limiter_Limit_Time_Default");
    (calls > 0 && millis > 0).then_some(Limit { calls, millis })
}

fn tell(headers: &mut HeaderMap, limit: Limit, counted: &Counted, now: Timestamp) {
    headers.insert(LIMIT, limit.calls.into());
    headers.insert(REMAINING, counted.remaining.into());
    headers.insert(RESET, (now.0 + counted.reset).into());
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        calls: 2,
        millis: 1000,
    };

    fn key(last: u8) -> Key {
        ([127, 0, 0, last].into(), "GET", "/api/v1/me".into())
    }

    #[test]
    fn calls_beyond_the_limit_wait_for_the_window_to_end() {
        let limiter = RateLimiter::new();
        let call = |at| limiter.count(key(1), LIMIT, Timestamp(at));
        assert_eq!(
            call(0),
            Counted {
                allowed: true,
                remaining: 1,
                reset: 1000
            }
        );
        assert_eq!(
            call(400),
            Counted {
                allowed: true,
                remaining: 0,
                reset: 600
            }
        );
        assert_eq!(
            call(500),
            Counted {
                allowed: false,
                remaining: 0,
                reset: 500
            }
        );
        assert!(call(1000).allowed);
    }

    #[test]
    fn addresses_are_counted_apart() {
        let limiter = RateLimiter::new();
        for _ in 0..2 {
            assert!(limiter.count(key(1), LIMIT, Timestamp(0)).allowed);
        }
        assert!(!limiter.count(key(1), LIMIT, Timestamp(0)).allowed);
        assert!(limiter.count(key(2), LIMIT, Timestamp(0)).allowed);
    }
}
