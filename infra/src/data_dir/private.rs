//! Takes from everybody but its owner what an older version, or a copy, let them read.

use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What others than the owner may do.
const OTHERS: u32 = 0o077;

/// The directory of files is looked through only if it was open to others itself: there may be
/// millions of them.
const FILES: &str = "blobs";

/// What came of looking.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// How many could be read by others and can no longer.
    mended: usize,
    /// The first one of those that still can, and why.
    open: Option<(PathBuf, String)>,
}

/// Closes a data directory and everything in it to others, and says in the log what was open.
pub fn close(directory: &Path) {
    let mut found = Found::default();
    let was = fs::metadata(directory).map_or(0, |data| mode(&data));
    found.close(directory);
    found.close_below(directory, true);
    let directory = directory.display();
    if was & OTHERS != 0 {
        tracing::warn!(
            "the data directory {directory} could be read by others (mode {was:04o}): everybody with \
             an account on this machine may have read what is in it"
        );
    }
    if found.mended > 0 {
        tracing::warn!(
            mended = found.mended,
            "files and directories in {directory} could be read by others; they are their owner's \
             alone now (0700, 0600)"
        );
    }
    if let Some((path, reason)) = found.open {
        tracing::warn!(
            "{} can be read by others, and this user may not change that ({reason}): \
             chmod -R go= {directory}",
            path.display()
        );
    }
}

fn mode(data: &Metadata) -> u32 {
    data.permissions().mode() & 0o7777
}

impl Found {
    /// Closes one file or directory; tells whether it was open.
    fn close(&mut self, path: &Path) -> bool {
        let Ok(data) = fs::metadata(path) else {
            // It went away meanwhile, or is a link to nothing.
            return false;
        };
        let was = mode(&data);
        if was & OTHERS == 0 {
            return false;
        }
        let closed = fs::set_permissions(path, Permissions::from_mode(was & !OTHERS));
        // Some file systems have one mode for everything and take every change without an error.
        let still_open = fs::metadata(path).is_ok_and(|data| mode(&data) & OTHERS != 0);
        match closed {
            Err(error) => self.still_open(path, error.to_string()),
            Ok(()) if still_open => self.still_open(path, "the file system keeps no modes".into()),
            Ok(()) => self.mended += 1,
        }
        true
    }

    fn still_open(&mut self, path: &Path, reason: String) {
        self.open.get_or_insert_with(|| (path.to_owned(), reason));
    }

    /// Closes what is in a directory. Links are followed where they stand in the data directory
    /// itself, as an operator may have put the views on another disk; not below.
    fn close_below(&mut self, directory: &Path, top: bool) {
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_symlink() && !top {
                continue;
            }
            let path = entry.path();
            let was_open = self.close(&path);
            let many = top && entry.file_name() == FILES;
            if path.is_dir() && (was_open || !many) {
                self.close_below(&path, false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_open_is_closed_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("views/deep")).unwrap();
        fs::create_dir_all(path("blobs/a")).unwrap();
        let links = [
            (elsewhere.path().join("state"), path("state")),
            (elsewhere.path().join("kept"), path("views/kept")),
        ];
        for (target, link) in &links {
            fs::write(target, "").unwrap();
            std::os::unix::fs::symlink(target, link).unwrap();
        }
        for (name, wanted) in [
            ("log.db", 0o644),
            ("master.key", 0o600),
            ("views/deep/rows.db-wal", 0o666),
            ("blobs/a/file", 0o640),
        ] {
            fs::write(path(name), "").unwrap();
            fs::set_permissions(path(name), Permissions::from_mode(wanted)).unwrap();
        }
        for (name, wanted) in [
            ("", 0o755),
            ("views", 0o2775),
            ("views/deep", 0o700),
            ("blobs", 0o700),
            ("blobs/a", 0o755),
            ("state", 0o644),
            ("views/kept", 0o644),
        ] {
            fs::set_permissions(path(name), Permissions::from_mode(wanted)).unwrap();
        }

        let mut found = Found::default();
        found.close(directory.path());
        found.close_below(directory.path(), true);
        assert_eq!(
            found,
            Found {
                mended: 5,
                open: None
            }
        );
        for (name, wanted) in [
            ("", 0o700),
            ("log.db", 0o600),
            ("master.key", 0o600),
            ("state", 0o600),
            ("views", 0o2700),
            ("views/deep/rows.db-wal", 0o600),
            ("views/kept", 0o644),
            // Nobody gets past the directory that it is in.
            ("blobs/a/file", 0o640),
        ] {
            assert_eq!(mode(&fs::metadata(path(name)).unwrap()), wanted, "{name}");
        }
    }
}
