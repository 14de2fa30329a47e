//! `GET /api/hansard/v1/views`: how the views are doing; and having one built again.

use hansard_projections::{SetAside, ViewState};
use serde::Serialize;
use utoipa::ToSchema;

use super::{inspected, require};
use crate::app::App;
use crate::operations::Operation;
use crate::operations::reply::Begun;
use crate::operations::request::Path;
use crate::rest::answer::{Answer, Success, answer};
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;

const PERMISSION: &[&str] = &["manage-views"];

pub const OPERATIONS: &[Operation] = &[VIEWS, REBUILD, SET_ASIDE];

#[derive(Debug, Serialize, ToSchema)]
struct ViewsAnswer {
    /// The position of the last event of the log.
    head: u64,
    views: Vec<ViewAnswer>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ViewAnswer {
    name: &'static str,
    /// What its tables mean; another one rebuilds it.
    version: u32,
    /// Counts how often it was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    /// `serving`, `rebuilding` (it serves meanwhile), or `building` (it can't answer yet).
    state: &'static str,
    /// Everything up to here is in its tables.
    position: u64,
    /// Events that are not in its tables yet.
    lag: u64,
    /// Events up to `position` that are not in its tables because it could not take them in.
    set_aside: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuild: Option<RebuildAnswer>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RebuildAnswer {
    position: u64,
    head: u64,
    /// From 0 to 1.
    progress: f64,
    events_per_second: f64,
}

impl From<ViewState> for ViewAnswer {
    fn from(view: ViewState) -> Self {
        Self {
            name: view.name,
            version: view.version,
            generation: view.generation,
            state: match (view.serving, view.rebuild) {
                (true, None) => "serving",
                (true, Some(_)) => "rebuilding",
                (false, _) => "building",
            },
            position: view.position.0,
            lag: view.lag,
            set_aside: view.set_aside,
            rebuild: view.rebuild.map(|rebuild| RebuildAnswer {
                position: rebuild.position.0,
                head: rebuild.head.0,
                progress: rebuild.position.0 as f64 / (rebuild.head.0.max(1)) as f64,
                events_per_second: rebuild.events_a_second(),
            }),
        }
    }
}

pub const VIEWS: Operation = Operation::get("hansard.views", &views)
    .own("/api/hansard/v1/views")
    .tagged("record")
    .tells("How the views are doing.")
    .notes("Needs `manage-views`.");

async fn views(app: App, caller: Caller, (): ()) -> Answer<ViewsAnswer> {
    require(&app, &caller, PERMISSION)?;
    let head = app.commands.journal().head().0;
    let views = app.views.projector.views();
    let views = views.into_iter().map(Into::into).collect();
    answer(ViewsAnswer { head, views })
}

/// How many of the events that a view lacks are told at most.
const TOLD: u32 = 1_000;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SetAsideAnswer {
    /// The latest first, 1,000 at most.
    set_aside: Vec<EventAnswer>,
    /// How many there are.
    total: u64,
}

/// An event that a view's tables lack.
#[derive(Debug, Serialize, ToSchema)]
struct EventAnswer {
    /// In the log.
    position: u64,
    /// What happened, by the event's name.
    event: String,
    /// Why the view could not take it in.
    reason: String,
}

impl From<SetAside> for EventAnswer {
    fn from(event: SetAside) -> Self {
        Self {
            position: event.position.0,
            event: event.event,
            reason: event.reason,
        }
    }
}

pub const SET_ASIDE: Operation = Operation::get("hansard.views.setAside", &set_aside)
    .own("/api/hansard/v1/views/{view}/set-aside")
    .tagged("record")
    .tells("Which events a view could not take in.")
    .notes("It answers without them. When it is built again they are tried again. Needs `manage-views`.");

async fn set_aside(app: App, caller: Caller, Path(name): Path) -> Answer<SetAsideAnswer> {
    require(&app, &caller, PERMISSION)?;
    let projector = &app.views.projector;
    let found = projector.set_aside(&name, TOLD).await?;
    let total = projector.lacking(&name)?.borrow().events;
    answer(SetAsideAnswer {
        total: total.max(found.len() as u64),
        set_aside: found.into_iter().map(Into::into).collect(),
    })
}

pub const REBUILD: Operation = Operation::post("hansard.views.rebuild", &rebuild)
    .own("/api/hansard/v1/views/{view}/rebuild")
    .of_this_node()
    .tagged("record")
    .tells("Build a view again.")
    .notes(
        "It serves meanwhile, and the new tables take over once they hold everything; `GET \
         /api/hansard/v1/views` tells how far that is. One that is being built already is not begun \
         anew. Views that nodes share are rebuilt by the node that feeds them, whichever is asked; \
         where each node has views of its own, that of the node that is asked is rebuilt. If the node \
         dies that builds it, ask again. Needs `manage-views`.",
    );

async fn rebuild(
    app: App,
    caller: Caller,
    Path(name): Path,
) -> Result<Begun<Success<ViewAnswer>>, Failure> {
    require(&app, &caller, PERMISSION)?;
    let projector = &app.views.projector;
    projector.begin_rebuild(&name).await?;
    if let Err(error) = inspected(&app, &caller, "rebuild", name.clone(), 0).await {
        // Where another node writes, or the log is away, it is done all the same: it helps against that.
        let user = caller.user();
        tracing::warn!(view = name, %user, status = %error.status(), "a rebuild is not on the record");
    }
    let mut views = projector.views().into_iter();
    let view = views
        .find(|view| view.name == name)
        .ok_or_else(|| Failure::not_found("There is no such view"))?;
    Ok(Begun(answer(view.into())?))
}
