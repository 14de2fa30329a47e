//! The read side of a view: a connection to the tables that serve, once they hold what is asked for.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hansard_domain::event::Entry;
use hansard_domain::fair::{Fair, Turn};
use hansard_domain::id::UserId;
use hansard_domain::journal::Journal;
use hansard_domain::log::Position;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Transaction};
use tokio::sync::{
    Notify, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, OwnedSemaphorePermit, RwLock, Semaphore,
    watch,
};
use tokio::time::Instant;

use crate::answers::{Answer, Answers, Question, Touches};
use crate::engine::{allow, allow_next, is_timed};
use crate::lag;
use crate::view::{View, ViewError};

/// How long a reader waits where nothing else was said, for all views of a request together.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long somebody waits who would walk through many rows, while others do.
const TURN: Duration = Duration::from_secs(5);

/// The tables of one view, to be queried. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    /// How long a reader waits for what was committed before it asked, where it is in a hurry.
    hurry: Option<Duration>,
}

struct Shared {
    view: &'static str,
    journal: Arc<Journal>,
    serving: ArcSwapOption<AnyPool>,
    /// For everybody.
    readers: Fair,
    /// For those who walk through many rows.
    walkers: Fair,
    /// One at a time does the server's own work.
    patient: Arc<Semaphore>,
    /// Held by all who read; see [`Store::without_readers`].
    gate: Arc<RwLock<()>>,
    generation: AtomicU64,
    applied: watch::Sender<Position>,
    /// The furthest position that a reader has waited for.
    wanted: watch::Sender<Position>,
    /// Whether there have ever been tables to answer from.
    served: watch::Sender<bool>,
    /// How many events are not in the tables because they could not be taken in.
    set_aside: watch::Sender<Lacking>,
    /// Where the tables were when a reader in a hurry waited in vain.
    still_at: AtomicU64,
    /// Told when something changed that other nodes have to hear of.
    news: Arc<Notify>,
    touches: Touches,
}

/// What a view's tables lack because it could not be taken in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Counts how often the view was built.
    pub generation: u64,
    /// How many events.
    pub events: u64,
    /// Whether it is this node that feeds the view.
    pub fed_here: bool,
}

/// A connection to a view's tables, and how far they are behind.
pub struct Reading {
    connection: Source,
    /// Given back after the connection.
    _gate: OwnedRwLockReadGuard<()>,
    /// Events that were committed before the reader asked and are not in the tables; 0 unless the
    /// view could not catch up in two seconds.
    pub lag: u64,
    /// Given back after the connection.
    _reader: Turn,
    _walker: Option<Turn>,
    _patient: Option<OwnedSemaphorePermit>,
}

enum Source {
    /// Each statement sees what is there when it begins.
    Statements(PoolConnection<Any>),
    /// All statements see what was there at the first one.
    Moment(Transaction<'static, Any>),
}

impl Store {
    /// There are so many `readers`: half of them may walk through many rows at a time, and one client has
    /// little more than half of them.
    pub(crate) fn new(
        view: &'static str,
        journal: Arc<Journal>,
        news: Arc<Notify>,
        readers: usize,
        answers: Arc<Answers>,
    ) -> Self {
        let half = readers / 2;
        Self {
            shared: Arc::new(Shared {
                view,
                journal,
                serving: ArcSwapOption::empty(),
                readers: Fair::new(readers, readers - half),
                walkers: Fair::new(half.max(1), 1),
                patient: Arc::new(Semaphore::new(1)),
                gate: Arc::default(),
                generation: AtomicU64::new(0),
                applied: watch::Sender::new(Position::START),
                wanted: watch::Sender::new(Position::START),
                served: watch::Sender::new(false),
                set_aside: watch::Sender::default(),
                still_at: AtomicU64::new(u64::MAX),
                news,
                touches: Touches::new(answers),
            }),
            hurry: None,
        }
    }

    /// The same tables for readers who wait so long at most, and not at all where somebody in a hurry
    /// waited in vain and nothing was taken in since.
    #[must_use]
    pub fn hurried(&self, patience: Duration) -> Self {
        Self {
            hurry: Some(patience),
            ..self.clone()
        }
    }

