//! Several nodes on one log in memory: what each is told, and that their write models agree.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::join_all;
use hansard_commands::bus::Commands;
use hansard_commands::caller::Caller;
use hansard_commands::error::CommandError;
use hansard_commands::role;
use hansard_commands::room;
use hansard_commands::snapshot::Snapshots;
use hansard_domain::account::{AccountCommand, AccountKind, Profile, Registration};
use hansard_domain::claim::Namespace;
use hansard_domain::event::Event;
use hansard_domain::id::{Clock, RandomIds, SystemClock, Timestamp, UserId};
use hansard_domain::journal::Journal;
use hansard_domain::log::{
    Commit, EventLog, EventPages, LogError, Outcome, Position, Role, StreamId, Version,
};
use hansard_domain::node::NodeEvent;
use hansard_infra::log::memory::MemoryLog;
use hansard_infra::vault::memory::MemoryVault;
use hansard_tests::shelf::Shelf;
use parking_lot::Mutex;
use tokio::sync::watch;

/// A node, on a log that it shares.
async fn node(log: &MemoryLog, vault: &MemoryVault, address: Option<&str>) -> Commands {
    node_on(Arc::new(log.clone()), vault, address).await
}

async fn node_on(log: Arc<dyn EventLog>, vault: &MemoryVault, address: Option<&str>) -> Commands {
    node_by(log, vault, address, Arc::new(SystemClock)).await
}

async fn node_by(
    log: Arc<dyn EventLog>,
    vault: &MemoryVault,
    address: Option<&str>,
    clock: Arc<dyn Clock>,
) -> Commands {
    let journal = Journal::open(log, Arc::new(vault.clone())).await.unwrap();
    let snapshots = Snapshots::open(Arc::new(Shelf::default()), &journal)
        .await
        .unwrap();
    let model = snapshots.restore(&journal).await.unwrap();
    let ids = Arc::new(RandomIds);
    let address = address.map(str::to_owned);
    let (commands, _) = Commands::start(journal, model, clock, ids, address)
        .await
        .unwrap();
    commands
}

async fn register(node: &Commands, id: String, name: String) -> Result<(), CommandError> {
    let caller = Caller::system("test");
    let registered = node.run(&caller, move |decision| {
        let id = UserId::new(&id);
        decision.claim(Namespace::Username, &name, id.as_str())?;
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
                    username: name.clone(),
                    ..Profile::default()
                },
                password: None,
                at,
            },
        )
    });
    registered.await.map(|_| ())
}

async fn grant(node: &Commands, role: &'static str) -> Result<(), CommandError> {
    let caller = Caller::system("test");
    let granted = node.run(&caller, move |decision| {
        decision.account(&"mary".into(), AccountCommand::GrantRole(role.into()))
    });
    granted.await.map(|_| ())
}

