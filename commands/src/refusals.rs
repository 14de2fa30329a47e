//! Refusals on their way to the record.
//!
//! The first of a kind is recorded at once. Those of the same caller for the same thing that follow are
//! counted, and recorded as one event a minute later, or when the server stops: whoever asks again and
//! again for what is refused does not fill a log that nobody can shorten. Where somebody is refused many things
//! within a minute they are counted by operation and room, and each is recorded as an event of its own. What
//! could not be recorded is counted, too.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use hansard_domain::audit::AuditEvent;
use hansard_domain::id::{RoomId, Timestamp, UserId};
use hansard_domain::journal::Batch;
use hansard_domain::network::Network;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bus::Job;
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;

/// How long refusals of a kind are counted before they are recorded.
const WINDOW: Duration = Duration::from_secs(60);

/// How many kinds of refusals are told apart of a caller, and altogether. Those beyond are counted as one kind
/// of that caller; where even those are too many, as one of all who are not logged in. A kind takes some 400
/// bytes.
const KINDS_OF_CALLER: usize = 20;
const KINDS: usize = 10_000;

/// How many operations are told with their rooms of those that are counted as one kind; how many rooms are told
/// by themselves beyond that, with [`SEVERAL`] for the operation; beyond that operations are told by
/// themselves, which are as many as the server has. So somebody who is refused many things in rooms that it is
/// in does not hide by them that it asked for another one.
const TOLD: usize = 50;
const TOLD_ROOMS: usize = 100;

/// What stands for the operation where refusals of several are counted as one.
const SEVERAL: &str = "*";

/// Who is refused: a user, from a network. Whoever has one address of that may have as many as it likes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Who {
    user: Option<UserId>,
    network: Option<Network>,
}

/// Refusals that are counted together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Kind {
    who: Who,
    action: CompactString,
    permission: Option<String>,
    room: Option<RoomId>,
}

/// The refusals of a kind that are not on the record yet.
#[derive(Debug)]
struct Counted {
    ends: Instant,
    times: u64,
    /// When the first of them was.
    since: Timestamp,
    /// Who was refused last, with the request it was refused in.
    caller: Arc<Caller>,
    /// Which they were, where they are of several operations.
    several: Several,
}

/// What was refused of several operations, about a room or none.
type Several = BTreeMap<(CompactString, Option<RoomId>), Asked>;

/// Refusals of one operation about one room.
#[derive(Debug, Clone)]
struct Asked {
    times: u64,
    permission: Option<String>,
    since: Timestamp,
    /// As in [`Counted`].
    caller: Arc<Caller>,
}

/// Counts that could not be recorded, on their way back.
type Returned = Arc<Mutex<Vec<Tally>>>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counted: HashMap<Kind, Counted>,
    /// By [`Who::counted`].
    kinds_of: HashMap<Who, usize>,
    returned: Returned,
}

/// The refusals of a kind, to be recorded as one event.
#[derive(Debug)]
struct Tally {
    kind: Kind,
    times: u64,
    since: Timestamp,
    caller: Arc<Caller>,
    returned: Returned,
}

impl Who {
    fn of(caller: &Caller) -> Self {
        Self {
            user: caller.user.clone(),
            network: caller.network(),
        }
    }

    /// Whose kinds are counted together: those of an account, wherever it is; of others, those of a site.
    fn counted(&self) -> Self {
        match &self.user {
            Some(user) => Self {
                user: Some(user.clone()),
                network: None,
            },
            None => Self {
                user: None,
                network: self.network.map(Network::site),
            },
        }
    }
}

impl Kind {
    fn of(error: &CommandError, caller: &Caller) -> Option<Self> {
        let CommandError::Denied {
            permission, room, ..
        } = error
        else {
            return None;
        };
        Some(Self {
            who: Who::of(caller),
            action: caller.action.clone(),
            permission: permission.clone(),
            room: room.clone(),
        })
    }

    /// All refusals of a caller.
    fn all_of(who: &Who) -> Self {
        Self {
            who: who.counted(),
            action: SEVERAL.into(),
            ..Self::default()
        }
    }

    /// Whether it stands for others.
    fn is_several(&self) -> bool {
        self.action == SEVERAL
    }

    fn event(&self, times: u64, since: Option<Timestamp>) -> AuditEvent {
        AuditEvent::CommandDenied {
            // Earlier versions told there of all operations together.
            several: Vec::new(),
            action: self.action.to_string(),
            permission: self.permission.clone(),
            user: self.who.user.clone(),
            room: self.room.clone(),
            times,
            since,
        }
    }
}

