//! The crash run: the server is killed with -9 in the middle of a chat, many times, and has to have
//! every message that it acknowledged, once, and views that equal a rebuild from its log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use hansard_projections::replay::dump;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::load::{Administrator, Chat, Connection, Order, Player, Scope, verify};
use crate::server::{ADMIN, ADMIN_PASSWORD, Options, Server};

/// How long the chat's people try again while the server is away.
const RETRY_FOR: Duration = Duration::from_secs(60);

const CONNECTIONS: usize = 64;

/// How often the acknowledgements are counted.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A run; see the module.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    pub kills: u32,
    /// Whether the views are compared after every kill, and not after the last alone. The chat waits
    /// meanwhile.
    pub compare_each: bool,
    pub messages: usize,
    /// Makes the chat, and the times of the kills.
    pub seed: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum CrashError {
    #[error("{0}")]
    Play(String),
    #[error("the chat ended before {0} kills; play more messages")]
    TooFewKills(u32),
    #[error("{} differences, the first: {}", .0.len(), .0.iter().take(5).cloned().collect::<Vec<_>>().join("; "))]
    Differences(Vec<String>),
    #[error("tables that a rebuild makes otherwise: {}", .0.join(", "))]
    Views(Vec<String>),
    #[error("the data can't be copied: {0}")]
    Copy(String),
    #[error("`hansard replay` failed: {0}")]
    Replay(String),
    #[error("it was not done after {0:?}")]
    GivenUp(Duration),
}

/// What a run that passed went through.
#[derive(Debug)]
pub struct CrashReport {
    pub kills: u32,
    pub acknowledged: usize,
    pub sent_again: u64,
    /// From the start to the next answer of `/ready`: the median and the longest.
    pub ready_again: (Duration, Duration),
    pub tables: usize,
    /// How often the views were compared.
    pub compared: u32,
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} messages acknowledged and there once ({} requests sent again), \
             {} tables equal a rebuild ({} times); ready again after {:.0} ms (median), {:.0} ms (longest)",
            self.kills,
            self.acknowledged,
            self.sent_again,
            self.tables,
            self.compared,
            self.ready_again.0.as_secs_f64() * 1e3,
            self.ready_again.1.as_secs_f64() * 1e3,
        )
    }
}

impl Crash {
    pub async fn run(self) -> Result<CrashReport, CrashError> {
        let said = |error: &dyn fmt::Display| CrashError::Play(error.to_string());
        let chat = Chat::from_seed(self.seed, self.messages);
        let mut server = Server::start().await;
        let acknowledgements = tempfile::NamedTempFile::new().map_err(|error| said(&error))?;
        let player = Player {
            connection: Connection::to(&server.url(""), RETRY_FOR).map_err(|error| said(&error))?,
            administrator: Administrator {
                user: ADMIN.to_owned(),
                password: ADMIN_PASSWORD.to_owned(),
                token_secret: None,
            },
            connections: CONNECTIONS,
            order: Order::Relaxed,
            seed: self.seed,
            ack_file: Some(acknowledgements.path().to_owned()),
        };
        let (connection, administrator) = (player.connection.clone(), player.administrator.clone());

        let (played, mut outages) = {
            let play = player.play(&chat);
            let kill = self.kill(&mut server, acknowledgements.path());
            tokio::pin!(play, kill);
            tokio::select! {
                outages = &mut kill => (play.await, outages?),
                played = &mut play => {
                    let stopped = played.map_err(|error| said(&error))?.stopped;
                    return Err(stopped.map_or(CrashError::TooFewKills(self.kills), |error| said(&error)));
                }
            }
        };
        let played = played.map_err(|error| said(&error))?;
        if let Some(error) = played.stopped {
            return Err(said(&error));
        }

        let scope = Scope {
            words: 100,
            seed: self.seed,
            connections: CONNECTIONS,
        };
        let verdict = verify(&connection, &administrator, &played.manifest, scope)
            .await
            .map_err(|error| said(&error))?;
        if !verdict.differences.is_empty() {
            let told = verdict
                .differences
                .iter()
                .map(ToString::to_string)
                .collect();
            return Err(CrashError::Differences(told));
        }
        server.stop().await;
        let tables = compare_with_rebuild(&mut server).await?;
        outages.sort_unstable();
        Ok(CrashReport {
            kills: self.kills,
            acknowledged: played.report.acknowledged,
            sent_again: played.report.patience.sent_again,
            ready_again: (
                outages.get(outages.len() / 2).copied().unwrap_or_default(),
                outages.last().copied().unwrap_or_default(),
            ),
            tables,
            compared: if self.compare_each { self.kills + 1 } else { 1 },
        })
    }

