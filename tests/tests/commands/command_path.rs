//! The command path on a log in memory whose failures are ordered: what callers are told, what the
//! write model holds, what is recorded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use hansard_commands::account::guessing::FailedLogins;
use hansard_commands::account::hashing::Asker;
use hansard_commands::account::login::LoginError;
use hansard_commands::account::password::{self, Secret};
use hansard_commands::account::{login, status, token};
use hansard_commands::bus::{Commands, Done};
use hansard_commands::caller::Caller;
use hansard_commands::decision::Decision;
use hansard_commands::error::CommandError;
use hansard_commands::model::WriteModel;
use hansard_commands::policy::{self, Policy};
use hansard_commands::shredder::Shredder;
use hansard_commands::snapshot::Snapshots;
use hansard_domain::account::{
    AccountCommand, AccountKind, PasswordHash, Presence, Profile, Registration, TokenHash,
};
use hansard_domain::audit::AuditEvent;
use hansard_domain::claim::Namespace;
use hansard_domain::event::{Entry, Event};
use hansard_domain::fair;
use hansard_domain::id::{Clock, MessageId, RandomIds, RoomId, SystemClock, Timestamp, UserId};
use hansard_domain::journal::{Batch, Journal};
use hansard_domain::log::{Actor, EventLog, Position, StreamId, Version};
use hansard_domain::message::{Content, MessageCommand, MessageEvent, Sent};
use hansard_domain::vault::KeyId;
use hansard_infra::log::memory::MemoryLog;
use hansard_infra::vault::memory::MemoryVault;
use hansard_tests::shelf::Shelf;
use tokio_util::sync::CancellationToken;

struct Bench {
    log: MemoryLog,
    vault: MemoryVault,
    commands: Commands,
}

impl Bench {
    async fn new() -> Self {
        Self::on(MemoryLog::new(), MemoryVault::new()).await
    }

    async fn on(log: MemoryLog, vault: MemoryVault) -> Self {
        Self::with_clock(log, vault, Arc::new(SystemClock)).await
    }

    async fn with_clock(log: MemoryLog, vault: MemoryVault, clock: Arc<dyn Clock>) -> Self {
        let journal = Journal::open(Arc::new(log.clone()), Arc::new(vault.clone()))
            .await
            .unwrap();
        let model = Snapshots::open(Arc::new(Shelf::default()), &journal)
            .await
            .unwrap()
            .restore(&journal)
            .await
            .unwrap();
        let (commands, _) = Commands::start(journal, model, clock, Arc::new(RandomIds), None)
            .await
            .unwrap();
        Self {
            log,
            vault,
            commands,
        }
    }

    /// The same log and vault under a fresh journal and write model, as after a restart.
    async fn restarted(&self) -> Self {
        Self::on(self.log.clone(), self.vault.clone()).await
    }

    async fn register(&self, name: &'static str) -> Result<Done<UserId>, CommandError> {
        self.commands
            .run(&Caller::system("test"), move |decision| {
                let id = UserId::new(name);
                decision.claim(Namespace::Username, name, id.as_str())?;
                let (key, at) = (decision.fresh_key()?, decision.now());
                decision.account(
                    &id,
                    AccountCommand::Register {
                        key,
                        how: Registration::Bootstrap,
                        kind: AccountKind::User,
                        roles: vec!["user".into()],
                        active: true,
                        reason: None,
                        password_change_required: false,
                        profile: Profile {
                            username: name.to_owned(),
                            ..Profile::default()
                        },
                        password: None,
                        at,
                    },
                )?;
                Ok(id)
            })
            .await
    }

    async fn send(&self, id: &'static str, text: &'static str) -> Result<Done<()>, CommandError> {
        self.send_to(id.to_owned(), "GENERAL", text).await
    }

    async fn say(&self, id: String, room: &'static str) -> Result<Done<()>, CommandError> {
        self.send_to(id, room, "hello").await
    }

