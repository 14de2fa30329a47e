//! Connections to SQLite whose statements have [`TIME`] each. One that takes longer is interrupted, and
//! so is one that nobody waits for any more: a reader is soon there for the next who asks.
//!
//! `Any` connects to what a driver names, and a driver names a [`Database`]; so this is one. It is only
//! ever spoken to through `Any`, which speaks to SQLite's own connection: of rows, columns, values and
//! prepared statements of its own there are none.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::{self, BoxFuture};
use futures::stream::{self, BoxStream, StreamExt as _};
use log::LevelFilter;
use sqlx::any::{
    AnyArguments, AnyConnectOptions, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Database, Either, Error, SqlStr, Transaction};
use sqlx_core::any::AnyConnectionBackend;
use sqlx_core::any::driver::AnyDriver;
use sqlx_core::column::ColumnIndex;
use sqlx_core::transaction::TransactionManager;
use sqlx_core::url::Url;

use super::{SET_TIME, SET_TIME_OF_NEXT, TIME};

/// What URLs of such connections begin with, instead of `sqlite`.
pub const SCHEME: &str = "sqlite-timed";

pub const DRIVER: AnyDriver = AnyDriver::without_migrate::<TimedSqlite>();

/// After how many steps of SQLite's machine it is looked whether the time is over: a fraction of a
/// millisecond.
const STEPS: i32 = 4_000;

/// See the module.
#[derive(Debug)]
pub struct TimedSqlite;

/// A connection.
#[derive(Debug)]
pub struct Timed {
    connection: SqliteConnection,
    time: Arc<Time>,
    #[cfg(test)]
    options: SqliteConnectOptions,
}

impl Timed {
    /// Tests look at the plan of what they ask.
    #[cfg_attr(not(test), allow(clippy::unused_self))]
    fn look_at(&self, statement: &SqlStr) {
        #[cfg(test)]
        super::plans::check(&self.options, statement.as_str());
        let _ = statement;
    }
}

/// The time that the statement has which is going on.
#[derive(Debug)]
struct Time {
    since: Instant,
    /// In milliseconds since then.
    until: AtomicU64,
    /// How many milliseconds a statement of the transaction has.
    allowed: AtomicU64,
    /// How many the next statement has; 0 where that is not said.
    next: AtomicU64,
}

/// What a statement has where nothing else was said.
fn usual() -> u64 {
    u64::try_from(TIME.as_millis()).unwrap_or(u64::MAX)
}

impl Time {
    fn allow(&self, milliseconds: u64) {
        self.allowed.store(milliseconds, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_over(&self) -> bool {
        self.now() >= self.until.load(Ordering::Relaxed)
    }

    /// Begins the time of a statement.
    fn begin(self: &Arc<Self>) -> Running {
        let time = match self.next.swap(0, Ordering::Relaxed) {
            0 => self.allowed.load(Ordering::Relaxed),
            next => next,
        };
        self.until
            .store(self.now().saturating_add(time), Ordering::Relaxed);
        Running(Some(self.clone()))
    }
}

/// A statement that somebody waits for. Where this is dropped before it has ended, its time is over.
struct Running(Option<Arc<Time>>);

impl Running {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(time) = &self.0 {
            time.until.store(0, Ordering::Relaxed);
        }
    }
}

/// Where such a connection leads.
#[derive(Debug, Clone)]
pub struct Options(SqliteConnectOptions);

impl FromStr for Options {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        Ok(Self(url.replacen(SCHEME, "sqlite", 1).parse()?))
    }
}

impl TryFrom<&AnyConnectOptions> for Options {
    type Error = Error;

    fn try_from(options: &AnyConnectOptions) -> Result<Self, Error> {
        let settings = &options.log_settings;
        let parsed: Self = options.database_url.as_str().parse()?;
        Ok(parsed
            .log_statements(settings.statements_level)
            .log_slow_statements(
                settings.slow_statements_level,
                settings.slow_statements_duration,
            ))
    }
}

impl ConnectOptions for Options {
    type Connection = Timed;

    fn from_url(url: &Url) -> Result<Self, Error> {
        url.as_str().parse()
    }

    fn to_url_lossy(&self) -> Url {
        self.0.to_url_lossy()
    }

    async fn connect(&self) -> Result<Timed, Error> {
        let mut connection = self.0.connect().await?;
        let time = Arc::new(Time {
            since: Instant::now(),
            until: AtomicU64::new(u64::MAX),
            allowed: AtomicU64::new(usual()),
            next: AtomicU64::new(0),
        });
        let asked = time.clone();
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(STEPS, move || !asked.is_over());
        drop(handle);
        Ok(Timed {
            connection,
            time,
            #[cfg(test)]
            options: self.0.clone(),
        })
    }

