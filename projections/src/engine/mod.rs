//! Where generations of views are kept: in [SQLite](sqlite) files of one directory, or in
//! [PostgreSQL](postgres), where several nodes share them. All that is an engine's own stands here.

#[cfg(test)]
mod plans;
pub mod postgres;
pub mod sqlite;
mod timed;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use sqlx::{AnyConnection, AnyPool};

use self::postgres::Database;
use self::sqlite::Files;
use crate::sql::Dialect;
use crate::view::ViewError;

/// How long one statement of a query may take.
pub const TIME: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 5 });

/// How the statement begins that says how long those after it in a transaction may take, in milliseconds; 0
/// is as long as they need. It is PostgreSQL's; a [timed](timed) connection to SQLite knows it by its text.
const SET_TIME: &str = "SET LOCAL statement_timeout = ";

/// The same for the next statement alone, which needs no transaction: one costs two more turns of the thread that
/// a connection to SQLite has. A [timed](timed) connection knows it; PostgreSQL has nothing like it.
const SET_TIME_OF_NEXT: &str = "SET NEXT statement_timeout = ";

/// Whether connections of a pool are [timed](timed).
pub fn is_timed(pool: &AnyPool) -> bool {
    pool.connect_options().database_url.scheme() == timed::SCHEME
}

/// What lets the next statement on a timed connection take so long.
pub fn allow_next(time: Duration) -> String {
    format!("{SET_TIME_OF_NEXT}{}", time.as_millis().max(1))
}

/// The statement that lets those after it in a transaction take so long, or as long as they need.
pub fn allow(time: Option<Duration>) -> String {
    format!("{SET_TIME}{}", time.map_or(0, |time| time.as_millis()))
}

/// Connects `Any` to the databases that views are kept in. Does nothing when it was done before.
pub(crate) fn install_drivers() {
    static DRIVERS: Once = Once::new();
    DRIVERS.call_once(|| {
        let drivers = &[
            sqlx::sqlite::any::DRIVER,
            timed::DRIVER,
            sqlx::postgres::any::DRIVER,
        ];
        if let Err(error) = sqlx::any::install_drivers(drivers) {
            tracing::error!(%error, "views can't be connected to");
        }
    });
}

/// Where views are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// SQLite files in a directory, which is made if it is missing. For one node alone.
    Directory(PathBuf),
    /// A PostgreSQL database; see [`postgres`] for the URL's options.
    Postgres(String),
}

impl Location {
    /// A URL that begins with `postgres://` or `postgresql://`, or else a directory.
    pub fn parse(text: &str) -> Self {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Self::Postgres(text.to_owned())
        } else {
            Self::Directory(text.into())
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.fmt(f),
            // The URL may hold a password.
            Self::Postgres(_) => f.write_str("PostgreSQL"),
        }
    }
}

impl<P: AsRef<Path>> From<P> for Location {
    fn from(directory: P) -> Self {
        Self::Directory(directory.as_ref().to_owned())
    }
}

/// One set of tables: a view as one of its generations holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace {
    pub view: String,
    pub generation: u64,
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.view, self.generation)
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Makes a generation that counts for nothing until it is complete.
    Build,
    /// Changes tables that are being read.
    Feed,
    /// Answers queries.
    Query,
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Engine {
    Sqlite(Files),
    Postgres(Database),
}

