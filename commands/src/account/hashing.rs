//! Whose password is hashed next.
//!
//! A hash takes a core for some 50 ms, and whoever reaches the server may ask for one. So a few are
//! computed at a time, and those who wait stand in lines. An account has one line for all its sessions,
//! and one for each [site](Network::site) that it was logged in to from before and is logged in to from
//! again; these are known. Whoever else comes is a stranger, and has a line with all of its site. Lines
//! have their turns one after the other, however long they are.
//!
//! While both wait, every second turn is a known line's, and every second one a stranger's: strangers
//! keep nobody out who was here already, and who has an account, as everybody may, keeps no strangers
//! out.
//!
//! So many wait altogether, [`PLACES`], half of them known and half of them strangers where both come.
//! Where all places are taken, a newcomer takes the last one of the longest line; it is refused where its
//! own would be as long. Of a known line [`OF_ACCOUNT`] wait at most.

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

/// How many wait in a line of one account: somebody waits for one answer, or for a few; a program that makes
/// accounts may ask for a dozen at a time.
const OF_ACCOUNT: usize = 16;

/// Who has a password hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker(Line);

/// Who waits in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Server,
    /// Who is logged in.
    Account(UserId),
    /// Who logs in to an account from where it was logged in to before.
    Home(UserId, Option<Network>),
    Strangers(Option<Network>),
}

impl Line {
    fn is_known(&self) -> bool {
        !matches!(self, Self::Strangers(_))
    }

    fn is_of_account(&self) -> bool {
        matches!(self, Self::Account(_) | Self::Home(..))
    }
}

impl Asker {
    /// The server itself.
    pub fn server() -> Self {
        Self(Line::Server)
    }

    /// Whoever asks for a command.
    pub fn of(caller: &Caller) -> Self {
        match &caller.user {
            _ if caller.is_trusted() => Self::server(),
            Some(user) => Self(Line::Account(user.clone())),
            None => Self::stranger(caller.network()),
        }
    }

    /// Whoever logs in to an account from where it was logged in to before.
    pub fn at_home(user: UserId, network: Option<Network>) -> Self {
        Self(Line::Home(user, network.map(Network::site)))
    }

