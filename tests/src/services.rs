//! Servers of others that adapters are tested on; started by the scripts in `tests/services`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// A PostgreSQL server of this test's own. It ends when this is dropped, and with the process at the
/// latest.
pub struct Postgres {
    directory: TempDir,
    url: String,
}

impl Postgres {
    /// Starts a server with nothing in it.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("there is room for a directory");
        let watched = std::process::id().to_string();
        let url = script(&["start", path(directory.path()), &watched]);
        Self { directory, url }
    }

    /// The URL of its database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends it as an operator does.
    pub fn stop(&self) {
        script(&["stop", path(self.directory.path())]);
    }

    /// Ends it as a crash does.
    pub fn crash(&self) {
        script(&["stop", path(self.directory.path()), "immediate"]);
    }

    /// Starts it after it was ended, at the same URL.
    pub fn start_again(&self) {
        script(&["start", path(self.directory.path())]);
    }

    /// Lets it stand still: connections stay, but nobody answers.
    pub fn freeze(&self) {
        script(&["freeze", path(self.directory.path())]);
    }

    pub fn thaw(&self) {
        script(&["thaw", path(self.directory.path())]);
    }

    /// Where its files are.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may be stopped already; if it is not, the script's own watch ends it with the process.
        let _ = Command::new(SCRIPT)
            .args(["stop", path(self.directory.path()), "immediate"])
            .output();
    }
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services/postgres.sh");

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// What the script prints.
fn script(arguments: &[&str]) -> String {
    let output = Command::new(SCRIPT)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {SCRIPT}: {error}"));
    assert!(
        output.status.success(),
        "{SCRIPT} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The URL of a schema that nobody else uses, on the server that `HANSARD_TEST_POSTGRES_URL` names or
/// else on one that all tests of this process share.
pub fn postgres_url() -> String {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    let server = std::env::var("HANSARD_TEST_POSTGRES_URL")
        .unwrap_or_else(|_| SHARED.get_or_init(Postgres::start).url.clone());
    in_schema(&server, &format!("t{:016x}", rand::random::<u64>()))
}

/// The URL of a schema of a server.
pub fn in_schema(server: &str, schema: &str) -> String {
    let separator = if server.contains('?') { '&' } else { '?' };
    format!("{server}{separator}schema={schema}")
}
