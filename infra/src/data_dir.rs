//! The data directory: where everything of one server lies, and the lock that keeps a second one
//! out.
//!
//! The lock is the operating system's and goes with the process, however it ends; the number that
//! stands in the file only tells whom to look for.
//!
//! The views hold in the clear what the log holds sealed, so the directory is its owner's alone: 0700,
//! and 0600 for files. What the process makes is so by its umask; what was made otherwise, by an older
//! version or by a copy, is [mended](private) when the directory is opened.

mod private;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::plain;

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error(
        "cannot create the data directory {path}: {}; name another one with --data",
        plain::io(source), path = path.display()
    )]
    NotCreated { path: PathBuf, source: io::Error },
    #[error("the data directory {path} is a file; name a directory with --data", path = path.display())]
    File { path: PathBuf },
    #[error(
        "the data directory {path} is not writable: {}; give it to the user that the server runs \
         as, or name another one with --data",
        plain::io(source), path = path.display()
    )]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("no room for the data directory {path}: {}", plain::io(source), path = path.display())]
    Full { path: PathBuf, source: io::Error },
    #[error(
        "the data directory {path} is already in use by {owner}; stop it, or name another directory \
         with --data",
        path = path.display()
    )]
    InUse { path: PathBuf, owner: String },
}

impl DataDirError {
    fn of_writing(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full { path, source },
            _ => Self::NotWritable { path, source },
        }
    }
}

/// A directory that this process, and no other, uses until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if it is missing, checks that it can be written, locks it, and closes it
    /// to others than its owner.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataDirError> {
        let path = path.as_ref().to_path_buf();
        fs::create_dir_all(&path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => DataDirError::File { path: path.clone() },
            _ => DataDirError::NotCreated {
                path: path.clone(),
                source,
            },
        })?;
        let not_writable = |source| DataDirError::of_writing(&path, source);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = lock.read_to_string(&mut pid);
                let owner = match (read, pid.trim().parse::<u32>()) {
                    (Ok(_), Ok(pid)) => format!("process {pid}"),
                    _ => "another process".to_owned(),
                };
                return Err(DataDirError::InUse { path, owner });
            }
            Err(TryLockError::Error(source)) => return Err(not_writable(source)),
        }
        lock.set_len(0).map_err(not_writable)?;
        lock.rewind().map_err(not_writable)?;
        writeln!(lock, "{}", std::process::id()).map_err(not_writable)?;
        fs::create_dir_all(path.join("blobs")).map_err(not_writable)?;
        private::close(&path);
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The events.
    pub fn log(&self) -> PathBuf {
        Self::log_in(&self.path)
    }

    /// Where the events of a data directory are, whether it is one or not.
    pub fn log_in(path: &Path) -> PathBuf {
        path.join("log.db")
    }

    /// The data keys. Kept out of backups of the log, it is what makes erasing final.
    pub fn vault(&self) -> PathBuf {
        self.path.join("vault.db")
    }

    /// The key that wraps the data keys, unless it is given otherwise.
    pub fn master_key(&self) -> PathBuf {
        self.path.join("master.key")
    }

    /// The directory of the views, a file for each; can be deleted.
    pub fn views(&self) -> PathBuf {
        self.path.join("views")
    }

    /// The directory of the write model's snapshot and the policies' cursors; can be deleted.
    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// The directory of uploaded files.
    pub fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_user_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("not/yet/there");
        let first = DataDir::open(&path).unwrap();
        let refused = DataDir::open(&path).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_path_that_cannot_be_a_directory_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = DataDir::open(file.join("data")).unwrap_err().to_string();
        assert!(refused.contains("file/data"), "{refused}");
    }
}
