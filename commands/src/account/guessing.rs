//! What is done against guessing passwords: wrong ones are counted, and who gives too many is blocked
//! for a while (`Block_Multiple_Failed_Logins_*`).
//!
//! Failures count by the network they come from, and by the account they are about and whether it was
//! called by its username or by an email address. The right password
//! makes up for wrong ones to the same account from the same network, and for no others: nobody clears
//! what it guessed about somebody else by logging in to an account of its own. A network that an account
//! was logged in to from before answers for itself, so that strangers lock nobody out at home.
//!
//! Failures are counted by the clocks of the nodes that recorded them: the log's time may be ahead of
//! those for days. What a clock said that was ahead itself does not count once it was set right.
//!
//! Names that nobody has are blocked as accounts are. Blocked attempts are answered without a look at
//! the password. An attempt under way counts until it is known how it ended, so that many at once are no
//! more than one after the other. [`WAITING`] of an account wait for that at most.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hansard_domain::account::{AccountEvent, LoginMethod};
use hansard_domain::audit::AuditEvent;
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{Timestamp, UserId};
use hansard_domain::journal::{Batch, Journal};
use hansard_domain::log::Position;
use hansard_domain::network::Network;
use hansard_domain::seal::Private;
use hansard_domain::setting::SettingEvent;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::login::LoginError;
use crate::bus::Commands;
use crate::error::CommandError;
use crate::model::WriteModel;

/// How many networks and names failures are remembered of, and how many failures in all; those that
/// failed longest ago are forgotten first. It is about 10 MB.
const REMEMBERED: usize = 10_000;
const FAILURES: usize = 200_000;

/// How many failures are remembered of one network or name.
const FAILURES_OF_ONE: usize = 1_000;

/// What happened longer before a start is not counted any more, unless the workspace blocks for longer.
const LATELY: Duration = Duration::from_mins(10);

/// The longest that is looked back at a start.
const LONG_AGO: Duration = Duration::from_hours(24);

/// How many attempts at an account, or at a name that nobody has, wait for others to end.
const WAITING: i64 = 4;

/// How long an attempt waits for those before it to be counted, and counting for a journal that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Wrong passwords by where they came from and by the names that nobody has; those of accounts are the
/// accounts'. Counted from the journal, on whatever node they were given.
#[derive(Default)]
pub struct FailedLogins {
    memory: Mutex<Memory>,
    /// Ids and names are remembered by a hash of a fixed length.
    hasher: RandomState,
    /// An attempt has ended.
    ended: Notify,
    /// How far in the journal they are counted.
    reached: watch::Sender<Position>,
}

#[derive(Default)]
struct Memory {
    by_network: Failures<Network>,
    by_unknown_name: Failures<u64>,
    /// How many attempts are under way.
    under_way: Counts,
    /// How many wait until it is known how those end.
    waiting: Counts,
    /// How far in the journal failures are counted.
    followed: Position,
    /// What was counted beyond that, at once when it was recorded.
    counted: HashSet<Position>,
}

/// Whom attempts count against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Network(Network),
    /// All networks that an account is not known in, and how it is called.
    Account(UserId, Called),
    /// One that it is known in.
    AccountAt(UserId, Called, Network),
    UnknownName(u64),
}

/// How many there are of each, none of them 0.
#[derive(Default)]
struct Counts(HashMap<Subject, i64>);

impl Counts {
    fn of(&self, subject: &Subject) -> i64 {
        self.0.get(subject).copied().unwrap_or(0)
    }

    fn add(&mut self, subject: &Subject) {
        *self.0.entry(subject.clone()).or_default() += 1;
    }

    fn remove(&mut self, subject: &Subject) {
        if let Some(count) = self.0.get_mut(subject) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(subject);
            }
        }
    }
}

/// How an account is called by who logs in. Each has a count of its own, as names have that nobody has: what is
/// blocked tells nobody which name and which address belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Called {
    ByUsername,
    ByEmail,
}

/// Whose password is tried.
#[derive(Debug, Clone, Copy)]
pub enum Tried<'a> {
    Account(&'a UserId, Called),
    /// A name that nobody has, as it [stands on the record](Commands::unknown_name).
    Name(&'a str),
}

/// An attempt that was let in. It counts until it is dropped.
pub struct Attempt<'a> {
    failed: &'a FailedLogins,
    subjects: Vec<Subject>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut memory = self.failed.memory.lock();
        for subject in &self.subjects {
            memory.under_way.remove(subject);
        }
        drop(memory);
        self.failed.ended.notify_waiters();
    }
}

