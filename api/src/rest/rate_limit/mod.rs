//! How often things may be asked for, and how much at a time.
//!
//! Everybody is counted by address (an IPv6 address by its /64 network), in windows that begin with a
//! first call and are over when their time has passed; what comes beyond the limit is refused until
//! then, before anything of it is read. Accounts and webhooks are counted as well, with five times the
//! limit: one account may come from thousands of networks. What may ask for its password
//! ([`ASK_FOR_PASSWORDS`]), which takes a core's time, has the same limit there. Holders of
//! `api-bypass-rate-limit` are not counted, except on webhooks, where nobody is logged in.
//!
//! | what | counted | calls | by default |
//! | --- | --- | --- | --- |
//! | `/api/v1/…` | each endpoint and method, HEAD as GET | `API_Enable_Rate_Limiter_Limit_Calls_Default` | 10 |
//! | `/api/v1/users.register` | | `Rate_Limiter_Limit_RegisterUser` | 1 |
//! | `/hooks/…` | each webhook that there is | `API_Enable_Rate_Limiter_Limit_Calls_Default` | 10 |
//! | `/api/hansard/v1/…` | each endpoint and method, HEAD as GET | `Hansard_Rate_Limiter_Limit_Calls` | 120 |
//! | pages, metrics, paths that there are not, everything else | all together | `Hansard_Rate_Limiter_Limit_Calls_Other` | 600 |
//! | `/health`, `/ready` | not at all: who asks for them takes a node out of service | | |
//!
//! All in `API_Enable_Rate_Limiter_Limit_Time_Default` milliseconds, 60,000 by default.
//! `API_Enable_Rate_Limiter` switches the whole off, in debug builds `API_Enable_Rate_Limiter_Dev`, too;
//! a limit of 0 switches itself off. Settings and headers are Rocket.Chat's.
//!
//! How many requests of a client may be under way is limited by [`crowd`], how many large answers are
//! made at a time by [`building`], how much of what is answered may wait for it by [`waiting`].

pub mod building;
pub mod crowd;
pub mod waiting;
mod windows;

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use hansard_commands::integration::incoming;
use hansard_commands::model::WriteModel;
use hansard_domain::id::{IntegrationId, Timestamp};
use percent_encoding::percent_decode_str;

use self::building::Building;
use self::windows::{Counted, Limit, Who, Windows};
use super::caller::{client_address, session};
use super::exchange::method_label;
use super::failure::Failure;
use crate::app::App;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The settings of Rocket.Chat's limiter.
const CALLS: &str = "API_Enable_Rate_Limiter_Limit_Calls_Default";
const MILLIS: &str = "API_Enable_Rate_Limiter_Limit_Time_Default";

/// What may ask for the password of who is logged in, or hash a new one of it.
const ASK_FOR_PASSWORDS: [&str; 3] = [
    "/api/v1/users.update",
    "/api/v1/users.updateOwnBasicInfo",
    "/api/v1/users.deleteOwnAccount",
];

/// From how many networks an account, or a webhook, may do all that it may do from each.
const NETWORKS_OF_ONE: i64 = 5;

/// Counts calls, and lets large answers be made in turn. Cheap to clone.
#[derive(Clone)]
pub struct RateLimiter {
    windows: Windows,
    /// Makes digests that nobody can foresee, so that no two things are made to look the same.
    digests: RandomState,
    building: Building,
}

/// What a request is counted as.
#[derive(Debug, PartialEq, Eq)]
struct Class<'a> {
    /// What is counted together.
    what: &'a str,
    /// The setting that says how many calls are allowed.
    calls: &'static str,
    /// Whether some callers are not counted.
    bypassed: bool,
}

impl RateLimiter {
    pub fn new() -> Self {
        Self {
            windows: Windows::new(),
            digests: RandomState::new(),
            building: Building::default(),
        }
    }
}

/// Counts a request, or refuses it.
pub async fn limit<N, F>(app: &App, request: Request, next: N) -> Response
where
    N: FnOnce(Request) -> F,
    F: Future<Output = Response>,
{
    let now = app.commands.clock().now();
    let Some((limit, counted)) = counted(app, &request, now) else {
        return next(request).await;
    };
    let mut response = if counted.allowed {
        next(request).await
    } else {
        Failure::too_many_requests(counted.reset.max(0).unsigned_abs().div_ceil(1000))
            .into_response()
    };
    tell(response.headers_mut(), limit, &counted, now);
    response
}

