//! What the PostgreSQL adapters share: connections, the tables' format, the meaning of errors.
//!
//! Log, vault and state stand in one database, in a PostgreSQL schema of their own: `hansard`, or the
//! one that the URL's option `schema` names, so that one database can hold several workspaces. The
//! database must have the encoding UTF8, the server must be PostgreSQL 14 or newer.
//!
//! The URL is PostgreSQL's own, `postgres://user:password@host:5432/database?sslmode=require`, with
//! two options of ours: `schema=…`, and `notify=off` for a server behind a pooler that hands no
//! notifications through; nodes then see each other's events by asking, twice a second.
//!
//! Nothing here waits long. A server that is away, or is not the one that may write, makes every call
//! fail within seconds with what an operator can do about it; when it is back the next call works.

pub mod leader;

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Postgres, Row};

use crate::plain;

/// Connections that read, one that listens, and for the few writes beside the log's.
const CONNECTIONS: u32 = 9;

/// How long making a connection may take, or getting one from the pool.
const CONNECT: Duration = Duration::from_secs(3);

/// A connection that rested longer is tried before it is used: the server may have been restarted.
const RESTED: Duration = Duration::from_secs(1);

const DEFAULT_SCHEMA: &str = "hansard";

/// What texts have to be stored in.
const ENCODING: &str = "UTF8";

/// What brings the tables from each format to the next one, from nothing on.
const MIGRATIONS: [&str; 3] = [
    include_str!("postgres/schema.sql"),
    include_str!("postgres/clock.sql"),
    include_str!("postgres/vault.sql"),
];
const FORMAT: i32 = MIGRATIONS.len() as i32;

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "this is no URL of a PostgreSQL database: {0}; \
         one is postgres://user:password@host:5432/database"
    )]
    Url(String),
    #[error(
        "'{0}' can't name a schema: it takes 1 to 63 lower-case letters, digits and '_', \
         a letter first"
    )]
    SchemaName(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("the PostgreSQL database has the encoding {0}; create it with the encoding UTF8")]
    Encoding(String),
    #[error(
        "the schema {schema} of the PostgreSQL database holds something else; \
         name another one with ?schema=…"
    )]
    Foreign { schema: String },
    #[error(
        "the schema {schema} of the PostgreSQL database has format {format}, this version reads \
         {FORMAT}; start a newer one"
    )]
    Newer { schema: String, format: i32 },
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(advice(&error))
    }
}

/// A database with our tables in it. Cheap to clone; one for all adapters of a node.
#[derive(Clone)]
pub struct Database {
    options: Arc<PgConnectOptions>,
    pool: PgPool,
    schema: Arc<str>,
    notify: bool,
}

