//! The projector with a small view of its own: what it promises whatever the views are.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{Clock, Ids, RandomIds, SystemClock};
use hansard_domain::journal::{Batch, Context, Draft, Journal, Proposal};
use hansard_domain::log::{Actor, Position, StreamId, Version};
use hansard_domain::message::{Content, MessageEvent, Sent};
use hansard_domain::seal::Private;
use hansard_domain::vault::KeyId;
use hansard_infra::log::sqlite::SqliteLog;
use hansard_infra::vault::master_key::MasterKey;
use hansard_infra::vault::sqlite::SqliteVault;
use hansard_projections::rebuild::Told;
use hansard_projections::replay::{self, Dump};
use hansard_projections::rows::{ByKey, Insert};
use hansard_projections::sql::Dialect;
use hansard_projections::{Answers, Location, Projector, Store, View, ViewError};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What was said, and how often anything was.
struct Sayings {
    version: u32,
    /// Fails so many times before it works.
    failures: AtomicU32,
    /// Can't take in what is said with [`REFUSED`] or [`PANICS`], nor that [`KEPT`] is deleted.
    faulty: AtomicBool,
    batches: AtomicUsize,
    /// A permit is needed for each batch, while there are such.
    gate: Option<Semaphore>,
    /// What is said leaves something to be done, without end.
    leaves: bool,
    /// How often it went on with that.
    parts: AtomicUsize,
}

impl Default for Sayings {
    fn default() -> Self {
        Self {
            version: 1,
            failures: AtomicU32::new(0),
            faulty: AtomicBool::new(false),
            batches: AtomicUsize::new(0),
            gate: None,
            leaves: false,
            parts: AtomicUsize::new(0),
        }
    }
}

const REFUSED: &str = "a text that is refused";
const PANICS: &str = "a text that nobody thought of";
/// The id of a message.
const KEPT: &str = "kept";

const SAYINGS: Insert = Insert::into("saying", &["id", "text", "position"]);
const TAKEN_BACK: ByKey = ByKey::new("DELETE FROM saying WHERE id IN");

#[async_trait]
impl View for Sayings {
    fn name(&self) -> &'static str {
        "sayings"
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn schema(&self) -> &'static str {
        "CREATE TABLE saying (id text PRIMARY KEY, text text NOT NULL, position bigint NOT NULL);
         CREATE TABLE tally (one bigint PRIMARY KEY, said bigint NOT NULL);
         INSERT INTO tally VALUES (1, 0);"
    }

    fn own_schema(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => {
                "CREATE VIRTUAL TABLE words USING fts5(text);
                 INSERT INTO words(words, rank) VALUES ('secure-delete', 1);"
            }
            Dialect::Postgres => {
                "CREATE TABLE words (rowid bigint PRIMARY KEY, text text, found tsvector
                     GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, text)) STORED);
                 CREATE INDEX words_found ON words USING gin (found)"
            }
        }
    }

    fn indexes(&self) -> &'static str {
        "CREATE INDEX saying_by_position ON saying (position);"
    }

    fn concerns(&self, event: &Event) -> bool {
        matches!(event, Event::Message(_))
    }

    async fn apply(
        &self,
        tables: &mut AnyConnection,
        entries: &[Arc<Entry>],
    ) -> Result<(), ViewError> {
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.batches.fetch_add(1, Ordering::SeqCst);
        let mut said = 0;
        for entry in entries {
            let id = entry.stream.key();
            match &entry.event {
                Event::Message(MessageEvent::MessageSent { content, .. }) => {
                    said += 1;
                    let Some(content) = content.value() else {
                        continue;
                    };
                    let row = [(id, content.text.as_str())];
                    SAYINGS
                        .write(tables, &row, |(id, text), values| {
                            values.text(id);
                            values.text(text);
                            values.position(entry.position);
                        })
                        .await?;
                    sqlx::query("INSERT INTO words (rowid, text) VALUES ($1, $2)")
                        .bind(entry.position.0 as i64)
                        .bind(&content.text)
                        .execute(&mut *tables)
                        .await?;
                    if self.faulty.load(Ordering::SeqCst) {
                        assert_ne!(content.text, PANICS);
                        if content.text == REFUSED {
                            // The database says so: the key is there.
                            SAYINGS
                                .write(tables, &row, |(id, _), values| {
                                    values.text(id);
                                    values.text("twice");
                                    values.position(entry.position);
                                })
                                .await?;
                        }
                    }
                }
                Event::Message(MessageEvent::MessageDeleted { .. }) => {
                    if id == KEPT && self.faulty.load(Ordering::SeqCst) {
                        return Err(ViewError::Row("told to keep it".to_owned()));
                    }
                    sqlx::query(
                        "DELETE FROM words WHERE rowid = (SELECT position FROM saying WHERE id = $1)",
                    )
                    .bind(id)
                    .execute(&mut *tables)
                    .await?;
                    TAKEN_BACK.execute(tables, &[id]).await?;
                }
                _ => {}
            }
        }
        sqlx::query("UPDATE tally SET said = said + $1")
            .bind(said)
            .execute(&mut *tables)
            .await?;
        // After the tables have been changed: what fails here must leave no trace.
        if self.failures.load(Ordering::SeqCst) > 0 {
            self.failures.fetch_sub(1, Ordering::SeqCst);
            return Err(ViewError::Unavailable("told to fail".to_owned()));
        }
        Ok(())
    }

    fn defers(&self, _event: &Event) -> bool {
        self.leaves
    }

    async fn go_on(&self, _tables: &mut AnyConnection) -> Result<bool, ViewError> {
        self.parts.fetch_add(1, Ordering::SeqCst);
        Ok(self.leaves)
    }
}