    /// A connection that sees at least what was committed when this was called; after two seconds
    /// of waiting, whatever is there.
    pub async fn read(&self) -> Result<Reading, ViewError> {
        self.connect(async |pool| Ok(Source::Statements(pool.acquire().await?)))
            .await
    }

    /// The same for several statements, which all see the tables as they are at one moment: a page and
    /// its total, for one. Costs some 30 µs more.
    pub async fn moment(&self) -> Result<Reading, ViewError> {
        self.connect(async |pool| Ok(Source::Moment(pool.begin().await?)))
            .await
    }

    /// The same for what may walk through many rows, because no index leads to what is asked for: half
    /// of the view's readers do so at a time, so that whoever asks for a page always finds one. Fails
    /// with [`ViewError::Busy`] after five seconds of waiting for the others.
    pub async fn walk(&self) -> Result<Reading, ViewError> {
        let turn = self.shared.walkers.turn_within(TURN).await?;
        let reading = self.moment().await?;
        Ok(Reading {
            _walker: Some(turn),
            ..reading
        })
    }

    /// The same for the server's own work, whose statements may take as long as they need: no room is so large
    /// that nothing can be erased or pruned in it. One at a time; the others wait.
    pub async fn patient(&self) -> Result<Reading, ViewError> {
        let turn = self.shared.patient.clone().acquire_owned().await;
        let turn = turn.map_err(|_| ViewError::Busy)?;
        let mut reading = self.moment().await?;
        let time = allow(None);
        sqlx::raw_sql(AssertSqlSafe(time))
            .execute(&mut *reading)
            .await?;
        Ok(Reading {
            _patient: Some(turn),
            ..reading
        })
    }

    /// A connection for one statement, which takes so long at most.
    pub(crate) async fn within(&self, time: Duration) -> Result<Reading, ViewError> {
        let open = async |pool: &AnyPool| {
            Ok(if is_timed(pool) {
                Source::Statements(pool.acquire().await?)
            } else {
                Source::Moment(pool.begin().await?)
            })
        };
        let mut reading = self.connect(open).await?;
        let time = match &reading.connection {
            Source::Statements(_) => allow_next(time),
            Source::Moment(_) => allow(Some(time)),
        };
        sqlx::raw_sql(AssertSqlSafe(time))
            .execute(&mut *reading)
            .await?;
        Ok(reading)
    }

