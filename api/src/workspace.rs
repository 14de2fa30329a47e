//! A workspace that is opened: the log, the keys, the journal over both, wherever they are kept.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use hansard_commands::bootstrap;
use hansard_commands::state::{SnapshotStore, StateStore};
use hansard_domain::journal::{Journal, JournalError};
use hansard_domain::log::{EventLog, LogError, Role};
use hansard_domain::vault::{KeyVault, VaultError};
use hansard_infra::data_dir::{DataDir, DataDirError};
use hansard_infra::log::Progress;
use hansard_infra::log::eventstore::{self, EventStoreConfig, EventStoreLog};
use hansard_infra::log::kafka::{self, KafkaConfig, KafkaLog};
use hansard_infra::log::postgres::PostgresLog;
use hansard_infra::log::sqlite::{OpenError, SqliteLog};
use hansard_infra::postgres::leader::Leadership;
use hansard_infra::postgres::{self, Database};
use hansard_infra::state::StateFiles;
use hansard_infra::state::postgres::PostgresState;
use hansard_infra::state::snapshot::SnapshotFile;
use hansard_infra::vault::kafka::KafkaVault;
use hansard_infra::vault::master_key::{MasterKey, MasterKeyError};
use hansard_infra::vault::postgres::PostgresVault;
use hansard_infra::vault::sqlite::SqliteVault;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::config::{Config, LogStore, ViewStore, readable_by_others};

/// Holds the master key itself, in hexadecimal, where it is not in a file.
const MASTER_KEY: &str = "HANSARD_MASTER_KEY";

/// The secret that keys are named by, so that a log knows that they are its own.
const KEYS_NAME: &str = "name";

/// How often it is told how far the log is copied, where no terminal shows it.
const TELL: Duration = Duration::from_secs(5);

