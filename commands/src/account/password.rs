//! Passwords: how they are hashed, compared, and what a workspace demands of a new one.
//!
//! What is hashed is the SHA-256 of the password in hexadecimal: clients may send that digest instead
//! of the password, and both must log in. The hash is argon2id with the parameters OWASP recommends
//! (19 MiB, two passes, one lane).

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use hansard_domain::account::PasswordHash;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::hashing::{Asker, Hashing};
use crate::error::CommandError;
use crate::model::WriteModel;

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes are computed on blocking threads, each with 19 MiB. One core is left to other work, where
/// there are two or more.
static HASHING: LazyLock<Arc<Hashing>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Hashing::new(cores - 1)
});

/// What is compared where there is no account, so that the answer takes as long as where there is.
static NOBODYS: LazyLock<Option<PasswordHash>> =
    LazyLock::new(|| compute(&Secret::of("nobody has this password")));

/// A password as a client proves it: the hexadecimal SHA-256 of it, in lower case.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Of a password in the clear.
    pub fn of(password: &str) -> Self {
        let mut digest = Zeroizing::new(String::with_capacity(64));
        for byte in Sha256::digest(password.as_bytes()) {
            let _ = write!(digest, "{byte:02x}");
        }
        Self(digest)
    }

    /// Of a digest that the client computed; `None` if it is no SHA-256 in hexadecimal.
    pub fn of_digest(digest: &str) -> Option<Self> {
        let digest = Zeroizing::new(digest.trim().to_ascii_lowercase());
        let well_formed = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        well_formed.then_some(Self(digest))
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn compute(secret: &Secret) -> Option<PasswordHash> {
    let hashed: Phc = argon2().hash_password(secret.0.as_bytes()).ok()?;
    Some(PasswordHash(hashed.to_string()))
}

fn matches(secret: &Secret, hash: &PasswordHash) -> bool {
    Phc::new(&hash.0).is_ok_and(|hash| argon2().verify_password(secret.0.as_bytes(), &hash).is_ok())
}

async fn on_a_blocking_thread<T: Send + 'static>(
    asker: Asker,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CommandError> {
    let turn = HASHING.turn(asker).await?;
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    done.await.map_err(|_| CommandError::Stopping)
}

/// The hash to keep of a password.
pub async fn hash(asker: Asker, secret: Secret) -> Result<PasswordHash, CommandError> {
    on_a_blocking_thread(asker, move || compute(&secret))
        .await?
        .ok_or_else(|| CommandError::refused("error-invalid-password", "Invalid password"))
}

/// Whether this is the password. Takes as long where there is none to compare with.
pub async fn verify(
    asker: Asker,
    secret: Secret,
    hash: Option<PasswordHash>,
) -> Result<bool, CommandError> {
    on_a_blocking_thread(asker, move || match (hash, NOBODYS.as_ref()) {
        (Some(hash), _) => matches(&secret, &hash),
        (None, Some(nobodys)) => {
            let _ = matches(&secret, nobodys);
            false
        }
        (None, None) => false,
    })
    .await
}

/// Computes [`NOBODYS`] ahead, so that the first unknown name does not take longer than later ones.
pub async fn warm_up() {
    // It only fails when the server is stopping.
    let _ = on_a_blocking_thread(Asker::server(), || LazyLock::force(&NOBODYS).is_some()).await;
}

const NOT_MET: &str = "The password provided does not meet the server's password policy.";

/// Refuses a new password that the workspace's policy does not allow; the details say why.
pub fn check_policy(model: &WriteModel, password: &str) -> Result<(), CommandError> {
    let not_met = |details: Value| {
        Err(CommandError::refused_with(
            "error-password-policy-not-met",
            NOT_MET,
            details,
        ))
    };
    if password.trim().is_empty() {
        return not_met(Value::Null);
    }
    if !model.flag("Accounts_Password_Policy_Enabled") {
        return Ok(());
    }
    let broken = Policy::of(model).broken_by(password);
    if broken.is_empty() {
        return Ok(());
    }
    let reasons = broken.iter().map(|(code, message)| {
        json!({ "error": format!("error-password-policy-not-met-{code}"), "message": message })
    });
    not_met(reasons.collect())
}

/// What the workspace demands; a limit below 1 is none.
struct Policy {
    min_length: i64,
    max_length: i64,
    /// A character may stand so many times in a row.
    repetitions: Option<i64>,
    lowercase: bool,
    uppercase: bool,
    number: bool,
    special: bool,
}

impl Policy {
    fn of(model: &WriteModel) -> Self {
        let number = |name: &str| model.number(&format!("Accounts_Password_Policy_{name}"));
        let flag = |name: &str| model.flag(&format!("Accounts_Password_Policy_{name}"));
        Self {
            min_length: number("MinLength"),
            max_length: number("MaxLength"),
            repetitions: flag("ForbidRepeatingCharacters")
                .then(|| number("ForbidRepeatingCharactersCount")),
            lowercase: flag("AtLeastOneLowercase"),
            uppercase: flag("AtLeastOneUppercase"),
            number: flag("AtLeastOneNumber"),
            special: flag("AtLeastOneSpecialCharacter"),
        }
    }

    /// The rules that a password breaks, as Rocket.Chat names and words them.
    fn broken_by(&self, password: &str) -> Vec<(&'static str, &'static str)> {
        let length = password.encode_utf16().count() as i64;
        let lacks = |kind: fn(char) -> bool| !password.chars().any(kind);
        let rules = [
            (
                self.min_length >= 1 && length < self.min_length,
                "minLength",
                "The password does not meet the minimum length password policy.",
            ),
            (
                self.max_length >= 1 && length > self.max_length,
                "maxLength",
                "The password does not meet the maximum length password policy.",
            ),
            (
                self.repetitions
                    .is_some_and(|most| longest_run(password) > most.max(1)),
                "repeatingCharacters",
                "The password contains repeating characters which is against the password policy.",
            ),
            (
                self.lowercase && lacks(|c| c.is_ascii_lowercase()),
                "oneLowercase",
                "The password does not contain at least one lowercase character which is against \
                 the password policy.",
            ),
            (
                self.uppercase && lacks(|c| c.is_ascii_uppercase()),
                "oneUppercase",
                "The password does not contain at least one uppercase character which is against \
                 the password policy.",
            ),
            (
                self.number && lacks(|c| c.is_ascii_digit()),
                "oneNumber",
                "The password does not contain at least one numerical character which is against \
                 the password policy.",
            ),
            (
                self.special && lacks(is_special),
                "oneSpecial",
                "The password does not contain at least one special character which is against \
                 the password policy.",
            ),
        ];
        rules
            .into_iter()
            .filter(|(broken, ..)| *broken)
            .map(|(_, code, message)| (code, message))
            .collect()
    }
}

fn is_special(character: char) -> bool {
    !character.is_ascii_alphanumeric() && character != ' '
}

/// How often a character stands in a row, at most.
fn longest_run(text: &str) -> i64 {
    let (mut longest, mut run, mut last) = (0, 0, None);
    for character in text.chars() {
        run = if last == Some(character) { run + 1 } else { 1 };
        longest = longest.max(run);
        last = Some(character);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Policy = Policy {
        min_length: 7,
        max_length: 12,
        repetitions: Some(3),
        lowercase: true,
        uppercase: true,
        number: true,
        special: true,
    };

    fn broken(password: &str) -> Vec<&'static str> {
        let rules = STRICT.broken_by(password).into_iter();
        rules.map(|(code, _)| code).collect()
    }

    #[test]
    fn a_password_is_told_every_rule_it_breaks() {
        assert_eq!(broken("Abc@1234"), Vec::<&str>::new());
        assert_eq!(broken("Ab@1"), ["minLength"]);
        assert_eq!(broken("Abc@123456789"), ["maxLength"]);
        assert_eq!(broken("A@123aaaa"), ["repeatingCharacters"]);
        assert_eq!(broken("A@123aaa"), Vec::<&str>::new());
        assert_eq!(
            broken("password"),
            ["oneUppercase", "oneNumber", "oneSpecial"]
        );
        assert_eq!(broken("PASSWORD@1"), ["oneLowercase"]);
        assert_eq!(
            broken("a b c d e"),
            ["oneUppercase", "oneNumber", "oneSpecial"]
        );
    }

    #[test]
    fn a_digest_stands_for_its_password() {
        let digest = "5E884898DA28047151D0E56F8DC6292773603D0D6AABBDD62A11EF721D1542D8";
        let secret = Secret::of_digest(digest).expect("it is a digest");
        assert_eq!(*secret.0, *Secret::of("password").0);
        assert!(Secret::of_digest("password").is_none());
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_and_knows_its_password() {
        let server = Asker::server;
        let hashed = hash(server(), Secret::of("hush"))
            .await
            .expect("it is hashed");
        assert!(
            hashed.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            hashed.0
        );
        let right = verify(server(), Secret::of("hush"), Some(hashed.clone())).await;
        assert!(right.expect("it is compared"));
        let wrong = verify(server(), Secret::of("hash"), Some(hashed)).await;
        assert!(!wrong.expect("it is compared"));
        let nobody = verify(server(), Secret::of("nobody has this password"), None).await;
        assert!(!nobody.expect("it is compared"));
    }
}