    async fn connect(
        &self,
        open: impl AsyncFn(&AnyPool) -> Result<Source, sqlx::Error>,
    ) -> Result<Reading, ViewError> {
        let head = self.caught_up().await;
        let reader = match self.hurry {
            Some(patience) => self.shared.readers.turn_within(patience).await?,
            None => self.shared.readers.turn().await?,
        };
        let gate = self.shared.gate.clone().read_owned();
        let gate = match self.hurry {
            Some(patience) => {
                let gate = tokio::time::timeout(patience, gate).await;
                gate.map_err(|_| ViewError::Busy)?
            }
            None => gate.await,
        };
        loop {
            let lag = head.0.saturating_sub(self.applied().0);
            let Some(pool) = self.shared.serving.load_full() else {
                return Err(ViewError::Building(self.shared.view));
            };
            match open(&pool).await {
                Ok(connection) => {
                    lag::note(lag);
                    return Ok(Reading {
                        connection,
                        _gate: gate,
                        lag,
                        _reader: reader,
                        _walker: None,
                        _patient: None,
                    });
                }
                // Another generation took over in between.
                Err(sqlx::Error::PoolClosed) if !self.serves(&pool) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The position that a reader has to see, once the tables hold it, or it was waited for long enough.
    async fn caught_up(&self) -> Position {
        let head = self.shared.journal.head();
        if self.applied() < head {
            self.catch_up(head).await;
        }
        head
    }

    /// The answer to a question (the query, with all that it depends on but the viewer): one that was kept, if
    /// nothing has touched what it is about, else the one that `read` gives, which is kept then.
    pub(crate) async fn answer<T: Send + Sync + 'static>(
        &self,
        asked: String,
        viewer: &UserId,
        read: impl AsyncFnOnce() -> Result<Answer<T>, ViewError>,
    ) -> Result<Arc<T>, ViewError> {
        let touches = &self.shared.touches;
        let mut question = Question {
            view: self.shared.view,
            asked: asked.into(),
            viewer: None,
        };
        let head = self.caught_up().await;
        let lag = head.0.saturating_sub(self.applied().0);
        if let Some(kept) = touches.kept(&question) {
            lag::note(lag);
            return Ok(kept);
        }
        question.viewer = Some(viewer.clone());
        if let Some(kept) = touches.kept(&question) {
            lag::note(lag);
            return Ok(kept);
        }
        let before = touches.before();
        let answer = read().await?;
        if !answer.own {
            question.viewer = None;
        }
        Ok(touches.keep(question, before, answer))
    }

    /// A batch of events was committed to the tables that answer; to be said before [`Self::advance`].
    pub(crate) fn touched(&self, view: &dyn View, entries: &[Arc<Entry>]) {
        let concerning = entries.iter().filter(|entry| view.concerns(&entry.event));
        self.shared.touches.batch(concerning.map(Arc::as_ref));
    }

    /// Anything may have changed in the tables that answer.
    pub(crate) fn touched_anywhere(&self) {
        self.shared.touches.anything();
    }

    /// Says whether this process feeds the tables that answer.
    pub(crate) fn fed_here(&self, fed_here: bool) {
        self.shared.touches.feed_here(fed_here);
    }

    /// Lets nobody in who would read, waits for those who do, for so long at most, and answers with what keeps
    /// the others out as long as it is there; `None` where some are not done by then, as the server's own work
    /// may not be for long.
    pub(crate) async fn without_readers(
        &self,
        most: Duration,
    ) -> Option<OwnedRwLockWriteGuard<()>> {
        if self.shared.patient.available_permits() == 0 {
            return None;
        }
        let gate = self.shared.gate.clone().write_owned();
        tokio::time::timeout(most, gate).await.ok()
    }

    /// Waits for a position, for a while.
    async fn catch_up(&self, head: Position) {
        let mut applied = self.shared.applied.subscribe();
        self.want(head);
        let caught_up = applied.wait_for(|applied| *applied >= head);
        // Neither giving up nor a projector that is gone keeps the reader from what is there.
        let Some(patience) = self.hurry else {
            let begun = Instant::now();
            let _ = tokio::time::timeout(lag::left_of(PATIENCE), caught_up).await;
            lag::waited(begun.elapsed());
            return;
        };
        let still_at = &self.shared.still_at;
        if still_at.load(Ordering::Relaxed) == self.applied().0 {
            return;
        }
        if tokio::time::timeout(patience, caught_up).await.is_err() {
            still_at.store(self.applied().0, Ordering::Relaxed);
        }
    }

    /// The position of the last event that the serving tables hold.
    pub fn applied(&self) -> Position {
        *self.shared.applied.borrow()
    }

    /// The same, as it changes.
    pub(crate) fn watch_applied(&self) -> watch::Receiver<Position> {
        self.shared.applied.subscribe()
    }

    pub(crate) fn head(&self) -> Position {
        self.shared.journal.head()
    }

    /// Has everything up to a position taken in without waiting for more.
    pub(crate) fn want(&self, position: Position) {
        if raise(&self.shared.wanted, position) {
            self.shared.news.notify_one();
        }
    }

    /// Tells up to where readers wait for the tables.
    pub(crate) fn wanted(&self) -> watch::Receiver<Position> {
        self.shared.wanted.subscribe()
    }

    pub(crate) fn served(&self) -> watch::Receiver<bool> {
        self.shared.served.subscribe()
    }

    pub(crate) fn readers(&self) -> Option<Arc<AnyPool>> {
        self.shared.serving.load_full()
    }

    /// Whether there are tables to answer from.
    pub fn is_serving(&self) -> bool {
        self.shared.serving.load().is_some()
    }

    /// The generation of the tables that answer, or did last.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Relaxed)
    }

    /// What the tables that answer lack.
    pub(crate) fn lacking(&self) -> watch::Receiver<Lacking> {
        self.shared.set_aside.subscribe()
    }

    /// Says how many events the tables that answer lack, and whether this node feeds them.
    pub(crate) fn lacks(&self, events: u64, fed_here: bool) {
        let lacking = Lacking {
            generation: self.generation(),
            events,
            fed_here,
        };
        let changed = self.shared.set_aside.send_if_modified(|before| {
            let changed = *before != lacking;
            *before = lacking;
            changed
        });
        if changed {
            self.shared.news.notify_one();
        }
    }

    fn serves(&self, pool: &Arc<AnyPool>) -> bool {
        self.shared
            .serving
            .load()
            .as_ref()
            .is_some_and(|serving| Arc::ptr_eq(serving, pool))
    }

    /// Answers from these tables from now on; gives back those that answered before.
    pub(crate) fn serve(
        &self,
        tables: AnyPool,
        generation: u64,
        applied: Position,
    ) -> Option<Arc<AnyPool>> {
        self.shared.generation.store(generation, Ordering::Relaxed);
        let before = self.shared.serving.swap(Some(Arc::new(tables)));
        self.touched_anywhere();
        self.place(applied);
        self.shared.served.send_replace(true);
        before
    }

    /// Answers no more until [`Self::serve`].
    pub(crate) fn withdraw(&self) -> Option<Arc<AnyPool>> {
        self.place(Position::START);
        self.lacks(0, false);
        let before = self.shared.serving.swap(None);
        self.touched_anywhere();
        before
    }

    /// Never back.
    pub(crate) fn advance(&self, applied: Position) {
        if raise(&self.shared.applied, applied) {
            self.shared.news.notify_one();
        }
    }

    /// Back as well: a server that lost power may have lost the latest changes of views, too.
    pub(crate) fn place(&self, applied: Position) {
        self.shared.applied.send_replace(applied);
        self.shared.news.notify_one();
    }
}

/// Whether it was lower.
fn raise(to: &watch::Sender<Position>, position: Position) -> bool {
    to.send_if_modified(|before| {
        let further = *before < position;
        if further {
            *before = position;
        }
        further
    })
}

impl Deref for Reading {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        match &self.connection {
            Source::Statements(connection) => connection,
            Source::Moment(transaction) => transaction,
        }
    }
}

impl DerefMut for Reading {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        match &mut self.connection {
            Source::Statements(connection) => connection,
            Source::Moment(transaction) => transaction,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures::FutureExt as _;
    use sqlx::Row as _;
    use tokio::time::timeout;

