//! Who may do what: every operation asked for by everybody, against a table that people can read.
//!
//! The table is `tests/roles/matrix.txt`. A row names an operation, what each kind of caller is answered,
//! and the request it is asked by; [`matrix`] reads it. [`stage`] makes what a request needs (a room with
//! a message in it, somebody to be invited, …), fresh for each cell, and asks.

pub mod examples;
pub mod matrix;
pub mod stage;
