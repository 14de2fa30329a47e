//! Generations of views in PostgreSQL: a schema each, `hansard_messages_3`, all in one database.
//!
//! The URL is PostgreSQL's own, `postgres://user:password@host:5432/database?sslmode=require`, with two
//! options of ours. `schema=…` is what the names of all schemas begin with instead of `hansard`, so
//! that one database can hold several workspaces. `readers=…` is how many connections answer a view's
//! queries on each node at most, 3 if it is not said. A pool for each view, because a connection that
//! went from view to view would plan its statements anew each time, and might meet a statement of one
//! in another; and a small one, because a server has 100 connections unless it is told otherwise. A
//! node opens what it needs, and closes what rests for half a minute. With ten views it takes 34 at
//! most, the one that feeds 10 more, and another 10 for moments, while it rebuilds or scrubs all.
//!
//! *One node feeds.* It is the one that holds an advisory lock (see [`nodes`](crate::nodes)), and the
//! lock alone is not trusted: each time a node begins to feed it draws the next number, its term, and
//! writes it into the checkpoint of each generation that it opens. A transaction moves the checkpoint
//! only where its own term still stands, so one of a node that had the lock before fails as a whole.
//!
//! *What was deleted* is found by nobody once tables and indexes have been vacuumed, which waits for
//! everybody who may still see it. Its bytes stay in the free space of a page until that is used again,
//! which may be never, in PostgreSQL's own write-ahead log until that is recycled, and in what has been
//! archived or replicated of it; and an index of words keeps a word that no text has any more. A rebuild
//! of the view leaves it in none of its own files.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::postgres::PgConnectOptions;
use sqlx::{
    AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Row,
};

use crate::engine::{Namespace, Purpose, TIME};
use crate::sql;
use crate::view::ViewError;

/// How long making a connection may take, or getting one from a pool.
const CONNECT: Duration = Duration::from_secs(3);

/// A reader that nobody needs for so long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// A connection that rested longer is tried before it is used: the server may have been restarted.
const RESTED: Duration = Duration::from_secs(1);

/// How long tables that shall be deleted wait for nodes that still read them.
const FAREWELL: Duration = Duration::from_secs(10);

const READERS: u32 = 3;

