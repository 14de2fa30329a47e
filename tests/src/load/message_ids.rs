//! The `_id`s that the load program gives its messages, so that a send can be repeated safely.

use super::dice::Dice;

/// Rocket.Chat's alphabet for ids: no characters that look alike. In ASCII order.
const ALPHABET: &[u8; 55] = b"23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";
const LENGTH: usize = 17;
const IN_FRONT: usize = 6;

/// The id of the message at `sequence` of the chat played with `seed`.
///
/// The sequence stands in front, so ids grow with the time of the log as a server's own ids do;
/// the rest (63 bits) comes from seed and sequence. Sequences up to 55^6 are in order.
pub fn message_id(seed: u64, sequence: u64) -> String {
    let mut id = [ALPHABET[0]; LENGTH];
    let mut rest = sequence;
    for place in id[..IN_FRONT].iter_mut().rev() {
        *place = ALPHABET[(rest % 55) as usize];
        rest /= 55;
    }
    let mut dice = Dice::new(seed ^ sequence.wrapping_mul(0x2545_f491_4f6c_dd1d));
    for place in &mut id[IN_FRONT..] {
        *place = *dice.pick(ALPHABET);
    }
    id.iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_with_the_sequence_and_differ_by_seed() {
        let ids: Vec<String> = (0..10_000)
            .map(|sequence| message_id(1, sequence))
            .collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(
            ids.iter()
                .all(|id| id.len() == LENGTH && id.bytes().all(|byte| ALPHABET.contains(&byte)))
        );
        assert_eq!(message_id(1, 77), message_id(1, 77));
        assert_ne!(message_id(1, 77), message_id(2, 77));
    }
}
