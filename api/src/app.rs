//! What every handler has at hand.

use std::ops::Deref;
use std::sync::Arc;

use hansard_commands::account::login::FailedLogins;
use hansard_commands::bus::Commands;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::Value;

use crate::config::Config;
use crate::rest::rate_limit::RateLimiter;
use crate::views::Views;

/// The running server, as handlers see it. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

pub struct Parts {
    pub config: Config,
    pub commands: Commands,
    pub failed_logins: FailedLogins,
    pub views: Views,
    pub limiter: RateLimiter,
    pub metrics: PrometheusHandle,
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
