//! The index of words in SQLite.

use std::fmt::Write as _;

use hansard_domain::id::{MessageId, RoomId, UserId};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::fold::{Row, room_word, sender_word};
use super::index::Wanted;
use super::question::{MIN_PREFIX, Question, Term};
use crate::rows::Insert;
use crate::sql;
use crate::view::ViewError;

const ADD: Insert = Insert::into("words", &["rowid", "text", "scope"]);

/// The index forgets a row when it is told what stood in it.
const FORGET: Insert = Insert::into("words", &["words", "rowid", "text", "scope"]);

pub(super) async fn find(
    tables: &mut AnyConnection,
    wanted: &Wanted<'_>,
) -> Result<Vec<AnyRow>, ViewError> {
    const NEWEST: &str = "SELECT e.id FROM words JOIN entry e ON e.number = words.rowid \
         WHERE words MATCH $1 AND words.rowid >= $2 AND words.rowid < $3 \
         ORDER BY words.rowid DESC LIMIT $4 OFFSET $5";
    const OLDEST: &str = "SELECT e.id FROM words JOIN entry e ON e.number = words.rowid \
         WHERE words MATCH $1 AND words.rowid >= $2 AND words.rowid < $3 \
         ORDER BY words.rowid LIMIT $4 OFFSET $5";
    let order = if wanted.question.oldest_first {
        OLDEST
    } else {
        NEWEST
    };
    let rows = sql::query(order)
        .bind(expression(wanted.question, wanted.rooms, wanted.senders))
        .bind(wanted.from)
        .bind(wanted.until)
        .bind(wanted.count)
        .bind(wanted.offset)
        .fetch_all(tables)
        .await?;
    Ok(rows)
}

pub(super) async fn add(
    tables: &mut AnyConnection,
    rows: &[(&MessageId, &Row)],
) -> Result<(), ViewError> {
    ADD.write(tables, rows, |(_, row), values| {
        values.number(row.number);
        values.text(&row.text);
        values.text(&row.scope);
    })
    .await
}

pub(super) async fn forget(
    tables: &mut AnyConnection,
    rows: &[(&MessageId, &Row)],
) -> Result<(), ViewError> {
    FORGET
        .write(tables, rows, |(_, row), values| {
            values.text("delete");
            values.number(row.number);
            values.text(&row.text);
            values.text(&row.scope);
        })
        .await
}

pub(super) async fn scoped(
    tables: &mut AnyConnection,
    word: &str,
    most: i64,
) -> Result<Vec<AnyRow>, ViewError> {
    let rows = sql::query(
        "SELECT e.number, e.id, e.text, e.scope \
         FROM words JOIN entry e ON e.number = words.rowid \
         WHERE words MATCH $1 ORDER BY words.rowid LIMIT $2",
    )
    .bind(format!("scope : \"{word}\""))
    .bind(most)
    .fetch_all(tables)
    .await?;
    Ok(rows)
}

/// The question in FTS5's language. Everything that was typed stands in a quoted string, which the
/// index only ever cuts into words.
fn expression(question: &Question, rooms: &[RoomId], senders: &[UserId]) -> String {
    let mut expression = String::new();
    any(&mut expression, rooms.iter().map(room_word));
    if !senders.is_empty() {
        expression.push_str(" AND ");
        any(&mut expression, senders.iter().map(sender_word));
    }
    for mark in &question.marks {
        // Writing to a string does not fail.
        let _ = write!(expression, " AND scope : \"{}\"", mark.as_ref());
    }
    for term in &question.terms {
        expression.push_str(" AND ");
        text(&mut expression, term);
    }
    if question.without.is_empty() {
        return expression;
    }
    let mut without = String::new();
    for term in &question.without {
        without.push_str(if without.is_empty() { "" } else { " OR " });
        text(&mut without, term);
    }
    format!("({expression}) NOT ({without})")
}

fn any(expression: &mut String, words: impl Iterator<Item = String>) {
    for (place, word) in words.enumerate() {
        expression.push_str(if place == 0 { "scope : (" } else { " OR " });
        let _ = write!(expression, "\"{word}\"");
    }
    expression.push(')');
}

fn text(expression: &mut String, term: &Term) {
    let (words, star) = match term {
        Term::Phrase(words) => (words, ""),
        Term::Prefix(start) if start.chars().count() < MIN_PREFIX => (start, ""),
        Term::Prefix(start) => (start, " *"),
    };
    let quoted = words.replace('"', "\"\"").replace('\0', " ");
    let _ = write!(expression, "text : (\"{quoted}\"{star})");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_typed_stands_in_quotes() {
        let question = Question::read("a\"b -c* OR NEAR(x) scope:r1 te*");
        let written = expression(&question, &["R".into()], &["U".into()]);
        assert_eq!(
            written,
            "(scope : (\"r52\") AND scope : (\"u55\") AND text : (\"a\"\"b\") AND \
             text : (\"OR\") AND text : (\"NEAR(x)\") AND text : (\"scope:r1\") AND \
             text : (\"te\" *)) NOT (text : (\"c\"))"
        );
    }
}
