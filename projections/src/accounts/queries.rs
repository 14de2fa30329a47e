//! What can be asked about accounts.

use std::sync::Arc;

use hansard_domain::account::AccountKind;
use hansard_domain::claim::same_name;
use hansard_domain::id::{RoleId, UserId};
use hansard_domain::pace::each_row;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use super::{User, kind_name};
use crate::answers::{Answer, Subject};
use crate::conditions::Conditions;
use crate::folding::{containing, folded};
use crate::fragments::{Fragments, Tag, Total};
use crate::rows::ByKey;
use crate::sql::{self, Dialect};
use crate::store::{Reading, Store};
use crate::view::ViewError;

/// Which accounts to list; what is not set excludes nobody.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    pub active: Option<bool>,
    pub kind: Option<AccountKind>,
    /// One that holds this role in the whole workspace.
    pub role: Option<RoleId>,
    /// Whether it ever logged in.
    pub logged_in: Option<bool>,
    pub search: Option<Search>,
}

/// A text that must occur in one of the fields, whatever its case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    pub text: String,
    pub fields: SearchFields,
}

/// Where a [`Search`] looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SearchFields {
    pub username: bool,
    pub name: bool,
    pub email: bool,
    pub bio: bool,
    pub nickname: bool,
}

impl SearchFields {
    /// The columns, and whether it looks there.
    pub(super) fn columns(self) -> impl Iterator<Item = (&'static str, bool)> {
        [
            ("username", self.username),
            ("name", self.name),
            ("email", self.email),
            ("bio", self.bio),
            ("nickname", self.nickname),
        ]
        .into_iter()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Username,
    Name,
    Email,
    Bio,
    Active,
    Status,
    CreatedAt,
    LastLogin,
}

impl Order {
    fn column(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Name => "name",
            Self::Email => "email",
            Self::Bio => "bio",
            Self::Active => "active",
            Self::Status => "status",
            Self::CreatedAt => "created_at",
            // Who never logged in comes before everybody else.
            Self::LastLogin => "coalesce(last_login, 0)",
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Page {
    pub order: Order,
    pub descending: bool,
    pub offset: u64,
    /// How many; `None` is all.
    pub limit: Option<u64>,
}

impl Page {
    /// ` ORDER BY …`
    fn sorted(&self) -> String {
        let direction = if self.descending { "DESC" } else { "ASC" };
        match self.order {
            Order::Username => format!(" ORDER BY username {direction}, id"),
            order => {
                let column = order.column();
                format!(" ORDER BY {column} {direction}, username {direction}, id")
            }
        }
    }
}

/// The tables for a list of those that pass a filter. Where no index leads to them it is a
/// [walk](Store::walk).
pub async fn reading(store: &Store, filter: &Filter) -> Result<Reading, ViewError> {
    let reading = store.moment().await?;
    let indexed = match &filter.search {
        Some(search) if !search.text.is_empty() => {
            fragments(Dialect::of(&reading), filter).is_some()
        }
        _ => true,
    };
    if indexed {
        return Ok(reading);
    }
    drop(reading);
    store.walk().await
}

const BY_ID: &str = "SELECT document FROM account WHERE id = $1";

pub async fn by_id(tables: &mut AnyConnection, id: &UserId) -> Result<Option<User>, ViewError> {
    let row = sql::query(BY_ID)
        .bind(id.as_str().to_owned())
        .fetch_optional(tables)
        .await?;
    row.as_ref().map(user).transpose()
}

/// An account, kept until something happens to it.
pub async fn one(store: &Store, id: &UserId) -> Result<Option<Arc<User>>, ViewError> {
    let read = async || {
        let mut reading = store.read().await?;
        let document: Option<String> = sql::query(BY_ID)
            .bind(id.as_str().to_owned())
            .fetch_optional(&mut reading)
            .await?
            .map(|row| row.try_get("document"))
            .transpose()?;
        let bytes = document.as_ref().map_or(0, |document| 4 * document.len());
        let user = document.map(|document| hansard_domain::json::from_str(&document));
        Ok(Answer {
            value: user.transpose()?.map(Arc::new),
            own: false,
            bytes: size_of::<User>() + bytes,
            about: vec![Subject::Account(id.clone())],
        })
    };
    let found = store.answer(format!("account {id}"), id, read).await?;
    Ok(found.as_ref().clone())
}

const BY_IDS: ByKey = ByKey::new("SELECT document FROM account WHERE id IN");

/// Those of these ids that there are, in no order.
pub async fn by_ids(tables: &mut AnyConnection, ids: &[UserId]) -> Result<Vec<User>, ViewError> {
    let rows = BY_IDS.fetch(tables, ids).await?;
    each_row(&rows, user).await
}

const BY_USERNAME: &str = "SELECT document FROM account WHERE username = $1";

/// The account of this name, whatever the case of its letters.
pub async fn by_username(
    tables: &mut AnyConnection,
    username: &str,
) -> Result<Option<User>, ViewError> {
    let rows = sql::query(BY_USERNAME)
        .bind(folded(username))
        .fetch_all(tables)
        .await?;
    // Names can differ that are looked for as one: `Straße` and `Strasse`.
    let found = rows.iter().map(user).collect::<Result<Vec<_>, _>>()?;
    let same = |user: &User| same_name(&user.profile.username, username);
    Ok(found.into_iter().find(same))
}

const ALL: &str = "SELECT document FROM account ORDER BY username \
    /* walks account: everybody is asked for */";

/// Everybody, by username.
pub async fn all(tables: &mut AnyConnection) -> Result<Vec<User>, ViewError> {
    let rows = sql::query(ALL).fetch_all(tables).await?;
    each_row(&rows, user).await
}

const COUNT_BY_ROLE: &str = "SELECT count(*) AS total FROM account_role WHERE role = $1";

/// How many accounts hold a role in the whole workspace.
pub async fn count_by_role(tables: &mut AnyConnection, role: &RoleId) -> Result<u64, ViewError> {
    let row = sql::query(COUNT_BY_ROLE)
        .bind(role.as_str().to_owned())
        .fetch_one(tables)
        .await?;
    Ok(row.try_get::<i64, _>("total")? as u64)
}

/// A page of those that pass the filter, and how many there are in all. Where thousands have a text, those
/// that only have its parts may be counted with them, until the last page is met.
pub async fn list(
    tables: &mut AnyConnection,
    filter: &Filter,
    page: &Page,
) -> Result<(Vec<User>, u64), ViewError> {
    // A page and its total are of one moment.
    let mut moment = tables.begin().await?;
    let fragments = fragments(Dialect::of(&moment), filter).filter(|_| filter.role.is_none());
    let told = match &fragments {
        Some(fragments) => fragments.total(&mut moment).await?,
        None if filter.role.is_some() || filter.search.is_some() => Total::ToBeCounted,
        None => Total::Exact(tallied(&mut moment, filter).await?),
    };
    let total = match told {
        Total::Exact(total) | Total::AtMost(total) => total,
        Total::ToBeCounted => {
            let conditions = match fragments {
                Some(fragments) => found(filter, fragments),
                None => conditions(filter),
            };
            let counting = format!("SELECT count(*) AS total {CHOSEN}{}", conditions.sql());
            let counting = conditions.bind(sql::query(AssertSqlSafe(counting)));
            counting.fetch_one(&mut moment).await?.try_get("total")?
        }
    };
    let users = some(&mut moment, filter, page).await?;
    moment.commit().await?;
    let total = match told {
        Total::AtMost(_) => {
            let (offset, limit) = (number(page.offset), number(page.limit.unwrap_or(u64::MAX)));
            Total::corrected(total, offset, users.len(), limit)
        }
        _ => total,
    };
    Ok((users, total as u64))
}

/// A page of those that pass the filter.
pub async fn some(
    tables: &mut AnyConnection,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<User>, ViewError> {
    let mut conditions = conditions(filter);
    if let Some(fragments) = fragments(Dialect::of(tables), filter) {
        let wanted = page
            .limit
            .map(|limit| number(limit.saturating_add(page.offset)));
        let many = fragments.to_look_up(tables, wanted, MANY).await?;
        let wanted = wanted.unwrap_or_default();
        // Of many a page is rather met among the first, if it is there.
        if many <= wanted.max(FEW)
            || many <= wanted.max(MANY) && !is_met_early(tables, filter, page).await?
        {
            conditions = found(filter, fragments);
        }
    }
    let sorted = page.sorted();
    let listing = format!(
        "SELECT document FROM account WHERE id IN \
         (SELECT id {CHOSEN}{}{sorted} LIMIT {} OFFSET {}){sorted}",
        conditions.sql().to_owned(),
        conditions.parameter(page.limit.map_or(i64::MAX, number)),
        conditions.parameter(number(page.offset)),
    );
    let listing = conditions.bind(sql::query(AssertSqlSafe(listing)));
    let rows = listing.fetch_all(tables).await?;
    each_row(&rows, user).await
}

/// Whether a page is found among the first of all accounts in its order.
async fn is_met_early(
    tables: &mut AnyConnection,
    filter: &Filter,
    page: &Page,
) -> Result<bool, ViewError> {
    let Some(limit) = page.limit else {
        return Ok(false);
    };
    let wanted = number(limit.saturating_add(page.offset));
    let mut conditions = conditions(filter);
    let first = format!(
        "SELECT count(*) FROM (SELECT 1 AS one FROM (SELECT * FROM account{} LIMIT {EARLY}) AS account{} \
         LIMIT {}) AS met /* walks account: its first rows */",
        page.sorted(),
        conditions.sql().to_owned(),
        conditions.parameter(wanted),
    );
    let first = conditions.bind(sql::query(AssertSqlSafe(first)));
    let met: i64 = first.fetch_one(tables).await?.try_get(0)?;
    Ok(met >= wanted)
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// So few that have a text are looked up at once.
const FEW: i64 = if cfg!(test) { 2 } else { 4_000 };

/// Among so many in their order a page is looked for that more have something of.
const EARLY: i64 = if cfg!(test) { 3 } else { 2_000 };

/// So many that have a text are sorted in a tenth of a second, from an index that has what they are sorted
/// by. Where more have it, a page is rather met in its order.
const MANY: i64 = if cfg!(test) { 4 } else { 100_000 };

const CHOSEN: &str = "FROM account \
    /* walks account: a page in its order, or a text that many have, or of a letter or two */";

/// What is asked of the index of fragments for those that pass a filter, whatever their role.
fn fragments(dialect: Dialect, filter: &Filter) -> Option<Fragments> {
    let Search { text, fields } = filter.search.as_ref()?;
    let columns = fields.columns().filter(|(_, looked)| *looked);
    // Nearly all are.
    let active = filter.active.map(|active| {
        if active {
            Tag::HasNot("off")
        } else {
            Tag::Has("off")
        }
    });
    let kind = filter.kind.map(|kind| Tag::Has(&kind_name(kind)[..3]));
    let logged_in = filter
        .logged_in
        .map(|in_once| Tag::Has(if in_once { "log" } else { "new" }));
    let tags = [active, kind, logged_in].into_iter().flatten();
    let columns = columns.map(|(column, _)| column);
    Fragments::of(dialect, text, columns, tags)
}

/// Those of a filter whose text the index finds.
fn found(filter: &Filter, fragments: Fragments) -> Conditions {
    let mut rest = filter.clone();
    if fragments.is_exact() {
        rest.search = None;
    }
    let mut conditions = conditions(&rest);
    fragments.hold(&mut conditions, "number");
    conditions
}

fn conditions(filter: &Filter) -> Conditions {
    let mut conditions = Conditions::default();
    if let Some(active) = filter.active {
        conditions.with("active = $", i64::from(active));
    }
    if let Some(kind) = filter.kind {
        conditions.with("kind = $", kind_name(kind));
    }
    if let Some(role) = &filter.role {
        let holders = "id IN (SELECT account FROM account_role WHERE role = $)";
        conditions.with(holders, role.as_str());
    }
    match filter.logged_in {
        Some(true) => conditions.hold("last_login IS NOT NULL"),
        Some(false) => conditions.hold("last_login IS NULL"),
        None => {}
    }
    if let Some(search) = filter
        .search
        .as_ref()
        .filter(|search| !search.text.is_empty())
    {
        let looked = search.fields.columns().filter(|(_, looked)| *looked);
        let looked = looked.map(|(field, _)| format!("{field} LIKE $ ESCAPE '\\'"));
        match looked.collect::<Vec<_>>().join(" OR ") {
            nowhere if nowhere.is_empty() => conditions.hold("1 = 0"),
            looked => conditions.with(&format!("({looked})"), containing(&search.text)),
        }
    }
    conditions
}

/// How many pass a filter that asks for nothing that is not counted as accounts change.
async fn tallied(tables: &mut AnyConnection, filter: &Filter) -> Result<i64, ViewError> {
    let rows = sql::query(
        "SELECT active, kind, logged_in, number FROM tally /* walks tally: it has a dozen rows */",
    )
    .fetch_all(tables)
    .await?;
    let mut total = 0;
    for row in &rows {
        let (active, logged_in): (i64, i64) = (row.try_get(0)?, row.try_get(2)?);
        let kind: String = row.try_get(1)?;
        let passes = |asked: Option<bool>, is: i64| asked.is_none_or(|asked| asked == (is == 1));
        let of_kind = filter.kind.is_none_or(|asked| kind_name(asked) == kind);
        if of_kind && passes(filter.active, active) && passes(filter.logged_in, logged_in) {
            total += row.try_get::<i64, _>(3)?;
        }
    }
    Ok(total)
}

fn user(row: &AnyRow) -> Result<User, ViewError> {
    let document: String = row.try_get("document")?;
    Ok(hansard_domain::json::from_str(&document)?)
}
