//! The master key: what the keys in a vault are wrapped with, and how that is done.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hansard_domain::vault::{DataKey, KeyId};
use rand::Rng;
use zeroize::Zeroizing;

use crate::plain;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("a master key is 64 hexadecimal characters, {0}")]
    Malformed(String),
    #[error("the file {path} does not hold a master key: {source}", path = path.display())]
    File {
        path: PathBuf,
        source: Box<MasterKeyError>,
    },
    #[error("cannot read the master key {path}: {}", plain::io(source), path = path.display())]
    NotRead { path: PathBuf, source: io::Error },
    #[error("cannot write a new master key to {path}: {}", plain::io(source), path = path.display())]
    NotWritten { path: PathBuf, source: io::Error },
}

/// 256 bits that open a vault. Wiped from memory when dropped; never printed.
#[derive(Debug, Clone)]
pub struct MasterKey(DataKey);

const NONCE: usize = 12;

impl MasterKey {
    /// A fresh random key.
    pub fn random() -> Self {
        Self(random_key())
    }

    /// Reads 64 hexadecimal characters, as `HANSARD_MASTER_KEY` holds them.
    pub fn from_hex(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim().as_bytes();
        if text.len() != 64 {
            let found = format!("not {}", text.len());
            return Err(MasterKeyError::Malformed(found));
        }
        let mut key = DataKey([0; 32]);
        for (index, pair) in text.chunks_exact(2).enumerate() {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                let place = format!("the one at {} or after it is something else", index * 2 + 1);
                return Err(MasterKeyError::Malformed(place));
            };
            key.0[index] = (high * 16 + low) as u8;
        }
        Ok(Self(key))
    }

    /// Reads the key from a file, or makes one there that only its owner can read.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Self, MasterKeyError> {
        let path = path.as_ref();
        match File::open(path) {
            Ok(mut file) => {
                let mut text = Zeroizing::new(String::new());
                file.read_to_string(&mut text)
                    .map_err(|source| MasterKeyError::NotRead {
                        path: path.to_path_buf(),
                        source,
                    })?;
                Self::from_hex(&text).map_err(|source| MasterKeyError::File {
                    path: path.to_path_buf(),
                    source: Box::new(source),
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::random();
                key.create(path)
                    .map_err(|source| MasterKeyError::NotWritten {
                        path: path.to_path_buf(),
                        source,
                    })?;
                Ok(key)
            }
            Err(source) => Err(MasterKeyError::NotRead {
                path: path.to_path_buf(),
                source,
            }),
        }
    }

    /// Written whole or not at all, and durable before any key is wrapped with it: without it the
    /// vault is lost.
    fn create(&self, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        let mut text = Zeroizing::new(String::with_capacity(65));
        for byte in &self.0.0 {
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(u32::from(digit), 16));
            }
        }
        text.push('\n');
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&self.0.0.into())
    }
}

/// Says what a wrapped key is for; it is authenticated with it, so that one can't be put in
/// another's place.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    Data(KeyId),
    Secret(&'a str),
    /// Data keys that share a block of this number.
    Block(u64),
    /// The keys of blocks that share a root of this number.
    Root(u64),
    /// A value known to be wrapped rightly, by which a wrong master key is told.
    Check,
}

impl Purpose<'_> {
    fn associated(self) -> Vec<u8> {
        match self {
            Self::Data(id) => [b"key:".as_slice(), &id.0.to_be_bytes()].concat(),
            Self::Secret(name) => [b"secret:".as_slice(), name.as_bytes()].concat(),
            Self::Block(id) => [b"block:".as_slice(), &id.to_be_bytes()].concat(),
            Self::Root(id) => [b"root:".as_slice(), &id.to_be_bytes()].concat(),
            Self::Check => b"check".to_vec(),
        }
    }
}

/// A wrapped key that the master key does not open.
#[derive(Debug, PartialEq, Eq)]
pub struct NotOpened;

/// Wraps and unwraps keys; keeps the expanded master key, or that of another key that keys are wrapped
/// with.
pub struct Wrapping(Aes256Gcm);

impl Wrapping {
    pub fn new(master: &MasterKey) -> Self {
        Self(master.cipher())
    }

    /// With a key that is itself kept wrapped.
    pub(super) fn under(key: &DataKey) -> Self {
        Self(Aes256Gcm::new(&key.0.into()))
    }

    /// The nonce, the encrypted key and its tag: 60 bytes.
    pub fn wrap(&self, key: &DataKey, purpose: Purpose) -> Result<Vec<u8>, NotOpened> {
        self.seal(&key.0, purpose)
    }

    pub fn unwrap(&self, wrapped: &[u8], purpose: Purpose) -> Result<DataKey, NotOpened> {
        let opened = self.open(wrapped, purpose)?;
        let mut key = DataKey([0; 32]);
        if opened.len() != key.0.len() {
            return Err(NotOpened);
        }
        key.0.copy_from_slice(&opened);
        Ok(key)
    }

    /// The nonce, any number of encrypted keys and the tag: 28 bytes more.
    ///
    /// The nonce is random, not the key's number: a vault restored from a backup gave numbers out a
    /// second time.
    pub(super) fn seal(&self, keys: &[u8], purpose: Purpose) -> Result<Vec<u8>, NotOpened> {
        let mut nonce = [0; NONCE];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload {
            msg: keys,
            aad: &purpose.associated(),
        };
        let sealed = self
            .0
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| NotOpened)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    pub(super) fn open(
        &self,
        sealed: &[u8],
        purpose: Purpose,
    ) -> Result<Zeroizing<Vec<u8>>, NotOpened> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(NotOpened)?;
        let payload = Payload {
            msg: sealed,
            aad: &purpose.associated(),
        };
        let opened = self.0.decrypt(&Nonce::from(*nonce), payload);
        opened.map(Zeroizing::new).map_err(|_| NotOpened)
    }
}

/// A key from the thread's cryptographic generator.
pub fn random_key() -> DataKey {
    let mut key = DataKey([0; 32]);
    rand::rng().fill_bytes(&mut key.0);
    key
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        let made = MasterKey::load_or_create(&path).unwrap();
        let read = MasterKey::load_or_create(&path).unwrap();
        assert_eq!(made.0, read.0);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim().len(), 64);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        std::fs::write(&path, "too short").unwrap();
        let refused = MasterKey::load_or_create(&path).unwrap_err().to_string();
        assert!(
            refused.contains("master.key") && refused.contains("64"),
            "{refused}"
        );
        let refused = MasterKey::from_hex(&"0g".repeat(32))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("at 1 or"), "{refused}");
        assert!(MasterKey::from_hex(&"aF".repeat(32)).is_ok());
    }

    #[test]
    fn a_wrapped_key_opens_in_its_own_place_only() {
        let wrapping = Wrapping::new(&MasterKey::random());
        let key = random_key();
        let wrapped = wrapping.wrap(&key, Purpose::Data(KeyId(1))).unwrap();
        assert_eq!(wrapping.unwrap(&wrapped, Purpose::Data(KeyId(1))), Ok(key));
        assert_eq!(
            wrapping.unwrap(&wrapped, Purpose::Data(KeyId(2))),
            Err(NotOpened)
        );
        let other = Wrapping::new(&MasterKey::random());
        assert_eq!(
            other.unwrap(&wrapped, Purpose::Data(KeyId(1))),
            Err(NotOpened)
        );
    }
}
