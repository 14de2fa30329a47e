//! Words to search for: rare ones that stand in the messages, and ones that stand nowhere.

use std::collections::{BTreeMap, BTreeSet};

use super::dice::Dice;
use super::manifest::Manifest;

/// A word in this many messages of a room or fewer is rare: all its messages fit on one page.
const RARE: usize = 10;
const SHORTEST: usize = 4;

/// A word, and the messages of a room that contain it; none for a made-up word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub room: String,
    pub word: String,
    pub messages: BTreeSet<String>,
}

/// The words of `text` that every full-text search takes for words: ASCII letters between blanks or
/// ASCII punctuation.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| letter.is_ascii() && !letter.is_ascii_alphanumeric())
        .filter(|word| {
            word.len() >= SHORTEST && word.bytes().all(|byte| byte.is_ascii_alphabetic())
        })
}

/// `count` rare words of the acknowledged messages, the same ones for the same seed, and a tenth as
/// many words that are in none.
pub fn sample(manifest: &Manifest, count: usize, seed: u64) -> Vec<Probe> {
    let mut standing: BTreeMap<(&str, String), BTreeSet<&str>> = BTreeMap::new();
    for message in manifest
        .messages
        .iter()
        .filter(|message| message.acked.is_some())
    {
        for word in words(&message.text) {
            let messages = standing
                .entry((&message.room, word.to_ascii_lowercase()))
                .or_default();
            // One more than rare tells enough.
            if messages.len() <= RARE {
                messages.insert(&message.id);
            }
        }
    }
    let mut rare: Vec<_> = standing
        .into_iter()
        .filter(|(_, messages)| messages.len() <= RARE)
        .collect();
    let mut dice = Dice::new(seed);
    let mut probes = Vec::new();
    while probes.len() < count && !rare.is_empty() {
        let ((room, word), messages) = rare.swap_remove(dice.below(rare.len()));
        let messages = messages.into_iter().map(str::to_owned).collect();
        probes.push(Probe {
            room: room.to_owned(),
            word,
            messages,
        });
    }
    let rooms: BTreeSet<&str> = manifest
        .messages
        .iter()
        .map(|message| message.room.as_str())
        .collect();
    let rooms: Vec<&str> = rooms.into_iter().collect();
    for _ in 0..probes.len().div_ceil(10) {
        let word: String = (0..12)
            .map(|_| char::from(*dice.pick(b"bcdfghjklmnpqrstvwxz")))
            .collect();
        if manifest
            .messages
            .iter()
            .all(|message| !message.text.contains(&word))
        {
            probes.push(Probe {
                room: (*dice.pick(&rooms)).to_owned(),
                word,
                messages: BTreeSet::new(),
            });
        }
    }
    probes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::manifest::Sent;

    #[test]
    fn a_word_is_what_stands_between_blanks_and_punctuation() {
        let found: Vec<&str> =
            words("see http://www.foobar.org, _Kernel_ caféshop abc x86kernel don't").collect();
        assert_eq!(found, ["http", "foobar", "Kernel"]);
    }

    #[test]
    fn rare_words_are_sampled_with_all_messages_that_contain_them() {
        let message = |id: usize, room: &str, text: &str, acked| Sent {
            id: id.to_string(),
            room: room.into(),
            user: "u".into(),
            text: text.into(),
            sent: 0,
            acked,
        };
        let mut messages: Vec<Sent> = (0..20)
            .map(|id| message(id, "r", "common", Some(1)))
            .collect();
        messages.push(message(20, "r", "Kernel here", Some(1)));
        messages.push(message(21, "r", "my kernel", Some(1)));
        messages.push(message(22, "s", "kernel", Some(1)));
        messages.push(message(23, "r", "kernel unsure", None));
        let manifest = Manifest {
            messages,
            ..Manifest::default()
        };
        let probes = sample(&manifest, 100, 1);
        assert_eq!(probes, sample(&manifest, 100, 1));
        let kernel = probes
            .iter()
            .find(|probe| probe.room == "r" && probe.word == "kernel")
            .unwrap();
        assert_eq!(
            kernel.messages,
            BTreeSet::from(["20".to_owned(), "21".to_owned()])
        );
        assert!(
            probes
                .iter()
                .all(|probe| probe.word != "common" && probe.word != "unsure")
        );
        assert!(
            probes.iter().any(|probe| probe.messages.is_empty()),
            "one word stands nowhere"
        );
    }
}
