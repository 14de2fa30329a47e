//! What holds for a room: how long its messages stay, and which of them stay anyhow.

use std::time::Duration;

use hansard_domain::id::Timestamp;
use hansard_domain::room::{PruneCriteria, Room, RoomKind};
use serde::Serialize;

use crate::model::WriteModel;

/// What is pruned from a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomPolicy {
    /// Milliseconds.
    pub max_age: u64,
    pub exclude_pinned: bool,
    pub files_only: bool,
    pub ignore_threads: bool,
    pub ignore_discussion: bool,
    /// The room's own policy instead of the workspace's.
    pub overridden: bool,
}

impl RoomPolicy {
    /// What holds for a room; `None` if its messages stay.
    pub fn of(model: &WriteModel, room: &Room) -> Option<Self> {
        if !model.flag("RetentionPolicy_Enabled") {
            return None;
        }
        let ignore_discussion = model.flag("RetentionPolicy_DoNotPruneDiscussion");
        if ignore_discussion && room.parent.is_some() {
            return None;
        }
        match &room.retention {
            Some(own) if !own.enabled => None,
            Some(own) if own.override_global => Some(Self {
                max_age: u64::try_from(own.max_age).ok()?,
                exclude_pinned: own.exclude_pinned,
                files_only: own.files_only,
                ignore_threads: own.ignore_threads,
                ignore_discussion,
                overridden: true,
            }),
            _ => {
                let (applies, age) = match room.kind {
                    RoomKind::Channel => (
                        "RetentionPolicy_AppliesToChannels",
                        "RetentionPolicy_TTL_Channels",
                    ),
                    RoomKind::Group => (
                        "RetentionPolicy_AppliesToGroups",
                        "RetentionPolicy_TTL_Groups",
                    ),
                    RoomKind::Direct => ("RetentionPolicy_AppliesToDMs", "RetentionPolicy_TTL_DMs"),
                };
                if !model.flag(applies) {
                    return None;
                }
                Some(Self {
                    max_age: u64::try_from(model.number(age)).ok()?,
                    exclude_pinned: model.flag("RetentionPolicy_DoNotPrunePinned"),
                    files_only: model.flag("RetentionPolicy_FilesOnly"),
                    ignore_threads: model.flag("RetentionPolicy_DoNotPruneThreads"),
                    ignore_discussion,
                    overridden: false,
                })
            }
        }
    }

    /// What a run at some time prunes.
    pub fn criteria(&self, now: Timestamp) -> PruneCriteria {
        PruneCriteria {
            latest: now.minus(Duration::from_millis(self.max_age)),
            oldest: Timestamp::EARLIEST,
            inclusive: true,
            exclude_pinned: self.exclude_pinned,
            ignore_discussion: self.ignore_discussion,
            files_only: self.files_only,
            ignore_threads: self.ignore_threads,
            ..PruneCriteria::default()
        }
    }
}