/// An attempt that waits until this is dropped.
struct Waiting<'a> {
    failed: &'a FailedLogins,
    at: Subject,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.failed.memory.lock().waiting.remove(&self.at);
    }
}

/// Failures of networks or names, each with a hash of whom it was about.
struct Failures<K> {
    of: HashMap<K, VecDeque<(Timestamp, u64)>>,
    /// By their last failure.
    order: BTreeSet<(Timestamp, K)>,
    total: usize,
}

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self {
            of: HashMap::new(),
            order: BTreeSet::new(),
            total: 0,
        }
    }
}

impl<K: Copy + Ord + Hash> Failures<K> {
    /// Those between two times, both exclusive.
    fn count_between(&self, who: K, (since, until): (Timestamp, Timestamp)) -> i64 {
        let failures = self.of.get(&who);
        failures.map_or(0, |failures| {
            let counts = |(at, _): &&(Timestamp, u64)| *at > since && *at < until;
            failures.iter().filter(counts).count() as i64
        })
    }

    fn add(&mut self, who: K, at: Timestamp, about: u64) {
        let mut failures = self.take(who);
        if failures.len() == FAILURES_OF_ONE {
            failures.pop_front();
        }
        failures.push_back((at, about));
        self.put(who, failures);
        while self.of.len() > REMEMBERED || self.total > FAILURES {
            let Some((_, oldest)) = self.order.first().copied() else {
                break;
            };
            self.take(oldest);
        }
    }

    /// Forgets what was about somebody.
    fn forgive(&mut self, who: K, about: u64) {
        let mut failures = self.take(who);
        failures.retain(|(_, other)| *other != about);
        self.put(who, failures);
    }

    fn take(&mut self, who: K) -> VecDeque<(Timestamp, u64)> {
        let failures = self.of.remove(&who).unwrap_or_default();
        if let Some((last, _)) = failures.back() {
            self.order.remove(&(*last, who));
        }
        self.total -= failures.len();
        failures
    }

    fn put(&mut self, who: K, failures: VecDeque<(Timestamp, u64)>) {
        if let Some((last, _)) = failures.back() {
            self.order.insert((*last, who));
            self.total += failures.len();
            self.of.insert(who, failures);
        }
    }
}

/// A limit of `Block_Multiple_Failed_Logins_*`; `None` where it is off.
struct Limit {
    attempts: i64,
    /// The times between which failures count, both exclusive. The later one leaves room for the clocks
    /// of other nodes.
    window: (Timestamp, Timestamp),
}

impl Limit {
    fn of(model: &WriteModel, by: &str, attempts: &str, now: Timestamp) -> Option<Self> {
        if !model.flag(&setting("Enabled")) || !model.flag(&setting(&format!("By_{by}"))) {
            return None;
        }
        let attempts = model.number(&setting(&format!("Attempts_Until_Block_{attempts}")));
        let window = window(model, by);
        (attempts > 0).then(|| Self {
            attempts,
            window: (now.minus(window), now.plus(window)),
        })
    }
}

fn setting(name: &str) -> String {
    format!("Block_Multiple_Failed_Logins_{name}")
}

/// How long failures count.
fn window(model: &WriteModel, by: &str) -> Duration {
    let minutes = model.setting(&setting(&format!("Time_To_Unblock_By_{by}_In_Minutes")));
    let minutes = minutes.as_f64().unwrap_or_default();
    Duration::from_secs_f64((minutes * 60.0).clamp(0.0, 1e9))
}

/// Whether an attempt may be made now.
enum Verdict {
    LetIn(Vec<Subject>),
    /// So many are under way that it depends on how they end. It waits with those at the same.
    Wait(Subject),
    Blocked(LoginError),
}