impl Engine {
    pub async fn open(location: &Location) -> Result<Self, ViewError> {
        install_drivers();
        Ok(match location {
            Location::Directory(directory) => Self::Sqlite(Files::at(directory)?),
            Location::Postgres(url) => Self::Postgres(Database::open(url).await?),
        })
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// A connection of its own. Only one that builds makes tables that are missing.
    pub async fn connect(
        &self,
        namespace: &Namespace,
        purpose: Purpose,
    ) -> Result<AnyConnection, ViewError> {
        match self {
            Self::Sqlite(files) => files.connect(namespace, purpose).await,
            Self::Postgres(database) => database.connect(namespace, purpose).await,
        }
    }

    /// Has a connection that builds undo what fails: slower, and without it the tables of a build are
    /// lost with the first transaction that fails.
    pub async fn undo(&self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        match self {
            Self::Sqlite(files) => files.undo(tables).await,
            Self::Postgres(_) => Ok(()),
        }
    }

    /// The tables that say which generations serve. What they are told lasts.
    pub async fn catalog(&self) -> Result<AnyConnection, ViewError> {
        match self {
            Self::Sqlite(files) => files.catalog().await,
            Self::Postgres(database) => database.catalog().await,
        }
    }

    /// Connections that answer queries, opened when they are needed.
    pub fn readers(&self, namespace: &Namespace) -> Result<AnyPool, ViewError> {
        match self {
            Self::Sqlite(files) => files.readers(namespace),
            Self::Postgres(database) => database.readers(namespace),
        }
    }

    /// How many of them a view has.
    pub(crate) fn reader_count(&self) -> usize {
        let readers = match self {
            Self::Sqlite(_) => sqlite::READERS,
            Self::Postgres(database) => database.reader_count(),
        };
        readers as usize
    }

    /// Takes tables that a building connection has filled into use: complete and, once the catalog
    /// names them, durable.
    pub async fn settle(
        &self,
        tables: &mut AnyConnection,
        namespace: &Namespace,
    ) -> Result<(), ViewError> {
        match self {
            Self::Sqlite(files) => files.settle(tables, namespace).await,
            Self::Postgres(database) => database.settle(tables, namespace).await,
        }
    }

    /// Tells apart what has been deleted by now from what will be.
    pub async fn mark(&self, tables: &mut AnyConnection) -> Result<i64, ViewError> {
        match self {
            Self::Sqlite(_) => Ok(0),
            Self::Postgres(database) => database.mark(tables).await,
        }
    }

    /// Leaves what was deleted up to a mark nowhere that the engine has in its hands, or tells that
    /// [`Database::vacuum`] can do so. `false` while a reader is in the way.
    pub async fn scrub(&self, tables: &mut AnyConnection, mark: i64) -> Result<bool, ViewError> {
        match self {
            Self::Sqlite(files) => files.scrub(tables).await,
            Self::Postgres(database) => database.scrub(tables, mark).await,
        }
    }

    /// Empties the write-ahead log, where it is one of the tables' own. `false` while a reader is in the way.
    pub async fn cut_back(&self, tables: &mut AnyConnection) -> Result<bool, ViewError> {
        match self {
            Self::Sqlite(files) => files.scrub(tables).await,
            Self::Postgres(_) => Ok(true),
        }
    }

    /// How many bytes the write-ahead log has, where it is one of the tables' own.
    pub fn written_ahead(&self, namespace: &Namespace) -> u64 {
        match self {
            Self::Sqlite(files) => files.written_ahead(namespace),
            Self::Postgres(_) => 0,
        }
    }

    /// Fails with [`ViewError::Damaged`] if the tables make no sense, as far as the engine can tell.
    pub async fn check(&self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        match self {
            Self::Sqlite(files) => files.check(tables).await,
            Self::Postgres(database) => database.check(tables).await,
        }
    }

    /// The tables with their kinds: `table`, `view`, `virtual`, or `shadow` for those behind a virtual one.
    pub async fn tables(
        &self,
        tables: &mut AnyConnection,
    ) -> Result<Vec<(String, String)>, ViewError> {
        match self {
            Self::Sqlite(files) => files.tables(tables).await,
            Self::Postgres(database) => database.tables(tables).await,
        }
    }

    /// Every row of a table, as literals of SQL: the same on either engine.
    pub async fn rows(
        &self,
        tables: &mut AnyConnection,
        table: &str,
    ) -> Result<Vec<String>, ViewError> {
        match self {
            Self::Sqlite(files) => files.rows(tables, table).await,
            Self::Postgres(database) => database.rows(tables, table).await,
        }
    }

    /// What a full-text index knows, which is a table of kind `virtual`.
    pub async fn terms(
        &self,
        tables: &mut AnyConnection,
        table: &str,
    ) -> Result<Vec<String>, ViewError> {
        match self {
            Self::Sqlite(files) => files.terms(tables, table).await,
            Self::Postgres(database) => database.rows(tables, table).await,
        }
    }

    /// Deletes a generation's tables; nobody of this node may have them open.
    pub async fn remove(&self, namespace: &Namespace) -> Result<(), ViewError> {
        match self {
            Self::Sqlite(files) => files.remove(namespace),
            Self::Postgres(database) => database.remove(namespace).await,
        }
    }

    /// Forgets which generations serve.
    pub fn remove_catalog(&self) -> Result<(), ViewError> {
        match self {
            Self::Sqlite(files) => files.remove_catalog(),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// The generations there are, serving or not.
    pub async fn namespaces(&self) -> Result<Vec<Namespace>, ViewError> {
        match self {
            Self::Sqlite(files) => files.namespaces(),
            Self::Postgres(database) => database.namespaces().await,
        }
    }

    /// The number of this node's term as the one that feeds; see [`postgres`]. `None` where no other
    /// node could.
    pub fn term(&self) -> Option<i64> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(database) => Some(database.term()),
        }
    }

    /// Fails with [`ViewError::Elsewhere`] in a transaction once another node feeds; until it ends
    /// no other can begin to.
    pub async fn guard(&self, transaction: &mut AnyConnection) -> Result<(), ViewError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(database) => database.guard(transaction).await,
        }
    }
}
