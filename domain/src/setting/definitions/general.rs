//! What holds for the workspace as a whole: `General`, its name and address, and its identity.

use super::{Definition, Place};

const REST_API: Place = Place::section("General", "REST API");
const GENERAL: Place = Place::group("General");
const UTF8: Place = Place::section("General", "UTF8");
const NOTIFICATIONS: Place = Place::section("General", "Notifications");
const IFRAME_INTEGRATION: Place = Place::section("General", "Iframe_Integration");
const TRANSLATIONS: Place = Place::section("General", "Translations");
const TIMEZONE: Place = Place::section("General", "Timezone");
const ORGANIZATION: Place = Place::section("Setup_Wizard", "Organization_Info");
const MATRIX_BRIDGE: Place = Place::section("Federation", "Matrix Bridge");

pub(super) static DEFINITIONS: &[Definition] = &[
    REST_API.int("API_Upper_Count_Limit", 100),
    REST_API.int("API_Default_Count", 50),
    REST_API.boolean("API_Allow_Infinite_Count", true),
    REST_API.boolean("API_Enable_Direct_Message_History_EndPoint", false),
    REST_API.boolean("API_Enable_Shields", true),
    REST_API.string("API_Shield_Types", "*"),
    REST_API.boolean("API_Shield_user_require_auth", false),
    REST_API.boolean("API_Enable_CORS", false),
    REST_API.string("API_CORS_Origin", "*"),
    REST_API
        .boolean("API_Use_REST_For_DDP_Calls", true)
        .public(),
    REST_API
        .boolean(
            "API_Apply_permission_view-outside-room_on_users-list",
            false,
        )
        .public(),
    REST_API.int("API_User_Limit", 500).public(),
    GENERAL
        .select(
            "Show_Setup_Wizard",
            "completed",
            &["pending", "in_progress", "completed"],
        )
        .public(),
    GENERAL.supplied("Site_Url").public(),
    GENERAL.string("Site_Name", "Hansard").public(),
    GENERAL.string("Document_Domain", "").public(),
    GENERAL.language("Language", "").public(),
    GENERAL
        .boolean("Allow_Invalid_SelfSigned_Certs", false)
        .secret(),
    GENERAL.boolean("Enable_CSP", true),
    GENERAL.string("Extra_CSP_Domains", ""),
    GENERAL.boolean("Iframe_Restrict_Access", true).secret(),
    GENERAL
        .string("Iframe_X_Frame_Options", "sameorigin")
        .secret(),
    GENERAL.boolean("Favorite_Rooms", true).public(),
    GENERAL.string("First_Channel_After_Login", "").public(),
    GENERAL
        .select(
            "Unread_Count",
            "user_and_group_mentions_only",
            &[
                "all_messages",
                "user_mentions_only",
                "group_mentions_only",
                "user_and_group_mentions_only",
            ],
        )
        .public(),
    GENERAL
        .select(
            "Unread_Count_DM",
            "all_messages",
            &["all_messages", "mentions_only"],
        )
        .public(),
    GENERAL
        .select(
            "Unread_Count_Omni",
            "all_messages",
            &["all_messages", "mentions_only"],
        )
        .public(),
    GENERAL
        .string("DeepLink_Url", "https://go.rocket.chat")
        .public(),
    GENERAL.string("CDN_PREFIX", "").public(),
    GENERAL.boolean("CDN_PREFIX_ALL", true).public(),
    GENERAL.string("CDN_JSCSS_PREFIX", "").public(),
    GENERAL.boolean("Force_SSL", false).public(),
    GENERAL.string("GoogleTagManager_id", "").public().secret(),
    GENERAL.boolean("Store_Last_Message", true).public(),
    GENERAL
        .string(
            "Robot_Instructions_File_Content",
            "User-agent: *\nDisallow: /",
        )
        .public(),
    GENERAL
        .select(
            "Default_Referrer_Policy",
            "same-origin",
            &[
                "no-referrer",
                "no-referrer-when-downgrade",
                "origin",
                "origin-when-cross-origin",
                "same-origin",
                "strict-origin",
                "strict-origin-when-cross-origin",
                "unsafe-url",
            ],
        )
        .public(),
    GENERAL.supplied("uniqueID").public(),
    GENERAL
        .boolean("Deployment_FingerPrint_Verified", true)
        .public(),
    GENERAL.boolean("Initial_Channel_Created", false).hidden(),
    UTF8.string("UTF8_User_Names_Validation", "[0-9a-zA-Z-_.]+")
        .public(),
    UTF8.string("UTF8_Channel_Names_Validation", "[0-9a-zA-Z-_.]+")
        .public(),
    UTF8.boolean("UTF8_Names_Slugify", true).public(),
    NOTIFICATIONS
        .int("Notifications_Max_Room_Members", 100)
        .public(),
    IFRAME_INTEGRATION
        .boolean("Iframe_Integration_send_enable", false)
        .public(),
    IFRAME_INTEGRATION
        .string("Iframe_Integration_send_target_origin", "*")
        .public(),
    IFRAME_INTEGRATION
        .boolean("Iframe_Integration_receive_enable", false)
        .public(),
    IFRAME_INTEGRATION
        .string("Iframe_Integration_receive_origin", "*")
        .public(),
    TRANSLATIONS.code("Custom_Translations", "").public(),
    TIMEZONE.select(
        "Default_Timezone_For_Reporting",
        "server",
        &["server", "custom", "user"],
    ),
    TIMEZONE.timezone("Default_Custom_Timezone", ""),
    ORGANIZATION.string("Organization_Name", "").public(),
    ORGANIZATION.string("Website", ""),
    ORGANIZATION.string("Organization_Email", ""),
    MATRIX_BRIDGE
        .boolean("Federation_Matrix_enabled", false)
        .public(),
    MATRIX_BRIDGE.boolean("Federation_Matrix_serve_well_known", true),
];