impl Database {
    /// Connects, and makes our tables or brings them to this version's format.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let Address {
            options,
            schema,
            notify,
        } = Address::parse(url)?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT)
            .test_before_acquire(false)
            .before_acquire(|connection, met| {
                Box::pin(async move {
                    if met.idle_for > RESTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| Box::pin(durable(connection)))
            .connect_lazy_with(options.clone());
        let database = Self {
            options: Arc::new(options),
            pool,
            schema: schema.into(),
            notify,
        };
        let mut connection = database.connect().await?;
        within(Duration::from_secs(60), database.prepare(&mut connection)).await??;
        Ok(database)
    }

    /// Closes the connections of the pool; every call fails from then on.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A connection that is nobody else's.
    pub(crate) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        within(CONNECT, async {
            let mut connection = self.options.connect().await?;
            durable(&mut connection).await?;
            Ok(connection)
        })
        .await?
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection of the pool for one call.
    pub(crate) async fn borrow(&self) -> Result<Borrowed, sqlx::Error> {
        Ok(Borrowed(Some(self.pool.acquire().await?)))
    }

    /// Whether the server tells who listens that events came.
    pub(crate) fn notifies(&self) -> bool {
        self.notify
    }

    /// The channel of this schema's notifications.
    pub(crate) fn channel(&self) -> String {
        format!("{}_events", self.schema)
    }

    /// The number of an advisory lock of this schema. Locks are the whole database's, so the number
    /// is one that nobody meets by chance.
    pub(crate) fn lock(&self, name: &str) -> i64 {
        let digest = Sha256::digest(format!("hansard/{}/{name}", self.schema));
        let mut number = [0; 8];
        number.copy_from_slice(&digest[..8]);
        i64::from_be_bytes(number)
    }

    /// Makes our tables where there are none, in one transaction that others wait for.
    async fn prepare(&self, connection: &mut PgConnection) -> Result<(), OpenError> {
        let encoding = encoding(connection).await?;
        if encoding != ENCODING {
            return Err(OpenError::Encoding(encoding));
        }
        let mut transaction = connection.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(self.lock("format"))
            .execute(&mut *transaction)
            .await?;
        let (exists, tables, ours): (bool, i64, bool) = sqlx::query_as(
            "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
                    (SELECT count(*) FROM pg_tables WHERE schemaname = $1),
                    EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'format')",
        )
        .bind(&*self.schema)
        .fetch_one(&mut *transaction)
        .await?;
        let schema = || self.schema.to_string();
        let found = match (exists, tables, ours) {
            (false, ..) => {
                // The name has nothing in it that needs escaping.
                let create = format!(r#"CREATE SCHEMA "{}""#, self.schema);
                sqlx::raw_sql(sqlx::AssertSqlSafe(create))
                    .execute(&mut *transaction)
                    .await?;
                0
            }
            (true, 0, _) => 0,
            (true, _, true) => {
                sqlx::query_scalar("SELECT format FROM format")
                    .fetch_one(&mut *transaction)
                    .await?
            }
            (true, _, false) => return Err(OpenError::Foreign { schema: schema() }),
        };
        if found > FORMAT {
            return Err(OpenError::Newer {
                schema: schema(),
                format: found,
            });
        }
        for (format, migration) in (1..).zip(MIGRATIONS).skip(found.max(0) as usize) {
            sqlx::raw_sql(migration).execute(&mut *transaction).await?;
            sqlx::query("UPDATE format SET format = $1")
                .bind(format)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// Refuses a URL that names no database of PostgreSQL; connects to nothing.
pub fn check_url(url: &str) -> Result<(), OpenError> {
    Address::parse(url).map(drop)
}

/// Connects to the database that a URL names and looks whether it can be used; changes nothing.
pub async fn check(url: &str) -> Result<(), OpenError> {
    let address = Address::parse(url)?;
    let looked = within(CONNECT, async {
        let mut connection = address.options.connect().await?;
        let encoding = encoding(&mut connection).await?;
        // The answer is there; how the connection ends makes no difference.
        let _ = connection.close().await;
        Ok::<_, sqlx::Error>(encoding)
    });
    match looked.await?? {
        encoding if encoding == ENCODING => Ok(()),
        encoding => Err(OpenError::Encoding(encoding)),
    }
}

/// The place that a URL names, as an operator may read it: without a password, with the port.
pub fn shown(url: &str) -> String {
    let Ok(Address { options, .. }) = Address::parse(url) else {
        return "postgres://…".to_owned();
    };
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let user = options.get_username();
    let database = options.get_database().unwrap_or(user);
    format!("postgres://{user}@{host}:{}/{database}", options.get_port())
}

async fn encoding(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT current_setting('server_encoding')")
        .fetch_one(connection)
        .await
}

/// What a URL says.
struct Address {
    options: PgConnectOptions,
    schema: String,
    notify: bool,
}

impl Address {
    fn parse(url: &str) -> Result<Self, OpenError> {
        let (mut schema, mut notify) = (DEFAULT_SCHEMA.to_owned(), true);
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut others = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("schema", name)) => name.clone_into(&mut schema),
                Some(("notify", "on")) => notify = true,
                Some(("notify", "off")) => notify = false,
                Some(("notify", _)) => {
                    return Err(OpenError::Url("notify is 'on' or 'off'".to_owned()));
                }
                _ => others.push(option),
            }
        }
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let letter_first = schema.starts_with(|first: char| first.is_ascii_lowercase());
        if !letter_first || schema.len() > 63 || !schema.bytes().all(allowed) {
            return Err(OpenError::SchemaName(schema));
        }
        if !(place.starts_with("postgres://") || place.starts_with("postgresql://")) {
            return Err(OpenError::Url("it begins otherwise".to_owned()));
        }
        let options: PgConnectOptions = format!("{place}?{}", others.join("&"))
            .parse()
            .map_err(|error: sqlx::Error| OpenError::Url(error.to_string()))?;
        let settings = [
            ("search_path", schema.as_str()),
            // What a server or a role has been set to may be something else.
            ("default_transaction_isolation", "read committed"),
            ("idle_session_timeout", "0"),
            ("statement_timeout", "30s"),
            ("lock_timeout", "4s"),
            // A node that stands still with a lock in its hands must not stop the others.
            ("idle_in_transaction_session_timeout", "5s"),
            // The same for one whose machine is gone.
            ("tcp_keepalives_idle", "2"),
            ("tcp_keepalives_interval", "1"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "5000"),
        ];
        let options = options
            .application_name("hansard")
            .options(settings)
            .disable_statement_logging();
        Ok(Self {
            options,
            schema,
            notify,
        })
    }
}

/// What is acknowledged must be on the disk, whatever the server or the role has been set to.
async fn durable(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "SELECT set_config('synchronous_commit', 'on', false)
         WHERE current_setting('synchronous_commit') = 'off'",
    )
    .execute(connection)
    .await
    .map(drop)
}

