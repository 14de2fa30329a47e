//! `GET /api/hansard/v1/audit`: who did what to what, when, from where, with which outcome.

use bytes::Bytes;
use hansard_commands::model::WriteModel;
use hansard_domain::log::Position;
use hansard_domain::seal::Fault;
use hansard_projections::audit::{self, AuditFilter, AuditRow, Order, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::{event_types, inspected, may_go_on, names, page_size, position, require, time};
use crate::app::App;
use crate::operations::Operation;
use crate::operations::reply::{CutShort, OrStream, Reply};
use crate::rest::answer::{Success, answer};
use crate::rest::body::Params;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::table;
use crate::wire::AnyObject;

const PERMISSION: &[&str] = &["view-audit"];

/// The longest page.
const MOST: u64 = 1000;

/// How many rows of an export are read at a time.
const EXPORT_PAGE: u64 = 1000;

pub const OPERATIONS: &[Operation] = &[LOOK];

#[derive(Debug, Clone, Default, Deserialize, Serialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Who did it: a username, the id of a user, or `user:<id>`, `integration:<id>`,
    /// `policy:<name>`, `system`, `anonymous`.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// What it was done to: an id, `@username`, or `#room`.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// `user`, `room`, `message`, `role`, `permission`, `setting`, `integration`, `delivery`, `name`,
    /// `operation`, `record`, `workspace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_kind: Option<String>,
    /// Where: the id or the name of a room.
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    /// Types of events, separated by commas.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// `done`, `denied`, or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// `forged` or `malformed`: events of which a part can't be read though its key is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
    /// The address of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// The id of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<String>,
    /// From this time on.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Up to this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// After this position.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
    /// Before this position.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    /// `newest` first (the default) or `oldest`; an export is always oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    /// Entries of a page, at most 1000; 100 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// `json` for a page, `jsonl` or `csv` for everything that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
}

