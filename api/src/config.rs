//! How the server is told what to do: flags, then the environment (`HANSARD_*`), then
//! `hansard.toml`, all under the same names; what none of them says has its default.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use hansard_projections::Location;
use serde::{Deserialize, Serialize};

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text in a terminal, JSON otherwise
    #[default]
    Auto,
    Text,
    Json,
}

/// Where the event log is kept.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LogStore {
    /// Files in the data directory.
    #[default]
    Sqlite,
    /// A database, by its URL.
    Postgres(String),
    /// A topic, by its URL.
    Kafka(String),
    /// A stream of an EventStoreDB, by its URL.
    EventStore(String),
}

/// Where the views are kept.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ViewStore {
    /// Files in the data directory.
    #[default]
    Sqlite,
    /// A database that several nodes read, by its URL.
    Postgres(String),
}

/// A store that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownStore {
    #[error(
        "a log is kept in sqlite, postgres://user:password@host/database, \
         kafka://broker1,broker2/topic or esdb://user:password@host/stream"
    )]
    Log,
    #[error("views are kept in sqlite or postgres://user:password@host/database")]
    Views,
}

/// The schemes of its URLs, old name and new; each may be followed by `+discover`.
const EVENT_STORE: [&str; 3] = ["esdb", "kurrentdb", "kurrent"];

impl FromStr for LogStore {
    type Err = UnknownStore;

    fn from_str(text: &str) -> Result<Self, UnknownStore> {
        match text.split_once("://").map(|(scheme, _)| scheme) {
            None if text == "sqlite" => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres(text.to_owned())),
            Some("kafka") => Ok(Self::Kafka(text.to_owned())),
            Some(scheme) if EVENT_STORE.contains(&scheme.trim_end_matches("+discover")) => {
                Ok(Self::EventStore(text.to_owned()))
            }
            _ => Err(UnknownStore::Log),
        }
    }
}

impl FromStr for ViewStore {
    type Err = UnknownStore;

    fn from_str(text: &str) -> Result<Self, UnknownStore> {
        match text.split_once("://").map(|(scheme, _)| scheme) {
            None if text == "sqlite" => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres(text.to_owned())),
            _ => Err(UnknownStore::Views),
        }
    }
}

macro_rules! as_text {
    ($($store:ty),*) => {$(
        impl TryFrom<String> for $store {
            type Error = UnknownStore;

            fn try_from(text: String) -> Result<Self, UnknownStore> {
                text.parse()
            }
        }

        impl From<$store> for String {
            fn from(store: $store) -> Self {
                store.text().to_owned()
            }
        }

        /// Without what stands behind the scheme: a URL may hold a password.
        impl fmt::Debug for $store {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text = self.text();
                f.write_str(text.split_once(':').map_or(text, |(scheme, _)| scheme))
            }
        }
    )*};
}

as_text!(LogStore, ViewStore);

impl LogStore {
    fn text(&self) -> &str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(url) | Self::Kafka(url) | Self::EventStore(url) => url,
        }
    }
}

impl ViewStore {
    fn text(&self) -> &str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(url) => url,
        }
    }

    /// Where that is; files lie in this directory.
    pub fn location(&self, directory: PathBuf) -> Location {
        match self {
            Self::Sqlite => Location::Directory(directory),
            Self::Postgres(url) => Location::Postgres(url.clone()),
        }
    }
}

