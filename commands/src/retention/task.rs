//! Enforces retention policies on schedule.
//!
//! A run that was due while the server was down is made up for at start. A policy that is switched
//! on, or changed, is enforced once the settings have stood still for a moment, however far away the
//! next time of the schedule is.

use std::sync::Arc;
use std::time::Duration;

use hansard_domain::id::{RoomId, Timestamp};
use hansard_domain::room::PruneReason;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::policy::RoomPolicy;
use super::schedule::Schedule;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::WriteModel;
use crate::prune::{DeletedMessages, Messages, prune};
use crate::room::MessageIndex;
use crate::state::StateStore;

/// Names what it remembers, and who prunes, on the record.
const NAME: &str = "retention";

/// How often it looks whether there is something to do.
const LOOK: Duration = Duration::from_secs(1);

/// How long changed settings must have stood still: who changes several should be done.
pub const SETTLE: Duration = Duration::from_secs(10);

/// How long it waits after a run that failed.
const RETRY: Duration = Duration::from_secs(30);

/// The settings that say what is pruned.
const SETTINGS: [&str; 11] = [
    "RetentionPolicy_Enabled",
    "RetentionPolicy_AppliesToChannels",
    "RetentionPolicy_TTL_Channels",
    "RetentionPolicy_AppliesToGroups",
    "RetentionPolicy_TTL_Groups",
    "RetentionPolicy_AppliesToDMs",
    "RetentionPolicy_TTL_DMs",
    "RetentionPolicy_DoNotPrunePinned",
    "RetentionPolicy_FilesOnly",
    "RetentionPolicy_DoNotPruneDiscussion",
    "RetentionPolicy_DoNotPruneThreads",
];

/// The last run; kept over restarts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LastRun {
    at: Timestamp,
    /// The settings it enforced.
    enforced: String,
}

/// When it ran, and when it runs again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub last_run: Option<Timestamp>,
    /// `None` while retention is switched off, or settings can't be read.
    pub next_run: Option<Timestamp>,
}

/// See the module.
pub struct Retention {
    commands: Commands,
    index: Arc<dyn MessageIndex>,
    deleted: Arc<dyn DeletedMessages>,
    state: Arc<dyn StateStore>,
    last: Option<LastRun>,
    /// Settings that have not been enforced yet, and since when they stand.
    changed: Option<(String, Timestamp)>,
    /// Whether it stands still because settings can't be read.
    held: bool,
}

/// Retention at work.
pub struct RunningRetention {
    status: watch::Receiver<Status>,
    task: JoinHandle<()>,
}

impl RunningRetention {
    /// Tells when it ran, and runs again.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Waits for the task after its token was cancelled.
    pub async fn stopped(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "retention ended badly");
        }
    }
}

