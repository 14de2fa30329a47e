//! Pages of what is ordered by time.
//!
//! Clients page by time: they ask for what lies before (or after) the time of the last message they
//! have. So a page must not end between two messages of the same time, or the second is never seen: it
//! is lengthened to the end of such a group, by at most [`LONGER`] messages. A page that ends inside
//! of a group that is longer still says so ([`Found::split`]): the rest of it is found by asking for
//! the same stretch with an `offset`, or beyond the position of the last message.
//!
//! A page is made whole in memory, so it ends in the same way where it is as large as it may be; but a
//! group that is too long for its end is left to the next page.

use std::ops::ControlFlow;
use std::time::Instant;

use futures::TryStreamExt;
use hansard_domain::id::Timestamp;
use hansard_domain::log::Position;
use hansard_domain::pace::Pace;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::{Found, MOST_BYTES, Slice};
use crate::engine::TIME;
use crate::sql::Query;
use crate::view::ViewError;

/// By how many messages a page is lengthened at most. Times that messages show rise strictly within a
/// room unless it is faster than a thousand messages a second for longer than a second; then what one
/// commit holds shares a time, which is some hundred messages at most. Times of changes are shared by
/// whatever one event changes, which may be all that somebody ever wrote.
const LONGER: u64 = 1_000;

/// A page of more messages is read row by row, until it is as large as it may be: joined by the database
/// it is as large as its messages are, a quarter of a megabyte each at most.
pub(super) const JOINED: u64 = 100;

/// Rows are asked for in parts of so many: PostgreSQL sends all that a statement finds, wanted or not.
const PART: u64 = 10_000;

/// The statements that pages of one list are made of; see [`by_time!`].
pub(super) struct ByTime {
    /// The page as one row, with the times at its ends.
    pub page: &'static str,
    /// A row for each message: its JSON and its time.
    pub rows: &'static str,
    /// The position of the message at a place in the list: the parameter in place of the limit.
    pub position: &'static str,
}

