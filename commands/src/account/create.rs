//! New accounts: by an administrator, or by whoever wants one.

use hansard_domain::account::{
    AccountCommand, AccountKind, Email, PasswordHash, Profile, Registration,
};
use hansard_domain::claim::Namespace;
use hansard_domain::free::FreeObject;
use hansard_domain::id::{RoleId, UserId};
use hansard_domain::limit;
use subtle::ConstantTimeEq;

use super::hashing::Asker;
use super::password::Secret;
use super::{ADMIN, check_roles, names, password, rooms};
use crate::after::AccountAfter;
use crate::bus::{Commands, Done};
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;
use crate::setting;

/// An account as an administrator wants it.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    pub username: String,
    pub name: Option<String>,
    pub email: Option<String>,
    pub verified: bool,
    /// In the clear.
    pub password: Option<String>,
    /// A password that nobody is told opens nothing: until one is set, none is stored.
    pub set_random_password: bool,
    pub require_password_change: bool,
    /// Those of the workspace's settings where there are none.
    pub roles: Vec<RoleId>,
    pub active: Option<bool>,
    pub join_default_channels: bool,
    pub custom_fields: FreeObject,
    pub bio: Option<String>,
    pub nickname: Option<String>,
    pub status_text: Option<String>,
}

/// An account as somebody asks for it.
#[derive(Debug, Clone, Default)]
pub struct Application {
    pub username: String,
    pub name: String,
    pub email: String,
    /// In the clear.
    pub password: String,
    /// What a secret registration address ends with.
    pub secret: Option<String>,
    /// Why they should be let in.
    pub reason: Option<String>,
    pub custom_fields: FreeObject,
}

fn required(field: &str) -> CommandError {
    CommandError::refused(
        "error-the-field-is-required",
        format!("The field {field} is required"),
    )
}

/// Makes an account for somebody.
pub async fn create(
    commands: &Commands,
    caller: &Caller,
    new: NewUser,
) -> Result<Done<AccountAfter>, CommandError> {
    let (secret, roles) = {
        let model = commands.model();
        limit::ROLES.check_count(new.roles.len())?;
        let roles = roles_of(&model, &new.roles);
        check_new(&model, caller, &new, &roles)?;
        let secret = match &new.password {
            Some(password) if !new.set_random_password => Some(Secret::of(password)),
            _ => None,
        };
        (secret, roles)
    };
    let hash = match secret {
        Some(secret) => Some(password::hash(Asker::of(caller), secret).await?),
        None => None,
    };
    let entry = Entry {
        how: Registration::ByAdministrator,
        kind: AccountKind::User,
        active: new.active,
        roles,
        reason: None,
        password_change_required: new.require_password_change || new.set_random_password,
        password: hash,
        join_default_channels: new.join_default_channels,
        profile: Profile {
            username: new.username.trim().to_owned(),
            name: text(new.name.as_deref()),
            emails: emails(new.email.as_deref(), new.verified),
            nickname: text(new.nickname.as_deref()),
            bio: text(new.bio.as_deref()),
            status_text: status_text(new.status_text.as_deref().unwrap_or_default()),
            custom_fields: new.custom_fields.clone().into_inner().into(),
        },
    };
    commands
        .run(caller, move |decision| {
            let (model, caller) = (decision.model(), decision.caller());
            may_create(model, caller, &entry.roles, entry.active)?;
            let id = UserId::new(decision.id());
            enter(decision, &id, entry.clone())?;
            decision.account_after(&id)
        })
        .await
}

/// Roles that whoever makes accounts may give beside those of everybody.
const PLAIN: [&str; 2] = ["user", "guest"];

