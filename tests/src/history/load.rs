//! Clients that talk in one room through every node by turns, whatever happens to the nodes, and note
//! what they were told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Acknowledged, History, Outcome, Read, Sent, Shown};
use crate::server::{Client, POSITION, http};

/// How long a client waits for an answer, before it asks another node.
const IMPATIENCE: Duration = Duration::from_secs(5);

/// How long a message is sent again before the client gives it up.
const PERSISTENCE: Duration = Duration::from_secs(120);

/// What a client does when a node has nothing to say.
const PAUSE: Duration = Duration::from_millis(50);

/// Between what a client does and what it does next: the load is there to be disturbed, not to be
/// large.
const BREATH: Duration = Duration::from_millis(20);

/// One read to so many messages.
const READ_EVERY: usize = 2;

/// The messages that a client looks at. Few enough for it to see a full page soon.
const NEWEST: usize = 50;

/// Who talks where.
pub struct Load {
    room: String,
    stop: CancellationToken,
    clients: Vec<JoinHandle<Noted>>,
    went_through: watch::Receiver<WentThrough>,
}

/// What was acknowledged so far.
#[derive(Clone, Copy)]
struct WentThrough {
    messages: usize,
    /// When the attempt began that began last.
    last: Instant,
    /// The greatest position that an answer told.
    written: u64,
    /// The greatest position that was asked for by a read which was answered and not behind.
    shown: u64,
}

struct Noted {
    sent: Vec<Sent>,
    reads: Vec<Read>,
}

impl Load {
    /// Makes the room and the people, and has them talk. The URLs are those of the nodes.
    pub async fn start(nodes: Vec<String>, admin: &Client, clients: usize) -> Self {
        let room = admin.channel("parliament").await;
        let nodes: Arc<[String]> = nodes.into();
        let stop = CancellationToken::new();
        let (tell, went_through) = watch::channel(WentThrough {
            messages: 0,
            last: Instant::now(),
            written: 0,
            shown: 0,
        });
        let began = Instant::now();
        let mut tasks = Vec::new();
        for number in 0..clients {
            let session = admin.member(&format!("member{number}")).await;
            let member = Member {
                number,
                began,
                nodes: nodes.clone(),
                turn: number,
                http: http(),
                user: session.user_id().to_owned(),
                token: session.token().to_owned(),
                room: room.clone(),
                since: admin.seen(),
                heard_of: Vec::new(),
                dice: StdRng::seed_from_u64(number as u64),
                tell: tell.clone(),
                noted: Noted {
                    sent: Vec::new(),
                    reads: Vec::new(),
                },
            };
            tasks.push(tokio::spawn(member.talk(stop.clone())));
        }
        Self {
            room,
            stop,
            clients: tasks,
            went_through,
        }
    }

    /// The room that all talk in.
    pub fn room(&self) -> &str {
        &self.room
    }

    /// Waits until a message is acknowledged that was sent from now on; tells how long that took.
    /// Fails, saying after what, if it takes longer than a limit.
    pub async fn goes_on(&self, after: &str, limit: Duration) -> Duration {
        let now = Instant::now();
        let mut went_through = self.went_through.clone();
        let goes_on = went_through.wait_for(|went| went.last > now);
        let went = tokio::time::timeout(limit, goes_on).await;
        let took = now.elapsed();
        assert!(went.is_ok(), "{after}: no message went through in {took:?}");
        println!("{after}: the next message went through after {took:.1?}");
        took
    }

    /// Waits until a read shows everything that is acknowledged by now; fails if that takes longer
    /// than a limit.
    pub async fn shows(&self, after: &str, limit: Duration) {
        let now = Instant::now();
        let mut went_through = self.went_through.clone();
        let written = went_through.borrow().written;
        let shows = went_through.wait_for(|went| went.shown >= written);
        let shows = tokio::time::timeout(limit, shows).await;
        let took = now.elapsed();
        assert!(shows.is_ok(), "{after}: no read was up to date in {took:?}");
        println!("{after}: a read was up to date after {took:.1?}");
    }

    /// Waits until so many more messages were acknowledged.
    pub async fn talk(&self, messages: usize) {
        let mut went_through = self.went_through.clone();
        let wanted = went_through.borrow().messages + messages;
        let talked = went_through.wait_for(|went| went.messages >= wanted);
        let talked = tokio::time::timeout(PERSISTENCE, talked).await;
        assert!(talked.is_ok(), "{messages} more do not go through");
    }

    /// Lets everybody finish what they are at, and collects what they noted.
    pub async fn stop(self) -> History {
        self.stop.cancel();
        let mut history = History {
            room: self.room,
            ..History::default()
        };
        for client in self.clients {
            let noted = client.await.expect("a client does not panic");
            history.sent.extend(noted.sent);
            history.reads.extend(noted.reads);
        }
        history
    }
}

/// One who talks, with the way that a message of theirs goes.
struct Member {
    number: usize,
    began: Instant,
    nodes: Arc<[String]>,
    turn: usize,
    http: reqwest::Client,
    user: String,
    token: String,
    room: String,
    /// The greatest position that an answer told.
    since: u64,
    /// Messages of anybody's.
    heard_of: Vec<String>,
    dice: StdRng,
    tell: watch::Sender<WentThrough>,
    noted: Noted,
}

