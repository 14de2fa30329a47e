//! How the server is told what to do: flags, then the environment (`HANSARD_*`), then
//! `hansard.toml`, all under the same names; what none of them says has its default.
//!
//! Values are read and checked here, before anything is opened, whichever of the three they come
//! from: a wrong one is answered with where it stands, what it is, and what it may be.

mod given;
mod listen;
mod number;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hansard_projections::Answers;
use serde::Serialize;

pub use self::given::ConfigError;
use self::given::Given;
pub use self::listen::ListenAddress;
use self::number::{Bytes, Connections, Count, Mebibytes, Seconds, Threads};
pub use self::store::{LogStore, ViewStore};

/// The file that is read where no other is named, if it is there.
const FILE: &str = "hansard.toml";

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text in a terminal, JSON otherwise.
    #[default]
    Auto,
    Text,
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("it takes auto, text or json"),
        }
    }
}

/// The flags of every command that opens a workspace. A flag is a text here: what it means is read
/// in [`Config::load`], as for the environment and the file.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CommonFlags {
    /// The file with these settings, under the same names [default: hansard.toml, if it is there]
    #[arg(long, value_name = "FILE", help_heading = WORKSPACE)]
    config: Option<String>,

    /// The directory of the log, the keys, the views and the files [default: data]
    #[arg(long, value_name = "DIR", help_heading = WORKSPACE)]
    data: Option<String>,

    /// Where the event log is kept: sqlite, postgres://user:password@host/database,
    /// kafka://broker1,broker2/topic or esdb://user:password@host/stream [default: sqlite]
    #[arg(long, value_name = "STORE", help_heading = WORKSPACE)]
    log: Option<String>,

    /// Where the views are kept: sqlite or postgres://user:password@host/database [default: sqlite]
    #[arg(long, value_name = "STORE", help_heading = WORKSPACE)]
    views: Option<String>,

    /// The file with the master key that opens the vault; HANSARD_MASTER_KEY may hold the key itself
    /// [default: master.key in the data directory, made at the first start]
    #[arg(long, value_name = "FILE", help_heading = WORKSPACE)]
    master_key_file: Option<String>,

    /// How log lines look: text, json, or auto for text in a terminal and JSON otherwise
    /// [default: auto]
    #[arg(long, value_name = "FORMAT", help_heading = PROCESS)]
    log_format: Option<String>,

    /// Which log lines are written: error, warn, info, debug or trace, or a filter as in RUST_LOG
    /// [default: info]
    #[arg(long, value_name = "FILTER", help_heading = PROCESS)]
    log_level: Option<String>,

    /// Threads that do the work, from 1 to 1024 [default: as many as there are cores]
    #[arg(long, value_name = "N", help_heading = PROCESS)]
    workers: Option<String>,

    /// Memory for answers that are kept until what they are about changes, in MiB; 0 keeps none
    /// [default: 64]
    #[arg(long, value_name = "MIB", help_heading = PROCESS)]
    answer_cache: Option<String>,
}

