//! The key vault in one SQLite file, apart from the log's.
//!
//! Shredding must leave nothing behind. A key is overwritten with zeros where it stands, and its row stays:
//! where rows are deleted SQLite moves others to fuller pages, and leaves copies of them behind that nothing
//! overwrites later (`secure_delete` overwrites the row that is deleted alone; seen with 3.40 and 3.51, one key of
//! 16,000). The WAL, which still has the page as it was, is emptied by a truncating checkpoint before a shred
//! is acknowledged.
//!
//! The same file can be the local copy of a vault that stands elsewhere: then nothing is decided
//! here, but [changes](Change) are taken over.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use hansard_domain::vault::{DataKey, KeyId, KeyVault, VaultError};
use hansard_projections::gaps::Gaps;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, SqlitePool};

use super::master_key::{MasterKey, NotOpened, Purpose, Wrapping, random_key};
use crate::sqlite::{Writer, advice, options};

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

/// The condition that a key was not shredded.
macro_rules! there {
    () => {
        "keys.wrapped <> zeroblob(length(keys.wrapped))"
    };
}

/// Files of this version never had a key's row deleted.
const VERSION: i64 = 1;

/// What else a copy has: of what it is one, where to read on, and when it was last up to date.
const COPY_SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS copy (
        one    INTEGER PRIMARY KEY CHECK (one = 1),
        source TEXT NOT NULL,
        next   INTEGER NOT NULL,
        at     INTEGER NOT NULL
    ) STRICT;
";

/// A change of the vault that a file is the copy of.
pub(super) enum Change {
    Key(KeyId, Vec<u8>),
    Shredded(KeyId),
    Secret(String, Vec<u8>),
    /// The last number given out.
    Last(u64),
    /// What tells a wrong master key.
    Proof(Vec<u8>),
}

/// How far a copy is.
pub(super) struct Place {
    pub next: u64,
    /// Milliseconds since 1970.
    pub at: i64,
}

/// How often a shred tries to empty the WAL while reads are under way; each try waits for them.
const TRUNCATIONS: usize = 20;

/// See the module.
pub struct SqliteVault {
    writer: Writer,
    readers: SqlitePool,
    wrapping: Wrapping,
}

impl SqliteVault {
    /// Opens the vault in this file, or makes it, with the master key.
    pub async fn open(path: impl AsRef<Path>, master: MasterKey) -> Result<Self, VaultError> {
        let path = path.as_ref();
        let vault = Self::prepare(path, &master).await?;
        let founded = vault.write(async |writer| {
            let copies: i64 =
                sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'copy'")
                    .fetch_one(&mut *writer)
                    .await?;
            if copies > 0 {
                return Err(Failed::Vault(VaultError::Unavailable(format!(
                    "{} is the copy of a vault that stands elsewhere",
                    path.display()
                ))));
            }
            let proof = vault.new_proof()?;
            sqlx::query(
                "INSERT INTO vault (one, last_key, proof) VALUES (1, 0, ?) ON CONFLICT DO NOTHING",
            )
            .bind(proof)
            .execute(writer)
            .await?;
            Ok(())
        });
        founded.await.map_err(Failed::with_advice)?;
        vault.check_proof().await?;
        Ok(vault)
    }

    /// Opens the copy of the vault `source` in this file, or makes it. The copy may have no proof
    /// yet that the master key is the right one: see [`Self::check_proof`].
    pub(super) async fn open_copy(
        path: &Path,
        master: &MasterKey,
        source: &str,
    ) -> Result<Self, VaultError> {
        let vault = Self::prepare(path, master).await?;
        let taken = vault.write(async |writer| {
            let own: i64 = sqlx::query_scalar(
                "SELECT (SELECT count(*) FROM vault)
                     * (SELECT count(*) = 0 FROM sqlite_schema WHERE name = 'copy')",
            )
            .fetch_one(&mut *writer)
            .await?;
            if own > 0 {
                return Err(Failed::Vault(VaultError::Unavailable(format!(
                    "{} is a vault of its own, not a copy of {source}",
                    path.display()
                ))));
            }
            sqlx::raw_sql(COPY_SCHEMA).execute(&mut *writer).await?;
            let mut transaction = writer.begin().await?;
            let place = "INSERT INTO copy (one, source, next, at) VALUES (1, ?, 0, 0)
                         ON CONFLICT DO NOTHING";
            sqlx::query(place)
                .bind(source)
                .execute(&mut *transaction)
                .await?;
            let empty = "INSERT INTO vault (one, last_key, proof) VALUES (1, 0, x'')
                         ON CONFLICT DO NOTHING";
            sqlx::query(empty).execute(&mut *transaction).await?;
            let actual: String = sqlx::query_scalar("SELECT source FROM copy")
                .fetch_one(&mut *transaction)
                .await?;
            if actual != source {
                return Err(Failed::Vault(VaultError::Unavailable(format!(
                    "{} is a copy of {actual}, not of {source}",
                    path.display()
                ))));
            }
            Ok(transaction.commit().await?)
        });
        taken.await.map_err(Failed::with_advice)?;
        Ok(vault)
    }

