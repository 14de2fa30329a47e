//! Customers' conversations and calls: the switches that clients and their tests read.

use super::{Definition, Place};

const CALL_CENTER: Place = Place::section("Call_Center", "General_Settings");
const SMS: Place = Place::group("SMS");
const OMNICHANNEL: Place = Place::group("Omnichannel");
const LIVECHAT: Place = Place::section("Omnichannel", "Livechat");
const CRM_INTEGRATION: Place = Place::section("Omnichannel", "CRM_Integration");
const BUSINESS_HOURS: Place = Place::section("Omnichannel", "Business_Hours");
const ROUTING: Place = Place::section("Omnichannel", "Routing");
const GDPR: Place = Place::section("Omnichannel", "GDPR");
const SESSIONS: Place = Place::section("Omnichannel", "Sessions");
const CALLS: Place = Place::section("Omnichannel", "Video_and_Audio_Call");
const VIDEO_CONFERENCE: Place = Place::group("Video_Conference");
const WEBRTC: Place = Place::group("WebRTC");
const QUEUE_MANAGEMENT: Place = Place::section("Omnichannel", "Queue_management");

pub(super) static DEFINITIONS: &[Definition] = &[
    CALL_CENTER.boolean("VoIP_Enabled", false).public(),
    SMS.boolean("SMS_Enabled", false),
    SMS.select("SMS_Service", "twilio", &["twilio", "voxtelesys", "mobex"]),
    SMS.string("SMS_Default_Omnichannel_Department", ""),
    OMNICHANNEL.boolean("Livechat_enabled", true).public(),
    OMNICHANNEL
        .boolean("Livechat_enabled_when_agent_idle", true)
        .public(),
    OMNICHANNEL
        .boolean("Livechat_fileupload_enabled", true)
        .public(),
    OMNICHANNEL
        .boolean("Omnichannel_enable_department_removal", false)
        .public(),
    LIVECHAT.string("Livechat_title", "Hansard").public(),
    LIVECHAT
        .boolean("Livechat_enable_message_character_limit", false)
        .public(),
    LIVECHAT.int("Livechat_message_character_limit", 0).public(),
    LIVECHAT
        .boolean("Livechat_display_offline_form", true)
        .public(),
    LIVECHAT
        .boolean("Livechat_validate_offline_email", true)
        .public(),
    LIVECHAT.string("Livechat_offline_email", ""),
    LIVECHAT
        .boolean("Livechat_registration_form", true)
        .public(),
    LIVECHAT.string("Livechat_AdditionalWidgetScripts", ""),
    LIVECHAT.string("Livechat_WidgetLayoutClasses", ""),
    LIVECHAT
        .multi_select(
            "Livechat_hide_system_messages",
            &["uj", "ul", "livechat-close"],
            &[
                "uj",
                "ul",
                "livechat-close",
                "livechat-started",
                "livechat_transfer_history",
            ],
        )
        .public(),
    CRM_INTEGRATION.string("Livechat_webhookUrl", ""),
    CRM_INTEGRATION.string("Livechat_secret_token", "").secret(),
    CRM_INTEGRATION.boolean("Livechat_webhook_on_start", false),
    CRM_INTEGRATION.boolean("Livechat_webhook_on_close", false),
    CRM_INTEGRATION.boolean("Livechat_webhook_on_chat_taken", false),
    CRM_INTEGRATION.boolean("Livechat_webhook_on_chat_queued", false),
    CRM_INTEGRATION.boolean("Livechat_webhook_on_forward", false),
    CRM_INTEGRATION.boolean("Livechat_webhook_on_offline_msg", false),
    CRM_INTEGRATION.boolean("Livechat_webhook_on_visitor_message", false),
    CRM_INTEGRATION.boolean("Livechat_webhook_on_agent_message", false),
    CRM_INTEGRATION.int("Livechat_http_timeout", 5000),
    BUSINESS_HOURS
        .boolean("Livechat_enable_business_hours", false)
        .public(),
    BUSINESS_HOURS
        .select(
            "Livechat_business_hour_type",
            "Single",
            &["Single", "Multiple"],
        )
        .public(),
    ROUTING
        .select(
            "Livechat_Routing_Method",
            "Auto_Selection",
            &["External", "Auto_Selection", "Manual_Selection"],
        )
        .public(),
    ROUTING.boolean("Livechat_accept_chats_with_no_agents", false),
    ROUTING.boolean("Livechat_assign_new_conversation_to_bot", false),
    GDPR.boolean(
        "Livechat_Allow_collect_and_store_HTTP_header_informations",
        false,
    )
    .public(),
    SESSIONS.int("Livechat_visitor_inactivity_timeout", 3600),
    SESSIONS
        .select(
            "Livechat_abandoned_rooms_action",
            "none",
            &["none", "close", "on-hold"],
        )
        .public(),
    SESSIONS
        .boolean("Livechat_allow_manual_on_hold", false)
        .public(),
    SESSIONS
        .boolean(
            "Livechat_allow_manual_on_hold_upon_agent_engagement_only",
            true,
        )
        .public(),
    CALLS
        .select(
            "Omnichannel_call_provider",
            "none",
            &["none", "default-provider"],
        )
        .public(),
    VIDEO_CONFERENCE
        .lookup("VideoConf_Default_Provider", "")
        .public(),
    VIDEO_CONFERENCE
        .boolean("VideoConf_Mobile_Ringing", false)
        .public(),
    VIDEO_CONFERENCE
        .boolean("VideoConf_Enable_DMs", true)
        .public(),
    VIDEO_CONFERENCE
        .boolean("VideoConf_Enable_Channels", true)
        .public(),
    VIDEO_CONFERENCE
        .boolean("VideoConf_Enable_Groups", true)
        .public(),
    VIDEO_CONFERENCE
        .boolean("VideoConf_Enable_Teams", true)
        .public(),
    VIDEO_CONFERENCE
        .boolean("VideoConf_Enable_Persistent_Chat", false)
        .public(),
    VIDEO_CONFERENCE
        .string(
            "VideoConf_Persistent_Chat_Discussion_Name",
            "Notes of the call",
        )
        .public(),
    WEBRTC.boolean("WebRTC_Enabled", false).public(),
    WEBRTC.boolean("WebRTC_Enable_Channel", false).public(),
    WEBRTC.boolean("WebRTC_Enable_Private", false).public(),
    WEBRTC.boolean("WebRTC_Enable_Direct", false).public(),
    WEBRTC.string("WebRTC_Servers", "").public(),
    QUEUE_MANAGEMENT.int("Livechat_maximum_chats_per_agent", 0),
    QUEUE_MANAGEMENT
        .select(
            "Omnichannel_sorting_mechanism",
            "Timestamp",
            &["Timestamp", "Priority", "SLAs"],
        )
        .public(),
];
