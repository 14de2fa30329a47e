//! Integrations: incoming and outgoing webhooks.

pub mod outgoing;
pub mod retry;
pub mod sender;
pub mod signature;
pub mod trigger;
