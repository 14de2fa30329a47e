//! A started server with a data directory of its own, and a client to speak to it.
//!
//! The binary is the one built beside the tests; `HANSARD_BINARY` names another. A server is killed
//! when it is dropped, and its directory removed.
//!
//! `HANSARD_TEST_ON` says what the log is kept in: `sqlite` (default), `postgres`, `kafka`, or
//! `postgres-2`, `kafka-2` for two nodes that requests are spread over by turns. A client sends the
//! position of the last write along, as one behind a proxy would, and so sees what it has done.
//! `HANSARD_TEST_POSTGRES_URL` and `HANSARD_TEST_KAFKA` name servers that run already.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::CONNECTION;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract;
use crate::topology;

/// How long a server may take until it is ready, or has stopped.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// On answers to writes, and on requests that are to see them.
pub const POSITION: &str = "Hansard-Position";

/// On answers that events are missing from.
const LAG: &str = "Hansard-Lag";

pub const ADMIN: &str = "admin";
pub const ADMIN_PASSWORD: &str = "correct horse battery staple";

/// The server binary under test.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HANSARD_BINARY") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test
        .ancestors()
        .find(|directory| directory.join("hansard").is_file())
        .expect("the server is built before the tests: cargo build -p hansard");
    profile.join("hansard")
}

/// The server binary under test, run by another program where `through` names one. No variable that is
/// meant for a server of whoever runs the tests reaches it.
pub fn command(through: &[&str]) -> Command {
    let mut command = match through {
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary());
            command
        }
        [] => Command::new(binary()),
    };
    for (name, _) in std::env::vars_os() {
        let meant = ["ADMIN_", "HANSARD_", "OVERWRITE_SETTING_"];
        if name
            .to_str()
            .is_some_and(|name| meant.iter().any(|prefix| name.starts_with(prefix)))
        {
            command.env_remove(name);
        }
    }
    command
}

/// How a server is to be started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// More environment: settings as `OVERWRITE_SETTING_<id>`, flags as `HANSARD_<FLAG>`.
    pub environment: Vec<(String, String)>,
    /// Keep the rate limiter on.
    pub rate_limited: bool,
    /// A program that starts the server by `exec`, as `nohup` does; the server's command line follows
    /// its own.
    pub through: Vec<String>,
    /// The server speaks TLS, with a certificate that this one (PEM) vouches for.
    pub trusted: Option<String>,
}

impl Options {
    /// A flag, by the end of its name in the environment.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.environment
            .push((format!("HANSARD_{name}"), value.to_owned()));
        self
    }

    #[must_use]
    pub fn setting(mut self, id: &str, value: &str) -> Self {
        self.environment
            .push((format!("OVERWRITE_SETTING_{id}"), value.to_owned()));
        self
    }
}

/// A running server.
pub struct Server {
    directory: TempDir,
    port: u16,
    options: Options,
    process: Option<Child>,
    http: reqwest::Client,
    /// Other nodes of the same workspace.
    others: Vec<Server>,
    /// The position of the last write that a client was told of.
    seen: Arc<AtomicU64>,
}

