//! What clients were told, held against the log.
//!
//! Clients note what they sent, when they asked and what they were answered, and what they were shown
//! when they read. Afterwards the log is read as a whole, and [`check`] tells what does not fit:
//! messages that are lost, doubled, in the wrong order or from nobody, and reads that go back in time.
//! The clients are in [`load`]; here is only the judgement, which knows no server.

pub mod load;
pub mod log;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use self::log::{Recorded, What};

/// Since the history began, by the one clock of those who wrote it.
pub type Moment = Duration;

/// How much earlier than an election the time of an event may be that stands after it: what the
/// elected node had begun to decide. All clocks are one clock here.
const BEGUN: i64 = 1_000;

/// A message that a client sent, again and again until it was answered.
#[derive(Debug, Clone)]
pub struct Sent {
    pub client: usize,
    /// Chosen by the client.
    pub id: String,
    pub sender: String,
    pub text: String,
    pub asked: Moment,
    pub outcome: Outcome,
}

#[derive(Debug, Clone)]
pub enum Outcome {
    Acknowledged(Acknowledged),
    /// It was told that it must not be sent.
    Refused(String),
    /// The end came before an answer.
    Unknown,
}

#[derive(Debug, Clone)]
pub struct Acknowledged {
    pub at: Moment,
    /// The time that the message shows.
    pub shows: String,
    /// A read from here on shows the message.
    pub position: u64,
}

/// What a client was shown.
#[derive(Debug, Clone)]
pub struct Read {
    pub client: usize,
    pub asked: Moment,
    pub answered: Moment,
    /// The position that the client sent along.
    pub since: u64,
    /// The node said that its view was behind that position.
    pub behind: bool,
    pub shown: Shown,
}

#[derive(Debug, Clone)]
pub enum Shown {
    /// Whether the message with an id is there.
    One { id: String, there: bool },
    /// The newest messages of the room: ids, and the times that they show.
    Newest {
        messages: Vec<(String, String)>,
        /// There may be older ones.
        full: bool,
    },
}

impl Shown {
    /// Whether this answer would show a message if it were there.
    fn would_show(&self, id: &str, shows: &str) -> bool {
        match self {
            Self::One { id: wanted, .. } => wanted == id,
            Self::Newest { full: false, .. } => true,
            // Those of the same time as the last one may be before or after it.
            Self::Newest { messages, .. } => messages
                .iter()
                .map(|(_, shows)| shows.as_str())
                .min()
                .is_some_and(|oldest| shows > oldest),
        }
    }

    fn ids(&self) -> HashSet<&str> {
        match self {
            Self::One { id, there: true } => HashSet::from([id.as_str()]),
            Self::One { there: false, .. } => HashSet::new(),
            Self::Newest { messages, .. } => messages.iter().map(|(id, _)| id.as_str()).collect(),
        }
    }
}

/// Everything that the clients noted. Each client's notes stand in its own order.
#[derive(Debug, Default)]
pub struct History {
    /// The only room that was written to.
    pub room: String,
    pub sent: Vec<Sent>,
    pub reads: Vec<Read>,
}

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{id} was acknowledged and is not in the log")]
    Lost { id: String },
    #[error("{id} stands in the log at {first} and again at {again}")]
    Doubled { id: String, first: u64, again: u64 },
    #[error("{id} at {position} was sent by nobody")]
    Phantom { id: String, position: u64 },
    #[error("{id} stands in the log otherwise than it was sent or answered")]
    Altered { id: String },
    #[error("{id} stands at {position}, but its answer promised to show it from {told} on")]
    Underrated {
        id: String,
        position: u64,
        told: u64,
    },
    #[error("{earlier} was acknowledged before {later} was sent, and stands after it")]
    Reordered { earlier: String, later: String },
    #[error("client {client} sent {earlier} before {later}, and it stands after it")]
    OutOfTurn {
        client: usize,
        earlier: String,
        later: String,
    },
    #[error("{id} was refused: {said}")]
    Refused { id: String, said: String },
    #[error("client {client} had seen {id} and was not shown it any more at {since}")]
    WentBack {
        client: usize,
        id: String,
        since: u64,
    },
    #[error("client {client} was not shown {id}, which stands before {since}")]
    Behind {
        client: usize,
        id: String,
        since: u64,
    },
    #[error("client {client} was shown {id}, which is not in the log")]
    Invented { client: usize, id: String },
    #[error("the log's position {position} does not follow the one before it")]
    Unordered { position: u64 },
    #[error("{stream} at {position}: version {version} does not follow the one before it")]
    VersionsBroken {
        stream: String,
        position: u64,
        version: u64,
    },
    #[error("{position} was decided before the election at {election}, after which it stands")]
    NotElected { position: u64, election: u64 },
}

