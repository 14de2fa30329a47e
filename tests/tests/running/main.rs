//! The life of a server: first minutes, starts, stops, views that are rebuilt or stand still, disks that are full.

mod first_minutes;
mod full_disk;
mod operation;
mod passwd;
mod stalled_views;
mod startup;
mod views;
mod wrong_starts;
