//! A claim on a name: what makes usernames, email addresses and room names unique.
//!
//! A claim is a stream named after a keyed hash of the name, so that no name stands in the log. It is
//! appended in the same commit as what takes the name.

use std::fmt;

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

use crate::keyed;
use crate::seal::{Confidential, Part};
use crate::vault::DataKey;

/// What a name is claimed for; the same name can be a username and a room's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Namespace {
    Username,
    Email,
    Room,
}

impl Namespace {
    fn as_str(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Email => "email",
            Self::Room => "room",
        }
    }
}

/// The secret of the vault that names are hashed with.
pub const CLAIMS: &str = "claims";

/// The key of a name's stream, `username-<hash>`: a [keyed hash](keyed) of the name in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClaimKey {
    namespace: Namespace,
    hash: [u8; 16],
}

impl ClaimKey {
    /// Reads a key as it stands in the name of a stream; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, hash) = text.split_once('-')?;
        let namespace = [Namespace::Username, Namespace::Email, Namespace::Room]
            .into_iter()
            .find(|known| known.as_str() == namespace)?;
        let hash = u128::from_str_radix(hash, 16).ok()?.to_be_bytes();
        Some(Self { namespace, hash })
    }
}

impl fmt::Display for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = u128::from_be_bytes(self.hash);
        write!(f, "{}-{hash:032x}", self.namespace.as_str())
    }
}

/// The key that a name has in this workspace.
pub fn claim_key(secret: &DataKey, namespace: Namespace, name: &str) -> ClaimKey {
    let hash = keyed::hash(secret, namespace.as_str(), &name.to_lowercase());
    ClaimKey { namespace, hash }
}

/// Whether two names are one to whoever claims them: they may differ in the case of their letters.
pub fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
pub enum ClaimEvent {
    NameClaimed { owner: String },
    NameReleased {},
}

#[derive(Debug, Clone)]
pub enum ClaimCommand {
    /// For the owner's id.
    Claim {
        owner: String,
    },
    Release {
        owner: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error("the name is taken")]
    Taken,
    #[error("the name belongs to somebody else")]
    NotOwner,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub owner: Option<String>,
}

impl DomainEvent for ClaimEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for ClaimEvent {
    fn parts(&mut self, _: &mut dyn FnMut(&mut dyn Part)) {}
}

impl Aggregate for Claim {
    const TYPE: &'static str = "name";
    type Command = ClaimCommand;
    type Event = ClaimEvent;
    type Error = ClaimError;
    type Services = ();

    async fn handle(
        &mut self,
        command: ClaimCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), ClaimError> {
        let event = match (command, &self.owner) {
            (ClaimCommand::Claim { owner }, Some(holder)) if *holder == owner => return Ok(()),
            (ClaimCommand::Claim { .. }, Some(_)) => return Err(ClaimError::Taken),
            (ClaimCommand::Claim { owner }, None) => ClaimEvent::NameClaimed { owner },
            (ClaimCommand::Release { owner }, Some(holder)) if *holder == owner => {
                ClaimEvent::NameReleased {}
            }
            (ClaimCommand::Release { .. }, _) => return Err(ClaimError::NotOwner),
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: ClaimEvent) {
        self.owner = match event {
            ClaimEvent::NameClaimed { owner } => Some(owner),
            ClaimEvent::NameReleased {} => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn claim(owner: &str) -> ClaimCommand {
        ClaimCommand::Claim {
            owner: owner.to_owned(),
        }
    }

    fn claimed(owner: &str) -> ClaimEvent {
        ClaimEvent::NameClaimed {
            owner: owner.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_name_has_one_owner_at_a_time() {
        TestFramework::<Claim>::with(())
            .given(vec![claimed("mary")])
            .when_async(claim("paul"))
            .await
            .then_expect_error(ClaimError::Taken);
        TestFramework::<Claim>::with(())
            .given(vec![claimed("mary"), ClaimEvent::NameReleased {}])
            .when_async(claim("paul"))
            .await
            .then_expect_events(vec![claimed("paul")]);
    }

    #[tokio::test]
    async fn only_its_owner_releases_a_name() {
        TestFramework::<Claim>::with(())
            .given(vec![claimed("mary")])
            .when_async(ClaimCommand::Release {
                owner: "paul".to_owned(),
            })
            .await
            .then_expect_error(ClaimError::NotOwner);
    }

    #[test]
    fn a_claim_key_hides_the_name_and_ignores_its_case() {
        let secret = DataKey([3; 32]);
        let key = claim_key(&secret, Namespace::Username, "Mary");
        assert_eq!(key, claim_key(&secret, Namespace::Username, "mary"));
        assert_ne!(key, claim_key(&secret, Namespace::Room, "mary"));
        assert_ne!(
            key,
            claim_key(&DataKey([4; 32]), Namespace::Username, "mary")
        );
        assert!(!key.to_string().contains("mary"));
    }

    #[test]
    fn a_claim_key_reads_what_it_writes() {
        for namespace in [Namespace::Username, Namespace::Email, Namespace::Room] {
            for secret in 0..20 {
                let key = claim_key(&DataKey([secret; 32]), namespace, "mary");
                assert_eq!(ClaimKey::parse(&key.to_string()), Some(key));
            }
        }
        for text in ["", "username", "username-xyz", "other-00"] {
            assert_eq!(ClaimKey::parse(text), None, "{text}");
        }
    }
}
