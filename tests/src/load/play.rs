//! Plays a chat: makes its people and rooms, then lets everybody join, speak and rename through REST,
//! each message sent by its author.
//!
//! People join one by one as themselves (`channels.join`) where the log has them join, although the
//! administrator could invite them in bulk beforehand for less: that way joins and messages meet in
//! the same room at the same time, as they do in life, at the price of a tenth more requests.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures::future::join_all;

use super::chat::{Chat, Step};
use super::client::{Client, ClientError, Connection, Credentials, Patience};
use super::enroll::{Actor, Administrator};
use super::lanes::Lanes;
use super::latency::Latencies;
use super::manifest::{Manifest, Member, Name, Sent};
use super::message_ids::message_id;
use super::progress::Progress;
use super::report::Report;
use super::{rest, usernames};

/// How much of the log's order is kept while sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// One request in flight a room: the room's history has the log's exact order.
    Strict,
    /// One request in flight a person and room: everybody's own order, and whatever was
    /// acknowledged stands before whatever was sent later.
    Relaxed,
}

/// Plays chats.
#[derive(Debug, Clone)]
pub struct Player {
    pub connection: Connection,
    pub administrator: Administrator,
    pub connections: usize,
    pub order: Order,
    /// Goes into the message ids: the same chat with the same seed sends the same messages.
    pub seed: u64,
    /// Where the id of each acknowledged message is appended, a line each, at once.
    pub ack_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the file for acknowledgements {0} can't be written: {1}")]
    AckFile(PathBuf, #[source] io::Error),
}

/// What came of it.
#[derive(Debug)]
pub struct Played {
    pub manifest: Manifest,
    pub report: Report,
    /// Why it ended early, if it did. The manifest is whole even then.
    pub stopped: Option<PlayError>,
}

const REFUSALS_SHOWN: usize = 20;

/// What all workers of a play share.
struct Stage<'a> {
    chat: &'a Chat,
    rooms: Vec<String>,
    actors: Vec<Actor>,
    admin: Credentials,
    /// One clock for the order of sends and acknowledgements.
    ticks: AtomicU64,
    stopped: AtomicBool,
    ack_file: Option<(PathBuf, File)>,
    progress: Progress,
}

/// What one worker did.
#[derive(Default)]
struct Done {
    sent: Vec<(usize, Sent)>,
    members: Vec<Member>,
    /// By the step's place, so that the last one counts.
    names: Vec<(usize, Name)>,
    refused: Vec<String>,
    sends: Latencies,
    patience: Patience,
    stopped: Option<PlayError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Lane {
    Room(usize),
    Speaker(usize, usize),
    Name(usize),
}

impl Order {
    fn lane(self, step: &Step) -> Lane {
        match (self, step) {
            (
                Self::Strict,
                Step::Join { room, .. } | Step::Message { room, .. } | Step::Rename { room, .. },
            ) => Lane::Room(*room),
            (Self::Relaxed, Step::Join { room, user } | Step::Message { room, user, .. }) => {
                Lane::Speaker(*room, *user)
            }
            (Self::Relaxed, Step::Rename { user, .. }) => Lane::Name(*user),
        }
    }
}

impl Player {
    /// Plays `chat`. Whoever and whatever is there already is used as it is.
    pub async fn play(&self, chat: &Chat) -> Result<Played, PlayError> {
        let started = Instant::now();
        let mut client = Client::new(self.connection.clone());
        let admin = rest::login(
            &mut client,
            &self.administrator.user,
            &self.administrator.password,
        )
        .await?;
        let mut rooms = Vec::with_capacity(chat.rooms.len());
        for name in &chat.rooms {
            rooms.push(rest::create_channel(&mut client, &admin, name).await?);
        }
        let (actors, patience) = self.enroll(&admin, chat).await?;
        let enrolling_took = started.elapsed();
        let stage = Stage {
            chat,
            rooms,
            actors,
            admin,
            ticks: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            ack_file: self.open_ack_file()?,
            progress: Progress::new("playing", chat.steps.len() as u64),
        };
        let steps = chat
            .steps
            .iter()
            .enumerate()
            .map(|(place, step)| (self.order.lane(step), (place, step)));
        let lanes = Mutex::new(Lanes::new(steps));
        let started = Instant::now();
        let workers = (0..self.connections.max(1)).map(|_| self.work(&stage, &lanes));
        let done = join_all(workers).await;
        stage.progress.finish();
        let playing_took = started.elapsed();
        let mut played = gather(done);
        played.report.people = stage.actors.len();
        played.report.rooms = stage.rooms.len();
        played.report.patience += patience;
        played.report.enrolling_took = enrolling_took;
        played.report.playing_took = playing_took;
        Ok(played)
    }

