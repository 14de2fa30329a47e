//! Nodes, brokers and databases that die and freeze under load. They take minutes: `tests/run failover`.

mod kafka;
mod log_kafka;
mod postgres;
