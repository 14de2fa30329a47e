//! The key vault in one SQLite file, apart from the log's.
//!
//! Shredding must leave nothing behind: `secure_delete` overwrites deleted rows with zeros, and the
//! WAL, which still has the page as it was, is emptied by a truncating checkpoint before a shred is
//! acknowledged.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use hansard_domain::vault::{DataKey, KeyId, KeyVault, VaultError};
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Connection, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;

use super::master_key::{MasterKey, NotOpened, Purpose, Wrapping, random_key};
use crate::sqlite::options;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS keys (
        id      INTEGER PRIMARY KEY,
        wrapped BLOB NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS secrets (
        name    TEXT PRIMARY KEY,
        wrapped BLOB NOT NULL
    ) STRICT;
    -- One row. The last number given out is kept by itself: that of a shredded key never comes back.
    CREATE TABLE IF NOT EXISTS vault (
        one      INTEGER PRIMARY KEY CHECK (one = 1),
        last_key INTEGER NOT NULL,
        proof    BLOB NOT NULL
    ) STRICT;
";

/// How often a shred tries to empty the WAL while reads are under way; each try waits for them.
const TRUNCATIONS: usize = 20;

/// See the module.
pub struct SqliteVault {
    /// The only connection that writes. Held across awaits on purpose: writes come one at a time.
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
    wrapping: Wrapping,
}

impl SqliteVault {
    /// Opens the vault in this file, or makes it, with the master key.
    pub async fn open(path: impl AsRef<Path>, master: MasterKey) -> Result<Self, VaultError> {
        let path = path.as_ref();
        let failed = |error: sqlx::Error| {
            VaultError::Unavailable(format!("cannot open {}: {error}", path.display()))
        };
        let options = options(path)
            .pragma("secure_delete", "ON")
            .busy_timeout(Duration::from_secs(1))
            .pragma("journal_size_limit", "0");
        let mut writer = SqliteConnection::connect_with(&options)
            .await
            .map_err(failed)?;
        sqlx::raw_sql(SCHEMA)
            .execute(&mut writer)
            .await
            .map_err(failed)?;

        let wrapping = Wrapping::new(&master);
        let proof = wrapping
            .wrap(&random_key(), Purpose::Check)
            .map_err(unwrappable)?;
        sqlx::query(
            "INSERT INTO vault (one, last_key, proof) VALUES (1, 0, ?) ON CONFLICT DO NOTHING",
        )
        .bind(proof)
        .execute(&mut writer)
        .await
        .map_err(failed)?;
        let proof: Vec<u8> = sqlx::query_scalar("SELECT proof FROM vault")
            .fetch_one(&mut writer)
            .await
            .map_err(failed)?;
        wrapping
            .unwrap(&proof, Purpose::Check)
            .map_err(|NotOpened| VaultError::WrongMasterKey)?;

        let readers = SqlitePoolOptions::new()
            .max_connections(2)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
            .await
            .map_err(failed)?;
        Ok(Self {
            writer: Mutex::new(writer),
            readers,
            wrapping,
        })
    }

    /// Closes the files; what stands in the write-ahead log moves into the vault's own file.
    pub async fn close(&self) {
        self.readers.close().await;
        let mut writer = self.writer.lock().await;
        let emptied = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)");
        if let Err(error) = emptied.execute(&mut *writer).await {
            tracing::warn!(%error, "the vault is closed with its write-ahead log beside it");
        }
    }
}

fn unavailable(error: sqlx::Error) -> VaultError {
    VaultError::Unavailable(error.to_string())
}

fn unwrappable(NotOpened: NotOpened) -> VaultError {
    VaultError::Unavailable("a key could not be wrapped".to_owned())
}

fn list(ids: &[KeyId]) -> Result<String, VaultError> {
    serde_json::to_string(ids).map_err(|error| VaultError::Unavailable(error.to_string()))
}

