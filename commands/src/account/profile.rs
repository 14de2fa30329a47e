//! Changes of who an account is: by an administrator, or by its user.

use std::sync::Arc;

use hansard_domain::account::{Account, AccountCommand, Email, PasswordHash, Presence, Profile};
use hansard_domain::claim::{Namespace, same_name};
use hansard_domain::fair;
use hansard_domain::free::FreeObject;
use hansard_domain::id::{RoleId, UserId};
use hansard_domain::limit::{self, OutOfBounds};
use serde_json::{Map, json};
use tracing::Instrument as _;

use super::create::text;
use super::guessing::FailedLogins;
use super::hashing::Asker;
use super::password::Secret;
use super::status::{change_active, change_status};
use super::{ADMIN, check_roles, existing, is_last_admin, login, names, password};
use crate::after::AccountAfter;
use crate::bus::{Commands, Done};
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;

/// What an administrator changes of an account; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    pub username: Option<String>,
    pub name: Option<String>,
    pub email: Option<String>,
    pub verified: Option<bool>,
    /// In the clear.
    pub password: Option<String>,
    pub roles: Option<Vec<RoleId>>,
    pub active: Option<bool>,
    /// That the account may lose rooms it alone owns.
    pub confirmed: bool,
    pub require_password_change: Option<bool>,
    pub bio: Option<String>,
    pub nickname: Option<String>,
    pub status_text: Option<String>,
    pub custom_fields: Option<FreeObject>,
    /// The preference of this name.
    pub language: Option<String>,
    /// See [`OwnChange::current_password`]; for the caller's own account alone.
    pub current_password: Option<String>,
}

/// What a user changes of its own account; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OwnChange {
    pub username: Option<String>,
    pub name: Option<String>,
    pub email: Option<String>,
    /// In the clear.
    pub new_password: Option<String>,
    /// The hexadecimal SHA-256 of the password of now; a change of email or password takes it.
    pub current_password: Option<String>,
    pub bio: Option<String>,
    pub nickname: Option<String>,
    pub status_text: Option<String>,
    pub presence: Option<Presence>,
    pub custom_fields: Option<FreeObject>,
}

impl UserChange {
    fn check_size(&self) -> Result<(), OutOfBounds> {
        limit::USERNAME.check_given(self.username.as_deref())?;
        limit::NAME.check_given(self.name.as_deref())?;
        limit::EMAIL.check_given(self.email.as_deref())?;
        limit::PASSWORD.check_given(self.password.as_deref())?;
        limit::LANGUAGE.check_given(self.language.as_deref())?;
        limit::ROLES.check_count(self.roles.as_ref().map_or(0, Vec::len))
    }
}

impl OwnChange {
    fn check_size(&self) -> Result<(), OutOfBounds> {
        limit::USERNAME.check_given(self.username.as_deref())?;
        limit::NAME.check_given(self.name.as_deref())?;
        limit::EMAIL.check_given(self.email.as_deref())?;
        limit::PASSWORD.check_given(self.new_password.as_deref())
    }
}

const OTHERS_PASSWORD: &str = "edit-other-user-password";

/// The code of what is refused to an account that has to change its password first.
pub const PASSWORD_CHANGE_REQUIRED: &str = "error-password-change-required";

fn not_allowed(reason: &str) -> CommandError {
    CommandError::refused("error-action-not-allowed", reason)
}

fn not_saved() -> CommandError {
    CommandError::refused(
        "error-could-not-save-identity",
        "Could not save user identity",
    )
}

/// A field that a setting may keep users from changing.
struct Guarded {
    changed: bool,
    setting: &'static str,
    reason: &'static str,
    /// The permission with which one may change it in other accounts all the same.
    permission: &'static str,
}

/// Refuses changes that the workspace's settings do not allow the caller.
fn check_settings(
    model: &WriteModel,
    caller: &Caller,
    user: &UserId,
    fields: &[Guarded],
) -> Result<(), CommandError> {
    let own = caller.user.as_ref() == Some(user);
    let may = |permission| model.allows(caller, permission, None);
    if !model.flag("Accounts_AllowUserProfileChange")
        && !may("edit-other-user-info")
        && !may("edit-other-user-password")
    {
        return Err(not_allowed("Edit user profile is not allowed"));
    }
    let refused = |field: &&Guarded| {
        field.changed && !model.flag(field.setting) && (own || !may(field.permission))
    };
    match fields.iter().find(refused) {
        Some(field) if own => Err(not_allowed(field.reason)),
        Some(field) => Err(CommandError::denied(
            "error-action-not-allowed",
            field.reason,
        )),
        None => Ok(()),
    }
}

