//! The rules of the project: that answers are typed, who depends on whom, every event that was ever written, what SECURITY.md names.

mod answers;
mod dependency_rule;
mod event_corpus;
mod security_document;
