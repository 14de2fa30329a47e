//! How often things may be asked for, and how much at a time.
//!
//! Everybody is counted by address (an IPv6 address by its /64 network), in windows that begin with a
//! first call and are over when their time has passed; what comes beyond the limit is refused until
//! then, before anything of it is read. Accounts and webhooks are counted as well, with five times the
//! limit: one account may come from thousands of networks. What may ask for its password, which takes a
//! core's time, has the same limit there; operations say that of themselves ([`Limited`]). Holders of
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
use std::net::IpAddr;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use hansard_commands::integration::incoming;
use hansard_commands::model::WriteModel;
use hansard_domain::id::{IntegrationId, Timestamp, UserId};
use percent_encoding::percent_decode_str;

use self::building::Building;
use self::windows::{Counted, Limit, Who, Windows};
use super::caller::{client_address, session};
use super::exchange::method_label;
use super::failure::Failure;
use super::operation_at;
use crate::app::App;
use crate::handover;
use crate::monitoring::{HEALTH, READY};
use crate::operations::asked::Asked;
use crate::operations::{Limit as Limited, Operation};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The settings of Rocket.Chat's limiter.
const CALLS: &str = "API_Enable_Rate_Limiter_Limit_Calls_Default";
const MILLIS: &str = "API_Enable_Rate_Limiter_Limit_Time_Default";

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
    /// From how many networks an account may do all that it may do from each.
    networks: i64,
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

/// A call that is counted.
struct Call<'a> {
    class: Class<'a>,
    method: &'a str,
    hook: Option<String>,
    user: Option<UserId>,
    address: IpAddr,
}

/// Counts a request, or refuses it.
pub async fn limit<N, F>(app: &App, request: Request, next: N) -> Response
where
    N: FnOnce(Request) -> F,
    F: Future<Output = Response>,
{
    let now = app.commands.clock().now();
    let model = app.commands.model();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let operation = route.and_then(|route| operation_at(request.method(), route));
    let hook = webhook(&model, request.uri().path());
    let Some(class) = class(operation, route, hook.as_deref()) else {
        return next(request).await;
    };
    let method = method_label(request.method());
    let proxies = app.config.forwarded_count;
    let call = Call {
        method,
        user: session(request.headers(), &model, now).filter(|_| class.bypassed),
        address: client_address(request.headers(), request.extensions(), proxies),
        hook: hook.clone(),
        class,
    };
    let Some((limit, counted)) = counted(app, &model, call, now) else {
        return next(request).await;
    };
    let mut response = if counted.allowed {
        next(request).await
    } else {
        refused(&counted)
    };
    tell(response.headers_mut(), limit, &counted, now);
    response
}

fn refused(counted: &Counted) -> Response {
    Failure::too_many_requests(counted.reset.max(0).unsigned_abs().div_ceil(1000)).into_response()
}

/// Counts what another node handed over, which has counted what it was asked itself; answers a refusal, if
/// that is too much.
pub fn count_handed(app: &App, operation: &Operation, asked: &Asked) -> Option<Response> {
    let now = app.commands.clock().now();
    let model = app.commands.model();
    let route = operation.route();
    let hook = match asked.input.path.as_slice() {
        [id, .., token] => known_webhook(&model, id, token),
        _ => None,
    };
    let class = class(Some(operation), Some(&route), hook.as_deref())?;
    let session = asked
        .credentials
        .as_ref()
        .and_then(|credentials| credentials.session(&model, now));
    let call = Call {
        method: operation.method.label(),
        user: session.map(|(user, _)| user).filter(|_| class.bypassed),
        address: asked.address,
        hook: hook.clone(),
        class,
    };
    let (limit, counted) = counted(app, &model, call, now)?;
    (!counted.allowed).then(|| {
        let mut response = refused(&counted);
        tell(response.headers_mut(), limit, &counted, now);
        response
    })
}