fn guarded(
    account: &Account,
    username: Option<&str>,
    status_text: Option<&str>,
    name: Option<&str>,
    email: Option<&str>,
    password: bool,
) -> [Guarded; 5] {
    const INFO: &str = "edit-other-user-info";
    let profile = &account.profile;
    let differs = |new: Option<&str>, old: Option<&str>| new.is_some() && new != old;
    let address = profile.emails.first().map(|email| email.address.as_str());
    let field = |changed, setting, reason, permission| Guarded {
        changed,
        setting,
        reason,
        permission,
    };
    [
        field(
            differs(username, Some(&profile.username)),
            "Accounts_AllowUsernameChange",
            "Edit username is not allowed",
            INFO,
        ),
        field(
            differs(status_text, Some(&profile.status_text)),
            "Accounts_AllowUserStatusMessageChange",
            "Edit user status is not allowed",
            INFO,
        ),
        field(
            differs(name, profile.name.as_deref()),
            "Accounts_AllowRealNameChange",
            "Edit user real name is not allowed",
            INFO,
        ),
        field(
            address.is_some() && differs(email, address),
            "Accounts_AllowEmailChange",
            "Edit user email is not allowed",
            INFO,
        ),
        field(
            password,
            "Accounts_AllowPasswordChange",
            "Edit user password is not allowed",
            "edit-other-user-password",
        ),
    ]
}

/// What is new about a profile.
#[derive(Clone, Copy, Default)]
struct Identity<'a> {
    username: Option<&'a str>,
    name: Option<&'a str>,
    email: Option<&'a str>,
    verified: Option<bool>,
    bio: Option<&'a str>,
    nickname: Option<&'a str>,
    custom_fields: Option<&'a FreeObject>,
}

/// Changes the profile and the claims that go with it.
fn change_identity(
    decision: &mut Decision<'_>,
    user: &UserId,
    new: Identity<'_>,
) -> Result<(), CommandError> {
    let model = decision.model();
    let old = existing(model, user)?.profile.clone();
    let mut profile = old.clone();
    if let Some(username) = new.username.map(str::trim)
        && username != old.username
    {
        if names::is_reserved(model, username) || !names::is_well_formed(model, username) {
            return Err(not_saved());
        }
        let same_letters = same_name(username, &old.username);
        if !same_letters && !names::is_available(model, username)? {
            return Err(not_saved());
        }
        username.clone_into(&mut profile.username);
    }
    if let Some(name) = new.name {
        if name.trim().is_empty() {
            return Err(not_saved());
        }
        profile.name = text(Some(name));
    }
    if let Some(address) = new.email.map(str::trim).filter(|email| !email.is_empty()) {
        change_email(model, user, &mut profile, address)?;
    }
    if let (Some(verified), Some(email)) = (new.verified, profile.emails.first_mut()) {
        email.verified = verified;
    }
    if let Some(bio) = new.bio {
        names::check_bio(bio)?;
        profile.bio = text(Some(bio));
    }
    if let Some(nickname) = new.nickname {
        names::check_nickname(nickname)?;
        profile.nickname = text(Some(nickname));
    }
    if let Some(fields) = new.custom_fields {
        names::check_custom_fields(model, fields)?;
        profile.custom_fields =
            names::merged(&old.custom_fields, fields.clone(), &limit::ACCOUNT_FIELDS)?.into();
    }
    move_claims(decision, user, &old, &profile)?;
    decision.account(user, AccountCommand::ChangeProfile(profile))
}

fn change_email(
    model: &WriteModel,
    user: &UserId,
    profile: &mut Profile,
    address: &str,
) -> Result<(), CommandError> {
    let first = profile.emails.first().map(|email| email.address.as_str());
    if first == Some(address) {
        return Ok(());
    }
    names::check_email(model, address)?;
    if model
        .user_by_email(address)
        .is_some_and(|holder| holder != user)
    {
        return Err(names::unavailable(address));
    }
    profile.emails = vec![Email {
        address: address.to_owned(),
        verified: false,
    }];
    Ok(())
}

fn move_claims(
    decision: &mut Decision<'_>,
    user: &UserId,
    old: &Profile,
    new: &Profile,
) -> Result<(), CommandError> {
    if !same_name(&old.username, &new.username) {
        decision.claim(Namespace::Username, &new.username, user.as_str())?;
        decision.release(Namespace::Username, &old.username, user.as_str())?;
    }
    let addresses = |profile: &Profile| -> Vec<String> {
        let emails = profile.emails.iter();
        emails.map(|email| email.address.to_lowercase()).collect()
    };
    let (before, after) = (addresses(old), addresses(new));
    for address in after.iter().filter(|address| !before.contains(address)) {
        decision.claim(Namespace::Email, address, user.as_str())?;
    }
    for address in before.iter().filter(|address| !after.contains(address)) {
        decision.release(Namespace::Email, address, user.as_str())?;
    }
    Ok(())
}