    fn log_statements(self, level: LevelFilter) -> Self {
        Self(self.0.log_statements(level))
    }

    fn log_slow_statements(self, level: LevelFilter, duration: Duration) -> Self {
        Self(self.0.log_slow_statements(level, duration))
    }
}

/// The next row, and what the one after it is to be got from.
async fn next<T>(
    (mut rows, running): (BoxStream<'_, T>, Running),
) -> Option<(T, (BoxStream<'_, T>, Running))> {
    match rows.next().await {
        Some(row) => Some((row, (rows, running))),
        None => {
            running.end();
            None
        }
    }
}

impl AnyConnectionBackend for Timed {
    fn name(&self) -> &str {
        AnyConnectionBackend::name(&self.connection)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(Connection::close(self.connection))
    }

    fn close_hard(self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(Connection::close_hard(self.connection))
    }

    /// The pool does so with each connection that it gets back. A connection to a local file does not go stale, and
    /// to ask takes a turn of its thread: only that a transaction is over is waited for.
    fn ping(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        self.time.next.store(0, Ordering::Relaxed);
        match self.get_transaction_depth() {
            0 => Box::pin(future::ready(Ok(()))),
            _ => AnyConnectionBackend::ping(&mut self.connection),
        }
    }

    fn begin(&mut self, statement: Option<SqlStr>) -> BoxFuture<'_, Result<(), Error>> {
        AnyConnectionBackend::begin(&mut self.connection, statement)
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        self.time.allow(usual());
        AnyConnectionBackend::commit(&mut self.connection)
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        self.time.allow(usual());
        AnyConnectionBackend::rollback(&mut self.connection)
    }

    fn start_rollback(&mut self) {
        self.time.allow(usual());
        AnyConnectionBackend::start_rollback(&mut self.connection);
    }

    fn get_transaction_depth(&self) -> usize {
        AnyConnectionBackend::get_transaction_depth(&self.connection)
    }

    fn shrink_buffers(&mut self) {
        AnyConnectionBackend::shrink_buffers(&mut self.connection);
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        AnyConnectionBackend::flush(&mut self.connection)
    }

    fn should_flush(&self) -> bool {
        AnyConnectionBackend::should_flush(&self.connection)
    }

    fn fetch_many(
        &mut self,
        query: SqlStr,
        persistent: bool,
        arguments: Option<AnyArguments>,
    ) -> BoxStream<'_, Result<Either<AnyQueryResult, AnyRow>, Error>> {
        if let Some(time) = query.as_str().strip_prefix(SET_TIME) {
            self.time.allow(match time.parse() {
                Ok(0) => u64::MAX,
                Ok(time) => time,
                Err(_) => usual(),
            });
            return Box::pin(stream::empty());
        }
        if let Some(time) = query.as_str().strip_prefix(SET_TIME_OF_NEXT) {
            let time = time.parse().unwrap_or_else(|_| usual());
            self.time.next.store(time, Ordering::Relaxed);
            return Box::pin(stream::empty());
        }
        self.look_at(&query);
        let running = self.time.begin();
        let connection = &mut self.connection;
        let rows = AnyConnectionBackend::fetch_many(connection, query, persistent, arguments);
        Box::pin(stream::unfold((rows, running), next))
    }

    fn fetch_optional(
        &mut self,
        query: SqlStr,
        persistent: bool,
        arguments: Option<AnyArguments>,
    ) -> BoxFuture<'_, Result<Option<AnyRow>, Error>> {
        self.look_at(&query);
        let running = self.time.begin();
        let connection = &mut self.connection;
        let row = AnyConnectionBackend::fetch_optional(connection, query, persistent, arguments);
        Box::pin(async move {
            let row = row.await;
            running.end();
            row
        })
    }

    fn prepare_with<'c, 'q: 'c>(
        &'c mut self,
        sql: SqlStr,
        parameters: &[AnyTypeInfo],
    ) -> BoxFuture<'c, Result<AnyStatement, Error>> {
        AnyConnectionBackend::prepare_with(&mut self.connection, sql, parameters)
    }
}

impl Connection for Timed {
    type Database = TimedSqlite;
    type Options = Options;

    fn close(self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        Connection::close(self.connection)
    }

    fn close_hard(self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        Connection::close_hard(self.connection)
    }

