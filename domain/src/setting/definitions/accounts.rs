//! The group `Accounts`: who may register and log in, what people may change about themselves, and
//! what a password has to be. What a person's client does by default lives in `preferences`.

use super::{Definition, Place};

const TWO_FACTOR: Place = Place::section("Accounts", "Two Factor Authentication");
const LOGIN_ATTEMPTS: Place = Place::section("Accounts", "Login_Attempts");
const LOGIN_LOGS: Place = Place::section("Accounts", "Login_Logs");
const IFRAME: Place = Place::section("Accounts", "Iframe");
const ACCOUNTS: Place = Place::group("Accounts");
const REGISTRATION: Place = Place::section("Accounts", "Registration");
const AVATAR: Place = Place::section("Accounts", "Avatar");
const PASSWORD_POLICY: Place = Place::section("Accounts", "Password_Policy");
const PASSWORD_HISTORY: Place = Place::section("Accounts", "Password_History");
const DEVICE_MANAGEMENT: Place = Place::group("Device_Management");

pub(super) static DEFINITIONS: &[Definition] = &[
    TWO_FACTOR
        .boolean("Accounts_TwoFactorAuthentication_Enabled", true)
        .public(),
    TWO_FACTOR.int("Accounts_TwoFactorAuthentication_MaxDelta", 1),
    TWO_FACTOR
        .boolean("Accounts_TwoFactorAuthentication_By_TOTP_Enabled", true)
        .public(),
    TWO_FACTOR
        .boolean("Accounts_TwoFactorAuthentication_By_Email_Enabled", true)
        .public(),
    TWO_FACTOR.boolean(
        "Accounts_TwoFactorAuthentication_By_Email_Auto_Opt_In",
        true,
    ),
    TWO_FACTOR.int(
        "Accounts_TwoFactorAuthentication_By_Email_Code_Expiration",
        3600,
    ),
    TWO_FACTOR.int(
        "Accounts_TwoFactorAuthentication_Max_Invalid_Email_Code_Attempts",
        5,
    ),
    TWO_FACTOR.int("Accounts_TwoFactorAuthentication_RememberFor", 1800),
    TWO_FACTOR
        .boolean(
            "Accounts_TwoFactorAuthentication_Enforce_Password_Fallback",
            true,
        )
        .public(),
    LOGIN_ATTEMPTS.boolean("Block_Multiple_Failed_Logins_Enabled", true),
    LOGIN_ATTEMPTS.boolean("Block_Multiple_Failed_Logins_By_User", true),
    LOGIN_ATTEMPTS.int(
        "Block_Multiple_Failed_Logins_Attempts_Until_Block_by_User",
        10,
    ),
    LOGIN_ATTEMPTS
        .int(
            "Block_Multiple_Failed_Logins_Time_To_Unblock_By_User_In_Minutes",
            5,
        )
        .fractional(),
    LOGIN_ATTEMPTS.boolean("Block_Multiple_Failed_Logins_By_Ip", true),
    LOGIN_ATTEMPTS.int(
        "Block_Multiple_Failed_Logins_Attempts_Until_Block_By_Ip",
        50,
    ),
    LOGIN_ATTEMPTS
        .int(
            "Block_Multiple_Failed_Logins_Time_To_Unblock_By_Ip_In_Minutes",
            5,
        )
        .fractional(),
    LOGIN_ATTEMPTS.string("Block_Multiple_Failed_Logins_Ip_Whitelist", ""),
    LOGIN_ATTEMPTS.boolean("Block_Multiple_Failed_Logins_Notify_Failed", false),
    LOGIN_ATTEMPTS.string("Block_Multiple_Failed_Logins_Notify_Failed_Channel", ""),
    LOGIN_LOGS.boolean("Login_Logs_Enabled", false),
    LOGIN_LOGS.boolean("Login_Logs_Username", false),
    LOGIN_LOGS.boolean("Login_Logs_UserAgent", false),
    LOGIN_LOGS.boolean("Login_Logs_ClientIp", false),
    LOGIN_LOGS.boolean("Login_Logs_ForwardedForIp", false),
    IFRAME.boolean("Accounts_iframe_enabled", false).public(),
    IFRAME.string("Accounts_iframe_url", "").public(),
    IFRAME.string("Accounts_Iframe_api_url", "").public(),
    IFRAME.string("Accounts_Iframe_api_method", "POST").public(),
    ACCOUNTS
        .boolean("Accounts_AllowAnonymousRead", false)
        .public(),
    ACCOUNTS
        .boolean("Accounts_AllowAnonymousWrite", false)
        .public(),
    ACCOUNTS
        .boolean("Accounts_AllowDeleteOwnAccount", false)
        .public(),
    ACCOUNTS
        .boolean("Accounts_AllowUserProfileChange", true)
        .public(),
    ACCOUNTS
        .boolean("Accounts_AllowUserAvatarChange", true)
        .public(),
    ACCOUNTS
        .boolean("Accounts_AllowRealNameChange", true)
        .public(),
    ACCOUNTS
        .boolean("Accounts_AllowUserStatusMessageChange", true)
        .public(),
    ACCOUNTS
        .boolean("Accounts_AllowUsernameChange", true)
        .public(),
    ACCOUNTS.boolean("Accounts_AllowEmailChange", true).public(),
    ACCOUNTS
        .boolean("Accounts_AllowPasswordChange", true)
        .public(),
    ACCOUNTS
        .boolean("Accounts_AllowPasswordChangeForOAuthUsers", true)
        .public(),
    ACCOUNTS
        .boolean("Accounts_AllowEmailNotifications", true)
        .public(),
    ACCOUNTS
        .boolean("Accounts_AllowFeaturePreview", false)
        .public(),
    ACCOUNTS
        .string("Accounts_CustomFieldsToShowInUserInfo", "")
        .public(),
    ACCOUNTS.int("Accounts_LoginExpiration", 90).public(),
    ACCOUNTS
        .string("Accounts_EmailOrUsernamePlaceholder", "")
        .public(),
    ACCOUNTS.string("Accounts_PasswordPlaceholder", "").public(),
    ACCOUNTS
        .string("Accounts_ConfirmPasswordPlaceholder", "")
        .public(),
    ACCOUNTS
        .boolean("Accounts_ForgetUserSessionOnWindowClose", false)
        .public(),
    ACCOUNTS.string("Accounts_SearchFields", "username, name, bio, nickname"),
    ACCOUNTS
        .select(
            "Accounts_Directory_DefaultView",
            "channels",
            &["channels", "users"],
        )
        .public(),
    ACCOUNTS
        .boolean("Accounts_AllowInvisibleStatusOption", true)
        .public(),
    REGISTRATION.boolean("Accounts_Send_Email_When_Activating", true),
    REGISTRATION.boolean("Accounts_Send_Email_When_Deactivating", true),
    REGISTRATION.string("Accounts_DefaultUsernamePrefixSuggestion", "user"),
    REGISTRATION
        .boolean("Accounts_RequireNameForSignUp", true)
        .public(),
    REGISTRATION
        .boolean("Accounts_RequirePasswordConfirmation", true)
        .public(),
    REGISTRATION
        .boolean("Accounts_EmailVerification", false)
        .public(),
    REGISTRATION.boolean("Accounts_Verify_Email_For_External_Accounts", true),
    REGISTRATION
        .boolean("Accounts_ManuallyApproveNewUsers", false)
        .public(),
    REGISTRATION
        .string("Accounts_AllowedDomainsList", "")
        .public(),
    REGISTRATION.string("Accounts_BlockedDomainsList", ""),
    REGISTRATION.string("Accounts_BlockedUsernameList", ""),
    REGISTRATION
        .string(
            "Accounts_SystemBlockedUsernameList",
            "admin,administrator,system,user",
        )
        .hidden(),
    REGISTRATION.boolean("Accounts_UseDefaultBlockedDomainsList", true),
    REGISTRATION.boolean("Accounts_UseDNSDomainCheck", false),
    REGISTRATION
        .select(
            "Accounts_RegistrationForm",
            "Public",
            &["Public", "Disabled", "Secret URL"],
        )
        .public(),
    REGISTRATION
        .supplied("Accounts_RegistrationForm_SecretURL")
        .secret(),
    REGISTRATION.select(
        "Accounts_Registration_InviteUrlType",
        "proxy",
        &["direct", "proxy"],
    ),
    REGISTRATION
        .string(
            "Accounts_RegistrationForm_LinkReplacementText",
            "Registration is closed",
        )
        .public(),
    REGISTRATION
        .boolean("Accounts_Registration_AuthenticationServices_Enabled", true)
        .public(),
    REGISTRATION.string(
        "Accounts_Registration_AuthenticationServices_Default_Roles",
        "user",
    ),
    REGISTRATION
        .string("Accounts_Registration_Users_Default_Roles", "user")
        .public(),
    REGISTRATION
        .boolean("Accounts_PasswordReset", true)
        .public(),
    REGISTRATION.code("Accounts_CustomFields", "").public(),
    AVATAR.boolean("Accounts_AvatarResize", true),
    AVATAR.int("Accounts_AvatarSize", 200),
    AVATAR
        .string("Accounts_AvatarExternalProviderUrl", "")
        .public(),
    AVATAR
        .string("Accounts_RoomAvatarExternalProviderUrl", "")
        .public(),
    AVATAR.int("Accounts_AvatarCacheTime", 3600),
    AVATAR
        .boolean("Accounts_AvatarBlockUnauthenticatedAccess", true)
        .public(),
    AVATAR.boolean("Accounts_SetDefaultAvatar", true),
    PASSWORD_POLICY
        .boolean("Accounts_Password_Policy_Enabled", false)
        .public(),
    PASSWORD_POLICY
        .int("Accounts_Password_Policy_MinLength", 7)
        .public(),
    PASSWORD_POLICY
        .int("Accounts_Password_Policy_MaxLength", -1)
        .public(),
    PASSWORD_POLICY
        .boolean("Accounts_Password_Policy_ForbidRepeatingCharacters", true)
        .public(),
    PASSWORD_POLICY
        .int("Accounts_Password_Policy_ForbidRepeatingCharactersCount", 3)
        .public(),
    PASSWORD_POLICY
        .boolean("Accounts_Password_Policy_AtLeastOneLowercase", true)
        .public(),
    PASSWORD_POLICY
        .boolean("Accounts_Password_Policy_AtLeastOneUppercase", true)
        .public(),
    PASSWORD_POLICY
        .boolean("Accounts_Password_Policy_AtLeastOneNumber", true)
        .public(),
    PASSWORD_POLICY
        .boolean("Accounts_Password_Policy_AtLeastOneSpecialCharacter", true)
        .public(),
    PASSWORD_HISTORY.boolean("Accounts_Password_History_Enabled", false),
    PASSWORD_HISTORY.int("Accounts_Password_History_Amount", 5),
    DEVICE_MANAGEMENT
        .boolean("Device_Management_Enable_Login_Emails", true)
        .public(),
    DEVICE_MANAGEMENT
        .boolean("Device_Management_Allow_Login_Email_preference", true)
        .public(),
];
