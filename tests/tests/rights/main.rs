//! Who may do and see what, and who tries to without.

mod guessing;
mod impostors;
mod integration_rights;
mod meanwhile;
mod names;
mod password_change;
mod roles;
mod sight;
mod webhook_destinations;
