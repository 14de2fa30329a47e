//! HTTP to the other nodes of the same workspace.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::{Client, redirect};

pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub use reqwest::{Method, StatusCode};

use super::HttpOutError;

/// How long a node may take to take a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a connection is kept that nothing is asked on: less than the other node keeps it, as a request
/// that meets its end is not known to have been done or not.
const IDLE: Duration = Duration::from_secs(30);

/// A request that is handed on as it came.
#[derive(Debug, Clone)]
pub struct PeerRequest {
    pub method: Method,
    /// With the address of the node.
    pub url: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub timeout: Duration,
}

/// What the node answered; the body as it comes.
pub struct PeerAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: BoxStream<'static, Result<Bytes, PeerError>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It did not get the request: asking again does nothing twice.
    #[error("the node can't be reached: {0}")]
    Unreached(String),
    /// It may have done what was asked.
    #[error("the node did not answer: {0}")]
    Unanswered(String),
}

/// See the module. Cheap to clone; it keeps connections open.
#[derive(Debug, Clone)]
pub struct Peers {
    client: Client,
}

impl Peers {
    pub fn new() -> Result<Self, HttpOutError> {
        super::install_tls();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { client })
    }

    pub async fn send(&self, request: PeerRequest) -> Result<PeerAnswer, PeerError> {
        let call = self
            .client
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body);
        let sent = tokio::time::timeout(request.timeout, call.send()).await;
        let unanswered = || PeerError::Unanswered("it took too long".to_owned());
        let answer = sent.map_err(|_| unanswered())?.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                PeerError::Unreached(error.to_string())
            } else {
                PeerError::Unanswered(error.to_string())
            }
        })?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = futures::stream::try_unfold(answer, |mut answer| async {
            let chunk = answer.chunk().await;
            let chunk = chunk.map_err(|error| PeerError::Unanswered(error.to_string()))?;
            Ok(chunk.map(|chunk| (chunk, answer)))
        });
        Ok(PeerAnswer {
            status,
            headers,
            body: body.boxed(),
        })
    }
}
