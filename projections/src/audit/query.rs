//! What is asked of the audit.

use hansard_domain::id::Timestamp;
use hansard_domain::log::Position;
use hansard_domain::seal::Fault;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AnyConnection, Arguments, AssertSqlSafe, Row};
use uuid::Uuid;

use super::describe::{MESSAGE, MESSAGE_SENT};
use super::names;
use super::packed::{pack, unpack};
use super::{FAULTS, Outcome, fault_number};
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

/// What stands before the conditions of a page, and after its length. Names are looked up for the
/// rows of the page alone.
const PAGE: &str = "SELECT line.position, line.at, \
     (SELECT name FROM name WHERE number = line.actor), \
     (SELECT name FROM name WHERE number = line.action), \
     (SELECT name FROM name WHERE number = line.target_kind), \
     (SELECT name FROM name WHERE number = line.target), \
     line.target_id, \
     (SELECT name FROM name WHERE number = line.room), \
     line.outcome, line.fault, origin.address, origin.user_agent, line.correlation, line.causation, \
     coalesce(line.details, (SELECT name FROM name WHERE number = line.usual_details)) \
     FROM (SELECT * FROM audit /* walks audit: along the positions, until the page is full */";
const WITH_ORIGINS: &str = ") AS line LEFT JOIN origin ON origin.number = line.origin";

const COUNT: &str = "SELECT count(*) FROM audit /* walks audit: that is what it is asked for */";

/// At most `limit` rows.
pub async fn page(
    tables: &mut AnyConnection,
    filter: &AuditFilter,
    order: Order,
    limit: u64,
) -> Result<Vec<AuditRow>, ViewError> {
    let Some(resolved) = Resolved::of(tables, filter).await? else {
        return Ok(Vec::new());
    };
    let mut page = Vec::new();
    for statement in resolved.pages(order, limit) {
        let rows = statement.fetch(tables).await?;
        for row in &rows {
            page.push(read(row)?);
        }
    }
    if resolved.targets.len() > 1 {
        page.sort_unstable_by_key(|row| row.position);
        if order == Order::NewestFirst {
            page.reverse();
        }
        page.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Ok(page)
}

/// How many rows there are.
pub async fn count(tables: &mut AnyConnection, filter: &AuditFilter) -> Result<u64, ViewError> {
    let Some(resolved) = Resolved::of(tables, filter).await? else {
        return Ok(0);
    };
    let mut count = 0;
    for statement in resolved.statements(COUNT) {
        let rows = statement.fetch(tables).await?;
        count += rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>(0))?;
    }
    Ok(count as u64)
}

fn read(row: &AnyRow) -> Result<AuditRow, ViewError> {
    let or = |column: usize, usual: &str| -> Result<String, ViewError> {
        let name: Option<String> = row.try_get(column)?;
        Ok(name.unwrap_or_else(|| usual.to_owned()))
    };
    let unpacked = |column: usize| -> Result<Option<String>, ViewError> {
        let packed: Option<Vec<u8>> = row.try_get(column)?;
        let text = packed.map(|packed| unpack(&packed).ok_or_else(|| damaged("an id")));
        text.transpose()
    };
    let (outcome, fault): (Option<i64>, Option<i64>) = (row.try_get(8)?, row.try_get(9)?);
    let outcome = Outcome::ALL.into_iter().find(|it| it.number() == outcome);
    let fault = fault.map(|fault| {
        let found = FAULTS.into_iter().find(|it| fault_number(*it) == fault);
        found.ok_or_else(|| damaged("a fault"))
    });
    let causation: Option<Vec<u8>> = row.try_get(13)?;
    let causation = causation.map(|id| Uuid::from_slice(&id).map_err(|_| damaged("an event's id")));
    let target = match unpacked(6)? {
        Some(id) => id,
        None => name(row.try_get(5)?)?,
    };
    Ok(AuditRow {
        position: Position(row.try_get::<i64, _>(0)? as u64),
        at: Timestamp(row.try_get(1)?),
        actor: name(row.try_get(2)?)?,
        action: or(3, MESSAGE_SENT)?,
        target_kind: or(4, MESSAGE)?,
        target,
        room: row.try_get(7)?,
        outcome: outcome
            .ok_or_else(|| damaged("an outcome"))?
            .as_str()
            .to_owned(),
        fault: fault.transpose()?.map(|fault| fault.as_str().to_owned()),
        address: row.try_get(10)?,
        user_agent: row.try_get(11)?,
        correlation: unpacked(12)?,
        causation: causation.transpose()?.map(|id| id.to_string()),
        details: row.try_get(14)?,
    })
}

fn name(found: Option<String>) -> Result<String, ViewError> {
    found.ok_or_else(|| damaged("a name"))
}

fn damaged(what: &str) -> ViewError {
    ViewError::Damaged(format!("a row of the audit has {what} that can't be read"))
}

/// A filter with what stands in the rows in place of names.
pub(super) struct Resolved<'a> {
    filter: &'a AuditFilter,
    actor: Option<i64>,
    /// None also for messages.
    target_kind: Option<i64>,
    /// None where it was not asked for one; two where a message is called like something else.
    targets: Vec<Target>,
    room: Option<i64>,
    /// None means all, unless it was asked for messages that were sent.
    actions: Vec<i64>,
    messages_sent: bool,
}

/// How a target stands in a row.
enum Target {
    Name(i64),
    Id(Vec<u8>),
}

