//! A generation of a view: its tables, and the checkpoint that says what is in them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use hansard_domain::account::AccountEvent;
use hansard_domain::event::{Entry, Event};
use hansard_domain::integration::IntegrationEvent;
use hansard_domain::journal::Journal;
use hansard_domain::log::{Place, Position};
use hansard_domain::message::MessageEvent;
use hansard_domain::room::RoomEvent;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};
use tokio_util::task::AbortOnDropHandle;

use crate::engine::{Engine, Namespace, Purpose};
use crate::gaps::Gaps;
use crate::set_aside::{self, Known};
use crate::sql::{self, Dialect};
use crate::view::{View, ViewError};

/// One row. It moves in the transaction that changes the tables.
const CHECKPOINT: &str = "CREATE TABLE checkpoint (
    version bigint NOT NULL,
    -- The statements that made the tables: a view that forgot to change its version is found out.
    made_by text NOT NULL,
    position bigint NOT NULL,
    -- The term of the node that may write; see `engine::postgres`.
    term bigint NOT NULL DEFAULT 0,
    -- The position at which a rebuild had made the tables.
    finished bigint NOT NULL DEFAULT 0,
    -- A place up to which the log was read: a position, and the id of the event there.
    marked bigint NOT NULL DEFAULT 0,
    marked_by text NOT NULL DEFAULT ''
)";

/// What checkpoints of earlier versions lack.
const MARKS: [&str; 2] = [
    "ALTER TABLE checkpoint ADD COLUMN marked bigint NOT NULL DEFAULT 0",
    "ALTER TABLE checkpoint ADD COLUMN marked_by text NOT NULL DEFAULT ''",
];

/// How many events that do not concern the view may pass before the checkpoint is moved for their
/// sake: what is read again after a crash.
const SKIPPED: u64 = 100_000;

/// See the module. Its connection is the only one that writes.
pub struct Generation {
    view: Arc<dyn View>,
    engine: Engine,
    namespace: Namespace,
    tables: AnyConnection,
    /// In which these tables were opened; another node's fails what this one writes.
    term: Option<i64>,
    /// A transaction that fails leaves nothing behind.
    undoes: bool,
    set_aside: Known,
    /// It is complete, and what it holds was in sight of readers or will be.
    finished: bool,
    /// How far the log was read; its event is not known where nothing was read yet.
    reached: Place,
    /// The position in the checkpoint; behind `reached` by events that changed nothing.
    saved: Position,
    /// Events may have left something to be done.
    unfinished: bool,
    /// Something was erased, and may still stand somewhere.
    unscrubbed: bool,
    /// What was erased up to here is being scrubbed, by the engine's own mark.
    scrubbing: Option<(Position, i64)>,
    /// What is left of it in SQLite's pages.
    gaps: Option<Gaps>,
    /// The part of it that goes on beside the feeding, where it takes long.
    beside: Option<AbortOnDropHandle<Result<(), ViewError>>>,
    /// Everything that was erased up to here is gone.
    scrubbed: Position,
}

impl Generation {
    /// Makes empty tables without indexes, to be filled and then [finished](Self::finish).
    pub async fn create(
        engine: &Engine,
        view: Arc<dyn View>,
        generation: u64,
    ) -> Result<Self, ViewError> {
        let namespace = Namespace {
            view: view.name().to_owned(),
            generation,
        };
        engine.remove(&namespace).await?;
        let mut tables = engine.connect(&namespace, Purpose::Build).await?;
        let dialect = engine.dialect();
        let term = engine.term();
        for schema in [
            dialect.adapt(CHECKPOINT),
            dialect.adapt(set_aside::TABLE),
            dialect.adapt(view.schema()),
            view.own_schema(dialect).into(),
        ] {
            tables
                .execute(sqlx::raw_sql(AssertSqlSafe(schema.into_owned())))
                .await?;
        }
        sql::query(
            "INSERT INTO checkpoint (version, made_by, position, term) VALUES ($1, $2, 0, $3)",
        )
        .bind(i64::from(view.version()))
        .bind(made_by(&*view, dialect))
        .bind(term.unwrap_or_default())
        .execute(&mut tables)
        .await?;
        Ok(Self {
            view,
            engine: engine.clone(),
            namespace,
            tables,
            term,
            undoes: dialect == Dialect::Postgres,
            set_aside: Known::default(),
            finished: false,
            reached: Place::default(),
            saved: Position::START,
            unfinished: false,
            unscrubbed: false,
            scrubbing: None,
            gaps: None,
            beside: None,
            scrubbed: Position::START,
        })
    }

