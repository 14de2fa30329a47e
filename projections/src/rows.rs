//! Many rows with few statements.
//!
//! Rows go out in statements of at most [`SIZES`]`[0]` rows, in so few different lengths that each
//! stays prepared.

use hansard_domain::id::Timestamp;
use hansard_domain::log::Position;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AnyConnection, Arguments, AssertSqlSafe, Executor};

use crate::sql::{Dialect, Value};
use crate::view::ViewError;

/// How many rows a statement has. 64 make the cost of a statement vanish beside that of its rows.
const SIZES: [usize; 4] = [64, 16, 4, 1];

/// `INSERT INTO table (columns) VALUES …`, with what is to happen on a conflict.
///
/// The rows of one [`write`](Self::write) must differ in the columns that a conflict clause names:
/// PostgreSQL refuses to update a row twice in a statement.
#[derive(Debug, Clone, Copy)]
pub struct Insert {
    table: &'static str,
    columns: &'static [&'static str],
    last: &'static str,
    conflict: &'static str,
}

impl Insert {
    pub const fn into(table: &'static str, columns: &'static [&'static str]) -> Self {
        Self {
            table,
            columns,
            last: "",
            conflict: "",
        }
    }

    /// What follows the last value of each row: a cast to a type that has no values of its own here.
    pub const fn cast_last(mut self, to: &'static str) -> Self {
        self.last = to;
        self
    }

    /// `ON CONFLICT …`
    pub const fn on_conflict(mut self, clause: &'static str) -> Self {
        self.conflict = clause;
        self
    }

    /// Inserts the rows; `bind` gives the values of one, in the order of the columns.
    pub async fn write<R>(
        &self,
        tables: &mut AnyConnection,
        rows: &[R],
        bind: impl Fn(&R, &mut Values),
    ) -> Result<(), ViewError> {
        for chunk in chunks(rows) {
            let mut values = Values::with_capacity(chunk.len() * self.columns.len());
            for row in chunk {
                bind(row, &mut values);
            }
            debug_assert_eq!(
                values.0.len(),
                chunk.len() * self.columns.len(),
                "{}",
                self.table
            );
            let sql = self.sql(chunk.len(), Placeholders::of(tables));
            tables
                .execute(sqlx::query_with(AssertSqlSafe(sql), values.0))
                .await?;
        }
        Ok(())
    }

    fn sql(&self, rows: usize, mut placeholders: Placeholders) -> String {
        let width = self.columns.len();
        let mut sql = String::with_capacity(64 + rows * width * 3);
        sql.push_str("INSERT INTO ");
        sql.push_str(self.table);
        sql.push_str(" (");
        sql.push_str(&self.columns.join(", "));
        sql.push_str(") VALUES ");
        for row in 0..rows {
            sql.push_str(if row == 0 { "" } else { "," });
            placeholders.list(&mut sql, width, self.last);
        }
        sql.push(' ');
        sql.push_str(self.conflict);
        sql
    }
}

/// A statement about the rows with some keys: `before (key, …) after`, where `before` ends in `IN`.
#[derive(Debug, Clone, Copy)]
pub struct ByKey {
    before: &'static str,
    after: &'static str,
}

impl ByKey {
    /// `DELETE FROM message WHERE id IN`
    pub const fn new(before: &'static str) -> Self {
        Self { before, after: "" }
    }

    /// What follows the keys.
    pub const fn then(mut self, after: &'static str) -> Self {
        self.after = after;
        self
    }

    /// Runs it for all the keys; answers how many rows it touched.
    pub async fn execute(
        &self,
        tables: &mut AnyConnection,
        keys: &[impl AsRef<str>],
    ) -> Result<u64, ViewError> {
        let mut touched = 0;
        for chunk in keys.chunks(SIZES[0]) {
            let (sql, values) = self.statement(&[], texts(chunk), Placeholders::of(tables));
            let done = tables
                .execute(sqlx::query_with(AssertSqlSafe(sql), values))
                .await?;
            touched += done.rows_affected();
        }
        Ok(touched)
    }

    /// The rows it finds for all the keys, in no order.
    pub async fn fetch(
        &self,
        tables: &mut AnyConnection,
        keys: &[impl AsRef<str>],
    ) -> Result<Vec<AnyRow>, ViewError> {
        let mut found = Vec::new();
        for chunk in keys.chunks(SIZES[0]) {
            let (sql, values) = self.statement(&[], texts(chunk), Placeholders::of(tables));
            found.extend(
                tables
                    .fetch_all(sqlx::query_with(AssertSqlSafe(sql), values))
                    .await?,
            );
        }
        Ok(found)
    }

    /// The same for a statement that names a value of its own, `$1`.
    pub async fn fetch_with(
        &self,
        tables: &mut AnyConnection,
        first: &str,
        keys: &[impl AsRef<str>],
    ) -> Result<Vec<AnyRow>, ViewError> {
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(SIZES[0]) {
            let (sql, values) = self.statement(&[first], texts(chunk), Placeholders::Numbered(1));
            found.extend(
                tables
                    .fetch_all(sqlx::query_with(AssertSqlSafe(sql), values))
                    .await?,
            );
        }
        Ok(found)
    }