/// Why a workspace can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenWorkspaceError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("there is no workspace in {path}, as it has no log.db; name another directory with --data", path = path.display())]
    NoWorkspace { path: PathBuf },
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    #[error("{MASTER_KEY}: {0}")]
    GivenKey(MasterKeyError),
    #[error(
        "the master key {key} of the keys in {vault} is missing; put it back, or say where it is with \
         --master-key-file",
        key = key.display(), vault = vault.display()
    )]
    KeyLost { key: PathBuf, vault: PathBuf },
    #[error(
        "the master key ({key}) does not open the keys in {vault}; start with the key that they were \
         made with"
    )]
    OtherKey { key: String, vault: String },
    #[error(
        "the keys {vault} of the event log {log} are missing, and without them nothing in it can be \
         read; put the file back. To begin a new workspace, move {log} away or name another directory",
        vault = vault.display(), log = log.display()
    )]
    VaultLost { vault: PathBuf, log: PathBuf },
    #[error(
        "the event log in {log} was not written with the keys in {vault}: one of the two belongs to \
         another workspace; put those together that belong together"
    )]
    Strangers { log: String, vault: String },
    #[error("cannot open the keys in {vault}: {reason}")]
    Vault { vault: String, reason: String },
    #[error(transparent)]
    Log(#[from] OpenError),
    /// Something that is kept in another server can't be used.
    #[error("cannot use the {what} in {shown} ({place}): {reason}")]
    Elsewhere {
        what: &'static str,
        shown: String,
        place: String,
        reason: String,
    },
    #[error("cannot copy the log: {0}")]
    NotCopied(#[from] LogError),
    #[error("cannot read the log: {0}")]
    Journal(#[from] JournalError),
}

impl OpenWorkspaceError {
    /// What is wrong with a server that something is kept in.
    fn of_log(config: &Config) -> impl Fn(&dyn Display) -> Self {
        |reason| Self::Elsewhere {
            what: "log",
            shown: config.log.to_string(),
            place: config.place("log"),
            reason: reason.to_string(),
        }
    }

    fn of_views(config: &Config) -> impl Fn(&dyn Display) -> Self {
        |reason| Self::Elsewhere {
            what: "views",
            shown: config.views.to_string(),
            place: config.place("views"),
            reason: reason.to_string(),
        }
    }
}

/// See the module. Nobody else uses the data directory until it is dropped.
pub struct Workspace {
    pub data: DataDir,
    pub journal: Arc<Journal>,
    /// What this node alone needs again: its snapshot, and how far it has taken in events.
    pub own: Arc<dyn StateStore>,
    /// The write model's snapshot, this node's own.
    pub snapshot: Arc<dyn SnapshotStore>,
    /// What whoever leads needs again.
    pub shared: Arc<dyn StateStore>,
    log: Log,
    beside: Beside,
}

/// The log, as it is opened.
enum Log {
    Sqlite(Arc<SqliteLog>),
    Postgres(Arc<PostgresLog>),
    Kafka(Arc<KafkaLog>),
    EventStore(Arc<EventStoreLog>),
}

impl Log {
    async fn close(&self) {
        match self {
            Self::Sqlite(log) => log.close().await,
            Self::Postgres(log) => log.close().await,
            Self::Kafka(log) => log.close().await,
            Self::EventStore(log) => log.close().await,
        }
    }
}

/// What is open beside the log: the keys, and what says who leads.
enum Beside {
    /// Nobody else is there to lead.
    Files {
        vault: Arc<SqliteVault>,
        leads: watch::Sender<bool>,
    },
    Postgres {
        database: Database,
        leadership: Leadership,
    },
    /// Who writes leads.
    Kafka {
        vault: Arc<KafkaVault>,
        leads: watch::Sender<bool>,
    },
}

/// Keys, and where state is kept that all who have these keys share.
struct Keys {
    vault: Arc<dyn KeyVault>,
    /// Where they are.
    shown: String,
    shared: Arc<dyn StateStore>,
    beside: Beside,
}

impl Keys {
    async fn in_files(
        data: &DataDir,
        master: Master,
        own: &Arc<dyn StateStore>,
    ) -> Result<Self, OpenWorkspaceError> {
        let shown = data.vault().display().to_string();
        let vault = SqliteVault::open(data.vault(), master.key).await;
        let vault = vault.map_err(|error| cannot_open(&shown, &master.place, error))?;
        let vault = Arc::new(vault);
        Ok(Self {
            vault: vault.clone(),
            shown,
            shared: own.clone(),
            beside: Beside::Files {
                vault,
                leads: watch::Sender::new(true),
            },
        })
    }

    async fn in_postgres(
        database: Database,
        shown: String,
        master: Master,
    ) -> Result<Self, OpenWorkspaceError> {
        let vault = PostgresVault::open(&database, master.key).await;
        let vault = vault.map_err(|error| cannot_open(&shown, &master.place, error))?;
        Ok(Self {
            vault: Arc::new(vault),
            shown,
            shared: Arc::new(PostgresState::new(&database)),
            beside: Beside::Postgres {
                leadership: Leadership::campaign(&database, "policies"),
                database,
            },
        })
    }

    /// A name for these keys, the same whenever and by whomever they are opened. It tells nothing of
    /// them.
    async fn name(&self) -> Result<String, VaultError> {
        let own = self.vault.secret(KEYS_NAME).await?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(own.0)))
    }
}