/// One line of the audit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditEntry {
    position: u64,
    at: String,
    /// `user:<id>`, `integration:<id>`, `policy:<name>`, `system`, `anonymous`.
    actor: String,
    /// What the actor is called now, if it is a user who is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// The type of the event.
    action: String,
    target: AuditTarget,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_name: Option<String>,
    /// `done`, `denied`, or `failed`.
    outcome: String,
    /// A part of the event can't be read though its key is there. `forged`: it does not open, as it
    /// was changed or the key is another one; `malformed`: it does not hold what its event says.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
    /// From where; not there for what the server did itself, and for people who were erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<AuditOrigin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<AnyObject>)]
    details: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AuditTarget {
    kind: String,
    id: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditOrigin {
    address: String,
    user_agent: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct AuditPage {
    entries: Vec<AuditEntry>,
    /// Ask again with this as `before` (or `after`, oldest first) for what follows; not there at the
    /// end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

pub const LOOK: Operation = Operation::get("hansard.audit", &look)
    .own("/api/hansard/v1/audit")
    .tagged("record")
    .tells("Look at the audit.")
    .notes(
        "One entry an event, refusals and looks at the record included; texts of messages never stand \
         in it. Needs `view-audit`; each look is an entry of its own.",
    );

async fn look(
    app: App,
    caller: Caller,
    Params(query): Params<AuditQuery>,
) -> Result<OrStream<Success<AuditPage>>, Failure> {
    require(&app, &caller, PERMISSION)?;
    let filter = query.filter(&app).await?;
    let asked = query.as_recorded(&filter);
    match query.format.as_deref() {
        None | Some("json") => {
            let page = page(&app, &query, &filter).await?;
            let shown = page.entries.len() as u64;
            inspected(&app, &caller, "audit", asked, shown).await?;
            Ok(OrStream::Whole(answer(page)?))
        }
        Some("jsonl") => export(app, caller, filter, asked, Lines::Json).await,
        Some("csv") => export(app, caller, filter, asked, Lines::Csv).await,
        Some(_) => Err(Failure::invalid_params(
            "'format' must be one of json, jsonl, csv",
        )),
    }
}

impl AuditQuery {
    async fn filter(&self, app: &App) -> Result<AuditFilter, Failure> {
        let model = app.commands.model();
        let outcome = |text: &str| {
            let found = Outcome::ALL
                .into_iter()
                .find(|outcome| outcome.as_str() == text);
            found.ok_or_else(|| {
                Failure::invalid_params("'outcome' must be one of done, denied, failed")
            })
        };
        let fault = |text: &str| {
            let found = [Fault::Forged, Fault::Malformed]
                .into_iter()
                .find(|fault| fault.as_str() == text);
            found.ok_or_else(|| {
                Failure::invalid_params("'unreadable' must be one of forged, malformed")
            })
        };
        let actor = self.actor.as_deref();
        let target = self.target.as_deref();
        let mut filter = AuditFilter {
            actor: actor.map(|actor| names::actor(&model, actor)).transpose()?,
            target: target
                .map(|target| names::target(&model, target))
                .transpose()?,
            target_kind: self.target_kind.clone(),
            room: self.room.as_deref().map(|room| names::room(&model, room)),
            actions: event_types(self.kind.as_deref())?,
            outcome: self.outcome.as_deref().map(outcome).transpose()?,
            fault: self.unreadable.as_deref().map(fault).transpose()?,
            address: self.origin.clone(),
            correlation: self.correlation.clone(),
            after: self.after.map(position),
            before: self.before.map(position),
        };
        // Positions and times go the same way along the log, so that times need no index.
        let journal = app.commands.journal();
        if let Some(since) = time("since", self.since.as_deref())? {
            let before = since.previous();
            let after = journal.position_at(before).await.map_err(unavailable)?;
            filter.after = filter.after.max(Some(after));
        }
        if let Some(until) = time("until", self.until.as_deref())? {
            let last = journal.position_at(until).await.map_err(unavailable)?;
            let before = Position(last.0 + 1);
            filter.before = Some(filter.before.map_or(before, |given| given.min(before)));
        }
        Ok(filter)
    }

    /// What is recorded of a look, which stays when people are erased: ids instead of names, and not from
    /// which address.
    fn as_recorded(&self, filter: &AuditFilter) -> String {
        let recorded = Self {
            actor: filter.actor.clone(),
            target: filter.target.clone(),
            room: filter.room.clone(),
            origin: self.origin.as_ref().map(|_| "an address".to_owned()),
            ..self.clone()
        };
        serde_json::to_string(&recorded).unwrap_or_default()
    }

    fn order(&self) -> Result<Order, Failure> {
        match self.order.as_deref() {
            None | Some("newest") => Ok(Order::NewestFirst),
            Some("oldest") => Ok(Order::OldestFirst),
            Some(_) => Err(Failure::invalid_params(
                "'order' must be one of newest, oldest",
            )),
        }
    }
}

fn unavailable(error: hansard_domain::journal::JournalError) -> Failure {
    hansard_commands::error::CommandError::from(error).into()
}

async fn page(app: &App, query: &AuditQuery, filter: &AuditFilter) -> Result<AuditPage, Failure> {
    let order = query.order()?;
    let limit = page_size(query.limit, MOST)?;
    let mut reading = app.views.audit.read().await?;
    let rows = audit::page(&mut reading, filter, order, limit).await?;
    let next = rows
        .last()
        .filter(|_| rows.len() as u64 == limit)
        .map(|row| row.position.0);
    let model = app.commands.model();
    let entries = rows
        .into_iter()
        .map(|row| AuditEntry::of(row, &model))
        .collect();
    Ok(AuditPage { entries, next })
}

impl AuditEntry {
    fn of(row: AuditRow, model: &WriteModel) -> Self {
        let origin = row.address.zip(row.user_agent);
        Self {
            position: row.position.0,
            at: row.at.iso(),
            username: names::actor_name(model, &row.actor),
            actor: row.actor,
            action: row.action,
            target: AuditTarget {
                kind: row.target_kind,
                id: row.target,
            },
            room_name: row
                .room
                .as_ref()
                .and_then(|room| names::room_name(model, room)),
            room: row.room,
            outcome: row.outcome,
            unreadable: row.fault,
            origin: origin.map(|(address, user_agent)| AuditOrigin {
                address,
                user_agent,
            }),
            correlation: row.correlation,
            causation: row.causation,
            details: row
                .details
                .and_then(|details| RawValue::from_string(details).ok()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Lines {
    Json,
    Csv,
}

const CSV_HEAD: [&str; 15] = [
    "position",
    "at",
    "actor",
    "username",
    "action",
    "outcome",
    "targetKind",
    "target",
    "room",
    "address",
    "userAgent",
    "correlation",
    "causation",
    "details",
    "unreadable",
];

impl Lines {
    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/jsonl; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    fn head(self) -> Vec<u8> {
        match self {
            Self::Json => Vec::new(),
            Self::Csv => format!("{}\r\n", CSV_HEAD.join(",")).into_bytes(),
        }
    }

    fn write(self, entries: Vec<AuditEntry>) -> Vec<u8> {
        match self {
            Self::Json => {
                let mut lines = Vec::new();
                for entry in entries {
                    if serde_json::to_writer(&mut lines, &entry).is_ok() {
                        lines.push(b'\n');
                    }
                }
                lines
            }
            Self::Csv => {
                let mut table = csv::WriterBuilder::new()
                    .terminator(csv::Terminator::CRLF)
                    .from_writer(Vec::new());
                for entry in entries {
                    // Writing into memory does not fail, and the rows are all of one length.
                    let _ = table.write_record(cells(entry));
                }
                table.into_inner().unwrap_or_default()
            }
        }
    }
}

fn cells(entry: AuditEntry) -> [String; 15] {
    let (address, user_agent) = entry
        .origin
        .map(|origin| (origin.address, origin.user_agent))
        .unwrap_or_default();
    let details = entry.details.map(|details| details.get().to_owned());
    [
        entry.position.to_string(),
        entry.at,
        entry.actor,
        entry.username.unwrap_or_default(),
        entry.action,
        entry.outcome,
        entry.target.kind,
        entry.target.id,
        entry.room.unwrap_or_default(),
        address,
        user_agent,
        entry.correlation.unwrap_or_default(),
        entry.causation.unwrap_or_default(),
        details.unwrap_or_default(),
        entry.unreadable.unwrap_or_default(),
    ]
    .map(table::cell)
}

/// Everything up to the head as it is now, page by page, as fast as the client reads.
async fn export(
    app: App,
    caller: Caller,
    mut filter: AuditFilter,
    asked: String,
    lines: Lines,
) -> Result<OrStream<Success<AuditPage>>, Failure> {
    let end = Position(app.commands.journal().head().0 + 1);
    filter.before = Some(filter.before.map_or(end, |given| given.min(end)));
    let shown = {
        let mut reading = app.views.audit.read().await?;
        audit::count(&mut reading, &filter).await?
    };
    inspected(&app, &caller, "audit", asked, shown).await?;
    let body = async_stream::stream! {
        yield Ok(Bytes::from(lines.head()));
        loop {
            let page = async {
                let mut reading = app.views.audit.read().await?;
                audit::page(&mut reading, &filter, Order::OldestFirst, EXPORT_PAGE).await
            };
            let rows = match page.await {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::warn!(%error, "an export of the audit ended early");
                    yield Err(CutShort);
                    return;
                }
            };
            let Some(last) = rows.last().map(|row| row.position) else { return };
            filter.after = Some(last);
            let model = app.commands.model();
            if !may_go_on(&app, &caller, PERMISSION) || app.stop.is_cancelled() {
                yield Err(CutShort);
                return;
            }
            let entries = rows.into_iter().map(|row| AuditEntry::of(row, &model)).collect();
            yield Ok(Bytes::from(lines.write(entries)));
        }
    };
    Ok(OrStream::Stream(Reply::stream(lines.media_type(), body)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_entry_is_a_line_in_either_format() {
        let entry = || AuditEntry {
            position: 7,
            at: "2026-01-31T12:00:00.000Z".to_owned(),
            actor: "user:mary".to_owned(),
            username: None,
            action: "MemberJoined".to_owned(),
            target: AuditTarget {
                kind: "user".to_owned(),
                id: "mary".to_owned(),
            },
            room: Some("GENERAL".to_owned()),
            room_name: None,
            outcome: "done".to_owned(),
            unreadable: None,
            origin: None,
            correlation: None,
            causation: None,
            details: RawValue::from_string(r#"{"entry":"joined"}"#.to_owned()).ok(),
        };
        let json: Value = serde_json::from_slice(&Lines::Json.write(vec![entry()])).unwrap();
        assert_eq!(json["details"]["entry"], "joined");
        let csv = String::from_utf8(Lines::Csv.write(vec![entry(), entry()])).unwrap();
        assert_eq!(csv.lines().count(), 2);
        assert!(csv.contains(r#""{""entry"":""joined""}""#), "{csv}");
    }
}
