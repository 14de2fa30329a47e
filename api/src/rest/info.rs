//! `info`: what server this is.

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, answer};
use crate::app::App;
use crate::operations::Operation;
use crate::operations::request::MaybeCaller;

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

pub const OPERATIONS: &[Operation] = &[INFO, INFO_V1];

pub const INFO: Operation = Operation::get("server.info", &info)
    .at("/api/info")
    .tagged("info")
    .tells("What server this is.");

async fn info(_: App, _: MaybeCaller, (): ()) -> Answer<Info> {
    answer(Info {
        version: SPOKEN,
        minimum_client_versions: MinimumClientVersions {
            desktop: "3.9.6",
            mobile: "4.39.0",
        },
        hansard: env!("CARGO_PKG_VERSION"),
    })
}

/// The same under the path of the versioned API.
pub const INFO_V1: Operation = Operation::get("info", &info)
    .tells("What server this is, under the path of the versioned API.");
