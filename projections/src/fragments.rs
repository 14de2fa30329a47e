//! Where a text stands anywhere in names, found by an index: SQLite's FTS5 with every three letters in a
//! row for a word, by the number of what is named. Triggers keep it; what the rows are called that they
//! read is said beside each, in `fts5.sql`. PostgreSQL has none without an extension: there a look for a
//! text walks.
//!
//! Texts are folded before they are entered and before they are looked for. The index knows in which columns
//! three letters stand, and not where: FTS5's secure deletion leaves parts of long lists of places behind
//! (seen with SQLite 3.54.1). So what it finds has all that a text is made of, and `LIKE` says which of that
//! has the text. A column of its own, `tags`, has what lists ask for beside a text, three letters each.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use hansard_domain::log::Position;
use sqlx::{AnyConnection, Row as _};

use crate::conditions::Conditions;
use crate::folding::folded;
use crate::sql::{self, Dialect};
use crate::view::ViewError;

/// A shorter text has no three letters in a row.
const SHORTEST: usize = 3;

/// Of a longer text the index is asked for the beginning.
const LONGEST: usize = 16;

/// So many are looked up and sorted rather than met in their order.
const FEW: i64 = if cfg!(test) { 2 } else { 4_000 };

/// What is asked of the index.
#[derive(Debug, Clone)]
pub(crate) struct Fragments {
    expression: String,
    /// Whether all that is found has the text.
    exact: bool,
    /// Whether the index was asked for all of the text.
    whole: bool,
}

impl Fragments {
    /// For what has a text in one of some columns, and all of these tags. `None` where the index can't say.
    pub fn of<'a>(
        dialect: Dialect,
        text: &str,
        columns: impl IntoIterator<Item = &'a str>,
        tags: impl IntoIterator<Item = &'a str>,
    ) -> Option<Self> {
        let text = folded(text);
        // A text goes up to its first NUL.
        if dialect != Dialect::Sqlite || text.chars().count() < SHORTEST || text.contains('\0') {
            return None;
        }
        let columns: Vec<_> = columns.into_iter().collect();
        if columns.is_empty() {
            return None;
        }
        let letters: Vec<char> = text.chars().take(LONGEST).collect();
        let parts: BTreeSet<String> = letters
            .windows(SHORTEST)
            .map(|part| part.iter().collect::<String>().replace('"', "\"\""))
            .collect();
        let parts: Vec<_> = parts.iter().map(|part| format!("\"{part}\"")).collect();
        let mut expression = format!("{{{}}} : ({})", columns.join(" "), parts.join(" AND "));
        for tag in tags {
            // Writing to a string does not fail.
            let _ = write!(expression, " AND tags : \"{tag}\"");
        }
        let length = text.chars().count();
        Some(Self {
            expression,
            exact: length == SHORTEST,
            whole: length <= LONGEST,
        })
    }

    /// The condition that the number in a column is found.
    pub fn hold(self, conditions: &mut Conditions, column: &str) {
        let found = "IN (SELECT rowid FROM fragment WHERE fragment MATCH $)";
        conditions.with(&format!("{column} {found}"), self.expression);
    }

    /// Whether all that is found has the text, or else `LIKE` has to say which has it.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// How many are found.
    pub async fn count(&self, tables: &mut AnyConnection) -> Result<i64, ViewError> {
        self.count_up_to(tables, i64::MAX).await
    }

    /// Whether what is found is best looked up, for somebody who wants so many at most. Of many that have
    /// the text, the first are soon met in their order.
    pub async fn are_few(
        &self,
        tables: &mut AnyConnection,
        wanted: Option<i64>,
    ) -> Result<bool, ViewError> {
        let Some(wanted) = wanted.filter(|_| self.whole) else {
            return Ok(true);
        };
        let few = wanted.max(FEW);
        let found = self.count_up_to(tables, few.saturating_add(1)).await?;
        Ok(found <= few)
    }

    async fn count_up_to(&self, tables: &mut AnyConnection, most: i64) -> Result<i64, ViewError> {
        let counting = "SELECT count(*) FROM \
             (SELECT rowid FROM fragment WHERE fragment MATCH $1 LIMIT $2)";
        let counting = sql::query(counting)
            .bind(self.expression.clone())
            .bind(most);
        Ok(counting.fetch_one(tables).await?.try_get(0)?)
    }
}

/// What is named is numbered by the position of the event that made it: the same however often the view
/// is built.
pub(crate) fn number(made: Position) -> i64 {
    // Positions are far below.
    i64::try_from(made.0).unwrap_or(i64::MAX)
}
