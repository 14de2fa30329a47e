//! Views as they were at some time, and what is in them row by row.

use std::collections::BTreeMap;
use std::sync::Arc;

use hansard_domain::journal::Journal;
use hansard_domain::log::Position;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};

use crate::catalog::Catalog;
use crate::engine::{Engine, Location, Namespace, Purpose};
use crate::generation::Generation;
use crate::rebuild::{self, Progress, Told};
use crate::view::{View, ViewError};

/// Builds views from the events up to a position into a directory, from which a
/// [`Projector`](crate::Projector) could serve them. `told` has one for each view.
pub async fn build_until(
    journal: &Arc<Journal>,
    location: impl Into<Location>,
    until: Position,
    views: Vec<(Arc<dyn View>, Told)>,
) -> Result<(), ViewError> {
    let engine = Engine::open(&location.into()).await?;
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
            engine.remove(&Namespace {
                view: namespace.view,
                generation: *before,
            })
            .await?;
        }
    }
    catalog.close().await
}

/// Every row of every table, as literals of SQL, sorted: equal for equal tables.
pub type Dump = BTreeMap<String, Vec<String>>;

/// What the serving generation of a view in a directory holds, but its checkpoint. Reads all of it
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
            "shadow" => continue,
            "virtual" => terms(&mut tables, &name).await?,
            _ if name == "checkpoint" => continue,
            _ => rows(&mut tables, &name).await?,
        };
        dump.insert(name, rows);
    }
    tables.close().await?;
    Ok(dump)
}

async fn rows(tables: &mut AnyConnection, table: &str) -> Result<Vec<String>, ViewError> {
    let columns = sqlx::query("SELECT name FROM pragma_table_info($1)")
        .bind(table)
        .fetch_all(&mut *tables)
        .await?;
    let literals = columns
        .iter()
        .map(|column| Ok(format!("quote(\"{}\")", column.try_get::<String, _>(0)?)))
        .collect::<Result<Vec<_>, sqlx::Error>>()?
        .join(" || ', ' || ");
    let sql = format!("SELECT {literals} AS literals FROM \"{table}\" ORDER BY 1");
    let rows = tables.fetch_all(sqlx::query(AssertSqlSafe(sql))).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// What a full-text index knows: each term, with the row, the column and the place it stands at.
async fn terms(tables: &mut AnyConnection, table: &str) -> Result<Vec<String>, ViewError> {
    let vocabulary = format!(
        "CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab('main', '{table}', 'instance')"
    );
    tables
        .execute(sqlx::raw_sql(AssertSqlSafe(vocabulary)))
        .await?;
    let sql = "SELECT quote(term) || ', ' || doc || ', ' || col || ', ' || \"offset\" AS literals \
               FROM temp.vocabulary ORDER BY 1";
    let rows = tables.fetch_all(sqlx::query(sql)).await?;
    tables
        .execute(sqlx::raw_sql("DROP TABLE temp.vocabulary"))
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
