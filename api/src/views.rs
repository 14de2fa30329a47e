//! The views that this server has, and how handlers reach them.

use std::sync::Arc;

use hansard_domain::journal::Journal;
use hansard_projections::accounts::Accounts;
use hansard_projections::audit::Audit;
use hansard_projections::configuration::Configuration;
use hansard_projections::deliveries::{Deliveries, DeliveriesView};
use hansard_projections::messages::{Messages, MessagesView};
use hansard_projections::retention::Retention;
use hansard_projections::rooms::Rooms;
use hansard_projections::search::{Search, SearchView};
use hansard_projections::statistics::Statistics;
use hansard_projections::subscriptions::Subscriptions;
use hansard_projections::{Answers, Location, Projector, Store, View, ViewError};
use tokio_util::sync::CancellationToken;

/// Every view, by what its queries are asked of.
pub struct Views {
    pub accounts: Store,
    pub audit: Store,
    pub configuration: Store,
    pub deliveries: Deliveries,
    pub messages: Messages,
    pub retention: Store,
    pub rooms: Store,
    pub search: Search,
    pub statistics: Store,
    pub subscriptions: Store,
    pub projector: Arc<Projector>,
}

/// Every view there is.
pub fn all() -> Vec<Arc<dyn View>> {
    vec![
        Arc::new(Accounts),
        Arc::new(Audit),
        Arc::new(Configuration),
        Arc::new(DeliveriesView),
        Arc::new(MessagesView),
        Arc::new(Retention),
        Arc::new(Rooms),
        Arc::new(SearchView),
        Arc::new(Statistics),
        Arc::new(Subscriptions),
    ]
}

impl Views {
    /// Opens the views where they are kept, and begins to feed them or to follow the node that does.
    /// Those that have to be built answer with an error until they are. What they answer is kept in `answers`.
    pub async fn start(
        journal: Arc<Journal>,
        location: impl Into<Location>,
        answers: Arc<Answers>,
        stop: CancellationToken,
    ) -> Result<Self, ViewError> {
        let projector = Projector::start(journal, location, all(), answers, stop).await?;
        let store = |view: &dyn View| {
            projector
                .store(view.name())
                .ok_or_else(|| ViewError::Unknown(view.name().to_owned()))
        };
        Ok(Self {
            accounts: store(&Accounts)?,
            audit: store(&Audit)?,
            configuration: store(&Configuration)?,
            deliveries: Deliveries::new(store(&DeliveriesView)?),
            messages: Messages::new(store(&MessagesView)?),
            retention: store(&Retention)?,
            rooms: store(&Rooms)?,
            search: Search::new(store(&SearchView)?),
            statistics: store(&Statistics)?,
            subscriptions: store(&Subscriptions)?,
            projector,
        })
    }

    /// The views that answer without events which they could not take in.
    pub fn incomplete(&self) -> Vec<&'static str> {
        let views = self.projector.views();
        views
            .into_iter()
            .filter(|view| view.set_aside > 0)
            .map(|view| view.name)
            .collect()
    }

    /// The views that can't answer yet.
    pub fn building(&self) -> Vec<&'static str> {
        let views = self.projector.views();
        views
            .into_iter()
            .filter(|view| !view.serving)
            .map(|view| view.name)
            .collect()
    }
}
