//! The workspace itself: that it was founded, which nodes write its log.

use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::id::Timestamp;
use crate::seal::{Confidential, Part};

/// The one stream of the workspace is `workspace-0`.
pub const WORKSPACE: &str = "workspace";

#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
pub enum WorkspaceEvent {
    /// The first event of every log.
    WorkspaceFounded { id: String, at: Timestamp },
}

impl DomainEvent for WorkspaceEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for WorkspaceEvent {
    fn parts(&mut self, _: &mut dyn FnMut(&mut dyn Part)) {}
}
