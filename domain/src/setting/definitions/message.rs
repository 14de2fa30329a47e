//! What may be done with messages and how they are shown: `Message`, threads, discussions, encryption
//! and search.

use super::{Definition, Place};

const DISCUSSION: Place = Place::group("Discussion");
const E2E_ENCRYPTION: Place = Place::group("E2E Encryption");
const MESSAGE_ATTACHMENTS: Place = Place::section("Message", "Message_Attachments");
const MESSAGE_AUDIO: Place = Place::section("Message", "Message_Audio");
const READ_RECEIPTS: Place = Place::section("Message", "Read_Receipts");
const MESSAGE: Place = Place::group("Message");
const AUTO_TRANSLATE: Place = Place::section("Message", "AutoTranslate");
const HEX_COLOR_PREVIEW: Place = Place::section("Message", "Hex_Color_Preview");
const KATEX: Place = Place::section("Message", "Katex");
const GOOGLE_MAPS: Place = Place::section("Message", "Google Maps");
const OTR: Place = Place::group("OTR");
const THREADS: Place = Place::group("Threads");
const SEARCH: Place = Place::group("Search");
const SEARCH_PROVIDER: Place = Place::section("Search", "Default_provider");

/// The kinds of system message that a room can hide, by their wire type.
pub const HIDEABLE_MESSAGES: &[&str] = &[
    "uj",
    "ujt",
    "ul",
    "ult",
    "ru",
    "removed-user-from-team",
    "au",
    "added-user-to-team",
    "mute_unmute",
    "r",
    "ut",
    "wm",
    "rm",
    "subscription-role-added",
    "subscription-role-removed",
    "room-archived",
    "room-unarchived",
    "room_changed_privacy",
    "room_changed_avatar",
    "room_changed_topic",
    "room_e2e_enabled",
    "room_e2e_disabled",
    "room-removed-read-only",
    "room-set-read-only",
    "room-disallowed-reacting",
    "room-allowed-reacting",
    "user-added-room-to-team",
    "user-converted-to-channel",
    "user-converted-to-team",
    "user-deleted-room-from-team",
    "user-removed-room-from-team",
    "room_changed_announcement",
    "room_changed_description",
];