    use super::*;
    use crate::engine::TIME;
    use crate::messages::MessagesView;
    use crate::sql::{self, Dialect};
    use crate::testing::{ON, Served, on_both_engines};
    use hansard_domain::fair::on_behalf_of;

    /// Never ends, and gives no row meanwhile.
    const ENDLESS: &str = "WITH RECURSIVE number(n) AS ( \
        SELECT 1 UNION ALL SELECT n % 1000 + 1 FROM number) SELECT count(*) FROM number";

    async fn answers(store: &Store) {
        let mut reading = store.read().await.unwrap();
        let one = sql::query("SELECT 1").fetch_one(&mut reading).await;
        assert_eq!(one.unwrap().len(), 1);
    }

    async fn a_statement_that_takes_too_long_is_ended() {
        let served = Served::empty(MessagesView).await;
        let mut reading = served.store.read().await.unwrap();
        let ended = sql::query(ENDLESS).fetch_all(&mut reading).await;
        let error = ViewError::from(ended.err().unwrap());
        assert!(matches!(error, ViewError::TooLong), "{error}");
        let ended = sql::query(ENDLESS).fetch_optional(&mut reading).await;
        assert!(matches!(ended.err().unwrap().into(), ViewError::TooLong));
        let one = sql::query("SELECT 1").fetch_one(&mut reading).await;
        assert_eq!(one.unwrap().len(), 1, "the connection goes on");
        drop(reading);
        answers(&served.store).await;
    }