    fn ping(&mut self) -> impl Future<Output = Result<(), Error>> + Send + '_ {
        Connection::ping(&mut self.connection)
    }

    fn begin(
        &mut self,
    ) -> impl Future<Output = Result<Transaction<'_, TimedSqlite>, Error>> + Send + '_ {
        Transaction::begin(self, None)
    }

    fn shrink_buffers(&mut self) {
        Connection::shrink_buffers(&mut self.connection);
    }

    fn flush(&mut self) -> impl Future<Output = Result<(), Error>> + Send + '_ {
        Connection::flush(&mut self.connection)
    }

    fn should_flush(&self) -> bool {
        Connection::should_flush(&self.connection)
    }
}

impl Database for TimedSqlite {
    type Connection = Timed;
    type TransactionManager = Self;
    type Row = Nothing;
    type QueryResult = ();
    type Column = Nothing;
    type TypeInfo = Nothing;
    type Value = Nothing;
    type ValueRef<'r> = Nothing;
    type Arguments = NoArguments;
    type ArgumentBuffer = ();
    type Statement = Nothing;

    const NAME: &'static str = "SQLite";
    const URL_SCHEMES: &'static [&'static str] = &[SCHEME];
}

impl TransactionManager for TimedSqlite {
    type Database = Self;

    fn begin(
        connection: &mut Timed,
        statement: Option<SqlStr>,
    ) -> impl Future<Output = Result<(), Error>> + Send + '_ {
        AnyConnectionBackend::begin(connection, statement)
    }

    fn commit(connection: &mut Timed) -> impl Future<Output = Result<(), Error>> + Send + '_ {
        AnyConnectionBackend::commit(connection)
    }

    fn rollback(connection: &mut Timed) -> impl Future<Output = Result<(), Error>> + Send + '_ {
        AnyConnectionBackend::rollback(connection)
    }

    fn start_rollback(connection: &mut Timed) {
        AnyConnectionBackend::start_rollback(connection);
    }

    fn get_transaction_depth(connection: &Timed) -> usize {
        AnyConnectionBackend::get_transaction_depth(connection)
    }
}

/// What there is none of; see the module.
#[derive(Debug, Clone, PartialEq)]
pub enum Nothing {}

impl fmt::Display for Nothing {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl sqlx::Row for Nothing {
    type Database = TimedSqlite;

    fn columns(&self) -> &[Nothing] {
        match *self {}
    }

    fn try_get_raw<I: ColumnIndex<Self>>(&self, _: I) -> Result<Nothing, Error> {
        match *self {}
    }
}

impl sqlx::Column for Nothing {
    type Database = TimedSqlite;

    fn ordinal(&self) -> usize {
        match *self {}
    }

    fn name(&self) -> &str {
        match *self {}
    }

    fn type_info(&self) -> &Nothing {
        match *self {}
    }
}

impl sqlx::TypeInfo for Nothing {
    fn is_null(&self) -> bool {
        match *self {}
    }

    fn name(&self) -> &str {
        match *self {}
    }
}

impl sqlx::Value for Nothing {
    type Database = TimedSqlite;

    fn as_ref(&self) -> Nothing {
        match *self {}
    }

    fn type_info(&self) -> Cow<'_, Nothing> {
        match *self {}
    }

    fn is_null(&self) -> bool {
        match *self {}
    }
}

impl sqlx::ValueRef<'_> for Nothing {
    type Database = TimedSqlite;

    fn to_owned(&self) -> Nothing {
        match *self {}
    }

    fn type_info(&self) -> Cow<'_, Nothing> {
        match *self {}
    }

    fn is_null(&self) -> bool {
        match *self {}
    }
}

impl sqlx::Statement for Nothing {
    type Database = TimedSqlite;

    fn into_sql(self) -> SqlStr {
        match self {}
    }

    fn sql(&self) -> &SqlStr {
        match *self {}
    }

    fn parameters(&self) -> Option<Either<&[Nothing], usize>> {
        match *self {}
    }

    fn columns(&self) -> &[Nothing] {
        match *self {}
    }

    sqlx_core::impl_statement_query!(NoArguments);
}

/// What a statement of none is given.
#[derive(Debug, Default)]
pub struct NoArguments;

impl sqlx::Arguments for NoArguments {
    type Database = TimedSqlite;

    fn reserve(&mut self, _: usize, _: usize) {}

    fn add<'t, T>(&mut self, _: T) -> Result<(), sqlx::error::BoxDynError>
    where
        T: sqlx::Encode<'t, TimedSqlite> + sqlx::Type<TimedSqlite>,
    {
        Err("only Any speaks to this database".into())
    }

    fn len(&self) -> usize {
        0
    }
}