    /// Whoever else is not logged in.
    pub fn stranger(network: Option<Network>) -> Self {
        Self(Line::Strangers(network.map(Network::site)))
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
    /// The next turn is a stranger's, if any waits.
    strangers_next: bool,
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

    fn forget_those_who_went(&mut self) {
        self.known.forget_those_who_went();
        self.strangers.forget_those_who_went();
    }

    /// Who is to have the turn that somebody gives back; nobody, if nobody waits.
    fn next(&mut self) -> Option<Place> {
        self.forget_those_who_went();
        let stranger = (self.strangers_next || self.known.len() == 0) && self.strangers.len() > 0;
        self.strangers_next = !stranger;
        let next = if stranger {
            self.strangers.next()
        } else {
            self.known.next()
        };
        if next.is_none() {
            self.free += 1;
        }
        next
    }

    /// A place at the end of a line.
    fn join(&mut self, line: Line, places: usize) -> Result<oneshot::Receiver<Turn>, CommandError> {
        if line.is_of_account() && self.known.len_of(&line) >= OF_ACCOUNT {
            self.forget_those_who_went();
            if self.known.len_of(&line) >= OF_ACCOUNT {
                return Err(CommandError::TooManyAtOnce);
            }
        }
        if !self.make_room(&line, places) {
            return Err(CommandError::Busy);
        }
        let (place, turn) = oneshot::channel();
        let lines = if line.is_known() {
            &mut self.known
        } else {
            &mut self.strangers
        };
        lines.join(line, place);
        Ok(turn)
    }

    /// Whether there is a place for one more.
    fn make_room(&mut self, of: &Line, places: usize) -> bool {
        if self.len() < places {
            return true;
        }
        self.forget_those_who_went();
        if self.len() < places {
            return true;
        }
        let (own, others) = if of.is_known() {
            (&mut self.known, &mut self.strangers)
        } else {
            (&mut self.strangers, &mut self.known)
        };
        if others.len() > places / 2 {
            return others.shorten(0);
        }
        let length = own.len_of(of);
        own.shorten(length + 1)
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
                strangers_next: false,
            }),
        })
    }

    /// Waits for a turn. [`CommandError::Busy`] where too many wait already, or where others need the
    /// place more; [`CommandError::TooManyAtOnce`] where too many of the account do.
    pub async fn turn(self: &Arc<Self>, asker: Asker) -> Result<Turn, CommandError> {
        let turn = {
            let mut waiting = self.waiting.lock();
            if waiting.free > 0 {
                waiting.free -= 1;
                return Ok(Turn(self.clone()));
            }
            waiting.join(asker.0, self.places)?
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
        Asker::stranger(Network::parse(network))
    }

    fn at_home(user: &str, network: &str) -> Asker {
        Asker::at_home(UserId::new(user), Network::parse(network))
    }

    fn logged_in(user: &str) -> Asker {
        Asker::of(&Caller::user(UserId::new(user), "users.updateOwnBasicInfo"))
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
    async fn strangers_have_every_second_turn_and_who_was_here_before_the_others() {
        let hashing = Hashing::new(1);
        let turn = hashing.turn(stranger("192.0.2.9")).await.unwrap();
        let mut waiting = Vec::new();
        for site in 1..=3 {
            waiting.push((
                "stranger",
                come(&hashing, stranger(&format!("192.0.2.{site}"))),
            ));
        }
        for _ in 0..3 {
            waiting.push(("mary", come(&hashing, logged_in("mary"))));
        }
        waiting.push(("mary at home", come(&hashing, at_home("mary", "192.0.2.1"))));
        waiting.push(("john at home", come(&hashing, at_home("john", "192.0.2.1"))));
        assert_eq!(
            order(turn, waiting),
            [
                "mary",
                "stranger",
                "mary at home",
                "stranger",
                "john at home",
                "stranger",
                "mary",
                "mary",
            ]
        );
    }

    #[tokio::test]
    async fn who_comes_again_and_again_does_not_keep_others_waiting() {
        let hashing = Hashing::new(1);
        let mut turn = hashing.turn(logged_in("mary")).await.unwrap();
        let mut stranger = come(&hashing, stranger("192.0.2.1"));
        for time in 0.. {
            let again = come(&hashing, logged_in("mary"));
            drop(turn);
            if (&mut stranger).now_or_never().is_some() {
                assert!(time < 2, "it is not its turn before {time}");
                break;
            }
            turn = again.await.unwrap();
            assert!(time < 2, "it never is a stranger's turn");
        }
    }

    #[tokio::test]
    async fn few_of_an_account_wait() {
        let hashing = Hashing::new(1);
        let turn = hashing.turn(logged_in("mary")).await.unwrap();
        let all: [fn(&str) -> Asker; 2] = [logged_in, |user| at_home(user, "192.0.2.1")];
        for asker in all {
            let mut few: Vec<_> = (0..OF_ACCOUNT)
                .map(|_| come(&hashing, asker("mary")))
                .collect();
            let more = hashing.turn(asker("mary")).await;
            assert!(matches!(more, Err(CommandError::TooManyAtOnce)));
            let other = come(&hashing, asker("john"));
            // Who goes leaves its place to another.
            few.pop();
            few.push(come(&hashing, asker("mary")));
            drop((few, other));
        }
        drop(turn);
    }

    #[tokio::test]
    async fn neither_accounts_nor_strangers_take_more_than_half_of_the_places_from_the_others() {
        let hashing = Hashing::new(1);
        let turn = hashing.turn(stranger("192.0.2.9")).await.unwrap();
        let accounts: Vec<_> = (0..PLACES).map(|number| number.to_string()).collect();
        let sites: Vec<_> = (0..PLACES)
            .map(|number| format!("192.0.2.{number}"))
            .collect();
        let known: Vec<_> = accounts
            .iter()
            .map(|user| come(&hashing, logged_in(user)))
            .collect();
        let mut strangers = Vec::new();
        for site in &sites[..PLACES / 2] {
            strangers.push(come(&hashing, stranger(site)));
        }
        for site in &sites[PLACES / 2..] {
            let more = hashing.turn(stranger(site)).await;
            assert!(matches!(more, Err(CommandError::Busy)), "{site}");
        }
        let more = hashing.turn(logged_in("another")).await;
        assert!(matches!(more, Err(CommandError::Busy)));
        assert_eq!(hashing.waiting.lock().known.len(), PLACES / 2);
        assert_eq!(hashing.waiting.lock().strangers.len(), PLACES / 2);
        drop((turn, known, strangers));
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
        let at_home = come(&hashing, at_home("mary", "192.0.2.1"));
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
