//! Views as they were at some time, and what is in them row by row.

use std::collections::BTreeMap;
use std::sync::Arc;

use hansard_domain::journal::Journal;
use hansard_domain::log::Position;
use sqlx::Connection;

use crate::catalog::Catalog;
use crate::engine::{Engine, Location, Namespace, Purpose};
use crate::generation::Generation;
use crate::nodes::{Duty, Nodes};
use crate::rebuild::{self, Progress, Told};
use crate::view::{View, ViewError};

/// Builds views from the events up to a position, from which a [`Projector`](crate::Projector) could
/// serve them. `told` has one for each view. Fails with [`ViewError::Elsewhere`] where a node feeds them.
pub async fn build_until(
    journal: &Arc<Journal>,
    location: impl Into<Location>,
    until: Position,
    views: Vec<(Arc<dyn View>, Told)>,
) -> Result<(), ViewError> {
    let engine = Engine::open(&location.into()).await?;
    // Other nodes feed nothing while this is kept.
    let (nodes, seat) = Nodes::join(&engine).await?;
    if *nodes.duty().borrow() == Duty::Follow {
        return Err(ViewError::Elsewhere);
    }
    let catalog = Catalog::open(&engine).await?;
    let serving = catalog.serving().await?;
    let mut generations = Vec::with_capacity(views.len());
    for (view, told) in views {
        let number = serving.get(view.name()).map_or(1, |serving| serving + 1);
        told.send_replace(Some(Progress::start(until)));
        generations.push((Generation::create(&engine, view, number).await?, told));
    }
    for built in rebuild::fill(journal, generations, Some(until)).await {
        let generation = built?;
        catalog.serve(generation.namespace()).await?;
        let namespace = generation.namespace().clone();
        generation.close().await?;
        if let Some(before) = serving.get(&namespace.view) {
            engine
                .remove(&Namespace {
                    view: namespace.view,
                    generation: *before,
                })
                .await?;
        }
    }
    catalog.close().await?;
    drop(seat);
    Ok(())
}

/// Every row of every table, as literals of SQL, sorted: equal for equal tables.
pub type Dump = BTreeMap<String, Vec<String>>;

/// What the serving generation of a view holds, but its checkpoint. Reads all of it
/// into memory.
pub async fn dump(location: impl Into<Location>, view: &str) -> Result<Dump, ViewError> {
    let engine = Engine::open(&location.into()).await?;
    let catalog = Catalog::open(&engine).await?;
    let serving = catalog.serving().await?;
    catalog.close().await?;
    let generation = *serving
        .get(view)
        .ok_or_else(|| ViewError::Unknown(view.to_owned()))?;
    let namespace = Namespace {
        view: view.to_owned(),
        generation,
    };
    let mut tables = engine.connect(&namespace, Purpose::Feed).await?;
    let mut dump = Dump::new();
    for (name, kind) in engine.tables(&mut tables).await? {
        let rows = match kind.as_str() {
            // How a full-text index lays out what it knows depends on how it came to know it.
            "shadow" | "view" => continue,
            _ if name == "checkpoint" => continue,
            "virtual" => engine.terms(&mut tables, &name).await?,
            _ => engine.rows(&mut tables, &name).await?,
        };
        dump.insert(name, sorted(rows));
    }
    tables.close().await?;
    Ok(dump)
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort_unstable();
    rows
}
