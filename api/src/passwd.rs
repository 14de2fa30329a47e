//! `hansard passwd`: sets the password of an account while no server runs, for whoever can't log in.

use std::error::Error;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hansard_commands::account::recovery::{self, NewPassword, Recovered};
use hansard_commands::bus::Commands;
use hansard_commands::snapshot::Snapshots;
use hansard_domain::id::{RandomIds, SystemClock};
use hansard_domain::log::Role;
use hansard_infra::data_dir::DataDirError;
use hansard_infra::plain;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::workspace::{OpenWorkspaceError, Workspace};

/// How long it may take until this process may write, where nodes elect the one that does.
const ELECTION: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub struct Passwd {
    /// The account, by its username or its email address
    #[arg(value_name = "NAME")]
    name: String,

    /// Make a password, print it, and have it changed at the next login
    #[arg(long)]
    one_time: bool,
}

/// Why no password is set.
#[derive(Debug, thiserror::Error)]
enum PasswdError {
    #[error(
        "a server runs on the data directory {path} ({owner}); stop it first, or have an administrator \
         set the password there: POST /api/v1/users.update", path = path.display()
    )]
    Serving { path: PathBuf, owner: String },
    #[error(
        "another node writes the log; stop all nodes first, or have an administrator set the password: \
         POST /api/v1/users.update"
    )]
    Follower,
    #[error("the two passwords are not the same; nothing was changed")]
    NotTheSame,
    #[error("cannot read the password: {0}")]
    NotRead(String),
}

impl Passwd {
    pub async fn run(self, config: &Config) -> Result<(), Box<dyn Error>> {
        let workspace = match Workspace::open_existing(config).await {
            Err(OpenWorkspaceError::DataDir(DataDirError::InUse { path, owner })) => {
                return Err(PasswdError::Serving { path, owner }.into());
            }
            opened => opened?,
        };
        let done = self.set(&workspace).await;
        workspace.close().await;
        let Recovered {
            username,
            one_time,
            ended,
            active,
        } = done?;
        match one_time {
            Some(password) => println!(
                "The one-time password of '{username}' is {password}\n\
                 It is not shown again; it has to be changed at the next login."
            ),
            None => println!("The password of '{username}' is set."),
        }
        println!("Sessions and personal access tokens that have ended: {ended}.");
        if !active {
            println!(
                "The account is not active: an administrator has to activate it before a login."
            );
        }
        Ok(())
    }

    async fn set(&self, workspace: &Workspace) -> Result<Recovered, Box<dyn Error>> {
        let journal = &workspace.journal;
        let snapshots = Snapshots::open(workspace.snapshot.clone(), journal).await?;
        let model = snapshots.restore(journal).await?;
        recovery::find(&model, &self.name)?;
        let new = if self.one_time {
            NewPassword::OneTime
        } else {
            NewPassword::Chosen(ask(&self.name)?.to_string())
        };

        let mut role = journal.watch_role();
        let may_write = role.wait_for(|role| *role != Role::Follower);
        if tokio::time::timeout(ELECTION, may_write).await.is_err() {
            return Err(PasswdError::Follower.into());
        }
        let clock = Arc::new(SystemClock);
        let started = Commands::start(journal.clone(), model, clock, Arc::new(RandomIds), None);
        let (commands, committer) = started.await?;
        commands.caught_up().await;
        let done = recovery::set_password(&commands, &self.name, new).await;
        drop(commands);
        if let Err(error) = committer.await {
            tracing::error!(%error, "the committer ended badly");
        }
        Ok(done?)
    }
}

/// The new password: asked for twice in a terminal, otherwise the first line of standard input.
fn ask(name: &str) -> Result<Zeroizing<String>, PasswdError> {
    let not_read = |error: io::Error| PasswdError::NotRead(plain::io(&error));
    if !io::stdin().is_terminal() {
        let mut line = Zeroizing::new(String::new());
        io::stdin().lock().read_line(&mut line).map_err(not_read)?;
        return Ok(Zeroizing::new(
            line.trim_end_matches(['\r', '\n']).to_owned(),
        ));
    }
    let ask = |question: String| rpassword::prompt_password(question).map(Zeroizing::new);
    let first = ask(format!("New password of '{name}': ")).map_err(not_read)?;
    let second = ask("The same again: ".to_owned()).map_err(not_read)?;
    if first == second {
        Ok(first)
    } else {
        Err(PasswdError::NotTheSame)
    }
}