#[path = "projector/nodes.rs"]
mod nodes;
#[path = "support/postgres.rs"]
mod postgres;

tokio::task_local! {
    /// What the test runs on.
    static ON: Dialect;
}

/// Runs tests, which are async functions, on SQLite and on PostgreSQL.
macro_rules! on_both_engines {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::ON.scope(super::Dialect::Sqlite, super::$test()).await;
            })+
        }

        mod on_postgres {
            $(#[tokio::test]
            async fn $test() {
                super::ON.scope(super::Dialect::Postgres, super::$test()).await;
            })+
        }
    };
}

/// A journal in a directory of its own, and a place for views.
struct World {
    _directory: TempDir,
    journal: Arc<Journal>,
    views: Location,
}

impl World {
    async fn new() -> Self {
        Self::on(ON.get()).await
    }

    async fn on(dialect: Dialect) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(directory.path().join("log.db"))
            .await
            .unwrap();
        let vault = SqliteVault::open(directory.path().join("vault.db"), MasterKey::random())
            .await
            .unwrap();
        let journal = Journal::open(Arc::new(log), Arc::new(vault)).await.unwrap();
        let views = match dialect {
            // A name that has to be escaped in a URL.
            Dialect::Sqlite => Location::from(directory.path().join("the views? 100%")),
            Dialect::Postgres => Location::parse(&postgres::postgres_url()),
        };
        Self {
            _directory: directory,
            journal,
            views,
        }
    }

    fn views(&self) -> Location {
        self.views.clone()
    }

    /// Where the files are of views in SQLite.
    fn files(&self) -> &Path {
        match &self.views {
            Location::Directory(directory) => directory,
            Location::Postgres(_) => panic!("there are no files"),
        }
    }

    /// The URL, and what the names of the schemas begin with.
    fn database(&self) -> (&str, String) {
        match &self.views {
            Location::Postgres(url) => {
                let (server, schema) = url.rsplit_once("schema=").unwrap();
                (server.trim_end_matches(['?', '&']), format!("{schema}_"))
            }
            Location::Directory(_) => panic!("there is no database"),
        }
    }

    /// The only generation there is.
    async fn generation(&self) -> String {
        if matches!(self.views, Location::Directory(_)) {
            return file(self.files()).display().to_string();
        }
        let schemas = self.schemas().await;
        let [schema] = schemas.as_slice() else {
            panic!("{schemas:?}")
        };
        schema.clone()
    }

    /// Those of generations.
    async fn schemas(&self) -> Vec<String> {
        let (url, prefix) = self.database();
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::query_scalar(
            "SELECT CAST(nspname AS text) FROM pg_namespace \
             WHERE starts_with(nspname, $1) AND nspname NOT LIKE '%_views'",
        )
        .bind(prefix)
        .fetch_all(&mut connection)
        .await
        .unwrap()
    }

    /// Whether a text stands anywhere in the views' files; in PostgreSQL, in a row that is there or
    /// that was deleted and not vacuumed.
    async fn stands(&self, text: &str) -> bool {
        if matches!(self.views, Location::Directory(_)) {
            return stands_in(self.files(), text);
        }
        let (url, _) = self.database();
        let mut connection = PgConnection::connect(url).await.unwrap();
        let extension = "CREATE EXTENSION IF NOT EXISTS pgstattuple";
        // Two that do so at once may get into each other's way.
        let _ = connection.execute(extension).await;
        for schema in self.schemas().await {
            for table in ["saying", "words"] {
                let sql = format!(
                    "SELECT (SELECT count(*) FROM {schema}.{table} it \
                         WHERE CAST(it AS text) LIKE '%' || $1 || '%') \
                     + (SELECT dead_tuple_count FROM pgstattuple('{schema}.{table}'))"
                );
                let found = sqlx::query_scalar(AssertSqlSafe(sql))
                    .bind(text)
                    .fetch_one(&mut connection)
                    .await;
                match found {
                    Ok(0_i64) => {}
                    Ok(_) => return true,
                    // A schema that is being made, or taken away: nothing stands in it.
                    Err(error) if is_missing(&error) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        false
    }

    async fn start(&self, view: Arc<Sayings>) -> Running {
        let stop = CancellationToken::new();
        let views: Vec<Arc<dyn View>> = vec![view];
        let projector = Projector::start(
            self.journal.clone(),
            self.views(),
            views,
            Answers::new(1 << 20),
            stop.clone(),
        )
        .await
        .unwrap();
        let store = projector.store("sayings").unwrap();
        Running {
            projector,
            store,
            stop,
        }
    }

    /// Records a message; answers its key.
    async fn say(&self, id: &str, text: &str) -> KeyId {
        self.say_all([(id.to_owned(), text.to_owned())]).await[0]
    }

    async fn say_all(&self, messages: impl IntoIterator<Item = (String, String)>) -> Vec<KeyId> {
        let messages: Vec<_> = messages.into_iter().collect();
        self.journal.keys().reserve(messages.len()).await.unwrap();
        let mut keys = Vec::new();
        let proposals = messages
            .into_iter()
            .map(|(id, text)| {
                let key = self.journal.keys().fresh().unwrap();
                keys.push(key);
                let sent = Sent {
                    room: "GENERAL".into(),
                    sender: "mary".into(),
                    system: None,
                    thread: None,
                    mentions: Default::default(),
                    integration: None,
                    bot: false,
                    groupable: true,
                    discussion: None,
                    has_files: false,
                    at: SystemClock.now(),
                };
                let content = Private::new(
                    key,
                    Content {
                        text,
                        ..Default::default()
                    },
                );
                propose(
                    &id,
                    Version::NONE,
                    MessageEvent::MessageSent { sent, content },
                )
            })
            .collect();
        self.record(proposals).await;
        keys
    }

    /// Deletes a message for good, as a command does it: first the event, then the key.
    async fn erase(&self, id: &str, key: KeyId) -> Position {
        let event = MessageEvent::MessageDeleted {
            room: "GENERAL".into(),
            by: "mary".into(),
            erased: Some(key),
            show_deleted: false,
            at: SystemClock.now(),
        };
        let batch = self.record(vec![propose(id, Version(1), event)]).await;
        self.journal.shred(&[key]).await.unwrap();
        batch[0].last().unwrap().position
    }

    async fn record(&self, proposals: Vec<Proposal>) -> Vec<Batch> {
        let outcomes = self.journal.append(None, proposals).await.unwrap();
        outcomes.into_iter().map(Result::unwrap).collect()
    }

    /// What the view would hold if it were built now.
    async fn rebuilt(&self) -> Dump {
        self.built_until(self.journal.head()).await
    }

    async fn built_until(&self, until: Position) -> Dump {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = match &self.views {
            Location::Directory(_) => Location::from(directory.path()),
            Location::Postgres(_) => Location::parse(&postgres::postgres_url()),
        };
        let views: Vec<(Arc<dyn View>, Told)> =
            vec![(Arc::new(Sayings::default()), Told::default())];
        replay::build_until(&self.journal, elsewhere.clone(), until, views)
            .await
            .unwrap();
        replay::dump(elsewhere, "sayings").await.unwrap()
    }
}

fn propose(id: &str, expected: Version, event: MessageEvent) -> Proposal {
    let now = SystemClock.now();
    let events = vec![(RandomIds.event_id(now), event.into())];
    Proposal {
        drafts: vec![Draft {
            stream: StreamId::new("message", id),
            expected,
            events,
        }],
        context: Context {
            at: now,
            clock: None,
            actor: Actor::System,
            correlation: None,
            causation: None,
            origin: None,
        },
    }
}

struct Running {
    projector: Arc<Projector>,
    store: Store,
    stop: CancellationToken,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.projector.stopped())
            .await
            .unwrap();
    }

    async fn ready(&self) {
        tokio::time::timeout(Duration::from_secs(20), self.projector.until_ready())
            .await
            .unwrap();
        assert!(self.projector.ready());
    }

    async fn scrubbed(&self, position: Position) {
        let scrubbed = self.projector.scrubbed(position);
        tokio::time::timeout(Duration::from_secs(20), scrubbed)
            .await
            .unwrap()
            .unwrap();
    }

    async fn said(&self) -> i64 {
        // A read that waited in vain for a busy machine answers with what is there.
        for _ in 0..10 {
            let mut reading = self.store.read().await.unwrap();
            if reading.lag == 0 {
                return said(&mut reading).await;
            }
        }
        panic!("the view does not catch up");
    }
}