/// Which generation serves, who feeds, and what the node that feeds tells the others.
const CATALOG: &str = "
    CREATE TABLE IF NOT EXISTS serving (view text PRIMARY KEY, generation bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS feeder (one bigint PRIMARY KEY, term bigint NOT NULL);
    INSERT INTO feeder VALUES (1, 0) ON CONFLICT DO NOTHING;
    CREATE TABLE IF NOT EXISTS announced (
        one bigint PRIMARY KEY, term bigint NOT NULL, state text NOT NULL
    );
    INSERT INTO announced VALUES (1, 0, '{}') ON CONFLICT DO NOTHING";

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    options: PgConnectOptions,
    prefix: String,
    readers: u32,
    /// This node's latest term; 0 before its first.
    term: AtomicI64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Shared")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Connects, and makes the catalog if it is missing.
    pub async fn open(url: &str) -> Result<Self, ViewError> {
        let shared = Shared::parse(url)?;
        let database = Self {
            shared: Arc::new(shared),
        };
        let mut connection = database.plain().await?;
        let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
            .fetch_one(&mut connection)
            .await?;
        if encoding != "UTF8" {
            return Err(ViewError::Unavailable(format!(
                "the PostgreSQL database has the encoding {encoding}; create it with UTF8"
            )));
        }
        let mut transaction = connection.begin().await?;
        // Nodes that start together wait here for one another.
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(database.lock("catalog"))
            .execute(&mut *transaction)
            .await?;
        let schema = database.catalog_schema();
        let create = format!(
            r#"CREATE SCHEMA IF NOT EXISTS "{schema}"; SET LOCAL search_path TO "{schema}"; {CATALOG}"#
        );
        transaction
            .execute(sqlx::raw_sql(AssertSqlSafe(create)))
            .await?;
        transaction.commit().await?;
        connection.close().await?;
        Ok(database)
    }

    /// A connection to no generation, that speaks PostgreSQL alone.
    pub async fn plain(&self) -> Result<PgConnection, ViewError> {
        let mut connection = within(self.shared.options.connect()).await?;
        let settings = format!(
            "SET application_name TO '{}'; SET client_min_messages TO warning; \
             SET lock_timeout TO '10s'; SET tcp_keepalives_idle TO 2; \
             SET tcp_keepalives_interval TO 1; SET tcp_keepalives_count TO 5",
            self.catalog_schema()
        );
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(settings)))
            .await?;
        Ok(connection)
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.shared.options
    }

    /// The schema of the catalog, which is the name of what the nodes tell one another on, too.
    pub(crate) fn catalog_schema(&self) -> String {
        format!("{}_views", self.shared.prefix)
    }

    /// The number of an advisory lock. Locks are the whole database's, so the number is one that
    /// nobody meets by chance.
    pub(crate) fn lock(&self, name: &str) -> i64 {
        let digest = Sha256::digest(format!("hansard/{}/views/{name}", self.shared.prefix));
        let mut number = [0; 8];
        number.copy_from_slice(&digest[..8]);
        i64::from_be_bytes(number)
    }

    pub fn term(&self) -> i64 {
        self.shared.term.load(Ordering::Acquire)
    }

    /// Begins this node's next term; ends that of whoever fed before.
    pub(crate) async fn begin_term(&self, connection: &mut PgConnection) -> Result<(), ViewError> {
        let sql = format!(
            r#"UPDATE "{}".feeder SET term = term + 1 RETURNING term"#,
            self.catalog_schema()
        );
        let term: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(connection)
            .await?;
        self.shared.term.store(term, Ordering::Release);
        Ok(())
    }

    pub async fn guard(&self, transaction: &mut AnyConnection) -> Result<(), ViewError> {
        let schema = self.catalog_schema();
        let sql = format!(r#"SELECT term FROM "{schema}".feeder WHERE term = $1 FOR SHARE"#);
        let ours = sql::query(AssertSqlSafe(sql))
            .bind(self.term())
            .fetch_optional(transaction)
            .await?;
        ours.map(drop).ok_or(ViewError::Elsewhere)
    }

    pub async fn connect(
        &self,
        namespace: &Namespace,
        purpose: Purpose,
    ) -> Result<AnyConnection, ViewError> {
        let schema = self.schema(namespace);
        let mut connection = self.open_schema(&schema, purpose).await?;
        if purpose == Purpose::Build {
            let create = format!(r#"CREATE SCHEMA IF NOT EXISTS "{schema}""#);
            connection
                .execute(sqlx::raw_sql(AssertSqlSafe(create)))
                .await?;
        }
        Ok(connection)
    }

    pub async fn catalog(&self) -> Result<AnyConnection, ViewError> {
        let mut connection = self
            .open_schema(&self.catalog_schema(), Purpose::Feed)
            .await?;
        // What it named before is deleted after a change.
        connection
            .execute(sqlx::raw_sql("SET synchronous_commit TO on"))
            .await?;
        Ok(connection)
    }

    async fn open_schema(
        &self,
        schema: &str,
        purpose: Purpose,
    ) -> Result<AnyConnection, ViewError> {
        let mut connection = within(self.any_options()?.connect()).await?;
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(settings(schema, purpose))))
            .await?;
        Ok(connection)
    }

    /// How many connections answer a view's queries at most.
    pub fn reader_count(&self) -> u32 {
        self.shared.readers
    }

    pub fn readers(&self, namespace: &Namespace) -> Result<AnyPool, ViewError> {
        let settings = settings(&self.schema(namespace), Purpose::Query);
        Ok(AnyPoolOptions::new()
            .max_connections(self.shared.readers)
            .test_before_acquire(false)
            .before_acquire(|connection, met| {
                Box::pin(async move {
                    if met.idle_for > RESTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .idle_timeout(IDLE)
            .max_lifetime(None)
            .acquire_timeout(CONNECT)
            .after_connect(move |connection, _| {
                let settings = settings.clone();
                Box::pin(async move {
                    connection
                        .execute(sqlx::raw_sql(AssertSqlSafe(settings)))
                        .await
                        .map(drop)
                })
            })
            .connect_lazy_with(self.any_options()?))
    }

    pub async fn settle(
        &self,
        tables: &mut AnyConnection,
        namespace: &Namespace,
    ) -> Result<(), ViewError> {
        // Without figures of its own the planner takes the tables for empty ones.
        let names = self.names(tables).await?;
        tables
            .execute(sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE {names}"))))
            .await?;
        let settings = settings(&self.schema(namespace), Purpose::Feed);
        tables
            .execute(sqlx::raw_sql(AssertSqlSafe(settings)))
            .await?;
        Ok(())
    }

    /// The transaction that last moved the checkpoint: whatever was deleted was deleted by it or
    /// before.
    pub async fn mark(&self, tables: &mut AnyConnection) -> Result<i64, ViewError> {
        let row = sql::query("SELECT CAST(CAST(xmin AS text) AS bigint) FROM checkpoint")
            .fetch_one(tables)
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Whether nobody sees any more what was deleted up to a mark, so that it can be
    /// [vacuumed](Self::vacuum).
    pub async fn scrub(&self, tables: &mut AnyConnection, mark: i64) -> Result<bool, ViewError> {
        // Rows stay for everybody whose snapshot is no younger.
        let seen = sql::query(
            "SELECT count(*) FROM ( \
                 SELECT age(backend_xmin) AS age FROM pg_stat_activity \
                     WHERE pid <> pg_backend_pid() AND datname = current_database() \
                 UNION ALL SELECT age(backend_xid) FROM pg_stat_activity \
                     WHERE pid <> pg_backend_pid() AND datname = current_database() \
                 UNION ALL SELECT age(transaction) FROM pg_prepared_xacts \
                 UNION ALL SELECT age(xmin) FROM pg_replication_slots \
             ) AS snapshot WHERE snapshot.age >= age(CAST(CAST($1 AS text) AS xid))",
        )
        .bind(mark)
        .fetch_one(&mut *tables)
        .await?;
        Ok(seen.try_get::<i64, _>(0)? == 0)
    }

    /// Leaves no row in the tables of a generation that nobody sees any more. Takes as long as
    /// reading their indexes.
    pub async fn vacuum(&self, namespace: &Namespace) -> Result<(), ViewError> {
        let mut tables = self.connect(namespace, Purpose::Feed).await?;
        // FREEZE waits for the pages that somebody reads instead of passing over them.
        let names = self.names(&mut tables).await?;
        let vacuum = format!("VACUUM (FREEZE, INDEX_CLEANUP ON, TRUNCATE OFF) {names}");
        tables.execute(sqlx::raw_sql(AssertSqlSafe(vacuum))).await?;
        Ok(tables.close().await?)
    }

    pub async fn check(&self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        sql::query("SELECT position FROM checkpoint")
            .fetch_one(tables)
            .await?;
        Ok(())
    }

    pub async fn tables(
        &self,
        tables: &mut AnyConnection,
    ) -> Result<Vec<(String, String)>, ViewError> {
        let rows = sql::query(
            "SELECT CAST(tablename AS text) FROM pg_tables \
             WHERE schemaname = current_schema() ORDER BY 1",
        )
        .fetch_all(tables)
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, "table".to_owned())))
            .collect()
    }

    /// Every row of a table, as literals.
    pub async fn rows(
        &self,
        tables: &mut AnyConnection,
        table: &str,
    ) -> Result<Vec<String>, ViewError> {
        let columns = sql::query(
            "SELECT CAST(column_name AS text), CAST(data_type AS text) \
             FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
        )
        .bind(table)
        .fetch_all(&mut *tables)
        .await?;
        let mut literals = Vec::with_capacity(columns.len());
        for column in &columns {
            let (name, kind): (String, String) = (column.try_get(0)?, column.try_get(1)?);
            literals.push(match kind.as_str() {
                "bigint" => format!("coalesce(CAST(\"{name}\" AS text), 'NULL')"),
                "bytea" => format!(
                    "coalesce('X''' || upper(encode(\"{name}\", 'hex')) || '''', 'NULL')"
                ),
                _ => format!(
                    "coalesce('''' || replace(CAST(\"{name}\" AS text), '''', '''''') || '''', 'NULL')"
                ),
            });
        }
        let sql = format!("SELECT {} FROM \"{table}\"", literals.join(" || ', ' || "));
        let rows = tables.fetch_all(sqlx::query(AssertSqlSafe(sql))).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// All tables, as a statement names them.
    async fn names(&self, tables: &mut AnyConnection) -> Result<String, ViewError> {
        let mut names = String::new();
        for (name, _) in self.tables(tables).await? {
            names.push_str(if names.is_empty() { "" } else { ", " });
            // Writing to a string does not fail.
            let _ = write!(names, "\"{name}\"");
        }
        Ok(names)
    }

    /// Waits a while for other nodes that read the tables, and deletes them.
    pub async fn remove(&self, namespace: &Namespace) -> Result<(), ViewError> {
        let schema = self.schema(namespace);
        let mut connection = self
            .open_schema(&self.catalog_schema(), Purpose::Feed)
            .await?;
        let started = tokio::time::Instant::now();
        while started.elapsed() < FAREWELL {
            let used = sql::query(
                "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name = $1",
            )
            .bind(schema.as_str())
            .fetch_one(&mut connection)
            .await?;
            if used.try_get::<i64, _>(0)? == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut transaction = connection.begin().await?;
        self.guard(&mut transaction).await?;
        let drop = format!(r#"DROP SCHEMA IF EXISTS "{schema}" CASCADE"#);
        transaction
            .execute(sqlx::raw_sql(AssertSqlSafe(drop)))
            .await?;
        transaction.commit().await?;
        connection.close().await?;
        Ok(())
    }

    pub async fn namespaces(&self) -> Result<Vec<Namespace>, ViewError> {
        let mut connection = self.plain().await?;
        let names: Vec<String> =
            sqlx::query_scalar("SELECT CAST(nspname AS text) FROM pg_namespace")
                .fetch_all(&mut connection)
                .await?;
        connection.close().await?;
        let mut found: Vec<_> = names
            .iter()
            .filter_map(|name| {
                let rest = name.strip_prefix(&self.shared.prefix)?.strip_prefix('_')?;
                let (view, generation) = rest.rsplit_once('_')?;
                Some(Namespace {
                    view: view.to_owned(),
                    generation: generation.parse().ok()?,
                })
            })
            .collect();
        found.sort();
        Ok(found)
    }

    pub(crate) fn schema(&self, namespace: &Namespace) -> String {
        format!(
            "{}_{}_{}",
            self.shared.prefix, namespace.view, namespace.generation
        )
    }

    fn any_options(&self) -> Result<AnyConnectOptions, ViewError> {
        let options: AnyConnectOptions = self.shared.url.parse()?;
        Ok(options.disable_statement_logging())
    }
}

impl Shared {
    fn parse(url: &str) -> Result<Self, ViewError> {
        let refused = |reason: &str| ViewError::Unavailable(reason.to_owned());
        let (mut prefix, mut readers) = ("hansard".to_owned(), READERS);
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut others = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("schema", name)) => name.clone_into(&mut prefix),
                Some(("readers", number)) => {
                    readers = number
                        .parse()
                        .ok()
                        .filter(|readers| (1..=100).contains(readers))
                        .ok_or_else(|| refused("readers is a number from 1 to 100"))?;
                }
                // An option of the log, which may stand in the same URL.
                Some(("notify", _)) => {}
                _ => others.push(option),
            }
        }
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let letter_first = prefix.starts_with(|first: char| first.is_ascii_lowercase());
        if !letter_first || prefix.len() > 32 || !prefix.bytes().all(allowed) {
            return Err(ViewError::Unavailable(format!(
                "'{prefix}' can't begin the names of schemas: it takes 1 to 32 lower-case letters, \
                 digits and '_', a letter first"
            )));
        }
        let url = if others.is_empty() {
            place.to_owned()
        } else {
            format!("{place}?{}", others.join("&"))
        };
        let options: PgConnectOptions = url.parse()?;
        Ok(Self {
            url,
            options: options.disable_statement_logging(),
            prefix,
            readers,
            term: AtomicI64::new(0),
        })
    }
}

/// What a connection is told first. The names have nothing in them that needs escaping. Who asks
/// for a schema's sessions finds them by the application's name.
fn settings(schema: &str, purpose: Purpose) -> String {
    let own = match purpose {
        // What is lost by a crash of the server is made again from the log.
        Purpose::Build => "SET synchronous_commit TO off; SET maintenance_work_mem TO '128MB'; \
             SET idle_in_transaction_session_timeout TO '60s'"
            .to_owned(),
        Purpose::Feed => "SET synchronous_commit TO off; SET lock_timeout TO '10s'; \
             SET idle_in_transaction_session_timeout TO '10s'; \
             SET default_transaction_isolation TO 'read committed'"
            .to_owned(),
        Purpose::Query => {
            // A plan that fits any question would walk all messages for a rare word, and look for
            // what is not asked for; making one costs less.
            format!(
                "SET default_transaction_read_only TO on; SET statement_timeout TO {}; \
                 SET default_transaction_isolation TO 'repeatable read'; \
                 SET plan_cache_mode TO force_custom_plan",
                TIME.as_millis()
            )
        }
    };
    format!(
        r#"SET search_path TO "{schema}"; SET application_name TO '{schema}';
           SET client_min_messages TO warning; SET jit TO off; SET idle_session_timeout TO 0;
           SET tcp_keepalives_idle TO 2; SET tcp_keepalives_interval TO 1;
           SET tcp_keepalives_count TO 5; {own}"#
    )
}

async fn within<T>(
    connecting: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, ViewError> {
    let connected = tokio::time::timeout(CONNECT, connecting).await;
    Ok(connected.map_err(|_| {
        ViewError::Unavailable("the PostgreSQL server does not answer".to_owned())
    })??)
}
