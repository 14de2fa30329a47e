//! Generations of views in SQLite: a file each, in one directory. Pragmas, and checkpoints of the
//! write-ahead log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection as _, Executor, Row};

use crate::engine::{Namespace, Purpose, timed};
use crate::gaps::Gaps;
use crate::sql;
use crate::view::ViewError;

/// Connections that queries of one view share; opened when they are first needed. Two may be walked with, and
/// one is there for the server's own work at most.
pub const READERS: u32 = 5;

/// For so long gaps are overwritten at once, while events wait.
const MOMENT: Duration = Duration::from_millis(20);

/// A reader that nobody needs for so long is closed.
const IDLE: Duration = Duration::from_mins(2);

fn pragmas(purpose: Purpose) -> &'static str {
    match purpose {
        // Nothing to go back to: what fails is thrown away. Sorting for the indexes spills to
        // a temporary file instead of filling the memory.
        Purpose::Build => {
            "PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
                 PRAGMA secure_delete = ON; \
                 PRAGMA foreign_keys = OFF; PRAGMA cache_size = -65536"
        }
        // After power loss the tables are as of an earlier checkpoint, never torn. Readers
        // are waited for only where the write-ahead log is emptied, and events wait meanwhile.
        Purpose::Feed => {
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                 PRAGMA secure_delete = ON; \
                 PRAGMA foreign_keys = OFF; PRAGMA cell_size_check = ON; \
                 PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192; \
                 PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 33554432; \
                 PRAGMA busy_timeout = 20"
        }
        Purpose::Query => {
            "PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4096; \
                 PRAGMA cell_size_check = ON; PRAGMA busy_timeout = 2000"
        }
    }
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    directory: Arc<Path>,
}

impl Files {
    /// Keeps views in files of a directory, which is made if it is missing.
    pub fn at(directory: &Path) -> Result<Self, ViewError> {
        fs::create_dir_all(directory).map_err(|error| unavailable(directory, &error))?;
        let directory = directory
            .canonicalize()
            .map_err(|error| unavailable(directory, &error))?;
        Ok(Self {
            directory: directory.into(),
        })
    }

    /// A connection of its own. Only one that builds makes tables that are missing.
    pub async fn connect(
        &self,
        namespace: &Namespace,
        purpose: Purpose,
    ) -> Result<AnyConnection, ViewError> {
        self.open(&namespace.to_string(), purpose).await
    }

    /// Has a building connection keep what it changes until the end of a transaction.
    pub async fn undo(&self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        tables
            .execute(sqlx::raw_sql("PRAGMA journal_mode = MEMORY"))
            .await?;
        Ok(())
    }

    /// The tables that say which generations serve.
    pub async fn catalog(&self) -> Result<AnyConnection, ViewError> {
        let file = self.path("catalog");
        if !file.exists() {
            fs::File::create(&file).map_err(|error| unavailable(&file, &error))?;
        }
        let mut connection = self.open("catalog", Purpose::Feed).await?;
        // What it named before is deleted after a change, so a change must outlast a power loss.
        connection
            .execute(sqlx::raw_sql("PRAGMA synchronous = FULL"))
            .await?;
        Ok(connection)
    }

    async fn open(&self, name: &str, purpose: Purpose) -> Result<AnyConnection, ViewError> {
        let mut connection = self.options(name, purpose)?.connect().await?;
        prepare(&mut connection, purpose).await?;
        Ok(connection)
    }

