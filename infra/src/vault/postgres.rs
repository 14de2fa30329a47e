//! The key vault in a PostgreSQL database, shared by all nodes.
//!
//! PostgreSQL never overwrites a row: one that is deleted stays in its page, and after a `VACUUM` its
//! bytes still do, until others come to stand there. So keys are kept in two levels (see
//! [`layout`](self::layout)). A shred writes the block that a key stood in anew, without it and under a
//! fresh key of the block's own; whatever is left of the block as it was is then under a key that is
//! gone. The keys of blocks are few. A shred writes the part of them anew that those of its blocks stand
//! in: what is kept goes into a fresh file and the old one is truncated. Other than `VACUUM FULL` this
//! doesn't depend on whether some old transaction could still see the deleted rows. All of a shred that
//! concerns one part is one transaction.
//!
//! A shred of one key costs the 2 KiB of its block and a 64th of the keys of blocks, which are half a
//! byte for each key of the vault: with fifty million keys some 400 KiB, within the server. The example
//! `vault_rate` measures it.
//!
//! When a shred returns, no table file holds the keys in a form that the master key opens.
//! **PostgreSQL's write-ahead log still does**, as it is the record of when they were made: in `pg_wal`
//! until its segments are used again (a few checkpoints later; with `wal_recycle = off` they are deleted
//! instead), and for as long as they are kept in an archive of WAL, in base backups from before, and on
//! standbys that lag. So does a file that a server which crashed in the middle of a shred left behind.
//! The port's promise reaches there only as far as the operator's own retention of archives and backups
//! does. What is in those copies is wrapped by the master key, which never stands in the database:
//! without it they open nothing, so keep it apart from them.

mod layout;
mod moving;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use hansard_domain::vault::{DataKey, KeyId, KeyVault, VaultError};
use sqlx::{Connection, PgConnection};

use self::layout::{Block, BlockId, NUMBERS, Root, RootId};
use super::master_key::{MasterKey, NotOpened, Purpose, Wrapping, random_key};
use super::sqlite::damaged;
use crate::postgres::{Database, advice, within};

/// How long a call may take, or shredding some blocks.
const STATEMENT: Duration = Duration::from_secs(5);

/// The blocks that are written anew in one transaction at most.
const AT_ONCE: usize = 512;

/// How often a block and its key are read that don't fit one another, as a shred came in between.
const READINGS: usize = 10;

/// See the module.
pub struct PostgresVault {
    database: Database,
    wrapping: Wrapping,
}

/// What is to be deleted, by the blocks it stands in.
type Doomed = BTreeMap<BlockId, BTreeSet<KeyId>>;

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
        wrapping
            .unwrap(&proof, Purpose::Check)
            .map_err(|NotOpened| VaultError::WrongMasterKey)?;
        moving::move_old_keys(connection.get().map_err(unavailable)?, database, &wrapping).await?;
        connection.give_back();
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
        let roots = (count as u64).div_ceil(NUMBERS);
        // By itself: numbers are given out once, whatever becomes of the rest.
        let last: i64 = sqlx::query_scalar(
            "UPDATE vault SET last_root = greatest(last_root, $1) + $2 RETURNING last_root",
        )
        .bind(RootId::of(above).0 as i64)
        .bind(roots as i64)
        .fetch_one(&mut *connection)
        .await
        .map_err(unavailable)?;
        let first = RootId(last as u64 + 1 - roots).first_key();
        let keys: Vec<_> = (first.0..)
            .map(|number| (KeyId(number), random_key()))
            .take(count)
            .collect();
        let made = Written::of(&keys, &self.wrapping).map_err(unwrappable)?;
        made.insert(connection).await.map_err(unavailable)?;
        Ok(keys)
    }

    /// The keys of these numbers that are there. Rows that don't fit one another are read again.
    async fn keys_on(
        &self,
        connection: &mut PgConnection,
        ids: &[KeyId],
    ) -> Result<HashMap<KeyId, DataKey>, sqlx::Error> {
        let mut wanted: BTreeMap<BlockId, Vec<KeyId>> = BTreeMap::new();
        for id in ids {
            wanted.entry(BlockId::of(*id)).or_default().push(*id);
        }
        let mut keys = HashMap::with_capacity(ids.len());
        for reading in 1..=READINGS {
            let unread: Vec<BlockId> = wanted.keys().copied().collect();
            let read = Read::from(connection, &unread, &self.wrapping).await?;
            for (id, block) in read.blocks {
                for id in wanted.remove(&id).unwrap_or_default() {
                    if let Some(key) = block.get(id) {
                        keys.insert(id, key.clone());
                    }
                }
            }
            let misfits = read.misfits;
            wanted.retain(|id, _| misfits.contains(id));
            if wanted.is_empty() {
                break;
            }
            if reading == READINGS {
                wanted.values().flatten().copied().for_each(damaged);
            }
        }
        Ok(keys)
    }

    /// Deletes keys of one part.
    async fn shred_on(
        &self,
        connection: &mut PgConnection,
        part: i16,
        doomed: &Doomed,
    ) -> Result<(), sqlx::Error> {
        let blocks: Vec<BlockId> = doomed.keys().copied().collect();
        // On all nodes but the first one there is nothing left to do.
        let read = Read::from(connection, &blocks, &self.wrapping).await?;
        if read.misfits.is_empty() && !read.has_any(doomed) {
            return Ok(());
        }
        let mut transaction = connection.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(self.database.lock(&format!("keys {part}")))
            .execute(&mut *transaction)
            .await?;
        let read = Read::from(&mut transaction, &blocks, &self.wrapping).await?;
        let written = read.without(doomed, &self.wrapping);
        let written =
            written.map_err(|NotOpened| sqlx::Error::Encode("a key can't be wrapped".into()))?;
        if !written.changed.is_empty() {
            written.replace(&mut transaction, part).await?;
        }
        transaction.commit().await
    }
}

