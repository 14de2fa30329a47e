//! Where the log is and how to reach it: `kafka://broker1,broker2/topic?setting=value`.

use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// Holds `sasl.password`, so that it need not stand in the URL.
pub const PASSWORD_VARIABLE: &str = "HANSARD_KAFKA_PASSWORD";

/// How long a call to a broker may take before it counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// Where a broker listens whose address does not say so.
const PORT: u16 = 9092;

/// The largest event, and some room for what stands around it.
pub const MAX_MESSAGE_BYTES: &str = "20971520";

/// Settings that the promises of the log rest on; they are not the operator's.
const OURS: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.poll.interval.ms",
    "message.max.bytes",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
    "session.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Why an address is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("a Kafka log is named kafka://broker1,broker2/topic, with settings after a ?")]
    Malformed,
    #[error("'{0}' is no name for a Kafka topic: letters, digits, '.', '_' and '-', at most 240")]
    Topic(String),
    #[error("the setting {0} of Kafka is chosen by the server, as its promises rest on it")]
    Ours(String),
}

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    servers: String,
    topic: String,
    settings: Vec<(String, String)>,
}

/// Settings may be secret, so none is shown.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka://{}/{}", self.servers, self.topic)
    }
}

impl KafkaConfig {
    /// Reads an address. `sasl.password` comes from [`PASSWORD_VARIABLE`] if it does not stand there.
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        let config = Self::parse(url)?;
        Ok(match std::env::var(PASSWORD_VARIABLE) {
            Ok(password) => config.password(password),
            Err(_) => config,
        })
    }

    /// Reads an address and nothing else.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        let rest = url.strip_prefix("kafka://").ok_or(ConfigError::Malformed)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (servers, topic) = place.split_once('/').ok_or(ConfigError::Malformed)?;
        let named = |server: &str| !server.is_empty() && !server.contains(['@', '/', ' ']);
        if !servers.split(',').all(named) {
            return Err(ConfigError::Malformed);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        // Our other topics carry its name and a few characters more.
        if topic.is_empty()
            || topic.len() > 240
            || !topic.chars().all(allowed)
            || topic == "."
            || topic == ".."
        {
            return Err(ConfigError::Topic(topic.to_owned()));
        }
        let mut settings = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(ConfigError::Malformed)?;
            let (name, value) = (decode(name)?, decode(value)?);
            if OURS.contains(&name.as_str()) {
                return Err(ConfigError::Ours(name));
            }
            settings.push((name, value));
        }
        Ok(Self {
            servers: servers.to_owned(),
            topic: topic.to_owned(),
            settings,
        })
    }

    /// Sets `sasl.password`, unless the address has it.
    #[must_use]
    pub fn password(mut self, password: String) -> Self {
        if !self
            .settings
            .iter()
            .any(|(name, _)| name == "sasl.password")
        {
            self.settings.push(("sasl.password".to_owned(), password));
        }
        self
    }

    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// The brokers as `host:port`.
    pub(super) fn addresses(&self) -> Vec<String> {
        let with_port = |server: &str| {
            let host = server.rsplit(']').next().unwrap_or(server);
            if host.contains(':') {
                server.to_owned()
            } else {
                format!("{server}:{PORT}")
            }
        };
        self.servers.split(',').map(with_port).collect()
    }

    /// The topic of the events.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic of the keys.
    pub fn vault_topic(&self) -> String {
        format!("{}.vault", self.topic)
    }

    /// The topic that nothing is written to: whoever is assigned its partition writes the log.
    pub fn writer_topic(&self) -> String {
        format!("{}.writer", self.topic)
    }

    /// What all clients have in common.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.servers)
            .set("client.id", "hansard")
            .set("allow.auto.create.topics", "false")
            // A broker that hangs must not be waited for longer than one that is gone.
            .set("socket.timeout.ms", "10000")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("retry.backoff.max.ms", "500")
            .set_log_level(RDKafkaLogLevel::Warning);
        for (name, value) in &self.settings {
            client.set(name, value);
        }
        client
    }

    /// Reads a topic from places that we keep ourselves.
    pub(crate) fn reading(&self) -> ClientConfig {
        let mut client = self.client();
        client
            // A name is asked for, but no group is joined and no place stored in one.
            .set("group.id", format!("{}.replica", self.topic))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "250")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.message.max.bytes", MAX_MESSAGE_BYTES)
            .set("queued.max.messages.kbytes", "65536");
        client
    }

    /// Takes part in the choice of the writer.
    pub(crate) fn campaigning(&self) -> ClientConfig {
        let mut client = self.client();
        client
            .set("group.id", self.writer_topic())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "latest")
            .set("group.protocol", "classic")
            // Who writes goes on writing when others come.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1500")
            .set("max.poll.interval.ms", "60000");
        client
    }

    /// Writes events and keys.
    pub(crate) fn writing(&self) -> ClientConfig {
        let mut client = self.client();
        client
            // The same for all nodes: whoever comes later fences those before.
            .set("transactional.id", &self.topic)
            .set("transaction.timeout.ms", "10000")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("message.max.bytes", MAX_MESSAGE_BYTES)
            .set("queue.buffering.max.messages", "1000000")
            // Nothing is sent before the transaction is known to the brokers; all of a batch comes
            // together while that is waited for.
            .set("linger.ms", "0");
        client
    }
}