/// Waits until a node has heard of everything that another has.
async fn agree(one: &Commands, other: &Commands) {
    let head = one.journal().head().max(other.journal().head());
    for node in [one, other] {
        tokio::time::timeout(Duration::from_mins(1), node.model_at(head))
            .await
            .expect("the node hears of what the other wrote");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_want_the_same_names_give_each_out_once() {
    let (log, vault) = (MemoryLog::new(), MemoryVault::new());
    let east = node(&log.on_another_node(Role::Shared), &vault, None).await;
    let west = node(&log.on_another_node(Role::Shared), &vault, None).await;
    let wanted = (0..200).flat_map(|number| {
        [(&east, "e"), (&west, "w")]
            .map(|(node, side)| register(node, format!("{side}{number}"), format!("name{number}")))
    });
    let outcomes = join_all(wanted).await;
    let given = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(given, 200, "each name once");
    for refused in outcomes.into_iter().filter_map(Result::err) {
        assert!(
            matches!(refused, CommandError::Refused { .. }),
            "whoever came second is told so, and not to try again: {refused}"
        );
    }
    agree(&east, &west).await;
    let (east, west) = (east.model(), west.model());
    for number in 0..200 {
        let name = format!("name{number}");
        let owner = east.user_by_name(&name).unwrap();
        assert_eq!(west.user_by_name(&name), Some(owner));
    }
    assert_eq!(east.position(), west.position());
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_account_on_two_nodes_are_both_made() {
    let (log, vault) = (MemoryLog::new(), MemoryVault::new());
    let east = node(&log.on_another_node(Role::Shared), &vault, None).await;
    let west = node(&log.on_another_node(Role::Shared), &vault, None).await;
    register(&east, "mary".into(), "mary".into()).await.unwrap();
    agree(&east, &west).await;
    let (one, other) = tokio::join!(grant(&east, "admin"), grant(&west, "bot"));
    one.unwrap();
    other.unwrap();
    agree(&east, &west).await;
    for node in [&east, &west] {
        let model = node.model();
        let roles = &model.account(&"mary".into()).unwrap().roles;
        assert!(
            ["user", "admin", "bot"]
                .iter()
                .all(|role| roles.contains(role))
        );
    }
}

/// Two people who may do everything, on both nodes.
async fn two_administrators(east: &Commands, west: &Commands) -> [Caller; 2] {
    for name in ["mary", "paul"] {
        register(east, name.into(), name.into()).await.unwrap();
        let caller = Caller::system("test");
        let granted = east.run(&caller, move |decision| {
            decision.account(&name.into(), AccountCommand::GrantRole("admin".into()))
        });
        granted.await.unwrap();
    }
    agree(east, west).await;
    ["mary", "paul"].map(|name| Caller::user(name.into(), "test"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_do_not_each_take_the_role_from_one_of_the_last_two_administrators() {
    for _ in 0..30 {
        let (log, vault) = (MemoryLog::new(), MemoryVault::new());
        let east = node(&log.on_another_node(Role::Shared), &vault, None).await;
        let west = node(&log.on_another_node(Role::Shared), &vault, None).await;
        let [mary, paul] = two_administrators(&east, &west).await;
        let (one, other) = tokio::join!(
            role::revoke(&east, &mary, "paul".into(), "admin".into(), None),
            role::revoke(&west, &paul, "mary".into(), "admin".into(), None),
        );
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        agree(&east, &west).await;
        let model = east.model();
        let admins = ["mary", "paul"].map(|name| {
            let account = model.account(&name.into()).unwrap();
            account.roles.contains("admin")
        });
        assert!(admins[0] != admins[1], "one of them is left: {admins:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_make_one_conversation_of_the_same_people() {
    for _ in 0..30 {
        let (log, vault) = (MemoryLog::new(), MemoryVault::new());
        let east = node(&log.on_another_node(Role::Shared), &vault, None).await;
        let west = node(&log.on_another_node(Role::Shared), &vault, None).await;
        let [mary, paul] = two_administrators(&east, &west).await;
        register(&west, "zoe".into(), "zoe".into()).await.unwrap();
        agree(&east, &west).await;
        let others = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let (one, other) = tokio::join!(
            room::direct(&east, &mary, others(["paul", "zoe"]), false),
            room::direct(&west, &paul, others(["mary", "zoe"]), false),
        );
        assert_eq!(one.unwrap().answer.id, other.unwrap().answer.id);
    }
}

/// A clock that is off by so many milliseconds.
struct Off(i64);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_never_fall_whatever_the_nodes_clocks_say() {
    let (log, vault) = (MemoryLog::new(), MemoryVault::new());
    let ahead = log.on_another_node(Role::Shared);
    let east = node_by(Arc::new(ahead), &vault, None, Arc::new(Off(60_000))).await;
    let west = node(&log.on_another_node(Role::Shared), &vault, None).await;
    let names = (0..100).flat_map(|number| {
        [&east, &west].map(|node| {
            let name = format!("{}-{number}", std::ptr::from_ref(node).addr());
            register(node, name.clone(), name)
        })
    });
    for outcome in join_all(names).await {
        outcome.unwrap();
    }
    agree(&east, &west).await;
    register(&west, "last".into(), "last".into()).await.unwrap();
    let mut newest = Timestamp(0);
    let mut told = 0;
    for batch in west.journal().since(Position::START).await.unwrap() {
        for entry in batch.iter() {
            assert!(entry.at >= newest, "{:?} after {newest:?}", entry.at);
            newest = entry.at;
            if let Some(clock) = entry.clock {
                assert!(clock < entry.at);
                told += 1;
            }
        }
    }
    assert!(told > 0, "the node behind says what its clock said");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_decides_nothing_before_its_election_is_on_the_record() {
    let (log, vault) = (MemoryLog::new(), MemoryVault::new());
    let first = log.on_another_node(Role::Sole);
    let east = node(&first, &vault, Some("http://east:3000")).await;
    let second = log.on_another_node(Role::Follower);
    let west = node(&second, &vault, Some("http://west:3000")).await;
    register(&east, "mary".into(), "mary".into()).await.unwrap();
    first.set_role(Role::Follower);
    second.faults().fail_next(3);
    second.set_role(Role::Sole);
    tokio::time::timeout(Duration::from_mins(1), async {
        while register(&west, "bob".into(), "bob".into()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the elected node decides");
    agree(&west, &east).await;
    assert_eq!(east.model().writer(), Some("http://west:3000"));
    let batches = west.journal().since(Position::START).await.unwrap();
    let entries = batches.iter().flat_map(|batch| batch.iter());
    let since_mary = entries.skip_while(|entry| entry.stream.as_str() != "account-mary");
    let kinds: Vec<_> = since_mary.skip(1).map(|entry| entry.event.kind()).collect();
    assert_eq!(kinds, ["WriterElected", "NameClaimed", "UserRegistered"]);
}

/// A node that is elected without hearing of it before it is asked for something: the writer before
/// has written meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_writer_has_not_heard_of_yet_is_not_decided_on() {
    let (log, vault) = (MemoryLog::new(), MemoryVault::new());
    let deaf = Deaf(log.on_another_node(Role::Sole));
    let west = node_on(Arc::new(deaf), &vault, None).await;
    let east = node(&log.on_another_node(Role::Sole), &vault, None).await;
    register(&east, "mary".into(), "mary".into()).await.unwrap();
    let taken = register(&west, "mary2".into(), "mary".into()).await;
    assert!(
        matches!(taken, Err(CommandError::Refused { .. })),
        "{taken:?}"
    );
    register(&west, "bob".into(), "bob".into()).await.unwrap();
    assert!(west.model().user_by_name("mary").is_some());
}

/// A log that tells of nothing by itself.
struct Deaf(MemoryLog);

#[async_trait]
impl EventLog for Deaf {
    fn role(&self) -> watch::Receiver<Role> {
        self.0.role()
    }

    async fn append(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, LogError> {
        self.0.append(commits).await
    }

    fn stream(&self, stream: &StreamId, after: Version) -> EventPages {
        self.0.stream(stream, after)
    }

    fn all(&self, after: Position) -> EventPages {
        self.0.all(after)
    }

    fn follow(&self, after: Position) -> EventPages {
        self.0.follow(after)
    }

    async fn head(&self) -> Result<Position, LogError> {
        self.0.head().await
    }

    async fn position_at(&self, at: Timestamp) -> Result<Position, LogError> {
        self.0.position_at(at).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_hear_in_order_of_what_any_node_wrote() {
    let (log, vault) = (MemoryLog::new(), MemoryVault::new());
    let east = node(&log.on_another_node(Role::Shared), &vault, None).await;
    let west = node(&log.on_another_node(Role::Shared), &vault, None).await;
    let mut heard = west.journal().follow(Position::START);
    let listening = tokio::spawn(async move {
        use futures::StreamExt;
        let mut positions = Vec::new();
        while positions.len() < 400 {
            let batch = heard.next().await.unwrap().unwrap();
            positions.extend(batch.iter().map(|entry| entry.position.0));
        }
        positions
    });
    let wrote = (0..100).flat_map(|number| {
        [&east, &west].map(|node| {
            let name = format!("{}-{number}", std::ptr::from_ref(node).addr());
            register(node, name.clone(), name)
        })
    });
    for outcome in join_all(wrote).await {
        outcome.unwrap();
    }
    let heard = tokio::time::timeout(Duration::from_mins(1), listening)
        .await
        .expect("each registration is two events")
        .unwrap();
    assert_eq!(heard, (1..=400).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_decides_nothing_until_it_is_elected_and_says_so_on_the_record() {
    let (log, vault) = (MemoryLog::new(), MemoryVault::new());
    let (first, second) = (
        log.on_another_node(Role::Sole),
        log.on_another_node(Role::Follower),
    );
    let east = node(&first, &vault, Some("http://east:3000")).await;
    let west = node(&second, &vault, Some("http://west:3000")).await;
    register(&east, "mary".into(), "mary".into()).await.unwrap();
    agree(&east, &west).await;
    assert_eq!(west.model().writer(), Some("http://east:3000"));
    let refused = register(&west, "bob".into(), "bob".into()).await;
    assert!(
        matches!(refused, Err(CommandError::Follower)),
        "{refused:?}"
    );

    first.set_role(Role::Follower);
    let refused = register(&east, "bob".into(), "bob".into()).await;
    assert!(
        matches!(refused, Err(CommandError::Follower)),
        "{refused:?}"
    );
    second.set_role(Role::Sole);
    tokio::time::timeout(Duration::from_mins(1), async {
        while register(&west, "bob".into(), "bob".into()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the elected node decides");
    agree(&west, &east).await;
    assert_eq!(east.model().writer(), Some("http://west:3000"));
    let taken = register(&west, "mary2".into(), "mary".into()).await;
    assert!(
        matches!(taken, Err(CommandError::Refused { .. })),
        "it knows what the one before wrote: {taken:?}"
    );
    let elections: HashMap<StreamId, Version> = east
        .journal()
        .since(Position::START)
        .await
        .unwrap()
        .iter()
        .flat_map(|batch| batch.iter())
        .filter(|entry| matches!(entry.event, Event::Node(NodeEvent::WriterElected { .. })))
        .map(|entry| (entry.stream.clone(), entry.version))
        .collect();
    assert_eq!(elections.len(), 2);
    assert!(elections.values().all(|version| *version == Version(1)));
}

/// A node's log that writes a batch by two appends, between which another node writes once.
struct Straddling {
    log: MemoryLog,
    other: Mutex<Option<Commands>>,
}

#[async_trait]
impl EventLog for Straddling {
    fn role(&self) -> watch::Receiver<Role> {
        self.log.role()
    }

    async fn moved(&self, after: Position) -> Result<Position, LogError> {
        self.log.moved(after).await
    }

    async fn append(&self, mut commits: Vec<Commit>) -> Result<Vec<Outcome>, LogError> {
        let mut rest = commits.split_off(1);
        let mut outcomes = self.log.append(commits).await?;
        if let Ok(recorded) = &outcomes[0] {
            // The log knows what it has written itself.
            let last = recorded.positions.last().copied();
            rest.iter_mut().for_each(|commit| commit.after = last);
        }
        let other = self.other.lock().take_if(|_| !rest.is_empty());
        if let Some(other) = other {
            let between = register(&other, "between".to_owned(), "between".to_owned()).await;
            between.expect("the other node writes");
        }
        outcomes.extend(self.log.append(rest).await?);
        Ok(outcomes)
    }

    fn stream(&self, stream: &StreamId, after: Version) -> EventPages {
        self.log.stream(stream, after)
    }

    fn all(&self, after: Position) -> EventPages {
        self.log.all(after)
    }

    fn follow(&self, after: Position) -> EventPages {
        self.log.follow(after)
    }

    async fn head(&self) -> Result<Position, LogError> {
        self.log.head().await
    }

    async fn position_at(&self, at: Timestamp) -> Result<Position, LogError> {
        self.log.position_at(at).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_node_writes_between_the_commits_of_a_batch_is_heard_of() {
    let (log, vault) = (MemoryLog::new(), MemoryVault::new());
    let west = node(&log.on_another_node(Role::Shared), &vault, None).await;
    let straddling = Straddling {
        log: log.on_another_node(Role::Shared),
        other: Mutex::new(Some(west.clone())),
    };
    let straddling = Arc::new(straddling);
    let east = node_on(straddling.clone(), &vault, None).await;
    let start = east.journal().head();
    let mut followed = east.journal().follow(start);

    let wanted = (0..50).map(|number| register(&east, format!("e{number}"), format!("n{number}")));
    for outcome in join_all(wanted).await {
        outcome.unwrap();
    }
    assert!(straddling.other.lock().is_none(), "it came to that");
    agree(&east, &west).await;
    for node in [&east, &west] {
        let model = node.model();
        for name in ["between", "n0", "n49"] {
            assert!(model.user_by_name(name).is_some(), "{name}");
        }
    }
    let head = east.journal().head();
    let mut heard = Vec::new();
    while heard.last() != Some(&head) {
        let batch = followed.next().await.unwrap().unwrap();
        heard.extend(batch.iter().map(|entry| entry.position));
    }
    let all: Vec<_> = (start.0 + 1..=head.0).map(Position).collect();
    assert_eq!(heard, all);
}
