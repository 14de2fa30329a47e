//! Whose password is hashed next.
//!
//! A hash takes a core for some 50 ms, and whoever reaches the server may ask for one. So a few are
//! computed at a time, and those who wait stand in lines: one for each account that is logged in, and one
//! for each [site](Network::site) where nobody is yet. Lines have their turns one after the other,
//! however long they are. Ahead of all others are accounts that are logged in, and networks that the
//! account they log in to was logged in to from before: strangers keep nobody out who was here already.
//!
//! So many wait altogether, [`PLACES`]. Where all places are taken, a newcomer takes the last one of the
//! longest line; it is refused where its own would be as long.

use std::collections::VecDeque;
use std::sync::Arc;

use hansard_domain::id::UserId;
use hansard_domain::network::Network;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::caller::Caller;
use crate::error::CommandError;

/// How many wait for each that is hashed at a time: three seconds' work or so.
const PLACES: usize = 64;

/// Who has a password hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    of: Line,
    /// It comes before all who are not.
    known: bool,
}

/// Who waits in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Server,
    Account(UserId),
    Site(Option<Network>),
}

impl Asker {
    /// The server itself.
    pub fn server() -> Self {
        Self {
            of: Line::Server,
            known: true,
        }
    }

    /// Whoever asks for a command.
    pub fn of(caller: &Caller) -> Self {
        match &caller.user {
            _ if caller.is_trusted() => Self::server(),
            Some(user) => Self {
                of: Line::Account(user.clone()),
                known: true,
            },
            None => Self::at(caller.network(), false),
        }
    }

    /// Somebody who is not logged in; `known` says whether the account was logged in to from there
    /// before.
    pub fn at(network: Option<Network>, known: bool) -> Self {
        Self {
            of: Line::Site(network.map(Network::site)),
            known,
        }
    }
}

/// The hashes that are computed, and who waits for one.
#[derive(Debug)]
pub struct Hashing {
    places: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// How many more may be computed now.
    free: usize,
    known: Lines,
    strangers: Lines,
}

/// Lines in the order of their turns; none is empty.
#[derive(Debug, Default)]
struct Lines(VecDeque<(Line, VecDeque<Place>)>);

type Place = oneshot::Sender<Turn>;

/// A hash is computed until this is dropped.
#[derive(Debug)]
pub struct Turn(Arc<Hashing>);

impl Drop for Turn {
    fn drop(&mut self) {
        let next = self.0.waiting.lock().next();
        if let Some(next) = next {
            // Whoever it is for may have gone meanwhile: then it is dropped again, and the next has it.
            let _ = next.send(Self(self.0.clone()));
        }
    }
}

impl Lines {
    fn len(&self) -> usize {
        self.0.iter().map(|(_, line)| line.len()).sum()
    }

    fn len_of(&self, of: &Line) -> usize {
        let line = self.0.iter().find(|(line, _)| line == of);
        line.map_or(0, |(_, line)| line.len())
    }

    fn join(&mut self, of: Line, place: Place) {
        match self.0.iter_mut().find(|(line, _)| *line == of) {
            Some((_, line)) => line.push_back(place),
            None => self.0.push_back((of, VecDeque::from([place]))),
        }
    }

    /// The first of the line whose turn it is; the next line has the next turn.
    fn next(&mut self) -> Option<Place> {
        let (of, mut line) = self.0.pop_front()?;
        let first = line.pop_front();
        if !line.is_empty() {
            self.0.push_back((of, line));
        }
        first
    }

    /// Sends the last of the longest line away, if that is longer than this.
    fn shorten(&mut self, than: usize) -> bool {
        let longest = self.0.iter_mut().max_by_key(|(_, line)| line.len());
        let Some((_, line)) = longest.filter(|(_, line)| line.len() > than) else {
            return false;
        };
        line.pop_back();
        self.0.retain(|(_, line)| !line.is_empty());
        true
    }

    fn forget_those_who_went(&mut self) {
        for (_, line) in &mut self.0 {
            line.retain(|place| !place.is_closed());
        }
        self.0.retain(|(_, line)| !line.is_empty());
    }
}

impl Waiting {
    fn len(&self) -> usize {
        self.known.len() + self.strangers.len()
    }

    /// Who is to have the turn that somebody gives back; nobody, if nobody waits.
    fn next(&mut self) -> Option<Place> {
        self.known.forget_those_who_went();
        self.strangers.forget_those_who_went();
        let next = self.known.next().or_else(|| self.strangers.next());
        if next.is_none() {
            self.free += 1;
        }
        next
    }

    /// Whether there is a place for one more.
    fn make_room(&mut self, for_whom: &Asker, places: usize) -> bool {
        if self.len() < places {
            return true;
        }
        self.known.forget_those_who_went();
        self.strangers.forget_those_who_went();
        if self.len() < places {
            return true;
        }
        if for_whom.known {
            let own = self.known.len_of(&for_whom.of);
            self.strangers.shorten(0) || self.known.shorten(own + 1)
        } else {
            let own = self.strangers.len_of(&for_whom.of);
            self.strangers.shorten(own + 1)
        }
    }
}

impl Hashing {
    /// So many are computed at a time, at least one.
    pub fn new(at_a_time: usize) -> Arc<Self> {
        let at_a_time = at_a_time.max(1);
        Arc::new(Self {
            places: at_a_time * PLACES,
            waiting: Mutex::new(Waiting {
                free: at_a_time,
                known: Lines::default(),
                strangers: Lines::default(),
            }),
        })
    }

