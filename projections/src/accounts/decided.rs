//! An account that was just made or changed, as the view will show it once it has taken that in.

use std::sync::Arc;

use hansard_domain::account::{Account, AccountEvent};
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{Timestamp, UserId};

use super::User;

impl User {
    /// An account as it was decided, which was changed last at this time.
    pub fn of(id: &UserId, account: &Account, updated: Timestamp) -> Self {
        Self {
            id: id.clone(),
            profile: account.profile.clone(),
            kind: account.kind,
            active: account.active,
            status: Some(account.presence),
            roles: account.roles.iter().cloned().collect(),
            preferences: account.preferences.clone(),
            has_password: account.password.is_some(),
            password_change_required: account.password_change_required,
            reason: account.reason.clone(),
            created_at: account.created,
            updated_at: updated,
            last_login: account.last_login,
        }
    }
}

/// When entries changed what is shown of an account; `None` if they did not.
pub fn changed_at(entries: &[Arc<Entry>], id: &UserId) -> Option<Timestamp> {
    let changes = entries.iter().filter(|entry| match &entry.event {
        Event::Account(event) => entry.stream.key() == id.as_str() && is_shown(event),
        _ => false,
    });
    changes.map(|entry| entry.at).next_back()
}

/// Whether an event changes what is shown. What a session or a failed attempt leaves is the write
/// side's and the audit's.
pub(super) fn is_shown(event: &AccountEvent) -> bool {
    !matches!(
        event,
        AccountEvent::UserLoggedOut { .. }
            | AccountEvent::SessionsEnded { .. }
            | AccountEvent::LoginFailed { .. }
            | AccountEvent::PersonalAccessTokenCreated { .. }
            | AccountEvent::PersonalAccessTokenRemoved { .. }
    )
}
