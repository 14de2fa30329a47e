//! A PostgreSQL server for tests: the one that `HANSARD_TEST_POSTGRES_URL` names, or else one that the
//! script in the crate of tests starts for this process. (That crate depends on this one, so its own
//! type for it can't be had here.)

use std::process::Command;
use std::sync::OnceLock;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/services/postgres.sh");

/// A URL for views whose schemas' names nobody else uses.
pub fn postgres_url() -> String {
    static SERVER: OnceLock<String> = OnceLock::new();
    let server = SERVER
        .get_or_init(|| std::env::var("HANSARD_TEST_POSTGRES_URL").unwrap_or_else(|_| start()));
    let separator = if server.contains('?') { '&' } else { '?' };
    let name = uuid::Uuid::now_v7().simple().to_string();
    format!("{server}{separator}schema=t{}", &name[16..])
}

/// The server ends with this process, and its directory with it.
fn start() -> String {
    let directory = tempfile::tempdir().unwrap().keep();
    script(&["start", directory.to_str().unwrap(), &process()])
}

fn process() -> String {
    std::process::id().to_string()
}

/// What the script prints.
pub fn script(arguments: &[&str]) -> String {
    let output = Command::new(SCRIPT)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {SCRIPT}: {error}"));
    assert!(
        output.status.success(),
        "{SCRIPT}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