    /// Connections that answer queries, opened when they are needed.
    pub fn readers(&self, namespace: &Namespace) -> Result<AnyPool, ViewError> {
        Ok(AnyPoolOptions::new()
            .max_connections(READERS)
            // A connection to a local file does not go stale; testing it costs a round trip.
            .test_before_acquire(false)
            .idle_timeout(IDLE)
            .max_lifetime(None)
            .acquire_timeout(Duration::from_secs(10))
            // SQLite ends a transaction by itself where a disk is full or broken. The statement that should end
            // it fails then, and all that follows would be in a transaction that nobody ends: at one moment of
            // the tables, for ever.
            .before_acquire(|connection, _| {
                let in_order = !connection.is_in_transaction();
                Box::pin(async move { Ok(in_order) })
            })
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection
                        .execute(sqlx::raw_sql(pragmas(Purpose::Query)))
                        .await
                        .map(drop)
                })
            })
            .connect_lazy_with(self.options(&namespace.to_string(), Purpose::Query)?))
    }

    /// Takes tables that a building connection has filled into use: complete and durable.
    pub async fn settle(
        &self,
        tables: &mut AnyConnection,
        namespace: &Namespace,
    ) -> Result<(), ViewError> {
        prepare(tables, Purpose::Feed).await?;
        let file = self.path(&namespace.to_string());
        let synced = tokio::task::spawn_blocking(move || {
            fs::File::open(&file)
                .and_then(|opened| opened.sync_all())
                .map_err(|error| unavailable(&file, &error))
        });
        synced
            .await
            .map_err(|error| ViewError::Unavailable(error.to_string()))?
    }

    /// Leaves what was deleted nowhere: moves the write-ahead log into the tables and empties it.
    /// `false` while a reader is in the way.
    pub async fn scrub(&self, tables: &mut AnyConnection) -> Result<bool, ViewError> {
        let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(tables)
            .await?;
        Ok(row.try_get::<i64, _>(0)? == 0)
    }

    /// Overwrites what SQLite leaves behind in the tables' pages, for a moment; see [`Gaps`]. `tables` writes
    /// them, and the write-ahead log is empty. Answers whether it has come to the end.
    pub async fn overwrite_gaps(
        &self,
        tables: &mut AnyConnection,
        namespace: &Namespace,
        gaps: &mut Option<Gaps>,
    ) -> Result<bool, ViewError> {
        let path = self.path(&namespace.to_string());
        // Pages in its cache would be written with what stands in their gaps.
        tables
            .execute(sqlx::raw_sql("PRAGMA shrink_memory"))
            .await?;
        let known = gaps.take();
        let overwriting = tokio::task::spawn_blocking(move || {
            let mut gaps = match known {
                Some(gaps) => gaps,
                None => Gaps::open(&path)?,
            };
            let ended = gaps.overwrite(MOMENT)?;
            if ended {
                gaps.rewind();
            }
            Ok((gaps, ended))
        });
        let overwritten = overwriting
            .await
            .map_err(|error| ViewError::Unavailable(error.to_string()))?;
        let path = self.path(&namespace.to_string());
        let (known, ended) = overwritten.map_err(|error: io::Error| unavailable(&path, &error))?;
        *gaps = Some(known);
        Ok(ended)
    }

    /// How many bytes the write-ahead log has.
    pub fn written_ahead(&self, namespace: &Namespace) -> u64 {
        let log = self.path(&namespace.to_string()).with_extension("db-wal");
        fs::metadata(log).map_or(0, |log| log.len())
    }

    /// Fails with [`ViewError::Damaged`] if a page or an index makes no sense.
    pub async fn check(&self, tables: &mut AnyConnection) -> Result<(), ViewError> {
        let found: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(tables)
            .await?;
        if found == "ok" {
            Ok(())
        } else {
            Err(ViewError::Damaged(found))
        }
    }

    /// The tables with their kinds: `table`, `virtual`, or `shadow` for those behind a virtual one.
    pub async fn tables(
        &self,
        tables: &mut AnyConnection,
    ) -> Result<Vec<(String, String)>, ViewError> {
        let rows = sqlx::query(
            "SELECT name, type FROM pragma_table_list \
             WHERE schema = 'main' AND name NOT LIKE 'sqlite_%' ORDER BY name",
        )
        .fetch_all(tables)
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }

    /// Every row of a table, as literals.
    pub async fn rows(
        &self,
        tables: &mut AnyConnection,
        table: &str,
    ) -> Result<Vec<String>, ViewError> {
        let columns = sql::query("SELECT name FROM pragma_table_info($1)")
            .bind(table)
            .fetch_all(&mut *tables)
            .await?;
        let literals = columns
            .iter()
            .map(|column| Ok(format!("quote(\"{}\")", column.try_get::<String, _>(0)?)))
            .collect::<Result<Vec<_>, sqlx::Error>>()?
            .join(" || ', ' || ");
        let sql = format!("SELECT {literals} AS literals FROM \"{table}\"");
        let rows = tables.fetch_all(sqlx::query(AssertSqlSafe(sql))).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// What a full-text index knows: each term, with the row, the column and the place it stands at.
    pub async fn terms(
        &self,
        tables: &mut AnyConnection,
        table: &str,
    ) -> Result<Vec<String>, ViewError> {
        let vocabulary = format!(
            "CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab('main', '{table}', 'instance')"
        );
        tables
            .execute(sqlx::raw_sql(AssertSqlSafe(vocabulary)))
            .await?;
        // Not every index knows places.
        let sql = "SELECT quote(term) || ', ' || doc || ', ' || col || ', ' \
                   || coalesce(\"offset\", '') AS literals FROM temp.vocabulary";
        let rows = tables.fetch_all(sqlx::query(sql)).await?;
        tables
            .execute(sqlx::raw_sql("DROP TABLE temp.vocabulary"))
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Deletes a generation's tables; nobody may have them open.
    pub fn remove(&self, namespace: &Namespace) -> Result<(), ViewError> {
        self.delete(&namespace.to_string())
    }

    /// Forgets which generations serve.
    pub fn remove_catalog(&self) -> Result<(), ViewError> {
        self.delete("catalog")
    }

    fn delete(&self, name: &str) -> Result<(), ViewError> {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut file = self.path(name).into_os_string();
            file.push(suffix);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(unavailable(Path::new(&file), &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The generations there are, serving or not.
    pub fn namespaces(&self) -> Result<Vec<Namespace>, ViewError> {
        let failed = |error| unavailable(&self.directory, &error);
        let mut found = Vec::new();
        for file in fs::read_dir(&self.directory).map_err(failed)? {
            let name = file.map_err(failed)?.file_name();
            let parsed = name.to_str().and_then(|name| {
                let (view, generation) = name.strip_suffix(".db")?.rsplit_once('-')?;
                Some(Namespace {
                    view: view.to_owned(),
                    generation: generation.parse().ok()?,
                })
            });
            found.extend(parsed);
        }
        found.sort();
        Ok(found)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.db"))
    }

    fn options(&self, name: &str, purpose: Purpose) -> Result<AnyConnectOptions, ViewError> {
        let path = self.path(name);
        let path = path.to_str().ok_or_else(|| {
            ViewError::Unavailable(format!("{} is not written in UTF-8", path.display()))
        })?;
        let mode = if purpose == Purpose::Build {
            "rwc"
        } else {
            "rw"
        };
        let scheme = match purpose {
            Purpose::Query => timed::SCHEME,
            Purpose::Build | Purpose::Feed => "sqlite",
        };
        let options: AnyConnectOptions =
            format!("{scheme}://{}?mode={mode}", escape(path)).parse()?;
        Ok(options.disable_statement_logging())
    }
}

async fn prepare(connection: &mut AnyConnection, purpose: Purpose) -> Result<(), ViewError> {
    connection.execute(sqlx::raw_sql(pragmas(purpose))).await?;
    Ok(())
}

/// A path as it stands in a URL.
fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.extend(
                [byte >> 4, byte & 15]
                    .map(|half| char::from(b"0123456789ABCDEF"[usize::from(half)])),
            );
        }
    }
    escaped
}

fn unavailable(path: &Path, error: &io::Error) -> ViewError {
    ViewError::Unavailable(format!("{}: {error}", path.display()))
}
