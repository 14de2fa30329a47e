//! A workspace that is opened: the log, the keys, the journal over both, wherever they are kept.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hansard_commands::state::StateStore;
use hansard_domain::journal::{Journal, JournalError};
use hansard_domain::log::{EventLog, LogError, Role};
use hansard_domain::vault::VaultError;
use hansard_infra::data_dir::{DataDir, DataDirError};
use hansard_infra::http_out::HttpOutError;
use hansard_infra::log::kafka::{self, KafkaConfig, KafkaLog, Progress};
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
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::cluster::{Cluster, SecretError};
use crate::config::{Config, LogStore};

/// Holds the master key itself, in hexadecimal, where it is not in a file.
const MASTER_KEY: &str = "HANSARD_MASTER_KEY";

/// Holds the secret that nodes know each other by, where it is not in a file.
const SECRET: &str = "HANSARD_CLUSTER_SECRET";

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
    #[error(
        "the nodes of a Kafka log hand requests on to the one that writes, and know each other by a \
         secret; give all the same one, with --cluster-secret-file or HANSARD_CLUSTER_SECRET"
    )]
    NoSecret,
    #[error("the secret of the nodes {path}: {source}", path = path.display())]
    UnreadableSecret { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Peers(#[from] HttpOutError),
    #[error(transparent)]
    Topic(#[from] kafka::ConfigError),
    #[error(transparent)]
    Kafka(#[from] kafka::OpenError),
    #[error("cannot copy the log: {0}")]
    NotCopied(#[from] LogError),
    #[error("other nodes can't reach this one at {0}; say with --advertise at which URL they can")]
    NoAddress(String),
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
    /// Where nodes elect the one that writes.
    pub cluster: Option<Arc<Cluster>>,
    stores: Stores,
}

/// What is open.
enum Stores {
    Files {
        log: Arc<SqliteLog>,
        vault: Arc<SqliteVault>,
        leads: watch::Sender<bool>,
    },
    Postgres {
        database: Database,
        log: Arc<PostgresLog>,
        leadership: Leadership,
    },
    Kafka {
        log: Arc<KafkaLog>,
        vault: Arc<KafkaVault>,
        leads: watch::Sender<bool>,
    },
}

impl Workspace {
    pub async fn open(config: &Config) -> Result<Self, OpenWorkspaceError> {
        let data = DataDir::open(&config.data)?;
        let own: Arc<dyn StateStore> = Arc::new(StateFiles::new(data.state()));
        let master = master_key(config, &data)?;
        match &config.log {
            LogStore::Sqlite => {
                let vault = SqliteVault::open(data.vault(), master);
                let vault = vault.await.map_err(|source| OpenWorkspaceError::Vault {
                    path: data.vault(),
                    source,
                })?;
                let vault = Arc::new(vault);
                let log = Arc::new(SqliteLog::open(data.log()).await?);
                Ok(Self {
                    journal: Journal::open(log.clone(), vault.clone()).await?,
                    data,
                    shared: own.clone(),
                    own,
                    cluster: None,
                    stores: Stores::Files {
                        log,
                        vault,
                        leads: watch::Sender::new(true),
                    },
                })
            }
            LogStore::Postgres(url) => {
                let database = Database::open(url).await?;
                let vault = PostgresVault::open(&database, master).await;
                let vault = vault.map_err(OpenWorkspaceError::SharedVault)?;
                let log = Arc::new(PostgresLog::open(&database).await?);
                Ok(Self {
                    journal: Journal::open(log.clone(), Arc::new(vault)).await?,
                    data,
                    own,
                    shared: Arc::new(PostgresState::new(&database)),
                    cluster: None,
                    stores: Stores::Postgres {
                        leadership: Leadership::campaign(&database, "policies"),
                        database,
                        log,
                    },
                })
            }
            LogStore::Kafka(url) => {
                let cluster = cluster(config)?;
                let topic = KafkaConfig::from_url(url)?;
                let log = Arc::new(KafkaLog::open(topic, data.log()).await?);
                let filling = tokio::spawn(show(log.progress()));
                log.caught_up().await?;
                filling.abort();
                let vault = KafkaVault::open(log.clone(), data.vault(), master).await;
                let vault = Arc::new(vault.map_err(OpenWorkspaceError::SharedVault)?);
                let (leads, _) = watch::channel(false);
                tokio::spawn(lead(log.role(), leads.clone()));
                Ok(Self {
                    journal: Journal::open(log.clone(), vault.clone()).await?,
                    data,
                    shared: own.clone(),
                    own,
                    cluster: Some(Arc::new(cluster)),
                    stores: Stores::Kafka { log, vault, leads },
                })
            }
        }
    }

    /// Tells whether this node does what only one of them does.
    pub fn leads(&self) -> watch::Receiver<bool> {
        match &self.stores {
            Stores::Files { leads, .. } | Stores::Kafka { leads, .. } => leads.subscribe(),
            Stores::Postgres { leadership, .. } => leadership.leads(),
        }
    }

    /// Closes the files, and lets others lead.
    pub async fn close(self) {
        match self.stores {
            Stores::Files { log, vault, .. } => {
                log.close().await;
                vault.close().await;
            }
            Stores::Postgres {
                database,
                log,
                leadership,
            } => {
                leadership.resign().await;
                log.close().await;
                database.close().await;
            }
            Stores::Kafka { log, vault, .. } => {
                vault.close().await;
                log.close().await;
            }
        }
    }

    /// How many events the local copy of the log is behind, about; `None` where there is no copy.
    pub fn copying(&self) -> Option<watch::Receiver<Progress>> {
        match &self.stores {
            Stores::Kafka { log, .. } => Some(log.progress()),
            Stores::Files { .. } | Stores::Postgres { .. } => None,
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

fn cluster(config: &Config) -> Result<Cluster, OpenWorkspaceError> {
    let secret = match (std::env::var(SECRET), &config.cluster_secret_file) {
        (Ok(secret), _) => Zeroizing::new(secret),
        (Err(_), Some(path)) => {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|source| OpenWorkspaceError::UnreadableSecret {
                path: path.clone(),
                source,
            })?;
            Zeroizing::new(text.trim().to_owned())
        }
        (Err(_), None) => return Err(OpenWorkspaceError::NoSecret),
    };
    Cluster::check(&secret)?;
    let address = config.address();
    if config.advertise.is_none() && config.listen.ip().is_unspecified() {
        return Err(OpenWorkspaceError::NoAddress(address));
    }
    Ok(Cluster::new(address, secret)?)
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