impl Workspace {
    /// Opens a workspace, or makes one that is empty. Nothing is made before every server that it needs
    /// has answered.
    pub async fn open(config: &Config) -> Result<Self, OpenWorkspaceError> {
        let given = given_key()?;
        reach(config).await?;
        let data = DataDir::open(&config.data)?;
        let own: Arc<dyn StateStore> = Arc::new(StateFiles::new(data.state()));
        let master = master_key(config, &data, given)?;
        let place = master.place.clone();
        let in_log = OpenWorkspaceError::of_log(config);
        let (events, keys, log): (Arc<dyn EventLog>, _, _) = match &config.log {
            LogStore::Sqlite => {
                let keys = Keys::in_files(&data, master, &own).await?;
                let log = Arc::new(SqliteLog::open(data.log()).await?);
                (log.clone(), keys, Log::Sqlite(log))
            }
            LogStore::Postgres(url) => {
                let database = Database::open(url).await.map_err(|error| in_log(&error))?;
                let keys = Keys::in_postgres(database.clone(), config.log.to_string(), master);
                let keys = keys.await?;
                let log = PostgresLog::open(&database).await;
                let log = Arc::new(log.map_err(|error| in_log(&error))?);
                (log.clone(), keys, Log::Postgres(log))
            }
            LogStore::Kafka(url) => {
                let topic = KafkaConfig::from_url(url).map_err(|error| in_log(&error))?;
                let log = KafkaLog::open(topic, data.log()).await;
                let log = Arc::new(log.map_err(|error| in_log(&error))?);
                filled(log.progress(), log.caught_up()).await?;
                let shown = config.log.to_string();
                let vault = KafkaVault::open(log.clone(), data.vault(), master.key).await;
                let vault = vault.map_err(|error| cannot_open(&shown, &place, error))?;
                let vault = Arc::new(vault);
                let (leads, _) = watch::channel(false);
                tokio::spawn(lead(log.role(), leads.clone()));
                let keys = Keys {
                    vault: vault.clone(),
                    shown,
                    shared: own.clone(),
                    beside: Beside::Kafka { vault, leads },
                };
                (log.clone(), keys, Log::Kafka(log))
            }
            LogStore::EventStore(url) => {
                let stream = EventStoreConfig::from_url(url).map_err(|error| in_log(&error))?;
                // The server can't forget a key for good before it is scavenged, so it keeps none.
                let keys = match &config.views {
                    ViewStore::Postgres(url) => {
                        let database = Database::open(url).await;
                        let in_views = OpenWorkspaceError::of_views(config);
                        let database = database.map_err(|error| in_views(&error))?;
                        Keys::in_postgres(database, config.views.to_string(), master).await?
                    }
                    ViewStore::Sqlite => Keys::in_files(&data, master, &own).await?,
                };
                let name = keys.name().await;
                let name = name.map_err(|error| cannot_open(&keys.shown, &place, error))?;
                let log = EventStoreLog::open(&stream, data.log(), &name).await;
                let log = Arc::new(log.map_err(|error| in_log(&error))?);
                filled(log.progress(), log.caught_up()).await?;
                (log.clone(), keys, Log::EventStore(log))
            }
        };
        let journal = Journal::open(events, keys.vault).await?;
        if !bootstrap::belong_together(&journal).await? {
            return Err(OpenWorkspaceError::Strangers {
                log: match &config.log {
                    LogStore::Sqlite => data.log().display().to_string(),
                    elsewhere => elsewhere.to_string(),
                },
                vault: keys.shown,
            });
        }
        Ok(Self {
            journal,
            snapshot: Arc::new(SnapshotFile::new(data.state())),
            data,
            own,
            shared: keys.shared,
            log,
            beside: keys.beside,
        })
    }

    /// Opens a workspace that is there already, for a command that works on what is in it.
    pub async fn open_existing(config: &Config) -> Result<Self, OpenWorkspaceError> {
        if config.log == LogStore::Sqlite && !DataDir::log_in(&config.data).exists() {
            return Err(OpenWorkspaceError::NoWorkspace {
                path: config.data.clone(),
            });
        }
        Self::open(config).await
    }

    /// Tells whether this node does what only one of them does.
    pub fn leads(&self) -> watch::Receiver<bool> {
        match &self.beside {
            Beside::Files { leads, .. } | Beside::Kafka { leads, .. } => leads.subscribe(),
            Beside::Postgres { leadership, .. } => leadership.leads(),
        }
    }

    /// Closes what is open, and lets others lead.
    pub async fn close(self) {
        let Self { log, beside, .. } = self;
        match beside {
            Beside::Files { vault, .. } => {
                log.close().await;
                vault.close().await;
            }
            Beside::Postgres {
                database,
                leadership,
            } => {
                leadership.resign().await;
                log.close().await;
                database.close().await;
            }
            // Its keys are written through the log.
            Beside::Kafka { vault, .. } => {
                vault.close().await;
                log.close().await;
            }
        }
    }

    /// How many events the local copy of the log is behind, about; `None` where there is no copy.
    pub fn copying(&self) -> Option<watch::Receiver<Progress>> {
        match &self.log {
            Log::Kafka(log) => Some(log.progress()),
            Log::EventStore(log) => Some(log.progress()),
            Log::Sqlite(_) | Log::Postgres(_) => None,
        }
    }
}