impl Refusals {
    /// What goes on the record of an error at once; what is counted instead, and what is no refusal,
    /// does not.
    pub fn note(
        &mut self,
        error: &CommandError,
        caller: &Arc<Caller>,
        at: Timestamp,
    ) -> Option<AuditEvent> {
        let kind = Kind::of(error, caller)?;
        let event = kind.event(1, None);
        let counted = self.count(kind, caller, at, 0, 1);
        (!counted).then_some(event)
    }

    /// Counts a refusal that was to be recorded and could not be.
    pub fn missed(&mut self, error: &CommandError, caller: &Arc<Caller>, at: Timestamp) {
        if let Some(kind) = Kind::of(error, caller) {
            self.count(kind, caller, at, 1, 1);
        }
    }

    /// Adds to a kind: so many refusals if it is the first of its kind that is noted, else so many.
    /// Answers whether the kind was there.
    fn count(
        &mut self,
        kind: Kind,
        caller: &Arc<Caller>,
        at: Timestamp,
        first: u64,
        next: u64,
    ) -> bool {
        let place = (kind.action.clone(), kind.room.clone());
        let asked = Asked {
            times: next,
            permission: kind.permission.clone(),
            since: at,
            caller: caller.clone(),
        };
        let kind = self.told_apart(kind);
        if let Some(counted) = self.counted.get_mut(&kind) {
            if counted.times == 0 {
                counted.since = at;
            }
            counted.times += next;
            counted.caller = caller.clone();
            if kind.is_several() {
                tell(&mut counted.several, place, asked);
            }
            return true;
        }
        *self.kinds_of.entry(kind.who.counted()).or_default() += 1;
        let mut counted = Counted {
            ends: Instant::now() + WINDOW,
            times: first,
            since: at,
            caller: caller.clone(),
            several: Several::new(),
        };
        if kind.is_several() && first > 0 {
            let asked = Asked {
                times: first,
                ..asked
            };
            tell(&mut counted.several, place, asked);
        }
        self.counted.insert(kind, counted);
        false
    }

    /// The kind that a refusal is counted as: its own, as long as there are not too many.
    fn told_apart(&self, kind: Kind) -> Kind {
        let is_known = |kind: &Kind| self.counted.contains_key(kind);
        let full = self.counted.len() >= KINDS;
        let of_caller = self.kinds_of.get(&kind.who.counted());
        let of_caller = of_caller.copied().unwrap_or(0);
        if is_known(&kind) || (!full && of_caller < KINDS_OF_CALLER) {
            return kind;
        }
        let all_of_caller = Kind::all_of(&kind.who);
        // Accounts are few beside the networks that strangers can have.
        if is_known(&all_of_caller) || !full || kind.who.user.is_some() {
            return all_of_caller;
        }
        Kind::all_of(&Who::default())
    }

    /// Waits until something is to be recorded; for ever while nothing is counted.
    pub async fn due(&self) {
        let ends = self.counted.values().map(|counted| counted.ends).min();
        match ends {
            Some(ends) => tokio::time::sleep_until(ends).await,
            None => std::future::pending().await,
        }
    }

    /// What is to be recorded by now. Kinds of which there was nothing new are forgotten.
    pub fn take_due(&mut self) -> Vec<Box<dyn Job>> {
        self.take(|counted, now| counted.ends <= now)
    }

    /// Everything that was counted, at the end.
    pub fn take_all(&mut self) -> Vec<Box<dyn Job>> {
        self.take(|_, _| true)
    }

    fn take(&mut self, due: impl Fn(&Counted, Instant) -> bool) -> Vec<Box<dyn Job>> {
        let returned = std::mem::take(&mut *self.returned.lock());
        for tally in returned {
            let Tally {
                kind,
                times,
                since,
                caller,
                ..
            } = tally;
            self.count(kind, &caller, since, times, times);
        }
        let now = Instant::now();
        let mut tallies: Vec<Box<dyn Job>> = Vec::new();
        let (kinds_of, returned) = (&mut self.kinds_of, &self.returned);
        self.counted.retain(|kind, counted| {
            if !due(counted, now) {
                return true;
            }
            if counted.times == 0 {
                forget(kinds_of, &kind.who.counted());
                return false;
            }
            let mut tally = |kind, times, since, caller| {
                tallies.push(Box::new(Tally {
                    kind,
                    times,
                    since,
                    caller,
                    returned: returned.clone(),
                }));
            };
            let times = std::mem::take(&mut counted.times);
            if kind.is_several() {
                for ((action, room), asked) in std::mem::take(&mut counted.several) {
                    let kind = Kind {
                        who: Who::of(&asked.caller),
                        action,
                        permission: asked.permission,
                        room,
                    };
                    tally(kind, asked.times, asked.since, asked.caller);
                }
            } else {
                tally(kind.clone(), times, counted.since, counted.caller.clone());
            }
            counted.ends = now + WINDOW;
            true
        });
        tallies
    }