impl FailedLogins {
    /// Counts what the journal tells of, on whatever node it happened; from what happened lately on.
    pub async fn follow(&self, journal: &Arc<Journal>, model: &WriteModel, now: Timestamp) {
        let longest = window(model, "Ip").max(window(model, "User"));
        let lately = now.minus(longest.clamp(LATELY, LONG_AGO));
        let mut after = journal.position_at(lately).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "who failed to log in before this start is not known");
            journal.head()
        });
        loop {
            let mut batches = journal.follow(after);
            while let Some(batch) = batches.next().await {
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(error) => {
                        tracing::warn!(%error, "failed logins are not counted until the log can be read");
                        break;
                    }
                };
                for entry in batch.iter() {
                    self.count(entry, Seen::InJournal);
                    after = entry.position;
                }
                self.reached.send_replace(after);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until what was recorded up to a position is counted; not for long.
    async fn caught_up(&self, position: Position) {
        let mut reached = self.reached.subscribe();
        let counted = reached.wait_for(|reached| *reached >= position);
        // Who can't be counted in time is counted later.
        let _ = tokio::time::timeout(PAUSE, counted).await;
    }

    /// Counts what was just recorded here, before whoever waits looks again.
    pub(super) fn recorded(&self, batch: Option<&Batch>) {
        for entry in batch.into_iter().flat_map(|batch| batch.iter()) {
            self.count(entry, Seen::Recorded);
        }
    }

    fn count(&self, entry: &Entry, seen: Seen) {
        let origin = || Network::parse(&entry.origin.as_ref()?.value()?.address);
        let at = entry.clock.unwrap_or(entry.at);
        let stated = |from: &Option<Private<Network>>| from.as_ref()?.value().copied();
        let mut memory = self.memory.lock();
        if !memory.is_new(entry.position, seen) {
            return;
        }
        match &entry.event {
            Event::Account(AccountEvent::LoginFailed { from, .. }) => {
                if let Some(network) = stated(from).or_else(origin) {
                    let about = self.hash(entry.stream.key());
                    memory.by_network.add(network, at, about);
                }
            }
            Event::Audit(AuditEvent::UnknownLoginFailed { name }) => {
                if let Some(name) = name.value() {
                    let about = self.hash(name);
                    memory.by_unknown_name.add(about, at, about);
                    if let Some(network) = origin() {
                        memory.by_network.add(network, at, about);
                    }
                }
            }
            Event::Account(AccountEvent::UserLoggedIn {
                method: LoginMethod::Password,
                from,
                ..
            }) => {
                if let Some(network) = stated(from).or_else(origin) {
                    let about = self.hash(entry.stream.key());
                    memory.by_network.forgive(network, about);
                }
            }
            // What was guessed while nobody counted is not held against anybody.
            Event::Setting(SettingEvent::SettingChanged { .. })
                if entry.stream.key() == setting("By_Ip") =>
            {
                memory.by_network = Failures::default();
            }
            _ => {}
        }
    }

    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }

    /// Lets an attempt in, once it is known how as many of those under way end as matter for it.
    /// [`CommandError::TooManyAtOnce`] where too many wait for that already.
    pub(super) async fn admit(
        &self,
        commands: &Commands,
        tried: Tried<'_>,
        from: Option<Network>,
    ) -> Result<Attempt<'_>, LoginError> {
        let mut waiting = None;
        loop {
            // Before the look, so that no end is missed.
            let ended = self.ended.notified();
            let model = commands.model();
            self.caught_up(model.position()).await;
            let now = commands.clock().now();
            match self.verdict(|| commands.model(), tried, from, now) {
                Verdict::LetIn(subjects) => {
                    return Ok(Attempt {
                        failed: self,
                        subjects,
                    });
                }
                Verdict::Blocked(error) => return Err(error),
                Verdict::Wait(at) => {
                    if waiting.is_none() {
                        waiting = Some(self.wait(at)?);
                    }
                    ended.await;
                }
            }
        }
    }

    fn wait(&self, at: Subject) -> Result<Waiting<'_>, CommandError> {
        let mut memory = self.memory.lock();
        if memory.waiting.of(&at) >= WAITING {
            return Err(CommandError::TooManyAtOnce);
        }
        memory.waiting.add(&at);
        Ok(Waiting { failed: self, at })
    }

    /// Reads the model under the lock: an attempt that ended before has its outcome in that model.
    fn verdict<M: Deref<Target = WriteModel>>(
        &self,
        model: impl FnOnce() -> M,
        tried: Tried<'_>,
        from: Option<Network>,
        now: Timestamp,
    ) -> Verdict {
        let mut memory = self.memory.lock();
        let model = &*model();
        let mut subjects = Vec::new();
        let mut waits = false;
        let mut check = |subject: Subject, failed: i64, limit: &Limit| {
            waits |= failed + memory.under_way.of(&subject) >= limit.attempts;
            subjects.push(subject);
            failed < limit.attempts
        };
        if let Some(network) = from.filter(|network| !is_exempt(model, *network))
            && let Some(limit) = Limit::of(model, "Ip", "By_Ip", now)
        {
            let failed = memory.by_network.count_between(network, limit.window);
            if !check(Subject::Network(network), failed, &limit) {
                return Verdict::Blocked(LoginError::Refused {
                    code: "error-login-blocked-for-ip",
                    reason: "Login has been temporarily blocked For IP",
                });
            }
        }
        let at = match tried {
            Tried::Account(user, called) => of_account(model, user, called, from),
            Tried::Name(name) => Subject::UnknownName(self.hash(name)),
        };
        if let Some(limit) = Limit::of(model, "User", "by_User", now) {
            let failed = match tried {
                Tried::Account(user, called) => {
                    let account = model.account(user);
                    let by_email = called == Called::ByEmail;
                    account.map_or(0, |account| {
                        account.failures_between(limit.window, from, by_email) as i64
                    })
                }
                Tried::Name(name) => {
                    let name = self.hash(name);
                    memory.by_unknown_name.count_between(name, limit.window)
                }
            };
            if !check(at.clone(), failed, &limit) {
                return Verdict::Blocked(LoginError::Refused {
                    code: "error-login-blocked-for-user",
                    reason: "Login has been temporarily blocked For User",
                });
            }
        }
        if waits {
            return Verdict::Wait(at);
        }
        for subject in &subjects {
            memory.under_way.add(subject);
        }
        Verdict::LetIn(subjects)
    }
}

