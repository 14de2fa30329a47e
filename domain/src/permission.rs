//! Which permissions there are, who holds them at first, and the roles a workspace starts with.
//!
//! What is granted now, and whether somebody may do something, is decided elsewhere.

use serde::{Deserialize, Serialize};

/// Where a role is held: in the whole workspace, or in one room by a member of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoleScope {
    Users,
    Subscriptions,
}

/// A role that every workspace has and nobody can delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultRole {
    /// Its id and its name: the same for these roles.
    pub id: &'static str,
    pub scope: RoleScope,
    pub description: &'static str,
    pub mandatory2fa: bool,
}

impl DefaultRole {
    const fn workspace(id: &'static str, description: &'static str) -> Self {
        Self {
            id,
            scope: RoleScope::Users,
            description,
            mandatory2fa: false,
        }
    }

    const fn room(id: &'static str, description: &'static str) -> Self {
        Self {
            id,
            scope: RoleScope::Subscriptions,
            description,
            mandatory2fa: false,
        }
    }
}

pub const DEFAULT_ROLES: &[DefaultRole] = &[
    DefaultRole::workspace("admin", "Admin"),
    DefaultRole::room("moderator", "Moderator"),
    DefaultRole::room("leader", "Leader"),
    DefaultRole::room("owner", "Owner"),
    DefaultRole::workspace("user", ""),
    DefaultRole::workspace("bot", ""),
    DefaultRole::workspace("app", ""),
    DefaultRole::workspace("guest", ""),
    DefaultRole::workspace("anonymous", ""),
    DefaultRole::workspace("livechat-agent", "Livechat Agent"),
    DefaultRole::workspace("livechat-manager", "Livechat Manager"),
];