/// Changes an account as an administrator wants it.
pub async fn update(
    commands: &Commands,
    failed: &FailedLogins,
    caller: &Caller,
    user: UserId,
    change: UserChange,
) -> Result<Done<AccountAfter>, CommandError> {
    change.check_size()?;
    check_update(&commands.model(), caller, &user, &change)?;
    let own = caller.user.as_ref() == Some(&user);
    if own && opens(&commands.model(), &user, &change.email, &change.password) {
        prove(commands, failed, caller, change.current_password.as_deref()).await?;
    }
    let password = change.password.as_deref().unwrap_or("").trim();
    let secret = {
        let model = commands.model();
        let may = model.allows(caller, OTHERS_PASSWORD, None);
        if may && !password.is_empty() {
            password::check_policy(&model, password)?;
            Some(Secret::of(password))
        } else {
            None
        }
    };
    let hash = match secret {
        Some(secret) => Some(password::hash(Asker::of(caller), secret).await?),
        None => None,
    };
    commands
        .run(caller, move |decision| {
            let (model, caller) = (decision.model(), decision.caller());
            check_update(model, caller, &user, &change)?;
            let may = model.allows(caller, OTHERS_PASSWORD, None);
            carry_out(decision, &user, &change, hash.as_ref().filter(|_| may))?;
            decision.account_after(&user)
        })
        .await
}

fn check_update(
    model: &WriteModel,
    caller: &Caller,
    user: &UserId,
    change: &UserChange,
) -> Result<(), CommandError> {
    let own = caller.user.as_ref() == Some(user);
    if own && change.verified == Some(true) {
        return Err(not_allowed("Editing email verification is not allowed"));
    }
    let require = |permission, reason| {
        model.require_or(caller, permission, None, "error-action-not-allowed", reason)
    };
    if !own {
        require("edit-other-user-info", "Editing user is not allowed")?;
    }
    let account = existing(model, user)?;
    // Nobody lets itself, or a thief of its session, off what a change of the password takes.
    if own && change.require_password_change.is_some() {
        require(
            OTHERS_PASSWORD,
            "Requiring a password change is not allowed",
        )?;
    }
    if let Some(roles) = &change.roles {
        check_roles(model, roles)?;
        let held = |role: &RoleId| account.roles.contains(role);
        if roles.iter().any(|role| role.as_str() == ADMIN) {
            require("assign-admin-role", "Assigning admin is not allowed")?;
        } else if is_last_admin(model, user) {
            return Err(not_allowed("Leaving the app without admins is not allowed"));
        }
        if !roles.iter().all(held) || account.roles.iter().any(|role| !roles.contains(role)) {
            require("assign-roles", "Assign roles is not allowed")?;
        }
    }
    if let Some(username) = &change.username {
        names::check_form(model, username)?;
    }
    let password = change.password.as_deref().unwrap_or("");
    let fields = guarded(
        account,
        change.username.as_deref(),
        change.status_text.as_deref(),
        change.name.as_deref(),
        change.email.as_deref(),
        !password.is_empty(),
    );
    check_settings(model, caller, user, &fields)
}

fn carry_out(
    decision: &mut Decision<'_>,
    user: &UserId,
    change: &UserChange,
    hash: Option<&PasswordHash>,
) -> Result<(), CommandError> {
    change_identity(
        decision,
        user,
        Identity {
            username: change.username.as_deref(),
            name: change.name.as_deref(),
            email: change.email.as_deref(),
            verified: change.verified,
            bio: change.bio.as_deref(),
            nickname: change.nickname.as_deref(),
            custom_fields: change.custom_fields.as_ref(),
        },
    )?;
    if let Some(text) = &change.status_text {
        change_status(decision, user, None, Some(text))?;
    }
    let account = existing(decision.model(), user)?;
    let required = change
        .require_password_change
        .unwrap_or(account.password_change_required && hash.is_none());
    let password = hash.or(account.password.as_ref()).cloned();
    let demanded = required != account.password_change_required;
    if let Some(password) = password.filter(|_| hash.is_some() || demanded) {
        let change_required = required;
        decision.account(
            user,
            AccountCommand::ChangePassword {
                password,
                change_required,
            },
        )?;
    }
    if hash.is_some() {
        // Whoever knew the old password is out; who changes their own stays in.
        let caller = decision.caller();
        let own = caller.user.as_ref() == Some(user);
        let kept = caller.token.clone().filter(|_| own);
        decision.account(
            user,
            AccountCommand::EndSessions {
                kept,
                personal_access_tokens: !own,
            },
        )?;
    }
    if let Some(roles) = &change.roles {
        change_roles(decision, user, roles)?;
    }
    if let Some(language) = &change.language {
        let language = Map::from_iter([("language".to_owned(), language.as_str().into())]);
        change_preferences(decision, user, FreeObject::parse(language)?)?;
    }
    if let Some(active) = change.active
        && active != existing(decision.model(), user)?.active
    {
        decision.model().require_or(
            decision.caller(),
            "edit-other-user-active-status",
            None,
            "error-not-allowed",
            "Not allowed",
        )?;
        change_active(decision, user, active, change.confirmed)?;
    }
    Ok(())
}

