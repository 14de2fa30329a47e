//! Measures the server: the rate of `GET /api/info` as the yardstick, then sends, history pages and
//! searches, each for a bounded time on all connections, each beside its budget.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::{join_all, try_join_all};

use super::client::{Client, ClientError, Connection, Credentials};
use super::dice::Dice;
use super::enroll::Administrator;
use super::latency::{Budget, Latencies, Measured, Table};
use super::message_ids::message_id;
use super::rest::{self, Room};
use super::words::words;

/// Places in the history to page from, and words to search for.
const PLACES: usize = 256;
const HISTORY_PAGE: usize = 50;

/// What to measure and for how long.
#[derive(Debug, Clone)]
pub struct Bench {
    pub connection: Connection,
    pub administrator: Administrator,
    pub connections: usize,
    /// Of each measurement.
    pub time: Duration,
    /// Sends at most.
    pub messages: u64,
    /// Rooms that the sends are spread over.
    pub rooms: usize,
}

/// The figures.
#[derive(Debug)]
pub struct Figures {
    pub table: Table,
    /// Events that the views were behind right after the last send, and how long a read took then.
    pub lag_after_sends: u64,
    pub first_read_took: Duration,
    /// The first failure of any call.
    pub first_failure: Option<ClientError>,
}

struct Place {
    room: String,
    ts: String,
    word: Option<String>,
}

struct Sender {
    credentials: Credentials,
    room: String,
}

