//! What tests of views are made with: events, and tables to apply them to.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hansard_domain::account::{AccountEvent, AccountKind, Profile, Registration};
use hansard_domain::event::{Entry, Event, Origin};
use hansard_domain::id::{RoomId, Timestamp, UserId};
use hansard_domain::journal::Journal;
use hansard_domain::log::{Actor, Position, StreamId, Version};
use hansard_domain::message::{Content, MessageEvent, Sent};
use hansard_domain::room::{RoomDetails, RoomEvent, RoomKind, RoomSwitches};
use hansard_domain::seal::{Confidential, Private};
use hansard_domain::subscription::SubscriptionEvent;
use hansard_domain::vault::{DataKey, KeyId};
use hansard_infra::log::memory::MemoryLog;
use hansard_infra::vault::memory::MemoryVault;
use sqlx::{AnyConnection, AssertSqlSafe, Column, Connection, Executor, Row};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::answers::Answers;
use crate::engine::{Engine, Location, Namespace, Purpose};
use crate::generation::Generation;
use crate::sql::Dialect;
use crate::store::Store;
use crate::view::View;

/// A log in the making. Each event is recorded a second after the one before it.
#[derive(Default)]
pub struct Story {
    pub entries: Vec<Arc<Entry>>,
}

impl Story {
    /// The time of the next event.
    pub fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000 + self.entries.len() as i64 * 1000)
    }

    pub fn tell(&mut self, stream: StreamId, event: impl Into<Event>) -> &mut Self {
        self.tell_as(Actor::System, None, stream, event)
    }

    /// Something that somebody did, from somewhere.
    pub fn tell_as(
        &mut self,
        actor: Actor,
        origin: Option<Private<Origin>>,
        stream: StreamId,
        event: impl Into<Event>,
    ) -> &mut Self {
        self.entries.push(Arc::new(Entry {
            position: Position(self.entries.len() as u64 + 1),
            stream,
            version: Version(1),
            id: uuid(self.entries.len()),
            at: self.now(),
            clock: None,
            actor,
            // What comes from somewhere comes by a request.
            correlation: origin.as_ref().map(|_| "request".into()),
            causation: None,
            origin,
            fault: None,
            event: event.into(),
        }));
        self
    }

    pub fn account(&mut self, id: &str, event: AccountEvent) -> &mut Self {
        self.tell(StreamId::new("account", id), event)
    }

    /// Somebody whose username is their id.
    pub fn registered(&mut self, id: &str) -> &mut Self {
        let profile = Profile {
            username: id.to_owned(),
            name: Some(format!("Name of {id}")),
            ..Profile::default()
        };
        self.account(
            id,
            AccountEvent::UserRegistered {
                how: Registration::ByAdministrator,
                kind: AccountKind::User,
                roles: Vec::new(),
                active: true,
                reason: None,
                password_change_required: false,
                profile: Private::new(KeyId(1), profile),
                password: None,
                at: Timestamp::default(),
            },
        )
    }

    pub fn room(&mut self, id: &str, event: RoomEvent) -> &mut Self {
        self.tell(StreamId::new("room", id), event)
    }

    /// A room whose name is its id; the first of the members made it.
    pub fn created(&mut self, id: &str, kind: RoomKind, members: &[&str]) -> &mut Self {
        let name = if kind == RoomKind::Direct { "" } else { id };
        let details = RoomDetails {
            name: name.to_owned(),
            fname: name.to_owned(),
            ..RoomDetails::default()
        };
        let at = self.now();
        self.room(
            id,
            RoomEvent::RoomCreated {
                kind,
                creator: members.first().map(UserId::new),
                members: members.iter().skip(1).map(UserId::new).collect(),
                switches: RoomSwitches::default(),
                parent: None,
                details: Private::new(KeyId(2), details),
                at,
            },
        )
    }

    pub fn subscription(&mut self, room: &str, user: &str, event: SubscriptionEvent) -> &mut Self {
        self.tell(
            StreamId::new("subscription", format!("{room}/{user}")),
            event,
        )
    }

    pub fn sent(&mut self, id: &str, sent: Sent) -> &mut Self {
        let content = Private::new(KeyId(3), Content::default());
        self.tell(
            StreamId::new("message", id),
            MessageEvent::MessageSent { sent, content },
        )
    }

    /// What happened to a message.
    pub fn on(&mut self, id: &str, event: MessageEvent) -> &mut Self {
        self.tell(StreamId::new("message", id), event)
    }

    /// A message of some words.
    pub fn wrote(&mut self, id: &str, sent: Sent, text: &str) -> &mut Self {
        let content = Content {
            text: text.to_owned(),
            ..Content::default()
        };
        let content = Private::new(KeyId(3), content);
        self.on(id, MessageEvent::MessageSent { sent, content })
    }

    pub fn said(&mut self, id: &str, room: &str, sender: &str) -> &mut Self {
        let sent = self.message(room, sender);
        self.sent(id, sent)
    }

    /// A plain message, as it would be sent now.
    pub fn message(&self, room: &str, sender: &str) -> Sent {
        Sent {
            room: RoomId::new(room),
            sender: UserId::new(sender),
            system: None,
            thread: None,
            mentions: Default::default(),
            integration: None,
            bot: false,
            groupable: true,
            discussion: None,
            has_files: false,
            at: self.now(),
        }
    }
}

