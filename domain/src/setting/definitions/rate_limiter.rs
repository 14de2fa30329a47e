//! The group `Rate Limiter`. Intervals are in milliseconds.

use super::{Definition, Place};

const DDP_RATE_LIMITER: Place = Place::section("Rate Limiter", "DDP_Rate_Limiter");
const API_RATE_LIMITER: Place = Place::section("Rate Limiter", "API_Rate_Limiter");
const FEATURE_LIMITING: Place = Place::section("Rate Limiter", "Feature_Limiting");

pub(super) static DEFINITIONS: &[Definition] = &[
    DDP_RATE_LIMITER.boolean("DDP_Rate_Limit_IP_Enabled", true),
    DDP_RATE_LIMITER.int("DDP_Rate_Limit_IP_Requests_Allowed", 120_000),
    DDP_RATE_LIMITER.int("DDP_Rate_Limit_IP_Interval_Time", 60_000),
    DDP_RATE_LIMITER.boolean("DDP_Rate_Limit_User_Enabled", true),
    DDP_RATE_LIMITER.int("DDP_Rate_Limit_User_Requests_Allowed", 1200),
    DDP_RATE_LIMITER.int("DDP_Rate_Limit_User_Interval_Time", 60_000),
    DDP_RATE_LIMITER.boolean("DDP_Rate_Limit_Connection_Enabled", true),
    DDP_RATE_LIMITER.int("DDP_Rate_Limit_Connection_Requests_Allowed", 600),
    DDP_RATE_LIMITER.int("DDP_Rate_Limit_Connection_Interval_Time", 60_000),
    DDP_RATE_LIMITER.boolean("DDP_Rate_Limit_User_By_Method_Enabled", true),
    DDP_RATE_LIMITER.int("DDP_Rate_Limit_User_By_Method_Requests_Allowed", 20),
    DDP_RATE_LIMITER.int("DDP_Rate_Limit_User_By_Method_Interval_Time", 10_000),
    DDP_RATE_LIMITER.boolean("DDP_Rate_Limit_Connection_By_Method_Enabled", true),
    DDP_RATE_LIMITER.int("DDP_Rate_Limit_Connection_By_Method_Requests_Allowed", 10),
    DDP_RATE_LIMITER.int("DDP_Rate_Limit_Connection_By_Method_Interval_Time", 10_000),
    API_RATE_LIMITER.boolean("API_Enable_Rate_Limiter", true),
    API_RATE_LIMITER.boolean("API_Enable_Rate_Limiter_Dev", true),
    API_RATE_LIMITER.int("API_Enable_Rate_Limiter_Limit_Calls_Default", 10),
    API_RATE_LIMITER.int("API_Enable_Rate_Limiter_Limit_Time_Default", 60_000),
    FEATURE_LIMITING.int("Rate_Limiter_Limit_RegisterUser", 1),
];