async fn said(tables: &mut AnyConnection) -> i64 {
    sqlx::query_scalar("SELECT said FROM tally")
        .fetch_one(tables)
        .await
        .unwrap()
}

/// What a connection reads from.
async fn generation(tables: &mut AnyConnection) -> String {
    let sql = match Dialect::of(tables) {
        Dialect::Sqlite => "SELECT file FROM pragma_database_list WHERE name = 'main'",
        Dialect::Postgres => "SELECT CAST(current_schema() AS text)",
    };
    let row = sqlx::query(sql).fetch_one(tables).await.unwrap();
    row.get(0)
}

fn numbered(from: usize, to: usize) -> impl Iterator<Item = (String, String)> {
    (from..to).map(|number| (format!("m{number}"), format!("the saying number {number}")))
}

/// The only generation there is.
fn file(views: &Path) -> std::path::PathBuf {
    let files: Vec<_> = std::fs::read_dir(views)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .filter(|path| !path.ends_with("catalog.db"))
        .collect();
    let [file] = files.as_slice() else {
        panic!("{files:?}")
    };
    file.clone()
}

/// A table or a schema that is not there, or no more.
fn is_missing(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["42P01", "3F000"].contains(&&*code))
}

/// Whether any file of the views holds a text.
fn stands_in(views: &Path, text: &str) -> bool {
    std::fs::read_dir(views).unwrap().any(|file| {
        // One that was deleted meanwhile holds nothing.
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    })
}