    async fn prepare(path: &Path, master: &MasterKey) -> Result<Self, VaultError> {
        let options = options(path)
            .pragma("secure_delete", "ON")
            .busy_timeout(Duration::from_secs(1))
            .pragma("journal_size_limit", "0");
        clean(path, &options).await?;
        let writer = Writer::new(options.clone());
        let made = writer.write(async |writer| sqlx::raw_sql(SCHEMA).execute(writer).await);
        made.await.map_err(failed)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(2)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
            .await
            .map_err(failed)?;
        Ok(Self {
            writer,
            readers,
            wrapping: Wrapping::new(master),
        })
    }

    /// Closes the files; what stands in the write-ahead log moves into the vault's own file.
    pub async fn close(&self) {
        self.readers.close().await;
        let emptied = self.writer.write(async |writer| {
            let empty = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)");
            empty.execute(writer).await
        });
        if let Err(error) = emptied.await {
            tracing::warn!(%error, "the vault is closed with its write-ahead log beside it");
        }
    }

    async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        self.writer.write(work).await
    }

    /// A value that only this vault's master key opens.
    pub(super) fn new_proof(&self) -> Result<Vec<u8>, VaultError> {
        self.wrapping
            .wrap(&random_key(), Purpose::Check)
            .map_err(unwrappable)
    }

    pub(super) fn wrapping(&self) -> &Wrapping {
        &self.wrapping
    }

    /// Refuses a wrong master key; tells whether there is anything yet to know it by.
    pub(super) async fn check_proof(&self) -> Result<bool, VaultError> {
        let proof: Vec<u8> = sqlx::query_scalar("SELECT proof FROM vault")
            .fetch_one(&self.readers)
            .await
            .map_err(unavailable)?;
        if proof.is_empty() {
            return Ok(false);
        }
        self.wrapping
            .unwrap(&proof, Purpose::Check)
            .map_err(|NotOpened| VaultError::WrongMasterKey)?;
        Ok(true)
    }

    /// The last number that was given out.
    pub(super) async fn last_key(&self) -> Result<KeyId, VaultError> {
        let last: i64 = sqlx::query_scalar("SELECT last_key FROM vault")
            .fetch_one(&self.readers)
            .await
            .map_err(unavailable)?;
        Ok(KeyId(last as u64))
    }

    pub(super) async fn place(&self) -> Result<Place, VaultError> {
        let (next, at): (i64, i64) = sqlx::query_as("SELECT next, at FROM copy")
            .fetch_one(&self.readers)
            .await
            .map_err(unavailable)?;
        Ok(Place {
            next: next as u64,
            at,
        })
    }

    /// Forgets all that was copied, to copy it anew.
    pub(super) async fn clear(&self) -> Result<(), VaultError> {
        let cleared = self.write(async |writer| {
            let mut transaction = writer.begin().await?;
            for sql in [
                "DELETE FROM keys",
                "DELETE FROM secrets",
                "UPDATE vault SET last_key = 0, proof = x''",
                "UPDATE copy SET next = 0, at = 0",
            ] {
                sqlx::query(sql).execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            truncate(writer).await
        });
        Ok(cleared.await?)
    }

    /// Takes changes over, and where to read on.
    pub(super) async fn apply(&self, changes: Vec<Change>, place: Place) -> Result<(), VaultError> {
        let applied = self.write(async |writer| {
            let mut transaction = writer.begin().await?;
            let mut shredded = false;
            for change in changes {
                let query = match change {
                    Change::Key(id, wrapped) => {
                        sqlx::query("INSERT OR REPLACE INTO keys (id, wrapped) VALUES (?, ?)")
                            .bind(id.0 as i64)
                            .bind(wrapped)
                    }
                    Change::Shredded(id) => {
                        shredded = true;
                        sqlx::query(
                            "UPDATE keys SET wrapped = zeroblob(length(wrapped)) WHERE id = ?",
                        )
                        .bind(id.0 as i64)
                    }
                    Change::Secret(name, wrapped) => {
                        sqlx::query("INSERT OR REPLACE INTO secrets (name, wrapped) VALUES (?, ?)")
                            .bind(name)
                            .bind(wrapped)
                    }
                    Change::Last(last) => {
                        sqlx::query("UPDATE vault SET last_key = max(last_key, ?)")
                            .bind(last as i64)
                    }
                    Change::Proof(proof) => sqlx::query("UPDATE vault SET proof = ?").bind(proof),
                };
                query.execute(&mut *transaction).await?;
            }
            sqlx::query("UPDATE copy SET next = ?, at = ?")
                .bind(place.next as i64)
                .bind(place.at)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            if shredded {
                truncate(writer).await?;
            }
            Ok(())
        });
        Ok(applied.await?)
    }

    /// Those of these keys that are there.
    pub(super) async fn present(&self, ids: &[KeyId]) -> Result<Vec<KeyId>, VaultError> {
        let found: Vec<i64> = sqlx::query_scalar(concat!(
            "SELECT DISTINCT keys.id FROM json_each(?) AS wanted \
             JOIN keys ON keys.id = wanted.value WHERE ",
            there!()
        ))
        .bind(list(ids)?)
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        Ok(found.into_iter().map(|id| KeyId(id as u64)).collect())
    }

    /// A secret that was made already.
    pub(super) async fn known_secret(&self, name: &str) -> Result<Option<DataKey>, VaultError> {
        let wrapped: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT wrapped FROM secrets WHERE name = ?")
                .bind(name)
                .fetch_optional(&self.readers)
                .await
                .map_err(unavailable)?;
        let opened = wrapped.map(|wrapped| self.wrapping.unwrap(&wrapped, Purpose::Secret(name)));
        opened.transpose().map_err(|NotOpened| {
            VaultError::Unavailable(format!("the secret {name} of the vault is damaged"))
        })
    }

    /// Empties the write-ahead log of what was deleted; also after an earlier shred that failed
    /// right there.
    pub(super) async fn wipe(&self) -> Result<(), VaultError> {
        Ok(self.write(truncate).await?)
    }
}