/// Where an event is met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Recorded,
    InJournal,
}

impl Memory {
    /// Whether an event is not counted yet; it is from now on.
    fn is_new(&mut self, position: Position, seen: Seen) -> bool {
        match seen {
            Seen::Recorded => position > self.followed && self.counted.insert(position),
            Seen::InJournal => {
                self.followed = position;
                !self.counted.remove(&position)
            }
        }
    }
}

fn of_account(model: &WriteModel, user: &UserId, called: Called, from: Option<Network>) -> Subject {
    let account = model.account(user);
    match from.filter(|network| account.is_some_and(|account| account.knows(Some(*network)))) {
        Some(network) => Subject::AccountAt(user.clone(), called, network),
        None => Subject::Account(user.clone(), called),
    }
}

/// Whether the workspace counts nothing from a network.
fn is_exempt(model: &WriteModel, network: Network) -> bool {
    let exempt = model.text(&setting("Ip_Whitelist"));
    let mut exempt = exempt.split(',').filter_map(Network::parse);
    exempt.any(|exempt| exempt == network)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn network(address: &str) -> Network {
        Network::parse(address).unwrap()
    }

    fn attempt(failed: &FailedLogins, name: &str, from: &str, at: i64) -> Verdict {
        let model = || Box::new(WriteModel::empty());
        let from = Some(network(from));
        failed.verdict(model, Tried::Name(name), from, Timestamp(at))
    }

    fn fail(failed: &FailedLogins, name: &str, from: &str, at: i64) {
        let about = failed.hash(name);
        let mut memory = failed.memory.lock();
        memory.by_unknown_name.add(about, Timestamp(at), about);
        memory.by_network.add(network(from), Timestamp(at), about);
    }

    fn is_blocked(verdict: &Verdict, by: &str) -> bool {
        matches!(verdict, Verdict::Blocked(LoginError::Refused { code, .. }) if code.ends_with(by))
    }

    #[test]
    fn a_network_is_blocked_by_its_failures_alone_and_until_they_are_old() {
        let failed = FailedLogins::default();
        for at in 0..50 {
            let verdict = attempt(&failed, "somebody", "192.0.2.1", at);
            assert!(!is_blocked(&verdict, "ip"));
            fail(&failed, &at.to_string(), "192.0.2.1", at);
        }
        assert!(is_blocked(&attempt(&failed, "x", "192.0.2.1", 50), "ip"));
        assert!(!is_blocked(&attempt(&failed, "x", "192.0.2.2", 50), "ip"));
        let later = attempt(&failed, "x", "192.0.2.1", 5 * MINUTE + 49);
        assert!(!is_blocked(&later, "ip"));
    }

    #[test]
    fn a_name_that_nobody_has_is_blocked_from_everywhere() {
        let failed = FailedLogins::default();
        for at in 0..10 {
            let from = format!("192.0.2.{at}");
            assert!(!is_blocked(&attempt(&failed, "x", &from, at), "user"));
            fail(&failed, "x", &from, at);
        }
        assert!(is_blocked(&attempt(&failed, "x", "192.0.2.99", 10), "user"));
    }

    #[test]
    fn attempts_at_once_are_no_more_than_one_after_the_other() {
        let failed = FailedLogins::default();
        let mut let_in = Vec::new();
        for at in 0..10 {
            let Verdict::LetIn(subjects) = attempt(&failed, "x", "192.0.2.1", at) else {
                panic!("attempt {at} is let in");
            };
            let_in.push(Attempt {
                failed: &failed,
                subjects,
            });
        }
        let verdict = attempt(&failed, "x", "192.0.2.1", 10);
        assert!(matches!(verdict, Verdict::Wait(_)));
        let elsewhere = attempt(&failed, "y", "192.0.2.1", 10);
        assert!(matches!(elsewhere, Verdict::LetIn(_)));
        let_in.pop();
        let verdict = attempt(&failed, "x", "192.0.2.1", 10);
        assert!(matches!(verdict, Verdict::LetIn(_)));
    }

    #[test]
    fn few_attempts_at_one_wait_for_others_to_end() {
        let failed = FailedLogins::default();
        let let_in = |name: &str| {
            let mut subjects = Vec::new();
            for at in 0..10 {
                match attempt(&failed, name, "192.0.2.1", at) {
                    Verdict::LetIn(of) => subjects.extend(of),
                    _ => panic!("attempt {at} at {name} is let in"),
                }
            }
            let failed = &failed;
            Attempt { failed, subjects }
        };
        let wait = |name: &str| match attempt(&failed, name, "192.0.2.1", 10) {
            Verdict::Wait(at) => failed.wait(at),
            _ => panic!("the attempt at {name} has to wait"),
        };
        let under_way = [let_in("x"), let_in("y")];
        let mut waiting: Vec<_> = (0..WAITING).map(|_| wait("x").unwrap()).collect();
        assert!(matches!(wait("x"), Err(CommandError::TooManyAtOnce)));
        assert!(wait("y").is_ok());
        // Who goes leaves its place to another.
        waiting.pop();
        waiting.push(wait("x").unwrap());
        assert!(wait("x").is_err());
        drop((under_way, waiting));
        let memory = failed.memory.lock();
        assert!(memory.waiting.0.is_empty() && memory.under_way.0.is_empty());
    }

    #[test]
    fn the_right_password_makes_up_for_what_was_about_the_same_account() {
        let mut failures = Failures::default();
        let home = network("192.0.2.1");
        for (at, about) in [(1, 1), (2, 2), (3, 1)] {
            failures.add(home, Timestamp(at), about);
        }
        failures.forgive(home, 1);
        assert_eq!(
            failures.count_between(home, (Timestamp(0), Timestamp(9))),
            1
        );
        failures.forgive(home, 2);
        assert!(failures.of.is_empty() && failures.order.is_empty() && failures.total == 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut failures = Failures::default();
        for number in 0..REMEMBERED as u64 + 5 {
            failures.add(number, Timestamp(number as i64), 0);
        }
        assert_eq!(failures.of.len(), REMEMBERED);
        assert!(!failures.of.contains_key(&0) && failures.of.contains_key(&5));
        for at in 0..FAILURES_OF_ONE + 5 {
            failures.add(7, Timestamp(at as i64), 0);
        }
        assert_eq!(failures.of[&7].len(), FAILURES_OF_ONE);
        for who in 0..FAILURES / FAILURES_OF_ONE + 5 {
            for _ in 0..FAILURES_OF_ONE {
                failures.add(who as u64, Timestamp(i64::MAX), 0);
            }
        }
        assert!(failures.total <= FAILURES, "{}", failures.total);
        assert_eq!(failures.order.len(), failures.of.len());
    }

    #[test]
    fn what_is_recorded_here_is_counted_once() {
        let mut memory = Memory::default();
        assert!(memory.is_new(Position(7), Seen::Recorded));
        assert!(!memory.is_new(Position(7), Seen::InJournal));
        assert!(memory.is_new(Position(8), Seen::InJournal));
        assert!(!memory.is_new(Position(8), Seen::Recorded));
        assert!(memory.counted.is_empty());
    }
}
