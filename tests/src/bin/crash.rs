//! `hansard-crash`: kills the server with -9 while a chat is played into it, again and again, and
//! then checks that every acknowledged message is there, once, and that the views are what a rebuild
//! from the log makes.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use hansard_tests::crash::{Crash, CrashError};

/// Kills the server while it works, and checks that nothing it acknowledged is lost.
#[derive(Debug, Parser)]
#[command(name = "hansard-crash", version)]
struct Cli {
    /// How often the server is killed.
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// Compares the views after every kill, on a copy of what it left. Without it they are compared at
    /// the end.
    #[arg(long)]
    compare_each: bool,
    /// How many messages are played.
    #[arg(long, default_value_t = 20_000)]
    messages: usize,
    /// Makes the chat, and the times of the kills.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds after which the run is given up.
    #[arg(long, default_value_t = 900)]
    give_up_after: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let crash = Crash {
        kills: cli.kills,
        compare_each: cli.compare_each,
        messages: cli.messages,
        seed: cli.seed,
    };
    let limit = Duration::from_secs(cli.give_up_after);
    match tokio::time::timeout(limit, Box::pin(crash.run())).await {
        Ok(Ok(report)) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => failed(&error),
        Err(_) => failed(&CrashError::GivenUp(limit)),
    }
}

fn failed(error: &CrashError) -> ExitCode {
    eprintln!("the crash run failed: {error}");
    ExitCode::FAILURE
}