/// Blocks as they stand in the tables, opened.
#[derive(Default)]
struct Read {
    roots: BTreeMap<RootId, Root>,
    blocks: BTreeMap<BlockId, Block>,
    /// Blocks that are there, and whose key is not, or does not open them.
    misfits: BTreeSet<BlockId>,
}

impl Read {
    async fn from(
        connection: &mut PgConnection,
        blocks: &[BlockId],
        master: &Wrapping,
    ) -> Result<Self, sqlx::Error> {
        let numbers: Vec<_> = blocks.iter().map(|block| block.0 as i64).collect();
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT block, sealed FROM key_blocks WHERE block = ANY ($1)")
                .bind(numbers)
                .fetch_all(&mut *connection)
                .await?;
        let roots: BTreeSet<RootId> = rows
            .iter()
            .map(|(block, _)| BlockId(*block as u64).root())
            .collect();
        let parts: BTreeSet<_> = roots.iter().map(|root| root.part()).collect();
        let roots: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT root, sealed FROM key_roots WHERE part = ANY ($1) AND root = ANY ($2)",
        )
        .bind(parts.into_iter().collect::<Vec<_>>())
        .bind(roots.iter().map(|root| root.0 as i64).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
        let mut read = Self::default();
        for (root, sealed) in roots {
            let id = RootId(root as u64);
            if let Ok(root) = Root::open(id, &sealed, master) {
                read.roots.insert(id, root);
            }
        }
        for (block, sealed) in rows {
            let id = BlockId(block as u64);
            let key = read.roots.get(&id.root()).and_then(|root| root.get(id));
            match key.map(|key| Block::open(id, &sealed, key)) {
                Some(Ok(block)) => drop(read.blocks.insert(id, block)),
                _ => drop(read.misfits.insert(id)),
            }
        }
        Ok(read)
    }

    fn has_any(&self, doomed: &Doomed) -> bool {
        self.blocks.iter().any(|(id, block)| {
            let doomed = doomed.get(id).into_iter().flatten();
            doomed.into_iter().any(|id| block.get(*id).is_some())
        })
    }

    /// What is to stand in the tables instead.
    fn without(mut self, doomed: &Doomed, master: &Wrapping) -> Result<Written, NotOpened> {
        let mut written = Written::default();
        let mut changed: BTreeSet<RootId> = BTreeSet::new();
        // What nothing opens is gone.
        let misfits = self.misfits.iter().filter_map(|id| doomed.get(id));
        misfits.flatten().copied().for_each(damaged);
        for (id, mut block) in self.blocks {
            let doomed = doomed.get(&id).into_iter().flatten();
            if doomed.filter(|id| block.remove(**id)).count() == 0 {
                continue;
            }
            let Some(root) = self.roots.get_mut(&id.root()) else {
                continue;
            };
            changed.insert(id.root());
            if block.is_empty() {
                root.remove(id);
                written.gone.push(id.0 as i64);
            } else {
                written.blocks.push((id, block.seal(&root.renew(id))?));
            }
        }
        for id in changed {
            written.changed.push(id.0 as i64);
            if let Some(root) = self.roots.get(&id).filter(|root| !root.is_empty()) {
                written.roots.push((id, root.seal(master)?));
            }
        }
        Ok(written)
    }
}

/// Rows on their way into the tables.
#[derive(Default)]
struct Written {
    blocks: Vec<(BlockId, Vec<u8>)>,
    roots: Vec<(RootId, Vec<u8>)>,
    /// Blocks that nothing is left of.
    gone: Vec<i64>,
    /// Roots that are not to stay as they are.
    changed: Vec<i64>,
}

