//! What the write model should hold and nobody can read: the keys are not in the vault.
//!
//! An older vault was put back, or an older log beside the vault. Either may be put right while the server
//! is stopped, so what is made of such a log is not kept for the next start.

use std::collections::HashSet;

use hansard_domain::account::AccountEvent;
use hansard_domain::event::{Entry, Event};
use hansard_domain::integration::IntegrationEvent;
use hansard_domain::log::StreamId;
use hansard_domain::room::RoomEvent;
use hansard_domain::seal::Confidential;

/// So many streams the server's log names.
const NAMED: usize = 20;

/// The streams whose last word can't be read, as far as the log was read.
#[derive(Debug, Default)]
pub(super) struct Lost(HashSet<StreamId>);

impl Lost {
    pub fn look(&mut self, entry: &Entry) {
        match &entry.event {
            // Its keys are gone because it is.
            Event::Account(AccountEvent::UserDeleted { .. })
            | Event::Room(RoomEvent::RoomDeleted { .. })
            | Event::Integration(IntegrationEvent::IntegrationRemoved { .. }) => {
                self.0.remove(&entry.stream);
            }
            Event::Account(_) | Event::Room(_) | Event::Integration(_) => {
                if !is_readable(&entry.event) {
                    self.0.insert(entry.stream.clone());
                }
            }
            // The next value takes the place of one that nobody can read.
            Event::Setting(_) => {
                if is_readable(&entry.event) {
                    self.0.remove(&entry.stream);
                } else {
                    self.0.insert(entry.stream.clone());
                }
            }
            _ => {}
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells the operator what is lost, and what to do about it.
    pub fn tell(&self) {
        if self.is_empty() {
            return;
        }
        let mut names: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        names.sort_unstable();
        names.truncate(NAMED);
        tracing::warn!(
            count = self.0.len(),
            names = names.join(" "),
            "the vault has not got the keys of accounts, rooms, integrations or settings: these accounts are not \
             active; while settings are among them nobody registers and retention stands still, until the last \
             of them is set again; no snapshot is kept meanwhile. If an older vault \
             was put back, put the newer one back; if it is the log that is older, what was erased since is to \
             be deleted again (accounts by users.delete with their userId)"
        );
    }
}

fn is_readable(event: &Event) -> bool {
    let mut readable = true;
    event
        .clone()
        .parts(&mut |part| readable = readable && part.is_readable());
    readable
}
