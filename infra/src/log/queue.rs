//! What waits for the writer of a log, and how it is gathered: whoever waits when a write begins shares
//! it with all others.

use std::convert::Infallible;

use hansard_domain::log::{Commit, LogError, Outcome};
use tokio::sync::{mpsc, oneshot};

use super::closed;

/// Requests that may wait for the writer; whoever comes after waits for a place.
const WAITING: usize = 1024;

/// A batch takes no further append once it has this many events.
const BATCH_EVENTS: usize = 4096;

/// And once it has this many bytes, where nothing else limits it.
pub const BATCH_BYTES: usize = 8 << 20;

/// What became of the commits of one append, in their order.
pub type Answer = Result<Vec<Outcome>, LogError>;

/// What a writer can be asked; some can be asked something of their own.
enum Request<Own> {
    Append {
        commits: Vec<Commit>,
        answer: oneshot::Sender<Answer>,
    },
    Own(Own),
    Close(oneshot::Sender<()>),
}

/// Two ends of a queue, for those who ask and for the writer, whose batches have about so many bytes at
/// most, unless one append alone has more.
pub fn queue<Own>(bytes: usize) -> (Asking<Own>, Queue<Own>) {
    let (requests, asked) = mpsc::channel(WAITING);
    let queue = Queue {
        requests: asked,
        held: None,
        bytes,
    };
    (Asking { requests }, queue)
}

/// The end of those who ask.
pub struct Asking<Own = Infallible> {
    requests: mpsc::Sender<Request<Own>>,
}

impl<Own> Asking<Own> {
    /// Has commits written.
    pub async fn append(&self, commits: Vec<Commit>) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Append { commits, answer }).await?;
        answered.await.map_err(|_| closed())?
    }

    /// Asks something of the writer's own.
    pub async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Own,
    ) -> Result<T, LogError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Own(question(answer))).await?;
        answered.await.map_err(|_| closed())?
    }

    /// Tells the writer something that has no answer.
    pub async fn tell(&self, own: Own) {
        // A writer that is gone needs to be told nothing.
        let _ = self.send(Request::Own(own)).await;
    }

    /// Returns when all that waits is answered and the writer writes no more.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.send(Request::Close(done)).await.is_ok() {
            // The writer answers or is gone; either way it writes no more.
            let _ = closed.await;
        }
    }

    async fn send(&self, request: Request<Own>) -> Result<(), LogError> {
        self.requests.send(request).await.map_err(|_| closed())
    }
}

/// The writer's end.
pub struct Queue<Own = Infallible> {
    requests: mpsc::Receiver<Request<Own>>,
    /// What came after the appends of the last batch, and is no append.
    held: Option<Request<Own>>,
    bytes: usize,
}

/// What a writer is to do next.
pub enum Work<Own = Infallible> {
    Batch(Gathered),
    Own(Own),
    /// To end, and to say so if somebody waits for that.
    Close(Option<oneshot::Sender<()>>),
}

impl<Own> Queue<Own> {
    /// Waits for something to do. Nothing is lost if nobody waits for it to return.
    pub async fn next(&mut self) -> Work<Own> {
        let first = match self.held.take() {
            Some(held) => Some(held),
            None => self.requests.recv().await,
        };
        let (commits, answer) = match first {
            None => return Work::Close(None),
            Some(Request::Close(done)) => return Work::Close(Some(done)),
            Some(Request::Own(own)) => return Work::Own(own),
            Some(Request::Append { commits, answer }) => (commits, answer),
        };
        let mut gathered = Gathered::default();
        gathered.add(commits, answer);
        while gathered.events < BATCH_EVENTS && gathered.bytes < self.bytes {
            match self.requests.try_recv() {
                // What was decided after a position has to be the first that is written there.
                Ok(Request::Append { commits, answer })
                    if commits.iter().all(|commit| commit.after.is_none()) =>
                {
                    gathered.add(commits, answer);
                }
                other => {
                    self.held = other.ok();
                    break;
                }
            }
        }
        Work::Batch(gathered)
    }
}

/// The commits of a batch, and who waits to hear of them.
#[derive(Default)]
pub struct Gathered {
    pub commits: Vec<Commit>,
    pub waiting: Waiting,
    /// About how many bytes they take.
    pub bytes: usize,
    pub events: usize,
}

impl Gathered {
    fn add(&mut self, commits: Vec<Commit>, answer: oneshot::Sender<Answer>) {
        let appends = commits.iter().flat_map(|commit| &commit.appends);
        for event in appends.flat_map(|append| &append.events) {
            self.events += 1;
            // 200 bytes are what a row has around its payload, roughly.
            self.bytes += event.payload.len() + 200;
        }
        self.waiting.0.push((commits.len(), answer));
        self.commits.extend(commits);
    }
}

/// Who waits to hear of a batch, each with how many of its commits are theirs.
#[derive(Default)]
pub struct Waiting(Vec<(usize, oneshot::Sender<Answer>)>);

impl Waiting {
    /// Tells each what became of their commits. Who asked may have gone; what was written stays.
    pub fn hear(self, answer: Answer) {
        match answer {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for (count, answer) in self.0 {
                    let _ = answer.send(Ok(outcomes.by_ref().take(count).collect()));
                }
            }
            Err(error) => {
                for (_, answer) in self.0 {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
}