/// A connection of the pool that goes back to it only after a call that came to its end: one that
/// was given up half-way, or met an error, may be in any state.
pub(crate) struct Borrowed(Option<PoolConnection<Postgres>>);

impl Borrowed {
    /// The connection, while it is borrowed.
    pub(crate) fn get(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Gives it back, as good as it was.
    pub(crate) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

/// Awaits something of the server's, but not for ever.
pub(crate) async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = T>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(limit, asked).await.map_err(|_| {
        let reason = format!("no answer within {} s", limit.as_secs());
        sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, reason))
    })
}

/// What an error of PostgreSQL means to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Full,
    Damaged,
    Other,
}

pub(crate) fn failure(error: &sqlx::Error) -> Failure {
    match code(error).as_deref() {
        Some("53100") => Failure::Full,
        Some("XX001" | "XX002") => Failure::Damaged,
        _ => Failure::Other,
    }
}

/// The error, and what can be done about it. It never says the URL, which has a password in it.
pub(crate) fn advice(error: &sqlx::Error) -> String {
    let what = match code(error).as_deref() {
        Some("57P01" | "57P02" | "57P03") => {
            "the server is stopping or starting; it goes on by itself when it is up"
        }
        Some("57014") => "a statement took too long; look at the server's load and disk",
        Some("55P03") => {
            "another session holds a lock; look for one that stands still in pg_stat_activity"
        }
        Some("53300") => "raise the server's max_connections, or close other connections",
        Some("25006") => "this server is a standby; name the primary in the URL",
        Some("28000" | "28P01") => "check user and password in the URL, and pg_hba.conf",
        Some("3D000") => "create the database",
        Some("42501") => "grant the user CREATE on the database, or make it owner of the schema",
        Some("53100") => "its disk is full",
        Some(_) => return plain::database(error),
        None => match error {
            sqlx::Error::PoolTimedOut => {
                return format!(
                    "PostgreSQL gave no connection within {} s; check that it runs and can be \
                     reached",
                    CONNECT.as_secs()
                );
            }
            sqlx::Error::Io(_) => "check that PostgreSQL runs and can be reached there",
            sqlx::Error::Tls(_) => "check sslmode and sslrootcert in the URL",
            _ => return plain::database(error),
        },
    };
    format!("{}; {what}", plain::database(error))
}

fn code(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// The number in the only column of a row, as an unsigned one.
pub(crate) fn number(row: &sqlx::postgres::PgRow) -> Result<u64, sqlx::Error> {
    Ok(row.try_get::<i64, _>(0)? as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_schema_and_the_rest_is_postgresql_s() {
        let address = Address::parse(
            "postgres://mary:secret@db:6432/chat?sslmode=require&schema=two&notify=off",
        )
        .unwrap();
        assert_eq!((address.schema.as_str(), address.notify), ("two", false));
        assert_eq!(address.options.get_port(), 6432);
        assert_eq!(address.options.get_database(), Some("chat"));
        assert!(matches!(
            address.options.get_ssl_mode(),
            sqlx::postgres::PgSslMode::Require
        ));
        let address = Address::parse("postgresql://mary@db/chat").unwrap();
        assert_eq!((address.schema.as_str(), address.notify), ("hansard", true));
    }

    #[test]
    fn a_place_is_shown_without_the_password() {
        for (url, place) in [
            (
                "postgres://mary:secret@db/chat",
                "postgres://mary@db:5432/chat",
            ),
            (
                "postgres://mary@db:6432/chat?password=secret",
                "postgres://mary@db:6432/chat",
            ),
            (
                "postgres://mary@%2Frun%2Fpg/chat",
                "postgres://mary@/run/pg:5432/chat",
            ),
            ("nonsense:secret", "postgres://…"),
        ] {
            assert_eq!(shown(url), place);
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["chat.db", "mysql://db/chat", "postgres://db:port/chat"] {
            assert!(
                matches!(Address::parse(url), Err(OpenError::Url(_))),
                "{url}"
            );
        }
        for name in ["", "1", "Two", "a-b", "a\"b", &"x".repeat(64)] {
            let url = format!("postgres://db/chat?schema={name}");
            assert!(
                matches!(Address::parse(&url), Err(OpenError::SchemaName(_))),
                "{url}"
            );
        }
    }
}
