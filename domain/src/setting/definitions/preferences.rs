//! The preferences a person starts with; `me` answers them until the person chooses otherwise.

use super::{Definition, Place};

const DEFAULTS: Place = Place::section("Accounts", "Accounts_Default_User_Preferences");

/// The sections of the sidebar in their first order.
const SIDEBAR_SECTIONS: &[&str] = &[
    "Incoming_Calls",
    "Incoming_Livechats",
    "Open_Livechats",
    "On_Hold_Chats",
    "Unread",
    "Favorites",
    "Teams",
    "Discussions",
    "Channels",
    "Direct_Messages",
    "Conversations",
];

pub(super) static DEFINITIONS: &[Definition] = &[
    DEFAULTS
        .boolean("Accounts_Default_User_Preferences_enableAutoAway", true)
        .public(),
    DEFAULTS
        .int("Accounts_Default_User_Preferences_idleTimeLimit", 300)
        .public(),
    DEFAULTS
        .boolean(
            "Accounts_Default_User_Preferences_desktopNotificationRequireInteraction",
            false,
        )
        .public(),
    DEFAULTS
        .select(
            "Accounts_Default_User_Preferences_desktopNotifications",
            "all",
            &["all", "mentions", "nothing"],
        )
        .public(),
    DEFAULTS
        .select(
            "Accounts_Default_User_Preferences_pushNotifications",
            "all",
            &["all", "mentions", "nothing"],
        )
        .public(),
    DEFAULTS
        .boolean("Accounts_Default_User_Preferences_unreadAlert", true)
        .public(),
    DEFAULTS
        .boolean("Accounts_Default_User_Preferences_useEmojis", true)
        .public(),
    DEFAULTS
        .boolean("Accounts_Default_User_Preferences_convertAsciiEmoji", true)
        .public(),
    DEFAULTS
        .boolean("Accounts_Default_User_Preferences_autoImageLoad", true)
        .public(),
    DEFAULTS
        .boolean(
            "Accounts_Default_User_Preferences_saveMobileBandwidth",
            true,
        )
        .public(),
    DEFAULTS
        .boolean(
            "Accounts_Default_User_Preferences_collapseMediaByDefault",
            false,
        )
        .public(),
    DEFAULTS
        .boolean("Accounts_Default_User_Preferences_hideUsernames", false)
        .public(),
    DEFAULTS
        .boolean("Accounts_Default_User_Preferences_hideRoles", false)
        .public(),
    DEFAULTS
        .boolean("Accounts_Default_User_Preferences_hideFlexTab", false)
        .public(),
    DEFAULTS
        .boolean("Accounts_Default_User_Preferences_displayAvatars", true)
        .public(),
    DEFAULTS
        .boolean("Accounts_Default_User_Preferences_sidebarGroupByType", true)
        .public(),
    DEFAULTS
        .select(
            "Accounts_Default_User_Preferences_themeAppearence",
            "auto",
            &["auto", "light", "dark"],
        )
        .public(),
    DEFAULTS
        .select(
            "Accounts_Default_User_Preferences_sidebarViewMode",
            "medium",
            &["extended", "medium", "condensed"],
        )
        .public(),
    DEFAULTS
        .boolean(
            "Accounts_Default_User_Preferences_sidebarDisplayAvatar",
            true,
        )
        .public(),
    DEFAULTS
        .boolean("Accounts_Default_User_Preferences_sidebarShowUnread", false)
        .public(),
    DEFAULTS
        .select(
            "Accounts_Default_User_Preferences_sidebarSortby",
            "activity",
            &["activity", "alphabetical"],
        )
        .public(),
    DEFAULTS
        .boolean(
            "Accounts_Default_User_Preferences_showThreadsInMainChannel",
            false,
        )
        .public(),
    DEFAULTS
        .select(
            "Accounts_Default_User_Preferences_alsoSendThreadToChannel",
            "default",
            &["default", "always", "never"],
        )
        .public(),
    DEFAULTS
        .boolean(
            "Accounts_Default_User_Preferences_sidebarShowFavorites",
            true,
        )
        .public(),
    DEFAULTS
        .select(
            "Accounts_Default_User_Preferences_sendOnEnter",
            "normal",
            &["normal", "alternative", "desktop"],
        )
        .public(),
    DEFAULTS
        .select(
            "Accounts_Default_User_Preferences_emailNotificationMode",
            "mentions",
            &["nothing", "mentions"],
        )
        .public(),
    DEFAULTS
        .select(
            "Accounts_Default_User_Preferences_newRoomNotification",
            "door",
            &["none", "door"],
        )
        .public(),
    DEFAULTS
        .select(
            "Accounts_Default_User_Preferences_newMessageNotification",
            "chime",
            &["none", "chime"],
        )
        .public(),
    DEFAULTS
        .boolean(
            "Accounts_Default_User_Preferences_muteFocusedConversations",
            true,
        )
        .public(),
    DEFAULTS
        .int(
            "Accounts_Default_User_Preferences_notificationsSoundVolume",
            100,
        )
        .public(),
    DEFAULTS
        .boolean(
            "Accounts_Default_User_Preferences_omnichannelTranscriptEmail",
            false,
        )
        .public(),
    DEFAULTS
        .boolean(
            "Accounts_Default_User_Preferences_notifyCalendarEvents",
            true,
        )
        .public(),
    DEFAULTS
        .boolean(
            "Accounts_Default_User_Preferences_enableMobileRinging",
            true,
        )
        .public(),
    DEFAULTS
        .multi_select(
            "Accounts_Default_User_Preferences_sidebarSectionsOrder",
            SIDEBAR_SECTIONS,
            SIDEBAR_SECTIONS,
        )
        .public(),
    DEFAULTS
        .boolean(
            "Accounts_Default_User_Preferences_omnichannelTranscriptPDF",
            false,
        )
        .public(),
];