/// Overwrites what earlier versions left behind of keys that they deleted, once, while nobody else has the
/// file.
async fn clean(path: &Path, options: &SqliteConnectOptions) -> Result<(), VaultError> {
    let mut alone = SqliteConnection::connect_with(options)
        .await
        .map_err(failed)?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut alone)
        .await
        .map_err(failed)?;
    if version >= VERSION {
        return alone.close().await.map_err(failed);
    }
    truncate(&mut alone).await.map_err(Failed::with_advice)?;
    alone.close().await.map_err(failed)?;
    let file = path.to_owned();
    let cleaning = tokio::task::spawn_blocking(move || {
        // A new file has no pages yet.
        if std::fs::metadata(&file)?.len() == 0 {
            return Ok(());
        }
        let mut gaps = Gaps::open(&file)?;
        while !gaps.overwrite(Duration::from_secs(1))? {}
        Ok(())
    });
    let cleaned: Result<std::io::Result<()>, _> = cleaning.await;
    let cleaned = cleaned.map_err(|error| VaultError::Unavailable(error.to_string()))?;
    cleaned.map_err(|error| VaultError::Unavailable(format!("{}: {error}", path.display())))?;
    let mut alone = SqliteConnection::connect_with(options)
        .await
        .map_err(failed)?;
    let version = AssertSqlSafe(format!("PRAGMA user_version = {VERSION}"));
    sqlx::raw_sql(version)
        .execute(&mut alone)
        .await
        .map_err(failed)?;
    alone.close().await.map_err(failed)
}