    async fn a_statement_takes_as_long_as_its_asker_waits() {
        let served = Served::empty(MessagesView).await;
        let short = TIME / 8;
        for _ in 0..3 {
            let mut reading = served.store.within(short).await.unwrap();
            let begun = Instant::now();
            let ended = sql::query(ENDLESS).fetch_all(&mut reading).await;
            assert!(matches!(ended.err().unwrap().into(), ViewError::TooLong));
            let took = begun.elapsed();
            assert!(took < TIME, "it took {took:?}");
            drop(reading);
        }
        // Whoever has the connection next has the usual time, whether it was used or not.
        for _ in 0..3 {
            drop(served.store.within(short).await.unwrap());
        }
        let mut reading = served.store.read().await.unwrap();
        let begun = Instant::now();
        let ended = sql::query(ENDLESS).fetch_all(&mut reading).await;
        assert!(matches!(ended.err().unwrap().into(), ViewError::TooLong));
        assert!(begun.elapsed() > short * 2);
    }

    async fn those_who_walk_leave_readers_to_the_others() {
        let served = Served::empty(MessagesView).await;
        let store = &served.store;
        let walk = |client| on_behalf_of(client, store.walk());
        let mut walking = Vec::new();
        let mut clients = 1..99;
        let soon = Duration::from_millis(500);
        while let Ok(reading) = timeout(soon, walk(clients.next().unwrap())).await {
            walking.push(reading.unwrap());
        }
        assert!(!walking.is_empty());
        let refused = walk(99).await.err().unwrap();
        assert!(matches!(refused, ViewError::Busy), "{refused}");
        on_behalf_of(99, answers(store)).await;
        walking.pop();
        walk(99).await.unwrap();
    }

    async fn one_client_leaves_readers_to_the_others() {
        let served = Served::empty(MessagesView).await;
        let store = &served.store;
        let soon = Duration::from_millis(500);
        let mut taken = Vec::new();
        // It waits for itself.
        while let Ok(reading) = timeout(soon, on_behalf_of(1, store.read())).await {
            taken.push(reading.unwrap());
        }
        assert!(!taken.is_empty());
        on_behalf_of(2, answers(store)).await;
    }

    async fn the_server_s_own_work_takes_as_long_as_it_needs() {
        let served = Served::empty(MessagesView).await;
        let mut reading = served.store.patient().await.unwrap();
        let (mut rows, mut took) = (1_000_000_i64, Duration::ZERO);
        while took < TIME * 5 / 4 {
            let begun = Instant::now();
            let counted = sql::query(
                "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < $1) \
                 SELECT count(*) FROM number",
            );
            let counted = counted.bind(rows).fetch_one(&mut reading).await;
            assert_eq!(counted.unwrap().get::<i64, _>(0), rows);
            took = begun.elapsed();
            rows *= 2;
        }
        drop(reading);
        // Whoever has the connection next has not.
        for _ in 0..3 {
            let mut reading = served.store.read().await.unwrap();
            let ended = sql::query(ENDLESS).fetch_all(&mut reading).await;
            assert!(matches!(ended.err().unwrap().into(), ViewError::TooLong));
        }
    }

    on_both_engines!(
        a_statement_that_takes_too_long_is_ended,
        a_statement_takes_as_long_as_its_asker_waits,
        the_server_s_own_work_takes_as_long_as_it_needs,
        those_who_walk_leave_readers_to_the_others,
        one_client_leaves_readers_to_the_others,
    );

    #[tokio::test]
    async fn a_statement_that_nobody_waits_for_gives_its_reader_back() {
        let test = async {
            let served = Served::empty(MessagesView).await;
            let mut readings = Vec::new();
            for _ in 0..crate::engine::sqlite::READERS {
                readings.push(served.store.moment().await.unwrap());
            }
            for mut reading in readings {
                let begun = sql::query(ENDLESS).fetch_all(&mut reading);
                assert!(begun.boxed().now_or_never().is_none());
            }
            answers(&served.store).await;
        };
        ON.scope(Dialect::Sqlite, test).await;
    }
}