    /// How many refusals are not on the record.
    pub fn unrecorded(&self) -> u64 {
        let counted = self.counted.values().map(|counted| counted.times);
        let returned = self.returned.lock();
        counted
            .chain(returned.iter().map(|tally| tally.times))
            .sum()
    }
}

/// How many rooms are told by themselves.
fn rooms(several: &Several) -> usize {
    let of_several = several.keys().filter(|(action, _)| action == SEVERAL);
    of_several.count()
}

fn tell(several: &mut Several, place: (CompactString, Option<RoomId>), asked: Asked) {
    let in_room = (CompactString::from(SEVERAL), place.1.clone());
    let place = if several.len() < TOLD || several.contains_key(&place) {
        place
    } else if in_room.1.is_some() && (rooms(several) < TOLD_ROOMS || several.contains_key(&in_room))
    {
        in_room
    } else {
        (place.0, None)
    };
    match several.get_mut(&place) {
        Some(told) => {
            told.times += asked.times;
            told.caller = asked.caller;
        }
        None => {
            several.insert(place, asked);
        }
    }
}

fn forget(kinds_of: &mut HashMap<Who, usize>, who: &Who) {
    if let Some(kinds) = kinds_of.get_mut(who) {
        *kinds -= 1;
        if *kinds == 0 {
            kinds_of.remove(who);
        }
    }
}

impl Job for Tally {
    fn caller(&self) -> Arc<Caller> {
        self.caller.clone()
    }

    fn decide(&mut self, decision: &mut Decision<'_>) -> Result<(), CommandError> {
        decision.audit(self.kind.event(self.times, Some(self.since)));
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<Option<Batch>, CommandError>) {
        if outcome.is_err() {
            let returned = self.returned.clone();
            returned.lock().push(*self);
        }
    }
}

#[cfg(test)]
mod tests {
    use hansard_domain::event::Origin;

    use super::*;

    fn caller(user: &str) -> Arc<Caller> {
        Arc::new(Caller::user(UserId::new(user), "channels.archive"))
    }

    fn denied(room: &str) -> CommandError {
        CommandError::forbidden("archive-room", Some(&RoomId::new(room)))
    }

