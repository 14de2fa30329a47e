//! The group `RetentionPolicy`: when messages are pruned by schedule.
//!
//! Times to live are in milliseconds.

use super::{Definition, Place};

const RETENTION_POLICY: Place = Place::group("RetentionPolicy");
const GLOBAL_POLICY: Place = Place::section("RetentionPolicy", "Global Policy");

pub(super) static DEFINITIONS: &[Definition] = &[
    RETENTION_POLICY
        .boolean("RetentionPolicy_Enabled", false)
        .public(),
    RETENTION_POLICY
        .select("RetentionPolicy_Precision", "0", &["0", "1", "2", "3"])
        .public(),
    RETENTION_POLICY
        .boolean("RetentionPolicy_Advanced_Precision", false)
        .public(),
    RETENTION_POLICY
        .string("RetentionPolicy_Advanced_Precision_Cron", "*/30 * * * *")
        .public(),
    GLOBAL_POLICY
        .boolean("RetentionPolicy_AppliesToChannels", false)
        .public(),
    GLOBAL_POLICY
        .int("RetentionPolicy_MaxAge_Channels", 30)
        .public()
        .hidden(),
    GLOBAL_POLICY
        .timespan("RetentionPolicy_TTL_Channels", 2_592_000_000)
        .public(),
    GLOBAL_POLICY
        .boolean("RetentionPolicy_AppliesToGroups", false)
        .public(),
    GLOBAL_POLICY
        .int("RetentionPolicy_MaxAge_Groups", 30)
        .public()
        .hidden(),
    GLOBAL_POLICY
        .timespan("RetentionPolicy_TTL_Groups", 2_592_000_000)
        .public(),
    GLOBAL_POLICY
        .boolean("RetentionPolicy_AppliesToDMs", false)
        .public(),
    GLOBAL_POLICY
        .int("RetentionPolicy_MaxAge_DMs", 30)
        .public()
        .hidden(),
    GLOBAL_POLICY
        .timespan("RetentionPolicy_TTL_DMs", 2_592_000_000)
        .public(),
    GLOBAL_POLICY
        .boolean("RetentionPolicy_DoNotPrunePinned", false)
        .public(),
    GLOBAL_POLICY
        .boolean("RetentionPolicy_FilesOnly", false)
        .public(),
    GLOBAL_POLICY
        .boolean("RetentionPolicy_DoNotPruneDiscussion", true)
        .public(),
    GLOBAL_POLICY
        .boolean("RetentionPolicy_DoNotPruneThreads", true)
        .public(),
];
