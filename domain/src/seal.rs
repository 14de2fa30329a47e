//! Sealing: how confidential parts of events reach the log only as ciphertext.
//!
//! An event holds such a part as [`Private<T>`]. Code that decides or projects sees the plain value;
//! on the way into the log the part is encrypted under the data key it names, on the way out it is
//! opened again, or found [`Shredded`](Private::Shredded) when that key is gone, or
//! [`Unreadable`](Private::Unreadable) when it does not open under the key that is there. Neither is an
//! error: the event stays what it is. A part that is still open refuses to be serialized, so that no
//! slip can write it out in the clear.
//!
//! Ciphertext is AES-256-GCM with a random 96-bit nonce in front, in base64. The associated data is all
//! that the event says in clear (see [`beside`](crate::beside)), so that a part does not open where it was
//! moved, nor beside anything that was changed. Earlier versions took the event's id alone, and nothing
//! for origins.

use std::borrow::Cow;
use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use rand::RngExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json;
use crate::vault::{DataKey, KeyId};

const NONCE: usize = 12;

/// A confidential part of an event, under a data key of its own.
#[derive(Clone, PartialEq)]
pub enum Private<T> {
    /// The plain value, and the key it is to be sealed under.
    Open { key: KeyId, value: T },
    /// As it stands in the log.
    Sealed {
        key: KeyId,
        cipher: String,
        bound: Bound,
    },
    /// Its key has been deleted; nobody can read it any more.
    Shredded { key: KeyId },
    /// Its key is there and does not help.
    Unreadable { key: KeyId, fault: Fault },
    /// The plain value, to be shown to somebody who may see it; see [`Part::reveal`].
    Revealed { key: KeyId, value: T },
    /// As it stands in logs from before it was confidential; see [`upcast`](crate::upcast). It has no key,
    /// and is none of an event's [parts](Confidential::parts).
    Clear(T),
}

impl<T> Private<T> {
    pub fn new(key: KeyId, value: T) -> Self {
        Self::Open { key, value }
    }

    /// The key it names; zero, which is no key's number, where it names none.
    pub fn key(&self) -> KeyId {
        match self {
            Self::Clear(_) => KeyId::default(),
            Self::Open { key, .. }
            | Self::Sealed { key, .. }
            | Self::Shredded { key }
            | Self::Unreadable { key, .. }
            | Self::Revealed { key, .. } => *key,
        }
    }

    /// The plain value; `None` where it has been shredded or can't be read.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Open { value, .. } | Self::Revealed { value, .. } | Self::Clear(value) => {
                Some(value)
            }
            Self::Sealed { .. } | Self::Shredded { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// The plain value; `None` where it has been shredded or can't be read.
    pub fn into_value(self) -> Option<T> {
        match self {
            Self::Open { value, .. } | Self::Revealed { value, .. } | Self::Clear(value) => {
                Some(value)
            }
            Self::Sealed { .. } | Self::Shredded { .. } | Self::Unreadable { .. } => None,
        }
    }
}

impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self {
            Self::Open { .. } | Self::Revealed { .. } | Self::Clear(_) => "open",
            Self::Sealed { .. } => "sealed",
            Self::Shredded { .. } => "shredded",
            Self::Unreadable { fault, .. } => fault.as_str(),
        };
        write!(f, "Private({state}, key {})", self.key().0)
    }
}

/// What a part is sealed beside. Whoever says otherwise in the log has it found forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// By earlier versions: the event's id, and nothing in the case of an origin.
    Id,
    /// All that the event says in clear; see [`beside`](crate::beside).
    Event,
}

/// Why a part that has its key can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// It does not open under the key of its number: the part was changed after it was sealed, or what
    /// its event says beside it, or it belongs to another event, or the vault has another key of that
    /// number.
    Forged,
    /// It opens, and does not hold what its event says.
    Malformed,
}

impl Fault {
    /// As the audit and the feed of events name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Malformed => "malformed",
        }
    }
}

/// Why a part could not be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the data key {} is not at hand; it may have been shredded", .0.0)]
    NoKey(KeyId),
    #[error("the part under key {} can't be encrypted: {reason}", key.0)]
    Unsealable { key: KeyId, reason: String },
}

