//! What was said last in rooms, as lists of rooms show it.

use std::collections::{BTreeMap, HashMap};

use hansard_domain::id::{MessageId, RoomId, UserId};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sqlx::Row as _;

use super::{Messages, Order};
use crate::shortened::left_out;
use crate::sql;
use crate::view::ViewError;

/// So many bytes of messages are not read on a thread that serves others as well.
const LARGE: usize = 256 << 10;

/// What belongs to a message beside its text stands in lists of rooms up to so many bytes, longest things
/// first left out: whoever is in many rooms gets the last message of each, and taken apart it has up to a
/// hundred times as many.
const BESIDE: usize = 4 << 10;

/// Reads messages of a list without what is large beside their texts.
fn shortened(messages: &str) -> serde_json::Result<Vec<Map<String, Value>>> {
    let messages: Vec<&RawValue> = hansard_domain::json::from_str(messages)?;
    let read = |message: &&RawValue| {
        let mut fields: BTreeMap<String, &RawValue> =
            hansard_domain::json::from_str(message.get())?;
        let beside = ["attachments", "blocks", "customFields", "urls"];
        let size = |field| Some((fields.get(field)?.get().len(), field));
        for field in left_out(beside.into_iter().filter_map(size), BESIDE) {
            fields.remove(field);
        }
        let value = |(name, value): (String, &RawValue)| {
            Ok((name, hansard_domain::json::value(value.get())?))
        };
        fields.into_iter().map(value).collect()
    };
    messages.iter().map(read).collect()
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
                "SELECT m.id FROM message s CROSS JOIN message m \
                 WHERE s.room = $1 AND s.main = 1 AND s.system IS NULL \
                 AND m.room = s.room AND m.at = s.at AND m.position = s.position \
                 ORDER BY s.at DESC, s.position DESC LIMIT 1",
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
            let read = move || shortened(&found.json);
            match tokio::task::spawn_blocking(read).await {
                Ok(read) => read?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        } else {
            shortened(&found.json)?
        };
        Ok(messages
            .into_iter()
            .map(Value::Object)
            .filter_map(|message| Some((RoomId::new(message["rid"].as_str()?), message)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_large_beside_a_text_is_left_out_the_longest_first() {
        let text = |bytes| "x".repeat(bytes);
        let messages = json!([
            { "_id": "a", "msg": text(9_000), "attachments": [{ "text": text(100) }] },
            {
                "_id": "b", "msg": "b", "attachments": [text(3_000)],
                "blocks": [text(2_000)], "customFields": { "c": text(500) },
            },
        ]);
        let mut expected = messages.clone();
        expected[1].as_object_mut().unwrap().remove("attachments");
        let read = shortened(&messages.to_string()).unwrap();
        assert_eq!(json!(read), expected);
    }
}