async fn truncate(writer: &mut SqliteConnection) -> Result<(), Failed> {
    for _ in 0..TRUNCATIONS {
        let (busy, ..): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(&mut *writer)
            .await?;
        if busy == 0 {
            return Ok(());
        }
    }
    Err(Failed::Vault(VaultError::Unavailable(
        "readers held the vault's WAL; the keys are deleted but not yet wiped".to_owned(),
    )))
}

/// Why something was not written.
enum Failed {
    Sqlite(sqlx::Error),
    Vault(VaultError),
}

impl Failed {
    /// For an operator who starts the server: with what to do about it.
    fn with_advice(self) -> VaultError {
        match self {
            Self::Sqlite(error) => failed(error),
            Self::Vault(error) => error,
        }
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<VaultError> for Failed {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<Failed> for VaultError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Sqlite(error) => unavailable(error),
            Failed::Vault(error) => error,
        }
    }
}

fn failed(error: sqlx::Error) -> VaultError {
    VaultError::Unavailable(advice(&error))
}

fn unavailable(error: sqlx::Error) -> VaultError {
    VaultError::Unavailable(error.to_string())
}

pub(super) fn unwrappable(NotOpened: NotOpened) -> VaultError {
    VaultError::Unavailable("a key could not be wrapped".to_owned())
}

/// A key that the master key does not open, though it opens the vault. What it sealed can't be read,
/// and nobody must be kept from the rest by it.
pub(super) fn damaged(id: KeyId) {
    tracing::error!(
        key = id.0,
        "a key of the vault is damaged; what it sealed can't be read any more"
    );
}

fn list(ids: &[KeyId]) -> Result<String, VaultError> {
    serde_json::to_string(ids).map_err(|error| VaultError::Unavailable(error.to_string()))
}

