//! The nodes of a workspace, as far as one has to know of the others.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hansard_infra::http_out::HttpOutError;
use hansard_infra::http_out::peer::Peers;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// On requests that one node hands on to another: the secret that all nodes share.
pub const SECRET: HeaderName = HeaderName::from_static("hansard-node-secret");
/// The address of the client that a handed on request comes from.
pub const CLIENT: HeaderName = HeaderName::from_static("hansard-client-address");
/// On answers to such requests: this node does not write the log either.
pub const FOLLOWS: HeaderName = HeaderName::from_static("hansard-follows");

/// How long a request waits for a node that writes.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The shortest secret that is taken, in characters.
const SHORTEST: usize = 16;

/// A secret that is none.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the secret of the nodes is too short; it takes at least {SHORTEST} characters")]
    Short,
    #[error("the secret of the nodes has characters that no HTTP header can carry")]
    Unwritable,
}

/// What nodes share that hand requests on to the one that writes the log.
pub struct Cluster {
    /// The address that others reach this node at, as it stands in the log.
    pub address: String,
    pub peers: Peers,
    secret: Zeroizing<String>,
}

impl Cluster {
    pub fn new(address: String, secret: Zeroizing<String>) -> Result<Self, HttpOutError> {
        Ok(Self {
            address,
            peers: Peers::new()?,
            secret,
        })
    }

    /// Whether a secret can be one.
    pub fn check(secret: &str) -> Result<(), SecretError> {
        if secret.len() < SHORTEST {
            return Err(SecretError::Short);
        }
        HeaderValue::from_str(secret).map_err(|_| SecretError::Unwritable)?;
        Ok(())
    }

    /// The secret, to be sent along.
    pub fn secret(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&self.secret).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Whether a request comes from another node; `None` if it claims so with another secret.
    pub fn handed_on(&self, headers: &HeaderMap) -> Option<bool> {
        let Some(given) = headers.get(SECRET) else {
            return Some(false);
        };
        let same = given.as_bytes().ct_eq(self.secret.as_bytes());
        bool::from(same).then_some(true)
    }
}
