//! Looks at the plan of every statement that tests ask of a view in SQLite: one that goes through a table,
//! or through an index from its beginning, says so in itself, with the reason.
//!
//! `/* walks message: why that can't be helped, or does no harm */` stands in the statement, and names what
//! the plan calls the table. What is read by an index, however much of it, is no walk.

use std::collections::HashSet;
use std::sync::LazyLock;

use parking_lot::Mutex;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};
use tokio::runtime::Handle;

/// The statements that were looked at.
static SEEN: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Panics if a statement walks through a table without a word.
pub fn check(options: &SqliteConnectOptions, statement: &str) {
    if !statement.trim_start().starts_with(['S', 'W', '/'])
        || !SEEN.lock().insert(statement.to_owned())
    {
        return;
    }
    let (options, asked, runtime) = (options.clone(), statement.to_owned(), Handle::current());
    // A connection of its own, as the other is in the middle of something.
    let explained = std::thread::spawn(move || {
        runtime.block_on(async move {
            let mut connection = SqliteConnection::connect_with(&options).await?;
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {asked}"));
            let rows = sqlx::raw_sql(explain).fetch_all(&mut connection).await?;
            rows.iter()
                .map(|row| row.try_get::<String, _>("detail"))
                .collect::<Result<Vec<_>, sqlx::Error>>()
        })
    });
    let plan = explained.join().unwrap().unwrap();
    for walked in plan.iter().filter_map(|step| walked(step)) {
        // Rows that a part of the statement hands to another, which is looked at itself.
        let handed_on = [
            format!("CO-ROUTINE {walked}"),
            format!("MATERIALIZE {walked}"),
        ];
        if plan.iter().any(|step| handed_on.contains(step)) {
            continue;
        }
        let said = format!("/* walks {walked}:");
        assert!(
            statement.contains(&said),
            "this statement walks through {walked}; let it use an index, or say why in it, as\n  {said} why */\n\
             {statement}\nits plan:\n  {}",
            plan.join("\n  ")
        );
    }
}

/// The table that a step of a plan walks through.
fn walked(step: &str) -> Option<&str> {
    let table = step.strip_prefix("SCAN ")?;
    let (name, how) = table.split_once(' ').unwrap_or((table, ""));
    // Rows that the statement itself makes, and what the index of words finds.
    let made = name.starts_with('(') || name == "CONSTANT" || name == "json_each";
    (!made && !how.starts_with("VIRTUAL TABLE INDEX")).then_some(name)
}

#[test]
fn steps_that_walk_are_told() {
    assert_eq!(walked("SCAN message"), Some("message"));
    assert_eq!(walked("SCAN m USING INDEX message_room"), Some("m"));
    assert_eq!(walked("SEARCH message USING INDEX a (b=?)"), None);
    assert_eq!(walked("SCAN CONSTANT ROW"), None);
    assert_eq!(walked("SCAN (subquery-2)"), None);
    assert_eq!(walked("SCAN words VIRTUAL TABLE INDEX 0:M1"), None);
}
