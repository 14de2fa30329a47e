//! What clients look like: `Layout`, `Assets`, and what they measure.

use super::{Definition, Place};

const PIWIK: Place = Place::section("Analytics", "Piwik");
const GOOGLE_ANALYTICS: Place = Place::section("Analytics", "Analytics_Google");
const ANALYTICS_FEATURES: Place = Place::section("Analytics", "Analytics_features_enabled");
const ASSETS: Place = Place::group("Assets");
const LOGIN: Place = Place::section("Layout", "Login");
const HOME: Place = Place::section("Layout", "Layout_Home_Page_Content_Title");
const CUSTOM_SCRIPTS: Place = Place::section("Layout", "Custom_Scripts");
const USER_INTERFACE: Place = Place::section("Layout", "User_Interface");
const CUSTOM_CSS: Place = Place::section("Layout", "Custom CSS");
const MOBILE: Place = Place::group("Mobile");
const SCREEN_LOCK: Place = Place::section("Mobile", "Screen_Lock");

pub(super) static DEFINITIONS: &[Definition] = &[
    PIWIK.boolean("PiwikAnalytics_enabled", false).public(),
    PIWIK.string("PiwikAnalytics_url", "").public(),
    PIWIK.string("PiwikAnalytics_siteId", "").public(),
    PIWIK.string("PiwikAdditionalTrackers", "").public(),
    PIWIK
        .boolean("PiwikAnalytics_prependDomain", false)
        .public(),
    PIWIK.boolean("PiwikAnalytics_cookieDomain", false).public(),
    PIWIK.string("PiwikAnalytics_domains", "").public(),
    GOOGLE_ANALYTICS
        .boolean("GoogleAnalytics_enabled", false)
        .public(),
    GOOGLE_ANALYTICS.string("GoogleAnalytics_ID", "").public(),
    ANALYTICS_FEATURES
        .boolean("Analytics_features_messages", true)
        .public(),
    ANALYTICS_FEATURES
        .boolean("Analytics_features_rooms", true)
        .public(),
    ANALYTICS_FEATURES
        .boolean("Analytics_features_users", true)
        .public(),
    ASSETS.boolean("Assets_SvgFavicon_Enable", true),
    ASSETS
        .asset("Assets_logo", "images/logo/logo1.svg")
        .public(),
    ASSETS
        .asset("Assets_logo_dark", "images/logo/logo_dark.svg")
        .public(),
    ASSETS.asset("Assets_background", "").public(),
    ASSETS.asset("Assets_background_dark", "").public(),
    ASSETS.asset("Assets_favicon_ico", "favicon.ico").public(),
    ASSETS
        .asset("Assets_favicon", "images/logo/icon.svg")
        .public(),
    ASSETS
        .asset("Assets_favicon_16", "images/logo/favicon-16x16.png")
        .public(),
    ASSETS
        .asset("Assets_favicon_32", "images/logo/favicon-32x32.png")
        .public(),
    ASSETS
        .asset(
            "Assets_favicon_192",
            "images/logo/android-chrome-192x192.png",
        )
        .public(),
    ASSETS
        .asset(
            "Assets_favicon_512",
            "images/logo/android-chrome-512x512.png",
        )
        .public(),
    ASSETS
        .asset("Assets_touchicon_180", "images/logo/apple-touch-icon.png")
        .public(),
    ASSETS
        .asset(
            "Assets_touchicon_180_pre",
            "images/logo/apple-touch-icon-precomposed.png",
        )
        .public(),
    ASSETS
        .asset("Assets_tile_70", "images/logo/mstile-70x70.png")
        .public(),
    ASSETS
        .asset("Assets_tile_144", "images/logo/mstile-144x144.png")
        .public(),
    ASSETS
        .asset("Assets_tile_150", "images/logo/mstile-150x150.png")
        .public(),
    ASSETS
        .asset("Assets_tile_310_square", "images/logo/mstile-310x310.png")
        .public(),
    ASSETS
        .asset("Assets_tile_310_wide", "images/logo/mstile-310x150.png")
        .public(),
    ASSETS
        .asset("Assets_safari_pinned", "images/logo/safari-pinned-tab.svg")
        .public(),
    ASSETS.asset("Assets_livechat_widget_logo", "").public(),
    LOGIN.boolean("Layout_Login_Hide_Logo", false).public(),
    LOGIN.boolean("Layout_Login_Hide_Title", false).public(),
    LOGIN
        .boolean("Layout_Login_Hide_Powered_By", false)
        .public(),
    LOGIN
        .select(
            "Layout_Login_Template",
            "horizontal-template",
            &["vertical-template", "horizontal-template"],
        )
        .public(),
    LOGIN.boolean("Accounts_ShowFormLogin", true).public(),
    HOME.string("Layout_Home_Title", "Home").public(),
    HOME.boolean("Layout_Show_Home_Button", true).public(),
    HOME.code("Layout_Home_Body", "").public(),
    HOME.boolean("Layout_Home_Custom_Block_Visible", false)
        .public(),
    HOME.boolean("Layout_Custom_Body_Only", false).public(),
    HOME.code("Layout_Terms_of_Service", "").public(),
    HOME.code("Layout_Login_Terms", "").public(),
    HOME.code("Layout_Privacy_Policy", "").public(),
    HOME.code("Layout_Legal_Notice", "").public(),
    HOME.code("Layout_Sidenav_Footer_Dark", "").public(),
    HOME.code("Layout_Sidenav_Footer", "").public(),
    CUSTOM_SCRIPTS.code("Custom_Script_On_Logout", "").public(),
    CUSTOM_SCRIPTS.code("Custom_Script_Logged_Out", "").public(),
    CUSTOM_SCRIPTS.code("Custom_Script_Logged_In", "").public(),
    USER_INTERFACE.boolean("UI_DisplayRoles", true).public(),
    USER_INTERFACE.boolean("UI_Group_Channels_By_Type", true),
    USER_INTERFACE.boolean("UI_Use_Name_Avatar", false).public(),
    USER_INTERFACE.boolean("UI_Use_Real_Name", false).public(),
    USER_INTERFACE
        .boolean("UI_Click_Direct_Message", false)
        .public(),
    USER_INTERFACE
        .int("Number_of_users_autocomplete_suggestions", 5)
        .public(),
    USER_INTERFACE
        .select(
            "UI_Unread_Counter_Style",
            "Different_Style_For_User_Mentions",
            &[
                "Same_Style_For_Mentions",
                "Different_Style_For_User_Mentions",
            ],
        )
        .public(),
    USER_INTERFACE
        .boolean("UI_Allow_room_names_with_special_chars", false)
        .public(),
    USER_INTERFACE
        .boolean("UI_Show_top_navbar_embedded_layout", false)
        .public(),
    CUSTOM_CSS.code("theme-custom-css", "").public(),
    MOBILE.boolean("Allow_Save_Media_to_Gallery", true).public(),
    SCREEN_LOCK.boolean("Force_Screen_Lock", false).public(),
    SCREEN_LOCK.int("Force_Screen_Lock_After", 1800).public(),
];
