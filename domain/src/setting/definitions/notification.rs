//! Push and mail.

use super::{Definition, Place};

const SMTP: Place = Place::section("Email", "SMTP");
const EMAIL_PRIVACY: Place = Place::section("Email", "Privacy");
const PUSH: Place = Place::group("Push");
const PUSH_KEYS: Place = Place::section("Push", "Certificates_and_Keys");
const PUSH_PRIVACY: Place = Place::section("Push", "Privacy");

pub(super) static DEFINITIONS: &[Definition] = &[
    SMTP.select("SMTP_Protocol", "smtp", &["smtp", "smtps"]),
    SMTP.string("SMTP_Host", ""),
    SMTP.string("SMTP_Port", ""),
    SMTP.boolean("SMTP_IgnoreTLS", true),
    SMTP.boolean("SMTP_Pool", true),
    SMTP.string("SMTP_Username", "").secret(),
    SMTP.password("SMTP_Password", "").secret(),
    SMTP.string("From_Email", ""),
    EMAIL_PRIVACY
        .boolean("Email_notification_show_message", true)
        .public(),
    PUSH.boolean("Push_enable", true).public(),
    PUSH.boolean("Push_enable_gateway", true),
    PUSH.string("Push_gateway", "https://gateway.rocket.chat"),
    PUSH.boolean("Push_production", true).public(),
    PUSH_KEYS
        .string("Push_gcm_project_number", "")
        .public()
        .secret(),
    PUSH_PRIVACY
        .boolean("Push_show_username_room", true)
        .public(),
    PUSH_PRIVACY.boolean("Push_show_message", true).public(),
];
