//! Keyed hashes, for what must be found again and must not stand in the log.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::vault::DataKey;

/// A key for one purpose out of a key for many: an HMAC-SHA-256.
pub fn derive(secret: &DataKey, purpose: &str, text: &str) -> DataKey {
    DataKey(whole(secret, purpose, text))
}

/// The first 16 bytes of an HMAC-SHA-256. The same text has other hashes for other purposes, none of
/// which holds a colon.
pub fn hash(secret: &DataKey, purpose: &str, text: &str) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&whole(secret, purpose, text)[..16]);
    first
}

fn whole(secret: &DataKey, purpose: &str, text: &str) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&secret.0)
        .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
    mac.update(purpose.as_bytes());
    mac.update(b":");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// The same in lower-case hexadecimal.
pub fn hex(secret: &DataKey, purpose: &str, text: &str) -> String {
    format!("{:032x}", u128::from_be_bytes(hash(secret, purpose, text)))
}