async fn a_reader_sees_what_was_committed_before_it_asked() {
    let world = World::new().await;
    let running = world.start(Default::default()).await;
    running.ready().await;
    for count in 1..=50 {
        world.say(&format!("m{count}"), "hello").await;
        assert_eq!(running.said().await, count);
    }
    running.stop().await;
}

async fn a_batch_that_fails_leaves_nothing_and_is_applied_again() {
    let world = World::new().await;
    let view = Arc::new(Sayings::default());
    let running = world.start(view.clone()).await;
    running.ready().await;
    view.failures.store(2, Ordering::SeqCst);
    world.say("m1", "once").await;
    assert_eq!(running.said().await, 1);
    assert_eq!(view.failures.load(Ordering::SeqCst), 0);
    running.stop().await;
}

async fn a_view_goes_on_where_it_was() {
    let world = World::new().await;
    world.say_all(numbered(0, 3000)).await;
    let running = world.start(Default::default()).await;
    running.ready().await;
    assert_eq!(running.said().await, 3000);
    running.stop().await;

    world.say_all(numbered(3000, 3010)).await;
    let view = Arc::new(Sayings::default());
    let running = world.start(view.clone()).await;
    assert!(running.projector.ready());
    assert_eq!(running.said().await, 3010);
    assert_eq!(view.batches.load(Ordering::SeqCst), 1);
    running.stop().await;
}