/// What was looked at, for a reader who wants to know that it was something.
#[derive(Debug, Clone, Copy)]
pub struct Looked {
    pub sent: usize,
    pub acknowledged: usize,
    pub reads: usize,
    /// Reads that said of themselves that they were behind.
    pub behind: usize,
    pub events: usize,
    pub elections: usize,
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages sent, {} acknowledged; {} reads, {} of them said to be behind; {} events, \
             {} elections",
            self.sent, self.acknowledged, self.reads, self.behind, self.events, self.elections
        )
    }
}

impl History {
    pub fn looked(&self, log: &[Recorded]) -> Looked {
        let acknowledged = |sent: &&Sent| matches!(sent.outcome, Outcome::Acknowledged(_));
        Looked {
            sent: self.sent.len(),
            acknowledged: self.sent.iter().filter(acknowledged).count(),
            reads: self.reads.len(),
            behind: self.reads.iter().filter(|read| read.behind).count(),
            events: log.len(),
            elections: log
                .iter()
                .filter(|event| matches!(event.what, What::Elected { .. }))
                .count(),
        }
    }

    /// The longest time in which nothing was acknowledged, between the first answer and the last.
    pub fn longest_pause(&self) -> Duration {
        let mut answers: Vec<Moment> = self.sent.iter().filter_map(Sent::answered).collect();
        answers.sort_unstable();
        let pauses = answers
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]));
        pauses.max().unwrap_or_default()
    }
}

impl Sent {
    fn acknowledged(&self) -> Option<&Acknowledged> {
        match &self.outcome {
            Outcome::Acknowledged(answer) => Some(answer),
            Outcome::Refused(_) | Outcome::Unknown => None,
        }
    }

    fn answered(&self) -> Option<Moment> {
        self.acknowledged().map(|answer| answer.at)
    }
}

/// A message as it stands in the log.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    position: u64,
    shows: &'a str,
}

type Places<'a> = HashMap<&'a str, Place<'a>>;

/// Everything in the history that the log, read from its beginning to its end, does not bear out.
pub fn check(history: &History, log: &[Recorded]) -> Vec<Fault> {
    let mut faults = log_in_itself(log);
    let places = messages(history, log, &mut faults);
    acknowledgements(history, &places, &mut faults);
    order(history, &places, &mut faults);
    reads(history, log, &places, &mut faults);
    faults
}

/// Positions rise, each stream counts its events without a gap, and what follows an election was
/// decided after it: two nodes that wrote at once would break one of these.
fn log_in_itself(log: &[Recorded]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut versions: HashMap<&str, u64> = HashMap::new();
    let mut last = 0;
    let mut election: Option<&Recorded> = None;
    for event in log {
        let position = event.position;
        if position <= last {
            faults.push(Fault::Unordered { position });
        }
        last = position;
        let version = versions.entry(&event.stream).or_default();
        if event.version != *version + 1 {
            faults.push(Fault::VersionsBroken {
                stream: event.stream.clone(),
                position,
                version: event.version,
            });
        }
        *version = event.version;
        if let Some(election) = election
            && event.at + BEGUN < election.at
        {
            faults.push(Fault::NotElected {
                position,
                election: election.position,
            });
        }
        if matches!(event.what, What::Elected { .. }) {
            election = Some(event);
        }
    }
    faults
}

/// Where each message of the room stands; tells of those that stand twice, that nobody sent, and that
/// stand otherwise than they were sent.
fn messages<'a>(history: &History, log: &'a [Recorded], faults: &mut Vec<Fault>) -> Places<'a> {
    let sent: HashMap<&str, &Sent> = history
        .sent
        .iter()
        .map(|sent| (sent.id.as_str(), sent))
        .collect();
    let mut places = Places::new();
    for event in log {
        let What::Said(message) = &event.what else {
            continue;
        };
        if message.room != history.room {
            continue;
        }
        let position = event.position;
        let id = || message.id.clone();
        if let Some(first) = places.get(message.id.as_str()) {
            let (first, again) = (first.position, position);
            faults.push(Fault::Doubled {
                id: id(),
                first,
                again,
            });
            continue;
        }
        let place = Place {
            position,
            shows: &message.shows,
        };
        places.insert(&message.id, place);
        let Some(sent) = sent.get(message.id.as_str()) else {
            faults.push(Fault::Phantom { id: id(), position });
            continue;
        };
        let shown_so = sent
            .acknowledged()
            .is_none_or(|answer| answer.shows == message.shows);
        if sent.text != message.text || sent.sender != message.sender || !shown_so {
            faults.push(Fault::Altered { id: id() });
        }
    }
    places
}