    async fn send_to(
        &self,
        id: String,
        room: &'static str,
        text: &'static str,
    ) -> Result<Done<()>, CommandError> {
        self.commands
            .run(&Caller::system("test"), move |decision| {
                let sent = Sent {
                    room: room.into(),
                    sender: "mary".into(),
                    system: None,
                    thread: None,
                    mentions: Default::default(),
                    integration: None,
                    bot: false,
                    groupable: true,
                    discussion: None,
                    has_files: false,
                    at: decision.now(),
                };
                let content = Content {
                    text: text.to_owned(),
                    ..Content::default()
                };
                decision.new_message(&MessageId::new(&id), sent, content)
            })
            .await
    }

    /// All that stands in the log.
    async fn recorded(&self) -> Vec<Arc<Entry>> {
        let batches: Vec<Batch> = self
            .commands
            .journal()
            .all(Position::START)
            .try_collect()
            .await
            .unwrap();
        batches
            .iter()
            .flat_map(|batch| batch.iter().cloned())
            .collect()
    }

    /// The times of all messages, in the order they were recorded in.
    async fn message_times(&self) -> Vec<i64> {
        let time = |entry: Arc<Entry>| match &entry.event {
            Event::Message(MessageEvent::MessageSent { sent, .. }) => Some(sent.at.0),
            _ => None,
        };
        self.recorded().await.into_iter().filter_map(time).collect()
    }

    fn knows(&self, name: &str) -> bool {
        self.commands.model().user_by_name(name).is_some()
    }
}

/// A clock that is set by hand.
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let bench = Bench::new().await;
    bench.register("mary").await.unwrap();
    let after = bench.restarted().await;
    assert!(after.knows("mary") && after.knows("MARY"));
    let again = after.register("mary").await.unwrap_err();
    assert!(matches!(again, CommandError::Refused { .. }), "{again:?}");
}

#[tokio::test]
async fn concurrent_claims_of_a_name_have_one_winner() {
    let bench = Bench::new().await;
    let attempts = (0..50).map(|_| bench.register("mary"));
    let outcomes = futures::future::join_all(attempts).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

#[tokio::test]
async fn a_decision_may_be_of_a_thousand_commands() {
    let bench = Bench::new().await;
    let claim = |decision: &mut Decision<'_>| {
        (0..1_000).try_for_each(|number| {
            decision.claim(Namespace::Room, &format!("room {number}"), "mary")
        })
    };
    let done = bench.commands.run(&Caller::system("test"), claim).await;
    assert_eq!(done.unwrap().batch.unwrap().len(), 1_000);
}

/// A decision that needs so many keys.
fn sealing(keys: usize) -> impl FnMut(&mut Decision<'_>) -> Result<KeyId, CommandError> {
    move |decision| {
        let first = decision.fresh_key()?;
        for _ in 1..keys {
            decision.fresh_key()?;
        }
        decision.claim(Namespace::Room, &format!("of {keys} keys"), "mary")?;
        Ok(first)
    }
}

#[tokio::test]
async fn a_decision_that_needs_more_keys_than_are_minted_ahead_gets_them() {
    let bench = Bench::new().await;
    let caller = Caller::system("test");
    let done = bench.commands.run(&caller, sealing(30_000)).await.unwrap();
    assert_eq!(done.batch.unwrap().len(), 1);
    bench.register("mary").await.unwrap();
}

#[tokio::test]
async fn a_decision_that_needs_far_too_many_keys_is_refused_and_holds_nobody_up() {
    let bench = Bench::new().await;
    let caller = Caller::system("test");
    let refused = bench.commands.run(&caller, sealing(200_000)).await;
    assert!(matches!(refused, Err(CommandError::TooMuch)), "{refused:?}");
    bench.register("mary").await.unwrap();
}

#[tokio::test]
async fn keys_of_what_comes_to_nothing_are_used_for_what_comes_next() {
    let bench = Bench::new().await;
    let taken = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..50 {
        let (taken, caller) = (taken.clone(), Caller::system("test"));
        let refused = bench.commands.run(&caller, move |decision| {
            taken.lock().unwrap().push(decision.fresh_key()?);
            Err::<(), _>(CommandError::refused("error-test", "no"))
        });
        refused.await.unwrap_err();
        // Nor where the commit conflicts.
        let _ = bench.send("m1", "again").await;
    }
    let taken = taken.lock().unwrap().clone();
    assert_eq!(taken.len(), 50);
    let (least, most) = (taken.iter().min().unwrap(), taken.iter().max().unwrap());
    assert!(most.0 - least.0 <= 2, "{least:?} to {most:?}");
}

