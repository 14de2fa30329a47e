//! Integrations: incoming and outgoing webhooks.

pub mod retry;
pub mod sender;
pub mod signature;
