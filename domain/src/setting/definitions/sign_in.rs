//! Signing in through somebody else: the switches of `OAuth`, `LDAP` and `CAS` that clients read before
//! a login. Their secrets are not here.

use super::{Definition, Place};

const CAS: Place = Place::group("CAS");
const CAS_LOGIN_LAYOUT: Place = Place::section("CAS", "CAS_Login_Layout");
const LDAP: Place = Place::group("LDAP");
const DRUPAL: Place = Place::section("OAuth", "Drupal");
const APPLE: Place = Place::section("OAuth", "Apple");
const GITHUB_ENTERPRISE: Place = Place::section("OAuth", "GitHub Enterprise");
const GITLAB: Place = Place::section("OAuth", "GitLab");
const NEXTCLOUD: Place = Place::section("OAuth", "Nextcloud");
const TOKENPASS: Place = Place::section("OAuth", "Tokenpass");
const WORDPRESS: Place = Place::section("OAuth", "WordPress");
const DOLPHIN: Place = Place::section("OAuth", "Dolphin");
const FACEBOOK: Place = Place::section("OAuth", "Facebook");
const GOOGLE: Place = Place::section("OAuth", "Google");
const GITHUB: Place = Place::section("OAuth", "GitHub");
const LINKEDIN: Place = Place::section("OAuth", "Linkedin");
const METEOR: Place = Place::section("OAuth", "Meteor");
const TWITTER: Place = Place::section("OAuth", "Twitter");
const PROXY: Place = Place::section("OAuth", "Proxy");

pub(super) static DEFINITIONS: &[Definition] = &[
    CAS.boolean("CAS_enabled", false).public(),
    CAS.string("CAS_base_url", "").public(),
    CAS.string("CAS_login_url", "").public(),
    CAS.boolean("CAS_trust_username", false).public(),
    CAS_LOGIN_LAYOUT.int("CAS_popup_width", 810).public(),
    CAS_LOGIN_LAYOUT.int("CAS_popup_height", 610).public(),
    LDAP.boolean("LDAP_Enable", false).public(),
    LDAP.select("LDAP_Server_Type", "ad", &["ad", ""]).public(),
    DRUPAL.string("API_Drupal_URL", "").public(),
    APPLE.boolean("Accounts_OAuth_Apple", false).public(),
    APPLE.string("Accounts_OAuth_Apple_id", "").public(),
    GITHUB_ENTERPRISE
        .string("API_GitHub_Enterprise_URL", "")
        .public(),
    GITLAB.boolean("Accounts_OAuth_Gitlab", false).public(),
    GITLAB.string("API_Gitlab_URL", "").public().secret(),
    GITLAB
        .string("Accounts_OAuth_Gitlab_identity_path", "/api/v4/user")
        .public(),
    GITLAB
        .boolean("Accounts_OAuth_Gitlab_merge_users", false)
        .public(),
    NEXTCLOUD
        .boolean("Accounts_OAuth_Nextcloud", false)
        .public(),
    NEXTCLOUD
        .string("Accounts_OAuth_Nextcloud_URL", "")
        .public(),
    NEXTCLOUD
        .string("Accounts_OAuth_Nextcloud_button_label_text", "Nextcloud")
        .public(),
    NEXTCLOUD
        .string("Accounts_OAuth_Nextcloud_button_label_color", "#ffffff")
        .public(),
    NEXTCLOUD
        .string("Accounts_OAuth_Nextcloud_button_color", "#0082c9")
        .public(),
    TOKENPASS.string("API_Tokenpass_URL", "").public(),
    WORDPRESS
        .boolean("Accounts_OAuth_Wordpress", false)
        .public(),
    WORDPRESS.string("API_Wordpress_URL", "").public().secret(),
    WORDPRESS
        .select(
            "Accounts_OAuth_Wordpress_server_type",
            "",
            &["", "wordpress-com", "wp-oauth-server", "custom"],
        )
        .public(),
    WORDPRESS
        .string("Accounts_OAuth_Wordpress_identity_path", "")
        .public(),
    WORDPRESS
        .string("Accounts_OAuth_Wordpress_identity_token_sent_via", "")
        .public(),
    WORDPRESS
        .string("Accounts_OAuth_Wordpress_token_path", "")
        .public(),
    WORDPRESS
        .string("Accounts_OAuth_Wordpress_authorize_path", "")
        .public(),
    WORDPRESS
        .string("Accounts_OAuth_Wordpress_scope", "")
        .public(),
    DOLPHIN.string("Accounts_OAuth_Dolphin_URL", "").public(),
    FACEBOOK.boolean("Accounts_OAuth_Facebook", false).public(),
    GOOGLE.boolean("Accounts_OAuth_Google", false).public(),
    GITHUB.boolean("Accounts_OAuth_Github", false).public(),
    LINKEDIN.boolean("Accounts_OAuth_Linkedin", false).public(),
    METEOR.boolean("Accounts_OAuth_Meteor", false).public(),
    TWITTER.boolean("Accounts_OAuth_Twitter", false).public(),
    PROXY
        .string(
            "Accounts_OAuth_Proxy_host",
            "https://oauth-proxy.rocket.chat",
        )
        .public(),
    PROXY.string("Accounts_OAuth_Proxy_services", "").public(),
];
