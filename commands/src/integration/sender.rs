//! The way out of the house for webhooks: a port; what performs the HTTP stands in `infra`.

use std::time::Duration;

use async_trait::async_trait;

/// One POST to a receiver.
#[derive(Debug, Clone)]
pub struct WebhookRequest {
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
    /// For everything from the name look-up to the last byte of the answer.
    pub timeout: Duration,
    /// Loopback, private and other addresses that are not the internet's may be reached.
    pub allow_private_addresses: bool,
}

/// What the receiver answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookResponse {
    pub status: u16,
    /// Without parameters, in lower case: `application/json`.
    pub content_type: String,
    /// What the receiver asked for with `Retry-After`.
    pub retry_after: Option<Duration>,
    /// At most [`MAX_ANSWER`] bytes; bytes that are not UTF-8 are replaced.
    pub body: String,
}

/// What is read of an answer, in bytes. The rest is left unread and the connection closed.
pub const MAX_ANSWER: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the URL can't be called: {0}")]
    Url(String),
    /// The name leads to no address that may be reached.
    #[error(
        "{0} is not an address on the internet; the setting \
         Hansard_Webhook_Allow_Private_Addresses lets webhooks reach it"
    )]
    Refused(String),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("{0}")]
    Failed(String),
}

/// Sends webhooks. Follows no redirects: a receiver that has moved answers `3xx`, which is a failure.
#[async_trait]
pub trait WebhookSender: Send + Sync + 'static {
    async fn send(&self, request: WebhookRequest) -> Result<WebhookResponse, SendError>;
}