/// Gives an account exactly these roles.
fn change_roles(
    decision: &mut Decision<'_>,
    user: &UserId,
    roles: &[RoleId],
) -> Result<(), CommandError> {
    let held = existing(decision.model(), user)?.roles.clone();
    for role in held.iter().filter(|role| !roles.contains(role)) {
        decision.account(user, AccountCommand::RevokeRole(role.clone()))?;
    }
    for (place, role) in roles.iter().enumerate() {
        if !held.contains(role) && !roles[..place].contains(role) {
            decision.account(user, AccountCommand::GrantRole(role.clone()))?;
        }
    }
    Ok(())
}

/// Changes the caller's own account. A new password ends the other sessions.
pub async fn update_own(
    commands: &Commands,
    failed: &Arc<FailedLogins>,
    caller: &Caller,
    change: OwnChange,
) -> Result<Done<AccountAfter>, CommandError> {
    let user = caller.user_id()?.clone();
    change.check_size()?;
    check_own(&commands.model(), caller, &user, &change)?;
    if opens(
        &commands.model(),
        &user,
        &change.email,
        &change.new_password,
    ) {
        prove(commands, failed, caller, change.current_password.as_deref()).await?;
    }
    let new = change.new_password.clone().filter(|new| !new.is_empty());
    let Some(new) = new else {
        return run_own(commands, caller, user, change, None).await;
    };
    // In this order: what breaks the policy is no way to try passwords.
    password::check_policy(&commands.model(), &new)?;
    // It goes on where the client goes away, who may have seen by the time it takes whether it was right.
    let (commands, failed, caller) = (commands.clone(), failed.clone(), caller.clone());
    let changing =
        async move { change_own_password(&commands, &failed, &caller, user, change, new).await };
    let changing = fair::for_the_same(changing).in_current_span();
    tokio::spawn(changing).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a change of a password ended badly");
        Err(CommandError::Broken)
    })
}

/// Whether the new password is that of now is a way to try passwords as long as nothing comes of the change:
/// it is counted like one then.
async fn change_own_password(
    commands: &Commands,
    failed: &FailedLogins,
    caller: &Caller,
    user: UserId,
    change: OwnChange,
    new: String,
) -> Result<Done<AccountAfter>, CommandError> {
    let attempt = login::admit_own(commands, failed, caller).await?;
    let current = existing(&commands.model(), &user)?.password.clone();
    if password::verify(Asker::of(caller), Secret::of(&new), current).await? {
        return Err(CommandError::refused(
            "error-password-same-as-current",
            "Entered password same as current password",
        ));
    }
    let changed = async {
        let hash = password::hash(Asker::of(caller), Secret::of(&new)).await?;
        run_own(commands, caller, user, change, Some(hash)).await
    };
    let changed = changed.await;
    // What the server could not do for want of room is nobody's guess.
    let came_to_nothing = matches!(
        &changed,
        Err(CommandError::Refused { .. } | CommandError::Denied { .. } | CommandError::NotLoggedIn)
    );
    if came_to_nothing {
        login::failed_own(commands, failed, caller).await?;
    }
    drop(attempt);
    changed
}

async fn run_own(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
    change: OwnChange,
    hash: Option<PasswordHash>,
) -> Result<Done<AccountAfter>, CommandError> {
    commands
        .run(caller, move |decision| {
            check_own(decision.model(), decision.caller(), &user, &change)?;
            carry_out_own(decision, &user, &change, hash.as_ref())?;
            decision.account_after(&user)
        })
        .await
}

