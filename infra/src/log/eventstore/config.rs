//! Where a log in EventStoreDB is: `esdb://[user:password@]host[:port],…[/stream][?setting=value&…]`.

use std::fmt;

use kurrentdb::ClientSettings;

/// The stream of a log whose URL names none.
const STREAM: &str = "hansard";

/// Which node of a cluster is asked, whatever the URL says: only the leader knows what was just
/// written.
const LEADER: &str = "nodePreference=leader";

/// A URL that is none of an EventStoreDB.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; it is given as esdb://user:password@host:2113/stream?tls=true")]
pub struct ConfigError(String);

/// See the module.
#[derive(Clone)]
pub struct EventStoreConfig {
    settings: ClientSettings,
    stream: String,
}

/// Without the settings: they may hold a password.
impl fmt::Debug for EventStoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stream {}", self.stream)
    }
}

impl EventStoreConfig {
    /// Reads a URL. What stands behind the `?` are the settings of the official clients, such as
    /// `tls=false` or `nodePreference=leader`.
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        let wrong = |what: &str| ConfigError(format!("the URL of the EventStoreDB {what}"));
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| wrong("has no scheme"))?;
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let hosts_from = address.rfind('@').map_or(0, |at| at + 1);
        let (address, stream) = match address[hosts_from..].split_once('/') {
            Some((hosts, stream)) => (&address[..hosts_from + hosts.len()], stream),
            None => (address, ""),
        };
        let stream = if stream.is_empty() { STREAM } else { stream };
        // Nothing of it is repeated: what stands there may be a part of a password.
        if stream.contains('/') || stream.starts_with('$') {
            return Err(wrong("names a stream that can't be one"));
        }
        let prefers = |setting: &&str| setting.to_lowercase().starts_with("nodepreference=");
        let settings: Vec<_> = query
            .split('&')
            .filter(|setting| !setting.is_empty() && !prefers(setting))
            .chain([LEADER])
            .collect();
        let settings = format!("{scheme}://{address}?{}", settings.join("&"));
        let settings = settings
            .parse::<ClientSettings>()
            // What the parser says could repeat a password.
            .map_err(|_| wrong("can't be read"))?;
        Ok(Self {
            settings,
            stream: stream.to_owned(),
        })
    }

    /// The same server with another stream.
    #[must_use]
    pub fn with_stream(self, stream: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            ..self
        }
    }

    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The servers as `host:port`.
    pub(super) fn addresses(&self) -> Vec<String> {
        let hosts = self.settings.hosts().iter();
        hosts
            .map(|host| format!("{}:{}", host.host, host.port))
            .collect()
    }

    pub(super) fn settings(&self) -> ClientSettings {
        self.settings.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> ClientSettings {
        url.parse().unwrap()
    }

    #[test]
    fn a_url_names_servers_and_a_stream() {
        let config = EventStoreConfig::from_url("esdb://one:2113,two:2113/acme?tls=false").unwrap();
        assert_eq!(config.stream(), "acme");
        assert_eq!(
            config.settings(),
            parsed("esdb://one:2113,two:2113?tls=false&nodePreference=leader")
        );
        let config =
            EventStoreConfig::from_url("esdb://me:secret@one?nodePreference=random").unwrap();
        assert_eq!(config.stream(), STREAM);
        assert_eq!(
            config.settings(),
            parsed("esdb://me:secret@one?nodePreference=leader")
        );
        assert_eq!(format!("{config:?}"), "the stream hansard");
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_password() {
        for url in [
            "one:2113",
            "esdb://me:secret@one/$all",
            "esdb://me:secret@one/a/b",
            "esdb://me:a/secret/c?d@one",
            "http://me:secret@one",
        ] {
            let refused = EventStoreConfig::from_url(url).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
