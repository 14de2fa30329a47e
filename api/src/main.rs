//! The binary `hansard`.

mod app;
mod cli;
mod cluster;
mod config;
mod erasure;
mod export;
mod greeting;
mod handover;
mod http_in;
mod lacking;
mod leading;
mod logging;
mod monitoring;
mod openapi;
mod operations;
mod passwd;
mod record;
mod replay;
mod rest;
mod serve;
mod table;
mod views;
mod welcome;
mod wire;
mod workspace;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // What any command makes is its owner's alone: the data directory, exports, keys, whatever SQLite
    // puts beside a database.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match cli::Cli::read().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hansard: {error}");
            ExitCode::FAILURE
        }
    }
}
