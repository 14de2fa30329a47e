//! Who asks: the token and the user that a request names, looked up in the write model.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, header};
use hansard_commands::account::token;
use hansard_commands::caller::Caller as Asking;
use hansard_commands::model::WriteModel;
use hansard_domain::account::TokenHash;
use hansard_domain::event::Origin;
use hansard_domain::fair;
use hansard_domain::id::{Timestamp, UserId};
use hansard_domain::limit;
use hansard_domain::log::{Actor, Role};

use super::exchange::{RequestId, number_of};
use super::failure::Failure;
use super::refused::AskedBy;
use crate::app::App;

const TOKEN: &str = "x-auth-token";

/// A caller who is logged in, by `X-Auth-Token` and `X-User-Id`; everybody else gets 401, and 403 who
/// has to change its password before anything else.
///
/// It stands first in a handler's arguments: who may not come in is not told what else is wrong.
#[derive(Debug, Clone)]
pub struct Caller {
    asking: Arc<Asking>,
    user: UserId,
}

/// A caller who is logged in, though it may have to change its password: for the few operations that
/// lead there, and out again.
#[derive(Debug, Clone)]
pub struct LoggedIn(pub Caller);

/// A caller who may be logged in or not.
#[derive(Debug, Clone)]
pub struct MaybeCaller(Arc<Asking>);

impl Caller {
    /// The user who is logged in.
    pub fn user(&self) -> &UserId {
        &self.user
    }
}

impl Deref for Caller {
    type Target = Asking;

    fn deref(&self) -> &Asking {
        &self.asking
    }
}

impl Deref for MaybeCaller {
    type Target = Asking;

    fn deref(&self) -> &Asking {
        &self.0
    }
}

impl FromRequestParts<App> for LoggedIn {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let asking = asking(parts, app).await?;
        let user = asking.user.clone().ok_or_else(Failure::not_logged_in)?;
        Ok(Self(Caller { asking, user }))
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let LoggedIn(caller) = LoggedIn::from_request_parts(parts, app).await?;
        let model = app.commands.model();
        let account = model.account(caller.user());
        if account.is_some_and(|account| account.must_change_password()) {
            return Err(Failure::password_change_required());
        }
        Ok(caller)
    }
}

impl FromRequestParts<App> for MaybeCaller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        Ok(Self(asking(parts, app).await?))
    }
}

async fn asking(parts: &Parts, app: &App) -> Result<Arc<Asking>, Failure> {
    let now = app.commands.clock().now();
    let mut session = session(&parts.headers, &app.commands.model(), now);
    if session.is_none() && parts.headers.contains_key(TOKEN) {
        session = session_elsewhere(parts, app, now).await?;
    }
    let (user, token) = session.unzip();
    let actor = user.clone().map_or(Actor::Anonymous, Actor::User);
    let agent = parts.headers.get(header::USER_AGENT);
    let agent = agent.map_or_else(Default::default, |agent| {
        let kept = &agent.as_bytes()[..agent.len().min(limit::USER_AGENT.most)];
        String::from_utf8_lossy(kept).into_owned()
    });
    let address = client_address(
        &parts.headers,
        &parts.extensions,
        app.config.forwarded_count,
    );
    let asking = Arc::new(Asking {
        actor,
        user,
        token,
        origin: Some(Origin {
            address: address.to_string(),
            user_agent: agent,
        }),
        action: parts.extensions.get().map_or("", action).into(),
        correlation: parts
            .extensions
            .get()
            .map(|id: &RequestId| id.as_str().into()),
        causation: None,
        // What changes something is decided on what holds then.
        seen: parts.method.is_safe().then(Arc::default),
    });
    if let Some(user) = &asking.user {
        fair::is_known_as(number_of(user));
    }
    if let Some(asked_by) = parts.extensions.get::<AskedBy>() {
        asked_by.tell(&asking);
    }
    Ok(asking)
}

