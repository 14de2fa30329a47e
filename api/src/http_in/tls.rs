//! TLS of the server's own, for whoever has no proxy in front.
//!
//! Certificate and key are read again when they change. Connections that are open go on with what they
//! began with; a new pair that can't be used is logged, and the old one stays.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hansard_infra::plain;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::config::{Config, readable_by_others};

/// How often it is looked whether the files have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What is spoken: HTTP/2 is left to proxies, whose limits are made for it.
const PROTOCOL: &[u8] = b"http/1.1";

/// A key that is protected by a passphrase begins like this.
const ENCRYPTED: [&[u8]; 2] = [
    b"-----BEGIN ENCRYPTED PRIVATE KEY",
    b"Proc-Type: 4,ENCRYPTED",
];

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0} needs --tls-key beside it: the file with the certificate's private key")]
    NoKeyFile(String),
    #[error("{0} needs --tls-cert beside it: the file with the key's certificate")]
    NoCertificateFile(String),
    #[error("cannot read the file that {place} names, {path}: {reason}", path = path.display())]
    Unreadable {
        place: String,
        path: PathBuf,
        reason: String,
    },
    #[error(
        "{path} holds no certificate; --tls-cert takes a PEM file (-----BEGIN CERTIFICATE-----) with \
         the server's certificate first and those that vouch for it after it",
        path = path.display()
    )]
    NoCertificate { path: PathBuf },
    #[error(
        "{path} holds no private key; --tls-key takes a PEM file with one (-----BEGIN PRIVATE KEY-----)",
        path = path.display()
    )]
    NoKey { path: PathBuf },
    #[error(
        "the private key in {path} is protected by a passphrase; write it without one: \
         openssl pkey -in {path} -out key.pem",
        path = path.display()
    )]
    Encrypted { path: PathBuf },
    #[error("{path} is not a PEM file that can be read: {reason}", path = path.display())]
    Broken { path: PathBuf, reason: String },
    #[error(
        "the private key in {key} does not belong to the certificate in {certificate}; the server's own \
         certificate has to be the first in its file",
        key = key.display(), certificate = certificate.display()
    )]
    Mismatch { key: PathBuf, certificate: PathBuf },
    #[error(
        "the certificate in {certificate} cannot be used with the key in {key}: {source}",
        certificate = certificate.display(), key = key.display()
    )]
    Unusable {
        certificate: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
}

/// The files of a certificate.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// Where each was given.
    places: [String; 2],
}

/// What the files held when they were read.
struct Read {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

/// By what a change of the files is known.
type Digest = [u8; 32];

/// The certificate that new connections get.
struct Current(ArcSwap<CertifiedKey>);

/// See the module.
pub struct Tls {
    files: Files,
    first: Digest,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Read {
    fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(self.certificate.len().to_le_bytes());
        hash.update(&self.certificate);
        hash.update(&self.key);
        hash.finalize().into()
    }
}

impl Files {
    fn read(&self) -> Result<Read, TlsError> {
        let [certificate, key] = &self.places;
        let read = |place: &String, path: &Path| {
            std::fs::read(path).map_err(|error| TlsError::Unreadable {
                place: place.clone(),
                path: path.to_owned(),
                reason: plain::io(&error),
            })
        };
        Ok(Read {
            certificate: read(certificate, &self.certificate)?,
            key: read(key, &self.key)?.into(),
        })
    }

    fn parse(&self, read: &Read, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let path = self.certificate.clone();
        let chain: Result<Vec<_>, pem::Error> =
            CertificateDer::pem_slice_iter(&read.certificate).collect();
        let chain = chain.map_err(|error| TlsError::Broken {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path });
        }
        let key = self.parse_key(&read.key)?;
        CertifiedKey::from_der(chain, key, provider).map_err(|source| match source {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch {
                key: self.key.clone(),
                certificate: path,
            },
            source => self.unusable(source),
        })
    }

    fn unusable(&self, source: rustls::Error) -> TlsError {
        TlsError::Unusable {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        }
    }

    fn parse_key(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
        let path = self.key.clone();
        let protected = |mark: &[u8]| pem.windows(mark.len()).any(|window| window == mark);
        if ENCRYPTED.into_iter().any(protected) {
            return Err(TlsError::Encrypted { path });
        }
        PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey { path },
            error => TlsError::Broken {
                path,
                reason: error.to_string(),
            },
        })
    }
}

impl Tls {
    /// The certificate that the configuration names, if it names one.
    pub fn of(config: &Config) -> Result<Option<Arc<Self>>, TlsError> {
        let places = ["tls-cert", "tls-key"].map(|name| config.place(name));
        let files = match (&config.tls_cert, &config.tls_key) {
            (None, None) => return Ok(None),
            (Some(_), None) => {
                let [certificate, _] = places;
                return Err(TlsError::NoKeyFile(certificate));
            }
            (None, Some(_)) => {
                let [_, key] = places;
                return Err(TlsError::NoCertificateFile(key));
            }
            (Some(certificate), Some(key)) => Files {
                certificate: certificate.clone(),
                key: key.clone(),
                places,
            },
        };
        Self::open(files).map(Arc::new).map(Some)
    }

    fn open(files: Files) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let read = files.read()?;
        let first = files.parse(&read, &provider)?;
        if let Some(mode) = readable_by_others(&files.key) {
            let file = files.key.display();
            tracing::warn!(%file, mode = format!("{mode:04o}"), "others can read the private key");
        }
        let current = Arc::new(Current(ArcSwap::from_pointee(first)));
        let unusable = |source| files.unusable(source);
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // Sessions are resumed by what the client keeps, not by memory of ours.
        config.ticketer = ring::Ticketer::new().map_err(unusable)?;
        Ok(Self {
            first: read.digest(),
            files,
            current,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            provider,
        })
    }

    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Takes over what the files hold when they change, until it is told to stop.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut seen = Some(self.first);
        let mut interval = tokio::time::interval(LOOK_AGAIN);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = interval.tick() => {}
            }
            let files = self.files.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || files.read()).await else {
                return;
            };
            let read = match read {
                Ok(read) if seen == Some(read.digest()) => continue,
                Ok(read) => read,
                // Told once; a file may be away for the moment in which it is replaced.
                Err(error) => {
                    if seen.take().is_some() {
                        tracing::warn!(%error, "the certificate in use stays");
                    }
                    continue;
                }
            };
            match self.files.parse(&read, &self.provider) {
                Ok(key) => {
                    self.current.0.store(Arc::new(key));
                    tracing::info!(
                        file = %self.files.certificate.display(),
                        "new connections get the new certificate"
                    );
                }
                Err(error) => {
                    tracing::error!(%error, "the new certificate is not used, the old one stays");
                }
            }
            seen = Some(read.digest());
        }
    }
}
