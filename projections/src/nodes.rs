//! What nodes that share views in PostgreSQL are to one another: one of them feeds, the others follow.
//!
//! The one that feeds holds an advisory lock of its session, so the lock is free when the connection
//! ends: at once when the node stops or dies, within some eight seconds when its machine or the network
//! is gone, or when it stands still. The others try for it twice a second. That a node which lost it
//! without knowing changes nothing more is not the lock's matter; see
//! [`postgres`](crate::engine::postgres).
//!
//! The node that feeds announces how far each view is and which generation serves, whenever that
//! changes and at least five times a second: by `NOTIFY`, and in a row that is looked up where no
//! notification comes. The others say how far their readers wait, so that what they wait for is not
//! gathered any longer, and what they were asked to rebuild, until it is announced as being built.
//!
//! While nodes are replaced by those of another version, a view that has changed is answered by the
//! nodes whose version is that of the one that feeds; to the others it is being built, until they are
//! replaced, too, or one of them feeds.
//!
//! Views in SQLite belong to one node, which feeds and tells nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hansard_domain::log::Position;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Engine;
use crate::engine::postgres::Database;
use crate::lane::Lanes;
use crate::view::ViewError;

/// How often the node that feeds makes sure that it may, and the others try.
const BEAT: Duration = Duration::from_millis(500);

/// A database whose answer is late by this much is taken for gone.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A node that stands still, its connections open, loses the lock: the server ends a session that has
/// not been heard of for ten beats.
const STANDSTILL: &str = "SET idle_session_timeout TO '5s'";

/// How often the node that feeds announces at least, and the others look where they heard nothing.
const ANNOUNCE: Duration = Duration::from_millis(200);

/// How often somebody looks whether there is something to say.
const TICK: Duration = Duration::from_millis(100);

/// How long the end waits for the views to be closed before another node may feed them.
const CLOSING: Duration = Duration::from_secs(5);

/// What this node does for the views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    Feed,
    Follow,
}

/// What the node that feeds tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Of the node that feeds; grows with each that begins to.
    #[serde(default)]
    pub term: i64,
    /// Counts the announcements of a term.
    #[serde(default)]
    pub number: u64,
    #[serde(default)]
    pub views: BTreeMap<String, Announced>,
}

/// What is announced of one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Of the view, as the node knows it that feeds.
    pub version: u32,
    /// The one that serves; none while the first is being built.
    pub generation: Option<u64>,
    pub applied: u64,
    /// Up to here everything that was erased is gone.
    pub scrubbed: u64,
    /// How many events are not in the tables that serve because they could not be taken in.
    #[serde(default)]
    pub set_aside: u64,
    /// How far a generation is that is being built.
    pub building: Option<u64>,
}

#[derive(Serialize, Deserialize)]
enum Message {
    Announcement(Announcement),
    /// How far readers of other nodes wait, by view.
    Wanted(BTreeMap<String, u64>),
    /// Views that are to be rebuilt.
    Rebuild(BTreeSet<String>),
}

/// See the module. What one node knows of the others, and they of it.
pub struct Nodes {
    duty: watch::Sender<Duty>,
    heard: watch::Sender<Announcement>,
    /// Something is to be told the others.
    news: Arc<Notify>,
    /// The views that this node was asked to have rebuilt, and by how many.
    orders: Mutex<BTreeMap<&'static str, usize>>,
}

/// A view is to be rebuilt by the node that feeds, which is told so until this is dropped.
pub struct Order<'a> {
    nodes: &'a Nodes,
    view: &'static str,
}

impl Drop for Order<'_> {
    fn drop(&mut self) {
        let mut orders = self.nodes.orders.lock();
        if let Some(count) = orders.get_mut(self.view) {
            *count -= 1;
            if *count == 0 {
                orders.remove(self.view);
            }
        }
    }
}

/// The connection that holds the lock, or tries for it. `None` where no other node could.
pub type Seat = Option<PgConnection>;

impl Nodes {
    /// Begins to feed unless another node does.
    pub async fn join(engine: &Engine) -> Result<(Arc<Self>, Seat), ViewError> {
        let nodes = Arc::new(Self {
            duty: watch::Sender::new(Duty::Feed),
            heard: watch::Sender::default(),
            news: Arc::default(),
            orders: Mutex::default(),
        });
        let Engine::Postgres(database) = engine else {
            return Ok((nodes, None));
        };
        let mut seat = database.plain().await?;
        if !nodes.take_over(database, &mut seat).await? {
            nodes.duty.send_replace(Duty::Follow);
            nodes.hear(look(database, &mut seat).await?);
        }
        Ok((nodes, Some(seat)))
    }

    pub fn duty(&self) -> watch::Receiver<Duty> {
        self.duty.subscribe()
    }

    /// What the node that feeds told last, if it is not this one.
    pub fn heard(&self) -> watch::Receiver<Announcement> {
        self.heard.subscribe()
    }

    pub fn news(&self) -> Arc<Notify> {
        self.news.clone()
    }

