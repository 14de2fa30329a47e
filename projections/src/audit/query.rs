//! What is asked of the audit.

use hansard_domain::id::Timestamp;
use hansard_domain::log::Position;
use hansard_domain::seal::Fault;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AnyConnection, Arguments, AssertSqlSafe, Row};

use super::Outcome;
use crate::sql::{self, Value};
use crate::view::ViewError;

/// Which rows are asked for; what is not given does not narrow them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditFilter {
    /// `user:<id>` and so on.
    pub actor: Option<String>,
    /// `user`, `room`, `message`, …
    pub target_kind: Option<String>,
    pub target: Option<String>,
    pub room: Option<String>,
    /// Event types; none means all.
    pub actions: Vec<String>,
    pub outcome: Option<Outcome>,
    /// Only events of which a part can't be read for this reason.
    pub fault: Option<Fault>,
    /// The client's address.
    pub address: Option<String>,
    pub correlation: Option<String>,
    /// Only rows after this position.
    pub after: Option<Position>,
    /// Only rows before this position.
    pub before: Option<Position>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    #[default]
    NewestFirst,
}

/// One line of the audit.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    pub position: Position,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub target_kind: String,
    pub target: String,
    pub room: Option<String>,
    pub outcome: String,
    /// Why a part of the event can't be read though its key is there.
    pub fault: Option<String>,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    pub correlation: Option<String>,
    pub causation: Option<String>,
    /// JSON.
    pub details: Option<String>,
}

const COLUMNS: &str = "SELECT audit.position, audit.at, audit.actor, audit.action, \
     audit.target_kind, audit.target, audit.room, audit.outcome, audit.fault, \
     origin.address, origin.user_agent, audit.correlation, audit.causation, audit.details \
     FROM audit LEFT JOIN origin ON origin.id = audit.origin";

/// At most `limit` rows.
pub async fn page(
    tables: &mut AnyConnection,
    filter: &AuditFilter,
    order: Order,
    limit: u64,
) -> Result<Vec<AuditRow>, ViewError> {
    let mut statement = Statement::new(COLUMNS);
    statement.narrow(filter);
    statement.push(match order {
        Order::OldestFirst => " ORDER BY audit.position ASC",
        Order::NewestFirst => " ORDER BY audit.position DESC",
    });
    statement.push_with(" LIMIT ", i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = statement.fetch(tables).await?;
    rows.iter().map(read).collect()
}

/// How many rows there are.
pub async fn count(tables: &mut AnyConnection, filter: &AuditFilter) -> Result<u64, ViewError> {
    let mut statement = Statement::new("SELECT count(*) FROM audit");
    statement.narrow(filter);
    let rows = statement.fetch(tables).await?;
    let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(count as u64)
}

fn read(row: &AnyRow) -> Result<AuditRow, ViewError> {
    Ok(AuditRow {
        position: Position(row.try_get::<i64, _>(0)? as u64),
        at: Timestamp(row.try_get(1)?),
        actor: row.try_get(2)?,
        action: row.try_get(3)?,
        target_kind: row.try_get(4)?,
        target: row.try_get(5)?,
        room: row.try_get(6)?,
        outcome: row.try_get(7)?,
        fault: row.try_get(8)?,
        address: row.try_get(9)?,
        user_agent: row.try_get(10)?,
        correlation: row.try_get(11)?,
        causation: row.try_get(12)?,
        details: row.try_get(13)?,
    })
}

/// A statement put together from texts of this file; what a caller sends is only ever bound.
struct Statement {
    sql: String,
    arguments: AnyArguments,
    narrowed: bool,
}

impl Statement {
    fn new(sql: &'static str) -> Self {
        Self {
            sql: sql.to_owned(),
            arguments: AnyArguments::default(),
            narrowed: false,
        }
    }

    fn narrow(&mut self, filter: &AuditFilter) {
        if let Some(after) = filter.after {
            self.when("audit.position > ", after.0 as i64);
        }
        if let Some(before) = filter.before {
            self.when("audit.position < ", before.0.min(i64::MAX as u64) as i64);
        }
        if let Some(actor) = &filter.actor {
            self.when("audit.actor = ", actor.clone());
        }
        if let Some(target) = &filter.target {
            self.when("audit.target = ", target.clone());
        }
        if let Some(kind) = &filter.target_kind {
            self.when("audit.target_kind = ", kind.clone());
        }
        if let Some(room) = &filter.room {
            self.when("audit.room = ", room.clone());
        }
        if let Some(correlation) = &filter.correlation {
            self.when("audit.correlation = ", correlation.clone());
        }
        match filter.outcome {
            Some(Outcome::Done) => self.and("audit.outcome = 'done'"),
            Some(outcome) => {
                // Says what the partial index asks for.
                self.and("audit.outcome <> 'done'");
                self.when("audit.outcome = ", outcome.as_str().to_owned());
            }
            None => {}
        }
        if let Some(fault) = filter.fault {
            self.and("audit.fault IS NOT NULL");
            self.when("audit.fault = ", fault.as_str().to_owned());
        }
        if let Some(address) = &filter.address {
            self.when(
                "audit.origin IN (SELECT id FROM origin WHERE address = ",
                address.clone(),
            );
            self.push(")");
        }
        if !filter.actions.is_empty() {
            if !filter.actions.iter().any(|action| action == "MessageSent") {
                self.and("audit.action <> 'MessageSent'");
            }
            let mut before = "audit.action IN (";
            for action in &filter.actions {
                if before == ", " {
                    self.push_with(before, action.clone());
                } else {
                    self.when(before, action.clone());
                }
                before = ", ";
            }
            self.push(")");
        }
    }

    fn when(&mut self, condition: &'static str, value: impl Value) {
        self.and("");
        self.push_with(condition, value);
    }

    fn and(&mut self, condition: &'static str) {
        self.push(if self.narrowed { " AND " } else { " WHERE " });
        self.push(condition);
        self.narrowed = true;
    }

    fn push(&mut self, sql: &'static str) {
        self.sql.push_str(sql);
    }

    fn push_with(&mut self, sql: &'static str, value: impl Value) {
        value.add_to(&mut self.arguments);
        self.sql.push_str(sql);
        self.sql.push('$');
        self.sql.push_str(&self.arguments.len().to_string());
    }

    async fn fetch(self, tables: &mut AnyConnection) -> Result<Vec<AnyRow>, ViewError> {
        let query = sql::query_with(AssertSqlSafe(self.sql), self.arguments);
        Ok(query.fetch_all(tables).await?)
    }
}
