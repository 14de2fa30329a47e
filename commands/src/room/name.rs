//! What a room may be called.

use hansard_domain::id::RoomId;
use regex::Regex;

use crate::error::CommandError;
use crate::model::WriteModel;

/// What names are made of where the workspace's own rule can't be read.
const USUAL: &str = r"^[0-9a-zA-Z\-_.]+$";

/// The name that a room gets for the name it is shown under. `room` is the room itself where it
/// exists already: its own name is not taken.
pub(super) fn valid(
    model: &WriteModel,
    shown: &str,
    room: Option<&RoomId>,
) -> Result<String, CommandError> {
    let any_characters = model.flag("UI_Allow_room_names_with_special_chars");
    let mut name = if any_characters {
        slug(shown)
    } else {
        shown.to_owned()
    };
    if any_characters {
        let same = model
            .rooms()
            .find(|(id, other)| other.details.fname == shown && Some(*id) != room);
        if let Some((_, same)) = same {
            return Err(duplicate(&name, same.archived));
        }
    }
    let of_another = model.is_id(&name) && room.is_none_or(|room| room.as_str() != name);
    let allowed = matches(&model.text("UTF8_Channel_Names_Validation"), &name);
    if !allowed || of_another || blocked(model, &name) {
        return Err(CommandError::refused(
            "error-invalid-room-name",
            format!("{} is not a valid room name.", escaped(&name)),
        ));
    }
    let taken = |name: &str| {
        let id = model.room_by_name(name).filter(|id| Some(*id) != room)?;
        model.room(id)
    };
    match taken(&name) {
        None => {}
        Some(_) if any_characters => {
            let free = (1..).map(|number| format!("{name}-{number}"));
            name = free
                .into_iter()
                .find(|name| taken(name).is_none())
                .unwrap_or(name);
        }
        Some(other) => return Err(duplicate(&escaped(&name), other.archived)),
    }
    Ok(name)
}

/// Whether a room has a name.
pub fn name_exists(model: &WriteModel, name: &str) -> bool {
    model.room_by_name(name).is_some()
}

fn duplicate(name: &str, archived: bool) -> CommandError {
    if archived {
        CommandError::refused(
            "error-archived-duplicate-name",
            format!("There's an archived channel with name {name}"),
        )
    } else {
        CommandError::refused(
            "error-duplicate-channel-name",
            format!("A channel with name '{name}' exists"),
        )
    }
}

fn matches(rule: &str, name: &str) -> bool {
    // JavaScript takes the dash in `Z-_` for itself.
    let rule = rule.replace("Z-_", r"Z\-_");
    Regex::new(&format!("^(?:{rule})$"))
        .or_else(|_| Regex::new(USUAL))
        .is_ok_and(|rule| rule.is_match(name))
}

fn blocked(model: &WriteModel, name: &str) -> bool {
    let name = name.to_lowercase();
    model
        .text("Accounts_SystemBlockedUsernameList")
        .split(',')
        .any(|blocked| !blocked.is_empty() && blocked == name)
}

fn escaped(name: &str) -> String {
    name.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// Letters and digits as they are, everything between them a dash.
fn slug(shown: &str) -> String {
    let mut slug = String::with_capacity(shown.len());
    for character in shown.chars() {
        if character.is_alphanumeric() || "._".contains(character) {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_rule_takes_dashes_dots_and_underscores() {
        for rule in ["[0-9a-zA-Z-_.]+", "(["] {
            assert!(matches(rule, "a-b_c.9"), "{rule}");
            assert!(!matches(rule, "a b"), "{rule}");
            assert!(!matches(rule, ""), "{rule}");
        }
        assert!(!matches("a|b", "ab"));
    }

    #[test]
    fn a_slug_has_no_gaps() {
        assert_eq!(slug("  Größe & Co. (2026) "), "Größe-Co.-2026");
    }
}