/// Counts a call, unless it is not limited.
fn counted(
    app: &App,
    model: &WriteModel,
    call: Call<'_>,
    now: Timestamp,
) -> Option<(Limit, Counted)> {
    if !is_on(model) {
        return None;
    }
    let Call {
        class,
        method,
        hook,
        user,
        address,
    } = call;
    let limit = Limit {
        calls: model.number(class.calls),
        millis: model.number(MILLIS),
    };
    if limit.calls <= 0 || limit.millis <= 0 {
        return None;
    }
    let exempt = |user| model.permitted(user, "api-bypass-rate-limit", None);
    if user.as_ref().is_some_and(exempt) {
        return None;
    }
    let limiter = &app.limiter;
    // HEAD costs what GET does. A client may make words up for methods; each would have a window of its
    // own.
    let method = match method {
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
        let of_account = Limit {
            calls: limit.calls.saturating_mul(class.networks),
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
    known_webhook(model, &id, &token)
}

fn known_webhook(model: &WriteModel, id: &str, token: &str) -> Option<String> {
    incoming::known(model, &IntegrationId::new(id), token)?;
    Some(id.to_owned())
}

/// What a request is counted as, by the operation, the webhook or the route that it is for; `None` if it is
/// not counted.
fn class<'a>(
    operation: Option<&Operation>,
    route: Option<&'a str>,
    hook: Option<&'a str>,
) -> Option<Class<'a>> {
    let route = route.unwrap_or_default();
    // What nodes hand over is counted as what it is.
    if matches!(route, HEALTH | READY | handover::PATH) {
        return None;
    }
    let class = |what, calls| Class {
        what,
        calls,
        bypassed: true,
        networks: NETWORKS_OF_ONE,
    };
    Some(match (operation, hook) {
        (_, Some(hook)) => Class {
            bypassed: false,
            ..class(hook, CALLS)
        },
        (Some(operation), None) => match operation.limit {
            Limited::Other => class("", "Hansard_Rate_Limiter_Limit_Calls_Other"),
            Limited::Usual => class(route, CALLS),
            Limited::AsksForPassword => Class {
                networks: 1,
                ..class(route, CALLS)
            },
            Limited::Registration => class(route, "Rate_Limiter_Limit_RegisterUser"),
            Limited::Own => class(route, "Hansard_Rate_Limiter_Limit_Calls"),
        },
        // Another method than the operation's.
        (None, None) if route.starts_with("/api/v1/") => class(route, CALLS),
        (None, None) if route.starts_with("/api/hansard/v1/") => {
            class(route, "Hansard_Rate_Limiter_Limit_Calls")
        }
        (None, None) => class("", "Hansard_Rate_Limiter_Limit_Calls_Other"),
    })
}

fn tell(headers: &mut HeaderMap, limit: Limit, counted: &Counted, now: Timestamp) {
    headers.insert(LIMIT, limit.calls.into());
    headers.insert(REMAINING, counted.remaining.into());
    headers.insert(RESET, (now.0 + counted.reset).into());
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use hansard_domain::setting::definitions::definition;

    use super::*;

    fn counted_as(route: &str, hook: Option<&'static str>) -> Option<(String, &'static str)> {
        let operation = operation_at(&Method::POST, route).or(operation_at(&Method::GET, route));
        let class = class(operation, Some(route), hook)?;
        Some((class.what.to_owned(), class.calls))
    }

    #[test]
    fn everything_is_counted_but_probes() {
        let endpoint = "/api/v1/channels.info";
        assert_eq!(
            counted_as(endpoint, None),
            Some((endpoint.to_owned(), CALLS))
        );
        let other = Some((String::new(), "Hansard_Rate_Limiter_Limit_Calls_Other"));
        let hook = "/hooks/{integration}/{token}";
        assert_eq!(
            counted_as(hook, Some("one")),
            Some(("one".to_owned(), CALLS))
        );
        assert_eq!(counted_as(hook, None), other);
        assert_eq!(class(None, None, None).unwrap().what, "");
        assert_eq!(counted_as("/metrics", None), other);
        assert_eq!(counted_as("/health", None), None);
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
            let (_, calls) = counted_as(route, hook).unwrap();
            assert!(definition(calls).is_some(), "{calls}");
        }
        assert!(definition(MILLIS).is_some());
    }
}
