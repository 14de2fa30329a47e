//! Hansard's own surface, under `/api/hansard/v1`: the log as a feed, the audit, what holds for
//! retention, and the views.
//!
//! Looking at the record is itself put on the record.

#![allow(unused_qualifications, reason = "utoipa's macro writes paths out")]

mod audit;
mod events;
mod feed;
mod names;
mod retention;
mod reveal;
mod views;

use hansard_domain::audit::AuditEvent;
use hansard_domain::id::Timestamp;
use hansard_domain::log::Position;
use hansard_domain::seal::Private;

use crate::app::App;
use crate::operations::Operation;
use crate::operations::asked::is_logged_out;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;

pub const OPERATIONS: &[&[Operation]] = &[
    audit::OPERATIONS,
    events::OPERATIONS,
    views::OPERATIONS,
    retention::OPERATIONS,
];

/// Refuses a caller without one of some permissions.
fn require(app: &App, caller: &Caller, permissions: &[&str]) -> Result<(), Failure> {
    let model = app.commands.model();
    Ok(model.require_any(caller, permissions, None)?)
}

/// Whether a caller to whom something is sent as it reads is still logged in, and may still see it.
fn may_go_on(app: &App, caller: &Caller, permissions: &[&str]) -> bool {
    let model = app.commands.model();
    let account = model.account(caller.user());
    if account.is_none_or(|account| account.must_change_password()) {
        return false;
    }
    !is_logged_out(app, &model, caller) && model.require_any(caller, permissions, None).is_ok()
}

/// Puts on the record that somebody looked at it, or at what few may see.
pub(crate) async fn inspected(
    app: &App,
    caller: &Caller,
    what: &'static str,
    filter: String,
    shown: u64,
) -> Result<(), Failure> {
    let recorded = app.commands.run(caller, move |decision| {
        let account = decision
            .caller()
            .user
            .as_ref()
            .and_then(|user| decision.model().account(user));
        // What somebody looked for is theirs, and goes with them.
        let key = match account {
            Some(account) => account.key,
            None => decision.fresh_key()?,
        };
        decision.audit(AuditEvent::RecordInspected {
            what: what.to_owned(),
            filter: Private::new(key, filter.clone()),
            shown,
        });
        Ok(())
    });
    recorded.await?;
    Ok(())
}

/// A time of a filter: a date, or a date and a time.
fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    text.map(|text| {
        Timestamp::parse(text).ok_or_else(|| {
            Failure::invalid_params(&format!(
                "'{name}' must be a time (2026-01-31T12:00:00Z) or a date (2026-01-31)"
            ))
        })
    })
    .transpose()
}

/// A position of a filter; no log and no view counts further than this.
fn position(given: u64) -> Position {
    Position(given.min(i64::MAX as u64))
}

/// Event types, separated by commas.
fn event_types(text: Option<&str>) -> Result<Vec<String>, Failure> {
    let named = text.into_iter().flat_map(|text| text.split(','));
    let mut types = Vec::new();
    for name in named.map(str::trim).filter(|name| !name.is_empty()) {
        if !hansard_domain::event::Event::kinds().any(|kind| kind == name) {
            return Err(Failure::invalid_params(&format!(
                "'{name}' is no type of event"
            )));
        }
        types.push(name.to_owned());
    }
    Ok(types)
}

/// How many entries of a page are asked for.
fn page_size(limit: Option<u64>, most: u64) -> Result<u64, Failure> {
    match limit {
        None => Ok(100.min(most)),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(_) => Err(Failure::invalid_params(&format!(
            "'limit' must be between 1 and {most}"
        ))),
    }
}