async fn a_batch_grows_with_the_backlog() {
    let world = World::new().await;
    let view = Arc::new(Sayings {
        gate: Some(Semaphore::new(0)),
        ..Default::default()
    });
    let running = world.start(view.clone()).await;
    running.ready().await;
    for (id, text) in numbered(0, 100) {
        world.say(&id, &text).await;
    }
    view.gate.as_ref().unwrap().add_permits(100);
    assert_eq!(running.said().await, 100);
    assert!(view.batches.load(Ordering::SeqCst) <= 2);
    running.stop().await;
}

async fn a_view_that_cannot_keep_up_answers_with_its_lag() {
    let world = World::new().await;
    let view = Arc::new(Sayings {
        gate: Some(Semaphore::new(1)),
        ..Default::default()
    });
    let running = world.start(view.clone()).await;
    running.ready().await;
    world.say("m1", "hello").await;
    assert_eq!(running.said().await, 1);
    world.say_all(numbered(2, 9)).await;
    let mut late = running.store.read().await.unwrap();
    assert_eq!((late.lag, said(&mut late).await), (7, 1));
    drop(late);
    // Who can wait is not answered before.
    let projector = running.projector.clone();
    let catching_up = projector.until_caught_up("sayings");
    tokio::pin!(catching_up);
    let soon = tokio::time::timeout(Duration::from_millis(100), &mut catching_up).await;
    assert!(soon.is_err());
    view.gate.as_ref().unwrap().add_permits(10);
    catching_up.await.unwrap();
    assert_eq!(running.said().await, 8);
    running.stop().await;
}

async fn a_view_is_rebuilt_while_it_serves_and_events_arrive() {
    let world = World::new().await;
    world.say_all(numbered(0, 5000)).await;
    let running = world.start(Default::default()).await;
    running.ready().await;
    let before = world.generation().await;

    let rebuild = running.projector.rebuild(&["sayings"]);
    let arriving = async {
        for number in 5000..5300 {
            world.say(&format!("m{number}"), "meanwhile").await;
            assert_eq!(running.said().await, number + 1);
        }
    };
    let (rebuilt, ()) = tokio::join!(rebuild, arriving);
    rebuilt.unwrap();
    assert_eq!(running.said().await, 5300);
    assert_ne!(world.generation().await, before);
    assert!(running.projector.views()[0].rebuild.is_none());
    running.stop().await;

    let serving = replay::dump(world.views(), "sayings").await.unwrap();
    assert_eq!(serving["saying"].len(), 5300);
    assert_eq!(serving, world.rebuilt().await);
}

