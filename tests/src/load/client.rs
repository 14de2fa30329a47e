//! HTTP to the server: one kept-alive connection a [`Client`], hand-held, because the load program
//! shares the machine with what it measures and a connection pool would cost as much as the requests.
//!
//! A client waits where the server says so (429, 503 with `Retry-After`), and where it may be patient
//! it knocks again at a server that is gone. Whatever it sends can therefore arrive twice; every call
//! in [`rest`](super::rest) is one that bears that.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
/// Events that the view behind an answer had not seen yet.
const LAG: HeaderName = HeaderName::from_static("hansard-lag");

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const KNOCK_EVERY: Duration = Duration::from_millis(50);
/// For how long a server may answer "later" to one call.
const BUSY_FOR: Duration = Duration::from_mins(1);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0} is not an address like http://127.0.0.1:3000")]
    Address(String),
    #[error("the server at {0} can't be reached: {1}")]
    Unreachable(String, #[source] std::io::Error),
    #[error("the connection broke during {path}: {error}")]
    Broken { path: String, error: hyper::Error },
    #[error("no answer to {path} within {} s", ANSWER_WITHIN.as_secs())]
    Silent { path: String },
    #[error("the server kept answering {path} with {status} for {} s", BUSY_FOR.as_secs())]
    Busy { path: String, status: StatusCode },
    #[error("{path} was answered with {status}: {body}")]
    Refused {
        path: String,
        status: StatusCode,
        body: String,
    },
    #[error("the answer to {path} is not what it should be ({error}): {body}")]
    Shape {
        path: String,
        error: String,
        body: String,
    },
    #[error("{0} can't be sent: {1}")]
    Request(String, #[source] hyper::http::Error),
}

impl ClientError {
    /// The server said no, as opposed to saying nothing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Shape { .. })
    }
}

/// Where the server is, and how long to knock when it is gone.
#[derive(Debug, Clone)]
pub struct Connection {
    authority: String,
    host: HeaderValue,
    retry_for: Duration,
}

impl Connection {
    /// `server` is `http://host:port`; TLS is not spoken. `retry_for` 0 takes a lost server as an error.
    pub fn to(server: &str, retry_for: Duration) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address(server.to_owned());
        let host = server
            .strip_prefix("http://")
            .ok_or_else(wrong)?
            .trim_end_matches('/');
        if host.is_empty() || host.contains('/') {
            return Err(wrong());
        }
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self {
            authority: if has_port {
                host.to_owned()
            } else {
                format!("{host}:80")
            },
            host: HeaderValue::from_str(host).map_err(|_| wrong())?,
            retry_for,
        })
    }
}

/// A user's two headers.
#[derive(Debug, Clone)]
pub struct Credentials {
    user_id: HeaderValue,
    token: HeaderValue,
}

impl Credentials {
    /// The user's id.
    pub fn user_id(&self) -> &str {
        self.user_id.to_str().unwrap_or_default()
    }

    /// `None` where one of the two can't stand in a header.
    pub fn new(user_id: &str, token: &str) -> Option<Self> {
        let mut token = HeaderValue::from_str(token).ok()?;
        token.set_sensitive(true);
        Some(Self {
            user_id: HeaderValue::from_str(user_id).ok()?,
            token,
        })
    }
}

/// What to ask.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    pub method: Method,
    pub path: String,
    pub as_user: Option<&'a Credentials>,
    pub body: Bytes,
}

/// What came back, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub path: String,
    pub status: StatusCode,
    pub lag: u64,
    pub body: Bytes,
    retry_after: Option<u64>,
}

impl Answer {
    /// The body as `T`, where the status is 200.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        self.succeeded()?;
        serde_json::from_slice(&self.body).map_err(|error| ClientError::Shape {
            path: self.path.clone(),
            error: error.to_string(),
            body: self.excerpt(),
        })
    }

    /// Fails unless the status is 200. The body is not looked at.
    pub fn succeeded(&self) -> Result<(), ClientError> {
        if self.status == StatusCode::OK {
            return Ok(());
        }
        Err(ClientError::Refused {
            path: self.path.clone(),
            status: self.status,
            body: self.excerpt(),
        })
    }

    fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .chars()
            .take(400)
            .collect()
    }
}

/// How often a client had to be patient.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Calls sent again because the connection was lost.
    pub sent_again: u64,
    /// Answers "later" (429, 503).
    pub told_to_wait: u64,
}

