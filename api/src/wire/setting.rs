//! Settings.

use serde::Serialize;
use utoipa::ToSchema;

/// The value of a setting, as its `type` says.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum SettingValue {
    Flag(bool),
    Number(f64),
    Text(String),
    /// Some of several.
    Choices(Vec<String>),
    Asset(Asset),
}

/// A picture of the workspace.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SettingAsset)]
pub struct Asset {
    url: Option<String>,
    default_url: Option<String>,
}