fn uuid(number: usize) -> uuid::Uuid {
    uuid::Uuid::from_u128(number as u128)
}

#[path = "../tests/support/postgres.rs"]
mod postgres;

tokio::task_local! {
    /// What the test runs on.
    pub static ON: Dialect;
}

/// Runs tests, which are async functions, on SQLite and on PostgreSQL.
macro_rules! on_both_engines {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $test() {
                use $crate::{sql::Dialect, testing::ON};
                ON.scope(Dialect::Sqlite, super::$test()).await;
            })+
        }

        mod on_postgres {
            $(#[tokio::test]
            async fn $test() {
                use $crate::{sql::Dialect, testing::ON};
                ON.scope(Dialect::Postgres, super::$test()).await;
            })+
        }
    };
}
pub(crate) use on_both_engines;

/// A connection to a place for tables that nobody else uses.
pub async fn place(dialect: Dialect) -> AnyConnection {
    static DATABASE: OnceCell<Engine> = OnceCell::const_new();
    static NEXT: AtomicU64 = AtomicU64::new(1);
    crate::engine::install_drivers();
    if dialect == Dialect::Sqlite {
        return AnyConnection::connect("sqlite::memory:").await.unwrap();
    }
    let database = DATABASE
        .get_or_init(async || {
            let location = Location::parse(&postgres::postgres_url());
            Engine::open(&location).await.unwrap()
        })
        .await;
    let namespace = Namespace {
        view: "test".to_owned(),
        generation: NEXT.fetch_add(1, Ordering::Relaxed),
    };
    database.connect(&namespace, Purpose::Build).await.unwrap()
}

/// The tables of a view after events that came in batches of a length.
pub async fn tables(view: &impl View, entries: &[Arc<Entry>], batch: usize) -> AnyConnection {
    tables_on(ON.get(), view, entries, batch).await
}

/// The same on an engine that is not the test's.
pub async fn tables_on(
    dialect: Dialect,
    view: &impl View,
    entries: &[Arc<Entry>],
    batch: usize,
) -> AnyConnection {
    let mut tables = place(dialect).await;
    let schemas = [view.schema(), view.own_schema(dialect), view.indexes()];
    for schema in schemas {
        let schema = AssertSqlSafe(dialect.adapt(schema).into_owned());
        tables.execute(sqlx::raw_sql(schema)).await.unwrap();
    }
    for batch in entries.chunks(batch) {
        view.apply(&mut tables, batch).await.unwrap();
    }
    while view.go_on(&mut tables).await.unwrap() {}
    tables
}

/// A view that serves: its tables, as the projector makes them, and the store that its queries ask.
pub struct Served {
    pub store: Store,
    view: Arc<dyn View>,
    generation: Generation,
    /// Where the files are, as long as this lives.
    _directory: TempDir,
}

impl Served {
    /// Without an event, on the test's engine.
    pub async fn empty(view: impl View) -> Self {
        let mut served = Self::building(view).await;
        served.finish().await;
        served
    }

