//! How the server is told what to do: flags, then the environment (`HANSARD_*`), then
//! `hansard.toml`, all under the same names; what none of them says has its default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
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

/// Where the log, or the views, are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// Files in the data directory
    #[default]
    Sqlite,
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

    /// Where the event log is kept [default: sqlite]
    #[arg(long, global = true, value_name = "STORE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Store>,

    /// Where the views are kept [default: sqlite]
    #[arg(long, global = true, value_name = "STORE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    views: Option<Store>,

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
}

/// What holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    pub data: PathBuf,
    pub log: Store,
    pub views: Store,
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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            data: "data".into(),
            log: Store::Sqlite,
            views: Store::Sqlite,
            master_key_file: None,
            log_format: LogFormat::Auto,
            log_level: "info".to_owned(),
            workers: 0,
            body_limit: 10 << 20,
            request_timeout: 30,
            forwarded_count: 0,
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

    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout)
    }
}

const NAMES: [&str; 11] = [
    "listen",
    "data",
    "log",
    "views",
    "master-key-file",
    "log-format",
    "log-level",
    "workers",
    "body-limit",
    "request-timeout",
    "forwarded-count",
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