#[tokio::test]
async fn messages_of_a_room_have_times_that_rise() {
    let bench = Bench::new().await;
    let say = |number: usize| {
        let room = if number.is_multiple_of(10) {
            "OTHER"
        } else {
            "GENERAL"
        };
        bench.say(format!("m{number}"), room)
    };
    for outcome in futures::future::join_all((0..400).map(say)).await {
        outcome.unwrap();
    }
    let after = bench.restarted().await;
    for number in 400..500 {
        after.say(format!("m{number}"), "GENERAL").await.unwrap();
    }
    let mut last: HashMap<RoomId, Timestamp> = HashMap::new();
    let mut ahead = 0;
    let mut newest = Timestamp(0);
    for entry in after.recorded().await {
        assert!(entry.at >= newest, "times of the log never fall");
        newest = entry.at;
        let Event::Message(MessageEvent::MessageSent { sent, .. }) = &entry.event else {
            continue;
        };
        let before = last.insert(sent.room.clone(), sent.at);
        assert!(before.is_none_or(|before| before < sent.at), "{sent:?}");
        ahead = ahead.max(sent.at.0 - entry.at.0);
    }
    assert_eq!(last.len(), 2);
    assert!(ahead <= 1_000, "{ahead} ms ahead of the clock");
}

#[tokio::test]
async fn a_room_s_time_runs_ahead_of_the_clock_by_a_second_at_most() {
    let clock = Arc::new(Hand(AtomicI64::new(1_000_000)));
    let bench = Bench::with_clock(MemoryLog::new(), MemoryVault::new(), clock.clone()).await;
    for number in 0..1_200 {
        bench.say(format!("m{number}"), "GENERAL").await.unwrap();
    }
    clock.0.store(1_000_500, Ordering::Relaxed);
    bench.say("late".to_owned(), "GENERAL").await.unwrap();
    let times: Vec<_> = bench.message_times().await;
    let (late, times) = times.split_last().unwrap();
    let rising = times.partition_point(|time| *time < 1_001_000);
    assert!(rising > 900, "{rising}");
    let first = times[0];
    let expected: Vec<_> = (first..).take(rising).collect();
    assert_eq!(times[..rising], expected);
    assert!(times[rising..].iter().all(|time| *time == 1_001_000));
    assert_eq!(*late, 1_001_001);
}

#[tokio::test]
async fn a_clock_that_was_set_back_takes_the_log_s_time_over_restarts() {
    let clock = Arc::new(Hand(AtomicI64::new(5_000_000)));
    let bench = Bench::with_clock(MemoryLog::new(), MemoryVault::new(), clock.clone()).await;
    bench.register("mary").await.unwrap();
    clock.0.store(1_000_000, Ordering::Relaxed);
    let after = Bench::with_clock(bench.log.clone(), bench.vault.clone(), clock.clone()).await;
    after.say("m1".to_owned(), "GENERAL").await.unwrap();
    clock.0.store(1_000_100, Ordering::Relaxed);
    after.say("m2".to_owned(), "GENERAL").await.unwrap();
    clock.0.store(6_000_000, Ordering::Relaxed);
    after.say("m3".to_owned(), "GENERAL").await.unwrap();
    let times: Vec<_> = after
        .recorded()
        .await
        .iter()
        .map(|entry| (entry.at.0, entry.clock.map(|clock| clock.0)))
        .collect();
    assert_eq!(
        times[times.len() - 3..],
        [
            (5_000_001, Some(1_000_000)),
            (5_000_050, Some(1_000_100)),
            (6_000_000, None)
        ]
    );
    let found = after.log.position_at(Timestamp(5_000_050)).await.unwrap();
    assert_eq!(found.0 as usize, times.len() - 1);
}

#[tokio::test]
async fn a_decision_that_panics_fails_alone() {
    let bench = Bench::new().await;
    let broken = |_: &mut Decision<'_>| -> Result<(), CommandError> { panic!("on purpose") };
    let outcome = bench.commands.run(&Caller::system("test"), broken).await;
    assert!(matches!(outcome, Err(CommandError::Broken)));
    bench.register("mary").await.unwrap();
}

