//! Starts that can't work: each is told in a line or two what failed, where, and what to do, and leaves
//! nothing behind.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use hansard_tests::server::{Options, Server, command};
use sqlx::{ConnectOptions, Connection};

/// What nobody is to read: dumps of types, numbers of the system, passwords.
const NEVER: [&str; 12] = [
    "os error",
    "Error:",
    "Custom {",
    "Os {",
    "MetadataMap",
    "panicked",
    "usize",
    "default.",
    "(code: ",
    "Some(",
    "hush",
    "\\n",
];

/// How a start ended.
struct Refused {
    code: i32,
    /// What it said of itself, without the lines of the log.
    said: String,
    logged: String,
}

/// Starts a server that must refuse to. No variable of the tests' own reaches it.
fn start(data: &Path, through: &[&str], arguments: &[&str], variables: &[(&str, &str)]) -> Refused {
    // Whoever starts after all is ended.
    let timeout = ["timeout", "--signal", "KILL", "60"];
    let mut command = command(&[&timeout[..], through].concat());
    command.arg("--data").arg(data);
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    let directory = tempfile::tempdir().unwrap();
    let done = command
        .args(arguments)
        .current_dir(directory.path())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let all = String::from_utf8(done.stderr).unwrap();
    let (logged, said): (Vec<_>, Vec<_>) = all.lines().partition(|line| line.starts_with('{'));
    let printed = String::from_utf8(done.stdout).unwrap();
    assert_eq!(printed, "", "nothing is printed by a start that fails");
    Refused {
        code: done.status.code().unwrap_or(-1),
        said: said.join("\n"),
        logged: logged.join("\n"),
    }
}

impl Refused {
    /// Checks what was said: all of these words, in a line or two that nobody has to decipher.
    fn says(&self, words: &[&str]) {
        let Self { code, said, logged } = self;
        assert!(matches!(code, 1 | 2), "{code}: {said}");
        assert!(said.starts_with("hansard: "), "{said}\n{logged}");
        assert!(said.lines().count() <= 2 && said.len() < 400, "{said}");
        for word in words {
            assert!(said.contains(word), "'{word}' is not in: {said}");
        }
        for word in NEVER {
            assert!(
                !said.contains(word) && !logged.contains(word),
                "'{word}': {said}\n{logged}"
            );
        }
        assert!(!logged.contains("\"level\":\"ERROR\""), "{logged}");
    }
}

