//! Checks by REST that a server has what was played into it: every message once, byte for byte, in
//! order, by its author; the members; the names; and that a search finds what stands there.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::client::{Client, ClientError, Connection, Credentials};
use super::enroll::Administrator;
use super::manifest::{Manifest, Sent};
use super::progress::Progress;
use super::record::{Difference, compare};
use super::rest::{self, PAGE, StoredMessage};
use super::words::{self, Probe};

/// How much is searched, and with how many connections all is read.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    pub words: usize,
    pub seed: u64,
    pub connections: usize,
}

/// For how long views may be behind before they are checked.
const CAUGHT_UP_WITHIN: Duration = Duration::from_mins(5);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// What was looked at, and what is not as it was played.
#[derive(Debug, Default)]
pub struct Verdict {
    pub rooms: usize,
    pub messages: usize,
    pub members: usize,
    pub names: usize,
    pub searches: usize,
    /// How long the views still needed to see everything.
    pub caught_up_after: Duration,
    /// The most events that a view was behind in an answer.
    pub lag: u64,
    pub differences: Vec<Difference>,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the views are still {lag} events behind after {} s", CAUGHT_UP_WITHIN.as_secs())]
    Behind { lag: u64 },
    #[error(
        "the history of {0} does not come to an end: it has {1} messages and more, {2} were sent"
    )]
    Endless(String, usize, usize),
}

/// Compares the server with `manifest`.
pub async fn verify(
    connection: &Connection,
    administrator: &Administrator,
    manifest: &Manifest,
    scope: Scope,
) -> Result<Verdict, VerifyError> {
    let mut client = Client::new(connection.clone());
    let admin = rest::login(&mut client, &administrator.user, &administrator.password).await?;
    let reader = Reader {
        connection,
        admin: &admin,
    };
    let mut rooms: BTreeMap<&str, Vec<&Sent>> = BTreeMap::new();
    for message in &manifest.messages {
        rooms.entry(&message.room).or_default().push(message);
    }
    let mut members: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
    for member in &manifest.members {
        members
            .entry(&member.room)
            .or_default()
            .insert(&member.user);
    }
    let started = Instant::now();
    if let Some(room) = rooms.keys().next() {
        reader.wait_for_views(room).await?;
    }
    let caught_up_after = started.elapsed();
    let probes = words::sample(manifest, scope.words, scope.seed);
    let mut verdict = Verdict {
        rooms: rooms.len(),
        messages: manifest
            .messages
            .iter()
            .filter(|message| message.acked.is_some())
            .count(),
        members: manifest.members.len(),
        names: manifest.names.len(),
        searches: probes.len(),
        caught_up_after,
        ..Verdict::default()
    };

    let progress = Progress::new("reading", rooms.len() as u64);
    let histories = stream::iter(&rooms).map(|(room, sent)| {
        let progress = &progress;
        async move {
            let found = reader.check_room(room, sent).await;
            progress.advance();
            found
        }
    });
    let members = stream::iter(&members).map(|(room, users)| reader.check_members(room, users));
    let names = stream::iter(&manifest.names).map(|name| reader.check_name(&name.user, &name.name));
    let searches = stream::iter(&probes).map(|probe| reader.check_search(probe));
    let at_once = scope.connections.max(1);
    let found = [
        histories
            .buffered(at_once)
            .try_collect::<Vec<Found>>()
            .await?,
        members.buffered(at_once).try_collect().await?,
        names.buffered(at_once).try_collect().await?,
        searches.buffered(at_once).try_collect().await?,
    ];
    progress.finish();
    for found in found.into_iter().flatten() {
        verdict.lag = verdict.lag.max(found.lag);
        verdict.differences.extend(found.differences);
    }
    Ok(verdict)
}

#[derive(Default)]
struct Found {
    differences: Vec<Difference>,
    lag: u64,
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    connection: &'a Connection,
    admin: &'a Credentials,
}

