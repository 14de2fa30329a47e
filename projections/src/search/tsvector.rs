//! The index of words in PostgreSQL: a `tsvector` of each text, with a GIN index.
//!
//! The words are those of [`words`], so no configuration of PostgreSQL's has a say in them. What
//! stands in the column `scope` goes into the same index, behind a colon, which no word of a text has.
//!
//! A `tsvector` knows the places of the first 16,383 words of a text; of a longer one phrases are found
//! up to there, and words up to some 900,000 bytes of different ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use hansard_domain::id::MessageId;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::fold::{Row, room_word, sender_word};
use super::index::Wanted;
use super::question::{MIN_PREFIX, Term};
use super::words::words;
use crate::rows::{ByKey, Insert};
use crate::sql;
use crate::view::ViewError;

/// The last place of a word that is known.
const LAST_PLACE: usize = 16_383;

/// Of one word; PostgreSQL knows no more.
const MAX_PLACES: usize = 255;

/// A `tsvector` has a MiB at most.
const MAX_BYTES: usize = 900_000;

const ADD: Insert = Insert::into("words", &["number", "words"]).cast_last("::tsvector");
const FORGET: ByKey =
    ByKey::new("DELETE FROM words WHERE number IN (SELECT number FROM entry WHERE id IN").then(")");

pub(super) async fn find(
    tables: &mut AnyConnection,
    wanted: &Wanted<'_>,
) -> Result<Vec<AnyRow>, ViewError> {
    const NEWEST: &str = "SELECT e.id FROM words w JOIN entry e ON e.number = w.number \
         WHERE w.words @@ CAST($1 AS tsquery) AND w.number >= $2 AND w.number < $3 \
         ORDER BY w.number DESC LIMIT $4 OFFSET $5";
    const OLDEST: &str = "SELECT e.id FROM words w JOIN entry e ON e.number = w.number \
         WHERE w.words @@ CAST($1 AS tsquery) AND w.number >= $2 AND w.number < $3 \
         ORDER BY w.number LIMIT $4 OFFSET $5";
    let Some(expression) = expression(wanted) else {
        return Ok(Vec::new());
    };
    let order = if wanted.question.oldest_first {
        OLDEST
    } else {
        NEWEST
    };
    let rows = sql::query(order)
        .bind(expression)
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
        values.text(vector(&row.text, &row.scope));
    })
    .await
}

pub(super) async fn forget(
    tables: &mut AnyConnection,
    rows: &[(&MessageId, &Row)],
) -> Result<(), ViewError> {
    let ids: Vec<&MessageId> = rows.iter().map(|(id, _)| *id).collect();
    FORGET.execute(tables, &ids).await?;
    Ok(())
}

pub(super) async fn rows_scoped(
    tables: &mut AnyConnection,
    word: &str,
    most: i64,
) -> Result<Vec<AnyRow>, ViewError> {
    let rows = sql::query(
        "SELECT e.number, e.id, e.text, e.scope FROM words w JOIN entry e ON e.number = w.number \
         WHERE w.words @@ CAST($1 AS tsquery) ORDER BY w.number LIMIT $2",
    )
    .bind(scoped(word))
    .bind(most)
    .fetch_all(tables)
    .await?;
    Ok(rows)
}

/// A word of the column `scope`. They are made of small letters and digits.
fn scoped(word: &str) -> String {
    format!("':{word}'")
}

/// The text of a `tsvector`: words of a text with their places, and those of its scope without.
fn vector(text: &str, scope: &str) -> String {
    let mut places: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut bytes = scope.len();
    for (place, word) in (1..).zip(words(text)) {
        let known = places.get_mut(&word);
        match known {
            Some(known) if known.len() < MAX_PLACES => {
                known.insert(place.min(LAST_PLACE));
                bytes += 2;
            }
            Some(_) => {}
            None => {
                bytes += word.len() + 8;
                places.insert(word, BTreeSet::from([place.min(LAST_PLACE)]));
            }
        }
        if bytes > MAX_BYTES {
            break;
        }
    }
    let mut vector = String::new();
    for word in scope.split(' ') {
        vector.push_str(&scoped(word));
        vector.push(' ');
    }
    for (word, places) in places {
        // Writing to a string does not fail. A word has no quotes and no backslashes in it.
        let _ = write!(vector, "'{word}'");
        for (number, place) in places.into_iter().enumerate() {
            let _ = write!(vector, "{}{place}", if number == 0 { ':' } else { ',' });
        }
        vector.push(' ');
    }
    vector
}

/// The question as a `tsquery`; `None` if nothing can answer it. Everything that was typed is cut into
/// words, and each stands in quotes.
fn expression(wanted: &Wanted<'_>) -> Option<String> {
    let any = |words: &mut dyn Iterator<Item = String>| {
        let words: Vec<_> = words.map(|word| scoped(&word)).collect();
        format!("({})", words.join(" | "))
    };
    let mut expression = any(&mut wanted.rooms.iter().map(room_word));
    if !wanted.senders.is_empty() {
        expression.push_str(" & ");
        expression.push_str(&any(&mut wanted.senders.iter().map(sender_word)));
    }
    for mark in &wanted.question.marks {
        expression.push_str(" & ");
        expression.push_str(&scoped(mark.as_ref()));
    }
    for term in &wanted.question.terms {
        expression.push_str(" & ");
        expression.push_str(&phrase(term)?);
    }
    for term in &wanted.question.without {
        // What has no words in it stands nowhere.
        if let Some(phrase) = phrase(term) {
            expression.push_str(" & !");
            expression.push_str(&phrase);
        }
    }
    Some(expression)
}

/// `None` if there is no word in it.
fn phrase(term: &Term) -> Option<String> {
    let (text, star) = match term {
        Term::Phrase(text) => (text, ""),
        Term::Prefix(start) if start.chars().count() < MIN_PREFIX => (start, ""),
        Term::Prefix(start) => (start, ":*"),
    };
    let words: Vec<_> = words(text).map(|word| format!("'{word}'")).collect();
    (!words.is_empty()).then(|| format!("({}{star})", words.join(" <-> ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Question;

    #[test]
    fn whatever_is_typed_stands_in_quotes() {
        let question = Question::read("a'b -c* | !x scope:r1 te*");
        let wanted = Wanted {
            question: &question,
            rooms: &["R".into()],
            senders: &["U".into()],
            from: 0,
            until: 0,
            count: 0,
            offset: 0,
        };
        assert_eq!(
            expression(&wanted).unwrap(),
            "(':r52') & (':u55') & ('a' <-> 'b') & ('x') & ('scope' <-> 'r1') & ('te':*) & !('c')"
        );
    }

    #[test]
    fn a_text_knows_the_places_of_its_words() {
        assert_eq!(
            vector("Boot, the loader; BOOT!", "r52 u55 link"),
            "':r52' ':u55' ':link' 'boot':1,4 'loader':3 'the':2 "
        );
    }

    #[test]
    fn a_text_of_any_length_can_be_kept() {
        let long: Vec<_> = (0..200_000).map(|number| number.to_string()).collect();
        assert!(vector(&long.join(" "), "r52").len() < 2_000_000);
        assert!(vector(&"x ".repeat(100_000), "r52").len() < 2_000);
    }
}
