//! What is erased stays erased: deletions, pruning, retention, and backups that are put back.

mod deletions;
mod eraser;
mod forgotten;
mod moved_parts;
mod prune;
mod restored_log;
mod restored_vault;
mod retention;