fn decode(text: &str) -> Result<String, ConfigError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            rest.next()
                .and_then(|digit| char::from(digit).to_digit(16))
                .ok_or(ConfigError::Malformed)
        };
        bytes.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(bytes).map_err(|_| ConfigError::Malformed)
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::BaseConsumer;
    use rdkafka::producer::FutureProducer;

    use super::super::reason;
    use super::*;

    #[test]
    fn an_address_has_brokers_a_topic_and_settings() {
        let config = KafkaConfig::parse(
            "kafka://a:9093,b/chat?security.protocol=SASL_SSL&sasl.password=p%26%C3%A4",
        )
        .unwrap();
        assert_eq!(config.servers(), "a:9093,b");
        assert_eq!(config.addresses(), ["a:9093", "b:9092"]);
        assert_eq!(config.topic(), "chat");
        assert_eq!(config.vault_topic(), "chat.vault");
        let client = config.client();
        assert_eq!(client.get("security.protocol"), Some("SASL_SSL"));
        assert_eq!(client.get("sasl.password"), Some("p&ä"));
        assert_eq!(format!("{config:?}"), "kafka://a:9093,b/chat");
    }

    #[test]
    fn a_password_may_come_from_elsewhere() {
        let config = KafkaConfig::parse("kafka://a/chat").unwrap();
        let client = config.password("secret".to_owned()).client();
        assert_eq!(client.get("sasl.password"), Some("secret"));
        let config = KafkaConfig::parse("kafka://a/chat?sasl.password=own").unwrap();
        let client = config.password("secret".to_owned()).client();
        assert_eq!(client.get("sasl.password"), Some("own"));
    }

    #[test]
    fn the_client_knows_encryption_and_passwords() {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] {
            let url = format!(
                "kafka://127.0.0.1:1/chat?security.protocol=SASL_SSL&sasl.mechanism={mechanism}\
                 &sasl.username=hansard&ssl.endpoint.identification.algorithm=https"
            );
            let config = KafkaConfig::parse(&url).unwrap();
            let config = config.password("secret".to_owned());
            for client in [config.reading(), config.campaigning()] {
                let made: Result<BaseConsumer, _> = client.create();
                assert!(made.is_ok(), "{:?}", made.err());
            }
            let made: Result<FutureProducer, _> = config.writing().create();
            assert!(made.is_ok(), "{:?}", made.err());
        }
        let config = KafkaConfig::parse("kafka://127.0.0.1:1/chat?no.such.setting=secret").unwrap();
        let made: Result<BaseConsumer, _> = config.reading().create();
        let told = reason(&made.err().unwrap());
        assert!(
            told.contains("no.such.setting") && !told.contains("secret"),
            "{told}"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in [
            "kafka://",
            "kafka://a",
            "kafka:///chat",
            "kafka://a,,b/chat",
            "kafka://user:pass@a/chat",
            "postgres://a/chat",
            "kafka://a/chat?x",
            "kafka://a/chat?x=%zz",
        ] {
            assert_eq!(
                KafkaConfig::parse(url),
                Err(ConfigError::Malformed),
                "{url}"
            );
        }
        for topic in ["", "a/b", "ä", ".."] {
            let refused = KafkaConfig::parse(&format!("kafka://a/{topic}"));
            assert_eq!(refused, Err(ConfigError::Topic(topic.to_owned())));
        }
        let refused = KafkaConfig::parse("kafka://a/chat?acks=1");
        assert_eq!(refused, Err(ConfigError::Ours("acks".to_owned())));
    }
}