fn may_create(
    model: &WriteModel,
    caller: &Caller,
    roles: &[RoleId],
    active: Option<bool>,
) -> Result<(), CommandError> {
    model.require_or(
        caller,
        "create-user",
        None,
        "error-action-not-allowed",
        "Adding user is not allowed",
    )?;
    check_roles(model, roles)?;
    if roles.iter().any(|role| role.as_str() == ADMIN) {
        model.require_or(
            caller,
            "assign-admin-role",
            None,
            "error-action-not-allowed",
            "Assigning admin is not allowed",
        )?;
    }
    // Who may only make accounts makes none that may do more than it may itself.
    let usual = roles_of(model, &[]);
    let plain = |role: &RoleId| usual.contains(role) || PLAIN.contains(&role.as_str());
    if !roles.iter().all(plain) {
        model.require_or(
            caller,
            "assign-roles",
            None,
            "error-action-not-allowed",
            "Assigning roles is not allowed",
        )?;
    }
    if active == Some(false) {
        model.require_or(
            caller,
            "edit-other-user-active-status",
            None,
            "error-not-allowed",
            "Not allowed",
        )?;
    }
    Ok(())
}

/// What can be said before the password is hashed.
fn check_new(
    model: &WriteModel,
    caller: &Caller,
    new: &NewUser,
    roles: &[RoleId],
) -> Result<(), CommandError> {
    limit::NAME.check_given(new.name.as_deref())?;
    limit::PASSWORD.check_given(new.password.as_deref())?;
    if !new.custom_fields.is_empty() {
        names::check_custom_fields(model, &new.custom_fields)?;
    }
    may_create(model, caller, roles, new.active)?;
    let blank = |text: &Option<String>| text.as_deref().unwrap_or("").trim().is_empty();
    if model.flag("Accounts_RequireNameForSignUp") && blank(&new.name) {
        return Err(required("Name"));
    }
    let username = new.username.trim();
    if username.is_empty() {
        return Err(required("Username"));
    }
    names::check_form(model, username)?;
    if blank(&new.password) && !new.set_random_password {
        return Err(required("Password"));
    }
    if !names::is_available(model, username)? {
        return Err(names::unavailable(username));
    }
    if let Some(email) = new.email.as_deref().filter(|email| !email.is_empty()) {
        if model.user_by_email(email.trim()).is_some() {
            return Err(names::unavailable(email));
        }
        names::check_email(model, email.trim())?;
    }
    new.bio.as_deref().map_or(Ok(()), names::check_bio)?;
    new.nickname
        .as_deref()
        .map_or(Ok(()), names::check_nickname)
}

/// Makes an account for the one who asks.
pub async fn register(
    commands: &Commands,
    caller: &Caller,
    application: Application,
) -> Result<Done<AccountAfter>, CommandError> {
    let roles = {
        let model = commands.model();
        check_application(&model, &application)?;
        roles_of(&model, &[])
    };
    let hash = password::hash(Asker::of(caller), Secret::of(&application.password)).await?;
    let entry = Entry {
        how: Registration::SelfService,
        kind: AccountKind::User,
        active: None,
        roles,
        reason: application.reason.clone(),
        password_change_required: false,
        password: Some(hash),
        join_default_channels: true,
        profile: Profile {
            username: application.username.trim().to_owned(),
            name: text(Some(&application.name)),
            emails: emails(Some(&application.email.to_lowercase()), false),
            custom_fields: application.custom_fields.clone().into_inner().into(),
            ..Profile::default()
        },
    };
    commands
        .run(caller, move |decision| {
            // The password's hash took its time: registration may be closed by now.
            check_application(decision.model(), &application)?;
            let id = UserId::new(decision.id());
            enter(decision, &id, entry.clone())?;
            decision.account_after(&id)
        })
        .await
}

