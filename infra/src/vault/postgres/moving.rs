//! Moves keys out of the table that earlier versions kept them in, a row each.

use hansard_domain::vault::{DataKey, KeyId, VaultError};
use sqlx::{Connection, PgConnection};

use super::layout::{NUMBERS, RootId};
use super::{STATEMENT, Written, unavailable, unwrappable};
use crate::postgres::{Database, within};
use crate::vault::master_key::{NotOpened, Purpose, Wrapping};
use crate::vault::sqlite::damaged;

/// Moves them root by root, each in a transaction, and deletes the table at the end. Nodes may do so at
/// the same time, and go on where another one died.
pub(super) async fn move_old_keys(
    connection: &mut PgConnection,
    database: &Database,
    wrapping: &Wrapping,
) -> Result<(), VaultError> {
    let mut from = KeyId(0);
    loop {
        let moving = move_some(connection, database, wrapping, from);
        match within(STATEMENT, moving).await.map_err(unavailable)?? {
            Some(next) => {
                if from == KeyId(0) {
                    tracing::info!("moving the keys of the vault to where this version keeps them");
                }
                from = next;
            }
            None => return Ok(()),
        }
    }
}

/// Moves the first keys from a number on, and tells where to go on; `None` when all are moved.
async fn move_some(
    connection: &mut PgConnection,
    database: &Database,
    wrapping: &Wrapping,
    from: KeyId,
) -> Result<Option<KeyId>, VaultError> {
    let mut transaction = connection.begin().await.map_err(unavailable)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(database.lock("moving keys"))
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('keys') IS NOT NULL")
        .fetch_one(&mut *transaction)
        .await
        .map_err(unavailable)?;
    if !is_there {
        return Ok(None);
    }
    let first: Option<i64> = sqlx::query_scalar("SELECT min(id) FROM keys WHERE id >= $1")
        .bind(from.0 as i64)
        .fetch_one(&mut *transaction)
        .await
        .map_err(unavailable)?;
    let Some(first) = first else {
        sqlx::raw_sql("DROP TABLE keys; DROP SEQUENCE key_numbers")
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
        return Ok(None);
    };
    let first = RootId::of(KeyId(first as u64)).first_key();
    let next = KeyId(first.0 + NUMBERS);
    let rows: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("DELETE FROM keys WHERE id >= $1 AND id < $2 RETURNING id, wrapped")
            .bind(first.0 as i64)
            .bind(next.0 as i64)
            .fetch_all(&mut *transaction)
            .await
            .map_err(unavailable)?;
    let mut keys: Vec<(KeyId, DataKey)> = Vec::with_capacity(rows.len());
    for (id, wrapped) in rows {
        let id = KeyId(id as u64);
        match wrapping.unwrap(&wrapped, Purpose::Data(id)) {
            Ok(key) => keys.push((id, key)),
            Err(NotOpened) => damaged(id),
        }
    }
    keys.sort_unstable_by_key(|(id, _)| *id);
    let moved = Written::of(&keys, wrapping).map_err(unwrappable)?;
    moved.insert(&mut transaction).await.map_err(unavailable)?;
    transaction.commit().await.map_err(unavailable)?;
    Ok(Some(next))
}