/// What a client asks for again and again.
#[derive(Clone, Copy)]
enum Look {
    /// The newest page of its room.
    Newest,
    /// A path without parameters.
    Path(&'static str),
    /// Its own account.
    Themselves,
    /// What changed since a time after the last change.
    Changes(&'static str),
    /// Everything in its room is read.
    MarkRead,
}

/// Later than anything that happens.
const LATER: &str = "2100-01-01T00:00:00.000Z";

impl Look {
    async fn ask(
        self,
        client: &mut Client,
        Sender { credentials, room }: &Sender,
    ) -> Result<(), ClientError> {
        match self {
            Self::Newest => {
                rest::fetch_history(client, credentials, room, None, HISTORY_PAGE).await
            }
            Self::Path(path) => rest::look(client, credentials, path, &[]).await,
            Self::Themselves => {
                let user = [("userId", credentials.user_id())];
                rest::look(client, credentials, "users.info", &user).await
            }
            Self::Changes(path) => {
                rest::look(client, credentials, path, &[("updatedSince", LATER)]).await
            }
            Self::MarkRead => rest::mark_read(client, credentials, room).await,
        }
    }
}

impl Bench {
    /// Runs all measurements; `texts` (not empty) are what is sent.
    pub async fn run(&self, texts: &[&str]) -> Result<Figures, ClientError> {
        let (mut client, admin) = self.administrator().await?;
        let run = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        let senders = self.senders(&admin, run).await?;
        let mut failure = None;
        let mut table = Table::default();

        let info = self.measure(
            "GET /api/info",
            u64::MAX,
            Budget::default(),
            &mut failure,
            async |client, _, _| rest::info(client).await,
        );
        table.0.push(info.await);

        let budget = Budget {
            ratio: Some(0.4),
            p99: Some(Duration::from_millis(10)),
        };
        let sends = self.measure(
            "chat.sendMessage",
            self.messages,
            budget,
            &mut failure,
            async |client, worker, turn| {
                let Sender { credentials, room } = &senders[worker];
                let text = texts[turn as usize % texts.len()];
                rest::send_message(client, credentials, room, &message_id(run, turn, &[]), text)
                    .await
            },
        );
        table.0.push(sends.await);

        let started = Instant::now();
        let mut lag_after_sends = 0;
        for sender in senders.iter().take(self.rooms) {
            let page = rest::history(&mut client, &admin, &sender.room, None, 0, 1).await?;
            lag_after_sends = page.lag.max(lag_after_sends);
        }
        let first_read_took = started.elapsed();

        let looks = [
            ("channels.history, newest 50", 0.5, Look::Newest),
            ("me", 0.6, Look::Path("me")),
            ("users.info", 0.6, Look::Themselves),
            ("rooms.get, nothing new", 0.6, Look::Changes("rooms.get")),
            (
                "subscriptions.get, nothing new",
                0.6,
                Look::Changes("subscriptions.get"),
            ),
            ("subscriptions.read", 0.3, Look::MarkRead),
        ];
        for (what, ratio, look) in looks {
            let budget = Budget {
                ratio: Some(ratio),
                p99: None,
            };
            let looks = self.measure(
                what,
                u64::MAX,
                budget,
                &mut failure,
                async |client, worker, _| look.ask(client, &senders[worker]).await,
            );
            table.0.push(looks.await);
        }

        let places = self.places(&mut client, &admin, run).await?;
        let budget = Budget {
            ratio: Some(0.25),
            p99: Some(Duration::from_millis(15)),
        };
        let pages = self.measure(
            "channels.history, older 50",
            u64::MAX,
            budget,
            &mut failure,
            async |client, _, turn| {
                let place = &places[turn as usize % places.len()];
                let latest = Some(place.ts.as_str());
                rest::fetch_history(client, &admin, &place.room, latest, HISTORY_PAGE).await
            },
        );
        table.0.push(pages.await);

        let probes: Vec<(&str, &str)> = places
            .iter()
            .filter_map(|place| Some((place.room.as_str(), place.word.as_deref()?)))
            .collect();
        let budget = Budget {
            ratio: None,
            p99: Some(Duration::from_millis(15)),
        };
        if !probes.is_empty() {
            let searches = self.measure(
                "chat.search",
                u64::MAX,
                budget,
                &mut failure,
                async |client, _, turn| {
                    let (room, word) = probes[turn as usize % probes.len()];
                    rest::search(client, &admin, room, word).await.map(drop)
                },
            );
            table.0.push(searches.await);
        }
        Ok(Figures {
            table,
            lag_after_sends,
            first_read_took,
            first_failure: failure,
        })
    }

    /// A connection, and the administrator's session.
    pub(super) async fn administrator(&self) -> Result<(Client, Credentials), ClientError> {
        let mut client = Client::new(self.connection.clone());
        let Administrator { user, password, .. } = &self.administrator;
        let admin = rest::login(&mut client, user, password).await?;
        Ok((client, admin))
    }

    /// Calls `ask` with worker and turn on every connection until the time or the turns are over.
    pub(super) async fn measure(
        &self,
        what: &str,
        turns: u64,
        budget: Budget,
        failure: &mut Option<ClientError>,
        ask: impl AsyncFn(&mut Client, usize, u64) -> Result<(), ClientError>,
    ) -> Measured {
        let one = [(what, budget)];
        let ask = async |client: &mut Client, worker, _, turn| ask(client, worker, turn).await;
        let measured = self.measure_all(&one, turns, failure, |_| 0, ask);
        // One of each kind.
        measured.await.remove(0)
    }

    /// The same of several kinds of calls at once: `kind` says of which a turn is, and `ask` is told.
    pub(super) async fn measure_kinds(
        &self,
        kinds: &[(&str, Budget)],
        turns: u64,
        failure: &mut Option<ClientError>,
        kind: impl Fn(u64) -> usize,
        ask: impl AsyncFn(&mut Client, usize, u64) -> Result<(), ClientError>,
    ) -> Vec<Measured> {
        self.measure_all(
            kinds,
            turns,
            failure,
            kind,
            async |client, _, kind, turn| ask(client, kind, turn).await,
        )
        .await
    }

    async fn measure_all(
        &self,
        kinds: &[(&str, Budget)],
        turns: u64,
        failure: &mut Option<ClientError>,
        kind: impl Fn(u64) -> usize,
        ask: impl AsyncFn(&mut Client, usize, usize, u64) -> Result<(), ClientError>,
    ) -> Vec<Measured> {
        // Connecting is not measured. Whoever can't connect fails in the measurement.
        let clients = join_all((0..self.connections.max(1)).map(|_| async {
            let mut client = Client::new(self.connection.clone());
            let _ = rest::info(&mut client).await;
            client
        }));
        let clients = clients.await;
        let turn = AtomicU64::new(0);
        let started = Instant::now();
        let workers = clients.into_iter().enumerate().map(|(worker, mut client)| {
            let (ask, kind, turn) = (&ask, &kind, &turn);
            async move {
                let mut done = vec![(Latencies::default(), 0_u64); kinds.len()];
                let mut first = None;
                while started.elapsed() < self.time {
                    let mine = turn.fetch_add(1, Ordering::Relaxed);
                    if mine >= turns {
                        break;
                    }
                    let kind = kind(mine);
                    let asked = Instant::now();
                    match ask(&mut client, worker, kind, mine).await {
                        Ok(()) => done[kind].0.record(asked.elapsed()),
                        Err(error) => {
                            done[kind].1 += 1;
                            first.get_or_insert(error);
                        }
                    }
                }
                (done, first)
            }
        });
        let all = join_all(workers).await;
        let took = started.elapsed();
        let empty = |(what, budget): &(&str, Budget)| Measured {
            what: (*what).to_owned(),
            took,
            latencies: Latencies::default(),
            failed: 0,
            budget: *budget,
        };
        let mut measured: Vec<_> = kinds.iter().map(empty).collect();
        for (done, first) in all {
            for (measured, (latencies, failed)) in measured.iter_mut().zip(done) {
                measured.latencies += &latencies;
                measured.failed += failed;
            }
            *failure = failure.take().or(first);
        }
        measured
    }

    /// Rooms of this run, and a person for each connection who is in one of them.
    async fn senders(&self, admin: &Credentials, run: u64) -> Result<Vec<Sender>, ClientError> {
        let mut client = Client::new(self.connection.clone());
        let mut rooms = Vec::new();
        for room in 0..self.rooms.max(1) {
            rooms.push(
                rest::create_channel(&mut client, admin, &format!("bench-{run}-{room}")).await?,
            );
        }
        let secret = self.administrator.token_secret.as_deref();
        let mut senders = Vec::new();
        for worker in 0..self.connections.max(1) {
            // No nick becomes such a username: an escape goes on with x or c.
            let username = format!("bench.{worker}");
            let email = format!("bench{worker}@chat.example");
            let id = rest::create_user(&mut client, admin, &username, &username, &email).await?;
            let credentials = rest::create_token(&mut client, admin, &id, secret).await?;
            let room = rooms[worker % rooms.len()].clone();
            rest::join(&mut client, &credentials, &room).await?;
            senders.push(Sender { credentials, room });
        }
        Ok(senders)
    }

    /// Places at random in the history of all channels, more in those with more messages.
    async fn places(
        &self,
        client: &mut Client,
        admin: &Credentials,
        seed: u64,
    ) -> Result<Vec<Place>, ClientError> {
        let channels: Vec<Room> = rest::channels(client, admin)
            .await?
            .into_iter()
            .filter(|room| room.msgs > 0)
            .collect();
        let total: u64 = channels.iter().map(|room| room.msgs).sum();
        let mut dice = Dice::new(seed);
        let mut picks = Vec::with_capacity(PLACES);
        while total > 0 && picks.len() < PLACES {
            let mut place = dice.roll() % total;
            let room = channels.iter().find(|room| {
                let is_here = place < room.msgs;
                if !is_here {
                    place -= room.msgs;
                }
                is_here
            });
            picks.extend(room.map(|room| (room.id.as_str(), place as usize)));
        }
        let next = AtomicUsize::new(0);
        let workers = (0..self.connections.clamp(1, 8)).map(|_| async {
            let mut client = Client::new(self.connection.clone());
            let mut places = Vec::new();
            while let Some((room, offset)) = picks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let page = rest::history(&mut client, admin, room, None, *offset, 1).await?;
                places.extend(page.messages.into_iter().map(|message| {
                    Place {
                        room: (*room).to_owned(),
                        word: words(&message.msg)
                            .max_by_key(|word| word.len())
                            .map(str::to_owned),
                        ts: message.ts,
                    }
                }));
            }
            Ok::<_, ClientError>(places)
        });
        Ok(try_join_all(workers).await?.into_iter().flatten().collect())
    }
}

/// The resident memory of a process in bytes, where the system tells.
pub fn resident_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
