//! The adapters on PostgreSQL, against the suites that all adapters run, and what is theirs alone: a
//! server that goes away, tables of another format, leaders.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::TryStreamExt;
use hansard_commands::state::StateStore;
use hansard_domain::log::{
    Commit, EventLog, LogError, Position, Recorded, StoredEvent, StreamId, Version,
};
use hansard_domain::vault::{KeyId, KeyVault};
use hansard_infra::log::postgres::PostgresLog;
use hansard_infra::postgres::leader::Leadership;
use hansard_infra::postgres::{Database, OpenError};
use hansard_infra::state::postgres::PostgresState;
use hansard_infra::vault::master_key::MasterKey;
use hansard_infra::vault::postgres::PostgresVault;
use hansard_tests::conformance::log;
use hansard_tests::conformance::log::{LogFactory, LogUnderTest, commit_to, event};
use hansard_tests::server::eventually;
use hansard_tests::services::{Postgres, in_schema, postgres_url};
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Logs in schemas of their own.
struct Schemas {
    options: &'static str,
}

struct SchemaUnderTest {
    url: String,
    database: Database,
    log: Arc<PostgresLog>,
}

async fn open_log(url: &str) -> (Database, Arc<PostgresLog>) {
    let database = Database::open(url).await.unwrap();
    let log = PostgresLog::open(&database).await.unwrap();
    (database, Arc::new(log))
}

impl SchemaUnderTest {
    async fn open(url: String) -> Self {
        let (database, log) = open_log(&url).await;
        Self { url, database, log }
    }
}

#[async_trait]
impl LogFactory for Schemas {
    async fn create(&self) -> Box<dyn LogUnderTest> {
        let url = format!("{}{}", postgres_url(), self.options);
        Box::new(SchemaUnderTest::open(url).await)
    }
}

#[async_trait]
impl LogUnderTest for SchemaUnderTest {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    async fn reopen(&mut self) {
        self.log.close().await;
        self.database.close().await;
        *self = Self::open(self.url.clone()).await;
    }

