//! The command line: which subcommands there are, and what each is given.

use std::error::Error;
use std::io::{self, Write};

use clap::{Parser, Subcommand};

use crate::config::{Config, Flags};
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
    /// Print the description of the API as OpenAPI
    Openapi,
}

impl Cli {
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        match self.command.unwrap_or(Command::Serve) {
            Command::Openapi => Ok(print_openapi()?),
            Command::Serve => {
                let config = Config::load(&self.flags)?;
                logging::start(&config)?;
                let mut runtime = tokio::runtime::Builder::new_multi_thread();
                if config.workers > 0 {
                    runtime.worker_threads(config.workers);
                }
                runtime.enable_all().build()?.block_on(serve::run(config))
            }
        }
    }
}

fn print_openapi() -> io::Result<()> {
    let document = rest::routes().into_openapi();
    let text = document.to_pretty_json().map_err(io::Error::other)?;
    writeln!(io::stdout(), "{text}")
}
