//! Taking somebody out of the messages they wrote, which stay.
//!
//! It costs a look at every message there is: an account is seldom deleted, and an index by sender
//! would be paid for by every message that is sent.

use std::collections::{BTreeSet, HashSet};

use hansard_domain::account::SYSTEM_ACCOUNT;
use hansard_domain::id::{Timestamp, UserId};
use sqlx::{AnyConnection, Row as _};

use super::fold::{Names, REMOVED_NAME};
use super::row::{REPLACE, Row};
use super::wire;
use crate::sql;
use crate::view::ViewError;

/// How many rows are rewritten at once.
const CHUNK: usize = 500;

// Ids hold no character that `LIKE` knows; what is found beside is left as it is.
const NAMING: &str = "SELECT room, at, position, id, updated, changed, sender, key_id, system, about, \
     thread, main, pinned, discussion, has_files, stars, counts, replies, last_reply, reactions, \
     wire \
     FROM message WHERE (room, at, position) > ($1, $2, $3) \
     AND (sender = $4 OR about = $4 OR wire LIKE $5 OR reactions LIKE $5) \
     ORDER BY room, at, position LIMIT $6";

/// What else names the user: messages to be written anew when it takes another name, and such as are
/// out of sight.
const STATEMENTS: [&str; 3] = [
    "INSERT INTO named (user_id, id) SELECT $2, id FROM named WHERE user_id = $1 \
     ON CONFLICT DO NOTHING",
    "DELETE FROM named WHERE user_id = $1 AND user_id <> $2",
    "UPDATE remains SET sender = $2 WHERE sender = $1",
];

/// Shows the server's own account wherever a message names a user as the one who did something to
/// it. What people wrote about the user is theirs and stays.
pub(super) async fn unlink(
    tables: &mut AnyConnection,
    user: &UserId,
    at: Timestamp,
) -> Result<(), ViewError> {
    let (mut room, mut shown, mut position) = (String::new(), i64::MIN, i64::MIN);
    loop {
        let found = sql::query(NAMING)
            .bind(room.clone())
            .bind(shown)
            .bind(position)
            .bind(user.to_string())
            .bind(format!("%\"{user}\"%"))
            .bind(CHUNK as i64)
            .fetch_all(&mut *tables)
            .await?;
        let mut rewritten = Vec::with_capacity(found.len());
        for row in &found {
            let mut row = Row::read(row)?;
            if unlink_row(&mut row, user, at)? {
                rewritten.push(row);
            }
        }
        name_people(tables, &mut rewritten).await?;
        REPLACE.write(tables, &rewritten, Row::bind).await?;
        match found.last() {
            Some(last) if found.len() == CHUNK => {
                room = last.try_get("room")?;
                shown = last.try_get("at")?;
                position = last.try_get("position")?;
            }
            _ => break,
        }
    }
    for statement in STATEMENTS {
        sql::query(statement)
            .bind(user.to_string())
            .bind(SYSTEM_ACCOUNT)
            .execute(&mut *tables)
            .await?;
    }
    Ok(())
}

/// Writes the names of those anew whom rows name now.
pub(super) async fn name_people(
    tables: &mut AnyConnection,
    rows: &mut [Row],
) -> Result<(), ViewError> {
    let mut people = BTreeSet::new();
    for row in &*rows {
        people.extend(row.people()?);
    }
    let names = Names::known(tables, people).await?;
    for row in rows {
        row.set_names(|user| names.of(user))?;
    }
    Ok(())
}

/// Answers whether the row named the user.
fn unlink_row(row: &mut Row, user: &UserId, at: Timestamp) -> Result<bool, ViewError> {
    let system = UserId::new(SYSTEM_ACCOUNT);
    let wrote = row.sender == *user;
    let reacted = row.reactions.iter().any(|(_, by)| by == user);
    if reacted {
        let mut given = HashSet::new();
        for (_, by) in &mut row.reactions {
            if by == user {
                *by = system.clone();
            }
        }
        row.reactions
            .retain(|reaction| given.insert(reaction.clone()));
    }
    if wrote {
        row.sender = system.clone();
    }
    let about = row.about.as_ref() == Some(user);
    if about {
        row.about = None;
    }
    let mut named = false;
    let before = (row.updated, row.changed, row.wire.clone());
    row.change(at, |wire| {
        named = wire::replace_person(wire, user, &system);
        if wrote {
            wire.insert("alias".into(), REMOVED_NAME.into());
        }
        if about {
            wire::set_about(wire, REMOVED_NAME);
        }
        Ok(())
    })?;
    let concerned = wrote || about || reacted || named;
    if !concerned {
        (row.updated, row.changed, row.wire) = before;
    }
    Ok(concerned)
}
