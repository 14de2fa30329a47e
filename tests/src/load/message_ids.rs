//! The `_id`s that the load program gives its messages, so that a send can be repeated safely.

use super::dice::Dice;

/// Rocket.Chat's alphabet for ids: no characters that look alike. In ASCII order.
const ALPHABET: &[u8; 55] = b"23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";
const LENGTH: usize = 17;
const IN_FRONT: usize = 6;

/// The id of the message with this `number` in the whole chat, made of the parts `content`.
///
/// The number stands in front, so ids grow with the time of the log as a server's own ids do; the
/// rest (63 bits) comes from everything. The same message of the same chat has the same id in every
/// play with that seed, a part of the chat included, and no other message has it. Numbers up to 55^6
/// are in order.
pub fn message_id(seed: u64, number: u64, content: &[&str]) -> String {
    let mut id = [ALPHABET[0]; LENGTH];
    let mut rest = number;
    for place in id[..IN_FRONT].iter_mut().rev() {
        *place = ALPHABET[(rest % 55) as usize];
        rest /= 55;
    }
    let mut dice = Dice::new(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    for part in content {
        dice.mix(part.as_bytes());
    }
    for place in &mut id[IN_FRONT..] {
        *place = *dice.pick(ALPHABET);
    }
    id.iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_with_the_number_and_are_of_the_alphabet() {
        let ids: Vec<String> = (0..10_000)
            .map(|number| message_id(1, number, &[]))
            .collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(
            ids.iter()
                .all(|id| id.len() == LENGTH && id.bytes().all(|byte| ALPHABET.contains(&byte)))
        );
    }

    #[test]
    fn ids_differ_by_seed_and_by_every_part_of_the_content() {
        let id = |seed, content: &[&str]| message_id(seed, 77, content);
        assert_eq!(id(1, &["room", "text"]), id(1, &["room", "text"]));
        for other in [
            id(2, &["room", "text"]),
            id(1, &["moor", "text"]),
            id(1, &["room", "tex"]),
            id(1, &["roomt", "ext"]),
        ] {
            assert_ne!(other, id(1, &["room", "text"]));
        }
    }
}
