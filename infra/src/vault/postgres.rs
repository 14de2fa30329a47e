//! The key vault in a PostgreSQL database, shared by all nodes.
//!
//! PostgreSQL never overwrites a row: one that is deleted stays in its page, and after a `VACUUM` its
//! bytes still do, until others come to stand there. So a shred deletes the keys, which hides them
//! from everybody at once, and then writes the part of the table anew that they stood in: what is
//! kept goes into a fresh file and the old one is truncated. Other than `VACUUM FULL` this doesn't
//! depend on whether some old transaction could still see the deleted rows.
//!
//! When a shred returns, no table file holds the keys. **PostgreSQL's write-ahead log still does**, as
//! it is the record of when they were made: in `pg_wal` until its segments are used again (a few
//! checkpoints later; with `wal_recycle = off` they are deleted instead), and for as long as they are
//! kept in an archive of WAL, in base backups from before, and on standbys that lag. The port's promise
//! reaches there only as far as the operator's own retention of archives and backups does. What is in
//! those copies is wrapped by the master key, which never stands in the database: without it they
//! open nothing, so keep it apart from them.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use hansard_domain::vault::{DataKey, KeyId, KeyVault, VaultError};
use sqlx::{PgConnection, Row};

use super::master_key::{MasterKey, NotOpened, Purpose, Wrapping, random_key};
use super::sqlite::damaged;
use crate::postgres::{Database, advice, within};

/// The table is in so many parts, and so many numbers in a row stand in the same one; the format of
/// the tables says the same.
const PARTS: u64 = 64;
const RUN: u64 = 1024;

/// How long a call may take, or wiping one part of the table.
const STATEMENT: Duration = Duration::from_secs(5);

/// See the module.
pub struct PostgresVault {
    database: Database,
    wrapping: Wrapping,
}

impl PostgresVault {
    /// Opens the vault in this database, or makes it, with the master key.
    pub async fn open(database: &Database, master: MasterKey) -> Result<Self, VaultError> {
        let wrapping = Wrapping::new(&master);
        let proof = wrapping
            .wrap(&random_key(), Purpose::Check)
            .map_err(unwrappable)?;
        let mut connection = database.borrow().await.map_err(unavailable)?;
        let proof = within(
            STATEMENT,
            prove(connection.get().map_err(unavailable)?, proof),
        )
        .await
        .and_then(|proof| proof)
        .map_err(unavailable)?;
        connection.give_back();
        wrapping
            .unwrap(&proof, Purpose::Check)
            .map_err(|NotOpened| VaultError::WrongMasterKey)?;
        Ok(Self {
            database: database.clone(),
            wrapping,
        })
    }

    async fn mint_on(
        &self,
        connection: &mut PgConnection,
        count: usize,
        above: KeyId,
    ) -> Result<Vec<(KeyId, DataKey)>, VaultError> {
        sqlx::query("SELECT setval('key_numbers', $1::bigint) FROM key_numbers WHERE last_value < $1::bigint")
            .bind(above.0.max(1) as i64)
            .execute(&mut *connection)
            .await
            .map_err(unavailable)?;
        // Numbers of a sequence are given out once, whatever becomes of the transaction.
        let numbers: Vec<i64> =
            sqlx::query_scalar("SELECT nextval('key_numbers') FROM generate_series(1, $1)")
                .bind(count as i64)
                .fetch_all(&mut *connection)
                .await
                .map_err(unavailable)?;
        let mut keys = Vec::with_capacity(count);
        let mut wrapped = Vec::with_capacity(count);
        for number in &numbers {
            let (id, key) = (KeyId(*number as u64), random_key());
            let purpose = Purpose::Data(id);
            wrapped.push(self.wrapping.wrap(&key, purpose).map_err(unwrappable)?);
            keys.push((id, key));
        }
        let parts: Vec<_> = keys.iter().map(|(id, _)| part(*id)).collect();
        insert(connection, &parts, &numbers, &wrapped)
            .await
            .map_err(unavailable)?;
        Ok(keys)
    }

    async fn shred_on(
        &self,
        connection: &mut PgConnection,
        ids: &[KeyId],
    ) -> Result<(), sqlx::Error> {
        let (parts, numbers) = places(ids);
        sqlx::query(
            "DELETE FROM keys USING unnest($1::smallint[], $2::bigint[]) AS gone (part, id)
             WHERE keys.part = gone.part AND keys.id = gone.id",
        )
        .bind(&parts)
        .bind(&numbers)
        .execute(&mut *connection)
        .await?;
        // Even if nothing was deleted: an earlier shred may have failed right here.
        for part in parts.into_iter().collect::<BTreeSet<_>>() {
            within(STATEMENT, rewrite(connection, part)).await??;
        }
        Ok(())
    }
}

/// The part of the table that a key stands in.
fn part(id: KeyId) -> i16 {
    (id.0 / RUN % PARTS) as i16
}

fn places(ids: &[KeyId]) -> (Vec<i16>, Vec<i64>) {
    ids.iter().map(|id| (part(*id), id.0 as i64)).unzip()
}

