//! Turns at something of which there are few, fair among clients: each has a line of its own, who has
//! least is served first, and the lines by turns. Whoever asks for much waits for itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How many of one client wait at most; more are told to come again.
const WAITING: usize = 64;

/// How long one waits at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server itself.
const OWN: u64 = 0;

tokio::task_local! {
    static CLIENT: Arc<AtomicU64>;
}

/// Does something for a client, by a number that stands for it. What is done outside of this is the
/// server's own work.
pub fn on_behalf_of<F: Future>(client: u64, work: F) -> impl Future<Output = F::Output> {
    CLIENT.scope(Arc::new(AtomicU64::new(client)), work)
}

/// Does something as the server itself, whoever asked for it: what has to be put on record of a client does
/// not stand in that one's line.
pub fn as_the_server<F: Future>(work: F) -> impl Future<Output = F::Output> {
    on_behalf_of(OWN, work)
}

/// Does something for the same client, also in another task.
pub fn for_the_same<F: Future>(work: F) -> impl Future<Output = F::Output> {
    on_behalf_of(client(), work)
}

/// Says who the client is, once more is known of it than at first.
pub fn is_known_as(client: u64) {
    let _ = CLIENT.try_with(|known| known.store(client, Ordering::Relaxed));
}

fn client() -> u64 {
    let known = CLIENT.try_with(|client| client.load(Ordering::Relaxed));
    known.unwrap_or(OWN)
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Fair {
    state: Arc<Mutex<State>>,
    /// How many turns one client has at a time; the server's own work has as many as there are.
    of_one: usize,
}

struct State {
    free: usize,
    lines: HashMap<u64, Line>,
    /// The clients of whom somebody waits, in the order in which they are served.
    order: VecDeque<u64>,
}

#[derive(Default)]
struct Line {
    taken: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// Too many of one client wait, or it has waited for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many of one client wait; ask again later")]
pub struct Crowded;

/// A turn, until it is dropped.
pub struct Turn {
    /// Nothing once it has been given back.
    fair: Option<Fair>,
    client: u64,
}

impl Fair {
    /// So many turns at a time, of which one client has so many at most.
    pub fn new(at_a_time: usize, of_one: usize) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                free: at_a_time,
                lines: HashMap::new(),
                order: VecDeque::new(),
            })),
            of_one: of_one.max(1),
        }
    }

    /// A turn of the client for whom this is done. Fails if too many of its wait already, or it has waited
    /// for ten seconds.
    pub async fn turn(&self) -> Result<Turn, Crowded> {
        self.turn_within(PATIENCE).await
    }

    /// The same for whoever has not so much time.
    pub async fn turn_within(&self, patience: Duration) -> Result<Turn, Crowded> {
        let client = client();
        let waiting = {
            let mut state = self.state.lock();
            let free = state.free > 0;
            let line = state.lines.entry(client).or_default();
            if line.waiting.len() >= WAITING {
                line.waiting.retain(|waiting| !waiting.is_closed());
            }
            if line.waiting.len() >= WAITING {
                return Err(Crowded);
            }
            if free && line.waiting.is_empty() && self.may_have(client, line) {
                line.taken += 1;
                state.free -= 1;
                return Ok(self.given_to(client));
            }
            let (sender, receiver) = oneshot::channel();
            line.waiting.push_back(sender);
            if line.waiting.len() == 1 {
                state.order.push_back(client);
            }
            receiver
        };
        match tokio::time::timeout(patience, waiting).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Crowded),
        }
    }

    fn may_have(&self, client: u64, line: &Line) -> bool {
        client == OWN || line.taken < self.of_one
    }

    fn given_to(&self, client: u64) -> Turn {
        let fair = Some(self.clone());
        Turn { fair, client }
    }

    /// Takes a turn back, and gives what is free to those whose turn it is.
    fn give_back(&self, client: u64) {
        let mut back = vec![client];
        while let Some(client) = back.pop() {
            let mut given = Vec::new();
            {
                let mut state = self.state.lock();
                state.free += 1;
                if let Some(line) = state.lines.get_mut(&client) {
                    line.taken -= 1;
                }
                self.serve(&mut state, &mut given);
                let done = |line: &Line| line.taken == 0 && line.waiting.is_empty();
                if state.lines.get(&client).is_some_and(done) {
                    state.lines.remove(&client);
                }
            }
            for (waiting, turn) in given {
                // Who has gone at this moment had it in vain. One after the other, however many they are.
                if let Err(mut turn) = waiting.send(turn) {
                    turn.fair = None;
                    back.push(turn.client);
                }
            }
        }
    }

    /// Gives what is free to whoever has least, and of those to who waits longest.
    fn serve(&self, state: &mut State, given: &mut Vec<(oneshot::Sender<Turn>, Turn)>) {
        while state.free > 0 {
            let may = state
                .order
                .iter()
                .enumerate()
                .filter_map(|(place, client)| {
                    let line = state.lines.get(client)?;
                    self.may_have(*client, line).then_some((line.taken, place))
                });
            let Some(client) = may.min().and_then(|(_, place)| state.order.remove(place)) else {
                return;
            };
            let Some(line) = state.lines.get_mut(&client) else {
                continue;
            };
            while let Some(waiting) = line.waiting.pop_front() {
                if waiting.is_closed() {
                    continue;
                }
                line.taken += 1;
                state.free -= 1;
                given.push((waiting, self.given_to(client)));
                break;
            }
            if !line.waiting.is_empty() {
                state.order.push_back(client);
            } else if line.taken == 0 {
                state.lines.remove(&client);
            }
        }
    }

    /// How many turns are free.
    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.state.lock().free
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(fair) = self.fair.take() {
            fair.give_back(self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::join_all;

    use super::*;

    fn turn(fair: &Fair, client: u64) -> impl Future<Output = Result<Turn, Crowded>> + use<> {
        let fair = fair.clone();
        Box::pin(on_behalf_of(client, async move { fair.turn().await }))
    }

    #[tokio::test]
    async fn whoever_asks_for_much_waits_for_itself() {
        let fair = Fair::new(5, 2);
        let mut much: Vec<_> = (0..40).map(|_| turn(&fair, 1)).collect();
        let mut taken: Vec<_> = much
            .iter_mut()
            .filter_map(FutureExt::now_or_never)
            .collect();
        assert_eq!(taken.len(), 2, "two of the five");
        let others = [
            turn(&fair, 2).await,
            turn(&fair, 3).await,
            turn(&fair, 4).await,
        ];
        let mut late = turn(&fair, 5);
        assert!((&mut late).now_or_never().is_none(), "all are taken");
        // The next goes to whoever has none, though forty were there before.
        taken.pop();
        let late = late.await.unwrap();
        drop((late, others, taken, much));
        assert_eq!(fair.free(), 5);
        assert!(fair.state.lock().lines.is_empty());
    }

    #[tokio::test]
    async fn lines_are_served_by_turns() {
        let fair = Fair::new(1, 1);
        let first = turn(&fair, 9).await.unwrap();
        let mut waiting: Vec<_> = [1, 1, 1, 2, 3]
            .into_iter()
            .map(|client| (client, turn(&fair, client)))
            .collect();
        for (_, turn) in &mut waiting {
            assert!(turn.now_or_never().is_none());
        }
        drop(first);
        let mut served = Vec::new();
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut place = 0;
            while place < waiting.len() {
                match (&mut waiting[place].1).now_or_never() {
                    Some(turn) => {
                        drop(turn.unwrap());
                        served.push(waiting.remove(place).0);
                    }
                    None => place += 1,
                }
            }
            assert!(waiting.len() < before, "somebody is served each time");
        }
        assert_eq!(served, [1, 2, 3, 1, 1]);
    }

    #[tokio::test]
    async fn who_gave_up_takes_no_turn_with_it() {
        let fair = Fair::new(1, 1);
        let first = turn(&fair, 1).await.unwrap();
        let mut gone = turn(&fair, 2);
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        drop(first);
        assert_eq!(fair.free(), 1);
        drop(turn(&fair, 3).await.unwrap());
    }

    #[tokio::test]
    async fn however_many_gave_up_the_next_has_its_turn() {
        let fair = Fair::new(1, 1);
        let first = turn(&fair, 1).await.unwrap();
        let mut gone: Vec<_> = (0..100_000)
            .map(|number| turn(&fair, 2 + number / 60))
            .collect();
        for turn in &mut gone {
            assert!(turn.now_or_never().is_none());
        }
        let mut last = turn(&fair, u64::MAX);
        assert!((&mut last).now_or_never().is_none());
        drop(gone);
        drop(first);
        drop(last.await.unwrap());
        assert_eq!(fair.free(), 1);
        assert!(fair.state.lock().lines.is_empty());
    }

    #[tokio::test]
    async fn so_many_of_a_client_wait_and_no_more() {
        let fair = Fair::new(1, 1);
        let held = turn(&fair, 1).await.unwrap();
        let mut crowd: Vec<_> = (0..100).map(|_| turn(&fair, 2)).collect();
        let refused = crowd.iter_mut().filter_map(FutureExt::now_or_never);
        let refused: Vec<_> = refused.collect();
        assert_eq!(refused.len(), 100 - WAITING);
        assert!(refused.iter().all(|turn| matches!(turn, Err(Crowded))));
        drop(held);
        drop(refused);
        crowd.clear();
        drop(turn(&fair, 3).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_turns_are_back_after_a_crowd() {
        let fair = Fair::new(3, 2);
        let crowd = (0..600_u64).map(|number| {
            let turn = turn(&fair, number % 7);
            tokio::spawn(async move {
                let patience = Duration::from_micros(number * 37 % 900);
                if let Ok(Ok(turn)) = tokio::time::timeout(patience, turn).await {
                    tokio::task::yield_now().await;
                    drop(turn);
                }
            })
        });
        join_all(crowd.collect::<Vec<_>>()).await;
        assert_eq!(fair.free(), 3);
        let state = fair.state.lock();
        assert_eq!(
            state.lines.values().map(|line| line.taken).sum::<usize>(),
            0
        );
    }
}
