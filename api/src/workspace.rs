//! A workspace that is opened: the log, the keys, the journal over both, wherever they are kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use hansard_commands::state::StateStore;
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
use hansard_infra::vault::kafka::KafkaVault;
use hansard_infra::vault::master_key::{MasterKey, MasterKeyError};
use hansard_infra::vault::postgres::PostgresVault;
use hansard_infra::vault::sqlite::SqliteVault;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::config::{Config, LogStore, ViewStore};

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
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    #[error("{MASTER_KEY}: {0}")]
    GivenKey(MasterKeyError),
    #[error(
        "the master key {key} of the keys in {vault} is missing; put it back, or say where it is \
         with --master-key-file",
        key = key.display(), vault = vault.display()
    )]
    KeyLost { key: PathBuf, vault: PathBuf },
    #[error("cannot open the keys in {path}: {source}", path = path.display())]
    Vault { path: PathBuf, source: VaultError },
    #[error("cannot open the keys: {0}")]
    SharedVault(VaultError),
    #[error(transparent)]
    Log(#[from] OpenError),
    #[error(transparent)]
    Database(#[from] postgres::OpenError),
    #[error(transparent)]
    Topic(#[from] kafka::ConfigError),
    #[error(transparent)]
    Kafka(#[from] kafka::OpenError),
    #[error(transparent)]
    Stream(#[from] eventstore::ConfigError),
    #[error(transparent)]
    EventStore(#[from] eventstore::OpenError),
    #[error("cannot copy the log: {0}")]
    NotCopied(#[from] LogError),
    #[error("cannot read the log: {0}")]
    Journal(#[from] JournalError),
}

/// See the module. Nobody else uses the data directory until it is dropped.
pub struct Workspace {
    pub data: DataDir,
    pub journal: Arc<Journal>,
    /// What this node alone needs again: its snapshot, and how far it has taken in events.
    pub own: Arc<dyn StateStore>,
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
    shared: Arc<dyn StateStore>,
    beside: Beside,
}

impl Keys {
    async fn in_files(
        data: &DataDir,
        master: MasterKey,
        own: &Arc<dyn StateStore>,
    ) -> Result<Self, OpenWorkspaceError> {
        let vault = SqliteVault::open(data.vault(), master);
        let vault = vault.await.map_err(|source| OpenWorkspaceError::Vault {
            path: data.vault(),
            source,
        })?;
        let vault = Arc::new(vault);
        Ok(Self {
            vault: vault.clone(),
            shared: own.clone(),
            beside: Beside::Files {
                vault,
                leads: watch::Sender::new(true),
            },
        })
    }

    async fn in_postgres(
        database: Database,
        master: MasterKey,
    ) -> Result<Self, OpenWorkspaceError> {
        let vault = PostgresVault::open(&database, master).await;
        let vault = vault.map_err(OpenWorkspaceError::SharedVault)?;
        Ok(Self {
            vault: Arc::new(vault),
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
    pub async fn open(config: &Config) -> Result<Self, OpenWorkspaceError> {
        let data = DataDir::open(&config.data)?;
        let own: Arc<dyn StateStore> = Arc::new(StateFiles::new(data.state()));
        let master = master_key(config, &data)?;
        let (events, keys, log): (Arc<dyn EventLog>, _, _) = match &config.log {
            LogStore::Sqlite => {
                let keys = Keys::in_files(&data, master, &own).await?;
                let log = Arc::new(SqliteLog::open(data.log()).await?);
                (log.clone(), keys, Log::Sqlite(log))
            }
            LogStore::Postgres(url) => {
                let database = Database::open(url).await?;
                let keys = Keys::in_postgres(database.clone(), master).await?;
                let log = Arc::new(PostgresLog::open(&database).await?);
                (log.clone(), keys, Log::Postgres(log))
            }
            LogStore::Kafka(url) => {
                let topic = KafkaConfig::from_url(url)?;
                let log = Arc::new(KafkaLog::open(topic, data.log()).await?);
                filled(log.progress(), log.caught_up()).await?;
                let vault = KafkaVault::open(log.clone(), data.vault(), master).await;
                let vault = Arc::new(vault.map_err(OpenWorkspaceError::SharedVault)?);
                let (leads, _) = watch::channel(false);
                tokio::spawn(lead(log.role(), leads.clone()));
                let keys = Keys {
                    vault: vault.clone(),
                    shared: own.clone(),
                    beside: Beside::Kafka { vault, leads },
                };
                (log.clone(), keys, Log::Kafka(log))
            }
            LogStore::EventStore(url) => {
                let stream = EventStoreConfig::from_url(url)?;
                // The server can't forget a key for good before it is scavenged, so it keeps none.
                let keys = match &config.views {
                    ViewStore::Postgres(url) => {
                        Keys::in_postgres(Database::open(url).await?, master).await?
                    }
                    ViewStore::Sqlite => Keys::in_files(&data, master, &own).await?,
                };
                let name = keys.name().await.map_err(OpenWorkspaceError::SharedVault)?;
                let log = Arc::new(EventStoreLog::open(&stream, data.log(), &name).await?);
                filled(log.progress(), log.caught_up()).await?;
                (log.clone(), keys, Log::EventStore(log))
            }
        };
        Ok(Self {
            journal: Journal::open(events, keys.vault).await?,
            data,
            own,
            shared: keys.shared,
            log,
            beside: keys.beside,
        })
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

fn master_key(config: &Config, data: &DataDir) -> Result<MasterKey, OpenWorkspaceError> {
    if let Ok(key) = std::env::var(MASTER_KEY) {
        return MasterKey::from_hex(&key).map_err(OpenWorkspaceError::GivenKey);
    }
    let file = config
        .master_key_file
        .clone()
        .unwrap_or_else(|| data.master_key());
    // A new key would open nothing that is there.
    if data.vault().exists() && !file.exists() {
        return Err(OpenWorkspaceError::KeyLost {
            key: file,
            vault: data.vault(),
        });
    }
    Ok(MasterKey::load_or_create(file)?)
}
