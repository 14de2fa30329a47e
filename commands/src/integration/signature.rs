//! Signatures of outgoing webhooks as in the Standard Webhooks specification: HMAC-SHA-256 over id,
//! time and body, so that a receiver can tell that a delivery is ours, whole, and not an old one
//! played again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hansard_domain::id::{DeliveryId, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a secret starts with; base64 follows.
const PREFIX: &str = "whsec_";

/// The length of a new secret, in bytes.
const SECRET: usize = 24;

/// A new secret, `whsec_…`.
pub fn new_secret() -> String {
    let secret: [u8; SECRET] = rand::random();
    format!("{PREFIX}{}", STANDARD.encode(secret))
}

/// The headers that sign a delivery. A retry keeps its id and has a time of its own.
pub fn headers(
    secret: &str,
    id: &DeliveryId,
    at: Timestamp,
    body: &str,
) -> Vec<(&'static str, String)> {
    let seconds = at.0.div_euclid(1000);
    vec![
        ("webhook-id", id.to_string()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", sign(secret, id, seconds, body)),
    ]
}

fn sign(secret: &str, id: &DeliveryId, seconds: i64, body: &str) -> String {
    let encoded = secret.strip_prefix(PREFIX).unwrap_or(secret);
    // A secret that is no base64 was brought along by somebody; it counts as it stands.
    let key = STANDARD
        .decode(encoded)
        .unwrap_or_else(|_| secret.as_bytes().to_vec());
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key)
        .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of the specification's own libraries.
    #[test]
    fn the_specification_signs_the_same() {
        let headers = headers(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            &"msg_p5jXN8AQM9LWM0D4loKWxJek".into(),
            Timestamp(1_614_265_330_999),
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(
            headers,
            [
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned()),
                ("webhook-timestamp", "1614265330".to_owned()),
                (
                    "webhook-signature",
                    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn new_secrets_differ_and_hold_24_bytes() {
        let secret = new_secret();
        assert_ne!(secret, new_secret());
        let encoded = secret.strip_prefix(PREFIX).unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap().len(), SECRET);
    }
}