/// What is to be told to the clients' history when a node has answered for good.
struct Answered {
    /// When the attempt began that was answered.
    attempt: Instant,
    status: StatusCode,
    position: Option<u64>,
    behind: bool,
    body: Value,
}

impl Member {
    async fn talk(mut self, stop: CancellationToken) -> Noted {
        for number in 0.. {
            if stop.is_cancelled() {
                break;
            }
            self.say(number).await;
            if number % READ_EVERY == 0 {
                self.read().await;
            }
            tokio::time::sleep(BREATH).await;
        }
        self.noted
    }

    async fn say(&mut self, number: usize) {
        // Never used before, also not by a run on the same log. Of Rocket.Chat's form, so that it is kept.
        let id = format!(
            "m{:02}n{number:05}{:08x}",
            self.number % 100,
            rand::random::<u32>()
        );
        let text = format!("motion {number} of member {}", self.number);
        let body = json!({ "message": { "_id": id, "rid": self.room, "msg": text } });
        let asked = self.began.elapsed();
        let answer = self
            .until_answered(Method::POST, "chat.sendMessage", Some(&body))
            .await;
        let at = self.began.elapsed();
        let outcome = match answer {
            None => Outcome::Unknown,
            Some(answer) if answer.status.is_success() => {
                let position = answer.position.unwrap_or_default();
                self.since = self.since.max(position);
                self.heard_of.push(id.clone());
                self.tell.send_modify(|went| {
                    went.messages += 1;
                    went.last = answer.attempt.max(went.last);
                    went.written = went.written.max(position);
                });
                Outcome::Acknowledged(Acknowledged {
                    at,
                    shows: text_of(&answer.body["message"]["ts"]),
                    position,
                })
            }
            Some(answer) => Outcome::Refused(format!("{} {}", answer.status, answer.body)),
        };
        self.noted.sent.push(Sent {
            client: self.number,
            id,
            sender: self.user.clone(),
            text,
            asked,
            outcome,
        });
    }

    /// Looks at the newest messages or at one that it has heard of.
    async fn read(&mut self) {
        let one = match self.heard_of.len() {
            0 => None,
            many if self.dice.random_bool(0.5) => {
                Some(self.heard_of[self.dice.random_range(0..many)].clone())
            }
            _ => None,
        };
        let operation = match &one {
            Some(id) => format!("chat.getMessage?msgId={id}"),
            None => format!("channels.history?roomId={}&count={NEWEST}", self.room),
        };
        let asked = self.began.elapsed();
        let since = self.since;
        let Some(answer) = self.until_answered(Method::GET, &operation, None).await else {
            return;
        };
        let shown = match one {
            Some(id) => Shown::One {
                there: answer.status.is_success() && answer.body["message"]["_id"] == id.as_str(),
                id,
            },
            None => {
                assert!(
                    answer.status.is_success(),
                    "the history of the room: {} {}",
                    answer.status,
                    answer.body
                );
                let messages: Vec<_> = answer.body["messages"]
                    .as_array()
                    .expect("messages")
                    .iter()
                    .map(|message| (text_of(&message["_id"]), text_of(&message["ts"])))
                    .collect();
                self.heard_of
                    .extend(messages.first().map(|(id, _)| id.clone()));
                Shown::Newest {
                    full: messages.len() == NEWEST,
                    messages,
                }
            }
        };
        if !answer.behind {
            self.tell
                .send_modify(|went| went.shown = went.shown.max(since));
        }
        self.noted.reads.push(Read {
            client: self.number,
            asked,
            answered: self.began.elapsed(),
            since,
            behind: answer.behind,
            shown,
        });
    }

    /// Asks one node after the other until one answers something else than that it can't.
    async fn until_answered(
        &mut self,
        method: Method,
        operation: &str,
        body: Option<&Value>,
    ) -> Option<Answered> {
        let since = Instant::now();
        while since.elapsed() < PERSISTENCE {
            let attempt = Instant::now();
            let request = self.request(method.clone(), operation);
            let request = match body {
                Some(body) => request.json(body),
                None => request,
            };
            // A node that is not there refuses the connection or cuts it; a frozen one says nothing.
            if let Ok(response) = request.send().await
                && let Some(answer) = Answered::of(attempt, response).await
                && !answer.says_try_again()
            {
                return Some(answer);
            }
            tokio::time::sleep(PAUSE).await;
        }
        None
    }

    fn request(&mut self, method: Method, operation: &str) -> RequestBuilder {
        self.turn += 1;
        let node = &self.nodes[self.turn % self.nodes.len()];
        self.http
            .request(method, format!("{node}/api/v1/{operation}"))
            .timeout(IMPATIENCE)
            .header("X-Auth-Token", &self.token)
            .header("X-User-Id", &self.user)
            .header(POSITION, self.since)
    }
}

impl Answered {
    async fn of(attempt: Instant, response: Response) -> Option<Self> {
        let status = response.status();
        let position = response.headers().get(POSITION);
        let position = position.and_then(|at| at.to_str().ok()?.parse().ok());
        let behind = response.headers().contains_key("Hansard-Lag");
        let body = response.bytes().await.ok()?;
        Some(Self {
            attempt,
            status,
            position,
            behind,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }

    /// The server's word for it is 503; a conflict that it gave up to settle is one, too.
    fn says_try_again(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE || self.body["errorType"] == "error-conflict"
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
