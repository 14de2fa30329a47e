//! `statistics`: how large the workspace is, and what it runs on.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use hansard_domain::account::{AccountKind, Presence};
use hansard_domain::event::Event;
use hansard_domain::id::Timestamp;
use hansard_domain::log::{StreamId, Version};
use hansard_domain::room::RoomKind;
use hansard_domain::workspace::{WORKSPACE, WorkspaceEvent};
use hansard_projections::statistics;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, answer};
use super::caller::Caller;
use super::failure::Failure;
use crate::app::App;
use crate::operations::Operation;
use crate::operations::request::Params;

/// When this process began to answer.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

const DAY: Duration = Duration::from_secs(86_400);

pub const OPERATIONS: &[Operation] = &[SHOW];

/// Notes when the server was started.
pub fn begin() {
    LazyLock::force(&STARTED);
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StatisticsAnswer {
    unique_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    installed_at: Option<String>,
    version: &'static str,
    total_users: u64,
    active_users: u64,
    active_guests: u64,
    non_active_users: u64,
    app_users: u64,
    online_users: u64,
    away_users: u64,
    busy_users: u64,
    total_connected_users: u64,
    offline_users: u64,
    /// Users by the language that they chose; `none` for those who did not.
    user_languages: BTreeMap<String, u64>,
    total_rooms: u64,
    total_channels: u64,
    total_private_groups: u64,
    total_direct: u64,
    total_discussions: u64,
    total_threads: u64,
    total_messages: u64,
    total_channel_messages: u64,
    total_private_group_messages: u64,
    total_direct_messages: u64,
    total_discussions_messages: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_login: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_message_sent_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_subscription: Option<String>,
    /// Different people who wrote or logged in on one of the last days, today included.
    active_users_of_today: u64,
    active_users_of_last_week: u64,
    active_users_of_last_month: u64,
    total_integrations: u64,
    /// Events in the log.
    total_events: u64,
    os: OperatingSystem,
    process: Process,
    instance_count: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct OperatingSystem {
    #[serde(rename = "type")]
    kind: &'static str,
    platform: &'static str,
    arch: &'static str,
    release: String,
    /// Seconds.
    uptime: f64,
    loadavg: Vec<f64>,
    /// Bytes.
    totalmem: u64,
    freemem: u64,
    cpus: Vec<Processor>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Processor {
    model: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Process {
    pid: u32,
    /// Seconds.
    uptime: f64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Refresh {
    /// Changes nothing: statistics are always those of now.
    #[serde(rename = "refresh")]
    _refresh: Option<bool>,
}

pub const SHOW: Operation = Operation::get("statistics", &show)
    .tells("How large the workspace is.")
    .notes("Needs `view-statistics`.");

async fn show(app: App, caller: Caller, _: Params<Refresh>) -> Answer<StatisticsAnswer> {
    let permission = "view-statistics";
    if !app.commands.model().allows(&caller, permission, None) {
        return Err(Failure::plain("error-not-allowed").denied(Some(permission)));
    }
    let now = app.commands.clock().now();
    let (counted, today, week, month) = {
        let mut reading = app.views.statistics.moment().await?;
        let counted = statistics::counted(&mut reading).await?;
        let today = statistics::active_between(&mut reading, now, now).await?;
        let week = statistics::active_between(&mut reading, now.minus(6 * DAY), now).await?;
        let month = statistics::active_between(&mut reading, now.minus(29 * DAY), now).await?;
        (counted, today, week, month)
    };
    let threads = app.views.messages.count_threads().await?;
    let installed_at = installed_at(&app).await?;
    let model = app.commands.model();
    let mut users = Users::default();
    for (_, account) in model.accounts() {
        users.count(account);
    }
    let mut rooms = BTreeMap::<&str, u64>::new();
    let mut discussions = 0;
    for (_, room) in model.rooms() {
        *rooms.entry(room.kind.letter()).or_default() += 1;
        discussions += u64::from(room.parent.is_some());
    }
    let of = |kind: RoomKind| rooms.get(kind.letter()).copied().unwrap_or_default();
    answer(StatisticsAnswer {
        unique_id: model.workspace_id().unwrap_or_default().to_owned(),
        installed_at,
        version: env!("CARGO_PKG_VERSION"),
        total_users: users.total,
        active_users: users.active,
        active_guests: users.guests,
        non_active_users: users.total - users.active,
        app_users: users.apps,
        online_users: users.online,
        away_users: users.away,
        busy_users: users.busy,
        total_connected_users: users.online + users.away,
        offline_users: users.total - users.online - users.away - users.busy,
        user_languages: users.languages,
        total_rooms: rooms.values().sum(),
        total_channels: of(RoomKind::Channel),
        total_private_groups: of(RoomKind::Group),
        total_direct: of(RoomKind::Direct),
        total_discussions: discussions,
        total_threads: threads,
        total_messages: counted.messages(),
        total_channel_messages: counted.channel_messages,
        total_private_group_messages: counted.group_messages,
        total_direct_messages: counted.direct_messages,
        total_discussions_messages: counted.discussion_messages,
        last_login: counted.last_login.map(Timestamp::iso),
        last_message_sent_at: counted.last_message.map(Timestamp::iso),
        last_seen_subscription: counted.last_read.map(Timestamp::iso),
        active_users_of_today: today,
        active_users_of_last_week: week,
        active_users_of_last_month: month,
        total_integrations: model.integrations().count() as u64,
        total_events: app.commands.journal().head().0,
        os: OperatingSystem::now(),
        process: Process {
            pid: std::process::id(),
            uptime: STARTED.elapsed().as_secs_f64(),
        },
        instance_count: 1,
    })
}

/// When the workspace was founded: the first event of the log.
async fn installed_at(app: &App) -> Result<Option<String>, Failure> {
    let stream = StreamId::new(WORKSPACE, 0);
    let entries = app.commands.journal().stream(&stream, Version::NONE).await;
    let entries = entries.map_err(hansard_commands::error::CommandError::from)?;
    Ok(entries.iter().find_map(|entry| match &entry.event {
        Event::Workspace(WorkspaceEvent::WorkspaceFounded { at, .. }) => Some(at.iso()),
        _ => None,
    }))
}

/// Accounts, counted.
#[derive(Default)]
struct Users {
    total: u64,
    active: u64,
    guests: u64,
    apps: u64,
    online: u64,
    away: u64,
    busy: u64,
    languages: BTreeMap<String, u64>,
}

impl Users {
    fn count(&mut self, account: &hansard_domain::account::Account) {
        self.total += 1;
        self.active += u64::from(account.active);
        let guest = account.roles.len() == 1 && account.has_role("guest");
        self.guests += u64::from(account.active && guest);
        self.apps += u64::from(account.kind == AccountKind::App);
        // Nobody is seen who is not logged in.
        if account.active && !account.sessions.is_empty() {
            match account.presence {
                Presence::Online => self.online += 1,
                Presence::Away => self.away += 1,
                Presence::Busy => self.busy += 1,
                Presence::Offline => {}
            }
        }
        let preferences = account.preferences.read();
        let language = preferences.get("language");
        let language = language.and_then(|language| language.as_str());
        let language = language.filter(|language| !language.is_empty());
        let language = language.unwrap_or("none").to_owned();
        *self.languages.entry(language).or_default() += 1;
    }
}

impl OperatingSystem {
    /// What the machine tells; what it does not tell is empty.
    fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let numbers = |text: &str| -> Vec<f64> {
            text.split_whitespace()
                .map_while(|word| word.parse().ok())
                .collect()
        };
        let memory = read("/proc/meminfo");
        let kilobytes = |name: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            number.unwrap_or(0_u64) * 1024
        };
        let cpus = read("/proc/cpuinfo");
        let models = cpus
            .lines()
            .filter_map(|line| line.strip_prefix("model name"));
        Self {
            kind: std::env::consts::OS,
            platform: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            release: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            uptime: numbers(&read("/proc/uptime"))
                .first()
                .copied()
                .unwrap_or(0.0),
            loadavg: numbers(&read("/proc/loadavg"))
                .into_iter()
                .take(3)
                .collect(),
            totalmem: kilobytes("MemTotal"),
            freemem: kilobytes("MemFree"),
            cpus: models
                .map(|model| Processor {
                    model: model.trim_start_matches([' ', '\t', ':']).to_owned(),
                })
                .collect(),
        }
    }
}
