//! Log lines: text for people, JSON for programs. They go to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Config, LogFormat};

/// The filter of the log can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the log level '{level}' is not usable: {source}")]
pub struct InvalidFilter {
    level: String,
    source: ParseError,
}

pub fn start(config: &Config) -> Result<(), InvalidFilter> {
    let filter = EnvFilter::try_new(&config.log_level).map_err(|source| InvalidFilter {
        level: config.log_level.clone(),
        source,
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let text = match config.log_format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    if text {
        lines.init();
    } else {
        lines.json().flatten_event(true).init();
    }
    Ok(())
}