impl Retention {
    /// Takes up where the last process left off.
    pub async fn load(
        commands: Commands,
        index: Arc<dyn MessageIndex>,
        deleted: Arc<dyn DeletedMessages>,
        state: Arc<dyn StateStore>,
    ) -> Self {
        let saved = state.load(NAME).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "when retention ran last is not known; it runs again");
            None
        });
        let last = saved.and_then(|saved| serde_json::from_slice(&saved).ok());
        Self {
            commands,
            index,
            deleted,
            state,
            last,
            changed: None,
            held: false,
        }
    }

    /// Sets it to work until it is told to stop. A run under way is dropped then; what it pruned is
    /// pruned, and the rest is done by the next.
    pub fn start(mut self, stop: CancellationToken) -> RunningRetention {
        let (told, status) = watch::channel(self.status());
        let task = tokio::spawn(async move {
            let work = async {
                loop {
                    let pause = match self.turn().await {
                        Ok(_) => LOOK,
                        Err(error) => {
                            tracing::warn!(%error, "retention could not be enforced; it is tried again");
                            RETRY
                        }
                    };
                    told.send_replace(self.status());
                    tokio::time::sleep(pause).await;
                }
            };
            stop.run_until_cancelled(work).await;
        });
        RunningRetention { status, task }
    }

    pub fn status(&self) -> Status {
        let now = self.commands.clock().now();
        let schedule = Schedule::of(&self.commands.model()).filter(|_| !self.held);
        let last_run = self.last.as_ref().map(|last| last.at);
        let next_run = schedule.and_then(|schedule| match (&self.changed, &self.last) {
            (Some((_, since)), _) => Some(since.plus(SETTLE)),
            (None, Some(last)) => schedule.next_after(last.at),
            (None, None) => Some(now),
        });
        Status { last_run, next_run }
    }

    /// Enforces the policies if it is time to; answers how many messages went, if so.
    pub async fn turn(&mut self) -> Result<Option<u64>, CommandError> {
        let now = self.commands.clock().now();
        let model = self.commands.model();
        if self.is_held(&model) {
            return Ok(None);
        }
        let Some(schedule) = Schedule::of(&model) else {
            self.changed = None;
            // Switched on again it is to run at once.
            if self.last.take().is_some() {
                self.save().await;
            }
            return Ok(None);
        };
        let settings = settings(&model);
        let enforced = self.last.as_ref().map(|last| &last.enforced);
        if enforced == Some(&settings) {
            self.changed = None;
            let last = self.last.as_ref().map_or(now, |last| last.at);
            // A clock that was wrong for a while must not keep it from running until then.
            let is_ahead = last > now;
            let due = schedule.next_after(last);
            if !is_ahead && due.is_none_or(|due| now < due) {
                return Ok(None);
            }
            if is_ahead {
                tracing::warn!(
                    last_run = last.iso(),
                    "retention ran last at a time that is yet to come, as the clock was ahead; it runs now"
                );
            }
        } else {
            match &self.changed {
                Some((stands, since)) if *stands == settings && *since <= now => {
                    if now < since.plus(SETTLE) {
                        return Ok(None);
                    }
                }
                _ => {
                    self.changed = Some((settings, now));
                    return Ok(None);
                }
            }
        }
        let pruned = self.enforce(&model, now).await?;
        self.changed = None;
        self.last = Some(LastRun {
            at: now,
            enforced: settings,
        });
        self.save().await;
        Ok(Some(pruned))
    }

    /// Whether it must not prune: what the workspace wants to keep is not known, and what is pruned by a
    /// default is gone for good.
    fn is_held(&mut self, model: &WriteModel) -> bool {
        let lost = model.lost_settings();
        let held = !lost.is_empty();
        if held && !self.held {
            tracing::error!(
                settings = lost.join(" "),
                "retention stands still: the vault has not got the keys of these settings. Put the newer \
                 vault back, or set each of them again"
            );
        }
        self.held = held;
        held
    }

    async fn enforce(&self, model: &WriteModel, now: Timestamp) -> Result<u64, CommandError> {
        let caller = Caller::policy(NAME, None);
        let messages = Messages {
            index: self.index.as_ref(),
            deleted: self.deleted.as_ref(),
        };
        let rooms: Vec<(RoomId, RoomPolicy)> = model
            .rooms()
            .filter_map(|(id, room)| Some((id.clone(), RoomPolicy::of(model, room)?)))
            .collect();
        let mut count = 0;
        for (room, policy) in rooms {
            // A setting may have changed since, or the room may be gone: what holds now counts.
            let model = self.commands.model();
            let holds = model
                .room(&room)
                .and_then(|found| RoomPolicy::of(&model, found));
            if holds != Some(policy) || !model.lost_settings().is_empty() {
                continue;
            }
            let criteria = policy.criteria(now);
            let reason = PruneReason::Retention;
            let done = prune(&self.commands, messages, &caller, room, criteria, reason).await?;
            count += done.count;
        }
        tracing::info!(messages = count, "retention policies are enforced");
        Ok(count)
    }

    async fn save(&self) {
        let content = match &self.last {
            Some(last) => serde_json::to_vec(last).unwrap_or_default(),
            None => Vec::new(),
        };
        if let Err(error) = self.state.save(NAME, content).await {
            tracing::warn!(%error, "that retention ran is not kept; it may run again after a restart");
        }
    }
}

/// What is in force, as one text to compare.
fn settings(model: &WriteModel) -> String {
    let values = SETTINGS.map(|id| model.setting(id).to_string());
    values.join(" ")
}
