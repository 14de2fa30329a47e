//! What a username, a name, an email address and custom fields must look like.

use hansard_domain::account::Account;
use hansard_domain::free::{FreeObject, KeptObject};
use hansard_domain::limit::{self, Limit};
use regex::Regex;
use serde_json::{Map, Value};

use crate::error::CommandError;
use crate::model::WriteModel;

/// Names that would be taken for a mention of everybody.
const MENTIONS: [&str; 2] = ["all", "here"];

/// Whether a username has the form that the workspace allows.
pub fn is_well_formed(model: &WriteModel, username: &str) -> bool {
    if limit::USERNAME.check(username).is_err() {
        return false;
    }
    let allowed = model.text("UTF8_User_Names_Validation");
    let allowed = Regex::new(&format!("^(?:{allowed})$"));
    allowed.map_or_else(
        |_| {
            let plain = |character: char| {
                character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
            };
            !username.is_empty() && username.chars().all(plain)
        },
        |allowed| allowed.is_match(username),
    )
}

/// Refuses a username of another form.
pub fn check_form(model: &WriteModel, username: &str) -> Result<(), CommandError> {
    limit::USERNAME.check(username)?;
    if is_well_formed(model, username) {
        return Ok(());
    }
    Err(CommandError::refused(
        "error-input-is-not-a-valid-field",
        format!("{username} is not a valid username"),
    ))
}

fn listed(list: &str, name: &str) -> bool {
    let name = name.trim().to_lowercase();
    list.split(',')
        .any(|entry| entry.trim().to_lowercase() == name && !name.is_empty())
}

/// Whether the name is one of the server's own, which nobody may take.
pub fn is_reserved(model: &WriteModel, username: &str) -> bool {
    listed(&model.text("Accounts_SystemBlockedUsernameList"), username)
}

/// Refuses a username that nobody may have.
pub fn check_allowed(model: &WriteModel, username: &str) -> Result<(), CommandError> {
    let mention = MENTIONS.contains(&username.trim().to_lowercase().as_str());
    let blocked = mention
        || is_reserved(model, username)
        || listed(&model.text("Accounts_BlockedUsernameList"), username);
    if !blocked {
        return Ok(());
    }
    Err(CommandError::refused(
        "error-blocked-username",
        format!("{username} is blocked and can't be used!"),
    ))
}

/// Whether a username is free, and nobody's and no room's id, nor what messages call the author with such an id once
/// the account is gone; an error if nobody may have it.
pub fn is_available(model: &WriteModel, username: &str) -> Result<bool, CommandError> {
    check_allowed(model, username)?;
    let name = username.trim();
    let of_removed = name
        .split_once('-')
        .is_some_and(|(first, rest)| first.eq_ignore_ascii_case("removed") && model.is_id(rest));
    Ok(model.user_by_name(username).is_none() && !model.is_id(name) && !of_removed)
}

pub(crate) fn unavailable(what: &str) -> CommandError {
    CommandError::refused(
        "error-field-unavailable",
        format!("{what} is already in use :("),
    )
}

/// Whether a full name is free of characters that mean something in markup and in paths, also
/// percent-encoded ones.
pub fn has_valid_characters(name: &str) -> bool {
    let clean = |text: &str| !text.contains(['<', '>', '\\', '/']);
    clean(name) && decoded(name).is_some_and(|decoded| clean(&decoded))
}

/// The text without percent-encoding; `None` if a percent sign stands for nothing.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Refuses what is no email address, or one of a domain that the workspace does not take.
pub fn check_email(model: &WriteModel, address: &str) -> Result<(), CommandError> {
    limit::EMAIL.check(address)?;
    let Some(domain) = domain(address) else {
        return Err(CommandError::refused(
            "error-invalid-email",
            format!("Invalid email {address}"),
        ));
    };
    let allowed = model.text("Accounts_AllowedDomainsList");
    if !allowed.trim().is_empty() && !listed(&allowed, domain) {
        return Err(CommandError::refused(
            "error-invalid-domain",
            "The email domain is not in whitelist",
        ));
    }
    if listed(&model.text("Accounts_BlockedDomainsList"), domain) {
        return Err(CommandError::refused(
            "error-email-domain-blacklisted",
            "The email domain is blacklisted",
        ));
    }
    Ok(())
}

/// The domain of an address; `None` if it is no address.
fn domain(address: &str) -> Option<&str> {
    let (local, domain) = address.rsplit_once('@')?;
    let printable = |character: char| !character.is_whitespace() && !character.is_control();
    let local_fits = !local.is_empty()
        && local.len() <= 64
        && local
            .chars()
            .all(|character| printable(character) && !"@<>(),;:\\\"[]".contains(character));
    let label_fits = |label: &str| {
        let inner = |character: char| character.is_alphanumeric() || character == '-';
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let domain_fits = domain.len() <= 253 && domain.split('.').all(label_fits);
    (local_fits && domain_fits).then_some(domain)
}

/// Refuses a text that is longer than a bio may be.
pub fn check_bio(bio: &str) -> Result<(), CommandError> {
    let most = limit::BIO.most;
    limit::BIO.check(bio).map_err(|_| {
        CommandError::refused(
            "error-bio-size-exceeded",
            format!("Bio size exceeds {most} characters"),
        )
    })
}

/// Refuses a text that is longer than a nickname may be.
pub fn check_nickname(nickname: &str) -> Result<(), CommandError> {
    let most = limit::NICKNAME.most;
    limit::NICKNAME.check(nickname).map_err(|_| {
        CommandError::refused(
            "error-nickname-size-exceeded",
            format!("Nickname size exceeds {most} characters"),
        )
    })
}

/// The members of an object with others over them, if together they are no more than a field takes.
pub(crate) fn merged(
    members: &KeptObject,
    changes: FreeObject,
    most: &Limit,
) -> Result<Map<String, Value>, CommandError> {
    let mut merged = members.read();
    merged.extend(changes.into_inner());
    let merged = FreeObject::parse(merged).map_err(|excess| excess.of(most.field))?;
    merged.check(most)?;
    Ok(merged.into_inner())
}

/// What `Accounts_CustomFields` says about fields; `None` if it says nothing.
fn custom_field_rules(model: &WriteModel) -> Result<Option<Map<String, Value>>, CommandError> {
    let text = model.text("Accounts_CustomFields");
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&text).map(Some).map_err(|_| {
        CommandError::refused(
            "error-invalid-customfield-json",
            "Invalid JSON for Custom Fields",
        )
    })
}

