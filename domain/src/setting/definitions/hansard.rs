//! The group `Hansard`: what Rocket.Chat has no setting for.

use super::{Definition, Place};

const WEBHOOKS: Place = Place::section("Hansard", "Webhooks");
const RATE_LIMITER: Place = Place::section("Hansard", "Rate_Limiter");

pub(super) static DEFINITIONS: &[Definition] = &[
    // Off, because whoever may make an integration could otherwise reach what only the server can.
    WEBHOOKS.boolean("Hansard_Webhook_Allow_Private_Addresses", false),
    // A delivery that failed this often becomes a dead letter.
    WEBHOOKS.int("Hansard_Webhook_Max_Attempts", 10),
    WEBHOOKS.int("Hansard_Webhook_Timeout_Seconds", 20),
    // In the interval of Rocket.Chat's limiter, and switched with it: calls of an endpoint of Hansard's
    // own, and of everything that no other limit is for.
    RATE_LIMITER.int("Hansard_Rate_Limiter_Limit_Calls", 120),
    RATE_LIMITER.int("Hansard_Rate_Limiter_Limit_Calls_Other", 600),
];