async fn a_reader_keeps_the_tables_it_reads_while_others_take_over() {
    let world = World::new().await;
    world.say_all(numbered(0, 10)).await;
    let running = world.start(Default::default()).await;
    running.ready().await;
    let mut reading = running.store.read().await.unwrap();
    let before = generation(&mut reading).await;
    let mut transaction = reading.begin().await.unwrap();
    assert_eq!(said(&mut transaction).await, 10);
    let projector = running.projector.clone();
    let rebuild = tokio::spawn(async move { projector.rebuild(&["sayings"]).await });
    loop {
        let mut newer = running.store.read().await.unwrap();
        if generation(&mut newer).await != before {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(said(&mut transaction).await, 10);
    assert!(!rebuild.is_finished());
    drop(transaction);
    drop(reading);
    rebuild.await.unwrap().unwrap();
    running.stop().await;
}

/// Hundreds of messages, of which two can't be taken in, and their positions.
async fn with_two_that_are_refused(world: &World) -> [Position; 2] {
    let mut messages: Vec<_> = numbered(0, 300).collect();
    REFUSED.clone_into(&mut messages[17].1);
    PANICS.clone_into(&mut messages[230].1);
    let before = world.journal.head().0;
    world.say_all(messages).await;
    [Position(before + 18), Position(before + 231)]
}

async fn left_out(running: &Running) -> Vec<(Position, String)> {
    let found = running.projector.set_aside("sayings", 10).await.unwrap();
    assert_eq!(found.len() as u64, running.projector.views()[0].set_aside);
    assert!(
        found.iter().all(|it| it.event == "MessageSent"),
        "{found:?}"
    );
    found
        .into_iter()
        .rev()
        .map(|it| (it.position, it.reason))
        .collect()
}

fn positions(left_out: &[(Position, String)]) -> Vec<Position> {
    left_out.iter().map(|(position, _)| *position).collect()
}

async fn an_event_that_cannot_be_taken_in_is_set_aside_until_a_rebuild_can() {
    let world = World::new().await;
    let view = Arc::new(Sayings::default());
    view.faulty.store(true, Ordering::SeqCst);
    let running = world.start(view.clone()).await;
    running.ready().await;
    let refused = with_two_that_are_refused(&world).await;
    assert_eq!(running.said().await, 298);
    let found = left_out(&running).await;
    assert_eq!(positions(&found), refused);
    let told: Vec<_> = found
        .iter()
        .map(|(_, reason)| reason.to_lowercase())
        .collect();
    assert!(told[0].contains("unique"), "{told:?}");
    assert!(told[1].contains("panicked"), "{told:?}");
    world.say("later", "and on it goes").await;
    assert_eq!(running.said().await, 299);
    running.stop().await;

    // It is known after a restart, and still after a rebuild that can do no better.
    let running = world.start(view.clone()).await;
    running.ready().await;
    assert_eq!(left_out(&running).await, found);
    running.projector.rebuild(&["sayings"]).await.unwrap();
    assert_eq!(left_out(&running).await, found);
    assert_eq!(running.said().await, 299);

    view.faulty.store(false, Ordering::SeqCst);
    running.projector.rebuild(&["sayings"]).await.unwrap();
    assert_eq!(left_out(&running).await, []);
    assert_eq!(running.said().await, 301);
    running.stop().await;
}

async fn a_view_is_built_without_what_it_cannot_take_in() {
    let world = World::new().await;
    let refused = with_two_that_are_refused(&world).await;
    let view = Arc::new(Sayings::default());
    view.faulty.store(true, Ordering::SeqCst);
    let running = world.start(view).await;
    running.ready().await;
    assert_eq!(positions(&left_out(&running).await), refused);
    assert_eq!(running.said().await, 298);
    running.stop().await;
}

async fn what_was_to_be_erased_and_was_not_is_not_called_erased() {
    let world = World::new().await;
    let view = Arc::new(Sayings::default());
    view.faulty.store(true, Ordering::SeqCst);
    let running = world.start(view.clone()).await;
    running.ready().await;
    let key = world.say(KEPT, "quincunx").await;
    assert_eq!(running.said().await, 1);
    let position = world.erase(KEPT, key).await;
    assert_eq!(running.said().await, 1);
    assert_eq!(running.projector.views()[0].set_aside, 1);
    assert!(world.stands("quincunx").await);
    let before = Position(position.0 - 1);
    running.scrubbed(before).await;
    assert!(
        running
            .projector
            .scrubbed(position)
            .now_or_never()
            .is_none()
    );

    // What is rebuilt has never held it: its key is gone.
    running.projector.rebuild(&["sayings"]).await.unwrap();
    assert_eq!(running.projector.views()[0].set_aside, 1);
    running.scrubbed(position).await;
    assert!(!world.stands("quincunx").await);
    running.stop().await;
}

async fn an_unknown_view_is_not_rebuilt() {
    let world = World::new().await;
    let running = world.start(Default::default()).await;
    let refused = running.projector.rebuild(&["sayings", "nothing"]).await;
    assert!(matches!(refused, Err(ViewError::Unknown(name)) if name == "nothing"));
    running.stop().await;
}

async fn another_version_is_rebuilt_at_the_start() {
    let world = World::new().await;
    world.say_all(numbered(0, 100)).await;
    let running = world.start(Default::default()).await;
    running.ready().await;
    running.stop().await;
    let before = world.generation().await;

    let running = world
        .start(Arc::new(Sayings {
            version: 2,
            ..Default::default()
        }))
        .await;
    running.ready().await;
    assert_eq!(running.said().await, 100);
    assert_ne!(world.generation().await, before);
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_is_missing_or_cut_short_or_no_database_is_rebuilt() {
    let world = World::on(Dialect::Sqlite).await;
    world.say_all(numbered(0, 2000)).await;
    let damages: [fn(&Path); 4] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| {
            std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(8192)
                .unwrap();
        },
        |path| std::fs::write(path, "nothing of the kind").unwrap(),
        |path| std::fs::write(path, "").unwrap(),
    ];
    for damage in damages {
        let running = world.start(Default::default()).await;
        running.ready().await;
        assert_eq!(running.said().await, 2000);
        running.stop().await;
        damage(&file(world.files()));
    }
    std::fs::write(world.files().join("catalog.db"), "nothing of the kind").unwrap();
    let running = world.start(Default::default()).await;
    running.ready().await;
    assert_eq!(running.said().await, 2000);
    running.stop().await;
}

#[tokio::test]
async fn damage_that_a_query_meets_is_repaired() {
    let world = World::on(Dialect::Sqlite).await;
    world.say_all(numbered(0, 5000)).await;
    let running = world.start(Default::default()).await;
    running.ready().await;
    running.stop().await;
    let path = file(world.files());
    let mut bytes = std::fs::read(&path).unwrap();
    // All pages of the middle; the first ones hold the schema and the checkpoint.
    let middle = bytes.len() / 4096 / 4 * 4096..bytes.len() / 4096 * 3 / 4 * 4096;
    bytes[middle].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();

    let running = world.start(Default::default()).await;
    let mut reading = running.store.read().await.unwrap();
    let met = sqlx::query("SELECT sum(length(text)) FROM saying")
        .fetch_one(&mut *reading)
        .await;
    assert!(matches!(
        met.map_err(ViewError::from),
        Err(ViewError::Damaged(_))
    ));
    drop(reading);
    let whole = async {
        loop {
            if let Ok(mut reading) = running.store.read().await
                && let Ok(count) = sqlx::query_scalar::<_, i64>("SELECT count(text) FROM saying")
                    .fetch_one(&mut *reading)
                    .await
            {
                assert_eq!(count, 5000);
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), whole)
        .await
        .unwrap();
    running.stop().await;
}

async fn what_is_erased_stands_in_no_file() {
    let world = World::new().await;
    let running = world.start(Default::default()).await;
    running.ready().await;
    world.say_all(numbered(0, 500)).await;
    let key = world.say("secret", "the quincunx lies under the oak").await;
    world.say_all(numbered(500, 1000)).await;
    assert_eq!(running.said().await, 1001);
    assert!(world.stands("quincunx").await);

    let position = world.erase("secret", key).await;
    running.scrubbed(position).await;
    assert!(!world.stands("quincunx").await);
    running.stop().await;
    assert!(!world.stands("quincunx").await);
    let serving = replay::dump(world.views(), "sayings").await.unwrap();
    assert_eq!(serving, world.rebuilt().await);
}

async fn a_reader_in_the_way_delays_scrubbing_and_nothing_else() {
    let world = World::new().await;
    let running = world.start(Default::default()).await;
    running.ready().await;
    let key = world.say("secret", "the quincunx lies under the oak").await;
    let mut reading = running.store.read().await.unwrap();
    let mut transaction = reading.begin().await.unwrap();
    assert_eq!(said(&mut transaction).await, 1);

    let position = world.erase("secret", key).await;
    world.say("m2", "life goes on").await;
    assert_eq!(running.said().await, 2);
    let scrubbed = running.projector.scrubbed(position);
    assert!(
        tokio::time::timeout(Duration::from_millis(500), scrubbed)
            .await
            .is_err()
    );
    drop(transaction);
    drop(reading);
    running.scrubbed(position).await;
    assert!(!world.stands("quincunx").await);
    running.stop().await;
}

async fn readers_that_come_without_a_pause_are_not_in_the_way_of_scrubbing_for_ever() {
    let world = World::new().await;
    let running = world.start(Default::default()).await;
    running.ready().await;
    let key = world.say("secret", "the quincunx lies under the oak").await;
    // One always reads that began before the other ends.
    let reading = |offset: u64| {
        let store = running.store.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(offset)).await;
            loop {
                let mut reading = store.moment().await.unwrap();
                said(&mut reading).await;
                tokio::time::sleep(Duration::from_millis(900)).await;
            }
        })
    };
    let readers = [reading(0), reading(300), reading(600)];
    tokio::time::sleep(Duration::from_millis(700)).await;
    let position = world.erase("secret", key).await;
    let life = async {
        for message in 0.. {
            world.say(&format!("life-{message}"), "goes on").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = running.scrubbed(position) => {}
        () = life => {}
    }
    assert!(!world.stands("quincunx").await);
    for reader in readers {
        reader.abort();
        assert!(reader.await.is_err_and(|ended| ended.is_cancelled()));
    }
    running.stop().await;
}

async fn a_rebuild_that_read_an_erased_message_scrubs_it_too() {
    let world = World::new().await;
    let key = world.say("secret", "the quincunx lies under the oak").await;
    world.say_all(numbered(0, 5000)).await;
    let view = Arc::new(Sayings {
        gate: Some(Semaphore::new(100)),
        ..Default::default()
    });
    let running = world.start(view.clone()).await;
    running.ready().await;
    assert_eq!(running.said().await, 5001);

    let gate = view.gate.as_ref().unwrap();
    let closed = gate
        .acquire_many(gate.available_permits() as u32)
        .await
        .unwrap();
    closed.forget();
    let projector = running.projector.clone();
    let rebuild = tokio::spawn(async move { projector.rebuild(&["sayings"]).await });
    while running.projector.views()[0].rebuild.is_none() {
        tokio::task::yield_now().await;
    }
    let position = world.erase("secret", key).await;
    let scrubbed = running.projector.scrubbed(position);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), scrubbed)
            .await
            .is_err()
    );
    gate.add_permits(100);
    running.scrubbed(position).await;
    assert!(!world.stands("quincunx").await);
    rebuild.await.unwrap().unwrap();
    assert!(!world.stands("quincunx").await);
    running.stop().await;
}

