//! The nodes of a workspace, as far as one has to know of the others.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hansard_infra::http_out::HttpOutError;
use hansard_infra::http_out::peer::Peers;
use hansard_infra::plain;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::config::{Config, LogStore, readable_by_others};

/// On requests that one node hands on to another: the secret that all nodes share.
pub const SECRET: HeaderName = HeaderName::from_static("hansard-node-secret");
/// On answers to such requests: this node does not write the log either.
pub const FOLLOWS: HeaderName = HeaderName::from_static("hansard-follows");

/// How long a request waits for a node that writes.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The shortest secret that is taken, in characters.
const SHORTEST: usize = 16;

/// Holds the secret that nodes know each other by, where it is not in a file.
const VARIABLE: &str = "HANSARD_CLUSTER_SECRET";

/// Why a node can't be one of several.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(
        "the nodes of a Kafka log hand requests on to the one that writes, and know each other by a \
         secret; give all the same one, with --cluster-secret-file or {VARIABLE}"
    )]
    NoSecret,
    #[error("cannot read the secret of the nodes {path} ({place}): {reason}", path = path.display())]
    UnreadableSecret {
        path: PathBuf,
        place: String,
        reason: String,
    },
    #[error(
        "the secret of the nodes ({place}) is too short; it takes at least {SHORTEST} characters"
    )]
    Short { place: String },
    #[error("the secret of the nodes ({place}) has characters that no HTTP header can carry")]
    Unwritable { place: String },
    #[error(
        "other nodes can't reach this one at {0}; say with --advertise at which URL they can, such as \
         http://10.0.0.7:3000"
    )]
    NoAddress(String),
    #[error(transparent)]
    Peers(#[from] HttpOutError),
}

/// What nodes share that hand requests on to the one that writes the log.
pub struct Cluster {
    /// The address that others reach this node at, as it stands in the log.
    pub address: String,
    pub peers: Peers,
    secret: Zeroizing<String>,
}

impl Cluster {
    /// What a node needs to be one of several that elect the one that writes; `None` where none are.
    pub fn of(config: &Config) -> Result<Option<Self>, ClusterError> {
        if !matches!(config.log, LogStore::Kafka(_)) {
            return Ok(None);
        }
        let secret = secret(config)?;
        let address = config.address();
        if config.advertise.is_none() && config.listen.is_unspecified() {
            return Err(ClusterError::NoAddress(address));
        }
        Ok(Some(Self {
            address,
            peers: Peers::new()?,
            secret,
        }))
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

fn secret(config: &Config) -> Result<Zeroizing<String>, ClusterError> {
    let (secret, place) = match (std::env::var(VARIABLE), &config.cluster_secret_file) {
        (Ok(secret), _) => (Zeroizing::new(secret), VARIABLE.to_owned()),
        (Err(_), Some(path)) => {
            let place = config.place("cluster-secret-file");
            let text = match std::fs::read_to_string(path) {
                Ok(text) => Zeroizing::new(text),
                Err(error) => {
                    return Err(ClusterError::UnreadableSecret {
                        path: path.clone(),
                        place,
                        reason: plain::io(&error),
                    });
                }
            };
            if let Some(mode) = readable_by_others(path) {
                tracing::warn!(
                    "the secret of the nodes {path} can be read by others (mode {mode:04o}): chmod 600 \
                     {path}",
                    path = path.display()
                );
            }
            (Zeroizing::new(text.trim().to_owned()), place)
        }
        (Err(_), None) => return Err(ClusterError::NoSecret),
    };
    if secret.len() < SHORTEST {
        return Err(ClusterError::Short { place });
    }
    if HeaderValue::from_str(&secret).is_err() {
        return Err(ClusterError::Unwritable { place });
    }
    Ok(secret)
}
