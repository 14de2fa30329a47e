//! For those who run the server: whether it lives, whether it can answer, and how it is doing.

pub mod metrics;
pub mod times;

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hansard_domain::log::Role;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::rest::failure::Failure;
use crate::rest::way;

/// How long a request, or a part of one, takes: seconds.
const SECONDS: [f64; 14] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

/// How many things are done at once.
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// A node that so many events are missing from is not ready.
const FAR_BEHIND: u64 = 1_000;

/// How often what was measured is folded into its buckets.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// Begins to gather metrics in this process. [`UPKEEP`] says how often they want to be tended.
pub fn gather() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &SIZES)?
        .install_recorder()
}

/// The path of [`health`].
pub const HEALTH: &str = "/health";
/// The path of [`ready`].
pub const READY: &str = "/ready";

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
        .merge(metrics::routes())
}

/// What is served on an address of its own, where the metrics have one.
pub fn service(app: App) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics::elsewhere))
        .fallback(async || Failure::no_endpoint())
        .layer(from_fn_with_state(app.clone(), way::pass_operators))
        .with_state(app)
}

#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether the server lives.
#[utoipa::path(
    get, path = "/health", tag = "operation", security(()),
    responses((status = 200, body = Health, description = "It does."))
)]
async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    ready: bool,
    /// The views that are being built; what needs them is answered with 503 meanwhile.
    building: Vec<&'static str>,
    /// The views that lack events which they could not take in; they answer without them. `GET
    /// /api/hansard/v1/views` says more.
    incomplete: Vec<&'static str>,
    /// About how many events this node has not heard of that others wrote.
    behind: u64,
}

/// Whether the server can answer everything.
#[utoipa::path(
    get, path = "/ready", tag = "operation", security(()),
    responses(
        (status = 200, body = Readiness, description = "It can."),
        (status = 503, body = Readiness, description = "Views are being built, or this node is \
            more than 1,000 events behind the others."),
    )
)]
async fn ready(State(app): State<App>) -> Response {
    let building = app.views.building();
    let behind = behind(&app).await;
    let ready = building.is_empty() && behind <= FAR_BEHIND;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(Readiness {
            ready,
            building,
            incomplete: app.views.incomplete(),
            behind,
        }),
    )
        .into_response()
}

/// How far this node is behind, as the log said last: whoever asks within a moment shares the answer, so
/// that probes, which are not limited, are no load to a database.
#[derive(Debug, Default)]
pub struct Behind(Mutex<Option<(Instant, u64)>>);

/// For how long that is taken for true.
const MOMENT: Duration = Duration::from_millis(500);

impl Behind {
    fn known(&self) -> Option<u64> {
        let known = *self.0.lock();
        known
            .filter(|(since, _)| since.elapsed() < MOMENT)
            .map(|(_, behind)| behind)
    }
}

/// About how many events this node has not heard of; 0 if nobody can tell because the log is away.
async fn behind(app: &App) -> u64 {
    if let Some(copying) = &app.copying {
        return copying.borrow().lag();
    }
    let journal = app.commands.journal();
    if journal.role() == Role::Sole {
        return 0;
    }
    if let Some(behind) = app.behind.known() {
        return behind;
    }
    let behind = match journal.true_head().await {
        Ok(head) => head.0.saturating_sub(journal.head().0),
        Err(_) => 0,
    };
    *app.behind.0.lock() = Some((Instant::now(), behind));
    behind
}