    /// Kills the server at so many random points of the chat; answers how long each start took after it.
    async fn kill(
        self,
        server: &mut Server,
        acknowledgements: &Path,
    ) -> Result<Vec<Duration>, CrashError> {
        let mut dice = StdRng::seed_from_u64(self.seed);
        let mut outages = Vec::new();
        // The last kill leaves room for the chat to go on after it.
        let stretch = self.messages as u64 * 9 / 10 / u64::from(self.kills.max(1));
        for kill in 0..u64::from(self.kills) {
            let at = kill * stretch + dice.random_range(1..stretch.max(2));
            while acknowledged(acknowledgements) < at {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            server.kill();
            if self.compare_each {
                compare_copy(&server.data()).await?;
            }
            let launched = Instant::now();
            server.launch();
            server.ready().await;
            outages.push(launched.elapsed());
        }
        Ok(outages)
    }
}

/// Compares the views that a server serves from what a kill left with those of a rebuild. It works on a
/// copy, so that an orderly stop does not come between two kills.
async fn compare_copy(data: &Path) -> Result<usize, CrashError> {
    let directory = tempfile::tempdir().map_err(|error| CrashError::Copy(error.to_string()))?;
    let copy = directory.path().join("data");
    copy_all(data, &copy).map_err(|error| CrashError::Copy(error.to_string()))?;
    let mut server = Server::start_on(directory, Options::default()).await;
    server.stop().await;
    compare_with_rebuild(&mut server).await
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let into = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &into)?;
        } else {
            std::fs::copy(entry.path(), into)?;
        }
    }
    Ok(())
}

/// How many acknowledgements stand in the file: a line each.
fn acknowledged(file: &Path) -> u64 {
    let content = std::fs::read_to_string(file).unwrap_or_default();
    content.lines().count() as u64
}

/// The table that says what new names have still to be written to. Where it is not empty the server was
/// stopped in the middle.
const DEFERRED: &str = "messages.renaming";

/// How long the server is let go on, and how often, until it has done what events left to be done.
const GO_ON: Duration = Duration::from_millis(500);
const GO_ON_TIMES: usize = 120;

/// Builds all views of a stopped server anew from its log, and compares them with those it served
/// from, table by table; answers how many tables there are.
pub async fn compare_with_rebuild(server: &mut Server) -> Result<usize, CrashError> {
    let mut served = dump_all(&server.data().join("views")).await?;
    for _ in 0..GO_ON_TIMES {
        if served.get(DEFERRED).is_none_or(Vec::is_empty) {
            break;
        }
        server.launch();
        server.ready().await;
        tokio::time::sleep(GO_ON).await;
        server.stop().await;
        served = dump_all(&server.data().join("views")).await?;
    }
    let rebuilt = tempfile::tempdir().map_err(|error| CrashError::Replay(error.to_string()))?;
    let into = rebuilt.path().to_string_lossy().into_owned();
    let replay = server.hansard(&["replay", "--into", &into]);
    if !replay.status.success() {
        return Err(CrashError::Replay(
            String::from_utf8_lossy(&replay.stderr).into_owned(),
        ));
    }
    let made = dump_all(rebuilt.path()).await?;
    let different: Vec<String> = served
        .keys()
        .chain(made.keys())
        .filter(|table| served.get(*table) != made.get(*table))
        .map(ToString::to_string)
        .collect();
    if different.is_empty() && !served.is_empty() {
        Ok(served.len())
    } else {
        Err(CrashError::Views(different))
    }
}

/// Every table of every view in a directory, as `view.table`.
async fn dump_all(directory: &Path) -> Result<BTreeMap<String, Vec<String>>, CrashError> {
    let failed = |error: &dyn fmt::Display| CrashError::Replay(error.to_string());
    let mut tables = BTreeMap::new();
    for view in views_in(directory).map_err(|error| failed(&error))? {
        let dump = dump(directory, &view)
            .await
            .map_err(|error| failed(&error))?;
        tables.extend(
            dump.into_iter()
                .map(|(table, rows)| (format!("{view}.{table}"), rows)),
        );
    }
    Ok(tables)
}

/// The names of the views in a directory: a view's file is `<view>-<generation>.db`.
fn views_in(directory: &Path) -> std::io::Result<BTreeSet<String>> {
    let mut views = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let stem = name
            .strip_suffix(".db")
            .and_then(|stem| stem.rsplit_once('-'));
        views.extend(stem.map(|(view, _)| view.to_owned()));
    }
    Ok(views)
}