    fn open_ack_file(&self) -> Result<Option<(PathBuf, File)>, PlayError> {
        let Some(path) = &self.ack_file else {
            return Ok(None);
        };
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Some((
            path.clone(),
            file.map_err(|error| PlayError::AckFile(path.clone(), error))?,
        )))
    }

    async fn work<'a, I>(
        &self,
        stage: &Stage<'_>,
        lanes: &Mutex<Lanes<Lane, (usize, &'a Step), I>>,
    ) -> Done
    where
        I: Iterator<Item = (Lane, (usize, &'a Step))>,
    {
        let mut client = Client::new(self.connection.clone());
        let mut done = Done::default();
        let mut finished = None;
        while !stage.stopped.load(Ordering::Relaxed) {
            let next = lanes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next(finished);
            let Some((lane, (place, step))) = next else {
                break;
            };
            finished = Some(lane);
            match self.take(stage, &mut client, place, step, &mut done).await {
                Ok(()) => stage.progress.advance(),
                Err(PlayError::Client(error)) if error.is_refusal() => {
                    done.refused.push(error.to_string());
                }
                Err(error) => {
                    stage.stopped.store(true, Ordering::Relaxed);
                    done.stopped = Some(error);
                }
            }
        }
        done.patience = client.patience;
        done
    }

    async fn take(
        &self,
        stage: &Stage<'_>,
        client: &mut Client,
        place: usize,
        step: &Step,
        done: &mut Done,
    ) -> Result<(), PlayError> {
        match step {
            Step::Join { room, user } => {
                rest::join(
                    client,
                    &stage.actors[*user].credentials,
                    &stage.rooms[*room],
                )
                .await?;
                let user = stage.actors[*user].username.clone();
                done.members.push(Member {
                    room: stage.rooms[*room].clone(),
                    user,
                });
            }
            Step::Rename { user, name, .. } => {
                let actor = &stage.actors[*user];
                let name = usernames::display_name(name);
                rest::rename_user(client, &stage.admin, &actor.id, &name).await?;
                done.names.push((
                    place,
                    Name {
                        user: actor.username.clone(),
                        name,
                    },
                ));
            }
            Step::Message {
                room,
                user,
                number,
                text,
            } => {
                let actor = &stage.actors[*user];
                let content = [&stage.chat.rooms[*room], &actor.username, text].map(String::as_str);
                let id = message_id(self.seed, *number as u64, &content);
                let mut message = Sent {
                    id,
                    room: stage.rooms[*room].clone(),
                    user: actor.username.clone(),
                    text: text.clone(),
                    sent: stage.ticks.fetch_add(1, Ordering::SeqCst),
                    acked: None,
                };
                let started = Instant::now();
                let answer = rest::send_message(
                    client,
                    &actor.credentials,
                    &message.room,
                    &message.id,
                    text,
                )
                .await;
                if answer.is_ok() {
                    message.acked = Some(stage.ticks.fetch_add(1, Ordering::SeqCst));
                    done.sends.record(started.elapsed());
                }
                let noted = if answer.is_ok() {
                    stage.note(&message.id)
                } else {
                    Ok(())
                };
                done.sent.push((place, message));
                answer?;
                noted?;
            }
        }
        Ok(())
    }
}

impl Stage<'_> {
    /// Appends an acknowledged id to the file for them, in one write, so that it is there even if
    /// this process ends right after.
    fn note(&self, id: &str) -> Result<(), PlayError> {
        let Some((path, file)) = &self.ack_file else {
            return Ok(());
        };
        let mut file: &File = file;
        file.write_all(format!("{id}\n").as_bytes())
            .map_err(|error| PlayError::AckFile(path.clone(), error))
    }
}

fn gather(done: Vec<Done>) -> Played {
    let mut sent = Vec::new();
    let mut names = Vec::new();
    let mut report = Report::default();
    let mut manifest = Manifest::default();
    let mut stopped = None;
    for worker in done {
        sent.extend(worker.sent);
        names.extend(worker.names);
        manifest.members.extend(worker.members);
        report.refused += worker.refused.len();
        report.first_refusals.extend(worker.refused);
        report.sends += &worker.sends;
        report.patience += worker.patience;
        stopped = stopped.or(worker.stopped);
    }
    report.first_refusals.truncate(REFUSALS_SHOWN);
    sent.sort_by_key(|(place, _)| *place);
    names.sort_by_key(|(place, _)| *place);
    report.renames = names.len();
    let last: BTreeMap<String, String> = names
        .into_iter()
        .map(|(_, name)| (name.user, name.name))
        .collect();
    manifest.names = last
        .into_iter()
        .map(|(user, name)| Name { user, name })
        .collect();
    manifest.messages = sent.into_iter().map(|(_, message)| message).collect();
    report.joins = manifest.members.len();
    report.acknowledged = manifest
        .messages
        .iter()
        .filter(|message| message.acked.is_some())
        .count();
    Played {
        manifest,
        report,
        stopped,
    }
}