#[async_trait]
impl KeyVault for SqliteVault {
    async fn mint(&self, count: usize, above: KeyId) -> Result<Vec<(KeyId, DataKey)>, VaultError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let minted = self.write(async |writer| {
            let mut transaction = writer.begin().await?;
            let given_out = "UPDATE vault SET last_key = max(last_key, ?) + ? RETURNING last_key";
            let last: i64 = sqlx::query_scalar(given_out)
                .bind(above.0 as i64)
                .bind(count as i64)
                .fetch_one(&mut *transaction)
                .await?;
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
            .await?;
            transaction.commit().await?;
            // What is sealed under a key that is not there is lost: others have to see them all.
            let (first, last) = (first as i64, last);
            let there: i64 =
                sqlx::query_scalar("SELECT count(*) FROM keys WHERE id BETWEEN ? AND ?")
                    .bind(first)
                    .bind(last)
                    .fetch_one(&self.readers)
                    .await?;
            if there != count as i64 {
                return Err(Failed::Vault(VaultError::Unavailable(
                    "keys were written, and are not there".to_owned(),
                )));
            }
            Ok(keys)
        });
        Ok(minted.await?)
    }

    async fn keys(&self, ids: &[KeyId]) -> Result<HashMap<KeyId, DataKey>, VaultError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(concat!(
            "SELECT keys.id, keys.wrapped FROM json_each(?) AS wanted \
             JOIN keys ON keys.id = wanted.value WHERE ",
            there!()
        ))
        .bind(list(ids)?)
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let mut keys = HashMap::with_capacity(rows.len());
        for (id, wrapped) in rows {
            let id = KeyId(id as u64);
            match self.wrapping.unwrap(&wrapped, Purpose::Data(id)) {
                Ok(key) => drop(keys.insert(id, key)),
                Err(NotOpened) => damaged(id),
            }
        }
        Ok(keys)
    }

    async fn shred(&self, ids: &[KeyId]) -> Result<(), VaultError> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids = list(ids)?;
        let shredded = self.write(async |writer| {
            // As long as it was: SQLite overwrites it in its place then.
            sqlx::query(
                "UPDATE keys SET wrapped = zeroblob(length(wrapped)) \
                 WHERE id IN (SELECT value FROM json_each(?))",
            )
            .bind(ids)
            .execute(&mut *writer)
            .await?;
            // Even if nothing was overwritten: an earlier shred may have failed right here.
            truncate(writer).await
        });
        Ok(shredded.await?)
    }

    async fn secret(&self, name: &str) -> Result<DataKey, VaultError> {
        let fresh = self
            .wrapping
            .wrap(&random_key(), Purpose::Secret(name))
            .map_err(unwrappable)?;
        let kept = self.write(async |writer| {
            sqlx::query("INSERT INTO secrets (name, wrapped) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(name)
                .bind(fresh)
                .execute(&mut *writer)
                .await?;
            let wrapped: Vec<u8> = sqlx::query_scalar("SELECT wrapped FROM secrets WHERE name = ?")
                .bind(name)
                .fetch_one(writer)
                .await?;
            Ok(wrapped)
        });
        let wrapped = kept.await?;
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
            .mint(500, KeyId(0))
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
    async fn no_key_is_left_behind_whatever_is_shredded_around_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vault.db");
        let vault = SqliteVault::open(&path, MasterKey::random()).await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..4 {
            let minted = vault.mint(2_048, KeyId(0)).await.unwrap();
            ids.extend(minted.into_iter().map(|(id, _)| id));
        }
        let wrapped: Vec<Vec<u8>> = sqlx::query_scalar("SELECT wrapped FROM keys")
            .fetch_all(&vault.readers)
            .await
            .unwrap();
        // As rooms that share the numbers are pruned again and again, most of what is old in them each time:
        // where rows are deleted, pages are left with a key here and there, which goes to another page then,
        // and is shredded later.
        let mut state = 9_u64;
        let mut next = |most: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % most
        };
        let mut left: Vec<_> = ids.iter().map(|id| (*id, next(6))).collect();
        let mut shredded = Vec::new();
        for end in (700..ids.len() as u64).step_by(700) {
            for room in 0..6 {
                let old = left.extract_if(.., |(id, of)| *of == room && id.0 < end && next(10) < 9);
                let old: Vec<_> = old.map(|(id, _)| id).collect();
                vault.shred(&old).await.unwrap();
                shredded.extend(old);
            }
        }
        let ids = shredded;
        assert!(vault.keys(&ids).await.unwrap().is_empty());
        assert!(vault.present(&ids).await.unwrap().is_empty());
        let file = std::fs::read(&path).unwrap();
        let parts: std::collections::HashSet<_> = file.windows(16).collect();
        let left = ids.iter().filter(|id| {
            let key = &wrapped[id.0 as usize - 1];
            parts.contains(&key[..16])
        });
        assert_eq!(left.count(), 0);
    }

    #[tokio::test]
    async fn what_earlier_versions_left_behind_is_overwritten_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vault.db");
        let master = MasterKey::random();
        let vault = SqliteVault::open(&path, master.clone()).await.unwrap();
        let kept = vault.mint(1, KeyId(0)).await.unwrap().remove(0);
        vault.close().await;
        drop(vault);
        // A file of the version before, with something in the gap of its first page.
        let options = SqliteConnectOptions::new().filename(&path);
        let mut before = SqliteConnection::connect_with(&options).await.unwrap();
        let version = sqlx::raw_sql("PRAGMA user_version = 0; PRAGMA wal_checkpoint(TRUNCATE)");
        version.execute(&mut before).await.unwrap();
        before.close().await.unwrap();
        let mut file = std::fs::read(&path).unwrap();
        let copy = b"a copy of a wrapped key";
        file[1_000..1_000 + copy.len()].copy_from_slice(copy);
        std::fs::write(&path, &file).unwrap();
        assert!(found(directory.path(), copy));
        let vault = SqliteVault::open(&path, master).await.unwrap();
        assert!(!found(directory.path(), copy));
        assert_eq!(vault.keys(&[kept.0]).await.unwrap()[&kept.0], kept.1);
    }

    #[tokio::test]
    async fn another_master_key_does_not_open_the_vault() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vault.db");
        let master = MasterKey::random();
        let vault = SqliteVault::open(&path, master.clone()).await.unwrap();
        let minted = vault.mint(1, KeyId(0)).await.unwrap();
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
