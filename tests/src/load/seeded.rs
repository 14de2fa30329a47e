//! A chat made up from a seed, in the shape of the IRC archive, for where there is none: many nicks,
//! a few of them loud, odd characters, capitals that are the only difference, URLs, pasted commands,
//! several scripts, long and short lines, joins and renames.

use super::chat::{Chat, Scene};
use super::dice::Dice;
use super::irc::Line;

const ROOMS: usize = 6;
/// As in the archive: 221,619 messages by 17,780 nicks.
const MESSAGES_A_NICK: usize = 12;

const SYLLABLES: [&str; 24] = [
    "ba", "con", "der", "fi", "gra", "ho", "in", "jo", "ker", "lu", "mon", "ne", "or", "pa", "qui",
    "ra", "sto", "ti", "ul", "ver", "wi", "xe", "ya", "zu",
];
const COMMON: [&str; 20] = [
    "the", "is", "to", "it", "a", "you", "ok", "how", "install", "ubuntu", "kernel", "no", "yes",
    "thanks", "driver", "what", "does", "mount", "and", "sudo",
];
const FOREIGN: [&str; 8] = [
    "żółć",
    "naïve",
    "日本語",
    "привет",
    "😀🎉",
    "e\u{301}t\u{e9}",
    "שלום",
    "Straße",
];
const COMMANDS: [&str; 6] = [
    r#"sudo sh -c 'echo "1" > /proc/sys/vm/drop_caches'"#,
    r"grep -rn \bfoo\b . | awk '{print $1}' && ls -la ~/.*rc",
    "deb http://archive.ubuntu.com/ubuntu dapper main restricted # <- *that* _line_ `here`",
    "for f in *.txt; do mv \"$f\" \"${f%.txt}.md\"; done",
    r"C:\Windows\system32\drivers\etc\hosts & echo %PATH%",
    "a\ttab, \"quotes\", <b>tags</b> &amp; entities, {\"json\": [null]}",
];
const DRESSES: [(&str, &str); 10] = [
    ("|", "|"),
    ("", "_"),
    ("", "[away]"),
    ("{", "}"),
    ("", "^"),
    ("`", ""),
    ("", "-work"),
    ("[", "] "),
    ("", "é"),
    ("\\", "/"),
];

impl Chat {
    /// The chat of `seed`, with exactly `messages` messages and actions.
    pub fn from_seed(seed: u64, messages: usize) -> Self {
        let mut dice = Dice::new(seed);
        let nicks = nicks(&mut dice, messages / MESSAGES_A_NICK + 8);
        let scenes = (0..ROOMS)
            .map(|room| {
                let share = messages / ROOMS + usize::from(room < messages % ROOMS);
                Scene {
                    room: format!("seed{seed}-{messages}-{}", 2004 + room),
                    lines: lines(&mut dice, &nicks, share),
                }
            })
            .collect();
        Self::compose(scenes)
    }
}

fn nicks(dice: &mut Dice, count: usize) -> Vec<String> {
    let mut nicks = Vec::with_capacity(count);
    while nicks.len() < count {
        let plain = format!("{}{}", word(dice, 3), nicks.len());
        let nick = match dice.below(10) {
            0 => {
                let (before, after) = dice.pick(&DRESSES);
                format!("{before}{plain}{after}")
            }
            1 => plain.to_uppercase(),
            // Two nicks that differ by their capitals only.
            2 => {
                nicks.push(plain.clone());
                format!("{}{}", plain[..1].to_uppercase(), &plain[1..])
            }
            _ => plain,
        };
        nicks.push(nick);
    }
    nicks
}

fn lines(dice: &mut Dice, nicks: &[String], messages: usize) -> Vec<Line> {
    let mut lines = Vec::with_capacity(messages * 9 / 8);
    let mut said = 0;
    while said < messages {
        // Twice below: low numbers come more often, so some people talk a lot and many hardly ever.
        let reach = dice.below(nicks.len()) + 1;
        let nick = nicks[dice.below(reach)].clone();
        match dice.below(200) {
            0..16 => lines.push(Line::Joined { nick }),
            16..20 => {
                let to = if dice.chance(30) {
                    dice.pick(nicks).clone()
                } else {
                    format!("{nick}|{}", word(dice, 2))
                };
                lines.push(Line::Renamed {
                    from: nick.clone(),
                    to: to.clone(),
                });
                if dice.chance(70) {
                    lines.push(Line::Renamed { from: to, to: nick });
                }
            }
            20..22 => lines.push(Line::Other),
            22 => {
                said += 1;
                lines.push(Line::Acted {
                    nick,
                    text: sentence(dice, 4),
                });
            }
            _ => {
                said += 1;
                lines.push(Line::Said {
                    nick,
                    text: text(dice),
                });
            }
        }
    }
    lines
}

fn text(dice: &mut Dice) -> String {
    match dice.below(40) {
        0..4 => (*dice.pick(&["ok", ":)", "?", "lol", "!dvd", "y", "no"])).to_owned(),
        4 => format!(
            "http://www.{}.org/{}/{}.html?q={}#top",
            word(dice, 3),
            word(dice, 2),
            word(dice, 3),
            dice.below(999)
        ),
        5 => (*dice.pick(&COMMANDS)).to_owned(),
        6 => format!("{} {}", sentence(dice, 5), dice.pick(&FOREIGN)),
        7 => sentence(dice, 70),
        8 => format!("  {}", sentence(dice, 6)),
        9 => format!("{} ", sentence(dice, 3)),
        _ => {
            let length = dice.below(18) + 1;
            sentence(dice, length)
        }
    }
}

fn sentence(dice: &mut Dice, words: usize) -> String {
    let words: Vec<String> = (0..words)
        .map(|_| {
            if dice.chance(60) {
                (*dice.pick(&COMMON)).to_owned()
            } else {
                let syllables = dice.below(4) + 1;
                word(dice, syllables)
            }
        })
        .collect();
    words.join(" ")
}

fn word(dice: &mut Dice, syllables: usize) -> String {
    (0..syllables).map(|_| *dice.pick(&SYLLABLES)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_seed_always_makes_the_same_chat_and_another_seed_another() {
        let first = Chat::from_seed(1, 600);
        assert_eq!(first.steps, Chat::from_seed(1, 600).steps);
        assert_ne!(first.steps, Chat::from_seed(2, 600).steps);
        assert_eq!(first.messages().count(), 600);
        assert_eq!(first.rooms.len(), ROOMS);
    }

    #[test]
    fn it_has_what_makes_the_real_chat_hard() {
        let chat = Chat::from_seed(1, 6000);
        assert!(
            chat.summary.joins_by_line > 0 && chat.summary.joins_by_first_message > 0,
            "{}",
            chat.summary
        );
        assert!(
            chat.summary.renames > 0 && chat.summary.renames_taken > 0 && chat.summary.actions > 0
        );
        assert!(
            chat.messages().any(|text| text.len() > 300)
                && chat.messages().any(|text| !text.is_ascii())
        );
        assert!(
            chat.messages().any(|text| text.starts_with(' '))
                && chat.messages().any(|text| text.ends_with(' '))
        );
        let folded: HashSet<String> = chat.nicks.iter().map(|nick| nick.to_lowercase()).collect();
        assert!(
            folded.len() < chat.nicks.len(),
            "some nicks differ by capitals only"
        );
    }
}
