//! Statements and their values. They are written once, in what SQLite and PostgreSQL share; where the
//! two differ, it is told apart here.
//!
//! PostgreSQL takes no NUL character in a text, and SQLite's functions end a text at one: on its way
//! into a statement it becomes the replacement character. (In JSON it stands escaped.)

use std::borrow::Cow;
use std::sync::LazyLock;

use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use hansard_domain::pace::Pace;
use regex::Regex;
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow};
use sqlx::{Any, AnyConnection, Arguments, Executor, SqlSafeStr, SqlStr};

/// What a database understands beside the SQL that both share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    pub fn of(tables: &AnyConnection) -> Self {
        match tables.backend_name() {
            "PostgreSQL" => Self::Postgres,
            _ => Self::Sqlite,
        }
    }

    /// `CREATE …` as it is written for SQLite, for this database. On PostgreSQL texts are compared by
    /// their bytes, as SQLite compares them, whatever the database was made with, and what stands in
    /// `/* PostgreSQL: … */` is no comment.
    pub(crate) fn adapt(self, schema: &'static str) -> Cow<'static, str> {
        static TEXT: LazyLock<Option<Regex>> =
            LazyLock::new(|| Regex::new(r"(?m)(^\s*|\(\s*|,\s*)(\w+) text\b").ok());
        static OWN: LazyLock<Option<Regex>> =
            LazyLock::new(|| Regex::new(r"/\* PostgreSQL: (.*?) \*/").ok());
        match (self, &*TEXT, &*OWN) {
            (Self::Postgres, Some(text), Some(own)) => {
                let plain = schema
                    .replace(") WITHOUT ROWID", ")")
                    .replace(" integer PRIMARY KEY", " bigint PRIMARY KEY")
                    .replace(" blob", " bytea");
                let whole = own.replace_all(&plain, "$1");
                let collated = text.replace_all(&whole, r#"$1$2 text COLLATE "C""#);
                Cow::Owned(collated.into_owned())
            }
            _ => Cow::Borrowed(schema),
        }
    }
}

/// A text as either database keeps it.
pub fn clean(mut text: String) -> String {
    if text.contains('\0') {
        text = text.replace('\0', "\u{fffd}");
    }
    text
}

/// What can be bound to a parameter.
pub trait Value {
    fn add_to(self, arguments: &mut AnyArguments);
}

// Encoding for `Any` only moves the value; it has no way to fail.
fn add<T>(arguments: &mut AnyArguments, value: T)
where
    T: for<'q> sqlx::Encode<'q, Any> + sqlx::Type<Any>,
{
    let added = arguments.add(value);
    debug_assert!(added.is_ok());
}

impl Value for String {
    fn add_to(self, arguments: &mut AnyArguments) {
        add(arguments, clean(self));
    }
}

impl Value for &str {
    fn add_to(self, arguments: &mut AnyArguments) {
        self.to_owned().add_to(arguments);
    }
}

impl Value for Option<String> {
    fn add_to(self, arguments: &mut AnyArguments) {
        add(arguments, self.map(clean));
    }
}

impl Value for i64 {
    fn add_to(self, arguments: &mut AnyArguments) {
        add(arguments, self);
    }
}

impl Value for Option<i64> {
    fn add_to(self, arguments: &mut AnyArguments) {
        add(arguments, self);
    }
}

impl Value for Vec<u8> {
    fn add_to(self, arguments: &mut AnyArguments) {
        add(arguments, self);
    }
}

impl Value for Option<Vec<u8>> {
    fn add_to(self, arguments: &mut AnyArguments) {
        add(arguments, self);
    }
}

/// A statement with its values. It is prepared once a connection, so its text must not hold values.
pub struct Query {
    sql: SqlStr,
    arguments: AnyArguments,
}

pub fn query(sql: impl SqlSafeStr) -> Query {
    query_with(sql, AnyArguments::default())
}

pub(crate) fn query_with(sql: impl SqlSafeStr, arguments: AnyArguments) -> Query {
    Query {
        sql: sql.into_sql_str(),
        arguments,
    }
}

impl Query {
    /// The value of the next parameter.
    #[must_use]
    pub fn bind(mut self, value: impl Value) -> Self {
        value.add_to(&mut self.arguments);
        self
    }

    pub async fn execute(self, tables: &mut AnyConnection) -> Result<AnyQueryResult, sqlx::Error> {
        tables.execute(self.prepared()).await
    }

    pub async fn fetch_all(self, tables: &mut AnyConnection) -> Result<Vec<AnyRow>, sqlx::Error> {
        let mut rows = self.fetch(tables);
        let (mut all, mut pace) = (Vec::new(), Pace::new());
        while let Some(row) = rows.try_next().await? {
            all.push(row);
            pace.keep().await;
        }
        Ok(all)
    }

    pub async fn fetch_one(self, tables: &mut AnyConnection) -> Result<AnyRow, sqlx::Error> {
        tables.fetch_one(self.prepared()).await
    }

    pub async fn fetch_optional(
        self,
        tables: &mut AnyConnection,
    ) -> Result<Option<AnyRow>, sqlx::Error> {
        tables.fetch_optional(self.prepared()).await
    }

    /// The rows one after the other, as many as are taken.
    pub fn fetch(self, tables: &mut AnyConnection) -> BoxStream<'_, Result<AnyRow, sqlx::Error>> {
        tables.fetch(self.prepared())
    }

    fn prepared(self) -> sqlx::query::Query<'static, Any, AnyArguments> {
        sqlx::query_with(self.sql, self.arguments)
    }
}
