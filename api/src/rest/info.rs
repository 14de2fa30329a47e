//! `info`: what server this is.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Success, answer};
use super::failure::Failure;
use crate::app::App;

/// The Rocket.Chat whose API is spoken here; clients decide by it what they may ask.
const SPOKEN: &str = "6.12";

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The version of Rocket.Chat's API that is spoken, without its patch number.
    #[schema(example = "6.12")]
    version: &'static str,
    minimum_client_versions: MinimumClientVersions,
    /// What answers: Hansard, and its version.
    hansard: &'static str,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct MinimumClientVersions {
    desktop: &'static str,
    mobile: &'static str,
}

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(info))
        .routes(routes!(info_v1))
}

/// What server this is.
#[utoipa::path(
    get, path = "/api/info", tag = "info", security(()),
    responses((status = 200, body = Success<Info>), Failure)
)]
async fn info() -> Answer<Info> {
    answer(Info {
        version: SPOKEN,
        minimum_client_versions: MinimumClientVersions {
            desktop: "3.9.6",
            mobile: "4.39.0",
        },
        hansard: env!("CARGO_PKG_VERSION"),
    })
}

/// What server this is, under the path of the versioned API.
#[utoipa::path(
    get, path = "/api/v1/info", tag = "info", security(()),
    responses((status = 200, body = Success<Info>), Failure)
)]
async fn info_v1() -> Answer<Info> {
    info().await
}
