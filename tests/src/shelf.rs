//! What the write side keeps beside the log, in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use hansard_commands::state::{Records, SnapshotStore, StateError, StateStore};
use parking_lot::Mutex;

/// Cursors of policies, and a snapshot.
#[derive(Default)]
pub struct Shelf {
    files: Mutex<HashMap<String, Vec<u8>>>,
    records: Mutex<BTreeMap<u64, Vec<u8>>>,
    /// The numbers of the records that each save wrote.
    saves: Mutex<Vec<Vec<u64>>>,
}

impl Shelf {
    /// The records of the snapshot.
    pub fn snapshot(&self) -> BTreeMap<u64, Vec<u8>> {
        self.records.lock().clone()
    }

    pub fn set_snapshot(&self, records: BTreeMap<u64, Vec<u8>>) {
        *self.records.lock() = records;
    }

    /// The numbers of the records that each save wrote.
    pub fn saves(&self) -> Vec<Vec<u64>> {
        self.saves.lock().clone()
    }
}

#[async_trait]
impl StateStore for Shelf {
    async fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.files.lock().get(name).cloned())
    }

    async fn save(&self, name: &str, content: Vec<u8>) -> Result<(), StateError> {
        self.files.lock().insert(name.to_owned(), content);
        Ok(())
    }
}

#[async_trait]
impl SnapshotStore for Shelf {
    async fn record(&self, number: u64) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.records.lock().get(&number).cloned())
    }

    fn records(&self, numbers: Range<u64>) -> BoxStream<'static, Result<Records, StateError>> {
        let records = self.records.lock();
        let found = records.range(numbers);
        let found: Records = found
            .map(|(number, content)| (*number, content.clone()))
            .collect();
        // As a file does, some at a time.
        let pages: Vec<_> = found.chunks(3).map(|page| Ok(page.to_vec())).collect();
        stream::iter(pages).boxed()
    }

    async fn replace(
        &self,
        anew: bool,
        records: BoxStream<'static, Result<Records, StateError>>,
    ) -> Result<(), StateError> {
        let written: Vec<Records> = records.try_collect().await?;
        let mut records = self.records.lock();
        if anew {
            records.clear();
        }
        let written = written.concat();
        self.saves
            .lock()
            .push(written.iter().map(|(number, _)| *number).collect());
        records.extend(written);
        Ok(())
    }
}