/// Keeps what proves the master key, if there is nothing yet, and gives what is kept.
async fn prove(connection: &mut PgConnection, proof: Vec<u8>) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query("INSERT INTO vault (proof) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(proof)
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT proof FROM vault")
        .fetch_one(connection)
        .await
}

async fn insert(
    connection: &mut PgConnection,
    parts: &[i16],
    numbers: &[i64],
    wrapped: &[Vec<u8>],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO keys (part, id, wrapped)
         SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])",
    )
    .bind(parts)
    .bind(numbers)
    .bind(wrapped)
    .execute(connection)
    .await
    .map(drop)
}

/// Writes a part of the table into a fresh file, with what can be seen of it.
async fn rewrite(connection: &mut PgConnection, part: i16) -> Result<(), sqlx::Error> {
    // The lock in a statement of its own: the one after it then sees all that was written before.
    // Whoever reads keys waits for it, so it must not itself wait long for others.
    let begin = format!(
        "BEGIN; SET LOCAL lock_timeout = '1s'; LOCK TABLE keys_{part} IN ACCESS EXCLUSIVE MODE"
    );
    run(connection, begin).await?;
    let rows = sqlx::query("SELECT id, wrapped FROM keys WHERE part = $1")
        .bind(part)
        .fetch_all(&mut *connection)
        .await?;
    run(connection, format!("TRUNCATE keys_{part}")).await?;
    let mut numbers = Vec::with_capacity(rows.len());
    let mut wrapped = Vec::with_capacity(rows.len());
    for row in rows {
        numbers.push(row.try_get(0)?);
        wrapped.push(row.try_get(1)?);
    }
    let parts = vec![part; numbers.len()];
    insert(connection, &parts, &numbers, &wrapped).await?;
    run(connection, "COMMIT".to_owned()).await
}

/// Runs statements that have nothing in them but our own words and the number of a part.
async fn run(connection: &mut PgConnection, statements: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements))
        .execute(connection)
        .await
        .map(drop)
}

fn unavailable(error: sqlx::Error) -> VaultError {
    VaultError::Unavailable(advice(&error))
}

fn unwrappable(NotOpened: NotOpened) -> VaultError {
    VaultError::Unavailable("a key could not be wrapped".to_owned())
}

#[async_trait]
impl KeyVault for PostgresVault {
    async fn mint(&self, count: usize, above: KeyId) -> Result<Vec<(KeyId, DataKey)>, VaultError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut connection = self.database.borrow().await.map_err(unavailable)?;
        let minting = self.mint_on(connection.get().map_err(unavailable)?, count, above);
        let keys = within(STATEMENT, minting).await.map_err(unavailable)??;
        connection.give_back();
        Ok(keys)
    }

    async fn keys(&self, ids: &[KeyId]) -> Result<HashMap<KeyId, DataKey>, VaultError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let (parts, numbers) = places(ids);
        let mut connection = self.database.borrow().await.map_err(unavailable)?;
        let query = sqlx::query_as::<_, (i64, Vec<u8>)>(
            "SELECT keys.id, keys.wrapped
             FROM unnest($1::smallint[], $2::bigint[]) AS wanted (part, id)
             JOIN keys ON keys.part = wanted.part AND keys.id = wanted.id",
        );
        let rows = query
            .bind(parts)
            .bind(numbers)
            .fetch_all(connection.get().map_err(unavailable)?);
        let rows = within(STATEMENT, rows)
            .await
            .and_then(|rows| rows)
            .map_err(unavailable)?;
        connection.give_back();
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
        let mut connection = self.database.borrow().await.map_err(unavailable)?;
        self.shred_on(connection.get().map_err(unavailable)?, ids)
            .await
            .map_err(|error| {
                let reason = advice(&error);
                VaultError::Unavailable(format!(
                    "the keys may be deleted but are not wiped yet: {reason}"
                ))
            })?;
        connection.give_back();
        Ok(())
    }

    async fn secret(&self, name: &str) -> Result<DataKey, VaultError> {
        let fresh = self
            .wrapping
            .wrap(&random_key(), Purpose::Secret(name))
            .map_err(unwrappable)?;
        let mut connection = self.database.borrow().await.map_err(unavailable)?;
        let asked = keep_secret(connection.get().map_err(unavailable)?, name, fresh);
        let wrapped = within(STATEMENT, asked)
            .await
            .and_then(|wrapped| wrapped)
            .map_err(unavailable)?;
        connection.give_back();
        self.wrapping
            .unwrap(&wrapped, Purpose::Secret(name))
            .map_err(|NotOpened| {
                VaultError::Unavailable(format!("the secret {name} of the vault is damaged"))
            })
    }
}

/// Keeps a secret if there is none of this name yet, and gives the one that is kept.
async fn keep_secret(
    connection: &mut PgConnection,
    name: &str,
    fresh: Vec<u8>,
) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query("INSERT INTO secrets (name, wrapped) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(name)
        .bind(fresh)
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT wrapped FROM secrets WHERE name = $1")
        .bind(name)
        .fetch_one(connection)
        .await
}