/// A confidential part, whatever it holds.
pub trait Part {
    fn key(&self) -> KeyId;

    /// Turns an open part into ciphertext that only opens beside `context`.
    fn seal(&mut self, key: &DataKey, context: &[u8]) -> Result<(), SealError>;

    /// Turns an open part into a sealed one whose ciphertext is yet to come, with something in its place,
    /// and tells what is to be encrypted.
    fn hold_place(&mut self, cipher: String) -> Result<Option<Vec<u8>>, SealError>;

    /// The ciphertext of a sealed part, and what it is sealed beside.
    fn sealed(&self) -> Option<(&str, Bound)>;

    /// Turns ciphertext into an open part; with no key into a shredded one, with another key than it
    /// was sealed under into an unreadable one.
    fn open(&mut self, key: Option<&DataKey>, context: &[u8]);

    /// Why it can't be read, if that is not because it was shredded.
    fn fault(&self) -> Option<Fault>;

    /// Whether it is open.
    fn is_readable(&self) -> bool;

    /// Makes the part a shredded one, whatever it was: its key is gone, or is about to be deleted.
    fn erase(&mut self);

    /// Lets an open part be serialized, for somebody who may see it.
    fn reveal(&mut self);
}

/// Something with confidential parts: events.
pub trait Confidential {
    /// Calls `visit` with each confidential part.
    fn parts(&mut self, visit: &mut dyn FnMut(&mut dyn Part));
}

impl<T: Serialize + DeserializeOwned> Part for Private<T> {
    fn key(&self) -> KeyId {
        self.key()
    }

    fn seal(&mut self, data_key: &DataKey, context: &[u8]) -> Result<(), SealError> {
        let key = Self::key(self);
        if let Some(plain) = self.hold_place(String::new())? {
            *self = Self::Sealed {
                key,
                cipher: encrypt_part(key, data_key, &plain, context)?,
                bound: Bound::Event,
            };
        }
        Ok(())
    }

    fn hold_place(&mut self, cipher: String) -> Result<Option<Vec<u8>>, SealError> {
        let Self::Open { key, value } = self else {
            return Ok(None);
        };
        let key = *key;
        let plain = serde_json::to_vec(value).map_err(|error| SealError::Unsealable {
            key,
            reason: error.to_string(),
        })?;
        *self = Self::Sealed {
            key,
            cipher,
            bound: Bound::Event,
        };
        Ok(Some(plain))
    }

    fn sealed(&self) -> Option<(&str, Bound)> {
        match self {
            Self::Sealed { cipher, bound, .. } => Some((cipher, *bound)),
            _ => None,
        }
    }

    fn open(&mut self, data_key: Option<&DataKey>, context: &[u8]) {
        let Self::Sealed { key, cipher, .. } = self else {
            return;
        };
        let key = *key;
        *self = match data_key.map(|data_key| decrypt(data_key, cipher, context)) {
            None => Self::Shredded { key },
            Some(None) => Self::Unreadable {
                key,
                fault: Fault::Forged,
            },
            Some(Some(plain)) => match json::from_slice(&plain) {
                Ok(value) => Self::Open { key, value },
                Err(_) => Self::Unreadable {
                    key,
                    fault: Fault::Malformed,
                },
            },
        };
    }

    fn is_readable(&self) -> bool {
        self.value().is_some()
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            Self::Unreadable { fault, .. } => Some(*fault),
            _ => None,
        }
    }

    fn erase(&mut self) {
        if !matches!(self, Self::Clear(_)) {
            *self = Self::Shredded { key: self.key() };
        }
    }

    fn reveal(&mut self) {
        let key = self.key();
        let part = std::mem::replace(self, Self::Shredded { key });
        *self = match part {
            Self::Open { key, value } => Self::Revealed { key, value },
            other => other,
        };
    }
}

/// Encrypts what a part [holds the place](Part::hold_place) of.
pub fn encrypt_part(
    key: KeyId,
    data_key: &DataKey,
    plain: &[u8],
    context: &[u8],
) -> Result<String, SealError> {
    encrypt(data_key, plain, context).ok_or_else(|| SealError::Unsealable {
        key,
        reason: "it is too long".to_owned(),
    })
}

