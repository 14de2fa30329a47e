//! Everything that looks at Hansard from outside.

pub mod conformance;
pub mod contract;
pub mod crash;
pub mod document;
pub mod esdb;
pub mod failover;
pub mod fill;
pub mod history;
pub mod kafka;
pub mod load;
pub mod raw;
pub mod receiver;
pub mod roles;
pub mod server;
pub mod services;
pub mod shelf;
pub mod specimen;
mod topology;
pub mod world;
