//! Where the log and the views are kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hansard_infra::log::eventstore::EventStoreConfig;
use hansard_infra::log::kafka::KafkaConfig;
use hansard_infra::postgres;
use hansard_projections::Location;

/// Where the event log is kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum LogStore {
    /// Files in the data directory.
    #[default]
    Sqlite,
    /// A database, by its URL.
    Postgres(String),
    /// A topic, by its URL.
    Kafka(String),
    /// A stream of an EventStoreDB, by its URL.
    EventStore(String),
}

/// Where the views are kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum ViewStore {
    /// Files in the data directory.
    #[default]
    Sqlite,
    /// A database that several nodes read, by its URL.
    Postgres(String),
}

/// A text that names no store.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownStore {
    #[error(
        "it takes sqlite, postgres://user:password@host/database, kafka://broker1,broker2/topic or \
         esdb://user:password@host/stream"
    )]
    Log,
    #[error("it takes sqlite or postgres://user:password@host/database")]
    Views,
    #[error("{0}")]
    Url(String),
}

/// The schemes of its URLs, old name and new; each may be followed by `+discover`.
const EVENT_STORE: [&str; 3] = ["esdb", "kurrentdb", "kurrent"];

fn checked<E: fmt::Display>(checked: Result<(), E>) -> Result<(), UnknownStore> {
    checked.map_err(|error| UnknownStore::Url(error.to_string()))
}

impl FromStr for LogStore {
    type Err = UnknownStore;

    fn from_str(text: &str) -> Result<Self, UnknownStore> {
        let url = text.to_owned();
        match text.split_once("://").map(|(scheme, _)| scheme) {
            None if text == "sqlite" => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => {
                checked(postgres::check_url(text))?;
                Ok(Self::Postgres(url))
            }
            Some("kafka") => {
                checked(KafkaConfig::parse(text).map(drop))?;
                Ok(Self::Kafka(url))
            }
            Some(scheme) if EVENT_STORE.contains(&scheme.trim_end_matches("+discover")) => {
                checked(EventStoreConfig::from_url(text).map(drop))?;
                Ok(Self::EventStore(url))
            }
            _ => Err(UnknownStore::Log),
        }
    }
}

impl FromStr for ViewStore {
    type Err = UnknownStore;

    fn from_str(text: &str) -> Result<Self, UnknownStore> {
        match text.split_once("://").map(|(scheme, _)| scheme) {
            None if text == "sqlite" => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => {
                checked(postgres::check_url(text))?;
                Ok(Self::Postgres(text.to_owned()))
            }
            _ => Err(UnknownStore::Views),
        }
    }
}

impl LogStore {
    fn text(&self) -> &str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(url) | Self::Kafka(url) | Self::EventStore(url) => url,
        }
    }

    pub fn has_password(&self) -> bool {
        has_password(self.text())
    }
}

impl ViewStore {
    fn text(&self) -> &str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(url) => url,
        }
    }

    pub fn has_password(&self) -> bool {
        has_password(self.text())
    }

    /// Where that is; files lie in this directory.
    pub fn location(&self, directory: PathBuf) -> Location {
        match self {
            Self::Sqlite => Location::Directory(directory),
            Self::Postgres(url) => Location::Postgres(url.clone()),
        }
    }
}

/// As an operator may read it: a URL without its password and its options.
impl fmt::Display for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => f.write_str(&postgres::shown(url)),
            other => f.write_str(&without_password(other.text())),
        }
    }
}

/// As an operator may read it: a URL without its password and its options.
impl fmt::Display for ViewStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite => f.write_str(self.text()),
            Self::Postgres(url) => f.write_str(&postgres::shown(url)),
        }
    }
}

impl fmt::Debug for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for ViewStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The place that a URL names: `scheme://user@host:port/path`. Its options are left out because
/// some of them are passwords.
///
/// A password may have any character in it, where it was not encoded as it should be: what stands
/// between the first `:` behind the scheme and the last `@` is left out, whatever it is.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => {
            let user = user.split([':', '/', '?']).next().unwrap_or_default();
            (format!("{user}@"), place)
        }
        None => (String::new(), rest),
    };
    let place = place.split('?').next().unwrap_or_default();
    format!("{scheme}://{user}{place}")
}

fn has_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else {
        return false;
    };
    let in_user = rest
        .rsplit_once('@')
        .is_some_and(|(user, _)| user.contains(':'));
    in_user || rest.contains("password=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_is_secret() {
        for (url, shown) in [
            ("sqlite", "sqlite"),
            (
                "postgres://me:hush@db:5432/chat?password=hush",
                "postgres://me@db:5432/chat",
            ),
            ("postgres://me:hu/s?h@db/chat", "postgres://me@db/chat"),
            ("postgres://me:hush@x@db/chat", "postgres://me@db/chat"),
            (
                "kafka://a:9092,b/chat?sasl.password=hush",
                "kafka://a:9092,b/chat",
            ),
            (
                "esdb+discover://me:hush@db:2113/chat",
                "esdb+discover://me@db:2113/chat",
            ),
            ("postgres://db/chat", "postgres://db/chat"),
        ] {
            assert_eq!(without_password(url), shown);
        }
        assert!(has_password("postgres://me:hush@db/chat"));
        assert!(has_password("kafka://a/chat?sasl.password=hush"));
        assert!(!has_password("postgres://me@db:5432/chat"));
        assert!(!has_password("sqlite"));
    }

    #[test]
    fn a_store_is_known_by_its_scheme() {
        assert_eq!("sqlite".parse(), Ok(LogStore::Sqlite));
        let url = "postgres://me:hush@db/chat";
        assert_eq!(url.parse(), Ok(LogStore::Postgres(url.to_owned())));
        assert_eq!(url.parse(), Ok(ViewStore::Postgres(url.to_owned())));
        assert_eq!("chat.db".parse::<LogStore>(), Err(UnknownStore::Log));
        assert_eq!(
            "kafka://a/chat".parse::<ViewStore>(),
            Err(UnknownStore::Views)
        );
        let wrong = [
            "postgres://db:port/chat",
            "kafka://a",
            "esdb://me:hush@one/$all",
        ];
        for url in wrong {
            let refused = url.parse::<LogStore>().unwrap_err();
            assert!(matches!(refused, UnknownStore::Url(_)), "{url}: {refused}");
            assert!(!refused.to_string().contains("hush"), "{refused}");
        }
    }
}