/// Refuses custom fields that break the workspace's rules for them.
pub fn check_custom_fields(model: &WriteModel, fields: &FreeObject) -> Result<(), CommandError> {
    fields.check(&limit::ACCOUNT_FIELDS)?;
    let Some(rules) = custom_field_rules(model)? else {
        return Ok(());
    };
    let refused = |reason: String| {
        Err(CommandError::refused(
            "error-user-registration-custom-field",
            reason,
        ))
    };
    for (name, rule) in &rules {
        let value = fields.get(name);
        let text = value.and_then(Value::as_str).unwrap_or_default().trim();
        let length = text.encode_utf16().count() as u64;
        let limit = |limit: &str| rule[limit].as_u64().filter(|limit| *limit > 0);
        if rule["required"].as_bool().unwrap_or_default() && text.is_empty() {
            return refused(format!("Field {name} is required"));
        }
        let options = rule["options"].as_array();
        if rule["type"] == "select"
            && !options.is_some_and(|options| value.is_some_and(|value| options.contains(value)))
        {
            return refused(format!("Value for field {name} is invalid"));
        }
        if let Some(most) = limit("maxLength").filter(|most| length > *most) {
            return refused(format!("Max length of field {name} {most}"));
        }
        if let Some(least) = limit("minLength").filter(|least| length > 0 && length < *least) {
            return refused(format!("Min length of field {name} {least}"));
        }
    }
    Ok(())
}

/// A username that is free and looks like the account's name or address.
pub fn suggestion(model: &WriteModel, account: &Account) -> String {
    let slug = |text: &str| -> String {
        let dotted = text.trim().to_lowercase().replace(char::is_whitespace, ".");
        dotted
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            .collect()
    };
    let mut bases = Vec::new();
    if let Some(name) = &account.profile.name {
        bases.push(slug(name));
        let words: Vec<&str> = name.split_whitespace().collect();
        if let [first, .., last] = words.as_slice() {
            bases.push(slug(
                &first
                    .chars()
                    .take(1)
                    .chain(last.chars())
                    .collect::<String>(),
            ));
            bases.push(slug(
                &first
                    .chars()
                    .chain(last.chars().take(1))
                    .collect::<String>(),
            ));
        }
    }
    let verified = account.profile.emails.iter().filter(|email| email.verified);
    bases.extend(verified.filter_map(|email| Some(slug(email.address.split_once('@')?.0))));
    bases.retain(|base| !base.is_empty());
    let free = |name: &&String| is_available(model, name).unwrap_or_default();
    if let Some(name) = bases.iter().find(free) {
        return name.clone();
    }
    let base = bases
        .into_iter()
        .next()
        .unwrap_or_else(|| model.text("Accounts_DefaultUsernamePrefixSuggestion"));
    (0..u32::MAX)
        .map(|number| format!("{base}-{number}"))
        .find(|name| free(&name))
        .unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_username_has_the_characters_that_the_workspace_allows() {
        let model = WriteModel::empty();
        for good in ["mary", "Mary.Jane-2_x"] {
            assert!(is_well_formed(&model, good), "{good}");
        }
        for bad in ["", "mary jane", "märy", "mary@home", "mary\n"] {
            assert!(!is_well_formed(&model, bad), "{bad}");
        }
    }

    #[test]
    fn nobody_is_called_like_everybody_or_like_the_server() {
        let model = WriteModel::empty();
        for blocked in ["all", "Here", "admin", "ADMINISTRATOR", "system", "user"] {
            assert!(check_allowed(&model, blocked).is_err(), "{blocked}");
        }
        assert!(check_allowed(&model, "users").is_ok());
    }

    #[test]
    fn an_address_has_one_name_and_one_domain() {
        let model = WriteModel::empty();
        for good in ["mary@example.org", "m.j+x@a-b.co", "me@localhost"] {
            assert!(check_email(&model, good).is_ok(), "{good}");
        }
        for bad in ["mary", "@x.y", "a@", "a b@x.y", "a@x..y", "a@-x.y", "a@b@c"] {
            assert!(check_email(&model, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn markup_in_a_name_is_found_also_when_it_is_encoded() {
        assert!(has_valid_characters("Mary O'Neil"));
        for bad in ["<b>", "a/b", "a\\b", "%3Cb%3E", "100%"] {
            assert!(!has_valid_characters(bad), "{bad}");
        }
    }
}
