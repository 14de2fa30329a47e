//! The binary `hansard`.

mod app;
mod cli;
mod cluster;
mod config;
mod erasure;
mod export;
mod http_in;
mod leading;
mod logging;
mod openapi;
mod operation;
mod record;
mod replay;
mod rest;
mod serve;
mod table;
mod views;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hansard: {error}");
            ExitCode::FAILURE
        }
    }
}