impl Server {
    /// Starts a server on a fresh data directory and waits until it is ready.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self::start_on(directory, options).await
    }

    /// Starts a server on a data directory that may have been used before.
    pub async fn start_on(directory: TempDir, mut options: Options) -> Self {
        let (environment, nodes) = topology::of_this_run();
        options.environment.extend(environment);
        let mut server = Self::node(directory, options.clone());
        for _ in 1..nodes {
            let directory = tempfile::tempdir().expect("a temporary directory");
            server.others.push(Self::node(directory, options.clone()));
        }
        server.launch();
        server.ready().await;
        server
    }

    /// Launches one node of several on a log that all are given; whoever launched them all waits
    /// until they are ready. Other than with [`Server::start_with`] each is a server by itself.
    pub fn launch_node(options: Options) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut server = Self::node(directory, options);
        server.launch();
        server
    }

    fn node(directory: TempDir, options: Options) -> Self {
        Self {
            directory,
            port: free_port(),
            process: None,
            http: http_trusting(options.trusted.as_deref()),
            options,
            others: Vec::new(),
            seen: Arc::default(),
        }
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What the server wrote to its standard output and error.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.output_file()).unwrap_or_default()
    }

    fn output_file(&self) -> PathBuf {
        self.directory.path().join("output.log")
    }

    pub fn url(&self, path: &str) -> String {
        let scheme = if self.options.trusted.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}{path}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Starts the process again on the same data and port; it must not be running.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "the server is running already");
        let output = File::options()
            .create(true)
            .append(true)
            .open(self.output_file())
            .expect("the server's output file");
        let through: Vec<&str> = self.options.through.iter().map(String::as_str).collect();
        let mut command = command(&through);
        command
            .args([
                "serve",
                "--listen",
                &format!("127.0.0.1:{}", self.port),
                "--data",
            ])
            .arg(self.data())
            .envs([
                ("ADMIN_USERNAME", ADMIN),
                ("ADMIN_PASS", ADMIN_PASSWORD),
                ("ADMIN_EMAIL", "admin@example.org"),
                ("ADMIN_NAME", "The Admin"),
            ])
            .stdin(Stdio::null())
            .stdout(
                output
                    .try_clone()
                    .expect("a second handle of the output file"),
            )
            .stderr(output);
        if !self.options.rate_limited {
            command.env("OVERWRITE_SETTING_API_Enable_Rate_Limiter", "false");
        }
        for (name, value) in &self.options.environment {
            command.env(name, value);
        }
        self.process = Some(command.spawn().expect("the server starts"));
        self.others.iter_mut().for_each(Self::launch);
    }

    /// Waits until the server says it is ready, on every node.
    pub async fn ready(&mut self) {
        self.ready_here().await;
        for other in &mut self.others {
            other.ready_here().await;
        }
    }

    async fn ready_here(&mut self) {
        let started = Instant::now();
        loop {
            // A connection kept from here would be idle when a test fills the server with others, and
            // the server may close it just as the next request is sent.
            let asked = self.http.get(self.url("/ready"));
            let answer = asked.header(CONNECTION, "close").send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let ended = self
                .process
                .as_mut()
                .and_then(|process| process.try_wait().ok().flatten());
            assert!(
                ended.is_none(),
                "the server ended with {ended:?}:\n{}",
                self.output()
            );
            assert!(
                started.elapsed() < PATIENCE,
                "the server is not ready after {PATIENCE:?}:\n{}",
                self.output()
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Ends the process as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        self.others.iter_mut().for_each(Self::kill);
    }

    /// Sends the process a signal, `-STOP` or `-CONT`.
    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Asks the process to stop, as an operator does, and waits for it; other nodes stop first.
    pub async fn stop(&mut self) -> ExitStatus {
        for other in &mut self.others {
            let stopped = Box::pin(other.stop()).await;
            assert!(stopped.success(), "{stopped}: {}", other.output());
        }
        let mut process = self.process.take().expect("the server is running");
        let pid = process.id().to_string();
        let asked = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs");
        assert!(asked.success());
        let started = Instant::now();
        loop {
            if let Some(status) = process.try_wait().expect("the server is our child") {
                return status;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the server does not stop:\n{}",
                self.output()
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Runs another command of the binary on this server's data directory.
    pub fn hansard(&self, arguments: &[&str]) -> std::process::Output {
        command(&[])
            .args(arguments)
            .arg("--data")
            .arg(self.data())
            .output()
            .expect("the binary runs")
    }

    /// A client that is logged in as the administrator.
    pub async fn admin(&self) -> Client {
        self.login(ADMIN, ADMIN_PASSWORD).await
    }

    pub async fn login(&self, user: &str, password: &str) -> Client {
        self.anonymous().login(user, password).await
    }

    /// A client that is not logged in.
    pub fn anonymous(&self) -> Client {
        self.speaking_as(None)
    }

    fn speaking_as(&self, session: Option<Session>) -> Client {
        let others = self.others.iter().map(|other| other.url(""));
        Client {
            http: self.http.clone(),
            nodes: [self.url("")].into_iter().chain(others).collect(),
            turn: Arc::default(),
            seen: self.seen.clone(),
            session,
        }
    }

    /// A client with a token at hand.
    pub fn client(&self, user_id: &str, token: &str) -> Client {
        self.speaking_as(Some(Session {
            user_id: user_id.to_owned(),
            token: token.to_owned(),
        }))
    }

    /// Makes a user with a password and logs it in.
    pub async fn user(&self, username: &str) -> Client {
        self.admin().await.member(username).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "the server of the test that failed said:\n{}",
                self.output()
            );
        }
    }
}

/// An HTTP client.
pub fn http() -> reqwest::Client {
    http_trusting(None)
}

/// reqwest wants to know who does its cryptography before it speaks, even where there is none to do. A
/// client trusts the certificate (PEM) it is given, and no other.
fn http_trusting(trusted: Option<&str>) -> reqwest::Client {
    // An error means that another test of this process said so already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder();
    let client = match trusted {
        None => client,
        Some(pem) => {
            let certificate = reqwest::Certificate::from_pem(pem.as_bytes());
            client.tls_certs_only([certificate.expect("a certificate")])
        }
    };
    client.build().expect("an HTTP client")
}

/// A text as it can stand in a query string, whatever it holds.
pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A port below those that the system gives to connections, which could take it at any moment. Each is
/// given out once in a process; processes begin at different ones.
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 10_000..30_000;
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let start = u64::from(std::process::id()) * 97;
    (0..1_000)
        .map(|_| {
            let number = start + NEXT.fetch_add(1, Ordering::Relaxed);
            (PORTS.start + (number % PORTS.len() as u64) as u32) as u16
        })
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

#[derive(Debug, Clone)]
struct Session {
    user_id: String,
    token: String,
}

/// Speaks to a server as somebody.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// The nodes that requests go to by turns.
    nodes: Arc<[String]>,
    turn: Arc<AtomicUsize>,
    seen: Arc<AtomicU64>,
    session: Option<Session>,
}

/// A status and a JSON body (`null` where the body is not JSON).
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
    /// Whether events were missing from it.
    pub behind: bool,
}