/// Who writes leads.
async fn lead(mut role: watch::Receiver<Role>, leads: watch::Sender<bool>) {
    loop {
        let writes = *role.borrow_and_update() == Role::Sole;
        leads.send_if_modified(|leads| std::mem::replace(leads, writes) != writes);
        if role.changed().await.is_err() {
            return;
        }
    }
}

/// Waits until a local copy of the log is filled, and shows how far it is.
async fn filled(
    progress: watch::Receiver<Progress>,
    caught_up: impl Future<Output = Result<(), LogError>>,
) -> Result<(), LogError> {
    let showing = tokio::spawn(show(progress));
    let caught_up = caught_up.await;
    showing.abort();
    caught_up
}

/// Shows how far the local copy of the log is, as long as it is being filled.
async fn show(mut progress: watch::Receiver<Progress>) {
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template(
            "copying the log  {wide_bar} {pos}/{len} {per_sec} {eta} left",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut told = Instant::now();
    loop {
        let Progress { applied, end, .. } = *progress.borrow_and_update();
        bar.set_length(end);
        bar.set_position(applied);
        if bar.is_hidden() && told.elapsed() > TELL {
            tracing::info!(applied, end, "copying the log");
            told = Instant::now();
        }
        if progress.changed().await.is_err() {
            return;
        }
    }
}

/// Looks whether every server answers that something is kept in. Nothing is made there or here.
async fn reach(config: &Config) -> Result<(), OpenWorkspaceError> {
    let in_log = OpenWorkspaceError::of_log(config);
    match &config.log {
        LogStore::Sqlite => {}
        LogStore::Postgres(url) => {
            postgres::check(url).await.map_err(|error| in_log(&error))?;
        }
        LogStore::Kafka(url) => {
            let topic = KafkaConfig::from_url(url).map_err(|error| in_log(&error))?;
            kafka::reach(&topic).await.map_err(|error| in_log(&error))?;
        }
        LogStore::EventStore(url) => {
            let stream = EventStoreConfig::from_url(url).map_err(|error| in_log(&error))?;
            let reached = eventstore::reach(&stream).await;
            reached.map_err(|error| in_log(&error))?;
        }
    }
    if let ViewStore::Postgres(url) = &config.views {
        let in_views = OpenWorkspaceError::of_views(config);
        postgres::check(url)
            .await
            .map_err(|error| in_views(&error))?;
    }
    Ok(())
}

/// Why keys can't be opened.
fn cannot_open(vault: &str, key: &str, error: VaultError) -> OpenWorkspaceError {
    let vault = vault.to_owned();
    match error {
        VaultError::WrongMasterKey => OpenWorkspaceError::OtherKey {
            key: key.to_owned(),
            vault,
        },
        VaultError::Unavailable(reason) => OpenWorkspaceError::Vault { vault, reason },
    }
}

/// The master key, and where it was found.
struct Master {
    key: MasterKey,
    place: String,
}

/// The master key that the environment holds.
fn given_key() -> Result<Option<MasterKey>, OpenWorkspaceError> {
    match std::env::var(MASTER_KEY) {
        Ok(key) => {
            let key = MasterKey::from_hex(&key);
            key.map(Some).map_err(OpenWorkspaceError::GivenKey)
        }
        Err(_) => Ok(None),
    }
}

fn master_key(
    config: &Config,
    data: &DataDir,
    given: Option<MasterKey>,
) -> Result<Master, OpenWorkspaceError> {
    let (vault, log) = (data.vault(), data.log());
    if config.log == LogStore::Sqlite && log.exists() && !vault.exists() {
        return Err(OpenWorkspaceError::VaultLost { vault, log });
    }
    if let Some(key) = given {
        return Ok(Master {
            key,
            place: MASTER_KEY.to_owned(),
        });
    }
    let file = config
        .master_key_file
        .clone()
        .unwrap_or_else(|| data.master_key());
    // A new key would open nothing that is there.
    if vault.exists() && !file.exists() {
        return Err(OpenWorkspaceError::KeyLost { key: file, vault });
    }
    if let Some(mode) = readable_by_others(&file) {
        tracing::warn!(
            "the master key {path} can be read by others (mode {mode:04o}): chmod 600 {path}",
            path = file.display()
        );
    }
    Ok(Master {
        key: MasterKey::load_or_create(&file)?,
        place: file.display().to_string(),
    })
}
