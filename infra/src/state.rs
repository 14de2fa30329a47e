//! The write side's small state as files: the snapshot, the cursors of policies.

pub mod postgres;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use hansard_commands::state::{StateError, StateStore};

/// A directory with a file for each name. A file is replaced by renaming a whole one over it, so that
/// a crash leaves the old or the new.
#[derive(Debug, Clone)]
pub struct StateFiles {
    directory: PathBuf,
}

impl StateFiles {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }
}

#[async_trait]
impl StateStore for StateFiles {
    async fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
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
        let written = tokio::task::spawn_blocking(move || replace(&directory, &file, &content));
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

fn replace(directory: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let fresh = directory.join(format!("{name}.new"));
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(content)?;
    file.sync_data()?;
    std::fs::rename(&fresh, directory.join(name))
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
}