/// What the flags say; everything is optional, because the environment or the file may say it.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flags {
    /// The file with the settings below, under the same names [default: hansard.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// The address that HTTP is served on [default: 127.0.0.1:3000]
    #[arg(long, global = true, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,

    /// The directory of the log, the keys, the views and the files [default: ./data]
    #[arg(long, global = true, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,

    /// Where the event log is kept: sqlite, postgres://user:password@host/database,
    /// kafka://broker1,broker2/topic or esdb://user:password@host/stream [default: sqlite]
    #[arg(long, global = true, value_name = "STORE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<LogStore>,

    /// Where the views are kept: sqlite or postgres://user:password@host/database [default: sqlite]
    #[arg(long, global = true, value_name = "STORE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    views: Option<ViewStore>,

    /// The address that other nodes reach this one at, where they elect the one that writes
    /// [default: http:// (https:// with a certificate) and the address that HTTP is served on]
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    advertise: Option<String>,

    /// The file with the secret that nodes know each other by. HANSARD_CLUSTER_SECRET may hold the
    /// secret itself
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_secret_file: Option<PathBuf>,

    /// The file with the master key that opens the vault [default: master.key in the data directory,
    /// made at the first start]. HANSARD_MASTER_KEY may hold the key itself
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    master_key_file: Option<PathBuf>,

    /// How log lines look [default: auto]
    #[arg(long, global = true, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_format: Option<LogFormat>,

    /// Which log lines are written, as in RUST_LOG [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_level: Option<String>,

    /// Threads that serve requests [default: as many as there are cores]
    #[arg(long, global = true, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<usize>,

    /// The largest request that is taken, in bytes [default: 10485760]
    #[arg(long, global = true, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    body_limit: Option<usize>,

    /// The longest that a request may take, in seconds [default: 30]
    #[arg(long, global = true, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    request_timeout: Option<u64>,

    /// Reverse proxies in front of the server, whose X-Forwarded-For is believed [default: 0]
    #[arg(long, global = true, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded_count: Option<usize>,

    /// The file with the server's certificate and its chain, as PEM: HTTPS is served instead of HTTP.
    /// It is read again when it changes
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert: Option<PathBuf>,

    /// The file with the certificate's private key, as PEM
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_key: Option<PathBuf>,

    /// Connections that are open at a time [default: 10000, or what the limit of open files allows]
    #[arg(long, global = true, value_name = "N", value_parser = at_least_one::<NonZeroUsize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections: Option<NonZeroUsize>,

    /// Connections of one address (of one /64 network where it is IPv6) that are open at a time; with
    /// --forwarded-count, requests of one client that are under way [default: an eighth of all]
    #[arg(long, global = true, value_name = "N", value_parser = at_least_one::<NonZeroUsize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_per_address: Option<NonZeroUsize>,

    /// The longest that the head of a request may take to arrive, in seconds [default: 10]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = at_least_one::<NonZeroU32>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    header_timeout: Option<NonZeroU32>,

    /// How long a body may keep the server waiting, in seconds; every KiB that arrives pays for one of
    /// them [default: 10]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = at_least_one::<NonZeroU32>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    body_timeout: Option<NonZeroU32>,

    /// How long a connection may be idle between two requests, in seconds; longer than a proxy in
    /// front keeps its own open [default: 75]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = at_least_one::<NonZeroU32>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_timeout: Option<NonZeroU32>,

    /// How long a client may refuse to take an answer, in seconds; every KiB that it takes pays for one
    /// of them [default: 30]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = at_least_one::<NonZeroU32>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    write_timeout: Option<NonZeroU32>,

    /// The address that /metrics is served on, instead of the one of everything else
    #[arg(long, global = true, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics_listen: Option<SocketAddr>,

    /// The file with the token that /metrics asks for (Authorization: Bearer); without one it answers
    /// this machine alone. HANSARD_METRICS_TOKEN may hold the token itself
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics_token_file: Option<PathBuf>,
}