/// Encrypts under a data key: base64 of what [`encrypt_bytes`] makes.
pub fn encrypt(key: &DataKey, plain: &[u8], context: &[u8]) -> Option<String> {
    Some(BASE64.encode(encrypt_bytes(key, plain, context)?))
}

/// Reverses [`encrypt`]; `None` where key, context or ciphertext are not those of then.
pub fn decrypt(key: &DataKey, sealed: &str, context: &[u8]) -> Option<Vec<u8>> {
    decrypt_bytes(key, &BASE64.decode(sealed).ok()?, context)
}

/// Encrypts under a data key: nonce and AES-256-GCM ciphertext.
pub fn encrypt_bytes(key: &DataKey, plain: &[u8], context: &[u8]) -> Option<Vec<u8>> {
    let nonce: [u8; NONCE] = rand::rng().random();
    let cipher = Aes256Gcm::new(&key.0.into());
    let payload = Payload {
        msg: plain,
        aad: context,
    };
    let sealed = cipher.encrypt(&Nonce::from(nonce), payload).ok()?;
    let mut whole = Vec::with_capacity(NONCE + sealed.len());
    whole.extend_from_slice(&nonce);
    whole.extend_from_slice(&sealed);
    Some(whole)
}

/// Reverses [`encrypt_bytes`]; `None` where key, context or ciphertext are not those of then.
pub fn decrypt_bytes(key: &DataKey, whole: &[u8], context: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = whole.split_first_chunk::<NONCE>()?;
    let cipher = Aes256Gcm::new(&key.0.into());
    cipher
        .decrypt(
            &Nonce::from(*nonce),
            Payload {
                msg: sealed,
                aad: context,
            },
        )
        .ok()
}

/// A ciphertext as it stands in the log. What is sealed otherwise than it used to be looks otherwise, so
/// that an earlier version, which could not open it, does not read it at all instead of taking it for
/// forged; [`beside`](crate::beside) knows its place by that.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "it is sealed in a way that this version of Hansard does not know"
)]
enum Cipher<'a> {
    Id(Cow<'a, str>),
    Event {
        #[serde(rename = "2")]
        cipher: Cow<'a, str>,
    },
}

/// How a part stands in the log: `{"k": 7, "c": {"2": "…"}}`, from earlier versions `{"k": 7, "c": "…"}`; revealed: `{"k": 7, "v": …}`,
/// `{"k": 7, "shredded": true}` or `{"k": 7, "unreadable": "forged"}`. A part that was never sealed is
/// read from `{"k": 0, "clear": …}` where [`or_clear`] reads, and shown as what is in it.
#[derive(Serialize)]
struct Written<'a, T> {
    k: KeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    c: Option<Cipher<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<&'a T>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shredded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<Fault>,
}

impl<T: Serialize> Serialize for Private<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut c, mut v, mut shredded, mut unreadable) = (None, None, false, None);
        match self {
            Self::Clear(value) => return value.serialize(serializer),
            Self::Open { .. } => {
                return Err(serde::ser::Error::custom(
                    "a confidential part was not sealed",
                ));
            }
            Self::Sealed { cipher, bound, .. } => {
                let cipher = Cow::from(cipher);
                c = Some(match bound {
                    Bound::Id => Cipher::Id(cipher),
                    Bound::Event => Cipher::Event { cipher },
                });
            }
            Self::Shredded { .. } => shredded = true,
            Self::Unreadable { fault, .. } => unreadable = Some(*fault),
            Self::Revealed { value, .. } => v = Some(value),
        }
        Written {
            k: self.key(),
            c,
            v,
            shredded,
            unreadable,
        }
        .serialize(serializer)
    }
}

/// A part as it is read.
#[derive(Deserialize)]
struct Read<T> {
    k: KeyId,
    c: Option<Cipher<'static>>,
    /// Only where [`or_clear`] reads.
    clear: Option<T>,
    unreadable: Option<Fault>,
}

