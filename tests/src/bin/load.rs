//! `hansard-load`: plays a chat into a server, checks that it is all there, measures the server.
//! The work is done in [`hansard_tests::load`]; here are the flags and what is printed.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use hansard_tests::fill;
use hansard_tests::load::archive::ArchiveError;
use hansard_tests::load::bench::{Bench, resident_memory};
use hansard_tests::load::day::day;
use hansard_tests::load::survey::survey;
use hansard_tests::load::{
    Administrator, Chat, Connection, Manifest, Order, Player, Scope, verify,
};

/// Plays a chat into a server through REST, checks that it is all there, and measures the server.
#[derive(Debug, Parser)]
#[command(name = "hansard-load", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play a chat and check it.
    Play(Play),
    /// Check what an earlier play left.
    Verify(Verify),
    /// Measure rates and latencies.
    Bench(Measure),
    /// Measure what depends on the size of a workspace: lists, looking for people, making accounts.
    Survey(Measure),
    /// Measure what people do at once, in the proportion in which they do it.
    Day(Day),
    /// Fill the log of a stopped server with a workspace of any size.
    Fill(Fill),
}

#[derive(Debug, Args)]
struct Fill {
    /// The data directory of a server that was started once and is stopped.
    #[arg(long)]
    data: PathBuf,
    #[arg(long, default_value_t = 1_000_000)]
    accounts: usize,
    #[arg(long, default_value_t = 100_000)]
    rooms: usize,
    #[arg(long, default_value_t = 20_000_000)]
    memberships: usize,
    #[arg(long, default_value_t = 10_000_000)]
    sent: usize,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Args)]
struct Target {
    /// Where the server is; its rate limiter should be off.
    #[arg(long, env = "HANSARD_SERVER", default_value = "http://127.0.0.1:3000")]
    server: String,
    #[arg(long, env = "ADMIN_USERNAME")]
    admin_user: String,
    #[arg(long, env = "ADMIN_PASS", hide_env_values = true)]
    admin_password: String,
    /// The secret for users.createToken, where the server has one.
    #[arg(long, env = "CREATE_TOKENS_FOR_USERS_SECRET", hide_env_values = true)]
    token_secret: Option<String>,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds for which to try again when the server is gone.
    #[arg(long, default_value_t = 0)]
    retry_for: u64,
}

#[derive(Debug, Args)]
struct Source {
    /// IRC logs to play; without them a chat is made from the seed.
    #[arg(long)]
    archive: Option<PathBuf>,
    /// Makes the chat where there is no archive, and the message ids, and chooses words to search.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many messages the made chat has.
    #[arg(long, default_value_t = 20_000)]
    messages: usize,
}

#[derive(Debug, Args)]
struct Play {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    source: Source,
    /// Play this many messages at most, evenly of all rooms.
    #[arg(long)]
    limit: Option<usize>,
    /// How much of the order is kept: strict has one request in flight a room, relaxed one a person
    /// and room. A relaxed play can be checked against its own manifest only, not after the same chat
    /// was played again.
    #[arg(long, value_enum, default_value_t = Order::Relaxed)]
    order: Order,
    /// Where to leave what was sent and acknowledged, for `verify`.
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// Append each acknowledged message id to this file as soon as it is acknowledged.
    #[arg(long)]
    ack_file: Option<PathBuf>,
    /// Words to search for afterwards.
    #[arg(long, default_value_t = 300)]
    words: usize,
    /// Do not check afterwards.
    #[arg(long)]
    no_verify: bool,
}

#[derive(Debug, Args)]
struct Verify {
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    manifest: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 300)]
    words: usize,
}

#[derive(Debug, Args)]
struct Day {
    /// The largest room has all of them, the second half of them, the third a third.
    #[arg(long, default_value_t = 2_000)]
    people: usize,
    #[command(flatten)]
    measure: Measure,
}

#[derive(Debug, Args)]
struct Measure {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    source: Source,
    /// Seconds a measurement lasts at most.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Send at most this many messages.
    #[arg(long, default_value_t = u64::MAX)]
    sends: u64,
    /// Rooms that the sends are spread over.
    #[arg(long, default_value_t = 8)]
    rooms: usize,
    /// The server's process, to show its resident memory.
    #[arg(long)]
    pid: Option<u32>,
}

/// One thread: the program shares the machine with the server that it measures.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Play(play) => play.run().await,
        Command::Verify(verify) => verify.run().await,
        Command::Bench(bench) => bench.run().await,
        Command::Survey(measure) => measure.survey().await,
        Command::Day(day) => day.run().await,
        Command::Fill(fill) => fill.run().await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hansard-load: {error}");
            ExitCode::from(2)
        }
    }
}

impl Play {
    /// Whether all went as it should.
    async fn run(self) -> Result<bool, Box<dyn Error>> {
        let mut chat = self.source.chat()?;
        if let Some(limit) = self.limit {
            chat = chat.limited_to(limit);
        }
        println!(
            "{} people in {} rooms: {}",
            chat.nicks.len(),
            chat.rooms.len(),
            chat.summary
        );
        let player = Player {
            connection: self.target.connection()?,
            administrator: self.target.administrator(),
            connections: self.target.connections,
            order: self.order,
            seed: self.source.seed,
            ack_file: self.ack_file,
        };
        let played = player.play(&chat).await?;
        println!("{}", played.report);
        for refusal in &played.report.first_refusals {
            println!("  refused: {refusal}");
        }
        if let Some(path) = &self.manifest {
            played.manifest.write(path)?;
        }
        if let Some(error) = played.stopped {
            return Err(error.into());
        }
        let is_whole =
            played.report.refused == 0 && played.report.acknowledged == chat.messages().count();
        if self.no_verify {
            return Ok(is_whole);
        }
        Ok(check(&self.target, &played.manifest, self.words, self.source.seed).await? && is_whole)
    }
}