impl Written {
    /// The rows of keys that are new, in the order of their numbers.
    fn of(keys: &[(KeyId, DataKey)], master: &Wrapping) -> Result<Self, NotOpened> {
        let mut written = Self::default();
        for keys in keys.chunk_by(|(one, _), (next, _)| RootId::of(*one) == RootId::of(*next)) {
            let Some((first, _)) = keys.first() else {
                continue;
            };
            let mut root = Root::empty(RootId::of(*first));
            for keys in keys.chunk_by(|(one, _), (next, _)| BlockId::of(*one) == BlockId::of(*next))
            {
                let Some((first, _)) = keys.first() else {
                    continue;
                };
                let id = BlockId::of(*first);
                let mut block = Block::empty(id);
                for (id, key) in keys {
                    block.put(*id, key.clone());
                }
                written.blocks.push((id, block.seal(&root.renew(id))?));
            }
            written.roots.push((RootId::of(*first), root.seal(master)?));
        }
        Ok(written)
    }

    async fn insert(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let (blocks, sealed): (Vec<i64>, Vec<Vec<u8>>) = self
            .blocks
            .into_iter()
            .map(|(id, sealed)| (id.0 as i64, sealed))
            .unzip();
        let mut transaction = connection.begin().await?;
        sqlx::query(
            "INSERT INTO key_blocks (block, sealed) SELECT * FROM unnest($1::bigint[], $2::bytea[])",
        )
        .bind(blocks)
        .bind(sealed)
        .execute(&mut *transaction)
        .await?;
        for (id, sealed) in self.roots {
            sqlx::query("INSERT INTO key_roots (part, root, sealed) VALUES ($1, $2, $3)")
                .bind(id.part())
                .bind(id.0 as i64)
                .bind(sealed)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }

    /// Puts rows of one part in the place of those that are there.
    async fn replace(self, connection: &mut PgConnection, part: i16) -> Result<(), sqlx::Error> {
        let (blocks, sealed): (Vec<i64>, Vec<Vec<u8>>) = self
            .blocks
            .into_iter()
            .map(|(id, sealed)| (id.0 as i64, sealed))
            .unzip();
        sqlx::query(
            "UPDATE key_blocks SET sealed = changed.sealed
             FROM unnest($1::bigint[], $2::bytea[]) AS changed (block, sealed)
             WHERE key_blocks.block = changed.block",
        )
        .bind(blocks)
        .bind(sealed)
        .execute(&mut *connection)
        .await?;
        if !self.gone.is_empty() {
            sqlx::query("DELETE FROM key_blocks WHERE block = ANY ($1)")
                .bind(self.gone)
                .execute(&mut *connection)
                .await?;
        }
        let (roots, sealed): (Vec<i64>, Vec<Vec<u8>>) = self
            .roots
            .into_iter()
            .map(|(id, sealed)| (id.0 as i64, sealed))
            .unzip();
        sqlx::query("SELECT rewrite_key_roots($1, $2, $3, $4)")
            .bind(part)
            .bind(self.changed)
            .bind(roots)
            .bind(sealed)
            .execute(connection)
            .await
            .map(drop)
    }
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
        let mut connection = self.database.borrow().await.map_err(unavailable)?;
        let asked = self.keys_on(connection.get().map_err(unavailable)?, ids);
        let keys = within(STATEMENT, asked)
            .await
            .and_then(|keys| keys)
            .map_err(unavailable)?;
        connection.give_back();
        Ok(keys)
    }

    async fn shred(&self, ids: &[KeyId]) -> Result<(), VaultError> {
        let mut parts: BTreeMap<i16, Doomed> = BTreeMap::new();
        for id in ids {
            let block = BlockId::of(*id);
            let part = parts.entry(block.root().part()).or_default();
            part.entry(block).or_default().insert(*id);
        }
        if parts.is_empty() {
            return Ok(());
        }
        let mut connection = self.database.borrow().await.map_err(unavailable)?;
        for (part, doomed) in parts {
            let doomed: Vec<_> = doomed.into_iter().collect();
            for some in doomed.chunks(AT_ONCE) {
                let some: Doomed = some.iter().cloned().collect();
                let connection = connection.get().map_err(unavailable)?;
                within(STATEMENT, self.shred_on(connection, part, &some))
                    .await
                    .and_then(|shredded| shredded)
                    .map_err(|error| {
                        let reason = advice(&error);
                        VaultError::Unavailable(format!("the keys are not deleted yet: {reason}"))
                    })?;
            }
        }
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