    fn tallies(jobs: &[Box<dyn Job>]) -> usize {
        jobs.len()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_is_recorded_at_once_and_the_next_are_counted() {
        let mut refusals = Refusals::default();
        let mary = caller("mary");
        assert!(refusals.note(&denied("one"), &mary, Timestamp(1)).is_some());
        for at in 2..100 {
            let again = refusals.note(&denied("one"), &mary, Timestamp(at));
            assert_eq!(again, None);
        }
        let other = refusals.note(&denied("one"), &caller("john"), Timestamp(3));
        assert!(other.is_some(), "somebody else is another kind");
        assert_eq!(refusals.unrecorded(), 98);
        assert_eq!(tallies(&refusals.take_due()), 0);
        refusals.due().await;
        assert_eq!(tallies(&refusals.take_due()), 1);
        assert_eq!(refusals.unrecorded(), 0);

        // A minute without one, and the next is a first one again.
        refusals.due().await;
        assert_eq!(tallies(&refusals.take_due()), 0);
        assert!(refusals.counted.is_empty() && refusals.kinds_of.is_empty());
    }

    #[tokio::test]
    async fn what_could_not_be_recorded_is_counted() {
        let mut refusals = Refusals::default();
        let mary = caller("mary");
        let first = refusals.note(&denied("one"), &mary, Timestamp(1));
        assert!(first.is_some());
        refusals.missed(&denied("one"), &mary, Timestamp(1));
        assert_eq!(refusals.unrecorded(), 1);
        for tally in refusals.take_all() {
            tally.answer(Err(CommandError::Follower));
        }
        assert_eq!(refusals.unrecorded(), 1);
        for tally in refusals.take_all() {
            tally.answer(Ok(None));
        }
        assert_eq!(refusals.unrecorded(), 0);
    }

    #[tokio::test]
    async fn who_has_many_addresses_is_one_caller() {
        let mut refusals = Refusals::default();
        let from = |address: String| {
            Arc::new(Caller {
                origin: Some(Origin {
                    address,
                    user_agent: String::new(),
                }),
                ..Caller::user(UserId::new("mary"), "channels.archive")
            })
        };
        let mut recorded = 0;
        for host in 0..200 {
            let caller = from(format!("2001:db8:1:2::{host:x}"));
            let event = refusals.note(&denied("one"), &caller, Timestamp(1));
            recorded += u64::from(event.is_some());
        }
        assert_eq!((recorded, refusals.unrecorded()), (1, 199));
        let elsewhere = from("2001:db8:1:3::1".to_owned());
        let event = refusals.note(&denied("one"), &elsewhere, Timestamp(1));
        assert!(event.is_some());
    }

    #[tokio::test]
    async fn many_kinds_are_one() {
        let mut refusals = Refusals::default();
        let mut recorded = 0;
        for caller in (0..1_000).map(|number| caller(&format!("user{number}"))) {
            for room in 0..100 {
                let denied = denied(&format!("room{room}"));
                let event = refusals.note(&denied, &caller, Timestamp(1));
                recorded += usize::from(event.is_some());
            }
        }
        let accounts = 1_000;
        assert!(refusals.counted.len() <= KINDS + accounts);
        assert!(recorded <= KINDS + accounts, "{recorded}");
        assert_eq!(refusals.unrecorded() + recorded as u64, 100_000);
    }

    #[tokio::test]
    async fn what_is_counted_together_is_told() {
        let mut refusals = Refusals::default();
        let mary = caller("mary");
        for room in 0..KINDS_OF_CALLER {
            let first = refusals.note(&denied(&format!("room{room}")), &mary, Timestamp(1));
            assert!(first.is_some());
        }
        let rooms = 2 * TOLD + TOLD_ROOMS;
        for room in 0..rooms {
            for _ in 0..2 {
                refusals.note(&denied(&format!("board{room}")), &mary, Timestamp(1));
            }
        }
        let mut counted = refusals.counted.iter();
        let (_, counted) = counted.find(|(kind, _)| kind.is_several()).unwrap();
        let in_rooms = counted.several.keys().filter(|(_, room)| room.is_some());
        assert_eq!(in_rooms.count(), TOLD + TOLD_ROOMS);
        let told = |action: &str, room: Option<usize>| {
            let room = room.map(|room| RoomId::new(format!("board{room}")));
            let place = (action.into(), room);
            counted.several.get(&place).map(|asked| asked.times)
        };
        // The first was recorded at once.
        assert_eq!(told("channels.archive", Some(0)), Some(1));
        assert_eq!(told("channels.archive", Some(1)), Some(2));
        // Behind so many operations the room is told, and behind so many rooms the operation.
        assert_eq!(told(SEVERAL, Some(TOLD)), Some(2));
        assert_eq!(told("channels.archive", None), Some(2 * TOLD as u64));
        let unrecorded = refusals.unrecorded();
        assert_eq!(unrecorded, 2 * rooms as u64 - 1);
        let tallies = refusals.take_all();
        let places = TOLD + TOLD_ROOMS + 1;
        assert_eq!((tallies.len(), refusals.unrecorded()), (places, 0));
        // What could not be recorded is counted again.
        for tally in tallies {
            tally.answer(Err(CommandError::Follower));
        }
        assert!(refusals.take_due().is_empty());
        assert_eq!(refusals.unrecorded(), unrecorded);
    }

    #[tokio::test]
    async fn many_operations_do_not_hide_a_room() {
        let mut refusals = Refusals::default();
        let operations = KINDS_OF_CALLER + TOLD + 2 * TOLD_ROOMS;
        for number in 0..operations {
            let mary = Caller::user(UserId::new("mary"), &format!("operation{number}"));
            let denied = CommandError::forbidden("archive-room", None);
            refusals.note(&denied, &Arc::new(mary), Timestamp(1));
        }
        refusals.note(&denied("hidden"), &caller("mary"), Timestamp(1));
        let mut counted = refusals.counted.iter();
        let (_, counted) = counted.find(|(kind, _)| kind.is_several()).unwrap();
        let place = (SEVERAL.into(), Some(RoomId::new("hidden")));
        assert!(counted.several.contains_key(&place));
    }

    #[tokio::test]
    async fn nobody_hides_the_refusals_of_another_account_in_a_crowd_of_its_own() {
        let mut refusals = Refusals::default();
        let from = |user: Option<&str>, number: usize| {
            let origin = Origin {
                address: format!("2001:db8:{:x}:{:x}::1", number >> 8, number & 0xff),
                user_agent: String::new(),
            };
            Arc::new(Caller {
                user: user.map(UserId::new),
                origin: Some(origin),
                ..Caller::system("channels.archive")
            })
        };
        for network in 0..5_000 {
            for room in ["one", "two", "three"] {
                refusals.note(&denied(room), &from(Some("mary"), network), Timestamp(1));
            }
        }
        assert!(refusals.counted.len() <= KINDS_OF_CALLER + 1);
        for network in 0..20_000 {
            for room in ["one", "two", "three"] {
                refusals.note(&denied(room), &from(None, network << 8), Timestamp(1));
            }
        }
        assert!(refusals.counted.len() >= KINDS);
        let johns = refusals.note(&denied("one"), &from(Some("john"), 7), Timestamp(1));
        let named = |event: &AuditEvent| matches!(event, AuditEvent::CommandDenied { user: Some(user), .. } if user.as_str() == "john");
        assert!(johns.as_ref().is_some_and(named), "{johns:?}");
    }
}
