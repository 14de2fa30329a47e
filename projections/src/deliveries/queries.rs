//! What can be asked about deliveries.

use hansard_domain::id::{DeliveryId, IntegrationId};
use sqlx::{AssertSqlSafe, Row};

use super::{Delivery, State};
use crate::sql;
use crate::store::Store;
use crate::view::ViewError;

/// Asks the deliveries view. Cheap to clone.
#[derive(Clone)]
pub struct Deliveries {
    store: Store,
}

/// Which deliveries; all of them where nothing is said.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub integration: Option<IntegrationId>,
    pub state: Option<State>,
}

/// Some of the deliveries that were asked for, and how many there are.
#[derive(Debug, Clone)]
pub struct Page {
    /// Newest first, unless oldest first was asked for.
    pub deliveries: Vec<Delivery>,
    pub total: u64,
    /// Events that the view is behind.
    pub lag: u64,
}

/// Why a list has no index for each of its filters.
const WALKS: &str = "/* walks delivery: an administrator looks at all; old ones are forgotten */";

impl Deliveries {
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Deliveries by the time they were queued.
    pub async fn page(
        &self,
        filter: &Filter,
        oldest_first: bool,
        offset: u64,
        limit: u64,
    ) -> Result<Page, ViewError> {
        let mut tables = self.store.moment().await?;
        let integration = filter.integration.as_ref().map_or("", |id| id.as_str());
        let state = filter.state.map_or("", State::as_str);
        let which = filter.sql();
        let order = if oldest_first {
            OLDEST_FIRST
        } else {
            NEWEST_FIRST
        };

        let count = format!("SELECT count(*) FROM delivery WHERE {which} {WALKS}");
        let total: i64 = sql::query(AssertSqlSafe(count))
            .bind(integration)
            .bind(state)
            .fetch_one(&mut tables)
            .await?
            .try_get(0)?;
        let page =
            format!("SELECT * FROM delivery WHERE {which} {order} LIMIT $3 OFFSET $4 {WALKS}");
        let rows = sql::query(AssertSqlSafe(page))
            .bind(integration)
            .bind(state)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(i64::try_from(offset).unwrap_or(i64::MAX))
            .fetch_all(&mut tables)
            .await?;
        Ok(Page {
            deliveries: rows.iter().map(Delivery::read).collect::<Result<_, _>>()?,
            total: total as u64,
            lag: tables.lag,
        })
    }

    /// One delivery; `None` as well when its history has been cleared.
    pub async fn delivery(&self, id: &DeliveryId) -> Result<Option<Delivery>, ViewError> {
        let mut tables = self.store.read().await?;
        let row = sql::query("SELECT * FROM delivery WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&mut tables)
            .await?;
        row.as_ref().map(Delivery::read).transpose()
    }
}

const NEWEST_FIRST: &str = "ORDER BY queued_at DESC, position DESC, id DESC";
const OLDEST_FIRST: &str = "ORDER BY queued_at, position, id";

impl Filter {
    /// The condition for `$1`, the integration, and `$2`, the state; one is empty where it does not
    /// matter. A condition of its own for each case, so that each finds its index.
    fn sql(&self) -> &'static str {
        match (&self.integration, self.state) {
            (Some(_), Some(_)) => "integration = $1 AND state = $2",
            (Some(_), None) => "integration = $1 AND $2 = ''",
            (None, Some(_)) => "$1 = '' AND state = $2",
            (None, None) => "$1 = '' AND $2 = ''",
        }
    }
}