#[async_trait]
impl KeyVault for SqliteVault {
    async fn mint(&self, count: usize) -> Result<Vec<(KeyId, DataKey)>, VaultError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await.map_err(unavailable)?;
        let last: i64 =
            sqlx::query_scalar("UPDATE vault SET last_key = last_key + ? RETURNING last_key")
                .bind(count as i64)
                .fetch_one(&mut *transaction)
                .await
                .map_err(unavailable)?;
        let first = last as u64 + 1 - count as u64;
        let keys: Vec<_> = (first..)
            .map(KeyId)
            .map(|id| (id, random_key()))
            .take(count)
            .collect();
        let mut wrapped = Vec::with_capacity(count);
        for (id, key) in &keys {
            let bytes = self
                .wrapping
                .wrap(key, Purpose::Data(*id))
                .map_err(unwrappable)?;
            wrapped.push(hex(&bytes));
        }
        let wrapped = serde_json::to_string(&wrapped)
            .map_err(|error| VaultError::Unavailable(error.to_string()))?;
        sqlx::query(
            "INSERT INTO keys (id, wrapped) SELECT ? + key, unhex(value) FROM json_each(?)",
        )
        .bind(first as i64)
        .bind(wrapped)
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
        Ok(keys)
    }

    async fn keys(&self, ids: &[KeyId]) -> Result<HashMap<KeyId, DataKey>, VaultError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT keys.id, keys.wrapped FROM json_each(?) AS wanted JOIN keys ON keys.id = wanted.value",
        )
        .bind(list(ids)?)
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let mut keys = HashMap::with_capacity(rows.len());
        for (id, wrapped) in rows {
            let id = KeyId(id as u64);
            let key = self
                .wrapping
                .unwrap(&wrapped, Purpose::Data(id))
                .map_err(|NotOpened| {
                    VaultError::Unavailable(format!("key {} of the vault is damaged", id.0))
                })?;
            keys.insert(id, key);
        }
        Ok(keys)
    }

    async fn shred(&self, ids: &[KeyId]) -> Result<(), VaultError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.lock().await;
        sqlx::query("DELETE FROM keys WHERE id IN (SELECT value FROM json_each(?))")
            .bind(list(ids)?)
            .execute(&mut *writer)
            .await
            .map_err(unavailable)?;
        // Even if nothing was deleted: an earlier shred may have failed right here.
        for _ in 0..TRUNCATIONS {
            let (busy, ..): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
                .fetch_one(&mut *writer)
                .await
                .map_err(unavailable)?;
            if busy == 0 {
                return Ok(());
            }
        }
        Err(VaultError::Unavailable(
            "readers held the vault's WAL; the keys are deleted but not yet wiped".to_owned(),
        ))
    }

    async fn secret(&self, name: &str) -> Result<DataKey, VaultError> {
        let mut writer = self.writer.lock().await;
        let fresh = self
            .wrapping
            .wrap(&random_key(), Purpose::Secret(name))
            .map_err(unwrappable)?;
        sqlx::query("INSERT INTO secrets (name, wrapped) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(fresh)
            .execute(&mut *writer)
            .await
            .map_err(unavailable)?;
        let wrapped: Vec<u8> = sqlx::query_scalar("SELECT wrapped FROM secrets WHERE name = ?")
            .bind(name)
            .fetch_one(&mut *writer)
            .await
            .map_err(unavailable)?;
        self.wrapping
            .unwrap(&wrapped, Purpose::Secret(name))
            .map_err(|NotOpened| {
                VaultError::Unavailable(format!("the secret {name} of the vault is damaged"))
            })
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether any file of the directory has these bytes in it.
    fn found(directory: &Path, bytes: &[u8]) -> bool {
        std::fs::read_dir(directory).unwrap().any(|entry| {
            let content = std::fs::read(entry.unwrap().path()).unwrap();
            content.windows(bytes.len()).any(|window| window == bytes)
        })
    }

    #[tokio::test]
    async fn a_shredded_key_is_in_no_file_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vault.db");
        let master = MasterKey::random();
        let vault = SqliteVault::open(&path, master.clone()).await.unwrap();
        let ids: Vec<_> = vault
            .mint(500)
            .await
            .unwrap()
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        let wrapped: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT id, wrapped FROM keys ORDER BY id")
                .fetch_all(&vault.readers)
                .await
                .unwrap();
        assert_eq!(wrapped.len(), 500);
        assert!(
            wrapped
                .iter()
                .all(|(_, bytes)| found(directory.path(), bytes))
        );

        // One here and there, then a run that frees whole pages; while others read.
        let (few, rest) = ids.split_at(20);
        let kept = &rest[400..];
        let reading = async {
            for _ in 0..200 {
                vault.keys(&ids).await.unwrap();
            }
        };
        let shredding = async {
            for id in few {
                vault.shred(&[*id]).await.unwrap();
                let (_, bytes) = &wrapped[id.0 as usize - 1];
                assert!(!found(directory.path(), bytes));
            }
            vault.shred(&rest[..400]).await.unwrap();
        };
        tokio::join!(reading, shredding);
        for (id, bytes) in &wrapped {
            assert_eq!(
                found(directory.path(), bytes),
                kept.contains(&KeyId(*id as u64)),
                "{id}"
            );
        }
    }

    #[tokio::test]
    async fn another_master_key_does_not_open_the_vault() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vault.db");
        let master = MasterKey::random();
        let vault = SqliteVault::open(&path, master.clone()).await.unwrap();
        let minted = vault.mint(1).await.unwrap();
        drop(vault);
        assert!(matches!(
            SqliteVault::open(&path, MasterKey::random()).await,
            Err(VaultError::WrongMasterKey)
        ));
        let vault = SqliteVault::open(&path, master).await.unwrap();
        assert_eq!(
            vault.keys(&[minted[0].0]).await.unwrap()[&minted[0].0],
            minted[0].1
        );
    }
}
