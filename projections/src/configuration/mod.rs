//! When roles, permissions and settings were changed last, so that clients can ask for what is new.
//!
//! What they are now is in the write model; defaults that nobody changed are as old as the workspace.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::Timestamp;
use sqlx::{AnyConnection, Row};

use crate::rows::Insert;
use crate::sql;
use crate::view::{View, ViewError};

/// The view `configuration`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Configuration;

#[async_trait]
impl View for Configuration {
    fn name(&self) -> &'static str {
        "configuration"
    }

    fn version(&self) -> u32 {
        1
    }

    fn schema(&self) -> &'static str {
        include_str!("schema.sql")
    }

    fn indexes(&self) -> &'static str {
        ""
    }

    fn concerns(&self, event: &Event) -> bool {
        category(event).is_some()
    }

    async fn apply(
        &self,
        tables: &mut AnyConnection,
        entries: &[Arc<Entry>],
    ) -> Result<(), ViewError> {
        let changes: HashMap<(&str, &str), Timestamp> = entries
            .iter()
            .filter_map(|entry| {
                let category = category(&entry.event)?;
                Some(((category, entry.stream.key()), entry.at))
            })
            .collect();
        let changes: Vec<_> = changes.into_iter().collect();
        CHANGE
            .write(tables, &changes, |((category, id), at), values| {
                values.text(category);
                values.text(id);
                values.time(*at);
            })
            .await
    }
}

const CHANGE: Insert = Insert::into("change", &["category", "id", "at"])
    .on_conflict("ON CONFLICT (category, id) DO UPDATE SET at = excluded.at");

const ROLE: &str = "role";
const PERMISSION: &str = "permission";
const SETTING: &str = "setting";
const WORKSPACE: &str = "workspace";

fn category(event: &Event) -> Option<&'static str> {
    match event {
        Event::Role(_) => Some(ROLE),
        Event::Permission(_) => Some(PERMISSION),
        Event::Setting(_) => Some(SETTING),
        Event::Workspace(_) => Some(WORKSPACE),
        _ => None,
    }
}

/// When things of one kind were changed last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    founded: Timestamp,
    by_id: HashMap<String, Timestamp>,
}

impl Changes {
    /// When this one was changed last; when the workspace was founded if it never was.
    pub fn of(&self, id: &str) -> Timestamp {
        self.by_id.get(id).copied().unwrap_or(self.founded)
    }
}

impl Changes {
    /// With what roles were changed by these entries.
    #[must_use]
    pub fn with_roles(self, entries: &[Arc<Entry>]) -> Self {
        self.with(ROLE, entries)
    }

    /// With what permissions were changed by these entries.
    #[must_use]
    pub fn with_permissions(self, entries: &[Arc<Entry>]) -> Self {
        self.with(PERMISSION, entries)
    }

    fn with(mut self, wanted: &str, entries: &[Arc<Entry>]) -> Self {
        let changes = entries
            .iter()
            .filter(|entry| category(&entry.event) == Some(wanted));
        self.by_id
            .extend(changes.map(|entry| (entry.stream.key().to_owned(), entry.at)));
        self
    }
}

pub async fn of_roles(tables: &mut AnyConnection) -> Result<Changes, ViewError> {
    changes(tables, ROLE).await
}

pub async fn of_permissions(tables: &mut AnyConnection) -> Result<Changes, ViewError> {
    changes(tables, PERMISSION).await
}

pub async fn of_settings(tables: &mut AnyConnection) -> Result<Changes, ViewError> {
    changes(tables, SETTING).await
}

const CHANGES: &str = "SELECT category, id, at FROM change WHERE category = $1 OR category = $2";

async fn changes(tables: &mut AnyConnection, category: &str) -> Result<Changes, ViewError> {
    let rows = sql::query(CHANGES)
        .bind(category.to_owned())
        .bind(WORKSPACE.to_owned())
        .fetch_all(tables)
        .await?;
    let mut changes = Changes::default();
    for row in rows {
        let at = Timestamp(row.try_get("at")?);
        if row.try_get::<String, _>("category")? == WORKSPACE {
            changes.founded = at;
        } else {
            changes.by_id.insert(row.try_get("id")?, at);
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use hansard_domain::log::StreamId;
    use hansard_domain::role::PermissionEvent;
    use hansard_domain::workspace::WorkspaceEvent;

    use super::*;
    use crate::testing::{Story, on_both_engines, told};

    fn granted() -> PermissionEvent {
        PermissionEvent::PermissionGrantsChanged { roles: vec![] }
    }

    async fn a_change_is_as_old_as_the_last_one_and_a_default_as_the_workspace() {
        let mut story = Story::default();
        let founded = story.now();
        let id = "w".to_owned();
        story.tell(
            StreamId::new("workspace", 0),
            WorkspaceEvent::WorkspaceFounded { id, at: founded },
        );
        story.tell(StreamId::new(PERMISSION, "view-logs"), granted());
        let last = story.now();
        story.tell(StreamId::new(PERMISSION, "view-logs"), granted());
        let mut tables = told(&Configuration, &story, &["change"]).await;
        let changes = of_permissions(&mut tables).await.unwrap();
        assert_eq!(changes.of("view-logs"), last);
        assert_eq!(changes.of("delete-c"), founded);
    }

    on_both_engines!(a_change_is_as_old_as_the_last_one_and_a_default_as_the_workspace,);
}
