//! The command line: which subcommands there are, and what each is given.

use std::error::Error;
use std::io::{self, Write};

use clap::{Parser, Subcommand};

use crate::config::{Config, Flags};
use crate::export::Export;
use crate::replay::Replay;
use crate::{logging, rest, serve};

/// Messaging for teams in which everything that happens is on the record.
///
/// Every setting can be given as a flag, in the environment (HANSARD_LISTEN for --listen, and so
/// on), or in hansard.toml; the first of these that names it holds.
///
/// The first administrator comes from ADMIN_USERNAME, ADMIN_PASS, ADMIN_EMAIL and ADMIN_NAME;
/// without them one is made at the first start and its one-time password is printed.
/// OVERWRITE_SETTING_<id> sets a setting of the workspace at every start.
#[derive(Debug, Parser)]
#[command(name = "hansard", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the workspace over HTTP (the default)
    Serve,
    /// Build views again from the log, or as they once were
    ///
    /// Works on a data directory that no server runs on; a running server rebuilds a view by
    /// POST /api/hansard/v1/views/VIEW/rebuild.
    Replay(Replay),
    /// Write a room's messages as JSON Lines or CSV
    ///
    /// Works on a data directory that no server runs on.
    Export(Export),
    /// Print the description of the API as OpenAPI
    Openapi,
}

impl Cli {
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        let command = self.command.unwrap_or(Command::Serve);
        if let Command::Openapi = command {
            return Ok(print_openapi()?);
        }
        let config = Config::load(&self.flags)?;
        logging::start(&config)?;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        if config.workers > 0 {
            runtime.worker_threads(config.workers);
        }
        runtime.enable_all().build()?.block_on(async move {
            match command {
                Command::Replay(replay) => replay.run(&config).await,
                Command::Export(export) => export.run(&config).await,
                _ => serve::run(config).await,
            }
        })
    }
}

fn print_openapi() -> io::Result<()> {
    let document = rest::routes().into_openapi();
    let text = document.to_pretty_json().map_err(io::Error::other)?;
    writeln!(io::stdout(), "{text}")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_subcommand_takes_the_settings_beside_its_own() {
        Cli::command().debug_assert();
        let replay = [
            "hansard", "replay", "messages", "--views", "sqlite", "--data", "d",
        ];
        assert!(Cli::try_parse_from(replay).is_ok());
        assert!(Cli::try_parse_from(["hansard", "replay", "--until", "5"]).is_err());
        assert!(Cli::try_parse_from(["hansard", "--listen", "127.0.0.1:1"]).is_ok());
    }
}