    /// Has the node that feeds, if it is another one, told to rebuild a view.
    pub fn order(&self, view: &'static str) -> Order<'_> {
        *self.orders.lock().entry(view).or_default() += 1;
        self.news.notify_one();
        Order { nodes: self, view }
    }

    /// Returns when what is known of the views is no older than this call.
    pub async fn up_to_date(&self) {
        let (mut duty, mut heard) = (self.duty(), self.heard());
        while *duty.borrow_and_update() == Duty::Follow {
            let (term, number) = {
                let heard = heard.borrow_and_update();
                (heard.term, heard.number)
            };
            // The next one may have been on its way.
            let later = |it: &Announcement| it.term != term || it.number >= number + 2;
            tokio::select! {
                _ = duty.changed() => {}
                Ok(found) = heard.wait_for(later) => if found.term == term {
                    return;
                },
            }
        }
    }

    /// Holds the lock or tries for it, tells and listens until `stop`; lets the lock go once `feeds`
    /// have ended.
    pub async fn run(
        self: Arc<Self>,
        engine: Engine,
        seat: Seat,
        lanes: Arc<Lanes>,
        feeds: TaskTracker,
        stop: CancellationToken,
    ) {
        let (Engine::Postgres(database), Some(seat)) = (engine, seat) else {
            return;
        };
        let ended = async {
            stop.cancelled().await;
            // What is left to be closed then is closed without the lock, and so not written.
            let _ = timeout(CLOSING, feeds.wait()).await;
        };
        tokio::select! {
            () = ended => {}
            () = self.campaign(&database, seat) => {}
            () = self.listen(&database, &lanes) => {}
            () = self.speak(&database, &lanes) => {}
        }
    }

    async fn take_over(
        &self,
        database: &Database,
        seat: &mut PgConnection,
    ) -> Result<bool, ViewError> {
        let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(database.lock("feeder"))
            .fetch_one(&mut *seat)
            .await?;
        if taken {
            database.begin_term(seat).await?;
            tracing::info!("this node feeds the views");
        }
        Ok(taken)
    }

    async fn campaign(&self, database: &Database, first: PgConnection) {
        let mut seat = Some(first);
        loop {
            if let Err(error) = self.hold(database, seat.take()).await {
                tracing::debug!(%error, "the connection that holds the lock of the views failed");
            }
            if *self.duty.borrow() == Duty::Feed {
                tracing::warn!("this node feeds the views no longer");
            }
            self.duty.send_replace(Duty::Follow);
            sleep(BEAT).await;
        }
    }

    /// Tries for the lock, and keeps it for as long as the connection lasts.
    async fn hold(&self, database: &Database, seat: Seat) -> Result<(), ViewError> {
        let mut seat = match seat {
            Some(seat) => seat,
            None => database.plain().await?,
        };
        answer(async { Ok(seat.execute(STANDSTILL).await?) }).await?;
        if *self.duty.borrow() != Duty::Feed {
            while !answer(self.take_over(database, &mut seat)).await? {
                sleep(BEAT).await;
            }
            self.duty.send_replace(Duty::Feed);
        }
        loop {
            sleep(BEAT).await;
            answer(async { Ok(seat.ping().await?) }).await?;
        }
    }

    async fn listen(&self, database: &Database, lanes: &Lanes) {
        loop {
            if let Err(error) = self.hear_all(database, lanes).await {
                tracing::debug!(%error, "no notifications of other nodes come; looking for them");
            }
            sleep(BEAT).await;
        }
    }

    async fn hear_all(&self, database: &Database, lanes: &Lanes) -> Result<(), ViewError> {
        let own = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(database.options().clone());
        let mut listener = PgListener::connect_with(&own).await?;
        listener.listen(&database.catalog_schema()).await?;
        loop {
            let Some(notification) = listener.try_recv().await? else {
                return Ok(());
            };
            match serde_json::from_str(notification.payload()) {
                Ok(Message::Announcement(announcement)) => self.hear(announcement),
                Ok(Message::Wanted(wanted)) if *self.duty.borrow() == Duty::Feed => {
                    for (view, position) in wanted {
                        if let Some(lane) = lanes.get(view.as_str()) {
                            lane.store.want(Position(position));
                        }
                    }
                }
                Ok(Message::Rebuild(views)) if *self.duty.borrow() == Duty::Feed => {
                    for view in views {
                        if let Some(lane) = lanes.get(view.as_str()) {
                            lane.begin_rebuild();
                        }
                    }
                }
                Ok(Message::Wanted(_) | Message::Rebuild(_)) => {}
                Err(error) => tracing::debug!(%error, "a notification that means nothing"),
            }
        }
    }

    /// Takes note of an announcement unless a later one has been heard.
    fn hear(&self, announcement: Announcement) {
        self.heard.send_if_modified(|heard| {
            let later = (announcement.term, announcement.number) > (heard.term, heard.number);
            if later {
                *heard = announcement;
            }
            later
        });
    }

    async fn speak(&self, database: &Database, lanes: &Lanes) {
        let mut said = Said::default();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.news.notified() => {}
                _ = ticks.tick() => {}
            }
            let duty = *self.duty.borrow();
            let done = match duty {
                Duty::Feed => answer(said.announce(database, lanes)).await,
                Duty::Follow => answer(self.ask(&mut said, database, lanes)).await,
            };
            if let Err(error) = done {
                tracing::debug!(%error, "other nodes could not be told");
                said.connection = None;
                sleep(TICK).await;
            }
        }
    }

    /// Says what readers wait for, and looks for an announcement where none came.
    async fn ask(
        &self,
        said: &mut Said,
        database: &Database,
        lanes: &Lanes,
    ) -> Result<(), ViewError> {
        let mut wanted = BTreeMap::new();
        for (name, lane) in lanes {
            let position = *lane.store.wanted().borrow();
            if position > lane.store.applied() {
                wanted.insert((*name).to_owned(), position.0);
            }
        }
        if !wanted.is_empty() && (wanted != said.wanted || said.asked.elapsed() > TICK) {
            said.wanted.clone_from(&wanted);
            said.asked = Instant::now();
            said.tell(database, Message::Wanted(wanted)).await?;
        }
        let orders: BTreeSet<_> = {
            let orders = self.orders.lock();
            let waiting = |view: &&&str| !lanes[**view].is_rebuilt_elsewhere();
            orders
                .keys()
                .filter(waiting)
                .map(|view| (*view).to_owned())
                .collect()
        };
        if !orders.is_empty() && (orders != said.orders || said.ordered.elapsed() > TICK) {
            said.orders.clone_from(&orders);
            said.ordered = Instant::now();
            said.tell(database, Message::Rebuild(orders)).await?;
        }
        if said.looked.elapsed() >= ANNOUNCE {
            said.looked = Instant::now();
            let found = look(database, said.connection(database).await?).await?;
            self.hear(found);
        }
        Ok(())
    }
}