/// Arguments, variables of the environment, and words that the refusal has.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn wrong_settings_are_refused_before_anything_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = gone.local_addr().unwrap().port();
    drop(gone);
    // Takes connections and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = mute.local_addr().unwrap();
    let postgres = format!("postgres://owl:hush@127.0.0.1:{port}/chat?sslmode=disable");
    let silent = format!("postgres://owl:hush@{mute}/chat?sslmode=disable");
    let kafka = format!("kafka://127.0.0.1:{port}/chat?sasl.password=hush");
    let esdb = format!("esdb://owl:hush@127.0.0.1:{port}/chat?tls=false");
    let refused = format!("127.0.0.1:{port} (connection refused)");
    let secret = ("HANSARD_CLUSTER_SECRET", "a secret that is long enough");
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short");
    fs::write(&short, "hush").unwrap();
    let short = short.to_str().unwrap();

    let cases: &[Case] = &[
        // Addresses.
        (
            &["--listen", &taken],
            &[],
            &[&taken, "--listen", "in use already", "choose another port"],
        ),
        (
            &["--listen", "localhost"],
            &[],
            &["--listen is 'localhost'", "localhost:3000"],
        ),
        (
            &["--listen", "no-such-host.invalid:1"],
            &[],
            &["no-such-host.invalid:1", "can't be resolved"],
        ),
        (
            &["--listen", "192.0.2.1:3000"],
            &[],
            &["192.0.2.1:3000", "an address of this machine"],
        ),
        // Values.
        (
            &["--workers", "0"],
            &[],
            &["--workers is '0'", "from 1 to 1024"],
        ),
        (
            &[],
            &[("HANSARD_WORKERS", "many")],
            &["HANSARD_WORKERS is 'many'", "from 1 to 1024"],
        ),
        (
            &["--body-limit", "10MB"],
            &[],
            &["--body-limit is '10MB'", "whole number"],
        ),
        (
            &["--request-timeout", "0"],
            &[],
            &["--request-timeout is '0'", "from 1 to"],
        ),
        (
            &["--log-format", "xml"],
            &[],
            &["--log-format is 'xml'", "auto, text or json"],
        ),
        (
            &["--log-level", "a=b=c"],
            &[],
            &["--log-level is 'a=b=c'", "error, warn"],
        ),
        (
            &["--advertise", "10.0.0.7:3000"],
            &[],
            &["--advertise is '10.0.0.7:3000'", "http://"],
        ),
        (
            &["--config", "none.toml"],
            &[],
            &["none.toml", "--config", "no such file"],
        ),
        (
            &[],
            &[("HANSARD_CONFIG", "none.toml")],
            &["none.toml", "HANSARD_CONFIG"],
        ),
        (
            &[],
            &[("HANSARD_MASTER_KEY", "hush")],
            &["HANSARD_MASTER_KEY", "64 hexadecimal characters"],
        ),
        (
            &[],
            &[("OVERWRITE_SETTING_API_User_Limit", "many")],
            &["OVERWRITE_SETTING_API_User_Limit", "a whole number"],
        ),
        (
            &[],
            &[("OVERWRITE_SETTING_Colour", "red")],
            &["OVERWRITE_SETTING_Colour", "no such setting"],
        ),
        // Stores.
        (
            &["--log", "mysql://owl:hush@db/chat"],
            &[],
            &["--log is 'mysql://owl@db/chat'", "it takes sqlite"],
        ),
        (
            &["--views", "kafka://db/chat"],
            &[],
            &["--views is 'kafka://db/chat'", "sqlite or postgres://"],
        ),
        (
            &["--log", "postgres://owl:hush@db:port/chat"],
            &[],
            &["--log is", "postgres://user:password@host"],
        ),
        (
            &["--log", "kafka://owl:hush@db"],
            &[],
            &["--log is", "kafka://broker1,broker2/topic"],
        ),
        (
            &["--log", "esdb://owl:hush@db/$all"],
            &[],
            &["--log is", "esdb://user:password@host"],
        ),
        (
            &["--log", &postgres],
            &[],
            &[
                "the log in",
                &format!("postgres://owl@127.0.0.1:{port}/chat (--log)"),
                "connection refused",
                "check that PostgreSQL runs",
            ],
        ),
        (
            &[],
            &[("HANSARD_VIEWS", &postgres)],
            &[
                "the views in",
                &format!("postgres://owl@127.0.0.1:{port}/chat (HANSARD_VIEWS)"),
                "connection refused",
            ],
        ),
        (
            &["--views", &silent],
            &[],
            &[
                "the views in",
                "no answer within 3 s",
                "check that PostgreSQL runs",
            ],
        ),
        (
            &["--log", &kafka],
            &[secret],
            &[
                &format!("kafka://127.0.0.1:{port}/chat (--log)"),
                &refused,
                "check the addresses",
            ],
        ),
        (
            &["--log", &kafka],
            &[],
            &["--cluster-secret-file or HANSARD_CLUSTER_SECRET"],
        ),
        (
            &["--log", &kafka, "--cluster-secret-file", short],
            &[],
            &["--cluster-secret-file", "too short"],
        ),
        (
            &["--log", &kafka, "--cluster-secret-file", "none"],
            &[],
            &["none", "no such file"],
        ),
        (
            &["--log", &esdb],
            &[],
            &[
                &format!("esdb://owl@127.0.0.1:{port}/chat (--log)"),
                &refused,
                "check the address",
            ],
        ),
    ];
    for (arguments, variables, words) in cases {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("data");
        start(&data, &[], arguments, variables).says(words);
        assert!(
            !data.exists(),
            "{arguments:?} {variables:?} left a data directory"
        );
    }
}

#[test]
fn a_wrong_file_is_told_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hansard.toml");
    let name = file.to_str().unwrap();
    for (content, words) in [
        (
            "lissten = \"127.0.0.1:1\"\n",
            ["there is no setting 'lissten'", "is 'listen' meant?"],
        ),
        ("workers = \"many\"\n", ["workers in", "from 1 to 1024"]),
        ("data = \"data\"\nworkers = \n", ["line 2", "not TOML"]),
        ("workers = true\n", ["workers in", "of the type boolean"]),
        (
            "log = \"mysql://owl:hush@db/chat\"\n",
            ["log in", "'mysql://owl@db/chat'"],
        ),
    ] {
        fs::write(&file, content).unwrap();
        let data = folder.path().join("data");
        let refused = start(&data, &[], &["--config", name], &[]);
        refused.says(&words);
        refused.says(&[name]);
        assert!(!data.exists(), "{content}");
    }
}

#[test]
fn a_data_directory_that_can_t_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let name = file.to_str().unwrap();
    start(&file, &[], &[], &[]).says(&[name, "is a file", "--data"]);
    start(&file.join("data"), &[], &[], &[]).says(&[
        name,
        "cannot create the data directory",
        "--data",
    ]);
    // Not even root makes files there.
    start(Path::new("/sys"), &[], &[], &[]).says(&[
        "/sys is not writable",
        "permission denied",
        "--data",
    ]);
}

