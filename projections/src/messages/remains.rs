//! Which messages a prune still has to name, in sight or not.

use hansard_domain::id::{MessageId, RoomId, UserId};
use hansard_domain::room::Pruned;
use hansard_domain::vault::KeyId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use crate::rows::ByKey;
use crate::sql;
use crate::view::ViewError;

const AMONG_SHOWN: ByKey = ByKey::new("SELECT room, id, key_id FROM message WHERE id IN");
const AMONG_REMAINS: ByKey = ByKey::new("SELECT room, id, key_id FROM remains WHERE id IN");

/// A message that can still be read, and the room it was said in.
pub type Readable = (RoomId, Pruned);

/// Everything said in a room that can still be read.
pub async fn readable_in(
    tables: &mut AnyConnection,
    room: &RoomId,
) -> Result<Vec<Readable>, ViewError> {
    let found = sql::query(
        "SELECT room, id, key_id FROM message WHERE room = $1 \
         UNION ALL SELECT room, id, key_id FROM remains WHERE room = $1",
    );
    let rows = found.bind(room.to_string()).fetch_all(tables).await?;
    rows.iter().map(readable).collect()
}

/// Everything somebody said that can still be read. It looks through all messages.
pub async fn readable_by(
    tables: &mut AnyConnection,
    sender: &UserId,
) -> Result<Vec<Readable>, ViewError> {
    let found = sql::query(
        "SELECT room, id, key_id FROM message WHERE sender = $1 \
         UNION ALL SELECT room, id, key_id FROM remains WHERE sender = $1 \
         /* walks message: the server's own work, when an account goes with what it said */ \
         /* walks remains: likewise */",
    );
    let rows = found.bind(sender.to_string()).fetch_all(tables).await?;
    rows.iter().map(readable).collect()
}

/// Those of some messages that can still be read.
pub async fn readable_among(
    tables: &mut AnyConnection,
    messages: &[MessageId],
) -> Result<Vec<Readable>, ViewError> {
    let mut rows = AMONG_SHOWN.fetch(tables, messages).await?;
    rows.extend(AMONG_REMAINS.fetch(tables, messages).await?);
    rows.iter().map(readable).collect()
}

fn readable(row: &AnyRow) -> Result<Readable, ViewError> {
    let pruned = Pruned {
        message: MessageId::new(row.try_get::<String, _>(1)?),
        key: KeyId(row.try_get::<i64, _>(2)? as u64),
    };
    Ok((RoomId::new(row.try_get::<String, _>(0)?), pruned))
}
