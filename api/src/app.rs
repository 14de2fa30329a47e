//! What every handler has at hand.

use std::ops::Deref;
use std::sync::Arc;

use hansard_commands::account::guessing::FailedLogins;
use hansard_commands::bus::Commands;
use hansard_commands::retention::Status;
use hansard_infra::log::Progress;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::config::Config;
use crate::erasure::Erasure;
use crate::handover::Outcomes;
use crate::monitoring::Behind;
use crate::monitoring::metrics::Access;
use crate::rest::rate_limit::RateLimiter;
use crate::rest::rate_limit::crowd::Crowd;
use crate::rest::rate_limit::waiting::Waiting;
use crate::rest::rooms::index::Index;
use crate::views::Views;

/// The running server, as handlers see it. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

pub struct Parts {
    pub config: Config,
    pub commands: Commands,
    /// How far the local copy of the log is, where there is one.
    pub copying: Option<watch::Receiver<Progress>>,
    /// Where nodes elect the one that writes.
    pub cluster: Option<Arc<Cluster>>,
    pub failed_logins: Arc<FailedLogins>,
    pub views: Views,
    pub index: Arc<Index>,
    pub erasure: Erasure,
    /// When retention ran and runs again.
    pub retention: watch::Receiver<Status>,
    /// Cancelled when the server is told to stop: what never ends by itself ends then.
    pub stop: CancellationToken,
    pub behind: Behind,
    pub limiter: RateLimiter,
    pub outcomes: Outcomes,
    pub crowd: Crowd,
    pub waiting: Waiting,
    pub metrics: PrometheusHandle,
    pub metrics_access: Access,
}

impl App {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The value that a setting has now.
    pub fn setting(&self, id: &str) -> Value {
        self.commands.model().setting(id)
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