pub(super) static DEFINITIONS: &[Definition] = &[
    DISCUSSION.boolean("Discussion_enabled", true).public(),
    E2E_ENCRYPTION.boolean("E2E_Enable", false).public(),
    E2E_ENCRYPTION.boolean("E2E_Allow_Unencrypted_Messages", true).public(),
    E2E_ENCRYPTION.boolean("E2E_Enabled_Default_DirectRooms", false).public(),
    E2E_ENCRYPTION.boolean("E2E_Enabled_Default_PrivateRooms", false).public(),
    MESSAGE_ATTACHMENTS.boolean("Message_Attachments_Thumbnails_Enabled", true).public(),
    MESSAGE_ATTACHMENTS.int("Message_Attachments_Thumbnails_Width", 480).public(),
    MESSAGE_ATTACHMENTS.int("Message_Attachments_Thumbnails_Height", 360).public(),
    MESSAGE_ATTACHMENTS.boolean("Message_Attachments_Strip_Exif", false).public(),
    MESSAGE_AUDIO.boolean("Message_AudioRecorderEnabled", true).public(),
    MESSAGE_AUDIO.int("Message_Audio_bitRate", 32).public(),
    READ_RECEIPTS.boolean("Message_Read_Receipt_Enabled", false).public(),
    READ_RECEIPTS.boolean("Message_Read_Receipt_Store_Users", false).public(),
    MESSAGE.string("Message_CustomDomain_AutoLink", "").public(),
    MESSAGE.boolean("Message_AllowEditing", true).public(),
    MESSAGE.int("Message_AllowEditing_BlockEditInMinutes", 0).public(),
    MESSAGE.boolean("Message_AllowDeleting", true).public(),
    MESSAGE.int("Message_AllowDeleting_BlockDeleteInMinutes", 0).public(),
    MESSAGE.boolean("Message_AllowUnrecognizedSlashCommand", false).public(),
    MESSAGE.boolean("Message_AllowDirectMessagesToYourself", true).public(),
    MESSAGE.boolean("Message_ShowDeletedStatus", false).public(),
    MESSAGE.boolean("Message_AllowBadWordsFilter", false).public(),
    MESSAGE.string("Message_BadWordsFilterList", "").public(),
    MESSAGE.string("Message_BadWordsWhitelist", "").public(),
    MESSAGE.boolean("Message_KeepHistory", false).public(),
    MESSAGE.int("Message_MaxAll", 0).public(),
    MESSAGE.int("Message_MaxAllowedSize", 5000).public(),
    MESSAGE.boolean("Message_AllowConvertLongMessagesToAttachment", true).public(),
    MESSAGE.int("Message_GroupingPeriod", 300).public(),
    MESSAGE.boolean("API_Embed", true).public(),
    MESSAGE.string("API_Embed_UserAgent", "Hansard").public(),
    MESSAGE.int("API_EmbedCacheExpirationDays", 30),
    MESSAGE.string("API_EmbedIgnoredHosts", "localhost, 127.0.0.1, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"),
    MESSAGE.string("API_EmbedSafePorts", "80, 443"),
    MESSAGE.string("Message_TimeFormat", "LT").public(),
    MESSAGE.string("Message_DateFormat", "LL").public(),
    MESSAGE.string("Message_TimeAndDateFormat", "LLL").public(),
    MESSAGE.int("Message_QuoteChainLimit", 2).public(),
    MESSAGE.multi_select("Hide_System_Messages", &[], HIDEABLE_MESSAGES).public(),
    MESSAGE.int("DirectMesssage_maxUsers", 8).public(),
    MESSAGE.select("Message_ErasureType", "Delete", &["Keep", "Delete", "Unlink"]).public(),
    MESSAGE.string("Message_Code_highlight", "javascript,css,markdown,dockerfile,json,go,rust,clean,bash,plaintext,powershell,scss,shell,yaml,vim").public(),
    MESSAGE.boolean("Message_VideoRecorderEnabled", true).public(),
    MESSAGE.boolean("Message_AllowPinning", true).public(),
    MESSAGE.boolean("Message_AllowStarring", true).public(),
    MESSAGE.boolean("Message_CustomFields_Enabled", false),
    MESSAGE.code("Message_CustomFields", r#"{"properties":{"priority":{"type":"string","nullable":false,"enum":["low","medium","high"]}},"required":["priority"]}"#),
    AUTO_TRANSLATE.boolean("AutoTranslate_Enabled", false).public(),
    AUTO_TRANSLATE.boolean("AutoTranslate_AutoEnableOnJoinRoom", false).public(),
    AUTO_TRANSLATE.select("AutoTranslate_ServiceProvider", "google-translate", &["google-translate", "deepl-translate", "microsoft-translate"]).public(),
    HEX_COLOR_PREVIEW.boolean("HexColorPreview_Enabled", true).public(),
    KATEX.boolean("Katex_Enabled", true).public(),
    KATEX.boolean("Katex_Parenthesis_Syntax", true).public(),
    KATEX.boolean("Katex_Dollar_Syntax", false).public(),
    GOOGLE_MAPS.boolean("MapView_Enabled", false).public(),
    GOOGLE_MAPS.string("MapView_GMapsAPIKey", "").public().secret(),
    OTR.boolean("OTR_Enable", true).public(),
    THREADS.boolean("Threads_enabled", true).public(),
    SEARCH.select("Search.Provider", "defaultProvider", &["defaultProvider"]).public(),
    SEARCH_PROVIDER.boolean("Search.defaultProvider.GlobalSearchEnabled", false),
    SEARCH_PROVIDER.int("Search.defaultProvider.PageSize", 10),
];