/// The statements of a list: the column of its time, what comes first, what is listed
/// (`FROM message m WHERE …`), between which times, both inclusive, and the numbers of the three
/// parameters that come last: limit, offset, and the place of the last message that is asked for.
///
/// Where an index tells by itself what is listed, the end of a page is looked up there: the columns of time
/// and position are the index's, and a list without the messages (`FROM message s WHERE …`) comes before the
/// one with them.
///
/// A list that is read on inside of a time begins beyond a time and a position, exclusive, instead.
///
/// A page goes on to the time of that message, which is looked up in the same statement.
macro_rules! by_time {
    (
        $time:literal, newest first, $listed:expr, $from:literal to $to:literal,
        $limit:literal, $offset:literal, $last:literal
    ) => {
        by_time!(
            @ $time, "m.position", " DESC", "max", "min",
            concat!($listed, " AND ", $time, " <= ", $to), concat!($listed, " AND ", $time, " <= ", $to),
            " >= ", $from, $limit, $offset, $last
        )
    };
    (
        $time:literal, $position:literal, newest first, $keys:expr, $listed:expr, $from:literal to $to:literal,
        $limit:literal, $offset:literal, $last:literal
    ) => {
        by_time!(
            @ $time, $position, " DESC", "max", "min",
            concat!($keys, " AND ", $time, " <= ", $to), concat!($listed, " AND ", $time, " <= ", $to),
            " >= ", $from, $limit, $offset, $last
        )
    };
    (
        $time:literal, oldest first, $listed:expr, $from:literal to $to:literal,
        $limit:literal, $offset:literal, $last:literal
    ) => {
        by_time!(
            @ $time, "m.position", "", "min", "max",
            concat!($listed, " AND ", $time, " >= ", $from), concat!($listed, " AND ", $time, " >= ", $from),
            " <= ", $to, $limit, $offset, $last
        )
    };
    (
        $time:literal, newest first, $listed:expr, before ($at:literal, $position:literal) to $to:literal,
        $limit:literal, $offset:literal, $last:literal
    ) => {
        by_time!(
            @ $time, "m.position", " DESC", "max", "min",
            concat!($listed, " AND (", $time, ", m.position) < (", $at, ", ", $position, ")"),
            concat!($listed, " AND (", $time, ", m.position) < (", $at, ", ", $position, ")"),
            " >= ", $to, $limit, $offset, $last
        )
    };
    (
        $time:literal, oldest first, $listed:expr, after ($at:literal, $position:literal) to $to:literal,
        $limit:literal, $offset:literal, $last:literal
    ) => {
        by_time!(
            @ $time, "m.position", "", "min", "max",
            concat!($listed, " AND (", $time, ", m.position) > (", $at, ", ", $position, ")"),
            concat!($listed, " AND (", $time, ", m.position) > (", $at, ", ", $position, ")"),
            " <= ", $to, $limit, $offset, $last
        )
    };
    (
        @ $time:literal, $position:literal, $order:literal, $first_of:literal, $last_of:literal,
        $keys:expr, $listed:expr, $through:literal, $to:literal,
        $limit:literal, $offset:literal, $last:literal
    ) => {
        $crate::messages::queries::by_time::ByTime {
            page: concat!(
                "SELECT count(*), string_agg(one, ','), ", $first_of, "(at), ", $last_of, "(at), max(stars) ",
                "FROM (SELECT ", one!(), " AS one, m.stars AS stars, ", $time, " AS at ", $listed, " AND ", $time, $through,
                "coalesce((SELECT ", $time, " ", $keys, " AND ", $time, $through, $to,
                " ORDER BY ", $time, $order, ", ", $position, $order, " LIMIT 1 OFFSET ", $last, "), ", $to, ")",
                " ORDER BY ", $time, $order, ", ", $position, $order, " LIMIT ", $limit, " OFFSET ", $offset,
                ") AS page"
            ),
            rows: concat!(
                "SELECT ", one!(), " AS one, ", $time, " AS at ", $listed, " AND ", $time, $through, $to,
                " ORDER BY ", $time, $order, ", ", $position, $order, " LIMIT ", $limit, " OFFSET ", $offset
            ),
            position: concat!(
                "SELECT ", $position, " ", $keys, " AND ", $time, $through, $to,
                " ORDER BY ", $time, $order, ", ", $position, $order, " LIMIT 1 OFFSET ", $limit
            ),
        }
    };
}
pub(super) use by_time;