/// What holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    pub data: PathBuf,
    pub log: LogStore,
    pub views: ViewStore,
    pub advertise: Option<String>,
    pub cluster_secret_file: Option<PathBuf>,
    pub master_key_file: Option<PathBuf>,
    pub log_format: LogFormat,
    pub log_level: String,
    /// 0 for as many as there are cores.
    pub workers: usize,
    /// Bytes.
    pub body_limit: usize,
    /// Seconds.
    request_timeout: u64,
    /// How many proxies stand in front: that many addresses at the end of `X-Forwarded-For` are
    /// theirs to tell. 0 takes the peer's address.
    pub forwarded_count: usize,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// None for as many as can be, up to a default.
    pub max_connections: Option<NonZeroUsize>,
    /// None for a part of all.
    pub connections_per_address: Option<NonZeroUsize>,
    /// Seconds.
    header_timeout: NonZeroU32,
    /// Seconds.
    body_timeout: NonZeroU32,
    /// Seconds.
    idle_timeout: NonZeroU32,
    /// Seconds.
    write_timeout: NonZeroU32,
    pub metrics_listen: Option<SocketAddr>,
    pub metrics_token_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            data: "data".into(),
            log: LogStore::Sqlite,
            views: ViewStore::Sqlite,
            advertise: None,
            cluster_secret_file: None,
            master_key_file: None,
            log_format: LogFormat::Auto,
            log_level: "info".to_owned(),
            workers: 0,
            body_limit: 10 << 20,
            request_timeout: 30,
            forwarded_count: 0,
            tls_cert: None,
            tls_key: None,
            max_connections: None,
            connections_per_address: None,
            header_timeout: const { NonZeroU32::new(10).unwrap() },
            body_timeout: const { NonZeroU32::new(10).unwrap() },
            idle_timeout: const { NonZeroU32::new(75).unwrap() },
            write_timeout: const { NonZeroU32::new(30).unwrap() },
            metrics_listen: None,
            metrics_token_file: None,
        }
    }
}

/// The configuration can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration file {0} is not there")]
    NoFile(PathBuf),
    #[error("the configuration is not usable: {0}")]
    Unusable(Box<figment::Error>),
}

impl Config {
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        if let Some(file) = &flags.config
            && !file.is_file()
        {
            return Err(ConfigError::NoFile(file.clone()));
        }
        let file = flags
            .config
            .clone()
            .unwrap_or_else(|| "hansard.toml".into());
        Figment::from(Serialized::defaults(Self::default()))
            .merge(Toml::file(file))
            .merge(environment())
            .merge(Serialized::defaults(flags))
            .extract()
            .map_err(|error| ConfigError::Unusable(Box::new(error)))
    }

    /// The URL that this server is reached at, as far as it knows.
    pub fn address(&self) -> String {
        match &self.advertise {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None if self.tls_cert.is_some() => format!("https://{}", self.listen),
            None => format!("http://{}", self.listen),
        }
    }

    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout)
    }

    pub fn header_timeout(&self) -> Duration {
        seconds(self.header_timeout)
    }

    pub fn body_timeout(&self) -> Duration {
        seconds(self.body_timeout)
    }

    pub fn idle_timeout(&self) -> Duration {
        seconds(self.idle_timeout)
    }

    pub fn write_timeout(&self) -> Duration {
        seconds(self.write_timeout)
    }
}

/// The value of a flag that can't be 0.
fn at_least_one<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse()
        .map_err(|_| "it must be a whole number, 1 or more")
}

fn seconds(number: NonZeroU32) -> Duration {
    Duration::from_secs(number.get().into())
}

const NAMES: [&str; 23] = [
    "listen",
    "data",
    "log",
    "views",
    "advertise",
    "cluster-secret-file",
    "master-key-file",
    "log-format",
    "log-level",
    "workers",
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
];

/// `HANSARD_LISTEN` and so on. Other names may begin like that too and mean other programs.
fn environment() -> Env {
    Env::prefixed("HANSARD_")
        .map(|name| name.as_str().replace('_', "-").into())
        .filter(|name| NAMES.iter().any(|known| name == *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_from_the_environment() {
        let defaults = serde_json::to_value(Config::default()).unwrap();
        let names: Vec<_> = defaults.as_object().unwrap().keys().collect();
        assert_eq!(names, NAMES);
    }
}
