//! The adapters that need nothing but this machine, against the suites that all adapters run.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::log::EventLog;
use hansard_domain::vault::KeyVault;
use hansard_infra::log::memory::MemoryLog;
use hansard_infra::log::sqlite::SqliteLog;
use hansard_infra::vault::master_key::MasterKey;
use hansard_infra::vault::memory::MemoryVault;
use hansard_infra::vault::sqlite::SqliteVault;
use hansard_tests::conformance::log::{LogFactory, LogUnderTest};
use hansard_tests::conformance::vault::VaultUnderTest;
use hansard_tests::conformance::{log, vault};
use tempfile::TempDir;

struct Sqlite;

struct SqliteUnderTest {
    directory: TempDir,
    log: Arc<SqliteLog>,
}

impl SqliteUnderTest {
    fn path(&self) -> PathBuf {
        self.directory.path().join("log.db")
    }
}

#[async_trait]
impl LogFactory for Sqlite {
    async fn create(&self) -> Box<dyn LogUnderTest> {
        let directory = tempfile::tempdir().unwrap();
        let log = Arc::new(
            SqliteLog::open(directory.path().join("log.db"))
                .await
                .unwrap(),
        );
        Box::new(SqliteUnderTest { directory, log })
    }
}

#[async_trait]
impl LogUnderTest for SqliteUnderTest {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    async fn reopen(&mut self) {
        self.log.close().await;
        self.log = Arc::new(SqliteLog::open(self.path()).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_promises_of_the_log() {
    log::run(&Sqlite).await;
}

struct Memory;

struct MemoryUnderTest(MemoryLog);

#[async_trait]
impl LogFactory for Memory {
    async fn create(&self) -> Box<dyn LogUnderTest> {
        Box::new(MemoryUnderTest(MemoryLog::new()))
    }
}

#[async_trait]
impl LogUnderTest for MemoryUnderTest {
    fn log(&self) -> Arc<dyn EventLog> {
        Arc::new(self.0.clone())
    }

    async fn reopen(&mut self) {
        self.0 = self.0.clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_promises_of_the_log() {
    log::run(&Memory).await;
}

struct SqliteVaultUnderTest {
    directory: TempDir,
    master: MasterKey,
    vault: Option<Arc<SqliteVault>>,
}

#[async_trait]
impl VaultUnderTest for SqliteVaultUnderTest {
    fn vault(&self) -> Arc<dyn KeyVault> {
        self.vault.clone().unwrap()
    }

    async fn reopen(&mut self) {
        if let Some(vault) = self.vault.take() {
            vault.close().await;
        }
        let path = self.directory.path().join("vault.db");
        self.vault = Some(Arc::new(
            SqliteVault::open(path, self.master.clone()).await.unwrap(),
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_promises_of_the_vault() {
    let directory = tempfile::tempdir().unwrap();
    let master = MasterKey::random();
    let mut under_test = SqliteVaultUnderTest {
        directory,
        master,
        vault: None,
    };
    under_test.reopen().await;
    vault::run(&mut under_test).await;
}

struct MemoryVaultUnderTest(MemoryVault);

#[async_trait]
impl VaultUnderTest for MemoryVaultUnderTest {
    fn vault(&self) -> Arc<dyn KeyVault> {
        Arc::new(self.0.clone())
    }

    async fn reopen(&mut self) {
        self.0 = self.0.clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_promises_of_the_vault() {
    vault::run(&mut MemoryVaultUnderTest(MemoryVault::new())).await;
}
