//! Refusals, looks and faults of views that belong on the record although they changed nothing.
//!
//! Each stands in a stream of its own, as its only event.

use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::id::{RoomId, Timestamp, UserId};
use crate::seal::{Confidential, Part, Private};

#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
pub enum AuditEvent {
    /// Somebody asked for what they may not do. What is asked for again and again is recorded once with
    /// its count.
    CommandDenied {
        /// What was asked, in Rocket.Chat's name of the operation (`channels.archive`); `*` for several
        /// operations that are counted together.
        action: String,
        /// The permission that was missing, where it was one.
        permission: Option<String>,
        user: Option<UserId>,
        room: Option<RoomId>,
        /// How often it was refused.
        #[serde(default = "once", skip_serializing_if = "is_once")]
        times: u64,
        /// When the first of several refusals was; the event's own time is about that of the last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
        /// What was asked, where several operations are counted together: fifty of them at most.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        several: Vec<Denied>,
    },
    /// Somebody tried to log in under a name that nobody has.
    UnknownLoginFailed {
        /// A [keyed hash](crate::keyed) of the name: who has it later, or had it once, can ask to be
        /// forgotten. Earlier versions recorded the name itself.
        name: Private<String>,
    },
    /// Somebody saw by right of a permission what it would not have seen of rooms as a member.
    RoomsInspected {
        /// What was asked, in Rocket.Chat's name of the operation (`im.messages.others`).
        action: String,
        permission: String,
        /// The room that was looked into; none for a list of rooms.
        room: Option<RoomId>,
        /// Whose rooms or counters were asked for, where they were not the caller's own.
        user: Option<UserId>,
        /// How many rooms or messages were shown.
        shown: u64,
    },
    /// A view lacks events that it could not take in.
    EventsSetAside {
        view: String,
        /// Of the view's tables; a rebuild makes the next one, and tries the events again.
        generation: u64,
        /// How many events it lacks by now.
        events: u64,
        /// The position of the latest of them.
        position: u64,
        /// What that one is, by the event's name.
        event: String,
        /// Why it could not be taken in.
        reason: String,
    },
    /// Somebody looked at the audit or at the log, or at secrets of others.
    RecordInspected {
        /// `audit`, `events`, `stream`; `integrations`, with their tokens; `settings` that are secret.
        what: String,
        /// The filter that was asked for.
        filter: Private<String>,
        /// How many were shown.
        shown: u64,
    },
}

fn once() -> u64 {
    1
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
fn is_once(times: &u64) -> bool {
    *times == 1
}

/// The category of the streams of [`AuditEvent`]s.
pub const AUDIT: &str = "audit";

/// One of several operations that were refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    pub action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    pub times: u64,
}

impl DomainEvent for AuditEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for AuditEvent {
    fn parts(&mut self, visit: &mut dyn FnMut(&mut dyn Part)) {
        match self {
            Self::UnknownLoginFailed { name } => visit(name),
            Self::RecordInspected { filter, .. } => visit(filter),
            Self::CommandDenied { .. }
            | Self::RoomsInspected { .. }
            | Self::EventsSetAside { .. } => {}
        }
    }
}