fn check_application(model: &WriteModel, application: &Application) -> Result<(), CommandError> {
    limit::USERNAME.check(application.username.trim())?;
    limit::NAME.check(&application.name)?;
    limit::PASSWORD.check(&application.password)?;
    limit::REASON.check_given(application.reason.as_deref())?;
    setting::require_all_known(model)?;
    // Before anything is told of who is there.
    match model.text("Accounts_RegistrationForm").as_str() {
        "Disabled" => {
            return Err(CommandError::refused(
                "error-user-registration-disabled",
                "User registration is disabled",
            ));
        }
        "Secret URL" => {
            let expected = model.text("Accounts_RegistrationForm_SecretURL");
            let given = application.secret.as_deref().unwrap_or_default();
            let same: bool = expected.as_bytes().ct_eq(given.as_bytes()).into();
            if expected.is_empty() || !same {
                // On the record, as whoever tries words for it does nothing else.
                return Err(CommandError::denied(
                    "error-user-registration-secret",
                    "User registration is only allowed via Secret URL",
                ));
            }
        }
        _ => {}
    }
    if !names::is_available(model, &application.username)? {
        return Err(CommandError::plain("Username is already in use"));
    }
    if !application.custom_fields.is_empty() {
        names::check_custom_fields(model, &application.custom_fields)?;
    }
    password::check_policy(model, &application.password)?;
    names::check_email(model, application.email.trim())?;
    if model.user_by_email(application.email.trim()).is_some() {
        return Err(CommandError::refused("403", "Email already exists."));
    }
    let username = application.username.trim();
    if username.is_empty() || !names::is_well_formed(model, username) {
        return Err(CommandError::refused(
            "username-invalid",
            format!(
                "{username} is not a valid username, use only letters, numbers, dots, hyphens and \
                 underscores"
            ),
        ));
    }
    Ok(())
}

/// An account on its way in, its password hashed.
#[derive(Clone)]
pub(super) struct Entry {
    pub how: Registration,
    pub kind: AccountKind,
    /// `None` lets the workspace's settings decide.
    pub active: Option<bool>,
    pub roles: Vec<RoleId>,
    pub reason: Option<String>,
    pub password_change_required: bool,
    pub password: Option<PasswordHash>,
    pub join_default_channels: bool,
    pub profile: Profile,
}

/// Takes the names, makes the account, and lets it into the default rooms.
pub(super) fn enter(
    decision: &mut Decision<'_>,
    id: &UserId,
    entry: Entry,
) -> Result<(), CommandError> {
    decision.claim(Namespace::Username, &entry.profile.username, id.as_str())?;
    for email in &entry.profile.emails {
        decision.claim(Namespace::Email, &email.address, id.as_str())?;
    }
    let manual = decision.model().flag("Accounts_ManuallyApproveNewUsers");
    let active = entry.active.unwrap_or(!manual);
    let (key, at) = (decision.fresh_key()?, decision.now());
    decision.account(
        id,
        AccountCommand::Register {
            key,
            how: entry.how,
            kind: entry.kind,
            roles: entry.roles,
            active,
            reason: entry.reason.filter(|_| !active),
            password_change_required: entry.password_change_required,
            profile: entry.profile,
            password: entry.password,
            at,
        },
    )?;
    if entry.join_default_channels {
        rooms::join_defaults(decision, id)?;
    }
    Ok(())
}

fn roles_of(model: &WriteModel, asked: &[RoleId]) -> Vec<RoleId> {
    if !asked.is_empty() {
        let mut roles = Vec::with_capacity(asked.len());
        for role in asked {
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        return roles;
    }
    let roles = model.text("Accounts_Registration_Users_Default_Roles");
    roles
        .split(',')
        .map(str::trim)
        .filter(|role| !role.is_empty())
        .map(RoleId::new)
        .filter(|role| model.role(role).is_some())
        .collect()
}

/// A status text as it is kept: what is too long of it is cut off, as Rocket.Chat does.
pub(super) fn status_text(text: &str) -> String {
    limit::cut(text.trim(), &limit::STATUS_TEXT).to_owned()
}

pub(super) fn text(text: Option<&str>) -> Option<String> {
    text.map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn emails(address: Option<&str>, verified: bool) -> Vec<Email> {
    text(address)
        .map(|address| Email { address, verified })
        .into_iter()
        .collect()
}