impl Reader<'_> {
    fn client(&self) -> Client {
        Client::new(self.connection.clone())
    }

    /// A read waits for its view, but answers after a while with what there is; after a long play
    /// that would look like a loss.
    async fn wait_for_views(&self, room: &str) -> Result<(), VerifyError> {
        let started = Instant::now();
        let mut client = self.client();
        loop {
            let page = rest::history(&mut client, self.admin, room, None, 0, 1).await?;
            if page.lag == 0 {
                return Ok(());
            }
            if started.elapsed() > CAUGHT_UP_WITHIN {
                return Err(VerifyError::Behind { lag: page.lag });
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn check_room(&self, room: &str, sent: &[&Sent]) -> Result<Found, VerifyError> {
        let (stored, lag) = self.history(room, sent.len()).await?;
        Ok(Found {
            differences: compare(room, sent, &stored),
            lag,
        })
    }

    /// A room's messages, the oldest first, without system messages; and the greatest lag.
    ///
    /// Pages go back in time by `latest`, which keeps each of them cheap. Messages of one millisecond
    /// can stand on both sides of a page's end, so the next page begins with that millisecond again
    /// and skips (`offset`) those of it that are known.
    async fn history(
        &self,
        room: &str,
        sent: usize,
    ) -> Result<(Vec<StoredMessage>, u64), VerifyError> {
        // Joins and other system messages come on top of what was sent.
        let reasonable = 10_000 + 4 * sent;
        let mut client = self.client();
        let (mut stored, mut lag): (Vec<StoredMessage>, u64) = (Vec::new(), 0);
        loop {
            let latest = stored.last().map(|message| message.ts.clone());
            let known = stored
                .iter()
                .rev()
                .take_while(|message| Some(&message.ts) == latest.as_ref())
                .count();
            let page = rest::history(
                &mut client,
                self.admin,
                room,
                latest.as_deref(),
                known,
                PAGE,
            )
            .await?;
            lag = lag.max(page.lag);
            let is_last = page.messages.len() < PAGE;
            stored.extend(page.messages);
            if is_last {
                break;
            }
            if stored.len() > reasonable {
                return Err(VerifyError::Endless(room.to_owned(), stored.len(), sent));
            }
        }
        stored.reverse();
        stored.retain(|message| message.t.is_none());
        Ok((stored, lag))
    }

    async fn check_members(&self, room: &str, users: &HashSet<&str>) -> Result<Found, VerifyError> {
        let mut client = self.client();
        let mut missing = users.clone();
        let mut offset = 0;
        loop {
            let page = rest::members(&mut client, self.admin, room, offset).await?;
            for member in &page {
                missing.remove(member.username.as_str());
            }
            offset += page.len();
            if page.len() < PAGE {
                break;
            }
        }
        let mut missing: Vec<&str> = missing.into_iter().collect();
        missing.sort_unstable();
        let not_member = |user: &str| Difference::NotMember {
            room: room.to_owned(),
            user: user.to_owned(),
        };
        Ok(Found {
            differences: missing.into_iter().map(not_member).collect(),
            lag: 0,
        })
    }

    async fn check_name(&self, user: &str, expected: &str) -> Result<Found, VerifyError> {
        let found = rest::user_by_name(&mut self.client(), self.admin, user)
            .await?
            .name
            .unwrap_or_default();
        let mut differences = Vec::new();
        if found != expected {
            differences.push(Difference::Name {
                user: user.to_owned(),
                expected: expected.to_owned(),
                found,
            });
        }
        Ok(Found {
            differences,
            lag: 0,
        })
    }

    async fn check_search(&self, probe: &Probe) -> Result<Found, VerifyError> {
        let page = rest::search(&mut self.client(), self.admin, &probe.room, &probe.word).await?;
        let found: HashSet<&str> = page
            .messages
            .iter()
            .map(|message| message.id.as_str())
            .collect();
        let (room, word) = (&probe.room, &probe.word);
        let mut differences: Vec<Difference> = probe
            .messages
            .iter()
            .filter(|id| !found.contains(id.as_str()))
            .map(|id| Difference::NotFound {
                room: room.clone(),
                word: word.clone(),
                id: id.clone(),
            })
            .collect();
        if let (true, Some(message)) = (probe.messages.is_empty(), page.messages.first()) {
            let (room, word, id) = (room.clone(), word.clone(), message.id.clone());
            differences.push(Difference::FoundNothing { room, word, id });
        }
        Ok(Found {
            differences,
            lag: page.lag,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        writeln!(
            f,
            "verified {} messages in {} rooms, {} memberships, {} names, {} searches; views had caught up after {:.1} s",
            self.messages,
            self.rooms,
            self.members,
            self.names,
            self.searches,
            self.caught_up_after.as_secs_f64(),
        )?;
        if self.lag > 0 {
            writeln!(
                f,
                "views were up to {} events behind in an answer",
                self.lag
            )?;
        }
        for difference in self.differences.iter().take(SHOWN) {
            writeln!(f, "  {difference}")?;
        }
        match self.differences.len() {
            0 => f.write_str("all as it was played"),
            count => write!(
                f,
                "{count} differences{}",
                if count > SHOWN {
                    ", the first of them above"
                } else {
                    ""
                }
            ),
        }
    }
}
