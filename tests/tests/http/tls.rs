//! TLS of the server's own: it is served, renewed without a break, and what can't work is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hansard_tests::raw::Raw;
use hansard_tests::server::{Options, Server, command, eventually};
use rcgen::{CertifiedKey, KeyPair};
use reqwest::{Method, Version};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: hansard\r\n\r\n";

/// A certificate, and the files that a server reads it from.
struct Pair {
    directory: TempDir,
}

fn fresh() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap()
}

impl Pair {
    fn of(pair: &CertifiedKey<KeyPair>) -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        files.write(pair);
        files
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the certificate first, so that for a moment the key is another one's.
    fn write(&self, pair: &CertifiedKey<KeyPair>) {
        std::fs::write(self.file("cert.pem"), pair.cert.pem()).unwrap();
        std::fs::write(self.file("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    }

    fn options(&self, trusted: &CertifiedKey<KeyPair>) -> Options {
        let path = |name| self.file(name).to_str().unwrap().to_owned();
        Options {
            environment: vec![
                ("HANSARD_TLS_CERT".to_owned(), path("cert.pem")),
                ("HANSARD_TLS_KEY".to_owned(), path("key.pem")),
            ],
            trusted: Some(trusted.cert.pem()),
            ..Options::default()
        }
    }
}

/// A connection to a server, which has to have this certificate.
async fn connect(
    server: &Server,
    certificate: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(HEALTH.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with('}') {
        let byte = stream.read_u8().await.expect("the answer goes on");
        answer.push(byte.into());
    }
    answer
}

#[tokio::test]
async fn everything_is_served_over_tls_and_nothing_without() {
    let pair = fresh();
    let server = Server::start_with(Pair::of(&pair).options(&pair)).await;
    let admin = server.admin().await;
    admin.say("GENERAL", "in confidence").await;
    let answer = admin.request(Method::GET, "/health").send().await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_11);
    let transport = &answer.headers()["strict-transport-security"];
    assert_eq!(transport, "max-age=31536000");

    let mut plain = Raw::connect(&server).await;
    plain.send(HEALTH).await;
    let told = plain.answer().await.unwrap();
    assert_eq!(told.status, 400);
    assert_eq!(told.body, "HTTPS is spoken here: begin the URL with https");
    assert!(plain.closed().await.is_empty());
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let pair = fresh();
    let files = Pair::of(&pair);
    let options = files.options(&pair).flag("HEADER_TIMEOUT", "1");
    let server = Server::start_with(options).await;
    let mut silent = Raw::connect(&server).await;
    assert!(silent.closed().await.is_empty());
    let mut half = Raw::connect(&server).await;
    // The beginning of a TLS record.
    half.send([22, 3, 1, 2]).await;
    assert!(half.closed().await.is_empty());
}

#[tokio::test]
async fn a_new_certificate_is_taken_over_without_a_break() {
    let (first, second, third) = (fresh(), fresh(), fresh());
    let files = Pair::of(&first);
    let mut server = Server::start_with(files.options(&first)).await;
    let mut open = connect(&server, first.cert.der()).await.unwrap();
    assert!(ask(&mut open).await.contains("ok"));

    files.write(&second);
    eventually("the new certificate is used", || async {
        connect(&server, second.cert.der()).await.is_ok()
    })
    .await;
    assert!(connect(&server, first.cert.der()).await.is_err());
    assert!(ask(&mut open).await.contains("ok"), "it was open before");

    std::fs::write(files.file("cert.pem"), third.cert.pem()).unwrap();
    eventually("a pair that does not fit is told", || async {
        server.output().contains("the old one stays")
    })
    .await;
    let output = server.output();
    assert!(
        output.contains("does not belong to the certificate"),
        "{output}"
    );
    assert!(connect(&server, second.cert.der()).await.is_ok());

    files.write(&third);
    eventually("the next one is used", || async {
        connect(&server, third.cert.der()).await.is_ok()
    })
    .await;
    assert!(server.stop().await.success());
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_at_the_start() {
    let (one, other) = (fresh(), fresh());
    let files = Pair::of(&one);
    let file = |name: &str, content: &str| {
        let path = files.file(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let (certificate, key) = (files.file("cert.pem"), files.file("key.pem"));
    let other = file("other.pem", &other.signing_key.serialize_pem());
    let text = file("text.pem", "This is not a certificate.\n");
    let missing = files.file("missing.pem");
    let protected = file(
        "protected.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let refused = |certificate: Option<&Path>, key: Option<&Path>| {
        let mut command = command(&["timeout", "60"]);
        command.args(["--listen", "127.0.0.1:0", "--data"]);
        let data = files.file("data");
        command.arg(&data);
        for (flag, path) in [("--tls-cert", certificate), ("--tls-key", key)] {
            if let Some(path) = path {
                command.arg(flag).arg(path);
            }
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!data.exists(), "nothing is made");
        String::from_utf8(output.stderr).unwrap()
    };
    for (certificate, key, told) in [
        (Some(&certificate), None, "--tls-cert needs --tls-key"),
        (None, Some(&key), "--tls-key needs --tls-cert"),
        (Some(&missing), Some(&key), "--tls-cert names, /"),
        (Some(&certificate), Some(&missing), "--tls-key names, /"),
        (Some(&text), Some(&key), "text.pem holds no certificate"),
        (
            Some(&certificate),
            Some(&text),
            "text.pem holds no private key",
        ),
        (
            Some(&certificate),
            Some(&other),
            "other.pem does not belong to",
        ),
        (Some(&certificate), Some(&protected), "openssl pkey -in"),
    ] {
        let error = refused(certificate.map(AsRef::as_ref), key.map(AsRef::as_ref));
        assert!(error.contains(told), "{told}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
}
