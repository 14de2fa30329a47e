//! The write side's small state as files: the snapshot, and the cursors of policies.

pub mod postgres;
pub mod snapshot;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use std::sync::Arc;

use async_trait::async_trait;
use hansard_commands::state::{StateError, StateStore};
use parking_lot::Mutex;

/// A directory with a file for each name. A file is replaced by renaming a whole one over it, so that
/// a crash leaves the old or the new.
#[derive(Debug, Clone)]
pub struct StateFiles {
    directory: PathBuf,
    /// Held while a file is replaced: two at once would write the same unfinished one.
    replacing: Arc<Mutex<()>>,
}

impl StateFiles {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            replacing: Arc::default(),
        }
    }
}

impl StateFiles {
    /// Deletes what a crash left unfinished: it may hold what has been erased since.
    async fn tidy(&self, name: &str) -> Result<(), StateError> {
        let (replacing, unfinished) = (self.replacing.clone(), unfinished(&self.directory, name));
        let deleted = tokio::task::spawn_blocking(move || {
            let _alone = replacing.lock();
            std::fs::remove_file(unfinished)
        });
        match deleted.await.unwrap_or_else(|error| Err(error.into())) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StateError {
                name: name.to_owned(),
                what: "tidied",
                reason: error.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl StateStore for StateFiles {
    async fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.tidy(name).await?;
        match tokio::fs::read(self.directory.join(name)).await {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError {
                name: name.to_owned(),
                what: "read",
                reason: error.to_string(),
            }),
        }
    }

    async fn save(&self, name: &str, content: Vec<u8>) -> Result<(), StateError> {
        let (directory, file) = (self.directory.clone(), name.to_owned());
        let replacing = self.replacing.clone();
        let written = tokio::task::spawn_blocking(move || {
            let _alone = replacing.lock();
            replace(&directory, &file, &content)
        });
        let failed = |reason: String| StateError {
            name: name.to_owned(),
            what: "written",
            reason,
        };
        written
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))
    }
}

fn unfinished(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.new"))
}

fn replace(directory: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let fresh = unfinished(directory, name);
    let mut file = File::create(&fresh)?;
    file.write_all(content)?;
    file.sync_data()?;
    std::fs::rename(&fresh, directory.join(name))?;
    // The old content must not come back with a power loss.
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_content_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let files = StateFiles::new(directory.path().join("state"));
        assert_eq!(files.load("cursor").await.unwrap(), None);
        files.save("cursor", b"1".to_vec()).await.unwrap();
        files.save("cursor", b"2".to_vec()).await.unwrap();
        assert_eq!(files.load("cursor").await.unwrap(), Some(b"2".to_vec()));
    }

    #[tokio::test]
    async fn what_a_crash_left_unfinished_is_deleted() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("snapshot.new"), "half").unwrap();
        let files = StateFiles::new(directory.path());
        assert_eq!(files.load("snapshot").await.unwrap(), None);
        assert!(!directory.path().join("snapshot.new").exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_saves_at_once_leaves_one_of_the_contents_whole() {
        let directory = tempfile::tempdir().unwrap();
        let files = StateFiles::new(directory.path());
        for _ in 0..50 {
            let contents = [vec![b'a'; 4_000], vec![b'b'; 40_000]];
            let saves = contents.clone().map(|content| {
                let files = files.clone();
                tokio::spawn(async move { files.save("snapshot", content).await })
            });
            for save in saves {
                save.await.unwrap().unwrap();
            }
            let loaded = files.load("snapshot").await.unwrap().unwrap();
            assert!(contents.contains(&loaded));
        }
    }
}
