//! What the server tells its operator, and what can be switched off to find a fault.

use super::{Definition, Place};

const LOGS: Place = Place::group("Logs");
const PROMETHEUS: Place = Place::section("Logs", "Prometheus");
const TROUBLESHOOT: Place = Place::group("Troubleshoot");

pub(super) static DEFINITIONS: &[Definition] = &[
    LOGS.select("Log_Level", "0", &["0", "1", "2"]).public(),
    LOGS.int("Log_View_Limit", 1000),
    LOGS.boolean("Log_Trace_Methods", false),
    LOGS.string("Log_Trace_Methods_Filter", ""),
    LOGS.boolean("Log_Trace_Subscriptions", false),
    LOGS.string("Log_Trace_Subscriptions_Filter", ""),
    LOGS.string("Log_Exceptions_to_Channel", ""),
    PROMETHEUS.boolean("Prometheus_Enabled", false),
    PROMETHEUS.int("Prometheus_Port", 9458),
    PROMETHEUS.int("Prometheus_Reset_Interval", 0),
    PROMETHEUS.boolean("Prometheus_Garbage_Collector", false),
    PROMETHEUS.boolean("Prometheus_API_User_Agent", false),
    TROUBLESHOOT.boolean("Troubleshoot_Disable_Notifications", false),
    TROUBLESHOOT
        .boolean("Presence_broadcast_disabled", false)
        .public(),
    TROUBLESHOOT.boolean("Troubleshoot_Disable_Presence_Broadcast", false),
    TROUBLESHOOT.boolean("Troubleshoot_Disable_Teams_Mention", false),
];
