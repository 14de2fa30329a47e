//! The command path, tested without a server: decisions, the write model, several nodes, the journal.

mod command_path;
mod journal;
mod kept;
mod read_back;
mod several_nodes;