#[test]
fn a_disk_without_room_is_told() {
    // A limit on the size of files plays the full disk. The first write beyond it would end the process,
    // which no disk does.
    let limited = |blocks: &str| format!(r#"trap "" XFSZ; ulimit -f {blocks}; exec "$@""#);
    for blocks in ["0", "1", "8", "16"] {
        let folder = tempfile::tempdir().unwrap();
        let shell = limited(blocks);
        let refused = start(
            &folder.path().join("data"),
            &["sh", "-c", &shell, "sh"],
            &[],
            &[],
        );
        refused.says(&[]);
        let told = ["no room", "the disk is full", "check that it has room"];
        assert!(
            told.iter().any(|word| refused.said.contains(word)),
            "{blocks}: {}",
            refused.said
        );
    }
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_told_who_is_there() {
    let server = Server::start().await;
    let owner = format!("in use by process {}", server.pid());
    start(&server.data(), &[], &[], &[]).says(&[&owner, "--data"]);
    for (command, instead) in [
        (["passwd", "admin"], "users.update"),
        (["replay", "messages"], "/api/hansard/v1/views/"),
        (["export", "GENERAL"], "stop it"),
    ] {
        let done = server.hansard(&command);
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success(), "{command:?}");
        assert!(
            said.contains(&format!("process {}", server.pid())),
            "{said}"
        );
        assert!(said.contains(instead), "{said}");
    }
}

#[tokio::test]
async fn a_wrong_or_lost_master_key_opens_nothing() {
    let mut server = Server::start().await;
    server.stop().await;
    let data = server.data();
    let wrong = [("HANSARD_MASTER_KEY", "5a".repeat(32))];
    let wrong = wrong.each_ref().map(|(name, key)| (*name, key.as_str()));
    let refused = start(&data, &[], &[], &wrong);
    refused.says(&["HANSARD_MASTER_KEY", "does not open the keys", "vault.db"]);
    assert!(!refused.said.contains("5a5a"));

    let key = data.join("master.key");
    let kept = fs::read(&key).unwrap();
    fs::write(&key, "not a key").unwrap();
    start(&data, &[], &[], &[]).says(&["master.key", "64 hexadecimal characters"]);
    fs::write(&key, "5a".repeat(32)).unwrap();
    start(&data, &[], &[], &[]).says(&["master.key", "does not open the keys", "vault.db"]);
    fs::remove_file(&key).unwrap();
    start(&data, &[], &[], &[]).says(&["master.key", "is missing", "--master-key-file"]);
    assert!(!key.exists(), "a key was made that opens nothing");

    fs::write(&key, kept).unwrap();
    server.launch();
    server.ready().await;
}

#[tokio::test]
async fn what_does_not_belong_together_is_not_opened() {
    let mut one = Server::start().await;
    let mut other = Server::start().await;
    let room = one.admin().await.channel("attic").await;
    one.admin().await.say(&room, "still here").await;
    one.stop().await;
    other.stop().await;
    let log = |server: &Server| server.data().join("log.db");
    let aside = one.data().join("aside");

    fs::rename(log(&one), &aside).unwrap();
    fs::copy(log(&other), log(&one)).unwrap();
    start(&one.data(), &[], &[], &[]).says(&["log.db", "vault.db", "another workspace"]);

    fs::write(log(&one), "What is this?").unwrap();
    start(&one.data(), &[], &[], &[]).says(&["log.db", "is not an event log", "--data"]);

    fs::copy(&aside, log(&one)).unwrap();
    let vault = one.data().join("vault.db");
    let kept = one.data().join("vault.aside");
    fs::rename(&vault, &kept).unwrap();
    start(&one.data(), &[], &[], &[]).says(&["vault.db", "log.db", "missing", "put the file back"]);
    assert!(!vault.exists(), "keys were made that open nothing");
    fs::rename(&kept, &vault).unwrap();

    let newer = one.data().join("log.db");
    let mut file = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&newer)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql("PRAGMA user_version = 99")
        .execute(&mut file)
        .await
        .unwrap();
    file.close().await.unwrap();
    start(&one.data(), &[], &[], &[]).says(&["log.db", "format 99", "newer version"]);

    fs::copy(&aside, log(&one)).unwrap();
    one.launch();
    one.ready().await;
    let said = one
        .admin()
        .await
        .get(&format!("channels.history?roomId={room}"))
        .await
        .expect_ok();
    assert_eq!(said["messages"][0]["msg"], "still here");
}

#[tokio::test]
async fn a_key_that_others_can_read_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "5a".repeat(32)).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let server = Server::start_with(Options {
        environment: vec![(
            "HANSARD_MASTER_KEY_FILE".to_owned(),
            key.display().to_string(),
        )],
        ..Options::default()
    })
    .await;
    let told = format!(
        "the master key {} can be read by others (mode 0644)",
        key.display()
    );
    assert!(server.output().contains(&told), "{}", server.output());
}

#[test]
fn a_command_makes_no_workspace_where_none_is() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["replay"][..],
        &["export", "GENERAL"],
        &["passwd", "admin"],
    ] {
        let data = folder.path().join("nowhere");
        let done = command(&[])
            .args(arguments)
            .arg("--data")
            .arg(&data)
            .output()
            .unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success(), "{arguments:?}");
        assert!(
            said.contains("there is no workspace in") && said.contains("nowhere"),
            "{said}"
        );
        assert!(!data.exists(), "{arguments:?}");
    }
}