impl std::ops::AddAssign for Patience {
    fn add_assign(&mut self, other: Self) {
        self.sent_again += other.sent_again;
        self.told_to_wait += other.told_to_wait;
    }
}

/// One connection to the server.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    sender: Option<SendRequest<Full<Bytes>>>,
    pub patience: Patience,
}

impl Client {
    /// Connects at the first call.
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            sender: None,
            patience: Patience::default(),
        }
    }

    /// Sends `call` until it has an answer other than "later", as long as patience lasts.
    pub async fn send(&mut self, call: &Call<'_>) -> Result<Answer, ClientError> {
        let started = Instant::now();
        loop {
            // A server may close an idle connection at any time, so a used one is worth a second try.
            let was_used = self.sender.is_some();
            match self.send_once(call).await {
                Ok(answer) if is_later(answer.status) => {
                    self.patience.told_to_wait += 1;
                    let wait = Duration::from_secs(answer.retry_after.unwrap_or(1));
                    if started.elapsed() + wait > BUSY_FOR.max(self.connection.retry_for) {
                        return Err(ClientError::Busy {
                            path: answer.path,
                            status: answer.status,
                        });
                    }
                    tokio::time::sleep(wait).await;
                }
                Ok(answer) => return Ok(answer),
                Err(error @ ClientError::Request(..)) => return Err(error),
                Err(error) => {
                    self.sender = None;
                    if !was_used && started.elapsed() >= self.connection.retry_for {
                        return Err(error);
                    }
                    self.patience.sent_again += 1;
                    if !was_used {
                        tokio::time::sleep(KNOCK_EVERY).await;
                    }
                }
            }
        }
    }

    async fn send_once(&mut self, call: &Call<'_>) -> Result<Answer, ClientError> {
        let request = self.request(call)?;
        tokio::time::timeout(ANSWER_WITHIN, self.exchange(&call.path, request))
            .await
            .map_err(|_| ClientError::Silent {
                path: call.path.clone(),
            })?
    }

    async fn exchange(
        &mut self,
        path: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, ClientError> {
        let broken = |error| ClientError::Broken {
            path: path.to_owned(),
            error,
        };
        let sender = match &mut self.sender {
            Some(sender) => sender,
            none => none.insert(connect(&self.connection).await?),
        };
        sender.ready().await.map_err(broken)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let number = |name: &HeaderName| {
            response
                .headers()
                .get(name)?
                .to_str()
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        let (status, lag, retry_after) = (
            response.status(),
            number(&LAG).unwrap_or(0),
            number(&RETRY_AFTER),
        );
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(broken)?
            .to_bytes();
        Ok(Answer {
            path: path.to_owned(),
            status,
            lag,
            body,
            retry_after,
        })
    }

    fn request(&self, call: &Call<'_>) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(HOST, self.connection.host.clone());
        if let Some(user) = call.as_user {
            request = request
                .header(AUTH_TOKEN, user.token.clone())
                .header(USER_ID, user.user_id.clone());
        }
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        request
            .body(Full::new(call.body.clone()))
            .map_err(|error| ClientError::Request(call.path.clone(), error))
    }
}

async fn connect(connection: &Connection) -> Result<SendRequest<Full<Bytes>>, ClientError> {
    let unreachable = |error| ClientError::Unreachable(connection.authority.clone(), error);
    let stream = TcpStream::connect(&connection.authority)
        .await
        .map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let (sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ClientError::Broken {
            path: connection.authority.clone(),
            error,
        })?;
    // The driver ends when its sender is dropped or the connection breaks; the sender's next call
    // tells which, so its own error says nothing new.
    tokio::spawn(driver);
    Ok(sender)
}

fn is_later(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_taken() {
        for (server, authority) in [
            ("http://127.0.0.1:3000/", "127.0.0.1:3000"),
            ("http://chat", "chat:80"),
        ] {
            assert_eq!(
                Connection::to(server, Duration::ZERO).unwrap().authority,
                authority
            );
        }
        for server in ["https://chat", "chat:3000", "http://", "http://chat/path"] {
            assert!(
                matches!(
                    Connection::to(server, Duration::ZERO),
                    Err(ClientError::Address(_))
                ),
                "{server}"
            );
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error_without_patience() {
        let mut client = Client::new(Connection::to("http://127.0.0.1:1", Duration::ZERO).unwrap());
        let call = Call {
            method: Method::GET,
            path: "/api/info".into(),
            as_user: None,
            body: Bytes::new(),
        };
        assert!(matches!(
            client.send(&call).await,
            Err(ClientError::Unreachable(..))
        ));
    }
}
