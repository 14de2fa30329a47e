//! Nodes: which of several writes the log.

use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::seal::{Confidential, Part};

/// Each election has a stream of its own, `node-<id>`, so that it conflicts with nothing.
pub const NODE: &str = "node";

#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
pub enum NodeEvent {
    /// From here on this node writes the log, and no other. The others send it what is to be decided,
    /// to the address that it names (`http://10.0.0.7:3000`).
    WriterElected { address: String },
}

impl DomainEvent for NodeEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for NodeEvent {
    fn parts(&mut self, _: &mut dyn FnMut(&mut dyn Part)) {}
}
