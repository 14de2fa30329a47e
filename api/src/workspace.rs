//! A data directory that is opened: the log, the keys, the journal over both.

use std::path::PathBuf;
use std::sync::Arc;

use hansard_domain::journal::{Journal, JournalError};
use hansard_domain::vault::VaultError;
use hansard_infra::data_dir::{DataDir, DataDirError};
use hansard_infra::log::sqlite::{OpenError, SqliteLog};
use hansard_infra::vault::master_key::{MasterKey, MasterKeyError};
use hansard_infra::vault::sqlite::SqliteVault;

use crate::config::Config;

/// Holds the master key itself, in hexadecimal, where it is not in a file.
const MASTER_KEY: &str = "HANSARD_MASTER_KEY";

/// Why a data directory can't be opened.
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
    #[error(transparent)]
    Log(#[from] OpenError),
    #[error("cannot read the log: {0}")]
    Journal(#[from] JournalError),
}

/// See the module. Nobody else uses the directory until it is dropped.
pub struct Workspace {
    pub data: DataDir,
    pub journal: Arc<Journal>,
    log: Arc<SqliteLog>,
    vault: Arc<SqliteVault>,
}

impl Workspace {
    pub async fn open(config: &Config) -> Result<Self, OpenWorkspaceError> {
        let data = DataDir::open(&config.data)?;
        let master = match std::env::var(MASTER_KEY) {
            Ok(key) => MasterKey::from_hex(&key).map_err(OpenWorkspaceError::GivenKey)?,
            Err(_) => {
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
                MasterKey::load_or_create(file)?
            }
        };
        let vault = SqliteVault::open(data.vault(), master)
            .await
            .map_err(|source| OpenWorkspaceError::Vault {
                path: data.vault(),
                source,
            })?;
        let log = Arc::new(SqliteLog::open(data.log()).await?);
        let vault = Arc::new(vault);
        let journal = Journal::open(log.clone(), vault.clone()).await?;
        Ok(Self {
            data,
            journal,
            log,
            vault,
        })
    }

    /// Closes the files.
    pub async fn close(self) {
        self.log.close().await;
        self.vault.close().await;
    }
}