/// A session that this node may not have heard of yet, because another one began it.
async fn session_elsewhere(
    parts: &Parts,
    app: &App,
    now: Timestamp,
) -> Result<Option<(UserId, TokenHash)>, Failure> {
    match app.commands.journal().role() {
        Role::Sole => Ok(None),
        Role::Shared => {
            app.commands.caught_up().await;
            Ok(session(&parts.headers, &app.commands.model(), now))
        }
        Role::Follower => Err(Failure::elsewhere()),
    }
}

/// Rocket.Chat's name of an operation: `/api/v1/channels.archive` is `channels.archive`.
fn action(path: &MatchedPath) -> &str {
    let path = path.as_str();
    path.strip_prefix("/api/v1/").unwrap_or(path)
}

/// Whose session the headers name, if it holds.
pub fn session(
    headers: &HeaderMap,
    model: &WriteModel,
    now: Timestamp,
) -> Option<(UserId, TokenHash)> {
    let named = headers.get("x-user-id")?.to_str().ok()?;
    let token = token::hash(headers.get(TOKEN)?.to_str().ok()?);
    let user = token::holder(model, &token, now)?;
    (user.as_str() == named).then_some((user, token))
}

/// The client's address: the peer's, or what the proxies in front of the server tell.
pub fn client_address(headers: &HeaderMap, extensions: &Extensions, proxies: usize) -> IpAddr {
    let peer = extensions.get().map_or(
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        |ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip(),
    );
    if proxies == 0 {
        return peer;
    }
    // A proxy may add a line of its own instead of to the line that is there.
    let forwarded = headers.get_all("x-forwarded-for").iter().rev();
    forwarded
        // Whatever the client wrote in front of what a proxy added to its line.
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .nth(proxies - 1)
        .and_then(|address| str::from_utf8(address).ok())
        .and_then(|address| told_address(address.trim()))
        .unwrap_or(peer)
}

/// An address as a proxy tells it; some add the port.
fn told_address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().map(|address: SocketAddr| address.ip());
    let address = text.parse().or_else(|_| with_port()).ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn told(forwarded: &'static str, proxies: usize) -> String {
        told_in_lines(&[forwarded.as_bytes()], proxies)
    }

    fn told_in_lines(lines: &[&[u8]], proxies: usize) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(line).unwrap());
        }
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9))));
        client_address(&headers, &extensions, proxies).to_string()
    }

    #[test]
    fn a_forwarded_address_is_believed_as_far_as_there_are_proxies() {
        assert_eq!(told("6.6.6.6, 1.2.3.4, 5.6.7.8", 0), "127.0.0.1");
        assert_eq!(told("6.6.6.6, 1.2.3.4, 5.6.7.8", 1), "5.6.7.8");
        assert_eq!(told("6.6.6.6, 1.2.3.4, 5.6.7.8", 2), "1.2.3.4");
        assert_eq!(told("1.2.3.4", 2), "127.0.0.1");
        assert_eq!(told("garbage", 1), "127.0.0.1");
        assert_eq!(told_in_lines(&[b"\xff, 1.2.3.4"], 1), "1.2.3.4");
        assert_eq!(told_in_lines(&[b"6.6.6.6", b"\xff, 1.2.3.4"], 1), "1.2.3.4");
        assert_eq!(told_in_lines(&[b"6.6.6.6", b"1.2.3.4"], 2), "6.6.6.6");
        assert_eq!(told_in_lines(&[b"1.2.3.4, \xff"], 1), "127.0.0.1");
        assert_eq!(told("1.2.3.4:56", 1), "1.2.3.4");
        assert_eq!(told("[2001:db8::1]:56", 1), "2001:db8::1");
        assert_eq!(told("::ffff:1.2.3.4", 1), "1.2.3.4");

        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "6.6.6.6".parse().unwrap());
        headers.append("x-forwarded-for", "1.2.3.4".parse().unwrap());
        let client = client_address(&headers, &Extensions::new(), 1);
        assert_eq!(
            client.to_string(),
            "1.2.3.4",
            "the proxy's own line comes last"
        );
    }
}
