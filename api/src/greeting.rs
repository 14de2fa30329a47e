//! What a start ends with: a few lines on standard output, once the server can answer everything.
//!
//! They are for whoever started it by hand, so they say where to go on; what happens is in the log, on
//! standard error.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use hansard_commands::account::hashing::Asker;
use hansard_commands::account::password::{self, Secret};
use hansard_commands::bootstrap::{Administrator, OneTimePassword};
use hansard_commands::model::WriteModel;

use crate::config::{Config, LogStore, ViewStore};

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Greeting {
    url: String,
    /// Where it listens, unless the URL says so.
    listening: Option<String>,
    data: String,
    /// What is kept elsewhere.
    elsewhere: Vec<String>,
    process: u32,
}

impl Greeting {
    pub fn new(config: &Config, addresses: &[SocketAddr], data: &Path) -> Self {
        let port = addresses
            .first()
            .map_or(config.listen.port(), SocketAddr::port);
        let host = match config.listen.host() {
            _ if config.listen.is_unspecified() => "127.0.0.1".to_owned(),
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        };
        let listed: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let told = format!("{host}:{port}");
        let mut elsewhere = Vec::new();
        if config.log != LogStore::Sqlite {
            elsewhere.push(format!("the log is in {}", config.log));
        }
        if config.views != ViewStore::Sqlite {
            elsewhere.push(format!("the views are in {}", config.views));
        }
        Self {
            url: format!("{}://{told}", config.scheme()),
            listening: (listed != [told]).then(|| listed.join(" and ")),
            data: shown(data),
            elsewhere,
            process: std::process::id(),
        }
    }

    /// Prints it, with the password that was made at this start and what else is to be known.
    pub fn print(&self, made: Option<&OneTimePassword>, note: Option<&str>) {
        let text = format!("{self}{}", Told { made, note });
        // Nobody may be there to read it.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }
}

/// A path as it can be pasted elsewhere.
fn shown(path: &Path) -> String {
    let whole = path.canonicalize();
    whole.as_deref().unwrap_or(path).display().to_string()
}

impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, process, .. } = self;
        writeln!(f, "\nHansard {} serves {url}\n", env!("CARGO_PKG_VERSION"))?;
        if let Some(listening) = &self.listening {
            writeln!(f, "  Listens on     {listening}")?;
        }
        writeln!(f, "  First steps    {url}/")?;
        writeln!(f, "  API            {url}/api-docs")?;
        write!(f, "  Data           {}", self.data)?;
        for what in &self.elsewhere {
            write!(f, "; {what}")?;
        }
        writeln!(f, "\n  Stop           Ctrl+C, or: kill {process}")
    }
}

/// What concerns this start alone.
struct Told<'a> {
    made: Option<&'a OneTimePassword>,
    note: Option<&'a str>,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(OneTimePassword { username, password }) = self.made {
            writeln!(
                f,
                "  Administrator  {username}, with the one-time password {password}\n\
                 {:17}It is not shown again; it has to be changed at the first login.",
                ""
            )?;
        }
        if let Some(note) = self.note {
            writeln!(f, "  Note           {note}")?;
        }
        writeln!(f)
    }
}

/// What an operator has to know who gives the password of the first administrator to a workspace
/// that was made at an earlier start: it is not read.
pub async fn unread_password(
    model: &WriteModel,
    given: &Administrator,
    data: &Path,
) -> Option<String> {
    let password = given.password.as_deref()?;
    let username = given.username.as_deref().unwrap_or("admin");
    let account = model
        .user_by_name(username)
        .and_then(|id| model.account(id));
    let why = match account {
        None => format!("has no account '{username}'"),
        Some(account) => {
            let hash = account.password.clone();
            // It can't be compared when the server is stopping; then nobody needs to know.
            if password::verify(Asker::server(), Secret::of(password), hash)
                .await
                .unwrap_or(true)
            {
                return None;
            }
            format!("has another password for '{username}'")
        }
    };
    Some(format!(
        "ADMIN_PASS is not read: this workspace was made at an earlier start, and {why}.\n\
         {:17}To set a password, stop the server, then: hansard passwd NAME --data {}",
        "",
        shown(data)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_says_where_to_go_on() {
        let greeting = Greeting {
            url: "http://localhost:3000".to_owned(),
            listening: Some("127.0.0.1:3000 and [::1]:3000".to_owned()),
            data: "/var/lib/hansard".to_owned(),
            elsewhere: vec!["the log is in postgres://hansard@db/hansard".to_owned()],
            process: 7,
        };
        let made = OneTimePassword {
            username: "admin".to_owned(),
            password: "hush".to_owned(),
        };
        let told = Told {
            made: Some(&made),
            note: None,
        };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            format!("{greeting}{told}"),
            format!(
                "
Hansard {version} serves http://localhost:3000

  Listens on     127.0.0.1:3000 and [::1]:3000
  First steps    http://localhost:3000/
  API            http://localhost:3000/api-docs
  Data           /var/lib/hansard; the log is in postgres://hansard@db/hansard
  Stop           Ctrl+C, or: kill 7
  Administrator  admin, with the one-time password hush
                 It is not shown again; it has to be changed at the first login.

"
            )
        );
    }
}