fn acknowledgements(history: &History, places: &Places, faults: &mut Vec<Fault>) {
    for sent in &history.sent {
        let id = || sent.id.clone();
        let place = places.get(sent.id.as_str());
        match (&sent.outcome, place) {
            (Outcome::Refused(said), _) => {
                let said = said.clone();
                faults.push(Fault::Refused { id: id(), said });
            }
            (Outcome::Acknowledged(_), None) => faults.push(Fault::Lost { id: id() }),
            (Outcome::Acknowledged(answer), Some(place)) if answer.position < place.position => {
                faults.push(Fault::Underrated {
                    id: id(),
                    position: place.position,
                    told: answer.position,
                });
            }
            (Outcome::Acknowledged(_) | Outcome::Unknown, _) => {}
        }
    }
}

/// The order of the log is one in which things can have happened.
fn order(history: &History, places: &Places, faults: &mut Vec<Fault>) {
    let mut standing: Vec<(u64, &Sent)> = history
        .sent
        .iter()
        .filter_map(|sent| Some((places.get(sent.id.as_str())?.position, sent)))
        .collect();
    standing.sort_unstable_by_key(|(position, _)| *position);
    // From the end: of all that stand later, the one that was answered first.
    let mut first_answered: Option<(Moment, &Sent)> = None;
    for (_, later) in standing.iter().rev() {
        if let Some((answered, earlier)) = first_answered
            && answered < later.asked
        {
            faults.push(Fault::Reordered {
                earlier: earlier.id.clone(),
                later: later.id.clone(),
            });
        }
        if let Some(answered) = later.answered()
            && first_answered.is_none_or(|(first, _)| answered < first)
        {
            first_answered = Some((answered, later));
        }
    }
    let mut before: HashMap<usize, (u64, &Sent)> = HashMap::new();
    for later in history.sent.iter().filter(|sent| sent.answered().is_some()) {
        let Some(place) = places.get(later.id.as_str()) else {
            continue;
        };
        let earlier = before.insert(later.client, (place.position, later));
        if let Some((position, earlier)) = earlier
            && position > place.position
        {
            faults.push(Fault::OutOfTurn {
                client: later.client,
                earlier: earlier.id.clone(),
                later: later.id.clone(),
            });
        }
    }
}

/// A read shows everything up to the position that it sent along, and nothing that is not in the log.
fn reads(history: &History, log: &[Recorded], places: &Places, faults: &mut Vec<Fault>) {
    // System messages are shown too, and sent by nobody.
    let known: HashSet<&str> = log
        .iter()
        .filter_map(|event| event.stream.strip_prefix("message-"))
        .collect();
    let mut in_order: Vec<(u64, &str, &str)> = places
        .iter()
        .map(|(id, place)| (place.position, *id, place.shows))
        .collect();
    in_order.sort_unstable();
    // When each client first had a message before it: by an answer of either kind.
    let mut saw: HashMap<(usize, &str), Moment> = HashMap::new();
    let acknowledged = history
        .sent
        .iter()
        .filter_map(|sent| Some(((sent.client, sent.id.as_str()), sent.answered()?)));
    let shown = history.reads.iter().flat_map(|read| {
        let ids = read.shown.ids().into_iter();
        ids.map(|id| ((read.client, id), read.answered))
    });
    for (what, at) in acknowledged.chain(shown) {
        let first = saw.entry(what).or_insert(at);
        *first = at.min(*first);
    }
    for read in &history.reads {
        let (client, since) = (read.client, read.since);
        let shown = read.shown.ids();
        for id in shown.iter().filter(|id| !known.contains(*id)) {
            let id = (*id).to_owned();
            faults.push(Fault::Invented { client, id });
        }
        // It said so; nobody was misled.
        if read.behind {
            continue;
        }
        let before = in_order.partition_point(|(position, _, _)| *position <= since);
        for (_, id, shows) in &in_order[..before] {
            if shown.contains(id) || !read.shown.would_show(id, shows) {
                continue;
            }
            let seen = saw.get(&(client, *id)).is_some_and(|at| *at < read.asked);
            let id = (*id).to_owned();
            faults.push(if seen {
                Fault::WentBack { client, id, since }
            } else {
                Fault::Behind { client, id, since }
            });
        }
    }
}
