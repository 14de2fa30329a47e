//! HTTP to the outside: webhooks, and which addresses they may reach.
//!
//! A name is resolved here and its addresses are filtered before any connection is made; the client
//! connects to those addresses and to no others, so that a name that resolves differently a moment
//! later gains nothing.

mod addresses;
pub mod peer;

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hansard_commands::integration::sender::{
    MAX_ANSWER, SendError, WebhookRequest, WebhookResponse, WebhookSender,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect};

pub use addresses::is_public;

const USER_AGENT: &str = concat!("Hansard/", env!("CARGO_PKG_VERSION"));

/// How long an idle connection to a receiver is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpOutError {
    #[error("no TLS for outgoing webhooks: {0}")]
    Tls(#[from] rustls::Error),
    #[error("no HTTP client for outgoing webhooks: {0}")]
    Client(#[from] reqwest::Error),
}

/// Sends webhooks over HTTP/1.1.
pub struct HttpWebhookSender {
    /// Reaches the internet alone.
    public: Client,
    /// Reaches everything. A client of its own, so that no connection outlives the permission.
    anywhere: Client,
}

impl HttpWebhookSender {
    pub fn new() -> Result<Self, HttpOutError> {
        install_tls();
        Ok(Self {
            public: client(true)?,
            anywhere: client(false)?,
        })
    }
}

fn install_tls() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else who installs one at the same time is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn client(public_only: bool) -> reqwest::Result<Client> {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        // A proxy would look names up by itself.
        .no_proxy()
        .pool_idle_timeout(IDLE)
        .dns_resolver(Arc::new(Resolver { public_only }))
        .build()
}

#[async_trait]
impl WebhookSender for HttpWebhookSender {
    async fn send(&self, request: WebhookRequest) -> Result<WebhookResponse, SendError> {
        let url = parse(&request.url)?;
        let client = if request.allow_private_addresses {
            &self.anywhere
        } else {
            // A URL with an address in it is never resolved.
            if let Some(address) = literal(&url).filter(|address| !is_public(*address)) {
                return Err(SendError::Refused(address.to_string()));
            }
            &self.public
        };
        let mut call = client
            .post(url)
            .timeout(request.timeout)
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in request.headers {
            call = call.header(name, value);
        }
        let answered = async {
            let response = call.body(request.body).send().await?;
            read(response).await
        };
        answered
            .await
            .map_err(|error| explain(&error, request.timeout))
    }
}

fn parse(url: &str) -> Result<Url, SendError> {
    let url = Url::parse(url.trim()).map_err(|error| SendError::Url(error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        scheme => Err(SendError::Url(format!("{scheme}: is not HTTP"))),
    }
}

/// The address that stands in the URL itself, in any of the ways to write one.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

async fn read(mut response: Response) -> reqwest::Result<WebhookResponse> {
    let header = |name| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.trim().to_owned())
    };
    let content_type = header(CONTENT_TYPE).unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap_or_default().trim();
    let content_type = content_type.to_ascii_lowercase();
    // Its other form, a date, is rare and needs the receiver's clock to be right.
    let retry_after = header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER {
        let Some(chunk) = response.chunk().await? else {
            break;
        };
        body.extend_from_slice(&chunk);
    }
    body.truncate(MAX_ANSWER);
    Ok(WebhookResponse {
        status,
        content_type,
        retry_after: retry_after.map(Duration::from_secs),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Says what went wrong without the URL, which may hold a secret.
fn explain(error: &reqwest::Error, timeout: Duration) -> SendError {
    if error.is_timeout() {
        return SendError::Timeout(timeout);
    }
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
        if let Some(NoPublicAddress(name)) = cause.downcast_ref() {
            return SendError::Refused(name.clone());
        }
    }
    let what = match () {
        () if error.is_builder() => "the request could not be made",
        () if error.is_connect() => "no connection",
        () => "the connection broke off",
    };
    if std::ptr::addr_eq(cause, error) {
        return SendError::Failed(what.to_owned());
    }
    SendError::Failed(format!("{what}: {cause}"))
}

#[derive(Debug, thiserror::Error)]
#[error("{0} leads to no address on the internet")]
struct NoPublicAddress(String);

struct Resolver {
    public_only: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let public_only = self.public_only;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Vec<SocketAddr> = found
                .filter(|address| !public_only || is_public(address.ip()))
                .collect();
            if public_only && addresses.is_empty() {
                return Err(NoPublicAddress(name.as_str().to_owned()).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn to(url: &str, allow_private_addresses: bool) -> WebhookRequest {
        WebhookRequest {
            url: url.to_owned(),
            headers: vec![("webhook-id", "one".to_owned())],
            body: r#"{"text":"hello"}"#.to_owned(),
            timeout: Duration::from_secs(5),
            allow_private_addresses,
        }
    }

    /// Answers one request with `answer`; hands out what it was asked.
    async fn receiver(answer: String) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"}") {
                let mut part = [0; 4096];
                let read = socket.read(&mut part).await.unwrap();
                asked.extend_from_slice(&part[..read]);
            }
            // A client that has read enough hangs up.
            let _ = socket.write_all(answer.as_bytes()).await;
            String::from_utf8(asked).unwrap()
        });
        (port, task)
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}")
    }

    #[tokio::test]
    async fn a_receiver_gets_the_body_and_the_headers() {
        let json = "content-type: Application/JSON; charset=utf-8\r\n";
        let (port, asked) = receiver(answer("200 OK", json, r#"{"text":"hi"}"#)).await;
        let sender = HttpWebhookSender::new().unwrap();
        let response = sender.send(to(&format!("http://127.0.0.1:{port}/hook"), true));
        let response = response.await.unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.content_type, "application/json");
        assert_eq!(response.body, r#"{"text":"hi"}"#);
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("POST /hook HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("webhook-id: one"), "{asked}");
        assert!(asked.ends_with(r#"{"text":"hello"}"#), "{asked}");
    }

    #[tokio::test]
    async fn this_machine_is_not_reached_unless_it_may_be() {
        let sender = HttpWebhookSender::new().unwrap();
        for host in [
            "127.0.0.1",
            "localhost",
            "0x7f.1",
            "2130706433",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "10.0.0.1",
            "169.254.169.254",
        ] {
            let refused = sender.send(to(&format!("http://{host}:9/"), false)).await;
            assert!(
                matches!(refused, Err(SendError::Refused(_))),
                "{host}: {refused:?}"
            );
        }
    }

    #[tokio::test]
    async fn only_http_is_spoken() {
        let sender = HttpWebhookSender::new().unwrap();
        for url in ["file:///etc/passwd", "ftp://example.com/", "nowhere", ""] {
            let refused = sender.send(to(url, true)).await;
            assert!(
                matches!(refused, Err(SendError::Url(_))),
                "{url}: {refused:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let away = "location: http://127.0.0.1:1/\r\n";
        let (port, _asked) = receiver(answer("307 Temporary Redirect", away, "")).await;
        let sender = HttpWebhookSender::new().unwrap();
        let response = sender.send(to(&format!("http://127.0.0.1:{port}/"), true));
        assert_eq!(response.await.unwrap().status, 307);
    }

    #[tokio::test]
    async fn a_long_answer_is_cut() {
        let long = "x".repeat(MAX_ANSWER * 3);
        let (port, _asked) = receiver(answer("503 Busy", "retry-after: 7\r\n", &long)).await;
        let sender = HttpWebhookSender::new().unwrap();
        let response = sender.send(to(&format!("http://127.0.0.1:{port}/"), true));
        let response = response.await.unwrap();
        assert_eq!(response.body.len(), MAX_ANSWER);
        assert_eq!(response.retry_after, Some(Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn a_failure_is_told_without_the_url() {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let sender = HttpWebhookSender::new().unwrap();
        let failed = sender.send(to(&format!("http://127.0.0.1:{port}/secret"), true));
        let SendError::Failed(why) = failed.await.unwrap_err() else {
            panic!("not a failed connection");
        };
        assert!(why.starts_with("no connection"), "{why}");
        assert!(!why.contains("secret"), "{why}");
    }
}