    /// Begins to build anew, with transactions that can be undone: so it is found out which event it is
    /// that can't be taken in.
    pub async fn begin_again(self) -> Result<Self, ViewError> {
        let (engine, view) = (self.engine.clone(), self.view.clone());
        let number = self.namespace.generation;
        self.discard().await?;
        let mut again = Self::create(&engine, view, number).await?;
        engine.undo(&mut again.tables).await?;
        again.undoes = true;
        Ok(again)
    }

    /// Opens tables that are complete; `None` if another version of the view made them. Fails if they
    /// were made from another log.
    pub async fn open(
        engine: &Engine,
        journal: &Journal,
        view: Arc<dyn View>,
        generation: u64,
    ) -> Result<Option<Self>, ViewError> {
        let namespace = Namespace {
            view: view.name().to_owned(),
            generation,
        };
        let mut tables = engine.connect(&namespace, Purpose::Feed).await?;
        let term = engine.term();
        if let Some(term) = term {
            // Waits for a transaction that is being committed; one that comes to it later fails.
            let ours = sql::query("UPDATE checkpoint SET term = $1 WHERE term <= $1")
                .bind(term)
                .execute(&mut tables)
                .await?;
            if ours.rows_affected() == 0 {
                return Err(ViewError::Elsewhere);
            }
        }
        let checkpoint = sql::query("SELECT * FROM checkpoint")
            .fetch_one(&mut tables)
            .await?;
        let position = Position(checkpoint.try_get::<i64, _>("position")? as u64);
        if checkpoint.try_get::<i64, _>("version")? != i64::from(view.version())
            || checkpoint.try_get::<String, _>("made_by")? != made_by(&*view, engine.dialect())
        {
            tables.close().await?;
            return Ok(None);
        }
        let read = Place {
            position,
            event: None,
        };
        let marked = mark(&mut tables, &checkpoint).await?;
        if !(has(journal, read).await && has(journal, marked).await) {
            tables.close().await?;
            return Err(ViewError::Foreign);
        }
        let finished = Position(checkpoint.try_get::<i64, _>("finished")? as u64);
        let set_aside = Known::of(&mut tables, finished).await?;
        Ok(Some(Self {
            view,
            engine: engine.clone(),
            namespace,
            tables,
            term,
            undoes: true,
            set_aside,
            finished: true,
            reached: read,
            saved: position,
            // Where the process ended before it was done, it still is to be.
            unfinished: true,
            // Whether the process that erased something lived to scrub it is not known.
            unscrubbed: true,
            scrubbing: None,
            gaps: None,
            beside: None,
            scrubbed: Position::START,
        }))
    }