    /// Without an event and without indexes, as a rebuild begins.
    pub async fn building(view: impl View) -> Self {
        static DATABASE: OnceCell<String> = OnceCell::const_new();
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let directory = tempfile::tempdir().unwrap();
        let location = match ON.get() {
            Dialect::Sqlite => Location::from(directory.path()),
            Dialect::Postgres => {
                let url = DATABASE
                    .get_or_init(async || postgres::postgres_url())
                    .await;
                Location::parse(url)
            }
        };
        let engine = Engine::open(&location).await.unwrap();
        let (log, vault) = (MemoryLog::new(), MemoryVault::new());
        let journal = Journal::open(Arc::new(log), Arc::new(vault)).await.unwrap();
        let store = Store::new(
            view.name(),
            journal,
            Arc::default(),
            engine.reader_count(),
            Answers::new(8 << 20),
        );
        store.fed_here(true);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let view: Arc<dyn View> = Arc::new(view);
        let generation = Generation::create(&engine, view.clone(), number)
            .await
            .unwrap();
        let readers = engine.readers(generation.namespace()).unwrap();
        store.serve(readers, number, Position::START);
        Self {
            store,
            view,
            generation,
            _directory: directory,
        }
    }

    pub async fn finish(&mut self) {
        self.generation.finish().await.unwrap();
    }

    /// Takes in events, as one batch, and does what they leave to be done.
    pub async fn take(&mut self, entries: &[Arc<Entry>]) {
        self.generation.apply(entries).await.unwrap();
        self.store.touched(&*self.view, entries);
        while self.generation.unfinished() {
            self.generation.go_on().await.unwrap();
            self.store.touched_anywhere();
        }
    }
}

/// The tables after the events, whatever the batches: checks that these make no difference, and
/// neither does the engine.
pub async fn told(view: &impl View, story: &Story, contents: &[&'static str]) -> AnyConnection {
    let mut one_by_one = tables(view, &story.entries, 1).await;
    let expected = dump(&mut one_by_one, contents).await;
    for batch in [2, 3, 7, usize::MAX] {
        let mut other = tables(view, &story.entries, batch.min(story.entries.len().max(1))).await;
        assert_eq!(
            dump(&mut other, contents).await,
            expected,
            "in batches of {batch}"
        );
    }
    if ON.get() != Dialect::Sqlite {
        let mut other = tables_on(Dialect::Sqlite, view, &story.entries, 5).await;
        assert_eq!(dump(&mut other, contents).await, expected);
    }
    one_by_one
}

/// All rows of tables, as text, in order.
pub async fn dump(tables: &mut AnyConnection, names: &[&'static str]) -> Vec<String> {
    let mut rows = Vec::new();
    for name in names {
        let found = sqlx::query(AssertSqlSafe(format!("SELECT * FROM {name}")))
            .fetch_all(&mut *tables)
            .await
            .unwrap();
        let mut lines: Vec<_> = found
            .iter()
            .map(|row| {
                let values = row.columns().iter().map(|column| {
                    let index = column.ordinal();
                    let number = row.try_get::<Option<i64>, _>(index).map(|it| show(&it));
                    let text = |_| row.try_get::<Option<String>, _>(index).map(|it| show(&it));
                    let bytes = |_| show(&row.get::<Option<Vec<u8>>, _>(index));
                    number.or_else(text).unwrap_or_else(bytes)
                });
                format!("{name}: {}", values.collect::<Vec<_>>().join(" | "))
            })
            .collect();
        lines.sort();
        rows.extend(lines);
    }
    rows
}

fn show<T: Debug>(value: &Option<T>) -> String {
    value
        .as_ref()
        .map_or_else(|| "-".to_owned(), |value| format!("{value:?}"))
}

/// The key of what nobody erases.
pub const KEPT: KeyId = KeyId(9);

/// The events as they read once all keys but [`KEPT`] are gone.
pub fn shredded(entries: &[Arc<Entry>]) -> Vec<Arc<Entry>> {
    let shred = |entry: &Arc<Entry>| {
        let mut entry = Entry::clone(entry);
        entry.event.parts(&mut |part| {
            if part.key() == KEPT {
                return;
            }
            part.seal(&DataKey([7; 32]), b"").unwrap();
            part.open(None, b"");
        });
        Arc::new(entry)
    };
    entries.iter().map(shred).collect()
}
