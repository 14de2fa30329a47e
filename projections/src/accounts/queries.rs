//! What can be asked about accounts.

use hansard_domain::account::AccountKind;
use hansard_domain::claim::same_name;
use hansard_domain::id::{RoleId, UserId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use super::{User, kind_name};
use crate::folding::{containing, folded};
use crate::rows::ByKey;
use crate::sql::{self, Query};
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

const BY_ID: &str = "SELECT document FROM account WHERE id = $1";

pub async fn by_id(tables: &mut AnyConnection, id: &UserId) -> Result<Option<User>, ViewError> {
    let row = sql::query(BY_ID)
        .bind(id.as_str().to_owned())
        .fetch_optional(tables)
        .await?;
    row.as_ref().map(user).transpose()
}

const BY_IDS: ByKey = ByKey::new("SELECT document FROM account WHERE id IN");

/// Those of these ids that there are, in no order.
pub async fn by_ids(tables: &mut AnyConnection, ids: &[UserId]) -> Result<Vec<User>, ViewError> {
    BY_IDS.fetch(tables, ids).await?.iter().map(user).collect()
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
    rows.iter().map(user).collect()
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

const CHOSEN: &str =
    "FROM account /* walks account: a text is looked for anywhere in five columns */
    WHERE ($1 < 0 OR active = $1)
      AND ($2 = '' OR kind = $2)
      AND ($3 = '' OR EXISTS (
            SELECT 1 FROM account_role
            WHERE account_role.role = $3 AND account_role.account = account.id))
      AND ($4 < 0 OR (last_login IS NOT NULL) = ($4 = 1))
      AND ($5 = ''
           OR ($6 = 1 AND username LIKE $5 ESCAPE '\\')
           OR ($7 = 1 AND name LIKE $5 ESCAPE '\\')
           OR ($8 = 1 AND email LIKE $5 ESCAPE '\\')
           OR ($9 = 1 AND bio LIKE $5 ESCAPE '\\')
           OR ($10 = 1 AND nickname LIKE $5 ESCAPE '\\'))";

/// A page of those that pass the filter, and how many there are in all.
pub async fn list(
    tables: &mut AnyConnection,
    filter: &Filter,
    page: &Page,
) -> Result<(Vec<User>, u64), ViewError> {
    // A page and its total are of one moment.
    let mut moment = tables.begin().await?;
    let counting = format!("SELECT count(*) AS total {CHOSEN}");
    let counted = chosen(&counting, filter).fetch_one(&mut moment).await?;
    let total: i64 = counted.try_get("total")?;

    let direction = if page.descending { "DESC" } else { "ASC" };
    let column = page.order.column();
    let listing = format!(
        "SELECT document {CHOSEN} ORDER BY {column} {direction}, username {direction}, id \
         LIMIT $11 OFFSET $12"
    );
    let limit = page
        .limit
        .map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = chosen(&listing, filter)
        .bind(limit)
        .bind(i64::try_from(page.offset).unwrap_or(i64::MAX))
        .fetch_all(&mut moment)
        .await?;
    moment.commit().await?;
    let users = rows.iter().map(user).collect::<Result<_, _>>()?;
    Ok((users, total as u64))
}

/// The statement with the parameters of [`CHOSEN`].
fn chosen(sql: &str, filter: &Filter) -> Query {
    let tri = |flag: Option<bool>| flag.map_or(-1, i64::from);
    let (pattern, fields) = filter.search.as_ref().map_or_else(
        || (String::new(), SearchFields::default()),
        |search| (containing(&search.text), search.fields),
    );
    sql::query(AssertSqlSafe(sql.to_owned()))
        .bind(tri(filter.active))
        .bind(filter.kind.map_or("", kind_name).to_owned())
        .bind(filter.role.as_ref().map_or("", RoleId::as_str).to_owned())
        .bind(tri(filter.logged_in))
        .bind(pattern)
        .bind(i64::from(fields.username))
        .bind(i64::from(fields.name))
        .bind(i64::from(fields.email))
        .bind(i64::from(fields.bio))
        .bind(i64::from(fields.nickname))
}

fn user(row: &AnyRow) -> Result<User, ViewError> {
    let document: String = row.try_get("document")?;
    Ok(hansard_domain::json::from_str(&document)?)
}