    async fn another(&mut self) -> Option<Arc<dyn EventLog>> {
        Some(open_log(&self.url).await.1)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_promises_of_the_log() {
    log::run(&Schemas { options: "" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_them_without_notifications() {
    let options = "&notify=off";
    log::run(&Schemas { options }).await;
}

fn commit(stream: &str, expected: u64) -> Commit {
    commit_to(stream, expected, &[event("{}")])
}

async fn write(log: &dyn EventLog, commit: Commit) -> Result<Recorded, LogError> {
    let mut outcomes = log.append(vec![commit]).await?;
    Ok(outcomes.remove(0).expect("nobody else writes this stream"))
}

async fn all(log: &dyn EventLog) -> Result<Vec<StoredEvent>, LogError> {
    let pages: Vec<_> = log.all(Position::START).try_collect().await?;
    Ok(pages.concat())
}

/// What a call answers that must not take long, whatever it answers.
async fn soon<T>(call: impl Future<Output = T>) -> T {
    let answered = timeout(Duration::from_secs(30), call).await;
    answered.expect("a call fails within seconds")
}

fn unavailable<T: std::fmt::Debug>(answer: Result<T, LogError>) {
    match answer {
        Err(LogError::Unavailable(reason)) => {
            assert!(!reason.contains("postgres://"), "no URLs: {reason}");
        }
        other => panic!("the server is away, not {other:?}"),
    }
}

/// Writes one stream, the same commit again and again until it is acknowledged, until told to stop;
/// gives the positions that were acknowledged.
async fn write_through(
    log: Arc<PostgresLog>,
    stream: String,
    stop: watch::Receiver<bool>,
    counted: Arc<AtomicUsize>,
) -> Vec<Position> {
    let mut positions = Vec::new();
    while !*stop.borrow() {
        let commit = commit(&stream, positions.len() as u64);
        loop {
            match soon(log.append(vec![commit.clone()])).await {
                Ok(mut outcomes) => {
                    let recorded = outcomes.remove(0).expect("a retry is the same append");
                    positions.extend(recorded.positions);
                    counted.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Err(error) => {
                    unavailable::<()>(Err(error));
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
    positions
}

/// Waits until some more commits were acknowledged.
async fn go_on(counted: &AtomicUsize) {
    let before = counted.load(Ordering::Relaxed);
    eventually("commits are acknowledged", async || {
        counted.load(Ordering::Relaxed) > before + 20
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_the_server() {
    let server = Postgres::start();
    let url = in_schema(server.url(), "restarts");
    let (database, log) = open_log(&url).await;
    let (_, other) = open_log(&url).await;
    let (stop, stopped) = watch::channel(false);
    let counted = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..10 {
        let log = if writer % 2 == 0 { &log } else { &other };
        writers.spawn(write_through(
            log.clone(),
            format!("room-{writer}"),
            stopped.clone(),
            counted.clone(),
        ));
    }
    let mut following = log.follow(Position::START);
    for round in 0..4 {
        go_on(&counted).await;
        if round % 2 == 0 {
            server.crash();
        } else {
            server.stop();
        }
        let mut stream = log.stream(&StreamId::from_name("room-0"), Version::NONE);
        let state = PostgresState::new(&database);
        let (head, read, written, streamed, loaded) = tokio::join!(
            soon(log.head()),
            soon(all(&*log)),
            soon(log.append(vec![commit("room-x", 0)])),
            soon(stream.try_next()),
            soon(state.load("cursor")),
        );
        unavailable(head);
        unavailable(read);
        unavailable(written);
        unavailable(streamed);
        assert!(loaded.is_err());
        server.start_again();
    }
    go_on(&counted).await;
    stop.send_replace(true);
    let acknowledged = writers.join_all().await.concat();

    for log in [&log, &other] {
        let read = all(&**log).await.unwrap();
        let positions: Vec<_> = read.iter().map(|event| event.position.0).collect();
        assert!(
            positions.iter().copied().eq(1..=read.len() as u64),
            "positions are dense"
        );
        // Each was retried until it was acknowledged: nothing is lost, nothing is there twice.
        let mut acknowledged: Vec<_> = acknowledged.iter().map(|position| position.0).collect();
        acknowledged.sort_unstable();
        assert_eq!(positions, acknowledged);
    }
    // A follower from before hears of what comes now, or ended with an error that tells why.
    let head = log.head().await.unwrap();
    loop {
        match soon(following.try_next()).await {
            Ok(page) => {
                if page.unwrap().last().unwrap().position == head {
                    break;
                }
            }
            Err(error) => {
                unavailable::<()>(Err(error));
                let last = all(&*log).await.unwrap().last().unwrap().position;
                following = log.follow(Position(last.0 - 1));
            }
        }
    }
    // The connections that listen are made again as well.
    let hearing = other.clone();
    let heard = tokio::spawn(async move { hearing.moved(head).await });
    let recorded = write(&*log, commit("room-after", 0)).await.unwrap();
    let newest = soon(heard).await.unwrap().unwrap();
    assert_eq!(newest, recorded.positions[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_makes_calls_fail() {
    let server = Postgres::start();
    let (_, log) = open_log(server.url()).await;
    write(&*log, commit("room-a", 0)).await.unwrap();
    let mut blocker = PgConnection::connect(server.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE hansard.events IN ACCESS EXCLUSIVE MODE")
        .execute(&mut blocker)
        .await
        .unwrap();
    unavailable(soon(log.head()).await);
    let next = commit("room-a", 1);
    unavailable(soon(log.append(vec![next.clone()])).await);
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut blocker)
        .await
        .unwrap();
    let recorded = soon(write(&*log, next)).await.unwrap();
    assert_eq!(recorded.positions, [Position(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_reached_makes_calls_fail() {
    let server = Postgres::start();
    let (database, log) = open_log(server.url()).await;
    let vault = PostgresVault::open(&database, MasterKey::random());
    let vault = vault.await.unwrap();
    let leadership = Leadership::campaign(&database, "policies");
    let mut leads = leadership.leads();
    wait_for(&mut leads, true).await;
    write(&*log, commit("room-a", 0)).await.unwrap();

    server.freeze();
    let next = commit("room-a", 1);
    let commits = vec![next.clone()];
    let (head, read, written, minted, ()) = tokio::join!(
        soon(log.head()),
        soon(all(&*log)),
        soon(log.append(commits)),
        soon(vault.mint(1, KeyId(0))),
        wait_for(&mut leads, false),
    );
    unavailable(head);
    unavailable(read);
    unavailable(written);
    assert!(minted.is_err());

    server.thaw();
    let recorded = soon(write(&*log, next)).await.unwrap();
    assert_eq!(recorded.positions, [Position(2)]);
    assert_eq!(all(&*log).await.unwrap().len(), 2);
    vault.mint(1, KeyId(0)).await.unwrap();
    wait_for(&mut leads, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_wakes_another_node_at_once() {
    let url = postgres_url();
    let (_, one) = open_log(&url).await;
    let (_, other) = open_log(&url).await;
    let mut waited = Vec::new();
    for version in 0..11 {
        let hearing = other.clone();
        let heard = tokio::spawn(async move {
            let newest = hearing.moved(Position(version)).await.unwrap();
            (newest, Instant::now())
        });
        write(&*one, commit("room-a", version)).await.unwrap();
        let written = Instant::now();
        let (newest, at) = soon(heard).await.unwrap();
        assert_eq!(newest, Position(version + 1));
        waited.push(at.saturating_duration_since(written));
    }
    // Who only asks, twice a second, waits half of one: the next is written right after it has asked.
    let fastest = waited[1..].iter().min().unwrap();
    assert!(*fastest < Duration::from_millis(250), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_fit_is_refused() {
    let url = postgres_url();
    Database::open(&url).await.unwrap().close().await;
    let schema = url.rsplit_once("schema=").unwrap().1;
    let mut connection = connection(&url).await;
    let sql = format!("UPDATE {schema}.format SET format = 99");
    execute(&mut connection, sql).await;
    match Database::open(&url).await.err() {
        Some(OpenError::Newer { format: 99, .. }) => {}
        other => panic!("{other:?}"),
    }
    let sql = format!("DROP TABLE {schema}.format");
    execute(&mut connection, sql).await;
    match Database::open(&url).await.err() {
        Some(OpenError::Foreign { .. }) => {}
        other => panic!("{other:?}"),
    }

    let nobody = soon(Database::open("postgres://mary:secret@127.0.0.1:1/chat")).await;
    let refused = nobody.err().unwrap().to_string();
    assert!(refused.contains("check that PostgreSQL runs"), "{refused}");
    assert!(!refused.contains("secret"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_may_start_at_once() {
    let url = postgres_url();
    let mut nodes = JoinSet::new();
    for node in 0..8 {
        let url = url.clone();
        nodes.spawn(async move {
            let (_, log) = open_log(&url).await;
            write(&*log, commit(&format!("node-{node}"), 0))
                .await
                .unwrap();
        });
    }
    nodes.join_all().await;
    let (_, log) = open_log(&url).await;
    assert_eq!(all(&*log).await.unwrap().len(), 8);
}

/// A connection to the server of a schema.
async fn connection(url: &str) -> PgConnection {
    let server = url.split(['?', '&']).next().unwrap();
    PgConnection::connect(server).await.unwrap()
}

async fn execute(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_state_is_loaded_by_every_node() {
    let url = postgres_url();
    let one = PostgresState::new(&Database::open(&url).await.unwrap());
    let other = PostgresState::new(&Database::open(&url).await.unwrap());
    assert_eq!(other.load("cursor").await.unwrap(), None);
    one.save("cursor", b"1".to_vec()).await.unwrap();
    one.save("cursor", b"2".to_vec()).await.unwrap();
    assert_eq!(other.load("cursor").await.unwrap(), Some(b"2".to_vec()));
}

async fn wait_for(leads: &mut watch::Receiver<bool>, expected: bool) {
    let changed = leads.wait_for(|leads| *leads == expected);
    timeout(Duration::from_mins(1), changed)
        .await
        .unwrap_or_else(|_| panic!("leading does not become {expected}"))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_leads_and_another_takes_over() {
    let server = Postgres::start();
    let one = Database::open(server.url()).await.unwrap();
    let other = Database::open(server.url()).await.unwrap();
    let first = Leadership::campaign(&one, "policies");
    let mut first_leads = first.leads();
    wait_for(&mut first_leads, true).await;
    let second = Leadership::campaign(&other, "policies");
    let second_leads = second.leads();
    // What another name stands for is another thing to lead in.
    wait_for(&mut Leadership::campaign(&other, "webhooks").leads(), true).await;
    for _ in 0..40 {
        sleep(Duration::from_millis(50)).await;
        assert!(
            !*first_leads.borrow() || !*second_leads.borrow(),
            "two lead"
        );
    }
    // On a machine that stood still meanwhile the other one may have taken over.
    let mut leading = if *second_leads.borrow() {
        second_leads.clone()
    } else {
        first_leads.clone()
    };

    // The server ends the leader's session.
    let mut connection = PgConnection::connect(server.url()).await.unwrap();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks
               WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()";
    execute(&mut connection, end.to_owned()).await;
    wait_for(&mut leading, false).await;

    // Whoever leads now steps down, or is dropped; the other one follows.
    let mut rounds = 0;
    let (mut leader, mut follower) = loop {
        match (*first_leads.borrow(), *second_leads.borrow()) {
            (true, false) => break ((first, first_leads.clone()), (second, second_leads.clone())),
            (false, true) => break ((second, second_leads.clone()), (first, first_leads.clone())),
            (true, true) => panic!("two lead"),
            (false, false) => {}
        }
        rounds += 1;
        assert!(rounds < 100, "nobody leads");
        sleep(Duration::from_millis(100)).await;
    };
    drop(leader.0);
    wait_for(&mut leader.1, false).await;
    wait_for(&mut follower.1, true).await;

    // A restart of the server: the leader notices, and somebody leads again.
    server.crash();
    wait_for(&mut follower.1, false).await;
    server.start_again();
    wait_for(&mut follower.1, true).await;
    follower.0.resign().await;
    assert!(!*follower.1.borrow());
}
