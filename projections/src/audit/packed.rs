//! Ids in fewer bytes than they have characters. Each text has one packed form, and each packed form is
//! of one text, but that a NUL character becomes what it becomes in [statements](crate::sql).

use std::borrow::Cow;

use hansard_domain::id::ID_ALPHABET;
use uuid::Uuid;

use crate::sql;

/// How many characters an id has that Hansard made, and how many bytes hold them.
const CHARACTERS: usize = 17;
const BYTES: usize = 13;

/// What the other forms begin with: ids that Hansard made begin with less than 5, as 55^17 is less than
/// 5 · 256^12.
const UUID: u8 = 0xfd;
/// A word, `-`, and 32 hexadecimal digits: a keyed hash.
const KEYED: u8 = 0xfe;
const TEXT: u8 = 0xff;

/// For each byte its place in the alphabet of ids; [`NONE`] for those that are not in it.
const PLACES: [u8; 256] = {
    let mut places = [NONE; 256];
    let mut place = 0;
    while place < ID_ALPHABET.len() {
        places[ID_ALPHABET[place] as usize] = place as u8;
        place += 1;
    }
    places
};
const NONE: u8 = u8::MAX;

pub fn pack(text: &str) -> Vec<u8> {
    if let Some(number) = own_id(text) {
        return number.to_be_bytes()[16 - BYTES..].to_vec();
    }
    if let Some(uuid) = uuid(text).filter(|uuid| uuid.hyphenated().to_string() == text) {
        return form(UUID, uuid.as_bytes(), "");
    }
    if let Some((word, digits)) = text.rsplit_once('-')
        && !word.contains('\0')
        && let Some(hash) = uuid(digits).filter(|hash| hash.simple().to_string() == digits)
    {
        return form(KEYED, hash.as_bytes(), word);
    }
    let text = if text.contains('\0') {
        Cow::Owned(sql::clean(text.to_owned()))
    } else {
        Cow::Borrowed(text)
    };
    form(TEXT, &[], &text)
}

/// `None` for what [`pack`] does not make.
pub fn unpack(packed: &[u8]) -> Option<String> {
    let (first, rest) = packed.split_first()?;
    match *first {
        UUID => Some(Uuid::from_slice(rest).ok()?.hyphenated().to_string()),
        KEYED => {
            let (hash, word) = rest.split_at_checked(16)?;
            let hash = Uuid::from_slice(hash).ok()?.simple();
            Some(format!("{}-{hash}", std::str::from_utf8(word).ok()?))
        }
        TEXT => String::from_utf8(rest.to_vec()).ok(),
        _ if packed.len() == BYTES => {
            let mut bytes = [0; 16];
            bytes[16 - BYTES..].copy_from_slice(packed);
            let mut number = u128::from_be_bytes(bytes);
            let mut id = [0; CHARACTERS];
            for place in id.iter_mut().rev() {
                *place = ID_ALPHABET[(number % 55) as usize];
                number /= 55;
            }
            String::from_utf8(id.to_vec()).ok()
        }
        _ => None,
    }
}

/// The number whose digits the characters of such an id are.
fn own_id(text: &str) -> Option<u128> {
    if text.len() != CHARACTERS {
        return None;
    }
    text.bytes().try_fold(0u128, |number, byte| {
        let place = PLACES[usize::from(byte)];
        (place != NONE).then(|| number * 55 + u128::from(place))
    })
}

/// A UUID in any of its spellings.
fn uuid(text: &str) -> Option<Uuid> {
    matches!(text.len(), 32 | 36)
        .then(|| Uuid::try_parse(text).ok())
        .flatten()
}

fn form(tag: u8, bytes: &[u8], text: &str) -> Vec<u8> {
    [&[tag], bytes, text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_text_comes_back() {
        let texts = [
            ("", 1),
            ("22222222222222222", 13),
            ("zzzzzzzzzzzzzzzzz", 13),
            ("3BtC3SuyPogud7sWM", 13),
            // Not of the alphabet, too short, too long.
            ("3BtC3SuyPogud7sW0", 18),
            ("3BtC3SuyPogud7sW", 17),
            ("3BtC3SuyPogud7sWMM", 19),
            ("01a21ea4-5125-712d-98bf-4f5ed487a147", 17),
            ("01A21EA4-5125-712D-98BF-4F5ED487A147", 37),
            ("username-01a21ea45125712d98bf4f5ed487a147", 25),
            ("username-01A21ea45125712d98bf4f5ed487a147", 42),
            ("a-b-01a21ea45125712d98bf4f5ed487a147", 20),
            ("-01a21ea45125712d98bf4f5ed487a147", 17),
            ("01a21ea45125712d98bf4f5ed487a147", 33),
            ("ü-01a21ea45125712d98bf4f5ed487a147", 19),
            ("日本語", 10),
            ("\u{fd}\u{fe}", 5),
        ];
        let mut packed = HashSet::new();
        for (text, length) in texts {
            let bytes = pack(text);
            assert_eq!(bytes.len(), length, "{text}");
            assert_eq!(unpack(&bytes).as_deref(), Some(text));
            packed.insert(bytes);
        }
        assert_eq!(packed.len(), texts.len());
    }

    #[test]
    fn no_packed_text_has_a_nul() {
        for text in ["a\0", "\0-01a21ea45125712d98bf4f5ed487a147"] {
            let unpacked = unpack(&pack(text));
            assert_eq!(unpacked, Some(text.replace('\0', "\u{fffd}")));
        }
    }

    #[test]
    fn what_is_not_packed_is_told() {
        for bytes in [
            &b""[..],
            b"short",
            &[UUID, 1],
            &[KEYED, 1],
            &[TEXT, 0xff],
            &[0; 14],
        ] {
            assert_eq!(unpack(bytes), None, "{bytes:?}");
        }
    }
}
