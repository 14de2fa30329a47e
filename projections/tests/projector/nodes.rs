//! Several nodes on one PostgreSQL database: one feeds, the others follow, and whoever is asked answers
//! with what was committed.

use std::time::Instant;

use tokio::runtime::Runtime;

use super::*;

/// The longest that something may take that has to come about.
const PATIENCE: Duration = Duration::from_mins(1);

async fn world() -> World {
    World::on(Dialect::Postgres).await
}

/// Waits for something that has to come about.
async fn until(what: &str, mut came: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !came().await {
        assert!(started.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a node answers once it is not behind any more.
async fn said_at_last(node: &Running) -> i64 {
    let started = Instant::now();
    loop {
        if let Ok(mut reading) = node.store.read().await
            && reading.lag == 0
        {
            return said(&mut reading).await;
        }
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A node that can be killed: everything it runs and every connection it has ends at once.
struct Mortal {
    node: Running,
    runtime: Option<Runtime>,
}

impl Mortal {
    async fn start(world: &World) -> Self {
        Self::start_with(world, Arc::default()).await
    }

    async fn start_with(world: &World, view: Arc<Sayings>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (journal, views) = (world.journal.clone(), world.views());
        let started = runtime.spawn(async move {
            let stop = CancellationToken::new();
            let all: Vec<Arc<dyn View>> = vec![view];
            let projector =
                Projector::start(journal, views, all, Answers::new(1 << 20), stop.clone())
                    .await
                    .unwrap();
            projector.until_ready().await;
            let store = projector.store("sayings").unwrap();
            Running {
                projector,
                store,
                stop,
            }
        });
        Self {
            node: started.await.unwrap(),
            runtime: Some(runtime),
        }
    }

    fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A node that feeds and one that follows.
async fn two(world: &World) -> (Running, Running) {
    let feeding = world.start(Default::default()).await;
    feeding.ready().await;
    let following = world.start(Default::default()).await;
    following.ready().await;
    (feeding, following)
}

#[tokio::test]
async fn every_node_reads_what_was_committed_before_it_asked() {
    let world = world().await;
    let (feeding, following) = two(&world).await;
    let mut waits = Vec::new();
    for count in 1..=50 {
        world.say(&format!("m{count}"), "hello").await;
        let asked = Instant::now();
        assert_eq!(following.said().await, count);
        waits.push(asked.elapsed());
        assert_eq!(feeding.said().await, count);
    }
    waits.sort();
    // What nobody asks for is gathered for 50 ms. If nobody heard of it, no reader would wait less.
    assert!(waits[5] < Duration::from_millis(40), "{waits:?}");
    following.stop().await;
    feeding.stop().await;
}

#[tokio::test]
async fn another_node_feeds_within_seconds_when_the_one_that_fed_dies() {
    let world = world().await;
    let mut feeding = Mortal::start(&world).await;
    let mut count = 0;
    for _ in 0..3 {
        let following = Mortal::start(&world).await;
        for _ in 0..20 {
            count += 1;
            world.say(&format!("m{count}"), "before").await;
        }
        assert_eq!(said_at_last(&following.node).await, count);
        // In the middle of something.
        world
            .say_all(numbered(
                count as usize * 1000,
                count as usize * 1000 + 2000,
            ))
            .await;
        count += 2000;
        feeding.kill();
        let killed = Instant::now();
        count += 1;
        world.say(&format!("m{count}"), "after").await;
        assert_eq!(said_at_last(&following.node).await, count);
        println!("taken over after {:?}", killed.elapsed());
        feeding = following;
    }
    let last = world.start(Default::default()).await;
    last.ready().await;
    assert_eq!(last.said().await, count);
    feeding.kill();
    until("nobody feeds", async || said_at_last(&last).await == count).await;
    last.stop().await;
    let serving = replay::dump(world.views(), "sayings").await.unwrap();
    assert_eq!(serving, world.rebuilt().await);
}

#[tokio::test]
async fn a_node_that_stops_hands_over_at_once() {
    let world = world().await;
    let first = world.start(Default::default()).await;
    first.ready().await;
    let second = world.start(Default::default()).await;
    second.ready().await;
    world.say_all(numbered(0, 100)).await;
    first.stop().await;
    world.say("last", "hello").await;
    assert_eq!(said_at_last(&second).await, 101);
    second.stop().await;
}

#[tokio::test]
async fn a_node_that_lost_the_lock_unknowingly_changes_nothing() {
    let world = world().await;
    let view = Arc::new(Sayings {
        gate: Some(Semaphore::new(0)),
        ..Default::default()
    });
    let stuck = world.start(view.clone()).await;
    stuck.ready().await;
    world.say("m1", "hello").await;
    let following = world.start(Default::default()).await;
    let (url, prefix) = world.database();
    let mut connection = PgConnection::connect(url).await.unwrap();
    until("nothing is fed", async || {
        // It is about to change the tables.
        let begun = "SELECT count(*) FROM pg_stat_activity \
                     WHERE starts_with(application_name, $1) AND state = 'idle in transaction'";
        let begun: i64 = sqlx::query_scalar(begun)
            .bind(&prefix)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        begun == 1
    })
    .await;

    // Another node begins its term while the first one is in the middle of that.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE application_name = $1 \
               AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')";
    let ended: i64 = sqlx::query_scalar(end)
        .bind(format!("{prefix}views"))
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(ended, 1);
    world.say("m2", "hello").await;
    // Whoever feeds now, it is not the transaction that was begun before.
    view.gate.as_ref().unwrap().add_permits(1000);
    assert_eq!(said_at_last(&following).await, 2);
    assert_eq!(said_at_last(&stuck).await, 2);
    for number in 3..30 {
        world.say(&format!("m{number}"), "hello").await;
        assert_eq!(said_at_last(&following).await, number);
        assert_eq!(said_at_last(&stuck).await, number);
    }
    following.stop().await;
    stuck.stop().await;
    let serving = replay::dump(world.views(), "sayings").await.unwrap();
    assert_eq!(serving, world.rebuilt().await);
}

#[tokio::test]
async fn every_node_answers_from_the_tables_that_a_rebuild_made() {
    let world = world().await;
    world.say_all(numbered(0, 3000)).await;
    let (feeding, following) = two(&world).await;
    let before = generation(&mut following.store.read().await.unwrap()).await;
    assert!(matches!(
        following.projector.rebuild(&["sayings"]).await,
        Err(ViewError::Elsewhere)
    ));

    let rebuild = feeding.projector.rebuild(&["sayings"]);
    let reading = async {
        for number in 3000..3200 {
            world.say(&format!("m{number}"), "meanwhile").await;
            assert_eq!(following.said().await, number + 1);
        }
    };
    let (rebuilt, ()) = tokio::join!(rebuild, reading);
    rebuilt.unwrap();
    assert_eq!(following.said().await, 3200);
    let after = generation(&mut following.store.read().await.unwrap()).await;
    assert_ne!(after, before);
    assert_eq!(world.generation().await, after);
    assert_eq!(
        following.projector.views()[0].generation,
        feeding.projector.views()[0].generation
    );
    following.stop().await;
    feeding.stop().await;
}

/// Waits until a rebuild is over that came after this generation; tells which one serves.
async fn rebuilt(world: &World, node: &Running, before: &str) -> String {
    let started = Instant::now();
    loop {
        let building = node.projector.views()[0].rebuild.is_some();
        match world.schemas().await.as_slice() {
            [one] if !building && one != before => return one.clone(),
            _ => assert!(started.elapsed() < PATIENCE, "it is not rebuilt"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_rebuild_dies_with_its_node_and_leaves_nothing() {
    let world = world().await;
    let slow = Arc::new(Sayings {
        gate: Some(Semaphore::new(0)),
        ..Default::default()
    });
    let feeding = Mortal::start_with(&world, slow.clone()).await;
    let following = world.start(Default::default()).await;
    following.ready().await;
    slow.gate.as_ref().unwrap().add_permits(1);
    let key = world.say("secret", "the quincunx lies under the oak").await;
    assert_eq!(said_at_last(&following).await, 1);
    let before = world.generation().await;
    // It stands still in the middle.
    feeding
        .node
        .projector
        .begin_rebuild("sayings")
        .await
        .unwrap();
    until("nothing is heard of the rebuild", async || {
        following.projector.views()[0].rebuild.is_some() && world.schemas().await.len() == 2
    })
    .await;
    feeding.kill();

    let erased = world.erase("secret", key).await;
    let gone = following.projector.scrubbed(erased);
    tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap();
    assert_eq!(world.schemas().await, std::slice::from_ref(&before));
    assert!(!world.stands("quincunx").await);
    following.projector.begin_rebuild("sayings").await.unwrap();
    rebuilt(&world, &following, &before).await;
    following.stop().await;
}

#[tokio::test]
async fn a_node_that_follows_has_a_view_rebuilt_by_the_one_that_feeds() {
    let world = world().await;
    world.say_all(numbered(0, 3000)).await;
    let (feeding, following) = two(&world).await;
    let before = world.generation().await;
    for node in [&following, &feeding] {
        node.projector.begin_rebuild("sayings").await.unwrap();
    }
    let after = rebuilt(&world, &following, &before).await;
    assert_eq!(following.said().await, 3000);
    assert_eq!(
        generation(&mut following.store.read().await.unwrap()).await,
        after
    );
    let unknown = following.projector.begin_rebuild("nothing").await;
    assert!(matches!(unknown, Err(ViewError::Unknown(name)) if name == "nothing"));

    // Whoever feeds when it is taken on does it.
    feeding.stop().await;
    following.projector.begin_rebuild("sayings").await.unwrap();
    rebuilt(&world, &following, &after).await;
    following.stop().await;
}

#[tokio::test]
async fn a_node_that_follows_knows_when_something_erased_is_gone() {
    let world = world().await;
    let (feeding, following) = two(&world).await;
    let key = world.say("secret", "the quincunx lies under the oak").await;
    assert_eq!(following.said().await, 1);
    assert!(world.stands("quincunx").await);
    let position = world.erase("secret", key).await;
    following.scrubbed(position).await;
    assert!(!world.stands("quincunx").await);
    following.stop().await;
    feeding.stop().await;
}

#[tokio::test]
async fn a_node_that_follows_serves_as_soon_as_it_starts() {
    let world = world().await;
    world.say_all(numbered(0, 10)).await;
    let feeding = world.start(Default::default()).await;
    feeding.ready().await;
    // It looks up what was announced last.
    until("nothing was announced", async || {
        let node = world.start(Default::default()).await;
        let ready = node.projector.ready();
        if ready {
            assert_eq!(node.said().await, 10);
        }
        node.stop().await;
        ready
    })
    .await;
    feeding.stop().await;
}

#[tokio::test]
async fn a_node_of_another_version_answers_once_it_feeds() {
    let world = world().await;
    world.say_all(numbered(0, 10)).await;
    let old = world.start(Default::default()).await;
    old.ready().await;
    let changed = Sayings {
        version: 2,
        ..Default::default()
    };
    let new = world.start(Arc::new(changed)).await;
    old.projector.rebuild(&["sayings"]).await.unwrap();
    assert!(!new.projector.ready());
    assert!(matches!(
        new.store.read().await,
        Err(ViewError::Building(_))
    ));
    assert_eq!(old.said().await, 10);
    old.stop().await;
    new.ready().await;
    assert_eq!(new.said().await, 10);
    new.stop().await;
}

/// A server of the test's own, which ends with the process at the latest.
struct Server {
    directory: TempDir,
    url: String,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let process = std::process::id().to_string();
        let url = postgres::script(&["start", directory.path().to_str().unwrap(), &process]);
        Self { directory, url }
    }

    fn path(&self) -> &str {
        self.directory.path().to_str().unwrap()
    }

    fn crash(&self) {
        postgres::script(&["stop", self.path(), "immediate"]);
    }

    fn start_again(&self) {
        postgres::script(&["start", self.path()]);
    }
}

#[tokio::test]
async fn views_go_on_where_they_were_when_the_server_crashed() {
    let server = Server::start();
    let mut world = world().await;
    world.views = Location::parse(&format!("{}?schema=t", server.url));
    let first = world.start(Default::default()).await;
    first.ready().await;
    let second = world.start(Default::default()).await;
    second.ready().await;
    let mut count = 0;
    for round in 1..=2 {
        world
            .say_all(numbered(round * 10_000, round * 10_000 + 3000))
            .await;
        count += 3000;
        // In the middle of it, or just after.
        server.crash();
        count += 1;
        world.say(&format!("m{round}"), "while it is away").await;
        assert!(first.store.read().await.is_err() || second.store.read().await.is_err());
        server.start_again();
        assert_eq!(said_at_last(&first).await, count);
        assert_eq!(said_at_last(&second).await, count);
    }
    // They were not built anew.
    assert_eq!(first.projector.views()[0].generation, Some(1));
    assert_eq!(second.projector.views()[0].generation, Some(1));
    second.stop().await;
    first.stop().await;
    let serving = replay::dump(world.views(), "sayings").await.unwrap();
    assert_eq!(serving, world.rebuilt().await);
    server.crash();
}