/// Whether a change of one's own account concerns what opens it, so that it takes the password of now
/// where the workspace asks for second proofs. An address that stays the same concerns nothing.
fn opens(
    model: &WriteModel,
    user: &UserId,
    email: &Option<String>,
    password: &Option<String>,
) -> bool {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let address = model.account(user).and_then(|account| {
        let first = account.profile.emails.first();
        first.map(|email| email.address.clone())
    });
    let moved = given(email).is_some_and(|email| Some(email) != address);
    model.flag("Accounts_TwoFactorAuthentication_Enabled") && (moved || given(password).is_some())
}

/// Asks for the password of now.
async fn prove(
    commands: &Commands,
    failed: &FailedLogins,
    caller: &Caller,
    given: Option<&str>,
) -> Result<(), CommandError> {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Err(CommandError::refused_with(
            "totp-required",
            "TOTP Required",
            json!({ "method": "password", "codeGenerated": false, "availableMethods": [] }),
        ));
    };
    let secret = Secret::of_digest(given).unwrap_or_else(|| Secret::of(given));
    if login::confirm(commands, failed, caller, secret).await? {
        return Ok(());
    }
    Err(CommandError::refused_with(
        "totp-invalid",
        "TOTP Invalid",
        json!({ "method": "password" }),
    ))
}

fn check_own(
    model: &WriteModel,
    caller: &Caller,
    user: &UserId,
    change: &OwnChange,
) -> Result<(), CommandError> {
    let account = existing(model, user)?;
    let new_password = change.new_password.as_deref();
    let new_password = new_password.is_some_and(|new| !new.is_empty());
    if account.must_change_password() {
        // What has to be changed may be, whatever the workspace's settings say of it, and nothing else.
        let alone = OwnChange {
            new_password: change.new_password.clone(),
            current_password: change.current_password.clone(),
            ..OwnChange::default()
        };
        if new_password && *change == alone {
            return Ok(());
        }
        return Err(CommandError::refused(
            PASSWORD_CHANGE_REQUIRED,
            "Change the password first, and it alone: \"newPassword\" and \"currentPassword\"",
        ));
    }
    if !model.flag("Accounts_AllowUserProfileChange") {
        return Err(CommandError::refused("error-not-allowed", "Not allowed"));
    }
    let fields = guarded(
        account,
        change.username.as_deref(),
        change.status_text.as_deref(),
        change.name.as_deref(),
        change.email.as_deref(),
        new_password,
    );
    check_settings(model, caller, user, &fields)
}

fn carry_out_own(
    decision: &mut Decision<'_>,
    user: &UserId,
    change: &OwnChange,
    hash: Option<&PasswordHash>,
) -> Result<(), CommandError> {
    fn filled(text: Option<&String>) -> Option<&str> {
        text.map(String::as_str).filter(|text| !text.is_empty())
    }
    change_identity(
        decision,
        user,
        Identity {
            username: filled(change.username.as_ref()),
            name: filled(change.name.as_ref()),
            email: filled(change.email.as_ref()),
            verified: None,
            bio: change.bio.as_deref(),
            nickname: change.nickname.as_deref(),
            custom_fields: change.custom_fields.as_ref(),
        },
    )?;
    change_status(
        decision,
        user,
        change.presence,
        change.status_text.as_deref(),
    )?;
    if let Some(password) = hash.cloned() {
        decision.account(
            user,
            AccountCommand::ChangePassword {
                password,
                change_required: false,
            },
        )?;
        let kept = decision.caller().token.clone();
        decision.account(
            user,
            AccountCommand::EndSessions {
                kept,
                personal_access_tokens: false,
            },
        )?;
    }
    Ok(())
}

/// Changes preferences; of another account it takes `edit-other-user-info`.
pub async fn set_preferences(
    commands: &Commands,
    caller: &Caller,
    user: UserId,
    preferences: FreeObject,
) -> Result<Done<AccountAfter>, CommandError> {
    commands
        .run(caller, move |decision| {
            let model = decision.model();
            if decision.caller().user.as_ref() != Some(&user) {
                model.require_or(
                    decision.caller(),
                    "edit-other-user-info",
                    None,
                    "error-action-not-allowed",
                    "Editing user is not allowed",
                )?;
            }
            if model.account(&user).is_none() {
                return Err(CommandError::refused(
                    "error-invalid-user",
                    "The optional \"userId\" param provided does not match any users",
                ));
            }
            change_preferences(decision, &user, preferences.clone())?;
            decision.account_after(&user)
        })
        .await
}

/// Puts preferences over those that an account has.
fn change_preferences(
    decision: &mut Decision<'_>,
    user: &UserId,
    changes: FreeObject,
) -> Result<(), CommandError> {
    let held = &existing(decision.model(), user)?.preferences;
    let preferences = names::merged(held, changes, &limit::PREFERENCES)?;
    decision.account(user, AccountCommand::ChangePreferences(preferences))
}