/// What was said last, and the connection it was said on.
struct Said {
    connection: Option<PgConnection>,
    announcement: Announcement,
    announced: Instant,
    wanted: BTreeMap<String, u64>,
    asked: Instant,
    orders: BTreeSet<String>,
    ordered: Instant,
    looked: Instant,
}

impl Default for Said {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            connection: None,
            announcement: Announcement::default(),
            announced: now,
            wanted: BTreeMap::new(),
            asked: now,
            orders: BTreeSet::new(),
            ordered: now,
            looked: now,
        }
    }
}

impl Said {
    async fn connection(&mut self, database: &Database) -> Result<&mut PgConnection, ViewError> {
        if self.connection.is_none() {
            let mut connection = database.plain().await?;
            connection
                .execute(sqlx::raw_sql("SET synchronous_commit TO off"))
                .await?;
            self.connection = Some(connection);
        }
        self.connection
            .as_mut()
            .ok_or_else(|| ViewError::Unavailable("there is no connection".to_owned()))
    }

    async fn tell(&mut self, database: &Database, message: Message) -> Result<(), ViewError> {
        let payload = serde_json::to_string(&message)?;
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(database.catalog_schema())
            .bind(payload)
            .execute(self.connection(database).await?)
            .await?;
        Ok(())
    }

    /// Announces what has changed; nothing new now and then, too.
    async fn announce(&mut self, database: &Database, lanes: &Lanes) -> Result<(), ViewError> {
        let term = database.term();
        let views: BTreeMap<_, _> = lanes
            .iter()
            .map(|(name, lane)| ((*name).to_owned(), lane.announced()))
            .collect();
        let changed = term != self.announcement.term || views != self.announcement.views;
        if !changed && self.announced.elapsed() < ANNOUNCE {
            return Ok(());
        }
        let announcement = Announcement {
            term,
            number: self.announcement.number + 1,
            views,
        };
        let state = serde_json::to_string(&announcement)?;
        self.announcement = announcement.clone();
        self.announced = Instant::now();
        let payload = serde_json::to_string(&Message::Announcement(announcement))?;
        let schema = database.catalog_schema();
        let sql = format!(
            r#"WITH told AS (
                   UPDATE "{schema}".announced SET term = $1, state = $2 WHERE term <= $1
                   RETURNING term
               ) SELECT pg_notify($3, $4) FROM told"#
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(term)
            .bind(state)
            .bind(schema)
            .bind(payload)
            .execute(self.connection(database).await?)
            .await?;
        Ok(())
    }
}

async fn look(
    database: &Database,
    connection: &mut PgConnection,
) -> Result<Announcement, ViewError> {
    let sql = format!(
        r#"SELECT state FROM "{}".announced"#,
        database.catalog_schema()
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await?;
    Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?)
}

async fn answer<T>(asked: impl Future<Output = Result<T, ViewError>>) -> Result<T, ViewError> {
    timeout(PATIENCE * 2, asked)
        .await
        .map_err(|_| ViewError::Unavailable("the PostgreSQL server does not answer".to_owned()))?
}