/// Each permission with the roles that hold it in a new workspace, sorted by permission.
///
/// The grants are those of Rocket.Chat 6.12 with its enterprise modules, without the roles that only
/// those modules make (`auditor`, `auditor-log`, `livechat-monitor`). The permissions marked as
/// Hansard's own open its surface under `/api/hansard/v1`.
pub const DEFAULT_GRANTS: &[(&str, &[&str])] = &[
    ("access-mailer", &["admin"]),
    ("access-marketplace", &["admin", "user"]),
    ("access-permissions", &["admin"]),
    ("access-setting-permissions", &["admin"]),
    ("add-all-to-room", &["admin"]),
    (
        "add-livechat-department-agents",
        &["livechat-manager", "admin"],
    ),
    ("add-oauth-service", &["admin"]),
    ("add-team-channel", &["admin", "owner", "moderator"]),
    ("add-team-member", &["admin", "owner", "moderator"]),
    ("add-user-to-any-c-room", &["admin"]),
    ("add-user-to-any-p-room", &[]),
    ("add-user-to-joined-room", &["admin", "owner", "moderator"]),
    ("api-bypass-rate-limit", &["admin", "bot", "app"]),
    ("archive-room", &["admin", "owner"]),
    ("assign-admin-role", &["admin"]),
    ("assign-roles", &["admin"]),
    ("auto-translate", &["admin"]),
    ("ban-user", &["admin", "owner", "moderator"]),
    ("block-ip-device-management", &["admin"]),
    ("bulk-register-user", &["admin"]),
    ("bypass-time-limit-edit-and-delete", &["bot", "app"]),
    ("call-management", &["admin", "owner", "moderator", "user"]),
    ("can-audit", &["admin"]),
    ("can-audit-log", &["admin"]),
    (
        "change-livechat-room-visitor",
        &["admin", "livechat-manager", "livechat-agent"],
    ),
    ("clean-channel-history", &["admin"]),
    ("clear-oembed-cache", &["admin"]),
    (
        "close-livechat-room",
        &["livechat-manager", "livechat-agent", "admin"],
    ),
    ("close-others-livechat-room", &["livechat-manager", "admin"]),
    ("convert-team", &["admin", "owner"]),
    ("create-c", &["admin", "user", "bot", "app"]),
    ("create-d", &["admin", "user", "bot", "app"]),
    ("create-invite-links", &["admin", "owner", "moderator"]),
    ("create-p", &["admin", "user", "bot", "app"]),
    ("create-personal-access-tokens", &["admin", "user"]),
    ("create-team", &["admin", "user"]),
    ("create-user", &["admin"]),
    ("delete-c", &["admin", "owner"]),
    ("delete-d", &["admin"]),
    ("delete-message", &["admin", "owner", "moderator"]),
    ("delete-own-message", &["admin", "user"]),
    ("delete-p", &["admin", "owner"]),
    ("delete-team", &["admin", "owner"]),
    ("delete-user", &["admin"]),
    (
        "edit-livechat-room-customfields",
        &["livechat-manager", "livechat-agent", "admin"],
    ),
    ("edit-message", &["admin", "owner", "moderator"]),
    (
        "edit-omnichannel-contact",
        &["livechat-manager", "livechat-agent", "admin"],
    ),
    ("edit-other-user-active-status", &["admin"]),
    ("edit-other-user-avatar", &["admin"]),
    ("edit-other-user-e2ee", &["admin"]),
    ("edit-other-user-info", &["admin"]),
    ("edit-other-user-password", &["admin"]),
    ("edit-other-user-totp", &["admin"]),
    ("edit-privileged-setting", &["admin"]),
    ("edit-room", &["admin", "owner", "moderator"]),
    ("edit-room-avatar", &["admin", "owner", "moderator"]),
    ("edit-room-retention-policy", &["admin"]),
    ("edit-team", &["admin", "owner"]),
    ("edit-team-channel", &["admin", "owner", "moderator"]),
    ("edit-team-member", &["admin", "owner", "moderator"]),
    ("force-delete-message", &["admin", "owner"]),
    ("get-server-info", &["admin"]),
    ("inbound-voip-calls", &["livechat-agent"]),
    ("join-without-join-code", &["admin", "bot", "app"]),
    ("kick-user-from-any-c-room", &["admin"]),
    ("kick-user-from-any-p-room", &[]),
    ("leave-c", &["admin", "user", "bot", "anonymous", "app"]),
    ("leave-p", &["admin", "user", "bot", "anonymous", "app"]),
    ("logout-device-management", &["admin"]),
    ("logout-other-user", &["admin"]),
    ("mail-messages", &["admin"]),
    ("manage-agent-extension-association", &["admin"]),
    ("manage-apps", &["admin"]),
    ("manage-assets", &["admin"]),
    ("manage-cloud", &["admin"]),
    ("manage-email-inbox", &["admin"]),
    ("manage-emoji", &["admin"]),
    ("manage-incoming-integrations", &["admin"]),
    ("manage-livechat-agents", &["livechat-manager", "admin"]),
    (
        "manage-livechat-canned-responses",
        &["admin", "livechat-manager"],
    ),
    (
        "manage-livechat-departments",
        &["livechat-manager", "admin"],
    ),
    ("manage-livechat-managers", &["livechat-manager", "admin"]),
    ("manage-livechat-monitors", &["admin", "livechat-manager"]),
    ("manage-livechat-priorities", &["admin", "livechat-manager"]),
    ("manage-livechat-sla", &["admin", "livechat-manager"]),
    ("manage-livechat-tags", &["admin", "livechat-manager"]),
    ("manage-livechat-units", &["admin", "livechat-manager"]),
    ("manage-moderation-actions", &["admin"]),
    ("manage-oauth-apps", &["admin"]),
    ("manage-outgoing-integrations", &["admin"]),
    ("manage-own-incoming-integrations", &["admin"]),
    ("manage-own-outgoing-integrations", &["admin"]),
    ("manage-selected-settings", &["admin"]),
    ("manage-sounds", &["admin"]),
    ("manage-user-status", &["admin"]),
    ("manage-views", &["admin"]), // Hansard's own
    ("manage-voip-call-settings", &["livechat-manager", "admin"]),
    (
        "manage-voip-contact-center-settings",
        &["livechat-manager", "admin"],
    ),
    ("mention-all", &["admin", "owner", "moderator", "user"]),
    ("mention-here", &["admin", "owner", "moderator", "user"]),
    ("message-impersonate", &["bot", "app"]),
    ("mobile-upload-file", &["user", "admin"]),
    ("mute-user", &["admin", "owner", "moderator"]),
    (
        "on-hold-livechat-room",
        &["livechat-manager", "livechat-agent", "admin"],
    ),
    (
        "on-hold-others-livechat-room",
        &["livechat-manager", "admin"],
    ),
    ("outbound-voip-calls", &["admin", "livechat-manager"]),
    ("pin-message", &["owner", "moderator", "admin"]),
    ("post-readonly", &["admin", "owner", "moderator"]),
    ("preview-c-room", &["admin", "user", "anonymous"]),
    ("register-on-cloud", &["admin"]),
    (
        "remove-canned-responses",
        &["livechat-agent", "livechat-manager", "admin"],
    ),
    (
        "remove-closed-livechat-room",
        &["livechat-manager", "admin"],
    ),
    (
        "remove-closed-livechat-rooms",
        &["livechat-manager", "admin"],
    ),
    ("remove-livechat-department", &["livechat-manager", "admin"]),
    ("remove-slackbridge-links", &["admin"]),
    ("remove-team-channel", &["admin", "owner", "moderator"]),
    ("remove-user", &["admin", "owner", "moderator"]),
    (
        "request-pdf-transcript",
        &["admin", "livechat-manager", "livechat-agent"],
    ),
    ("restart-server", &["admin"]),
    ("run-import", &["admin"]),
    ("run-migration", &["admin"]),
    ("save-all-canned-responses", &["livechat-manager", "admin"]),
    (
        "save-canned-responses",
        &["livechat-agent", "livechat-manager", "admin"],
    ),
    ("save-department-canned-responses", &[]),
    (
        "save-others-livechat-room-info",
        &["livechat-manager", "admin"],
    ),
    ("send-mail", &["admin"]),
    ("send-many-messages", &["admin", "bot", "app"]),
    (
        "send-omnichannel-chat-transcript",
        &["livechat-manager", "admin"],
    ),
    ("set-leader", &["admin", "owner"]),
    ("set-moderator", &["admin", "owner"]),
    ("set-owner", &["admin", "owner"]),
    ("set-react-when-readonly", &["admin", "owner"]),
    ("set-readonly", &["admin", "owner"]),
    ("spy-voip-calls", &["admin", "livechat-manager"]),
    ("start-discussion", &["admin", "user", "guest", "app"]),
    (
        "start-discussion-other-user",
        &["admin", "user", "owner", "app"],
    ),
    ("sync-auth-services-users", &["admin"]),
    ("test-admin-options", &["admin"]),
    ("test-push-notifications", &["admin", "user"]),
    ("toggle-room-e2e-encryption", &["owner", "admin"]),
    ("transfer-livechat-guest", &["livechat-manager", "admin"]),
    ("unarchive-room", &["admin"]),
    ("user-generate-access-token", &["admin"]),
    (
        "videoconf-ring-users",
        &["admin", "owner", "moderator", "user"],
    ),
    ("view-agent-canned-responses", &["livechat-agent"]),
    (
        "view-agent-extension-association",
        &["livechat-manager", "admin", "livechat-agent"],
    ),
    ("view-all-canned-responses", &["livechat-manager", "admin"]),
    ("view-all-team-channels", &["admin", "owner"]),
    ("view-all-teams", &["admin"]),
    ("view-audit", &["admin"]), // Hansard's own
    (
        "view-broadcast-member-list",
        &["admin", "owner", "moderator"],
    ),
    ("view-c-room", &["admin", "user", "bot", "app", "anonymous"]),
    (
        "view-canned-responses",
        &["livechat-agent", "livechat-manager", "admin"],
    ),
    ("view-d-room", &["admin", "user", "bot", "app", "guest"]),
    ("view-device-management", &["admin"]),
    ("view-engagement-dashboard", &["admin"]),
    ("view-event-log", &["admin"]), // Hansard's own
    ("view-federation-data", &["admin"]),
    ("view-full-other-user-info", &["admin"]),
    ("view-history", &["admin", "user", "anonymous"]),
    ("view-import-operations", &["admin"]),
    ("view-join-code", &["admin"]),
    ("view-joined-room", &["guest", "bot", "app", "anonymous"]),
    (
        "view-l-room",
        &["livechat-manager", "livechat-agent", "admin"],
    ),
    ("view-livechat-analytics", &["livechat-manager", "admin"]),
    ("view-livechat-appearance", &["livechat-manager", "admin"]),
    (
        "view-livechat-business-hours",
        &["livechat-manager", "admin"],
    ),
    (
        "view-livechat-current-chats",
        &["livechat-manager", "admin"],
    ),
    ("view-livechat-customfields", &["livechat-manager", "admin"]),
    ("view-livechat-departments", &["livechat-manager", "admin"]),
    ("view-livechat-installation", &["livechat-manager", "admin"]),
    ("view-livechat-manager", &["livechat-manager", "admin"]),
    (
        "view-livechat-queue",
        &["livechat-manager", "livechat-agent", "admin"],
    ),
    (
        "view-livechat-real-time-monitoring",
        &["livechat-manager", "admin"],
    ),
    ("view-livechat-reports", &["admin", "livechat-manager"]),
    (
        "view-livechat-room-closed-by-another-agent",
        &["livechat-manager", "admin"],
    ),
    (
        "view-livechat-room-closed-same-department",
        &["livechat-manager", "admin"],
    ),
    (
        "view-livechat-room-customfields",
        &["livechat-manager", "livechat-agent", "admin"],
    ),
    ("view-livechat-rooms", &["livechat-manager", "admin"]),
    ("view-livechat-triggers", &["livechat-manager", "admin"]),
    ("view-livechat-webhooks", &["livechat-manager", "admin"]),
    ("view-logs", &["admin"]),
    ("view-members-list-all-rooms", &["admin"]),
    ("view-moderation-console", &["admin"]),
    (
        "view-omnichannel-contact-center",
        &["livechat-manager", "livechat-agent", "admin"],
    ),
    ("view-other-user-channels", &["admin"]),
    (
        "view-outside-room",
        &["admin", "owner", "moderator", "user"],
    ),
    ("view-p-room", &["admin", "user", "anonymous", "guest"]),
    ("view-privileged-setting", &["admin"]),
    ("view-room-administration", &["admin"]),
    ("view-statistics", &["admin"]),
    ("view-user-administration", &["admin"]),
    ("view-webhook-deliveries", &["admin"]), // Hansard's own
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn permissions_are_sorted_and_listed_once() {
        assert!(DEFAULT_GRANTS.is_sorted_by(|(one, _), (next, _)| one < next));
    }

    #[test]
    fn role_ids_are_unique() {
        let ids: HashSet<_> = DEFAULT_ROLES.iter().map(|role| role.id).collect();
        assert_eq!(ids.len(), DEFAULT_ROLES.len());
    }

    #[test]
    fn a_permission_is_granted_to_default_roles_only_and_once_to_each() {
        let known: HashSet<_> = DEFAULT_ROLES.iter().map(|role| role.id).collect();
        for (permission, roles) in DEFAULT_GRANTS {
            let granted: HashSet<_> = roles.iter().copied().collect();
            assert!(granted.is_subset(&known), "{permission}");
            assert_eq!(granted.len(), roles.len(), "{permission}");
        }
    }

    #[test]
    fn a_scope_is_named_as_in_rocket_chat() {
        assert_eq!(serde_json::json!(RoleScope::Subscriptions), "Subscriptions");
        assert_eq!(serde_json::json!(RoleScope::Users), "Users");
    }
}
