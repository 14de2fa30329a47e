//! What every handler has at hand.

use std::sync::Arc;

use hansard_domain::setting::definitions;
use serde_json::Value;

use crate::config::Config;

/// The running server, as handlers see it. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub config: Arc<Config>,
}

impl App {
    /// The value that a setting has now.
    pub fn setting(&self, id: &str) -> Value {
        definitions::definition(id).map_or(Value::Null, definitions::Definition::default_value)
    }
}
