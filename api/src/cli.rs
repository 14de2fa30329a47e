//! The command line: which subcommands there are, and what each is given.

use std::error::Error;
use std::io::{self, Write};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{CommonFlags, Config, Flags, NAMES, variable};
use crate::export::Export;
use crate::passwd::Passwd;
use crate::replay::Replay;
use crate::{logging, rest, serve};

/// Messaging for teams in which everything that happens is on the record.
///
/// Without a command the workspace is served. Every setting can be given as a flag, in the environment
/// (HANSARD_LISTEN for --listen, and so on), or in hansard.toml; the first of these that names it
/// holds.
#[derive(Debug, Parser)]
#[command(
    name = "hansard",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "More about the settings, with examples: hansard --help",
    after_long_help = SERVING
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

const SERVING: &str = "\
The first start:
  ADMIN_USERNAME, ADMIN_PASS, ADMIN_EMAIL, ADMIN_NAME
          The first administrator, in the environment. They are read when the workspace is made, at
          the first start on a data directory, and never again. Without ADMIN_PASS a one-time
          password is made and printed.

Settings of the workspace:
  OVERWRITE_SETTING_<id>
          Sets a setting at every start, in the environment: OVERWRITE_SETTING_Site_Name='The Owls'.
          The ids are Rocket.Chat's; GET /api/v1/settings lists them.

Secrets, in the environment so that they need not be in a file or a URL:
  HANSARD_MASTER_KEY      The master key, 64 hexadecimal digits
  HANSARD_CLUSTER_SECRET  The secret that nodes know each other by
  HANSARD_METRICS_TOKEN   The token that /metrics asks for
  HANSARD_KAFKA_PASSWORD  The password for Kafka (sasl.password)
  PGPASSWORD              The password for PostgreSQL

Examples:
  hansard
          Serves on http://127.0.0.1:3000, with everything in ./data
  hansard --listen 0.0.0.0:3000 --data /var/lib/hansard --forwarded-count 1
          Serves a proxy on this or another machine
  ADMIN_USERNAME=admin ADMIN_PASS='parliament of owls' hansard
          Makes an administrator with this password at the first start
  hansard --log postgres://hansard@10.0.0.6/hansard
          Is one of several nodes that keep the log in PostgreSQL";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the workspace over HTTP (the default)
    #[command(after_long_help = SERVING)]
    Serve(Flags),
    /// Build views again from the log, or as they once were
    ///
    /// Works on a data directory that no server runs on; a running server rebuilds a view by
    /// POST /api/hansard/v1/views/VIEW/rebuild.
    Replay(On<Replay>),
    /// Write a room's messages as JSON Lines or CSV
    ///
    /// Works on a data directory that no server runs on.
    Export(On<Export>),
    /// Set the password of an account, for whoever can't log in
    ///
    /// Asks for it in a terminal, and reads it from standard input otherwise. Sessions and personal
    /// access tokens of the account end. Works on a data directory that no server runs on; it is on the
    /// record as everything else.
    Passwd(On<Passwd>),
    /// Print the description of the API as OpenAPI
    Openapi,
}

/// What a command does, and the workspace that it works on.
#[derive(Debug, Args)]
struct On<C: Args> {
    #[command(flatten)]
    command: C,
    #[command(flatten)]
    flags: CommonFlags,
}

impl Cli {
    /// Reads the command line; prints help, or what is wrong with it, and ends the process.
    pub fn read() -> Self {
        let matches = described().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    pub fn run(self) -> Result<(), Box<dyn Error>> {
        match self.command.unwrap_or(Command::Serve(self.flags)) {
            Command::Openapi => Ok(print_openapi()?),
            Command::Serve(flags) => {
                start(Config::load(&flags)?, |config| Box::pin(serve::run(config)))
            }
            Command::Replay(On { command, flags }) => {
                start(Config::load(&flags)?, async |config| {
                    Box::pin(command.run(&config)).await
                })
            }
            Command::Passwd(On { command, flags }) => {
                start(Config::load(&flags)?, async |config| {
                    command.run(&config).await
                })
            }
            Command::Export(On { command, flags }) => {
                start(Config::load(&flags)?, async |config| {
                    command.run(&config).await
                })
            }
        }
    }
}

/// Runs a command on threads of its own.
fn start(
    config: Config,
    command: impl AsyncFnOnce(Config) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    logging::start(&config);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = config.workers {
        runtime.worker_threads(workers);
    }
    runtime.enable_all().build()?.block_on(command(config))
}

/// The command line with the environment's name of each setting in its help.
fn described() -> clap::Command {
    let with_variables = |command: clap::Command| {
        command.mut_args(|arg| match arg.get_long() {
            Some(name) if NAMES.contains(&name) => {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let variable = variable(name);
                arg.help(format!("{help} [env: {variable}]"))
            }
            _ => arg,
        })
    };
    with_variables(Cli::command()).mut_subcommands(with_variables)
}

fn print_openapi() -> io::Result<()> {
    let document = rest::document()?;
    let text = document.to_pretty_json().map_err(io::Error::other)?;
    writeln!(io::stdout(), "{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_takes_the_settings_that_it_reads() {
        Cli::command().debug_assert();
        let reads = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(reads("hansard --listen 127.0.0.1:1 --data d"));
        assert!(reads("hansard serve --listen 127.0.0.1:1 --data d"));
        assert!(reads("hansard replay messages --views sqlite --data d"));
        assert!(!reads("hansard replay --until 5"));
        assert!(!reads("hansard replay --listen 127.0.0.1:1"));
        assert!(!reads("hansard export GENERAL --body-limit 5"));
    }

    #[test]
    fn help_names_every_variable_of_the_environment() {
        let mut command = described();
        let help = command.render_long_help().to_string();
        for name in NAMES {
            assert!(help.contains(&variable(name)), "{name}");
        }
        for text in ["ADMIN_PASS", "OVERWRITE_SETTING_", "Examples:"] {
            assert!(help.contains(text), "{text}");
        }
        assert!(help.starts_with("Messaging for teams"), "{help}");
    }
}
