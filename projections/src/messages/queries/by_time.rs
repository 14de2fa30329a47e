//! Pages of what is ordered by time.
//!
//! Clients page by time: they ask for what lies before (or after) the time of the last message they
//! have. So a page must not end between two messages of the same time, or the second is never seen: it
//! is lengthened to the end of such a group, by at most [`LONGER`] messages. A group that is longer
//! still is cut, and the rest of it is found by asking for the same stretch with an `offset`.

use futures::TryStreamExt;
use hansard_domain::id::Timestamp;
use sqlx::{AnyConnection, Row as _};

use super::{Found, Slice};
use crate::sql::Query;
use crate::view::ViewError;

/// By how many messages a page is lengthened at most. Times within a room rise strictly unless it is
/// faster than a thousand messages a second for longer than a second; then what one commit holds
/// shares a time, which is some hundred messages at most.
const LONGER: u64 = 1_000;

/// A page of more messages is read row by row: joined by the database it could outgrow the longest
/// text that it can make.
const JOINED: u64 = 1_000;

/// The statements that pages of one list are made of; see [`by_time!`].
pub(super) struct ByTime {
    /// The page as one row, with the times at its ends.
    pub page: &'static str,
    /// A row for each message: its JSON and its time.
    pub rows: &'static str,
}

/// The statements of a list: the column of its time, what comes first, what is listed
/// (`FROM message m WHERE …`), between which times, both inclusive, and the numbers of the three
/// parameters that come last: limit, offset, and the place of the last message that is asked for.
///
/// A page goes on to the time of that message, which is looked up in the same statement.
macro_rules! by_time {
    (
        $time:literal, newest first, $listed:expr, $from:literal to $to:literal,
        $limit:literal, $offset:literal, $last:literal
    ) => {
        by_time!(
            @ $time, " DESC", "max", "min", $listed, $from, $to, $limit, $offset,
            concat!("coalesce(", by_time!(@last $time, " DESC", $listed, $from, $to, $last), ", ", $from, ")"),
            $to
        )
    };
    (
        $time:literal, oldest first, $listed:expr, $from:literal to $to:literal,
        $limit:literal, $offset:literal, $last:literal
    ) => {
        by_time!(
            @ $time, "", "min", "max", $listed, $from, $to, $limit, $offset,
            $from,
            concat!("coalesce(", by_time!(@last $time, "", $listed, $from, $to, $last), ", ", $to, ")")
        )
    };
    (@last $time:literal, $order:literal, $listed:expr, $from:literal, $to:literal, $last:literal) => {
        concat!(
            "(SELECT ", $time, " ", $listed, " AND ", $time, " >= ", $from, " AND ", $time, " <= ", $to,
            " ORDER BY ", $time, $order, ", m.position", $order, " LIMIT 1 OFFSET ", $last, ")"
        )
    };
    (
        @ $time:literal, $order:literal, $first_of:literal, $last_of:literal, $listed:expr,
        $from:literal, $to:literal, $limit:literal, $offset:literal, $first:expr, $through:expr
    ) => {
        $crate::messages::queries::by_time::ByTime {
            page: concat!(
                "SELECT count(*), string_agg(one, ','), ", $first_of, "(at), ", $last_of, "(at) FROM (SELECT ",
                one!(), " AS one, ", $time, " AS at ", $listed, " AND ", $time, " >= ", $first, " AND ",
                $time, " <= ", $through, " ORDER BY ", $time, $order, ", m.position", $order, " LIMIT ",
                $limit, " OFFSET ", $offset, ") AS page"
            ),
            rows: concat!(
                "SELECT ", one!(), " AS one, ", $time, " AS at ", $listed, " AND ", $time, " >= ", $from,
                " AND ", $time, " <= ", $to, " ORDER BY ", $time, $order, ", m.position", $order, " LIMIT ",
                $limit, " OFFSET ", $offset
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
            return self.long(tables, slice, &bound).await;
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
        Ok(Found {
            first: row.try_get::<Option<i64>, _>(2)?.map(Timestamp),
            last: row.try_get::<Option<i64>, _>(3)?.map(Timestamp),
            ..Found::joined(&row)?
        })
    }

    async fn long(
        &self,
        tables: &mut AnyConnection,
        slice: Slice,
        bound: &impl Fn(&'static str) -> Query,
    ) -> Result<Found, ViewError> {
        let most = Slice {
            count: slice.count.map(|count| count.saturating_add(LONGER)),
            ..slice
        };
        let rows = bound(self.rows).bind(most.limit()).bind(most.skip());
        let mut rows = rows.fetch(tables);
        let mut found = Found {
            json: "[".to_owned(),
            ..Found::default()
        };
        while let Some(row) = rows.try_next().await? {
            let at = Some(Timestamp(row.try_get(1)?));
            if slice.count.is_some_and(|count| found.count >= count) && found.last != at {
                break;
            }
            if found.count > 0 {
                found.json.push(',');
            }
            found.json.push_str(row.try_get(0)?);
            found.first = found.first.or(at);
            found.last = at;
            found.count += 1;
        }
        found.json.push(']');
        Ok(found)
    }
}

/// A part of a list in memory, each item with its time, lengthened in the same way.
pub(super) fn cut<T>(all: &[(T, Timestamp)], slice: Slice) -> &[(T, Timestamp)] {
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let rest = &all[place(slice.offset).min(all.len())..];
    let wanted = slice.count.map_or(rest.len(), place).min(rest.len());
    let Some((_, last)) = rest[..wanted].last() else {
        return &[];
    };
    let more = rest[wanted..].iter().take_while(|(_, at)| at == last);
    &rest[..wanted + more.take(place(LONGER)).count()]
}

/// How many items have to be at hand so that [`cut`] can cut so many.
pub(super) fn enough(count: Option<u64>) -> Option<u64> {
    count.map(|count| count.saturating_add(LONGER))
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Executor as _};

    use super::super::changes::UPDATED;
    use super::super::history::HISTORY;
    use super::super::list::NEWEST;
    use super::super::threads::THREAD;
    use super::*;
    use crate::messages::MessagesView;
    use crate::sql::Dialect;
    use crate::testing::tables_on;

    #[test]
    fn a_part_ends_between_two_times() {
        let all: Vec<_> = [9, 8, 8, 8, 7]
            .into_iter()
            .map(|at| ((), Timestamp(at)))
            .collect();
        let times = |offset, count| -> Vec<i64> {
            let slice = Slice { offset, count };
            cut(&all, slice).iter().map(|((), at)| at.0).collect()
        };
        assert_eq!(times(0, Some(1)), [9]);
        assert_eq!(times(0, Some(2)), [9, 8, 8, 8]);
        assert_eq!(times(2, Some(1)), [8, 8]);
        assert_eq!(times(4, Some(5)), [7]);
        assert_eq!(times(0, None), [9, 8, 8, 8, 7]);
        assert_eq!(times(9, Some(2)), [0; 0]);
        assert_eq!(times(0, Some(0)), [0; 0]);
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
            ("history", HISTORY, "(room=? AND at>? AND at<?)"),
            ("list", NEWEST, "(room=? AND at>? AND at<?)"),
            ("thread", THREAD, "(thread=? AND at>? AND at<?)"),
            ("changes", UPDATED, "(room=? AND updated>? AND updated<?)"),
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
}