impl ByTime {
    /// The part of the list that is asked for, lengthened where it has to be. `bound` gives a statement
    /// its parameters, all but those of the slice.
    pub async fn find(
        &self,
        tables: &mut AnyConnection,
        slice: Slice,
        bound: impl Fn(&'static str) -> Query,
    ) -> Result<Found, ViewError> {
        let Some(wanted) = slice.count.filter(|count| *count <= JOINED) else {
            return long(tables, slice, || bound(self.rows)).await;
        };
        let Some(before_last) = wanted.checked_sub(1) else {
            return Ok(Found {
                json: "[]".to_owned(),
                ..Found::default()
            });
        };
        let last = Slice {
            offset: slice.offset.saturating_add(before_last),
            ..slice
        };
        let row = bound(self.page)
            .bind((wanted + LONGER) as i64)
            .bind(slice.skip())
            .bind(last.skip())
            .fetch_one(tables)
            .await?;
        let joined = Found::joined(&row)?;
        Ok(Found {
            split: joined.count == wanted + LONGER,
            first: row.try_get::<Option<i64>, _>(2)?.map(Timestamp),
            last: row.try_get::<Option<i64>, _>(3)?.map(Timestamp),
            starred: row
                .try_get::<Option<i64>, _>(4)?
                .is_some_and(|stars| stars > 0),
            ..joined
        })
    }

    /// The position of the message at a place in the list, from 0 on; `None` beyond its end. `bound` as
    /// in [`Self::find`].
    pub async fn position(
        &self,
        tables: &mut AnyConnection,
        place: u64,
        bound: impl Fn(&'static str) -> Query,
    ) -> Result<Option<Position>, ViewError> {
        let found = bound(self.position).bind(i64::try_from(place).unwrap_or(i64::MAX));
        let row = found.fetch_optional(tables).await?;
        row.map(|row| Ok(Position(row.try_get::<i64, _>(0)? as u64)))
            .transpose()
    }
}

/// A page that is read row by row: each is a message's JSON and its time. `bound` gives the statement
/// its parameters, all but limit and offset.
pub(super) async fn long(
    tables: &mut AnyConnection,
    slice: Slice,
    bound: impl Fn() -> Query,
) -> Result<Found, ViewError> {
    let most = Slice {
        // The one beyond the end says whether a group was split there.
        count: slice.count.map(|count| count.saturating_add(LONGER + 1)),
        ..slice
    };
    let mut filling = Filling::new(slice.count);
    each(tables, most, bound, |row| {
        Ok(filling.take(row.try_get(0)?, Timestamp(row.try_get(1)?)))
    })
    .await?;
    Ok(filling.found())
}

/// A page that is being filled, message by message.
pub(super) struct Filling {
    count: Option<u64>,
    found: Found,
    longer: u64,
    /// The page as it was before the messages of its last time.
    before: Before,
}

#[derive(Clone, Copy, Default)]
struct Before {
    bytes: usize,
    count: u64,
    last: Option<Timestamp>,
}

impl Filling {
    /// Up to so many messages, and those of the same time as the last of them.
    pub fn new(count: Option<u64>) -> Self {
        Self {
            count,
            found: Found {
                json: "[".to_owned(),
                ..Found::default()
            },
            longer: 0,
            before: Before::default(),
        }
    }

    /// Breaks where the page has ended before this message.
    pub fn take(&mut self, json: &str, at: Timestamp) -> ControlFlow<()> {
        let found = &mut self.found;
        let enough = self.count.is_some_and(|count| found.count >= count);
        let full = found.json.len() >= MOST_BYTES;
        if enough || full {
            if found.last != Some(at) {
                found.full = full;
                return ControlFlow::Break(());
            }
            if self.longer == LONGER {
                found.full = full;
                // A page that is full ends anywhere: rather before a time than inside of it.
                if full && self.before.count > 0 {
                    found.json.truncate(self.before.bytes);
                    found.count = self.before.count;
                    found.last = self.before.last;
                } else {
                    found.split = true;
                }
                return ControlFlow::Break(());
            }
            self.longer += 1;
        }
        if found.last != Some(at) {
            self.before = Before {
                bytes: found.json.len(),
                count: found.count,
                last: found.last,
            };
        }
        if found.count > 0 {
            found.json.push(',');
        }
        found.json.push_str(json);
        found.first = found.first.or(Some(at));
        found.last = Some(at);
        found.count += 1;
        ControlFlow::Continue(())
    }

    pub fn found(mut self) -> Found {
        self.found.json.push(']');
        self.found
    }
}

/// Reads the rows of a list one by one until there is enough. `bound` gives the statement its
/// parameters, all but limit and offset. However many parts it has, they have the time of one statement.
pub(super) async fn each(
    tables: &mut AnyConnection,
    mut slice: Slice,
    bound: impl Fn() -> Query,
    mut take: impl FnMut(&AnyRow) -> Result<ControlFlow<()>, ViewError>,
) -> Result<(), ViewError> {
    let (begun, mut pace) = (Instant::now(), Pace::new());
    loop {
        let wanted = slice.count.map_or(PART, |count| count.min(PART));
        let part = Slice {
            count: Some(wanted),
            ..slice
        };
        let mut rows = bound()
            .bind(part.limit())
            .bind(part.skip())
            .fetch(&mut *tables);
        let mut came = 0;
        while let Some(row) = rows.try_next().await? {
            if take(&row)?.is_break() {
                return Ok(());
            }
            came += 1;
            pace.keep().await;
            if begun.elapsed() > TIME {
                return Err(ViewError::TooLong);
            }
        }
        if came < wanted {
            return Ok(());
        }
        slice.offset = slice.offset.saturating_add(wanted);
        slice.count = slice.count.map(|count| count - wanted);
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Executor as _};

    use super::super::changes::{UPDATED, UPDATED_NEWEST};
    use super::super::history::{HISTORY, HISTORY_WITH_REPLIES};
    use super::super::list::{NEWEST, NEWEST_MENTIONING};
    use super::super::threads::THREAD;
    use super::*;
    use crate::messages::MessagesView;
    use crate::sql::Dialect;
    use crate::testing::tables_on;

    #[test]
    fn a_page_ends_between_two_times_where_it_has_enough_or_is_full() {
        let times = |count, json: &str| {
            let mut filling = Filling::new(count);
            let of_all = [9, 8, 8, 8, 7].into_iter().map(Timestamp);
            let taken = of_all.take_while(|at| filling.take(json, *at).is_continue());
            let taken: Vec<_> = taken.map(|at| at.0).collect();
            let found = filling.found();
            assert_eq!(found.count, taken.len() as u64);
            (taken, found.full)
        };
        assert_eq!(times(Some(1), "1"), (vec![9], false));
        assert_eq!(times(Some(2), "1"), (vec![9, 8, 8, 8], false));
        assert_eq!(times(Some(5), "1"), (vec![9, 8, 8, 8, 7], false));
        assert_eq!(times(None, "1"), (vec![9, 8, 8, 8, 7], false));
        assert_eq!(times(Some(0), "1"), (vec![], false));
        let half = "1".repeat(MOST_BYTES / 2);
        assert_eq!(times(None, &half), (vec![9, 8, 8, 8], true));
        assert_eq!(times(Some(5), &half), (vec![9, 8, 8, 8], true));
    }

    /// The steps of SQLite's plan for a page.
    async fn plan(tables: &mut AnyConnection, statements: &ByTime) -> Vec<String> {
        let explained = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statements.page));
        let steps = tables.fetch_all(explained).await.unwrap();
        steps.iter().map(|step| step.get("detail")).collect()
    }

