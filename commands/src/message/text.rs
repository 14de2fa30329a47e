//! What stands in a text: people and rooms that are mentioned, and links.

use std::sync::{Arc, LazyLock};

use hansard_domain::id::UserId;
use hansard_domain::limit;
use hansard_domain::message::{Content, Mentions};
use hansard_domain::room::RoomKind;
use parking_lot::Mutex;
use regex::Regex;
use serde_json::{Value, json};

use crate::authorization::sight::Purpose;
use crate::caller::Caller;
use crate::model::WriteModel;

/// What names are made of where the workspace's setting is no regular expression.
const NAME: &str = "[0-9a-zA-Z_.-]+";

/// A link: scheme, perhaps a user, host, perhaps port, path, query and fragment.
static LINK: LazyLock<Regex> = LazyLock::new(|| {
    expression(concat!(
        r"[A-Za-z]{3,9}://",
        r"(?:[-;:&=+$,\w]+@)?",
        r"[-A-Za-z0-9.]+",
        r"(?::\d+)?",
        r"(?:/[-+=!:~%/.@,\w]*)?",
        r"(?:\?[-+=&!:;%@/.,\w]*)?",
        r"(?:\#[^\s)]+)?",
    ))
});

/// Code, in which nothing is a link: fenced, or between back ticks on one line.
static CODE: LazyLock<Regex> = LazyLock::new(|| expression(r"(?s:```.*?```)|`[^`\r\n]+`"));

/// The expressions of the name pattern used last: it is a setting that hardly ever changes.
static PATTERN: Mutex<Option<Arc<Pattern>>> = Mutex::new(None);

struct Pattern {
    name: String,
    user: Regex,
    room: Regex,
}

impl Pattern {
    fn of(name: &str) -> Arc<Self> {
        let mut last = PATTERN.lock();
        if let Some(pattern) = last.as_ref().filter(|pattern| pattern.name == name) {
            return pattern.clone();
        }
        let expressions = |name: &str| {
            let user = format!(r"(?:^|\s|>)@({name}(?:@{name})?(?::[0-9a-zA-Z_.-]+)?)");
            let room = format!(r"(?:^|\s|>)#({name}(?:@{name})?)");
            Some((multi_line(&user)?, multi_line(&room)?))
        };
        // A pattern that can't be read must not keep people from writing.
        let (user, room) = expressions(name)
            .or_else(|| expressions(NAME))
            .unwrap_or_else(|| (NEVER.clone(), NEVER.clone()));
        let pattern = Arc::new(Self {
            name: name.to_owned(),
            user,
            room,
        });
        *last = Some(pattern.clone());
        pattern
    }
}

static NEVER: LazyLock<Regex> = LazyLock::new(|| expression(r"[^\s\S]"));

fn multi_line(expression: &str) -> Option<Regex> {
    regex::RegexBuilder::new(expression)
        .multi_line(true)
        .size_limit(1 << 20)
        .build()
        .ok()
}

fn expression(expression: &str) -> Regex {
    Regex::new(expression).unwrap_or_else(|error| unreachable!("{expression}: {error}"))
}

/// Links, each once, in the order they stand; none from code, and no more than a message tells of.
pub fn links(text: &str) -> Vec<String> {
    if !text.contains("://") {
        return Vec::new();
    }
    let prose = CODE.replace_all(text, " ");
    let mut links: Vec<String> = Vec::new();
    for link in LINK.find_iter(&prose) {
        if links.len() == limit::LINKS.most {
            break;
        }
        if !links.iter().any(|found| found == link.as_str()) {
            links.push(link.as_str().to_owned());
        }
    }
    links
}

