//! Who asks over HTTP: what `X-Auth-Token` and `X-User-Id` say, and the client's address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, header};
use hansard_commands::model::WriteModel;
use hansard_domain::id::{Timestamp, UserId};
use hansard_domain::limit;

use crate::operations::asked::Credentials;
pub use crate::operations::request::{Caller, LoggedIn, MaybeCaller};

pub const TOKEN: &str = "x-auth-token";

/// What the headers say of who asks.
pub fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    Some(Credentials {
        user: text("x-user-id")?,
        token: text(TOKEN)?,
    })
}

/// The program that asks.
pub fn user_agent(headers: &HeaderMap) -> String {
    headers
        .get(header::USER_AGENT)
        .map_or_else(Default::default, |agent| {
            let kept = &agent.as_bytes()[..agent.len().min(limit::USER_AGENT.most)];
            String::from_utf8_lossy(kept).into_owned()
        })
}

/// Whose session the headers name, if it holds.
pub fn session(headers: &HeaderMap, model: &WriteModel, now: Timestamp) -> Option<UserId> {
    let (user, _) = credentials(headers)?.session(model, now)?;
    Some(user)
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
