//! Messages that went, for views that count or remember them without knowing each: the table of
//! `gone.sql`, which such a view has among its own.
//!
//! A message can be told of more than once: two prunes name it, or a prune names what a person deleted
//! a moment ago. Whoever decided so did not know of the other yet, so the second comes soon after the
//! first. That soon it is remembered, and not for ever: a workspace that prunes has more messages that
//! are gone than messages.

use std::collections::{BTreeMap, HashMap};

use hansard_domain::log::Position;
use sqlx::{AnyConnection, Row as _};

use crate::rows::{ByKey, Insert};
use crate::sql;
use crate::view::ViewError;

/// For how many positions a message is remembered that nothing is expected of any more. No decision
/// takes as long as a million others.
const REMEMBERED: u64 = 1_000_000;

const KNOWN: ByKey = ByKey::new("SELECT message, position FROM gone WHERE message IN");
const GONE: Insert = Insert::into("gone", &["message", "room", "position"])
    .on_conflict("ON CONFLICT (message) DO UPDATE SET position = excluded.position");
const FORGET_ROOM: ByKey = ByKey::new("DELETE FROM gone WHERE room IN");

/// A message that an event takes away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaving<'a> {
    pub message: &'a str,
    pub room: &'a str,
    pub position: Position,
    /// A prune is still to name it.
    pub kept: bool,
}

/// Remembers messages that go, in the order of the events; answers for each whether it was there
/// until now.
pub(crate) async fn leave(
    tables: &mut AnyConnection,
    leaving: &[Leaving<'_>],
) -> Result<Vec<bool>, ViewError> {
    let Some(last) = leaving.iter().map(|leaving| leaving.position).max() else {
        return Ok(Vec::new());
    };
    let mut known = known(tables, leaving.iter().map(|leaving| leaving.message)).await?;
    let mut changed: BTreeMap<&str, (&str, Option<i64>)> = BTreeMap::new();
    let mut first = Vec::with_capacity(leaving.len());
    for leaving in leaving {
        let before = known
            .get(leaving.message)
            .filter(|position| is_remembered(**position, leaving.position));
        first.push(before.is_none());
        // What a prune has named is pruned, whatever comes after it.
        if before.is_none_or(Option::is_none) {
            let position = (!leaving.kept).then_some(leaving.position.0 as i64);
            if before != Some(&position) {
                changed.insert(leaving.message, (leaving.room, position));
                known.insert(leaving.message.to_owned(), position);
            }
        }
    }
    let changed: Vec<_> = changed.into_iter().collect();
    GONE.write(tables, &changed, |(message, (room, position)), values| {
        values.text(message);
        values.text(room);
        values.maybe_number(*position);
    })
    .await?;
    sql::query("DELETE FROM gone WHERE position < $1")
        .bind(last.0.saturating_sub(REMEMBERED) as i64)
        .execute(tables)
        .await?;
    Ok(first)
}

/// Whether a message that went is remembered at a later event, whenever it is cleared away.
pub(crate) fn is_remembered(went: Option<i64>, now: Position) -> bool {
    went.is_none_or(|went| went as u64 + REMEMBERED >= now.0)
}

/// Which of some messages went, and when; `None` for those that a prune is still to name.
pub(crate) async fn known(
    tables: &mut AnyConnection,
    messages: impl Iterator<Item = &str>,
) -> Result<HashMap<String, Option<i64>>, ViewError> {
    let mut messages: Vec<&str> = messages.collect();
    messages.sort_unstable();
    messages.dedup();
    let mut known = HashMap::new();
    for row in KNOWN.fetch(tables, &messages).await? {
        known.insert(row.try_get(0)?, row.try_get(1)?);
    }
    Ok(known)
}

/// Forgets what went from rooms that are gone themselves.
pub(crate) async fn forget_rooms(
    tables: &mut AnyConnection,
    rooms: &[&str],
) -> Result<(), ViewError> {
    FORGET_ROOM.execute(tables, rooms).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::Executor;

    use super::*;
    use crate::testing::{ON, on_both_engines, place};

    fn leaving(message: &str, position: u64, kept: bool) -> Leaving<'_> {
        Leaving {
            message,
            room: "general",
            position: Position(position),
            kept,
        }
    }

    async fn a_message_goes_once() {
        let mut tables = place(ON.get()).await;
        let schema = ON.get().adapt(include_str!("gone.sql")).into_owned();
        tables
            .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(schema)))
            .await
            .unwrap();
        let both = [
            leaving("a", 1, true),
            leaving("a", 2, false),
            leaving("b", 3, false),
        ];
        assert_eq!(
            leave(&mut tables, &both).await.unwrap(),
            [true, false, true]
        );
        let again = [
            leaving("a", 4, false),
            leaving("b", 5, true),
            leaving("c", 6, true),
        ];
        assert_eq!(
            leave(&mut tables, &again).await.unwrap(),
            [false, false, true]
        );
        // What nobody can mean any more is forgotten, what a prune is to name is not.
        let late = [
            leaving("d", 7 + REMEMBERED, false),
            leaving("a", 7 + REMEMBERED, false),
        ];
        assert_eq!(leave(&mut tables, &late).await.unwrap(), [true, true]);
        let known = known(&mut tables, ["a", "b", "c", "d"].into_iter())
            .await
            .unwrap();
        let mut known: Vec<_> = known.into_iter().collect();
        known.sort();
        let late = Some(7 + REMEMBERED as i64);
        let expected = [("a", late), ("c", None), ("d", late)];
        let expected = expected.map(|(message, position)| (message.to_owned(), position));
        assert_eq!(known, expected);
    }

    on_both_engines!(a_message_goes_once);
}