/// Finds whom the content's text mentions, and which rooms that its author knows of, and writes them
/// into it; no more of either than a message tells of.
pub fn mention(model: &WriteModel, author: &Caller, content: &mut Content) -> Mentions {
    let (mut everybody, mut users, mut rooms) = (Vec::new(), Vec::new(), Vec::new());
    let mut mentions = Mentions::default();
    let text = &content.text;
    if text.contains(['@', '#']) {
        let pattern = Pattern::of(&model.text("UTF8_User_Names_Validation"));
        for found in pattern.user.captures_iter(text) {
            if users.len() == limit::MENTIONS.most {
                break;
            }
            let name = &found[1];
            if name == "all" || name == "here" {
                mentions.everybody = true;
                push(&mut everybody, json!({ "_id": name, "username": name }));
                continue;
            }
            let Some(user) = user(model, name) else {
                continue;
            };
            if !mentions.users.contains(&user) {
                users.push(json!({ "_id": user, "type": "user" }));
                mentions.users.push(user);
            }
        }
        for found in pattern.room.captures_iter(text) {
            if rooms.len() == limit::MENTIONS.most {
                break;
            }
            if let Some(room) = room(model, author, &found[1]) {
                push(&mut rooms, room);
            }
        }
    }
    everybody.append(&mut users);
    content.mentions = everybody;
    content.channels = rooms;
    mentions
}

fn push(list: &mut Vec<Value>, item: Value) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// A username is meant as it is written.
fn user(model: &WriteModel, name: &str) -> Option<UserId> {
    let id = model.user_by_name(name)?;
    (model.account(id)?.profile.username == name).then(|| id.clone())
}

fn room(model: &WriteModel, author: &Caller, name: &str) -> Option<Value> {
    let id = model.room_by_name(name)?;
    let room = model.sight(author, id, Purpose::Existence)?.room;
    let meant = room.kind != RoomKind::Direct && room.details.name == name;
    meant.then(|| json!({ "_id": id, "name": room.details.name, "fname": room.details.fname }))
}

/// Puts asterisks in the place of words that the workspace does not want to read.
pub fn without_bad_words(model: &WriteModel, text: &str) -> String {
    if !model.flag("Message_AllowBadWordsFilter") {
        return text.to_owned();
    }
    let words = |setting: &str| -> Vec<String> {
        let listed = model.text(setting);
        listed
            .split(',')
            .map(|word| word.trim().to_lowercase())
            .filter(|word| !word.is_empty())
            .collect()
    };
    let allowed = words("Message_BadWordsWhitelist");
    let banned = words("Message_BadWordsFilterList");
    let mut clean = String::with_capacity(text.len());
    for piece in text.split_inclusive(|letter: char| !letter.is_alphanumeric()) {
        let word = piece.trim_end_matches(|letter: char| !letter.is_alphanumeric());
        let lower = word.to_lowercase();
        if banned.contains(&lower) && !allowed.contains(&lower) {
            clean.extend(word.chars().map(|_| '*'));
            clean.push_str(&piece[word.len()..]);
        } else {
            clean.push_str(piece);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_once_each_and_not_in_code() {
        assert_eq!(
            links(
                "see https://hansard.example/a?b=c#d, http://x.org and https://hansard.example/a?b=c#d, `http://code.org`"
            ),
            ["https://hansard.example/a?b=c#d,", "http://x.org"]
        );
        assert_eq!(links("```\nhttp://code.org\n```"), [""; 0]);
        assert_eq!(links("no link: //"), [""; 0]);
        assert_eq!(links("http://a.org:8080/x/y!"), ["http://a.org:8080/x/y!"]);
    }

    #[test]
    fn a_text_tells_of_so_many_links_and_no_more() {
        let text: String = (0..limit::LINKS.most + 5)
            .map(|number| format!("http://host/{number} "))
            .collect();
        assert_eq!(links(&text).len(), limit::LINKS.most);
    }

    #[test]
    fn names_are_found_with_the_setting_that_is_the_default() {
        let pattern = Pattern::of("[0-9a-zA-Z-_.]+");
        let found = |text: &str| -> Vec<String> {
            let names = pattern.user.captures_iter(text);
            names.map(|name| name[1].to_owned()).collect()
        };
        assert_eq!(
            found("@all and @mary-jane_1, mail@host"),
            ["all", "mary-jane_1"]
        );
        assert_eq!(found("first\n@second"), ["second"]);
    }

    #[test]
    fn a_broken_pattern_falls_back() {
        let pattern = Pattern::of("[unclosed");
        assert!(pattern.user.is_match("@mary"));
    }
}
