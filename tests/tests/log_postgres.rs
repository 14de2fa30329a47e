//! The adapters on PostgreSQL, against the suites that all adapters run, and what is theirs alone:
//! several nodes that write one log, and a server that goes away.

use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::log::EventLog;
use hansard_infra::log::postgres::PostgresLog;
use hansard_infra::postgres::Database;
use hansard_tests::conformance::log;
use hansard_tests::conformance::log::{LogFactory, LogUnderTest};
use hansard_tests::services::postgres_url;

/// Logs in schemas of their own.
struct Schemas {
    options: &'static str,
}

struct SchemaUnderTest {
    url: String,
    database: Database,
    log: Arc<PostgresLog>,
}

impl SchemaUnderTest {
    async fn open(url: String) -> Self {
        let database = Database::open(&url).await.unwrap();
        let log = Arc::new(PostgresLog::open(&database).await.unwrap());
        Self { url, database, log }
    }
}

#[async_trait]
impl LogFactory for Schemas {
    async fn create(&self) -> Box<dyn LogUnderTest> {
        let url = format!("{}{}", postgres_url(), self.options);
        Box::new(SchemaUnderTest::open(url).await)
    }
}

#[async_trait]
impl LogUnderTest for SchemaUnderTest {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    async fn reopen(&mut self) {
        self.log.close().await;
        self.database.close().await;
        *self = Self::open(self.url.clone()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_promises_of_the_log() {
    log::run(&Schemas { options: "" }).await;
}
