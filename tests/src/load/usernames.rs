//! How an IRC nick becomes a username that Rocket.Chat takes, without two nicks becoming one.
//!
//! Usernames consist of `[0-9a-zA-Z-_.]` and are compared without regard to case, while `Matt` and
//! `matt` are two nicks, and `|trey|` and `bob[1] ` are nicks as well. So, with `.` as the sign
//! that opens an escape (no nick may keep its own):
//! - a byte outside of the rule is written `.xHH`;
//! - a nick with capitals ends in `.c` and the hexadecimal mask of which of its bytes are capitals
//!   (lowest bit: first byte);
//! - a username that the server reserves gets the mask 0, which no nick has otherwise.
//!
//! That can be read backwards whatever the case ([`nick`]), which is what makes it injective.

use std::fmt::Write as _;

/// Rocket.Chat's `Accounts_SystemBlockedUsernameList` and its names for "everybody".
const RESERVED: [&str; 6] = ["admin", "administrator", "system", "user", "all", "here"];

/// The username for `nick`; `taken` are names in use that are nobody's nick (the admin's).
pub fn username(nick: &str, taken: &[&str]) -> String {
    let mut username = String::with_capacity(nick.len() + 8);
    let mut capitals = 0_u128;
    for (place, byte) in nick.bytes().enumerate() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'-' | b'_' => username.push(char::from(byte)),
            // A nick longer than the mask can't carry its capitals there, so they are escaped.
            b'A'..=b'Z' if place < 128 => {
                capitals |= 1 << place;
                username.push(char::from(byte));
            }
            other => write!(username, ".x{other:02x}").expect("a string takes all that is written"),
        }
    }
    let is_reserved = username.is_empty()
        || RESERVED
            .iter()
            .chain(taken)
            .any(|name| name.eq_ignore_ascii_case(&username));
    if capitals != 0 || is_reserved {
        write!(username, ".c{capitals:x}").expect("a string takes all that is written");
    }
    username
}

/// The nick that `username` was made from, in whatever case the server gave it back; `None` where
/// it was not made by [`username`].
pub fn nick(username: &str) -> Option<String> {
    let (body, capitals) = match username.rsplit_once(['.']) {
        Some((body, mask)) if mask.starts_with(['c', 'C']) => {
            (body, u128::from_str_radix(&mask[1..], 16).ok()?)
        }
        _ => (username, 0),
    };
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'.' {
            let [b'x' | b'X', high, low, after @ ..] = after else {
                return None;
            };
            let pair = [*high, *low];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
            rest = after;
        } else {
            let is_capital = bytes.len() < 128 && capitals >> bytes.len() & 1 == 1;
            bytes.push(if is_capital {
                byte.to_ascii_uppercase()
            } else {
                byte.to_ascii_lowercase()
            });
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The name that a nick is shown by: without the characters that Rocket.Chat refuses in names
/// (`<`, `>`, `/`, `\\`, and `%`, which starts an escaped one), whose wide forms stand in for them.
pub fn display_name(nick: &str) -> String {
    nick.trim()
        .chars()
        .map(|character| match character {
            '<' | '>' | '/' | '\\' | '%' => {
                char::from_u32(u32::from(character) + 0xFEE0).unwrap_or(character)
            }
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::load::dice::Dice;

    #[test]
    fn plain_nicks_stay_as_they_are() {
        assert_eq!(username("bob2", &[]), "bob2");
        assert_eq!(username("Matt|", &[]), "Matt.x7c.c1");
        assert_eq!(username("admin", &[]), "admin.c0");
        assert_eq!(username("root", &["root"]), "root.c0");
    }

    #[test]
    fn every_username_obeys_the_rule_and_leads_back_to_its_nick_in_any_case() {
        let letters: Vec<char> = "abABZ09-_.|[]{}^`\\ xXcCéżñ".chars().collect();
        let mut dice = Dice::new(7);
        let mut nicks: HashSet<String> = (0..20_000)
            .map(|_| (0..=dice.below(9)).map(|_| *dice.pick(&letters)).collect())
            .collect();
        nicks.extend(
            [
                "", "admin", "Admin", "user", "all", ".c0", "admin.c0", "a.x41",
            ]
            .map(String::from),
        );
        nicks.insert("Long".repeat(60));
        let mut folded = HashSet::new();
        for original in &nicks {
            let username = username(original, &["root"]);
            assert!(
                username
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
                "{username}"
            );
            assert_eq!(nick(&username).as_ref(), Some(original));
            assert_eq!(
                nick(&username.to_ascii_uppercase()).as_ref(),
                Some(original)
            );
            assert!(
                folded.insert(username.to_ascii_lowercase()),
                "{username} stands for two nicks"
            );
        }
        assert_eq!(folded.len(), nicks.len());
    }

    #[test]
    fn a_shown_name_has_no_character_that_is_refused() {
        assert_eq!(display_name(r"a\b<c>/%"), "a＼b＜c＞／％");
        assert_eq!(display_name(" Zoë^ "), "Zoë^");
    }
}
