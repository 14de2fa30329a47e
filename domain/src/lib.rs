//! What can happen in a workspace: aggregates with their commands, events and rules, and the ports
//! of the log and the vault. No I/O lives here.
//!
//! [`account`], [`room`], [`subscription`], [`message`], [`role`], [`setting`], [`integration`] and
//! [`claim`] are the aggregates. [`log`] and [`vault`] are the ports; [`seal`] encrypts what is
//! confidential, and [`journal`] joins the three: the log as the rest of Hansard sees it.

pub mod account;
pub mod audit;
mod beside;
pub mod called;
pub mod claim;
pub mod event;
pub mod fair;
pub mod free;
pub mod id;
pub mod integration;
pub mod intern;
pub mod journal;
pub mod json;
pub mod keyed;
pub mod keyring;
pub mod limit;
pub mod log;
pub mod members;
pub mod message;
pub mod network;
pub mod node;
pub mod pace;
pub mod permission;
mod recent;
pub mod role;
pub mod room;
pub mod seal;
pub mod setting;
pub mod subscription;
pub mod upcast;
pub mod vault;
pub mod workspace;
