//! The load program: plays a chat into a server through REST alone, checks that all of it is there,
//! and measures how fast the server is.
//!
//! A [`Chat`] comes from an archive of IRC logs or from a seed; a [`Player`] plays it and leaves a
//! [`Manifest`] of what was acknowledged; [`verify()`] compares the server with the
//! manifest; [`Bench`](bench::Bench) measures rates. Nothing here knows a crate of the server, so it
//! can be pointed at any server that speaks Rocket.Chat's REST API.

pub mod archive;
pub mod bench;
pub mod chat;
pub mod client;
pub mod day;
pub mod dice;
pub mod enroll;
pub mod irc;
pub mod lanes;
pub mod latency;
pub mod manifest;
pub mod message_ids;
pub mod play;
pub mod progress;
pub mod record;
pub mod report;
pub mod rest;
pub mod seeded;
pub mod survey;
pub mod usernames;
pub mod verify;
pub mod words;

pub use chat::{Chat, Step};
pub use client::{Client, ClientError, Connection, Credentials};
pub use enroll::Administrator;
pub use manifest::Manifest;
pub use play::{Order, PlayError, Played, Player};
pub use report::Report;
pub use verify::{Scope, Verdict, verify};
