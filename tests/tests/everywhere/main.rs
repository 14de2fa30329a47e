//! What holds on every log, with one node and with two: these tests run on each of them.

mod accounts;
mod handover;
mod messages;
mod record;
mod refusals;
mod rooms;
mod smoke;
mod webhooks;