/// The flags of `serve`.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    common: CommonFlags,

    /// The address that HTTP is served on, an IP address or a name, and a port; 0.0.0.0:3000 is
    /// reached from other machines [default: 127.0.0.1:3000]
    #[arg(long, value_name = "HOST:PORT", help_heading = HTTP)]
    listen: Option<String>,

    /// The largest request that is taken, in bytes [default: 10485760]
    #[arg(long, value_name = "BYTES", help_heading = LIMITS)]
    body_limit: Option<String>,

    /// The longest that a request may take, in seconds [default: 30]
    #[arg(long, value_name = "SECONDS", help_heading = LIMITS)]
    request_timeout: Option<String>,

    /// Reverse proxies in front of the server, whose X-Forwarded-For is believed [default: 0]
    #[arg(long, value_name = "N", help_heading = HTTP)]
    forwarded_count: Option<String>,

    /// The file with the server's certificate and its chain, as PEM: HTTPS is served instead of HTTP. It
    /// is read again when it changes
    #[arg(long, value_name = "FILE", help_heading = HTTP)]
    tls_cert: Option<String>,

    /// The file with the certificate's private key, as PEM
    #[arg(long, value_name = "FILE", help_heading = HTTP)]
    tls_key: Option<String>,

    /// Connections that are open at a time [default: 10000, or what the limit of open files allows]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    max_connections: Option<String>,

    /// Connections of one address (of one /64 network where it is IPv6) that are open at a time; with
    /// --forwarded-count, requests of one client that are under way [default: an eighth of all]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    connections_per_address: Option<String>,

    /// The longest that the head of a request may take to arrive, in seconds [default: 10]
    #[arg(long, value_name = "SECONDS", help_heading = LIMITS)]
    header_timeout: Option<String>,

    /// How long a body may keep the server waiting, in seconds; every KiB that arrives pays for one of
    /// them [default: 10]
    #[arg(long, value_name = "SECONDS", help_heading = LIMITS)]
    body_timeout: Option<String>,

    /// How long a connection may be idle between two requests, in seconds; longer than a proxy in front
    /// keeps its own open [default: 75]
    #[arg(long, value_name = "SECONDS", help_heading = LIMITS)]
    idle_timeout: Option<String>,

    /// How long a client may refuse to take an answer, in seconds; every KiB that it takes pays for one
    /// of them [default: 30]
    #[arg(long, value_name = "SECONDS", help_heading = LIMITS)]
    write_timeout: Option<String>,

    /// The address that /metrics is served on, instead of the one of everything else
    #[arg(long, value_name = "HOST:PORT", help_heading = METRICS)]
    metrics_listen: Option<String>,

    /// The file with the token that /metrics asks for (Authorization: Bearer); without one it answers
    /// this machine alone. HANSARD_METRICS_TOKEN may hold the token itself
    #[arg(long, value_name = "FILE", help_heading = METRICS)]
    metrics_token_file: Option<String>,

    /// The URL that other nodes reach this one at, where they elect the one that writes
    /// [default: http:// (https:// with a certificate) and the address that HTTP is served on]
    #[arg(long, value_name = "URL", help_heading = NODES)]
    advertise: Option<String>,

    /// The file with the secret that nodes know each other by; HANSARD_CLUSTER_SECRET may hold the
    /// secret itself
    #[arg(long, value_name = "FILE", help_heading = NODES)]
    cluster_secret_file: Option<String>,
}

const WORKSPACE: &str = "The workspace";
const HTTP: &str = "HTTP";
const LIMITS: &str = "Limits of HTTP";
const METRICS: &str = "Metrics";
const NODES: &str = "Several nodes";
const PROCESS: &str = "The process";

/// The settings by name; as a flag `--name`, in the environment `HANSARD_NAME`.
pub const NAMES: [&str; 25] = [
    "config",
    "data",
    "log",
    "views",
    "master-key-file",
    "log-format",
    "log-level",
    "workers",
    "answer-cache",
    "listen",
    "body-limit",
    "request-timeout",
    "forwarded-count",
    "tls-cert",
    "tls-key",
    "max-connections",
    "connections-per-address",
    "header-timeout",
    "body-timeout",
    "idle-timeout",
    "write-timeout",
    "metrics-listen",
    "metrics-token-file",
    "advertise",
    "cluster-secret-file",
];

/// The variable of the environment that a setting has.
pub fn variable(name: &str) -> String {
    format!("HANSARD_{}", name.replace('-', "_").to_uppercase())
}

/// What holds.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: ListenAddress,
    pub data: PathBuf,
    pub log: LogStore,
    pub views: ViewStore,
    pub advertise: Option<String>,
    pub cluster_secret_file: Option<PathBuf>,
    pub master_key_file: Option<PathBuf>,
    pub log_format: LogFormat,
    pub log_level: String,
    /// Threads; `None` for as many as there are cores.
    pub workers: Option<usize>,
    /// MiB.
    answer_cache: usize,
    /// Bytes.
    pub body_limit: usize,
    request_timeout: Duration,
    /// How many proxies stand in front: that many addresses at the end of `X-Forwarded-For` are
    /// theirs to tell. 0 takes the peer's address.
    pub forwarded_count: usize,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// `None` for as many as can be, up to a default.
    pub max_connections: Option<usize>,
    /// `None` for a part of all.
    pub connections_per_address: Option<usize>,
    header_timeout: Duration,
    body_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    pub metrics_listen: Option<ListenAddress>,
    pub metrics_token_file: Option<PathBuf>,
    /// What an operator should know of how this was given, to be logged.
    pub warnings: Vec<String>,
    given: Given,
}

