//! Finding messages.

use std::fmt::Write as _;

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::fold::{number_at, room_word, sender_word};
use super::question::{Question, Term};
use crate::store::Store;
use crate::view::ViewError;

/// The shortest beginning of a word that is looked for as one: a letter begins too many words.
const MIN_PREFIX: usize = 2;

/// What was found, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    pub ids: Vec<MessageId>,
}

/// The queries.
#[derive(Clone)]
pub struct Search {
    store: Store,
}

impl Search {
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The messages in some rooms that answer a question, the newest first unless it asks otherwise.
    /// `senders` are those that the names in its `from` mean; who asks says which rooms may be seen.
    pub async fn find(
        &self,
        question: &Question,
        rooms: &[RoomId],
        senders: &[UserId],
        offset: u64,
        count: u64,
    ) -> Result<Matches, ViewError> {
        if rooms.is_empty() || (senders.is_empty() && !question.from.is_empty()) {
            return Ok(Matches::default());
        }
        let mut reading = self.store.read().await?;
        find(&mut reading, question, rooms, senders, (offset, count)).await
    }
}

pub(super) async fn find(
    tables: &mut AnyConnection,
    question: &Question,
    rooms: &[RoomId],
    senders: &[UserId],
    (offset, count): (u64, u64),
) -> Result<Matches, ViewError> {
    const NEWEST: &str = "SELECT e.id FROM words JOIN entry e ON e.number = words.rowid \
         WHERE words MATCH $1 AND words.rowid >= $2 AND words.rowid < $3 \
         ORDER BY words.rowid DESC LIMIT $4 OFFSET $5";
    const OLDEST: &str = "SELECT e.id FROM words JOIN entry e ON e.number = words.rowid \
         WHERE words MATCH $1 AND words.rowid >= $2 AND words.rowid < $3 \
         ORDER BY words.rowid LIMIT $4 OFFSET $5";
    let bound = |at: Option<Timestamp>, otherwise| at.map_or(otherwise, number_at);
    let limit = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let order = if question.oldest_first {
        OLDEST
    } else {
        NEWEST
    };
    let rows = sqlx::query(order)
        .bind(expression(question, rooms, senders))
        .bind(bound(question.since, i64::MIN))
        .bind(bound(question.until, i64::MAX))
        .bind(limit(count))
        .bind(limit(offset))
        .fetch_all(tables)
        .await?;
    let id = |row: &AnyRow| Ok(MessageId::new(row.try_get::<String, _>(0)?));
    Ok(Matches {
        ids: rows.iter().map(id).collect::<Result<_, ViewError>>()?,
    })
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
