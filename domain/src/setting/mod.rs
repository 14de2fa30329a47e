//! The settings of a workspace.

pub mod definitions;