/// Counts a request, unless it is not limited.
fn counted(app: &App, request: &Request, now: Timestamp) -> Option<(Limit, Counted)> {
    let model = app.commands.model();
    if !is_on(&model) {
        return None;
    }
    let route = request.extensions().get::<MatchedPath>();
    let hook = webhook(&model, request.uri().path());
    let class = class(route.map(MatchedPath::as_str), hook.as_deref())?;
    let limit = Limit {
        calls: model.number(class.calls),
        millis: model.number(MILLIS),
    };
    if limit.calls <= 0 || limit.millis <= 0 {
        return None;
    }
    let user = if class.bypassed {
        session(request.headers(), &model, now).map(|(user, _)| user)
    } else {
        None
    };
    let exempt = |user| model.permitted(user, "api-bypass-rate-limit", None);
    if user.as_ref().is_some_and(exempt) {
        return None;
    }
    let address = client_address(
        request.headers(),
        request.extensions(),
        app.config.forwarded_count,
    );
    let limiter = &app.limiter;
    // HEAD costs what GET does. A client may make words up for methods; each would have a window of its
    // own.
    let method = match method_label(request.method()) {
        // A webhook is posted to by either.
        _ if hook.is_some() => "POST",
        "HEAD" => "GET",
        method => method,
    };
    let what = limiter.digests.hash_one((class.what, class.calls, method));
    let count = |who| limiter.windows.count((who, what), limit, now);
    let mut counted = count(Who::Network(address.into()));
    let whole = match (&hook, &user) {
        (Some(hook), _) => Some(limiter.digests.hash_one(("webhook", hook))),
        (None, Some(user)) => Some(limiter.digests.hash_one(user)),
        (None, None) => None,
    };
    // What the address may not do any more takes nothing of what the account may do elsewhere.
    if let Some(whole) = whole.filter(|_| counted.allowed) {
        let times = if ASK_FOR_PASSWORDS.contains(&class.what) {
            1
        } else {
            NETWORKS_OF_ONE
        };
        let of_account = Limit {
            calls: limit.calls.saturating_mul(times),
            ..limit
        };
        let who = Who::Account(whole);
        let by_account = limiter.windows.count((who, what), of_account, now);
        if !by_account.allowed || by_account.remaining < counted.remaining {
            counted = by_account;
        }
    }
    Some((limit, counted))
}

fn is_on(model: &WriteModel) -> bool {
    model.flag("API_Enable_Rate_Limiter")
        && (!cfg!(debug_assertions) || model.flag("API_Enable_Rate_Limiter_Dev"))
}

/// The id of the webhook that is asked for, if there is one and the token is right. Its path can be
/// written in many ways.
fn webhook(model: &WriteModel, path: &str) -> Option<String> {
    let mut parts = path.strip_prefix("/hooks/")?.split('/');
    let decoded = |part: &str| {
        percent_decode_str(part)
            .decode_utf8()
            .ok()
            .map(Cow::into_owned)
    };
    let (id, token) = (decoded(parts.next()?)?, decoded(parts.next_back()?)?);
    incoming::known(model, &IntegrationId::new(&id), &token)?;
    Some(id)
}

/// What a request is counted as, by the route that it takes and the webhook that it is for; `None` if it
/// is not counted.
fn class<'a>(route: Option<&'a str>, hook: Option<&'a str>) -> Option<Class<'a>> {
    let route = route.unwrap_or_default();
    if matches!(route, "/health" | "/ready") {
        return None;
    }
    let class = if route == "/api/v1/users.register" {
        Class {
            what: route,
            calls: "Rate_Limiter_Limit_RegisterUser",
            bypassed: true,
        }
    } else if route.starts_with("/api/v1/") {
        Class {
            what: route,
            calls: CALLS,
            bypassed: true,
        }
    } else if let Some(hook) = hook {
        Class {
            what: hook,
            calls: CALLS,
            bypassed: false,
        }
    } else if route.starts_with("/api/hansard/v1/") {
        Class {
            what: route,
            calls: "Hansard_Rate_Limiter_Limit_Calls",
            bypassed: true,
        }
    } else {
        Class {
            what: "",
            calls: "Hansard_Rate_Limiter_Limit_Calls_Other",
            bypassed: true,
        }
    };
    Some(class)
}

fn tell(headers: &mut HeaderMap, limit: Limit, counted: &Counted, now: Timestamp) {
    headers.insert(LIMIT, limit.calls.into());
    headers.insert(REMAINING, counted.remaining.into());
    headers.insert(RESET, (now.0 + counted.reset).into());
}

#[cfg(test)]
mod tests {
    use hansard_domain::setting::definitions::definition;

    use super::*;

    fn counted_as(route: Option<&str>) -> Option<(&str, &'static str)> {
        class(route, None).map(|class| (class.what, class.calls))
    }

    #[test]
    fn everything_is_counted_but_probes() {
        let endpoint = "/api/v1/channels.info";
        assert_eq!(counted_as(Some(endpoint)), Some((endpoint, CALLS)));
        let other = Some(("", "Hansard_Rate_Limiter_Limit_Calls_Other"));
        let hook = "/hooks/{integration}/{token}";
        assert_eq!(class(Some(hook), Some("one")).unwrap().what, "one");
        assert_eq!(counted_as(Some(hook)), other);
        assert_eq!(counted_as(None), other);
        assert_eq!(counted_as(Some("/metrics")), other);
        assert_eq!(counted_as(Some("/health")), None);
    }

    #[test]
    fn every_limit_is_a_setting() {
        for (route, hook) in [
            ("/api/v1/me", None),
            ("/api/v1/users.register", None),
            ("/hooks/{integration}/{token}", Some("a")),
            ("/hooks/{integration}/{token}", None),
            ("/api/hansard/v1/audit", None),
            ("/", None),
        ] {
            let calls = class(Some(route), hook).unwrap().calls;
            assert!(definition(calls).is_some(), "{calls}");
        }
        assert!(definition(MILLIS).is_some());
    }
}