    /// Waits for a turn. [`CommandError::Busy`] where too many wait already, or where others need the
    /// place more.
    pub async fn turn(self: &Arc<Self>, asker: Asker) -> Result<Turn, CommandError> {
        let turn = {
            let mut waiting = self.waiting.lock();
            if waiting.free > 0 {
                waiting.free -= 1;
                return Ok(Turn(self.clone()));
            }
            if !waiting.make_room(&asker, self.places) {
                return Err(CommandError::Busy);
            }
            let (place, turn) = oneshot::channel();
            let lines = if asker.known {
                &mut waiting.known
            } else {
                &mut waiting.strangers
            };
            lines.join(asker.of, place);
            turn
        };
        turn.await.map_err(|_| CommandError::Busy)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures::FutureExt as _;

    use super::*;

    type Entering<'a> = Pin<Box<dyn Future<Output = Result<Turn, CommandError>> + 'a>>;

    fn stranger(network: &str) -> Asker {
        Asker::at(Network::parse(network), false)
    }

    fn known(network: &str) -> Asker {
        Asker::at(Network::parse(network), true)
    }

    /// Comes, and waits if it can't be had at once.
    fn come(hashing: &Arc<Hashing>, asker: Asker) -> Entering<'_> {
        let mut coming: Entering<'_> = Box::pin(hashing.turn(asker));
        assert!((&mut coming).now_or_never().is_none(), "it has to wait");
        coming
    }

    /// Who has its turn when the one before has ended, one after the other.
    fn order(turn: Turn, mut waiting: Vec<(&str, Entering<'_>)>) -> Vec<String> {
        let mut order = Vec::new();
        let mut turn = Some(turn);
        while turn.take().is_some() {
            let mut had = None;
            for (at, (_, coming)) in waiting.iter_mut().enumerate() {
                if let Some(Ok(next)) = coming.now_or_never() {
                    assert!(had.is_none(), "one at a time");
                    turn = Some(next);
                    had = Some(at);
                    break;
                }
            }
            if let Some(at) = had {
                order.push(waiting.remove(at).0.to_owned());
            }
        }
        order
    }

    #[tokio::test]
    async fn lines_have_their_turns_however_long_they_are() {
        let hashing = Hashing::new(1);
        let turn = hashing.turn(stranger("192.0.2.9")).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(("many", come(&hashing, stranger("192.0.2.1"))));
        }
        // Whoever has one network of a site has the others, too.
        waiting.push(("site", come(&hashing, stranger("2001:db8:0:1::1"))));
        waiting.push(("site", come(&hashing, stranger("2001:db8:0:2::1"))));
        waiting.push(("one", come(&hashing, stranger("192.0.2.2"))));
        let order = order(turn, waiting);
        assert_eq!(order, ["many", "site", "one", "many", "site", "many"]);
    }

    #[tokio::test]
    async fn who_was_here_before_comes_before_strangers() {
        let hashing = Hashing::new(1);
        let turn = hashing.turn(stranger("192.0.2.9")).await.unwrap();
        let caller = Caller::user(UserId::new("mary"), "users.updateOwnBasicInfo");
        let waiting = vec![
            ("stranger", come(&hashing, stranger("192.0.2.1"))),
            ("at home", come(&hashing, known("192.0.2.1"))),
            ("logged in", come(&hashing, Asker::of(&caller))),
        ];
        assert_eq!(order(turn, waiting), ["at home", "logged in", "stranger"]);
    }

    #[tokio::test]
    async fn a_full_line_is_refused_and_makes_room_for_others() {
        let hashing = Hashing::new(1);
        let turn = hashing.turn(stranger("192.0.2.9")).await.unwrap();
        let mut many: Vec<_> = (0..PLACES)
            .map(|_| come(&hashing, stranger("192.0.2.1")))
            .collect();
        let more = hashing.turn(stranger("192.0.2.1")).await;
        assert!(
            matches!(more, Err(CommandError::Busy)),
            "its line is the longest"
        );
        let other = come(&hashing, stranger("192.0.2.2"));
        let last = many.pop().unwrap().await;
        assert!(
            matches!(last, Err(CommandError::Busy)),
            "another needs its place"
        );
        let at_home = come(&hashing, known("192.0.2.1"));
        let last = many.pop().unwrap().await;
        assert!(matches!(last, Err(CommandError::Busy)));
        assert_eq!(hashing.waiting.lock().len(), PLACES);
        drop(turn);
        drop(at_home.await.unwrap());
        drop(other);
        drop(many);
        // The turn of those who went is had by nobody, and not lost.
        let again = hashing.turn(stranger("192.0.2.3")).await.unwrap();
        assert_eq!(hashing.waiting.lock().len(), 0);
        drop(again);
        assert_eq!(hashing.waiting.lock().free, 1);
    }

    #[tokio::test]
    async fn places_of_those_who_went_are_free() {
        let hashing = Hashing::new(1);
        let turn = hashing.turn(stranger("192.0.2.9")).await.unwrap();
        let many: Vec<_> = (0..PLACES)
            .map(|_| come(&hashing, stranger("192.0.2.1")))
            .collect();
        drop(many);
        let next = come(&hashing, stranger("192.0.2.1"));
        assert_eq!(hashing.waiting.lock().len(), 1);
        drop(turn);
        drop(next.await.unwrap());
    }
}