impl Verify {
    async fn run(self) -> Result<bool, Box<dyn Error>> {
        check(
            &self.target,
            &Manifest::read(&self.manifest)?,
            self.words,
            self.seed,
        )
        .await
    }
}

async fn check(
    target: &Target,
    manifest: &Manifest,
    words: usize,
    seed: u64,
) -> Result<bool, Box<dyn Error>> {
    let started = Instant::now();
    let scope = Scope {
        words,
        seed,
        connections: target.connections,
    };
    let verdict = verify(
        &target.connection()?,
        &target.administrator(),
        manifest,
        scope,
    )
    .await?;
    println!("{verdict} ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(verdict.differences.is_empty())
}

impl Day {
    async fn run(self) -> Result<bool, Box<dyn Error>> {
        let chat = self.measure.source.chat()?;
        let texts: Vec<&str> = chat.messages().collect();
        if texts.is_empty() {
            return Err("there is nothing to send: --messages has to be 1 or more".into());
        }
        let (table, failure) = day(&self.measure.bench()?, self.people, &texts).await?;
        println!(
            "{} people in {} rooms, {} connections, {} s\n\n{table}",
            self.people, self.measure.rooms, self.measure.target.connections, self.measure.seconds
        );
        if let Some(failure) = &failure {
            println!("a call failed: {failure}");
        }
        Ok(failure.is_none())
    }
}

impl Measure {
    fn bench(&self) -> Result<Bench, Box<dyn Error>> {
        Ok(Bench {
            connection: self.target.connection()?,
            administrator: self.target.administrator(),
            connections: self.target.connections,
            time: Duration::from_secs(self.seconds),
            messages: self.sends,
            rooms: self.rooms,
        })
    }

    async fn survey(self) -> Result<bool, Box<dyn Error>> {
        let (table, failure) = survey(&self.bench()?).await?;
        println!(
            "{} connections, at most {} s each\n\n{table}",
            self.target.connections, self.seconds
        );
        if let Some(failure) = &failure {
            println!("a call failed: {failure}");
        }
        Ok(failure.is_none())
    }

    async fn run(self) -> Result<bool, Box<dyn Error>> {
        let chat = self.source.chat()?;
        let texts: Vec<&str> = chat.messages().collect();
        if texts.is_empty() {
            return Err("there is nothing to send: --messages has to be 1 or more".into());
        }
        let bench = self.bench()?;
        let before = self.pid.and_then(resident_memory);
        let figures = bench.run(&texts).await?;
        println!(
            "{} connections, at most {} s each\n\n{}",
            self.target.connections, self.seconds, figures.table
        );
        println!(
            "views after the last send: {} events behind, read in {:.1} ms",
            figures.lag_after_sends,
            figures.first_read_took.as_secs_f64() * 1e3
        );
        if let Some(pid) = self.pid {
            let megabytes = |bytes: Option<u64>| {
                bytes.map_or("unknown".to_owned(), |bytes| {
                    format!("{:.1} MB", bytes as f64 / 1e6)
                })
            };
            let (before, after) = (megabytes(before), megabytes(resident_memory(pid)));
            println!(
                "resident memory: {before} before, {after} after (budget: < 60 MB idle after start)"
            );
        }
        if let Some(failure) = &figures.first_failure {
            println!("a call failed: {failure}");
        }
        Ok(figures.first_failure.is_none())
    }
}

impl Fill {
    async fn run(self) -> Result<bool, Box<dyn Error>> {
        let chat = self.source.chat()?;
        let texts: Vec<&str> = chat.messages().collect();
        let plan = fill::Plan {
            accounts: self.accounts,
            rooms: self.rooms,
            memberships: self.memberships,
            messages: self.sent,
            seed: self.source.seed,
        };
        let started = Instant::now();
        let filled = fill::fill(&self.data, plan, &texts).await?;
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{} events, {} memberships in {seconds:.0} s, {:.0} events/s",
            filled.events,
            filled.memberships,
            filled.events as f64 / seconds
        );
        Ok(true)
    }
}

impl Target {
    fn connection(&self) -> Result<Connection, Box<dyn Error>> {
        Ok(Connection::to(
            &self.server,
            Duration::from_secs(self.retry_for),
        )?)
    }

    fn administrator(&self) -> Administrator {
        Administrator {
            user: self.admin_user.clone(),
            password: self.admin_password.clone(),
            token_secret: self.token_secret.clone(),
        }
    }
}

impl Source {
    fn chat(&self) -> Result<Chat, ArchiveError> {
        match self.archive.as_deref().map(Chat::from_archive) {
            Some(Err(missing @ ArchiveError::Missing(_))) => println!("{missing}"),
            Some(read) => return read,
            None => println!("no archive is given"),
        }
        println!(
            "making a chat of {} messages from seed {}",
            self.messages, self.seed
        );
        Ok(Chat::from_seed(self.seed, self.messages))
    }
}