async fn views_can_be_built_as_they_were() {
    let world = World::new().await;
    world.say("m1", "first").await;
    let then = world.journal.head();
    let key = world.say("m2", "second").await;
    world.erase("m2", key).await;

    let dump = world.built_until(then).await;
    assert_eq!(dump["saying"], ["'m1', 'first', 1"]);
    assert_eq!(dump["tally"], ["1, 1"]);
    assert_eq!(dump["words"].len(), 1, "{:?}", dump["words"]);
    assert_eq!(world.built_until(Position::START).await["saying"], [""; 0]);
    assert_eq!(world.rebuilt().await["tally"], ["1, 2"]);
}

async fn what_events_leave_to_be_done_keeps_nobody_waiting_and_goes_on_after_a_restart() {
    let world = World::new().await;
    let leaving = || {
        Arc::new(Sayings {
            leaves: true,
            ..Sayings::default()
        })
    };
    let further = async |view: &Sayings| {
        let before = view.parts.load(Ordering::SeqCst);
        let goes_on = async {
            while view.parts.load(Ordering::SeqCst) < before + 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), goes_on)
            .await
            .unwrap();
    };
    let view = leaving();
    let running = world.start(view.clone()).await;
    running.ready().await;
    for count in 1..=5 {
        world.say(&format!("m{count}"), "hello").await;
        assert_eq!(running.said().await, count);
        further(&view).await;
    }
    running.stop().await;

    // Without an event.
    let view = leaving();
    let running = world.start(view.clone()).await;
    running.ready().await;
    further(&view).await;
    assert_eq!(running.said().await, 5);
    running.stop().await;
}

on_both_engines!(
    a_reader_sees_what_was_committed_before_it_asked,
    a_batch_that_fails_leaves_nothing_and_is_applied_again,
    a_view_goes_on_where_it_was,
    a_batch_grows_with_the_backlog,
    a_view_that_cannot_keep_up_answers_with_its_lag,
    a_view_is_rebuilt_while_it_serves_and_events_arrive,
    a_reader_keeps_the_tables_it_reads_while_others_take_over,
    an_event_that_cannot_be_taken_in_is_set_aside_until_a_rebuild_can,
    a_view_is_built_without_what_it_cannot_take_in,
    what_was_to_be_erased_and_was_not_is_not_called_erased,
    an_unknown_view_is_not_rebuilt,
    another_version_is_rebuilt_at_the_start,
    what_is_erased_stands_in_no_file,
    a_reader_in_the_way_delays_scrubbing_and_nothing_else,
    readers_that_come_without_a_pause_are_not_in_the_way_of_scrubbing_for_ever,
    a_rebuild_that_read_an_erased_message_scrubs_it_too,
    views_can_be_built_as_they_were,
    what_events_leave_to_be_done_keeps_nobody_waiting_and_goes_on_after_a_restart,
);
