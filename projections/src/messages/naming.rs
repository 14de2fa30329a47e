//! The names of people in messages of others: whoever takes another name is called by it in each message
//! that names it, and who goes is called by none.
//!
//! A person may be named by any number of messages. So those that name somebody who took another name
//! are written anew in parts: one with the event, and the others between events, each in a transaction of
//! its own, and each so small that hardly anybody waits for it, however long the messages are. The table
//! `renaming` says how far that is; until its end, messages may show the name of before. Whatever is
//! written meanwhile has the names of today.

use hansard_domain::id::{Timestamp, UserId};
use sqlx::{AnyConnection, Row as _};

use super::row::{READ, REWRITE, Row};
use super::unlink::name_people;
use crate::rows::Insert;
use crate::sql;
use crate::view::ViewError;

/// How many messages are written anew at once, at most.
pub(super) const PART: usize = 100;

/// How many bytes of messages are enough for a part: the one that reaches them is its last. A mebibyte is
/// read, parsed and written in some 50 ms.
pub(super) const ENOUGH: usize = 1 << 20;

const BEGIN: Insert = Insert::into("renaming", &["user_id", "reached", "parts", "again"])
    .on_conflict("ON CONFLICT (user_id) DO UPDATE SET again = 1");

/// Whoever had the fewest parts comes first: one who takes name after name keeps nobody waiting.
const NEXT: &str = "SELECT user_id, reached, again FROM renaming ORDER BY parts, user_id LIMIT 1";

/// The ids of a part, one found after the other until it is full, and then that of the first message
/// after it, or none where there is no more. Of the messages themselves it reads their lengths alone, and
/// of those after the part not even these.
const NAMING: &str = "WITH RECURSIVE part (id, before, bytes) AS ( \
         SELECT min(id), 0, 0 FROM named WHERE user_id = $1 AND id > $2 \
     UNION ALL \
         SELECT (SELECT min(id) FROM named WHERE user_id = $1 AND id > part.id), \
             part.before + 1, \
             part.bytes + coalesce(( \
                 SELECT octet_length(wire) + coalesce(octet_length(reactions), 0) \
                 FROM message WHERE message.id = part.id), 0) \
         FROM part WHERE part.id IS NOT NULL AND part.before < $3 AND part.bytes < $4) \
     SELECT id FROM part ORDER BY before";

const REACHED: &str = "UPDATE renaming SET reached = $2, parts = parts + 1 WHERE user_id = $1";
const AGAIN: &str =
    "UPDATE renaming SET reached = '', parts = parts + 1, again = 0 WHERE user_id = $1";
const END: &str = "DELETE FROM renaming WHERE user_id = $1";

/// Has the messages written anew that name these. Where that is going on for one of them, it goes on to
/// its end, and then once more from the beginning.
pub(super) async fn begin(tables: &mut AnyConnection, users: &[UserId]) -> Result<(), ViewError> {
    BEGIN
        .write(tables, users, |user, values| {
            values.text(user);
            values.text("");
            values.number(0);
            values.number(0);
        })
        .await
}

/// Writes the next part; answers whether there is more.
pub(super) async fn go_on(tables: &mut AnyConnection) -> Result<bool, ViewError> {
    let next = sql::query(NEXT).fetch_optional(&mut *tables).await?;
    let Some(next) = next else {
        return Ok(false);
    };
    let user = UserId::new(next.try_get::<String, _>(0)?);
    let reached: String = next.try_get(1)?;
    let again = next.try_get::<i64, _>(2)? != 0;
    let query = match rename(tables, &user, &reached, |_| Ok(())).await? {
        Some(reached) => sql::query(REACHED).bind(user.to_string()).bind(reached),
        None if again => sql::query(AGAIN).bind(user.to_string()),
        None => sql::query(END).bind(user.to_string()),
    };
    query.execute(&mut *tables).await?;
    Ok(sql::query(NEXT).fetch_optional(tables).await?.is_some())
}

/// Takes the names of somebody out of all messages that name it, whose account is gone; with what it
/// said by reacting to others, where that goes, too. Part after part, but with the event: what was erased
/// stands nowhere then.
pub(super) async fn forget(
    tables: &mut AnyConnection,
    user: &UserId,
    reactions_too: bool,
    at: Timestamp,
) -> Result<(), ViewError> {
    let take_back = |row: &mut Row| {
        let given = row.reactions.len();
        row.reactions.retain(|(_, by)| !reactions_too || by != user);
        if row.reactions.len() < given {
            row.change(at, |_| Ok(()))?;
        }
        Ok(())
    };
    let mut reached = String::new();
    while let Some(further) = rename(tables, user, &reached, take_back).await? {
        reached = further;
    }
    let end = sql::query(END).bind(user.to_string());
    end.execute(tables).await?;
    Ok(())
}

/// Writes the next messages anew that name somebody and whose ids come after one: [`PART`] of them, or
/// [`ENOUGH`]. Answers the last of their ids where there are more.
async fn rename(
    tables: &mut AnyConnection,
    user: &UserId,
    reached: &str,
    change: impl Fn(&mut Row) -> Result<(), ViewError>,
) -> Result<Option<String>, ViewError> {
    let found = sql::query(NAMING)
        .bind(user.to_string())
        .bind(reached.to_owned())
        .bind(PART as i64)
        .bind(ENOUGH as i64)
        .fetch_all(&mut *tables)
        .await?;
    let ids = found.iter().map(|row| row.try_get(0));
    let mut ids: Vec<Option<String>> = ids.collect::<Result<_, _>>()?;
    let more = ids.pop().flatten().is_some();
    let ids: Vec<String> = ids.into_iter().flatten().collect();
    let mut rows = Vec::with_capacity(ids.len());
    for row in READ.fetch(tables, &ids).await? {
        let mut row = Row::read(&row)?;
        change(&mut row)?;
        rows.push(row);
    }
    name_people(tables, &mut rows).await?;
    REWRITE.write(tables, &rows, Row::bind).await?;
    let last = ids.into_iter().next_back();
    Ok(last.filter(|_| more))
}