    #[tokio::test]
    async fn a_page_and_the_time_of_its_end_are_looked_up_and_not_gone_through() {
        let view = MessagesView;
        let mut tables = tables_on(Dialect::Sqlite, &view, &[], 1).await;
        for (name, statements, wanted) in [
            (
                "history",
                HISTORY,
                "USING COVERING INDEX message_main (room=? AND at>? AND at<?)",
            ),
            (
                "history with replies",
                HISTORY_WITH_REPLIES,
                "m USING PRIMARY KEY (room=? AND at>? AND at<?)",
            ),
            ("list", NEWEST, "(room=? AND at>? AND at<?)"),
            ("thread", THREAD, "(thread=? AND at>? AND at<?)"),
            (
                "changes",
                UPDATED,
                "(room=? AND (updated,position)>(?,?) AND updated<?)",
            ),
            (
                "changes backwards",
                UPDATED_NEWEST,
                "(room=? AND updated>? AND (updated,position)<(?,?))",
            ),
        ] {
            let steps = plan(&mut tables, &statements).await;
            let found = steps.iter().filter(|step| step.ends_with(wanted));
            assert_eq!(
                found.count(),
                2,
                "{name} is not looked up by {wanted}: {steps:#?}"
            );
        }
    }

    #[tokio::test]
    async fn messages_that_mention_somebody_are_looked_up_and_the_room_is_not_gone_through() {
        let mut tables = tables_on(Dialect::Sqlite, &MessagesView, &[], 1).await;
        let steps = plan(&mut tables, &NEWEST_MENTIONING).await;
        for wanted in [
            "SEARCH n USING PRIMARY KEY (room=? AND user_id=?)",
            "SEARCH m USING PRIMARY KEY (room=? AND at=? AND position=?)",
        ] {
            let found = steps.iter().filter(|step| step.starts_with(wanted));
            assert_eq!(found.count(), 2, "{wanted}: {steps:#?}");
        }
    }
}