impl<'a> Resolved<'a> {
    /// `None` where no row can have what is asked for: nothing has that name.
    pub(super) async fn of(
        tables: &mut AnyConnection,
        filter: &'a AuditFilter,
    ) -> Result<Option<Self>, ViewError> {
        let texts: Vec<String> = [
            &filter.actor,
            &filter.target_kind,
            &filter.target,
            &filter.room,
        ]
        .into_iter()
        .flatten()
        .chain(&filter.actions)
        .map(|name| sql::clean(name.clone()))
        .collect();
        let known = names::find(tables, &texts).await?;
        let number = |name: &String| known.get(&sql::clean(name.clone())).copied();
        let kind = filter.target_kind.as_ref();
        let kind = kind.filter(|kind| *kind != MESSAGE);
        let mut resolved = Self {
            filter,
            actor: filter.actor.as_ref().and_then(number),
            target_kind: kind.and_then(number),
            targets: Vec::new(),
            room: filter.room.as_ref().and_then(number),
            actions: filter.actions.iter().filter_map(number).collect(),
            messages_sent: filter.actions.iter().any(|action| action == MESSAGE_SENT),
        };
        if let Some(target) = &filter.target {
            let packed = pack(target);
            let found = sql::query("SELECT 1 FROM audit WHERE target_id = $1 LIMIT 1")
                .bind(packed.clone())
                .fetch_optional(tables)
                .await?;
            resolved.targets.extend(number(target).map(Target::Name));
            resolved.targets.extend(found.map(|_| Target::Id(packed)));
        }
        let missing = filter.actor.is_some() && resolved.actor.is_none()
            || kind.is_some() && resolved.target_kind.is_none()
            || filter.target.is_some() && resolved.targets.is_empty()
            || filter.room.is_some() && resolved.room.is_none()
            || !filter.actions.is_empty() && resolved.actions.is_empty() && !resolved.messages_sent;
        Ok((!missing).then_some(resolved))
    }

    pub(super) fn pages(&self, order: Order, limit: u64) -> Vec<Statement> {
        let mut statements = self.statements(PAGE);
        for statement in &mut statements {
            statement.push(match order {
                Order::OldestFirst => " ORDER BY audit.position ASC",
                Order::NewestFirst => " ORDER BY audit.position DESC",
            });
            statement.push_with(" LIMIT ", i64::try_from(limit).unwrap_or(i64::MAX));
            statement.push(WITH_ORIGINS);
            statement.push(match order {
                Order::OldestFirst => " ORDER BY line.position ASC",
                Order::NewestFirst => " ORDER BY line.position DESC",
            });
        }
        statements
    }

    /// One for each way in which the target may stand in a row: so each follows one index.
    fn statements(&self, sql: &'static str) -> Vec<Statement> {
        let mut statements: Vec<_> = self
            .targets
            .iter()
            .map(|target| {
                let mut statement = Statement::new(sql);
                match target {
                    Target::Name(name) => statement.when("audit.target = ", *name),
                    Target::Id(id) => statement.when("audit.target_id = ", id.clone()),
                }
                statement
            })
            .collect();
        if statements.is_empty() {
            statements.push(Statement::new(sql));
        }
        for statement in &mut statements {
            statement.narrow(self);
        }
        statements
    }
}

/// A statement put together from texts of this file; what a caller sends is only ever bound.
pub(super) struct Statement {
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

    fn narrow(&mut self, resolved: &Resolved) {
        let filter = resolved.filter;
        if let Some(after) = filter.after {
            self.when("audit.position > ", after.0 as i64);
        }
        if let Some(before) = filter.before {
            self.when("audit.position < ", before.0.min(i64::MAX as u64) as i64);
        }
        if let Some(actor) = resolved.actor {
            self.when("audit.actor = ", actor);
        }
        match (&filter.target_kind, resolved.target_kind) {
            (Some(_), Some(kind)) => self.when("audit.target_kind = ", kind),
            (Some(_), None) => self.and("audit.target_kind IS NULL"),
            (None, _) => {}
        }
        if let Some(room) = resolved.room {
            self.when("audit.room = ", room);
        }
        if let Some(correlation) = &filter.correlation {
            self.when("audit.correlation = ", pack(correlation));
        }
        match filter.outcome.map(Outcome::number) {
            Some(Some(outcome)) => self.when("audit.outcome = ", outcome),
            Some(None) => self.and("audit.outcome IS NULL"),
            None => {}
        }
        if let Some(fault) = filter.fault {
            self.when("audit.fault = ", fault_number(fault));
        }
        if let Some(address) = &filter.address {
            self.when(
                "audit.origin IN (SELECT number FROM origin WHERE address = ",
                address.clone(),
            );
            self.push(")");
        }
        match (resolved.messages_sent, &resolved.actions[..]) {
            (false, []) => {}
            (true, []) => self.and("audit.action IS NULL"),
            (true, actions) => {
                self.and("(audit.action IS NULL OR audit.action IN (");
                self.list(actions);
                self.push("))");
            }
            (false, [action]) => self.when("audit.action = ", *action),
            (false, actions) => {
                self.and("audit.action IN (");
                self.list(actions);
                self.push(")");
            }
        }
    }

    fn list(&mut self, numbers: &[i64]) {
        let mut before = "";
        for number in numbers {
            self.push_with(before, *number);
            before = ", ";
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

    /// Of the plan of it, in SQLite.
    #[cfg(test)]
    pub(super) fn explained(mut self) -> Self {
        self.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
        self
    }

    pub(super) async fn fetch(self, tables: &mut AnyConnection) -> Result<Vec<AnyRow>, ViewError> {
        let query = sql::query_with(AssertSqlSafe(self.sql), self.arguments);
        Ok(query.fetch_all(tables).await?)
    }
}
