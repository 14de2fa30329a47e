//! Log lines: text for people, JSON for programs. They go to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// A client that logs what it also answers with an error, in the words of gRPC.
const REPEATS_ITSELF: &str = "kurrentdb";

pub fn start(config: &Config) {
    let level = &config.log_level;
    let filter = if level.contains(REPEATS_ITSELF) {
        EnvFilter::new(level)
    } else {
        EnvFilter::new(format!("{level},{REPEATS_ITSELF}=off"))
    };
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
}
