//! What clients call their messages.
//!
//! A message's id stands in the clear: it names the message's stream. Rocket.Chat's clients make it of 17
//! random letters and digits; such an id says nothing, and is kept, and so is a UUID or an ObjectId. Any
//! other one may say something, as everything that is freely chosen. It is not kept: the message goes by
//! an id that follows from it, and that nobody can go back from.

use crate::id::{ID_ALPHABET, MessageId};
use crate::keyed;
use crate::vault::DataKey;

/// Rocket.Chat's ids have so many characters.
const LENGTH: usize = 17;

/// Whether an id is of a form that programs make at random.
pub fn is_random(id: &MessageId) -> bool {
    let id = id.as_str().as_bytes();
    match id.len() {
        LENGTH => id.iter().all(u8::is_ascii_alphanumeric),
        24 => id.iter().all(u8::is_ascii_hexdigit),
        36 => id.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        }),
        _ => false,
    }
}

/// The id of a message whose client calls it so: the same one if that [is random](is_random), otherwise
/// 17 characters of Rocket.Chat's alphabet from a [keyed hash](keyed).
pub fn message_id(secret: &DataKey, called: &MessageId) -> MessageId {
    if is_random(called) {
        return called.clone();
    }
    let hash = keyed::hash(secret, "message", called.as_str());
    let mut number = u128::from_be_bytes(hash);
    let characters = (0..LENGTH).map(|_| {
        let place = (number % ID_ALPHABET.len() as u128) as usize;
        number /= ID_ALPHABET.len() as u128;
        char::from(ID_ALPHABET[place])
    });
    MessageId::new(characters.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: DataKey = DataKey([3; 32]);

    fn id_of(called: &str) -> String {
        message_id(&SECRET, &MessageId::new(called)).to_string()
    }

    #[test]
    fn an_id_that_says_nothing_is_kept() {
        for random in [
            "aBcDeFgHiJkLmN017",
            "507f1f77bcf86cd799439011",
            "0190f2a4-0000-7000-8000-00000000000f",
        ] {
            assert_eq!(id_of(random), random);
        }
    }

    #[test]
    fn an_id_that_may_say_something_is_replaced_always_by_the_same() {
        for called in [
            "mine-1",
            "marigold zanzibar",
            "id-1700000000000",
            "0190f2a4_0000",
        ] {
            let id = id_of(called);
            assert!(is_random(&MessageId::new(&id)), "{id}");
            assert_eq!(id, id_of(called));
            assert_eq!(id_of(&id), id, "what it goes by is its id");
            let elsewhere = message_id(&DataKey([4; 32]), &MessageId::new(called));
            assert_ne!(elsewhere.as_str(), id);
        }
        assert_ne!(id_of("mine-1"), id_of("mine-2"));
    }
}