#[tokio::test]
async fn an_append_that_fails_leaves_nothing_and_the_next_one_works() {
    let bench = Bench::new().await;
    bench.log.faults().fail_next(1);
    assert!(matches!(
        bench.register("mary").await,
        Err(CommandError::Unavailable(_))
    ));
    assert!(!bench.knows("mary"));
    bench.register("mary").await.unwrap();
    assert!(bench.restarted().await.knows("mary"));
}

#[tokio::test]
async fn a_full_disk_is_told_and_passes() {
    let bench = Bench::new().await;
    bench.log.faults().set_full(true);
    let refused = bench.register("mary").await.unwrap_err();
    assert!(refused.to_string().contains("full"), "{refused}");
    bench.log.faults().set_full(false);
    bench.register("mary").await.unwrap();
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_is_taken_in_all_the_same() {
    let bench = Bench::new().await;
    bench.log.faults().lose_next_answers(1);
    assert!(matches!(
        bench.register("mary").await,
        Err(CommandError::Unavailable(_))
    ));
    // The next command waits for the recovery: by then the model has what the log has.
    bench.register("paul").await.unwrap();
    assert!(bench.knows("mary"));
    let again = bench.register("mary").await.unwrap_err();
    assert!(matches!(again, CommandError::Refused { .. }));
}

#[tokio::test]
async fn a_log_that_stalls_makes_callers_wait_not_fail() {
    let bench = Arc::new(Bench::new().await);
    bench.log.faults().stall();
    let waiting = tokio::spawn({
        let bench = bench.clone();
        async move { bench.register("mary").await.map(|done| done.answer) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    bench.log.faults().release();
    assert_eq!(waiting.await.unwrap().unwrap(), UserId::new("mary"));
}

#[tokio::test]
async fn a_message_id_is_taken_once() {
    let bench = Bench::new().await;
    bench.send("m1", "first").await.unwrap();
    let again = bench.send("m1", "second").await.unwrap_err();
    assert!(matches!(again, CommandError::Conflict(_)), "{again:?}");
    let stands = bench.commands.message(&"m1".into()).await.unwrap().unwrap();
    assert_eq!(stands.content.text, "first");
}

#[tokio::test]
async fn two_sends_of_one_id_at_once_make_one_message() {
    let bench = Bench::new().await;
    let (one, other) = tokio::join!(bench.send("m1", "first"), bench.send("m1", "second"));
    assert!(one.is_ok() != other.is_ok());
}

#[tokio::test]
async fn what_many_do_with_one_message_at_once_is_all_done() {
    let bench = Bench::new().await;
    bench.send("m1", "first").await.unwrap();
    let loaded = bench.commands.message(&"m1".into()).await.unwrap().unwrap();
    let react = |number: usize| {
        let loaded = loaded.clone();
        let command = move |decision: &mut Decision<'_>| {
            let command = MessageCommand::React {
                user: UserId::new(format!("user{number}")),
                reaction: ":owl:".to_owned(),
                add: Some(true),
            };
            decision.message(&"m1".into(), &loaded, command)
        };
        let commands = bench.commands.clone();
        async move { commands.run(&Caller::system("test"), command).await }
    };
    let outcomes = futures::future::join_all((0..100).map(react)).await;
    assert!(outcomes.iter().all(Result::is_ok), "decided in one batch");
    let after = bench.commands.message(&"m1".into()).await.unwrap().unwrap();
    assert_eq!(after.reactions.len(), 100);
    // In the next batch it is known what is loaded, and no more.
    let late = react(100).await;
    assert!(matches!(late, Err(CommandError::Conflict(_))), "{late:?}");
}

#[tokio::test]
async fn a_decision_that_is_refused_changes_nothing() {
    let bench = Bench::new().await;
    let refused = bench
        .commands
        .run(&Caller::system("test"), |decision| {
            decision.claim(Namespace::Username, "mary", "m")?;
            Err::<(), _>(CommandError::refused("error-test", "no"))
        })
        .await;
    assert!(refused.is_err());
    bench.register("mary").await.unwrap();
}

#[tokio::test]
async fn a_denied_command_is_on_the_record() {
    let bench = Bench::new().await;
    let mary = bench.register("mary").await.unwrap().answer;
    let denied = bench
        .commands
        .run(
            &Caller::user(mary.clone(), "channels.archive"),
            |decision| {
                decision
                    .model()
                    .require(decision.caller(), "archive-room", None)
            },
        )
        .await;
    assert!(matches!(
        denied,
        Err(CommandError::Denied {
            forbidden: true,
            ..
        })
    ));
    let recorded =
        futures::StreamExt::collect::<Vec<_>>(bench.commands.journal().all(Position::START)).await;
    let last = recorded
        .last()
        .unwrap()
        .as_ref()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(
        last.event,
        Event::Audit(AuditEvent::CommandDenied {
            action: "channels.archive".to_owned(),
            permission: Some("archive-room".to_owned()),
            user: Some(mary),
            room: None,
            times: 1,
            since: None,
            several: Vec::new(),
        })
    );
}

#[tokio::test]
async fn a_password_that_is_changed_while_somebody_logs_in_with_it_opens_nothing() {
    let bench = Bench::new().await;
    let mary = bench.register("mary").await.unwrap().answer;
    let (old, new) = (Secret::of("old"), Secret::of("new"));
    let [first, second] = [old.clone(), new].map(|secret| password::hash(Asker::server(), secret));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    let change = async |password: PasswordHash| {
        let user = mary.clone();
        let change = move |decision: &mut Decision<'_>| {
            let password = password.clone();
            let command = AccountCommand::ChangePassword {
                password,
                change_required: false,
            };
            decision.account(&user, command)?;
            let ended = AccountCommand::EndSessions {
                kept: None,
                personal_access_tokens: false,
            };
            decision.account(&user, ended)
        };
        bench.commands.run(&Caller::system("test"), change).await
    };
    change(first).await.unwrap();

    let failed = Arc::new(FailedLogins::default());
    let counting = {
        let (failed, commands) = (failed.clone(), bench.commands.clone());
        let now = commands.clock().now();
        let follow = async move {
            let model = commands.model();
            failed.follow(commands.journal(), &model, now).await;
        };
        tokio::spawn(follow)
    };
    // What was recorded so far is counted, so that the login does not wait for it.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let nobody = Caller {
        actor: Actor::Anonymous,
        ..Caller::system("login")
    };
    let name = login::Name::Username("mary".to_owned());
    let login = login::with_password(&bench.commands, &failed, &nobody, name, old);
    // While the old password is looked at, there comes to be a new one.
    let (opened, changed) = tokio::join!(login, change(second));
    changed.unwrap();
    let session = |opened: token::Opened| {
        let now = bench.commands.clock().now();
        token::holder(&bench.commands.model(), &opened.token.hash(), now)
    };
    assert_eq!(opened.ok().and_then(session), None);
    counting.abort();
}

#[tokio::test]
async fn who_guesses_after_a_clock_was_set_right_is_blocked_for_minutes_and_not_for_a_day() {
    const MINUTE: i64 = 60_000;
    const TODAY: i64 = 1_700_000_000_000;
    let clock = Arc::new(Hand(AtomicI64::new(TODAY + 24 * 60 * MINUTE)));
    let bench = Bench::with_clock(MemoryLog::new(), MemoryVault::new(), clock.clone()).await;
    bench.register("mary").await.unwrap();
    let failed = Arc::new(FailedLogins::default());
    let counting = {
        let (failed, journal) = (failed.clone(), bench.commands.journal().clone());
        let model = WriteModel::empty();
        tokio::spawn(async move { failed.follow(&journal, &model, Timestamp(TODAY)).await })
    };
    let caller = Caller {
        actor: Actor::Anonymous,
        ..Caller::system("login")
    };
    let is_blocked = async |name: &str| {
        let name = login::Name::Username(name.to_owned());
        let wrong = Secret::of("a guess");
        let login = login::with_password(&bench.commands, &failed, &caller, name, wrong);
        match login.await {
            Err(LoginError::Unauthorized) => false,
            Err(LoginError::Refused { code, .. }) => code == "error-login-blocked-for-user",
            Err(LoginError::Command(error)) => panic!("{error}"),
            Ok(_) => panic!("a guess was right"),
        }
    };
    for (number, minutes) in [24 * 60, 0, 6, 12].into_iter().enumerate() {
        clock.0.store(TODAY + minutes * MINUTE, Ordering::Relaxed);
        for name in ["mary", "nobody"] {
            for guess in 0..10 {
                assert!(!is_blocked(name).await, "{name}: {guess} of round {number}");
            }
            assert!(is_blocked(name).await, "{name} in round {number}");
        }
    }
    counting.abort();
}

#[tokio::test]
async fn whose_session_ended_a_moment_ago_changes_nothing_any_more() {
    let bench = Bench::new().await;
    let mary = bench.register("mary").await.unwrap().answer;
    let opened = token::issue(&bench.commands, &Caller::system("test"), mary.clone())
        .await
        .unwrap();
    // What the door made of a request that it let in.
    let let_in = Caller {
        token: Some(opened.token.hash()),
        ..Caller::user(mary.clone(), "users.setStatus")
    };
    let busy = || {
        let (presence, text) = (Some(Presence::Busy), None);
        status::set_status(&bench.commands, &let_in, mary.clone(), presence, text)
    };
    busy().await.unwrap();

    login::log_out(&bench.commands, &let_in).await.unwrap();
    let refused = busy().await.unwrap_err();
    assert!(matches!(refused, CommandError::NotLoggedIn), "{refused}");
}

#[tokio::test]
async fn a_snapshot_and_the_tail_make_the_same_model_as_the_whole_log() {
    let bench = Bench::new().await;
    bench.register("mary").await.unwrap();
    let shelf = Arc::new(Shelf::default());
    let snapshots = Snapshots::open(shelf.clone(), bench.commands.journal())
        .await
        .unwrap();
    snapshots.save(&bench.commands.model()).await.unwrap();
    for sealed in shelf.snapshot().values() {
        assert!(!String::from_utf8_lossy(sealed).contains("mary"));
    }
    bench.register("paul").await.unwrap();

    let restored = snapshots.restore(bench.commands.journal()).await.unwrap();
    let names = |model: &WriteModel| {
        let mut names: Vec<_> = model
            .accounts()
            .map(|(id, account)| (id.clone(), account.clone()))
            .collect();
        names.sort_by(|one, other| one.0.cmp(&other.0));
        names
    };
    assert_eq!(restored.position(), bench.commands.model().position());
    assert_eq!(names(&restored), names(&bench.commands.model()));
    assert!(restored.user_by_name("mary").is_some());
}

#[tokio::test]
async fn a_snapshot_that_is_not_whole_is_left_aside() {
    let bench = Bench::new().await;
    let shelf = Arc::new(Shelf::default());
    let open = async || {
        let snapshots = Snapshots::open(shelf.clone(), bench.commands.journal());
        snapshots.await.unwrap()
    };
    let snapshots = open().await;
    bench.register("mary").await.unwrap();
    snapshots.save(&bench.commands.model()).await.unwrap();
    let before = shelf.snapshot();
    bench.register("paul").await.unwrap();
    snapshots.save(&bench.commands.model()).await.unwrap();
    let whole = shelf.snapshot();
    let journal = bench.commands.journal();
    let head = journal.head();

    // A record that is missing, one of an earlier save, one that is another, one that is damaged.
    let mut broken = Vec::new();
    for number in whole.keys() {
        let mut records = whole.clone();
        records.remove(number);
        broken.push(records);
        if let Some(earlier) = before.get(number)
            && *earlier != whole[number]
        {
            let mut records = whole.clone();
            records.insert(*number, earlier.clone());
            broken.push(records);
        }
        for other in whole.keys().filter(|other| *other != number) {
            let mut records = whole.clone();
            records.insert(*number, whole[other].clone());
            broken.push(records);
        }
        let mut records = whole.clone();
        records
            .entry(*number)
            .and_modify(|content| content[20] ^= 1);
        broken.push(records);
    }
    assert!(broken.len() > 20);
    for (case, records) in broken.into_iter().enumerate() {
        shelf.set_snapshot(records);
        let restored = open().await.restore(journal).await.unwrap();
        assert_eq!(restored.position(), head, "{case}");
        for name in ["mary", "paul"] {
            assert!(restored.user_by_name(name).is_some(), "{case}: {name}");
        }
        assert_eq!(restored.accounts().count(), 2, "{case}");
    }
}

#[tokio::test]
async fn a_save_writes_what_has_changed() {
    let bench = Bench::new().await;
    let shelf = Arc::new(Shelf::default());
    let journal = bench.commands.journal();
    let snapshots = Snapshots::open(shelf.clone(), journal).await.unwrap();
    for number in 0..200 {
        let name: &'static str = Box::leak(format!("user-{number}").into_boxed_str());
        bench.register(name).await.unwrap();
    }
    snapshots.save(&bench.commands.model()).await.unwrap();
    bench.register("mary").await.unwrap();
    snapshots.save(&bench.commands.model()).await.unwrap();
    snapshots.save(&bench.commands.model()).await.unwrap();
    let saves = shelf.saves();
    assert_eq!(saves.len(), 2, "what is saved is not saved again");
    assert!(saves[0].len() > 20, "{saves:?}");
    // The head, and at most two parts of each table where one was split, and the names.
    assert!(saves[1].len() <= 6, "{saves:?}");
    let restored = Snapshots::open(shelf.clone(), journal).await.unwrap();
    let restored = restored.restore(journal).await.unwrap();
    assert!(restored.user_by_name("mary").is_some());
    assert_eq!(restored.accounts().count(), 201);
}

#[tokio::test]
async fn a_policy_goes_on_from_its_cursor_and_repeats_what_failed() {
    struct Counter(Mutex<(u32, Vec<Position>)>);

    #[async_trait]
    impl Policy for Counter {
        fn name(&self) -> &'static str {
            "counter"
        }

        async fn react(&self, _: &Commands, batch: &Batch) -> Result<(), CommandError> {
            let mut seen = self.0.lock().unwrap();
            seen.0 += 1;
            if seen.0 == 1 {
                return Err(CommandError::Busy);
            }
            seen.1.extend(batch.iter().map(|entry| entry.position));
            Ok(())
        }
    }

    let bench = Bench::new().await;
    bench.register("mary").await.unwrap();
    let counter = Arc::new(Counter(Mutex::default()));
    let shelf = Arc::new(Shelf::default());
    for round in 0..2 {
        let stop = CancellationToken::new();
        let running = policy::start(
            counter.clone(),
            bench.commands.clone(),
            shelf.clone(),
            Position::START,
            stop.clone(),
        )
        .await;
        running.reached(bench.commands.journal().head()).await;
        stop.cancel();
        running.stopped().await;
        if round == 0 {
            bench.register("paul").await.unwrap();
        }
    }
    let seen = counter.0.lock().unwrap().1.clone();
    let expected: Vec<Position> = (1..=bench.commands.journal().head().0)
        .map(Position)
        .collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn the_shredder_makes_a_deleted_message_unreadable() {
    let bench = Bench::new().await;
    bench.send("m1", "hush").await.unwrap();
    let message = bench.commands.message(&"m1".into()).await.unwrap().unwrap();
    bench
        .commands
        .run(&Caller::system("test"), move |decision| {
            let at = decision.now();
            decision.message(
                &"m1".into(),
                &message,
                MessageCommand::Delete {
                    by: "mary".into(),
                    keep_history: false,
                    show_deleted: false,
                    at,
                },
            )
        })
        .await
        .unwrap();
    let shelf = Arc::new(Shelf::default());
    let snapshots = Arc::new(
        Snapshots::open(shelf.clone(), bench.commands.journal())
            .await
            .unwrap(),
    );
    let running = policy::start(
        Arc::new(Shredder::new(snapshots)),
        bench.commands.clone(),
        shelf,
        Position::START,
        CancellationToken::new(),
    )
    .await;
    running.reached(bench.commands.journal().head()).await;

    let after = bench.restarted().await;
    let stream = StreamId::new("message", "m1");
    let entries = after
        .commands
        .journal()
        .stream(&stream, Version::NONE)
        .await
        .unwrap();
    let Event::Message(MessageEvent::MessageSent { content, .. }) = &entries[0].event else {
        panic!("the message's first event is {:?}", entries[0].event);
    };
    assert_eq!(content.value(), None);
    assert_ne!(content.key(), KeyId::default());
}

#[tokio::test]
async fn a_message_of_an_earlier_version_still_goes_by_what_its_client_called_it() {
    let bench = Bench::new().await;
    bench.send("mine-1", "hush").await.unwrap();
    let id_of = async |called: &str| {
        let id = bench.commands.message_id(MessageId::new(called)).await;
        id.unwrap().to_string()
    };
    assert_eq!(id_of("mine-1").await, "mine-1");
    assert_ne!(id_of("mine-2").await, "mine-2");
    assert_eq!(id_of("mine-2").await, id_of("mine-2").await);
}

#[tokio::test]
async fn a_name_that_nobody_has_is_recorded_so_that_nobody_can_read_it() {
    let bench = Bench::new().await;
    let mut recorded = Vec::new();
    // Another where the lookup takes it for another.
    let spelled = [
        "Marigold@example.org",
        "marigold@example.org",
        " marigold@example.org",
    ];
    for given in spelled {
        let caller = Caller::system("login");
        let journal = bench.commands.journal();
        let before = journal.head();
        let failed = FailedLogins::default();
        let login = login::with_password(
            &bench.commands,
            &failed,
            &caller,
            login::Name::Email(given.to_owned()),
            Secret::of("a guess"),
        );
        let Err(LoginError::Unauthorized) = login.await else {
            panic!("{given} is nobody's name");
        };
        let batches = journal.since(before).await.unwrap();
        let Event::Audit(AuditEvent::UnknownLoginFailed { name }) = &batches[0][0].event else {
            panic!("{batches:?}");
        };
        recorded.push(name.value().unwrap().clone());
    }
    assert!(!recorded[0].to_lowercase().contains("marigold"));
    assert_eq!(recorded[0], recorded[1], "the same, to be counted as one");
    assert_ne!(recorded[0], recorded[2]);
}

/// The events of a kind that are on the record.
async fn denials(bench: &Bench) -> usize {
    let entries = bench.commands.journal().all(Position::START);
    let entries: Vec<Batch> = entries.try_collect().await.unwrap();
    let denied =
        |entry: &&Arc<Entry>| matches!(entry.event, Event::Audit(AuditEvent::CommandDenied { .. }));
    let entries = entries.iter().flat_map(|batch| batch.iter());
    entries.filter(denied).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_recorded_however_many_commands_of_its_caller_wait() {
    let bench = Bench::new().await;
    bench.register("mary").await.unwrap();
    let caller = Caller::system("test");
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    let holding = bench.commands.run(&caller, move |_| {
        let _ = held.lock().unwrap().recv();
        Ok(())
    });
    let crowd = (0..200).map(|_| bench.commands.run(&caller, |_| Ok(())));
    let crowd = fair::on_behalf_of(7, futures::future::join_all(crowd));
    let refusing = fair::on_behalf_of(7, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let refusing = bench.commands.refuse(&caller, None, None);
        let (refused, ()) = tokio::join!(refusing, async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            go_on.send(()).unwrap();
        });
        refused
    });
    let (held, crowd, refused) = tokio::join!(holding, crowd, refusing);
    held.unwrap();
    let busy = |done: &&Result<Done<()>, CommandError>| matches!(done, Err(CommandError::Busy));
    assert_eq!(crowd.iter().filter(busy).count(), 200 - 64 - 64);
    refused.unwrap();
    assert_eq!(denials(&bench).await, 1);
}

#[tokio::test]
async fn what_is_refused_to_a_session_that_ended_is_recorded() {
    let bench = Bench::new().await;
    let mary = bench.register("mary").await.unwrap().answer;
    let ended = Caller {
        token: Some(TokenHash("ended".to_owned())),
        ..Caller::user(mary, "chat.getPinnedMessages")
    };
    let done = bench.commands.run(&ended, |_| Ok(())).await;
    assert!(matches!(done, Err(CommandError::NotLoggedIn)));
    bench.commands.refuse(&ended, None, None).await.unwrap();
    assert_eq!(denials(&bench).await, 1);
}
