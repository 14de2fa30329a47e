//! Integrations: incoming and outgoing webhooks.
//!
//! [`manage`] makes and changes them; what they name they keep by its id ([`referents`]). Outgoing ones: [`trigger`] says what sets one off, the policy
//! [`outgoing`] queues its deliveries, [`dispatch`] makes them with a [`payload`], signed
//! ([`signature`]) and tried again ([`retry`]), through the port [`sender`]; [`replay`] asks for one
//! again. [`kept`] says what the record keeps of a delivery. [`answerable`] asks each time whether whoever
//! answers for one may still have it done. What receivers answer, and what comes in through [`incoming`]
//! ones, becomes messages.

mod answer;
pub mod answerable;
pub mod dispatch;
mod escapes;
pub mod incoming;
pub mod kept;
pub mod manage;
pub mod outgoing;
pub mod payload;
pub mod referents;
pub mod replay;
pub mod retry;
pub mod sender;
pub mod signature;
pub mod trigger;
