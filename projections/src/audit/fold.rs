//! How events change the audit.

use std::collections::HashMap;
use std::sync::Arc;

use hansard_domain::account::AccountEvent;
use hansard_domain::event::{Entry, Event, Origin};
use hansard_domain::log::Position;
use hansard_domain::seal::Private;
use hansard_domain::vault::KeyId;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, Row as _};

use super::describe::{Description, MESSAGE, MESSAGE_SENT, describe};
use super::fault_number;
use super::names::{Names, Place};
use super::packed::pack;
use crate::rows::{ByKey, Insert};
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
        "target_id",
        "room",
        "outcome",
        "origin",
        "fault",
        "correlation",
        "causation",
        "usual_details",
        "details",
    ],
);

const FIND_ORIGIN: ByKey = ByKey::new("SELECT digest, number FROM origin WHERE digest IN");
const ORIGIN: Insert = Insert::into(
    "origin",
    &["number", "digest", "key_id", "address", "user_agent"],
);

/// The longest details, in bytes, that can be a name: an index holds it.
const LONGEST_NAME: usize = 200;

struct Row<'a> {
    entry: &'a Entry,
    actor: Place,
    action: Option<Place>,
    target_kind: Option<Place>,
    target: Option<Place>,
    target_id: Option<&'a str>,
    room: Option<Place>,
    outcome: Option<i64>,
    /// The digest of it.
    origin: Option<i64>,
    usual_details: Option<Place>,
    details: Option<String>,
}

impl<'a> Row<'a> {
    fn of(entry: &'a Entry, names: &mut Names<'a>, origins: &mut Origins<'a>) -> Self {
        let description = describe(entry);
        let own = description.is_of_its_own();
        let Description {
            kind,
            target,
            room,
            outcome,
            details,
            usual,
        } = description;
        let action = entry.event.kind();
        let details = (details != Value::Null).then(|| details.to_string());
        let (usual_details, details) = match details {
            Some(details) if usual && details.len() <= LONGEST_NAME => (Some(details), None),
            details => (None, details),
        };
        // The order of names follows from the order of these lines.
        Self {
            entry,
            actor: names.add(entry.actor.to_string()),
            action: (action != MESSAGE_SENT).then(|| names.add(action)),
            target_kind: (kind != MESSAGE).then(|| names.add(kind)),
            target: (!own).then(|| names.add(target)),
            target_id: own.then_some(target),
            room: room.map(|room| names.add(room)),
            outcome: outcome.number(),
            origin: origins.add(entry),
            usual_details: usual_details.map(|details| names.add(details)),
            details,
        }
    }
}

pub(super) async fn apply(
    tables: &mut AnyConnection,
    entries: &[Arc<Entry>],
) -> Result<(), ViewError> {
    let (mut names, mut origins) = (Names::default(), Origins::default());
    let rows: Vec<Row<'_>> = entries
        .iter()
        .map(|entry| Row::of(entry, &mut names, &mut origins))
        .collect();
    let names = names.number(tables).await?;
    let origins = origins.number(tables).await?;
    AUDIT
        .write(tables, &rows, |row, values| {
            let entry = row.entry;
            let name = |place| names.of(place);
            values.position(entry.position);
            values.time(entry.at);
            values.number(name(row.actor));
            values.maybe_number(row.action.map(name));
            values.maybe_number(row.target_kind.map(name));
            values.maybe_number(row.target.map(name));
            values.maybe_bytes(row.target_id.map(pack));
            values.maybe_number(row.room.map(name));
            values.maybe_number(row.outcome);
            values.maybe_number(row.origin.and_then(|digest| origins.get(&digest).copied()));
            values.maybe_number(entry.fault.map(fault_number));
            values.maybe_bytes(entry.correlation.as_deref().map(pack));
            values.maybe_bytes(entry.causation.map(|cause| cause.as_bytes().to_vec()));
            values.maybe_number(row.usual_details.map(name));
            values.maybe_text(row.details.as_ref());
        })
        .await?;
    for entry in entries {
        if let Event::Account(AccountEvent::UserDeleted { key, .. }) = &entry.event {
            erase(tables, *key).await?;
        }
    }
    Ok(())
}

/// Where the requests of a batch came from, each once, by the digest.
#[derive(Default)]
struct Origins<'a>(HashMap<i64, First<'a>>);

/// The first in the batch that came from there.
struct First<'a> {
    position: Position,
    key: KeyId,
    origin: &'a Origin,
}

impl<'a> Origins<'a> {
    fn add(&mut self, entry: &'a Entry) -> Option<i64> {
        let sealed = entry.origin.as_ref()?;
        let (key, origin) = (sealed.key(), Private::value(sealed)?);
        let digest = digest(key, origin);
        self.0.entry(digest).or_insert(First {
            position: entry.position,
            key,
            origin,
        });
        Some(digest)
    }

    /// The numbers by the digests; those that are not known yet take the first position.
    async fn number(self, tables: &mut AnyConnection) -> Result<HashMap<i64, i64>, ViewError> {
        let digests: Vec<i64> = self.0.keys().copied().collect();
        let mut numbers = HashMap::with_capacity(digests.len());
        for row in FIND_ORIGIN.fetch_by_number(tables, &digests).await? {
            numbers.insert(row.try_get(0)?, row.try_get(1)?);
        }
        let mut new: Vec<_> = self.0.into_iter().collect();
        new.retain(|(digest, _)| !numbers.contains_key(digest));
        new.sort_unstable_by_key(|(_, first)| first.position);
        ORIGIN
            .write(tables, &new, |(digest, first), values| {
                values.position(first.position);
                values.number(*digest);
                values.number(first.key.0 as i64);
                values.text(&first.origin.address);
                values.text(&first.origin.user_agent);
            })
            .await?;
        let positions = new
            .iter()
            .map(|(digest, first)| (*digest, first.position.0 as i64));
        numbers.extend(positions);
        Ok(numbers)
    }
}

fn digest(key: KeyId, origin: &Origin) -> i64 {
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

/// Forgets from where a person came; in a replay that is shredded and never gets here.
async fn erase(tables: &mut AnyConnection, key: KeyId) -> Result<(), ViewError> {
    // A rebuild has no index of the rows yet: they are looked through for nothing but what is there.
    let known = sql::query("SELECT number FROM origin WHERE key_id = $1 LIMIT 1")
        .bind(key.0 as i64)
        .fetch_optional(&mut *tables)
        .await?;
    if known.is_none() {
        return Ok(());
    }
    sql::query(
        "UPDATE audit SET origin = NULL \
         WHERE origin IN (SELECT number FROM origin WHERE key_id = $1)",
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
