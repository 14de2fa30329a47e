//! Which generation of each view serves.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, Connection, Executor, Row};
use tokio::sync::Mutex;

use crate::engine::{Engine, Namespace};
use crate::sql;
use crate::view::ViewError;

/// See the module. What it does not name is no view's and may be deleted.
pub struct Catalog {
    engine: Engine,
    /// `None` after an error: it may be the connection's. Held across awaits on purpose: changes
    /// come one at a time.
    connection: Mutex<Option<AnyConnection>>,
}

impl Catalog {
    /// Opens the catalog; one that can't be read is replaced by an empty one.
    pub async fn open(engine: &Engine) -> Result<Self, ViewError> {
        let connection = match connect(engine).await {
            Err(ViewError::Damaged(reason)) => {
                tracing::warn!(
                    reason,
                    "the catalog of the views is damaged; they are rebuilt"
                );
                engine.remove_catalog()?;
                connect(engine).await?
            }
            opened => opened?,
        };
        Ok(Self {
            engine: engine.clone(),
            connection: Mutex::new(Some(connection)),
        })
    }

    /// The serving generation of each view.
    pub async fn serving(&self) -> Result<BTreeMap<String, u64>, ViewError> {
        let mut held = self.connection.lock().await;
        let mut connection = self.take(&mut held).await?;
        let rows = sql::query("SELECT view, generation FROM serving")
            .fetch_all(&mut connection)
            .await?;
        *held = Some(connection);
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)? as u64)))
            .collect()
    }

    /// From now on this generation of the view serves.
    pub async fn serve(&self, namespace: &Namespace) -> Result<(), ViewError> {
        let mut held = self.connection.lock().await;
        let mut connection = self.take(&mut held).await?;
        let mut transaction = connection.begin().await?;
        self.engine.guard(&mut transaction).await?;
        sql::query(
            "INSERT INTO serving (view, generation) VALUES ($1, $2) \
             ON CONFLICT (view) DO UPDATE SET generation = excluded.generation",
        )
        .bind(namespace.view.as_str())
        .bind(namespace.generation as i64)
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        *held = Some(connection);
        Ok(())
    }

    async fn take(&self, held: &mut Option<AnyConnection>) -> Result<AnyConnection, ViewError> {
        match held.take() {
            Some(connection) => Ok(connection),
            None => self.engine.catalog().await,
        }
    }

    pub async fn close(self) -> Result<(), ViewError> {
        if let Some(connection) = self.connection.into_inner() {
            connection.close().await?;
        }
        Ok(())
    }
}

async fn connect(engine: &Engine) -> Result<AnyConnection, ViewError> {
    let mut connection = engine.catalog().await?;
    connection
        .execute(sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS serving (view text PRIMARY KEY, generation bigint NOT NULL)",
        ))
        .await?;
    Ok(connection)
}