impl<T> From<Read<T>> for Private<T> {
    fn from(read: Read<T>) -> Self {
        let key = read.k;
        let sealed = read.c.map(|cipher| match cipher {
            Cipher::Id(cipher) => (cipher.into_owned(), Bound::Id),
            Cipher::Event { cipher } => (cipher.into_owned(), Bound::Event),
        });
        match (sealed, read.clear, read.unreadable) {
            (Some((cipher, bound)), ..) => Self::Sealed { key, cipher, bound },
            (None, Some(value), _) => Self::Clear(value),
            (None, None, Some(fault)) => Self::Unreadable { key, fault },
            (None, None, None) => Self::Shredded { key },
        }
    }
}

impl<'de, T> Deserialize<'de> for Private<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What stands in clear is believed of nothing that was ever confidential.
        let Read::<IgnoredAny> {
            k, c, unreadable, ..
        } = Read::deserialize(deserializer)?;
        Ok(Self::from(Read {
            k,
            c,
            clear: None,
            unreadable,
        }))
    }
}

/// Reads a part that earlier versions wrote in clear; for `#[serde(deserialize_with)]`. Whoever can write to
/// the log can put anything there, as into whatever is not sealed.
pub fn or_clear<'de, D, T>(deserializer: D) -> Result<Private<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Read::deserialize(deserializer).map(Private::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_confidential_is_believed_in_clear() {
        let forged = json!({ "k": 0, "clear": "I agree" });
        let read: Private<String> = serde_json::from_value(forged.clone()).unwrap();
        assert!(matches!(read, Private::Shredded { .. }), "{read:?}");
        let older: Private<String> = or_clear(forged).unwrap();
        assert_eq!(older.value().unwrap(), "I agree");
    }

    fn key(byte: u8) -> DataKey {
        DataKey([byte; 32])
    }

    #[test]
    fn a_sealed_part_opens_under_its_key_and_event_only() {
        let mut part = Private::new(KeyId(7), "for your eyes".to_owned());
        part.seal(&key(1), b"event").unwrap();
        let stored = serde_json::to_string(&part).unwrap();
        assert!(!stored.contains("eyes"));

        let read = || serde_json::from_str::<Private<String>>(&stored).unwrap();
        let mut opened = read();
        opened.open(Some(&key(1)), b"event");
        assert_eq!(opened.value().map(String::as_str), Some("for your eyes"));
        assert_eq!(opened.fault(), None);
        for (other, context) in [(key(2), b"event"), (key(1), b"other")] {
            let mut forged = read();
            forged.open(Some(&other), context);
            assert_eq!(forged.value(), None);
            assert_eq!(forged.fault(), Some(Fault::Forged));
            let stored = serde_json::to_string(&forged).unwrap();
            assert_eq!(stored, r#"{"k":7,"unreadable":"forged"}"#);
            assert_eq!(
                serde_json::from_str::<Private<String>>(&stored).unwrap(),
                forged
            );
        }

        let mut shredded = read();
        shredded.open(None, b"event");
        assert_eq!((shredded.value(), shredded.fault()), (None, None));
    }

    #[test]
    fn a_part_that_holds_something_else_is_malformed() {
        let mut part = Private::new(KeyId(7), "a text".to_owned());
        part.seal(&key(1), b"event").unwrap();
        let stored = serde_json::to_string(&part).unwrap();
        let mut number = serde_json::from_str::<Private<u32>>(&stored).unwrap();
        number.open(Some(&key(1)), b"event");
        assert_eq!(number.fault(), Some(Fault::Malformed));
    }

    #[test]
    fn an_open_part_refuses_to_be_written_and_to_be_printed() {
        let part = Private::new(KeyId(7), "for your eyes".to_owned());
        assert!(serde_json::to_string(&part).is_err());
        assert!(!format!("{part:?}").contains("eyes"));
    }

    #[test]
    fn a_revealed_part_is_written_in_the_clear() {
        let mut part = Private::new(KeyId(7), "for your eyes".to_owned());
        part.reveal();
        assert_eq!(
            serde_json::to_string(&part).unwrap(),
            r#"{"k":7,"v":"for your eyes"}"#
        );
    }
}
