//! The rules of the project: who depends on whom, every event that was ever written, what SECURITY.md names.

mod dependency_rule;
mod event_corpus;
mod security_document;
