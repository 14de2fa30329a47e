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

/// Of so many it is told exactly how many have the text.
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
    /// For what has a text in one of some columns, and tags as they are asked for. `None` where the index
    /// can't say.
    pub fn of<'a>(
        dialect: Dialect,
        text: &str,
        columns: impl IntoIterator<Item = &'a str>,
        tags: impl IntoIterator<Item = Tag<'a>>,
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
        // Side by side, and the last ones: each more has to be gone through, and `LIKE` looks anyway.
        let last = letters.len() - SHORTEST;
        let parts: BTreeSet<String> = (0..last)
            .step_by(SHORTEST)
            .chain([last])
            .map(|at| letters[at..at + SHORTEST].iter().collect::<String>())
            .map(|part| part.replace('"', "\"\""))
            .collect();
        let parts: Vec<_> = parts.iter().map(|part| format!("\"{part}\"")).collect();
        let columns = columns.join(" ");
        let mut expression = format!("({{{columns}}} : ({}))", parts.join(" AND "));
        for tag in tags {
            let (asked, tag) = match tag {
                Tag::Has(tag) => ("AND", tag),
                Tag::HasNot(tag) => ("NOT", tag),
            };
            expression = format!("({expression} {asked} tags : \"{tag}\")");
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

    /// How many are found, as far as up to so many.
    pub async fn count_up_to(
        &self,
        tables: &mut AnyConnection,
        most: i64,
    ) -> Result<i64, ViewError> {
        let counting = "SELECT count(*) FROM \
             (SELECT rowid FROM fragment WHERE fragment MATCH $1 LIMIT $2)";
        let counting = sql::query(counting)
            .bind(self.expression.clone())
            .bind(most);
        Ok(counting.fetch_one(tables).await?.try_get(0)?)
    }

    /// How many have the text: exactly, or, where it would have to be looked for in too many, how many are
    /// found, which may be a few more.
    pub async fn total(&self, tables: &mut AnyConnection) -> Result<Total, ViewError> {
        let found = self.count_up_to(tables, i64::MAX).await?;
        Ok(if self.exact {
            Total::Exact(found)
        } else if found > FEW {
            Total::AtMost(found)
        } else {
            Total::ToBeCounted
        })
    }

    /// How many are found, as far as up to one more than `most`, for somebody who wants so many of them; 0
    /// where they are to be looked up however many there are, as the index was asked for a part of the text
    /// or all are wanted.
    pub async fn to_look_up(
        &self,
        tables: &mut AnyConnection,
        wanted: Option<i64>,
        most: i64,
    ) -> Result<i64, ViewError> {
        match wanted {
            Some(wanted) if self.whole => {
                let most = most.max(wanted).saturating_add(1);
                self.count_up_to(tables, most).await
            }
            _ => Ok(0),
        }
    }
}

/// What is asked of what stands beside a text. What nearly all have is best asked for by what they have not.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tag<'a> {
    Has(&'a str),
    HasNot(&'a str),
}

/// How many have a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Total {
    Exact(i64),
    /// A few of them may not have it.
    AtMost(i64),
    /// The index can't tell, but those that it finds are few.
    ToBeCounted,
}

impl Total {
    /// Corrected by a page that begins at an offset: where it ends before its limit, all have been met.
    pub fn corrected(total: i64, offset: i64, met: usize, limit: i64) -> i64 {
        let met = met as i64;
        let end = offset.saturating_add(met);
        if met < limit && (met > 0 || offset == 0) {
            end
        } else {
            total.max(end)
        }
    }
}

/// What is named is numbered by the position of the event that made it: the same however often the view
/// is built.
pub(crate) fn number(made: Position) -> i64 {
    // Positions are far below.
    i64::try_from(made.0).unwrap_or(i64::MAX)
}
