//! What was said last in rooms, as lists of rooms show it.

use std::collections::HashMap;

use hansard_domain::id::{MessageId, RoomId, UserId};
use serde_json::{Map, Value};
use sqlx::Row as _;

use super::{Messages, Order};
use crate::sql;
use crate::view::ViewError;

/// So many bytes of messages are not read on a thread that serves others as well.
const LARGE: usize = 256 << 10;

/// What belongs to a message beside its text stands in lists of rooms up to so many bytes: whoever is in
/// many rooms gets the last message of each.
const BESIDE: usize = 8 << 10;

/// Leaves out of a message what belongs to its text, where that is large.
fn shorten(message: &mut Map<String, Value>) {
    for field in ["attachments", "blocks", "customFields", "urls"] {
        let large = |value: &Value| value.to_string().len() > BESIDE;
        if message.get(field).is_some_and(large) {
            message.shift_remove(field);
        }
    }
}

impl Messages {
    /// The newest message of each room that somebody wrote and the room shows.
    pub async fn latest(
        &self,
        viewer: &UserId,
        rooms: &[RoomId],
    ) -> Result<HashMap<RoomId, Value>, ViewError> {
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let mut reading = self.store().read().await?;
        let mut ids = Vec::with_capacity(rooms.len());
        for room in rooms {
            let newest = sql::query(
                "SELECT id FROM message WHERE room = $1 AND main = 1 AND system IS NULL \
                 ORDER BY at DESC, position DESC LIMIT 1",
            )
            .bind(room.to_string())
            .fetch_optional(&mut reading)
            .await?;
            if let Some(row) = newest {
                ids.push(MessageId::new(row.try_get::<String, _>(0)?));
            }
        }
        drop(reading);
        let found = self.among(viewer, &ids, Order::NewestFirst).await?;
        let messages = if found.json.len() > LARGE {
            let read = move || hansard_domain::json::objects(&found.json);
            match tokio::task::spawn_blocking(read).await {
                Ok(read) => read?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        } else {
            hansard_domain::json::objects(&found.json)?
        };
        Ok(messages
            .into_iter()
            .map(|mut message| {
                shorten(&mut message);
                Value::Object(message)
            })
            .filter_map(|message| Some((RoomId::new(message["rid"].as_str()?), message)))
            .collect())
    }
}