impl Answer {
    /// The body of an answer that must be a success.
    #[track_caller]
    pub fn expect_ok(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.body);
        self.body
    }

    /// The `errorType` of an answer that must be a failure with this status.
    #[track_caller]
    pub fn expect_error(self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body["errorType"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

impl Client {
    pub fn user_id(&self) -> &str {
        self.session
            .as_ref()
            .map_or("", |session| session.user_id.as_str())
    }

    pub fn token(&self) -> &str {
        self.session
            .as_ref()
            .map_or("", |session| session.token.as_str())
    }

    /// The position of the last write that this client, or another of its server, was told of.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Somebody else, at the same nodes.
    async fn login(&self, user: &str, password: &str) -> Self {
        let nobody = Self {
            session: None,
            ..self.clone()
        };
        let body = json!({ "user": user, "password": password });
        let answer = nobody.post("login", body).await.expect_ok();
        let told = |name: &str| answer["data"][name].as_str().unwrap().to_owned();
        let session = Session {
            user_id: told("userId"),
            token: told("authToken"),
        };
        Self {
            session: Some(session),
            ..nobody
        }
    }

    /// Makes a user with a password, as an administrator may, and logs it in.
    pub async fn member(&self, username: &str) -> Self {
        let password = format!("{username}'s own secret");
        let user = json!({
            "username": username,
            "name": username,
            "email": format!("{username}@example.org"),
            "password": password,
            "verified": true,
        });
        self.post("users.create", user).await.expect_ok();
        self.login(username, &password).await
    }

    /// A request to any path, with the session's headers.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let node = &self.nodes[turn % self.nodes.len()];
        let mut request = self.http.request(method, format!("{node}{path}"));
        if self.nodes.len() > 1 {
            request = request.header(POSITION, self.seen());
        }
        match &self.session {
            Some(session) => request
                .header("X-Auth-Token", &session.token)
                .header("X-User-Id", &session.user_id),
            None => request,
        }
    }

    /// `GET /api/v1/<operation>`, the query string with it.
    pub async fn get(&self, operation: &str) -> Answer {
        self.get_path(&format!("/api/v1/{operation}")).await
    }

    /// `POST /api/v1/<operation>` with a JSON body.
    pub async fn post(&self, operation: &str, body: Value) -> Answer {
        self.answer(
            self.request(Method::POST, &format!("/api/v1/{operation}"))
                .json(&body),
        )
        .await
    }

    /// `GET` of any path. An answer that says that it is behind, as a busy machine's may be, is asked
    /// for again.
    pub async fn get_path(&self, path: &str) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.answer(self.request(Method::GET, path)).await;
            if !answer.behind || started.elapsed() > PATIENCE {
                return answer;
            }
        }
    }

    /// The answer to a request of this client.
    pub async fn answer(&self, request: RequestBuilder) -> Answer {
        let (http, request) = request.build_split();
        let request = request.expect("a request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = http.execute(request).await.expect("the server answers");
        let position = response.headers().get(POSITION);
        if let Some(position) = position.and_then(|at| at.to_str().ok()?.parse().ok()) {
            self.seen.fetch_max(position, Ordering::Relaxed);
        }
        let status = response.status();
        let behind = response.headers().contains_key(LAG);
        let body = response.bytes().await.expect("the answer is whole");
        if let Err(breach) = contract::check(&method, &path, status, &body) {
            panic!("{breach}");
        }
        Answer {
            status,
            behind,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    /// What was said in a channel, the first message first, without the server's own messages.
    pub async fn texts(&self, room: &str) -> Vec<String> {
        let path = format!("channels.history?roomId={room}&count=0");
        let history = self.get(&path).await.expect_ok();
        let messages = history["messages"].as_array().into_iter().flatten();
        let plain = messages.filter(|message| message["t"].is_null());
        let text = |message: &Value| message["msg"].as_str().unwrap_or_default().to_owned();
        plain.rev().map(text).collect()
    }

    /// The entries of the audit that a filter lets through, the newest first.
    pub async fn audit(&self, filter: &str) -> Vec<Value> {
        let path = format!("/api/hansard/v1/audit?{filter}");
        let page = self.get_path(&path).await.expect_ok();
        page["entries"].as_array().cloned().unwrap_or_default()
    }

    /// Sends a text to a room; answers the message.
    pub async fn say(&self, room: &str, text: &str) -> Value {
        let body = json!({ "message": { "rid": room, "msg": text } });
        self.post("chat.sendMessage", body).await.expect_ok()["message"].take()
    }

    /// Makes a public channel; answers its id.
    pub async fn channel(&self, name: &str) -> String {
        let body = self
            .post("channels.create", json!({ "name": name }))
            .await
            .expect_ok();
        body["channel"]["_id"].as_str().unwrap().to_owned()
    }
}

/// Waits until a condition holds; fails, saying what was waited for, when it takes too long.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let started = Instant::now();
    while !condition().await {
        assert!(
            started.elapsed() < PATIENCE,
            "{what}: still not after {PATIENCE:?}"
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What is found at last: a node hears a moment later of what others did, and reads tell of no position.
pub async fn at_last<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{what}: still not after {PATIENCE:?}"
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Every file below a directory with its content.
pub fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory)
            .expect("a directory to read")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else if let Ok(content) = std::fs::read(&path) {
                found.push((path, content));
            }
        }
    }
    found
}

/// The files below a directory that hold a text anywhere.
pub fn files_with(directory: &Path, text: &str) -> Vec<PathBuf> {
    let needle = text.as_bytes();
    files(directory)
        .into_iter()
        .filter(|(_, content)| content.windows(needle.len()).any(|window| window == needle))
        .map(|(path, _)| path)
        .collect()
}