impl Config {
    /// Reads what the flags, the environment and the file say.
    pub fn load(flags: &impl Serialize) -> Result<Self, ConfigError> {
        Self::read(Given::gather(flags, std::env::vars().collect())?)
    }

    fn read(given: Given) -> Result<Self, ConfigError> {
        let seconds = |name, default| {
            let seconds = given.read(name)?.map_or(default, Seconds::number);
            Ok(Duration::from_secs(seconds as u64))
        };
        let mut config = Self {
            listen: given.read("listen")?.unwrap_or_default(),
            data: given.path("data").unwrap_or_else(|| "data".into()),
            log: given.read("log")?.unwrap_or_default(),
            views: given.read("views")?.unwrap_or_default(),
            advertise: given.read::<Url>("advertise")?.map(|url| url.0),
            cluster_secret_file: given.path("cluster-secret-file"),
            master_key_file: given.path("master-key-file"),
            log_format: given.read("log-format")?.unwrap_or_default(),
            log_level: given.read::<Filter>("log-level")?.unwrap_or_default().0,
            workers: given.read::<Threads>("workers")?.map(Threads::number),
            answer_cache: given.read("answer-cache")?.map_or(64, Mebibytes::number),
            body_limit: given
                .read::<Bytes>("body-limit")?
                .map_or(10 << 20, Bytes::number),
            request_timeout: seconds("request-timeout", 30)?,
            forwarded_count: given
                .read::<Count>("forwarded-count")?
                .map_or(0, Count::number),
            tls_cert: given.path("tls-cert"),
            tls_key: given.path("tls-key"),
            max_connections: given.read("max-connections")?.map(Connections::number),
            connections_per_address: given
                .read("connections-per-address")?
                .map(Connections::number),
            header_timeout: seconds("header-timeout", 10)?,
            body_timeout: seconds("body-timeout", 10)?,
            idle_timeout: seconds("idle-timeout", 75)?,
            write_timeout: seconds("write-timeout", 30)?,
            metrics_listen: given.read("metrics-listen")?,
            metrics_token_file: given.path("metrics-token-file"),
            warnings: given.warnings(),
            given,
        };
        config.warnings.extend(config.readable_password());
        Ok(config)
    }

    /// Where a setting was given, as an operator wrote it: `--log`, `HANSARD_LOG`, or
    /// `log in hansard.toml`; the flag for one that has its default.
    pub fn place(&self, name: &str) -> String {
        self.given.place(name)
    }

    /// What URLs of this server begin with.
    pub fn scheme(&self) -> &'static str {
        match self.tls_cert {
            Some(_) => "https",
            None => "http",
        }
    }

    /// The URL that this server is reached at, as far as it knows.
    pub fn address(&self) -> String {
        match &self.advertise {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("{}://{}", self.scheme(), self.listen),
        }
    }

    /// The memory for answers that are kept.
    pub fn answers(&self) -> Arc<Answers> {
        Answers::new((self.answer_cache as u64) << 20)
    }

    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    pub fn header_timeout(&self) -> Duration {
        self.header_timeout
    }

    pub fn body_timeout(&self) -> Duration {
        self.body_timeout
    }

    pub fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    pub fn write_timeout(&self) -> Duration {
        self.write_timeout
    }

    /// A warning about a file that tells others a password.
    fn readable_password(&self) -> Option<String> {
        let stores = [
            ("log", self.log.has_password()),
            ("views", self.views.has_password()),
        ];
        let file = stores
            .into_iter()
            .filter(|(_, has_password)| *has_password)
            .find_map(|(name, _)| self.given.file(name))?;
        let open = readable_by_others(file)?;
        Some(format!(
            "{} holds a password and can be read by others (mode {open:04o}): chmod 600 {0}",
            file.display()
        ))
    }
}

