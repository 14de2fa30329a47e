//! The write side's small state in a PostgreSQL table: what one node saves the others load.

use std::time::Duration;

use async_trait::async_trait;
use hansard_commands::state::{StateError, StateStore};

use crate::postgres::{Database, advice, within};

/// How long a state may take on its way.
const LIMIT: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Clone)]
pub struct PostgresState {
    database: Database,
}

impl PostgresState {
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
        }
    }

    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, sqlx::Error> {
        let mut connection = self.database.borrow().await?;
        let query = sqlx::query_scalar("SELECT content FROM state WHERE name = $1").bind(name);
        let content = within(LIMIT, query.fetch_optional(connection.get()?)).await??;
        connection.give_back();
        Ok(content)
    }

    async fn write(&self, name: &str, content: Vec<u8>) -> Result<(), sqlx::Error> {
        let mut connection = self.database.borrow().await?;
        let query = sqlx::query(
            "INSERT INTO state (name, content) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET content = excluded.content",
        );
        let query = query.bind(name).bind(content);
        within(LIMIT, query.execute(connection.get()?)).await??;
        connection.give_back();
        Ok(())
    }
}

#[async_trait]
impl StateStore for PostgresState {
    async fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.read(name).await.map_err(|error| StateError {
            name: name.to_owned(),
            what: "read",
            reason: advice(&error),
        })
    }

    async fn save(&self, name: &str, content: Vec<u8>) -> Result<(), StateError> {
        self.write(name, content).await.map_err(|error| StateError {
            name: name.to_owned(),
            what: "written",
            reason: advice(&error),
        })
    }
}