    pub fn view(&self) -> &'static str {
        self.view.name()
    }

    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub fn position(&self) -> Position {
        self.reached.position
    }

    pub fn unscrubbed(&self) -> bool {
        self.unscrubbed || self.scrubbing.is_some()
    }

    /// Everything that was erased up to here is gone.
    pub fn scrubbed(&self) -> Position {
        let scrubbed = if self.unscrubbed() {
            self.scrubbed
        } else {
            self.reached.position
        };
        match self.set_aside.erasing {
            Some(erasing) => scrubbed.min(Position(erasing.0 - 1)),
            None => scrubbed,
        }
    }

    /// Whether events may have left something to be done by [`Self::go_on`].
    pub fn unfinished(&self) -> bool {
        self.unfinished
    }

    /// How many events could not be taken in.
    pub fn set_aside(&self) -> u64 {
        self.set_aside.count
    }

    /// Whether a batch that failed leaves nothing behind; if not, the tables have to be discarded.
    pub fn undoes(&self) -> bool {
        self.undoes
    }

    /// Changes the tables and the checkpoint together. An event that can't be taken in is set aside,
    /// where what failed can be undone. After an error nothing is changed in tables that can undo.
    pub async fn apply(&mut self, entries: &[Arc<Entry>]) -> Result<(), ViewError> {
        match self.take(entries).await {
            Err(error) if self.undoes && error.lies_in_an_event() => self.sift(entries).await,
            outcome => outcome,
        }
    }

    /// Takes in all but those that can't be: halves what fails until the event is found, each part in
    /// a transaction of its own.
    async fn sift(&mut self, entries: &[Arc<Entry>]) -> Result<(), ViewError> {
        let mut parts = vec![entries];
        while let Some(part) = parts.pop() {
            match self.take(part).await {
                Ok(()) => {}
                Err(error) if error.lies_in_an_event() => match part {
                    [entry] => self.leave_out(entry, &error).await?,
                    _ => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                },
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn leave_out(&mut self, entry: &Entry, reason: &ViewError) -> Result<(), ViewError> {
        let name = self.view.name();
        let erases = erases(&entry.event);
        let mut transaction = self.tables.begin().await?;
        set_aside::enter(&mut transaction, entry, reason, erases).await?;
        move_checkpoint(&mut transaction, self.term, self.saved, place(entry)).await?;
        transaction.commit().await?;
        tracing::error!(
            view = name,
            position = entry.position.0,
            event = entry.event.kind(),
            %reason,
            "a view can't take an event in, and goes on without it"
        );
        self.reached = place(entry);
        self.saved = entry.position;
        self.set_aside.count += 1;
        if erases && self.finished {
            self.set_aside.erasing.get_or_insert(entry.position);
        }
        Ok(())
    }

    async fn take(&mut self, entries: &[Arc<Entry>]) -> Result<(), ViewError> {
        let Some(last) = entries.last().map(|entry| place(entry)) else {
            return Ok(());
        };
        let concerning: Vec<_> = entries
            .iter()
            .filter(|entry| self.view.concerns(&entry.event))
            .cloned()
            .collect();
        if concerning.is_empty() && last.position.0 - self.saved.0 < SKIPPED {
            self.reached = last;
            return Ok(());
        }
        let mut transaction = self.tables.begin().await?;
        if !concerning.is_empty() {
            // What it had in hand is dropped, and the transaction is undone.
            AssertUnwindSafe(self.view.apply(&mut transaction, &concerning))
                .catch_unwind()
                .await
                .unwrap_or(Err(ViewError::Panicked))?;
        }
        move_checkpoint(&mut transaction, self.term, self.saved, last).await?;
        transaction.commit().await?;
        self.reached = last;
        self.saved = last.position;
        self.unscrubbed |= concerning.iter().any(|entry| erases(&entry.event));
        let deferring = concerning
            .iter()
            .any(|entry| self.view.defers(&entry.event));
        self.unfinished |= deferring;
        Ok(())
    }

    /// Does a part of what events have left to be done; [`Self::unfinished`] tells whether there is more.
    pub async fn go_on(&mut self) -> Result<(), ViewError> {
        let mut transaction = self.tables.begin().await?;
        let gone_on = AssertUnwindSafe(self.view.go_on(&mut transaction))
            .catch_unwind()
            .await
            .unwrap_or(Err(ViewError::Panicked));
        match gone_on {
            Ok(more) => {
                keep_checkpoint(&mut transaction, self.term, self.saved).await?;
                transaction.commit().await?;
                self.unfinished = more;
            }
            // Trying again at once would help as little as another database would.
            Err(error) if error.lies_in_an_event() => {
                transaction.rollback().await?;
                let view = self.view.name();
                tracing::error!(view, %error, "a view can't do what events have left to be done");
                self.unfinished = false;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Does what events have left to be done, adds the indexes and makes what was built durable.
    pub async fn finish(&mut self) -> Result<(), ViewError> {
        while self.unfinished {
            self.go_on().await?;
        }
        self.tables
            .execute(sqlx::raw_sql(self.view.indexes()))
            .await?;
        sql::query("UPDATE checkpoint SET finished = $1")
            .bind(self.reached.position.0 as i64)
            .execute(&mut self.tables)
            .await?;
        self.engine
            .settle(&mut self.tables, &self.namespace)
            .await?;
        // Built without a write-ahead log: there is nothing to scrub.
        self.unscrubbed = false;
        self.undoes = true;
        self.finished = true;
        Ok(())
    }

    /// Sees to it that what was erased stands nowhere in the tables any more. Does nothing while a
    /// reader is in the way, and may have to be called again until it is done; [`Self::unscrubbed`]
    /// tells.
    pub async fn scrub(&mut self) -> Result<(), ViewError> {
        let (position, mark) = match self.scrubbing {
            Some(begun) => begun,
            None if self.unscrubbed => (
                self.reached.position,
                self.engine.mark(&mut self.tables).await?,
            ),
            None => return Ok(()),
        };
        if self.scrubbing.is_none() {
            self.scrubbing = Some((position, mark));
            self.unscrubbed = false;
        }
        if self.beside.is_none() && self.engine.scrub(&mut self.tables, mark).await? {
            let (engine, namespace) = (self.engine.clone(), self.namespace.clone());
            match engine {
                Engine::Sqlite(files) => {
                    let (tables, gaps) = (&mut self.tables, &mut self.gaps);
                    if files.overwrite_gaps(tables, &namespace, gaps).await? {
                        self.end_scrubbing(position);
                    }
                }
                Engine::Postgres(database) => {
                    let rest = async move { database.vacuum(&namespace).await };
                    self.beside = Some(AbortOnDropHandle::new(tokio::spawn(rest)));
                }
            }
        }
        if let Some(rest) = self.beside.take_if(|rest| rest.is_finished()) {
            rest.await
                .map_err(|error| ViewError::Unavailable(error.to_string()))??;
            self.end_scrubbing(position);
        }
        Ok(())
    }

    /// Gives back what the tables take beside themselves for what was written lately. `false` while a reader
    /// is in the way.
    pub async fn cut_back(&mut self) -> Result<bool, ViewError> {
        self.engine.cut_back(&mut self.tables).await
    }

    /// How many bytes its write-ahead log has, where it is one of its own.
    pub fn written_ahead(&self) -> u64 {
        self.engine.written_ahead(&self.namespace)
    }

    fn end_scrubbing(&mut self, position: Position) {
        self.scrubbed = position;
        self.scrubbing = None;
    }

    /// Fails if the tables are damaged. Reads all of them: a second or two for a million messages.
    pub async fn check(&mut self) -> Result<(), ViewError> {
        self.engine.check(&mut self.tables).await
    }

    /// Closes the tables, keeping them.
    pub async fn close(mut self) -> Result<(), ViewError> {
        drop(self.beside.take());
        if self.saved < self.reached.position {
            move_checkpoint(&mut self.tables, self.term, self.saved, self.reached).await?;
        }
        Ok(self.tables.close().await?)
    }

    /// Closes the tables and deletes them.
    pub async fn discard(mut self) -> Result<(), ViewError> {
        drop(self.beside.take());
        // They are about to be deleted: an error in closing them changes nothing.
        let _ = self.tables.close().await;
        self.engine.remove(&self.namespace).await
    }
}

fn place(entry: &Entry) -> Place {
    Place {
        position: entry.position,
        event: Some(entry.id),
    }
}

/// The place that a checkpoint names; makes room for one in a checkpoint of an earlier version.
async fn mark(tables: &mut AnyConnection, checkpoint: &AnyRow) -> Result<Place, ViewError> {
    let Ok(event) = checkpoint.try_get::<String, _>("marked_by") else {
        for column in MARKS {
            tables.execute(column).await?;
        }
        return Ok(Place::default());
    };
    Ok(Place {
        position: Position(checkpoint.try_get::<i64, _>("marked")? as u64),
        event: event.parse().ok(),
    })
}

/// Whether a place is of this log.
async fn has(journal: &Journal, place: Place) -> bool {
    journal.has(place).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "whether a view is of this log is not known");
        true
    })
}

/// Fails where another node feeds the view by now, or has fed it since.
async fn move_checkpoint(
    tables: &mut AnyConnection,
    term: Option<i64>,
    from: Position,
    to: Place,
) -> Result<(), ViewError> {
    let event = to.event.map(|id| id.to_string()).unwrap_or_default();
    let Some(term) = term else {
        sql::query("UPDATE checkpoint SET position = $1, marked = $1, marked_by = $2")
            .bind(to.position.0 as i64)
            .bind(event)
            .execute(tables)
            .await?;
        return Ok(());
    };
    let moved = sql::query(
        "UPDATE checkpoint SET position = $1, marked = $1, marked_by = $2 \
         WHERE term = $3 AND position = $4",
    )
    .bind(to.position.0 as i64)
    .bind(event)
    .bind(term)
    .bind(from.0 as i64)
    .execute(tables)
    .await?;
    if moved.rows_affected() == 1 {
        Ok(())
    } else {
        Err(ViewError::Elsewhere)
    }
}

/// Fails once another node feeds the tables.
async fn keep_checkpoint(
    tables: &mut AnyConnection,
    term: Option<i64>,
    at: Position,
) -> Result<(), ViewError> {
    let Some(term) = term else {
        return Ok(());
    };
    let kept =
        sql::query("UPDATE checkpoint SET position = position WHERE term = $1 AND position = $2")
            .bind(term)
            .bind(at.0 as i64)
            .execute(tables)
            .await?;
    if kept.rows_affected() == 1 {
        Ok(())
    } else {
        Err(ViewError::Elsewhere)
    }
}

fn made_by(view: &dyn View, dialect: Dialect) -> String {
    let own = view.own_schema(dialect);
    let (schema, indexes) = (view.schema(), view.indexes());
    format!("{}\n{schema}{own}\n{indexes}", set_aside::TABLE)
}

/// Whether an event takes out of the record what stood in it in the clear.
pub(crate) fn erases(event: &Event) -> bool {
    match event {
        Event::Room(event) => {
            matches!(
                event,
                RoomEvent::ChannelPruned { .. } | RoomEvent::RoomDeleted { .. }
            )
        }
        Event::Message(event) => {
            matches!(
                event,
                MessageEvent::MessageDeleted {
                    erased: Some(_),
                    ..
                }
            )
        }
        Event::Account(event) => matches!(event, AccountEvent::UserDeleted { .. }),
        Event::Integration(event) => matches!(event, IntegrationEvent::IntegrationRemoved { .. }),
        _ => false,
    }
}
