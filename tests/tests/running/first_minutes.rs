//! What somebody meets who starts a server for the first time.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hansard_tests::server::{Options, Server, command, eventually, files, http};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server that was started by hand, on a port of its own choice, with what it prints apart from what
/// it logs.
struct ByHand {
    process: Child,
    directory: TempDir,
}

impl ByHand {
    fn start(directory: TempDir, listen: &str, environment: &[(&str, &str)]) -> Self {
        let file = |name| File::create(directory.path().join(name)).unwrap();
        let process = command(&[])
            .args(["--listen", listen, "--data"])
            .arg(directory.path().join("data"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(file("printed"))
            .stderr(file("logged"))
            .spawn()
            .unwrap();
        Self { process, directory }
    }

    fn printed(&self) -> String {
        fs::read_to_string(self.directory.path().join("printed")).unwrap()
    }

    fn logged(&self) -> String {
        fs::read_to_string(self.directory.path().join("logged")).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What it printed, once it printed all of it.
    async fn greeting(&self) -> String {
        eventually("the server greets", async || {
            self.printed().ends_with("\n\n")
        })
        .await;
        self.printed()
    }

    /// The URL that it says it is reached at.
    async fn url(&self) -> String {
        let greeting = self.greeting().await;
        let url = greeting
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        url.unwrap_or_else(|| panic!("{greeting}")).to_owned()
    }

    /// Stops it, and gives back its directory.
    fn stop(mut self) -> TempDir {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert!(self.process.wait().unwrap().success(), "{}", self.logged());
        std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap())
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What follows a word in the greeting, up to the end of the line.
fn told(greeting: &str, name: &str) -> String {
    let mut lines = greeting
        .lines()
        .filter_map(|line| line.trim().strip_prefix(name));
    lines
        .next()
        .unwrap_or_else(|| panic!("no {name} in: {greeting}"))
        .trim()
        .to_owned()
}

async fn log_in(url: &str, user: &str, password: &str) -> reqwest::StatusCode {
    let body = json!({ "user": user, "password": password });
    let answer = http()
        .post(format!("{url}/api/v1/login"))
        .json(&body)
        .send()
        .await;
    answer.unwrap().status()
}

#[tokio::test]
async fn a_start_ends_with_where_to_go_on() {
    let server = ByHand::start(tempfile::tempdir().unwrap(), "127.0.0.1:0", &[]);
    let url = server.url().await;
    let ready = http().get(format!("{url}/ready")).send().await.unwrap();
    assert_eq!(ready.status(), 200, "it greets before it is ready");

    let greeting = server.greeting().await;
    assert!(greeting.lines().count() <= 12, "{greeting}");
    assert_eq!(told(&greeting, "First steps"), format!("{url}/"));
    assert_eq!(told(&greeting, "API"), format!("{url}/api-docs"));
    let data = server.data().canonicalize().unwrap();
    assert_eq!(told(&greeting, "Data"), data.display().to_string());
    assert!(told(&greeting, "Stop").ends_with(&format!("kill {}", server.process.id())));
    let password = told(&greeting, "Administrator");
    let password = password
        .strip_prefix("admin, with the one-time password ")
        .unwrap();
    assert_eq!(log_in(&url, "admin", password).await, 200);
    // The password is in no log.
    assert!(!server.logged().contains(password));

    let server = ByHand::start(server.stop(), "127.0.0.1:0", &[]);
    let greeting = server.greeting().await;
    assert!(!greeting.contains("password"), "{greeting}");
}

#[tokio::test]
async fn a_password_that_comes_too_late_is_not_ignored_in_silence() {
    let first = ByHand::start(tempfile::tempdir().unwrap(), "127.0.0.1:0", &[]);
    first.greeting().await;
    let directory = first.stop();

    let given = [
        ("ADMIN_USERNAME", "admin"),
        ("ADMIN_PASS", "parliament of owls"),
    ];
    let second = ByHand::start(directory, "127.0.0.1:0", &given);
    let url = second.url().await;
    assert_eq!(log_in(&url, "admin", "parliament of owls").await, 401);
    let greeting = second.greeting().await;
    let note = told(&greeting, "Note");
    assert!(note.contains("ADMIN_PASS is not read"), "{greeting}");
    assert!(greeting.contains("hansard passwd"), "{greeting}");
    assert!(!greeting.contains("parliament of owls"), "{greeting}");
    let directory = second.stop();

    let other = [
        ("ADMIN_USERNAME", "mary"),
        ("ADMIN_PASS", "parliament of owls"),
    ];
    let third = ByHand::start(directory, "127.0.0.1:0", &other);
    let note = told(&third.greeting().await, "Note");
    assert!(note.contains("no account 'mary'"), "{note}");
    third.stop();

    // Who has the right password need not be told.
    let fresh = tempfile::tempdir().unwrap();
    let fresh = ByHand::start(fresh, "127.0.0.1:0", &given);
    fresh.greeting().await;
    let again = ByHand::start(fresh.stop(), "127.0.0.1:0", &given);
    let greeting = again.greeting().await;
    assert!(!greeting.contains("Note"), "{greeting}");
}

#[tokio::test]
async fn a_name_can_be_listened_on() {
    let server = ByHand::start(tempfile::tempdir().unwrap(), "localhost:0", &[]);
    let url = server.url().await;
    assert!(url.starts_with("http://localhost:"), "{url}");
    let greeting = server.greeting().await;
    let listening = told(&greeting, "Listens on");
    for address in listening.split(" and ") {
        let health = http().get(format!("http://{address}/health")).send().await;
        assert_eq!(health.unwrap().status(), 200, "{address}");
    }
}

#[tokio::test]
async fn the_first_page_says_what_this_is_and_loads_nothing() {
    let server = Server::start_with(Options::default().setting("Site_Name", "Owls & <Co>")).await;
    let answer = server.http().get(server.url("/")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert!(header("content-type").starts_with("text/html"));
    let policy = header("content-security-policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    let page = answer.text().await.unwrap();
    assert!(page.contains("Owls &amp; &lt;Co&gt;"), "{page}");
    for link in ["/api-docs", "/api-docs/openapi.json", "/ready", "/api/info"] {
        assert!(page.contains(&format!("href=\"{link}\"")), "{link}");
        let there = server.http().get(server.url(link)).send().await.unwrap();
        assert!(there.status().is_success(), "{link}: {}", there.status());
    }
    for foreign in ["src=", "<link", "<script", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let other = server.http().post(server.url("/")).send().await.unwrap();
    assert_eq!(other.status(), 405);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Everything in a directory, and the directory itself, with its mode.
fn modes(directory: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = vec![(directory.to_owned(), mode(directory))];
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(modes(&entry.path()));
        } else {
            found.push((entry.path(), mode(&entry.path())));
        }
    }
    found
}

fn assert_private(directory: &Path) {
    for (path, mode) in modes(directory) {
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{}: {mode:04o}", path.display());
    }
}

#[tokio::test]
async fn what_the_server_makes_is_its_owner_s_alone() {
    let with_a_usual_umask = ["sh", "-c", r#"umask 022; exec "$@""#, "sh"];
    let mut server = Server::start_with(Options {
        through: with_a_usual_umask.map(str::to_owned).to_vec(),
        ..Options::default()
    })
    .await;
    let admin = server.admin().await;
    let attic = admin.channel("attic").await;
    admin.say(&attic, "for nobody else").await;
    let beside = |end: &str| {
        let files = files(&server.data()).into_iter();
        files
            .filter(|(path, _)| path.to_string_lossy().ends_with(end))
            .count()
    };
    assert!(
        beside("-wal") > 0 && beside("-shm") > 0,
        "SQLite has its files beside the databases"
    );
    assert_private(&server.data());

    server.stop().await;
    assert_private(&server.data());
    let exports = tempfile::tempdir().unwrap();
    let path = |name: &str| exports.path().join(name).display().to_string();
    for arguments in [
        vec!["export", "attic", "--output", &path("attic.jsonl")],
        vec![
            "replay",
            "messages",
            "--until",
            "2100-01-01",
            "--into",
            &path("then"),
        ],
    ] {
        let shell = r#"umask 022; exec "$@""#;
        let done = command(&["sh", "-c", shell, "sh"])
            .args(&arguments)
            .arg("--data")
            .arg(server.data())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    assert_eq!(mode(&exports.path().join("attic.jsonl")), 0o600);
    assert_private(&exports.path().join("then"));
}

#[tokio::test]
async fn a_directory_that_others_could_read_is_closed_and_told_of() {
    let mut server = Server::start().await;
    server.stop().await;
    let quiet = server.output();
    assert!(!quiet.contains("could be read by others"), "{quiet}");
    for (path, _) in modes(&server.data()) {
        let open = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(&path, Permissions::from_mode(open)).unwrap();
    }
    server.launch();
    server.ready().await;
    assert_private(&server.data());
    let said = server.output();
    assert!(
        said.contains("could be read by others (mode 0755)"),
        "{said}"
    );
    assert!(said.contains("\"mended\":"), "{said}");
    let admin = server.admin().await;
    let me: Value = admin.get("me").await.expect_ok();
    assert_eq!(me["username"], "admin");
}
