//! Sealing: how confidential parts of events reach the log only as ciphertext.
//!
//! An event holds such a part as [`Private<T>`]. Code that decides or projects sees the plain value;
//! on the way into the log the part is encrypted under the data key it names, on the way out it is
//! opened again, or found [`Shredded`](Private::Shredded) when that key is gone. A part that is still
//! open refuses to be serialized, so that no slip can write it out in the clear.
//!
//! Ciphertext is AES-256-GCM with a random 96-bit nonce in front and the event's id as associated
//! data, in base64.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use rand::RngExt;
use serde::de::DeserializeOwned;
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
    Sealed { key: KeyId, cipher: String },
    /// Its key has been deleted; nobody can read it any more.
    Shredded { key: KeyId },
    /// The plain value, to be shown to somebody who may see it; see [`Part::reveal`].
    Revealed { key: KeyId, value: T },
}

impl<T> Private<T> {
    pub fn new(key: KeyId, value: T) -> Self {
        Self::Open { key, value }
    }

    pub fn key(&self) -> KeyId {
        match self {
            Self::Open { key, .. }
            | Self::Sealed { key, .. }
            | Self::Shredded { key }
            | Self::Revealed { key, .. } => *key,
        }
    }

    /// The plain value; `None` once it has been shredded.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Open { value, .. } | Self::Revealed { value, .. } => Some(value),
            Self::Sealed { .. } | Self::Shredded { .. } => None,
        }
    }

    /// The plain value; `None` once it has been shredded.
    pub fn into_value(self) -> Option<T> {
        match self {
            Self::Open { value, .. } | Self::Revealed { value, .. } => Some(value),
            Self::Sealed { .. } | Self::Shredded { .. } => None,
        }
    }
}

impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self {
            Self::Open { .. } | Self::Revealed { .. } => "open",
            Self::Sealed { .. } => "sealed",
            Self::Shredded { .. } => "shredded",
        };
        write!(f, "Private({state}, key {})", self.key().0)
    }
}

/// Why a part could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the data key {} is not at hand; it may have been shredded", .0.0)]
    NoKey(KeyId),
    #[error("the part under key {} was changed after it was sealed, or belongs to another event", .0.0)]
    Forged(KeyId),
    #[error("the part under key {} does not hold what its event says: {reason}", key.0)]
    Unreadable { key: KeyId, reason: String },
}

/// A confidential part, whatever it holds.
pub trait Part {
    fn key(&self) -> KeyId;

    /// Turns an open part into ciphertext that only opens beside `context` (the event's id).
    fn seal(&mut self, key: &DataKey, context: &[u8]) -> Result<(), SealError>;

    /// Turns ciphertext into an open part; with no key, into a shredded one.
    fn open(&mut self, key: Option<&DataKey>, context: &[u8]) -> Result<(), SealError>;

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
        let Self::Open { key, value } = self else {
            return Ok(());
        };
        let key = *key;
        let plain = serde_json::to_vec(value).map_err(|error| SealError::Unreadable {
            key,
            reason: error.to_string(),
        })?;
        let cipher = encrypt(data_key, &plain, context).ok_or(SealError::Forged(key))?;
        *self = Self::Sealed { key, cipher };
        Ok(())
    }

    fn open(&mut self, data_key: Option<&DataKey>, context: &[u8]) -> Result<(), SealError> {
        let Self::Sealed { key, cipher } = self else {
            return Ok(());
        };
        let key = *key;
        let Some(data_key) = data_key else {
            *self = Self::Shredded { key };
            return Ok(());
        };
        let plain = decrypt(data_key, cipher, context).ok_or(SealError::Forged(key))?;
        let value = json::from_slice(&plain).map_err(|error| SealError::Unreadable {
            key,
            reason: error.to_string(),
        })?;
        *self = Self::Open { key, value };
        Ok(())
    }

    fn erase(&mut self) {
        *self = Self::Shredded { key: self.key() };
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

/// Encrypts under a data key: base64 of nonce and AES-256-GCM ciphertext.
pub fn encrypt(key: &DataKey, plain: &[u8], context: &[u8]) -> Option<String> {
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
    Some(BASE64.encode(whole))
}

/// Reverses [`encrypt`]; `None` where key, context or ciphertext are not those of then.
pub fn decrypt(key: &DataKey, sealed: &str, context: &[u8]) -> Option<Vec<u8>> {
    let whole = BASE64.decode(sealed).ok()?;
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

/// How a part stands in the log: `{"k": 7, "c": "…"}`; revealed: `{"k": 7, "v": …}`.
#[derive(Serialize, Deserialize)]
struct Written<'a, T> {
    k: KeyId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    c: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        default = "none",
        skip_deserializing
    )]
    v: Option<&'a T>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    shredded: bool,
}

fn none<T>() -> Option<T> {
    None
}

impl<T: Serialize> Serialize for Private<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (c, v, shredded) = match self {
            Self::Open { .. } => {
                return Err(serde::ser::Error::custom(
                    "a confidential part was not sealed",
                ));
            }
            Self::Sealed { cipher, .. } => (Some(cipher.clone()), None, false),
            Self::Shredded { .. } => (None, None, true),
            Self::Revealed { value, .. } => (None, Some(value), false),
        };
        Written {
            k: self.key(),
            c,
            v,
            shredded,
        }
        .serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Private<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::<()>::deserialize(deserializer)?;
        Ok(match written.c {
            Some(cipher) => Self::Sealed {
                key: written.k,
                cipher,
            },
            None => Self::Shredded { key: written.k },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        opened.open(Some(&key(1)), b"event").unwrap();
        assert_eq!(opened.value().map(String::as_str), Some("for your eyes"));
        assert_eq!(
            read().open(Some(&key(2)), b"event"),
            Err(SealError::Forged(KeyId(7)))
        );
        assert_eq!(
            read().open(Some(&key(1)), b"other"),
            Err(SealError::Forged(KeyId(7)))
        );

        let mut shredded = read();
        shredded.open(None, b"event").unwrap();
        assert_eq!(shredded.value(), None);
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
