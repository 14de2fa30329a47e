//! How events change the audit.

use std::collections::HashMap;
use std::sync::Arc;

use hansard_domain::account::AccountEvent;
use hansard_domain::event::{Entry, Event, Origin};
use hansard_domain::seal::{Fault, Private};
use hansard_domain::vault::KeyId;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::AnyConnection;

use super::describe::{Description, describe};
use crate::rows::Insert;
use crate::sql;
use crate::view::ViewError;

const AUDIT: Insert = Insert::into(
    "audit",
    &[
        "position",
        "at",
        "actor",
        "action",
        "target_kind",
        "target",
        "room",
        "outcome",
        "origin",
        "fault",
        "correlation",
        "causation",
        "details",
    ],
);

const ORIGIN: Insert = Insert::into("origin", &["id", "key_id", "address", "user_agent"])
    .on_conflict("ON CONFLICT (id) DO NOTHING");

struct Row<'a> {
    entry: &'a Entry,
    description: Description<'a>,
    origin: Option<i64>,
}

pub(super) async fn apply(
    tables: &mut AnyConnection,
    entries: &[Arc<Entry>],
) -> Result<(), ViewError> {
    let mut origins: HashMap<i64, (KeyId, &Origin)> = HashMap::new();
    let mut erased: Vec<KeyId> = Vec::new();
    let rows: Vec<Row<'_>> = entries
        .iter()
        .map(|entry| {
            if let Event::Account(AccountEvent::UserDeleted { key, .. }) = &entry.event {
                erased.push(*key);
            }
            let origin = entry.origin.as_ref().and_then(|sealed| {
                let (key, origin) = (sealed.key(), Private::value(sealed)?);
                let id = origin_id(key, origin);
                origins.entry(id).or_insert((key, origin));
                Some(id)
            });
            Row {
                entry,
                description: describe(entry),
                origin,
            }
        })
        .collect();

    let origins: Vec<_> = origins.into_iter().collect();
    ORIGIN
        .write(tables, &origins, |(id, (key, origin)), values| {
            values.number(*id);
            values.number(key.0 as i64);
            values.text(&origin.address);
            values.text(&origin.user_agent);
        })
        .await?;
    AUDIT
        .write(tables, &rows, |row, values| {
            let Row {
                entry,
                description,
                origin,
            } = row;
            values.position(entry.position);
            values.time(entry.at);
            values.text(entry.actor.to_string());
            values.text(entry.event.kind());
            values.text(description.kind);
            values.text(description.target);
            values.maybe_text(description.room);
            values.text(description.outcome.as_str());
            values.maybe_number(*origin);
            values.maybe_text(entry.fault.map(Fault::as_str));
            values.maybe_text(entry.correlation.as_ref());
            values.maybe_text(entry.causation.map(|cause| cause.to_string()));
            values.maybe_text(match &description.details {
                Value::Null => None,
                details => Some(details.to_string()),
            });
        })
        .await?;
    for key in erased {
        erase(tables, key).await?;
    }
    Ok(())
}

/// Forgets from where a person came; in a replay that is shredded and never gets here.
async fn erase(tables: &mut AnyConnection, key: KeyId) -> Result<(), ViewError> {
    sql::query(
        "UPDATE audit SET origin = NULL \
         WHERE origin IN (SELECT id FROM origin WHERE key_id = $1)",
    )
    .bind(key.0 as i64)
    .execute(&mut *tables)
    .await?;
    sql::query("DELETE FROM origin WHERE key_id = $1")
        .bind(key.0 as i64)
        .execute(tables)
        .await?;
    Ok(())
}

/// Follows from what the origin is, so that no look at the tables is needed to find it again.
fn origin_id(key: KeyId, origin: &Origin) -> i64 {
    let mut digest = Sha256::new();
    digest.update(key.0.to_be_bytes());
    digest.update(origin.address.as_bytes());
    digest.update([0]);
    digest.update(origin.user_agent.as_bytes());
    let digest = digest.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}