    /// The rows it finds for keys that are numbers, in no order.
    pub async fn fetch_by_number(
        &self,
        tables: &mut AnyConnection,
        keys: &[i64],
    ) -> Result<Vec<AnyRow>, ViewError> {
        let mut found = Vec::new();
        for chunk in keys.chunks(SIZES[0]) {
            let keys = chunk.iter().copied();
            let (sql, values) = self.statement(&[], keys, Placeholders::of(tables));
            found.extend(
                tables
                    .fetch_all(sqlx::query_with(AssertSqlSafe(sql), values))
                    .await?,
            );
        }
        Ok(found)
    }

    /// Naming a key twice changes nothing, so a short list is filled up to the next of [`SIZES`].
    fn statement<K: Value + Clone>(
        &self,
        first: &[&str],
        keys: impl ExactSizeIterator<Item = K> + Clone,
        mut placeholders: Placeholders,
    ) -> (String, AnyArguments) {
        let size = SIZES.iter().rev().copied().find(|size| *size >= keys.len());
        let size = size.unwrap_or(keys.len());
        let mut values = Values::with_capacity(first.len() + size);
        for value in first {
            values.text(value);
        }
        let last = keys.clone().last();
        for key in keys.chain(last.into_iter().cycle()).take(size) {
            key.add_to(&mut values.0);
        }
        let mut sql = String::with_capacity(self.before.len() + self.after.len() + size * 3);
        sql.push_str(self.before);
        sql.push(' ');
        placeholders.list(&mut sql, size, "");
        sql.push(' ');
        sql.push_str(self.after);
        (sql, values.0)
    }
}

fn texts<K: AsRef<str>>(keys: &[K]) -> impl ExactSizeIterator<Item = &str> + Clone {
    keys.iter().map(AsRef::as_ref)
}

/// The values of rows on their way into a statement.
#[derive(Default)]
pub struct Values(AnyArguments);

impl Values {
    fn with_capacity(values: usize) -> Self {
        let mut arguments = AnyArguments::default();
        arguments.reserve(values, 0);
        Self(arguments)
    }

    pub fn text(&mut self, value: impl AsRef<str>) {
        value.as_ref().add_to(&mut self.0);
    }

    pub fn maybe_text(&mut self, value: Option<impl AsRef<str>>) {
        value
            .map(|value| value.as_ref().to_owned())
            .add_to(&mut self.0);
    }

    pub fn number(&mut self, value: i64) {
        value.add_to(&mut self.0);
    }

    pub fn maybe_number(&mut self, value: Option<i64>) {
        value.add_to(&mut self.0);
    }

    pub fn maybe_bytes(&mut self, value: Option<Vec<u8>>) {
        value.add_to(&mut self.0);
    }

    /// 0 or 1.
    pub fn flag(&mut self, value: bool) {
        self.number(i64::from(value));
    }

    pub fn time(&mut self, value: Timestamp) {
        self.number(value.0);
    }

    pub fn maybe_time(&mut self, value: Option<Timestamp>) {
        self.maybe_number(value.map(|value| value.0));
    }

    pub fn position(&mut self, value: Position) {
        self.number(value.0 as i64);
    }
}

/// How a database names the parameters of a statement.
///
/// SQLite takes `$1` too, but looks every name up in a list, for each parameter, each time.
enum Placeholders {
    Bare,
    Numbered(usize),
}

impl Placeholders {
    fn of(tables: &AnyConnection) -> Self {
        match Dialect::of(tables) {
            Dialect::Postgres => Self::Numbered(0),
            Dialect::Sqlite => Self::Bare,
        }
    }

    /// `(?,?,…)` or `($1,$2,…)`
    fn list(&mut self, sql: &mut String, count: usize, last: &str) {
        sql.push('(');
        for place in 0..count {
            sql.push_str(if place == 0 { "" } else { "," });
            match self {
                Self::Bare => sql.push('?'),
                Self::Numbered(last) => {
                    *last += 1;
                    sql.push('$');
                    sql.push_str(&last.to_string());
                }
            }
        }
        sql.push_str(last);
        sql.push(')');
    }
}

/// Cuts rows into pieces of [`SIZES`].
fn chunks<R>(mut rows: &[R]) -> impl Iterator<Item = &[R]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_into_few_lengths() {
        let rows: Vec<usize> = (0..150).collect();
        let lengths: Vec<_> = chunks(&rows).map(<[usize]>::len).collect();
        assert_eq!(lengths, [64, 64, 16, 4, 1, 1]);
        assert_eq!(chunks(&rows).flatten().copied().collect::<Vec<_>>(), rows);
    }

    #[test]
    fn statements_are_written_for_either_database() {
        let insert = Insert::into("t", &["a", "b"]).on_conflict("ON CONFLICT (a) DO NOTHING");
        assert_eq!(
            insert.sql(2, Placeholders::Numbered(0)),
            "INSERT INTO t (a, b) VALUES ($1,$2),($3,$4) ON CONFLICT (a) DO NOTHING"
        );
        let (sql, values) = ByKey::new("DELETE FROM t WHERE a IN").statement(
            &[],
            texts(&["x", "y"]),
            Placeholders::Bare,
        );
        assert_eq!(sql, "DELETE FROM t WHERE a IN (?,?,?,?) ");
        assert_eq!(values.len(), 4);
    }
}