/// The mode of a file that others than its owner can read.
pub fn readable_by_others(file: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// A URL that nodes send requests to.
struct Url(String);

impl std::str::FromStr for Url {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let host = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        match host {
            Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(Self(text.to_owned())),
            _ => Err(
                "it takes a URL that begins with http:// or https://, as in http://10.0.0.7:3000",
            ),
        }
    }
}

/// A filter of log lines.
struct Filter(String);

impl Default for Filter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl std::str::FromStr for Filter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(
                "it takes error, warn, info, debug or trace, or a filter such as \
                 warn,hansard=debug",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn every_flag_has_its_name() {
        let command = Line::command();
        let mut flags: Vec<_> = command
            .get_arguments()
            .filter_map(|arg| arg.get_long())
            .collect();
        let mut names = NAMES.to_vec();
        flags.sort_unstable();
        names.sort_unstable();
        assert_eq!(flags, names);
    }

    fn load(flags: &Flags, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Config::read(Given::gather(
            flags,
            environment.iter().map(owned).collect(),
        )?)
    }

    #[test]
    fn a_flag_comes_before_the_environment_and_that_before_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hansard.toml");
        std::fs::write(
            &file,
            "workers = 1\nbody-limit = 1_000_000\ndata = \"there\"\n",
        )
        .unwrap();
        let flags = Flags {
            common: CommonFlags {
                config: Some(file.to_str().unwrap().to_owned()),
                workers: Some("3".to_owned()),
                ..CommonFlags::default()
            },
            ..Flags::default()
        };
        let environment = [("HANSARD_WORKERS", "2"), ("HANSARD_BODY_LIMIT", "2000000")];
        let config = load(&flags, &environment).unwrap();
        assert_eq!(config.workers, Some(3));
        assert_eq!(config.body_limit, 2_000_000);
        assert_eq!(config.data, Path::new("there"));
        assert_eq!(config.place("workers"), "--workers");
        assert_eq!(config.place("body-limit"), "HANSARD_BODY_LIMIT");
        assert_eq!(config.place("data"), format!("data in {}", file.display()));
    }

    #[test]
    fn a_wrong_value_is_told_with_its_place_and_without_its_password() {
        let refused = |name: &str, value: &str| {
            load(&Flags::default(), &[(name, value)])
                .unwrap_err()
                .to_string()
        };
        for (name, value, told) in [
            (
                "HANSARD_WORKERS",
                "0",
                "HANSARD_WORKERS is '0': it takes a whole number from 1 to 1024",
            ),
            (
                "HANSARD_WORKERS",
                "many",
                "HANSARD_WORKERS is 'many': it takes",
            ),
            (
                "HANSARD_LISTEN",
                "localhost",
                "HANSARD_LISTEN is 'localhost': it takes",
            ),
            (
                "HANSARD_BODY_LIMIT",
                "10MB",
                "HANSARD_BODY_LIMIT is '10MB': it takes",
            ),
            (
                "HANSARD_ADVERTISE",
                "10.0.0.7",
                "HANSARD_ADVERTISE is '10.0.0.7': it takes a URL",
            ),
            (
                "HANSARD_LOG_LEVEL",
                "a=b=c",
                "HANSARD_LOG_LEVEL is 'a=b=c': it takes error",
            ),
            (
                "HANSARD_LOG",
                "mysql://me:hush@db/chat",
                "HANSARD_LOG is 'mysql://me@db/chat': it takes",
            ),
            (
                "HANSARD_VIEWS",
                "postgres://me:hush@db:port/chat",
                "HANSARD_VIEWS is 'postgres://me@db:port/chat': ",
            ),
        ] {
            let said = refused(name, value);
            assert!(said.starts_with(told), "{said}");
            assert!(!said.contains("hush"), "{said}");
        }
    }
}
