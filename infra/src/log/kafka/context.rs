//! What Kafka's client tells by itself, on its way into our own log.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// Says little: a broker that is away is spoken of many times a second, while what it means is told
/// once by whoever it is in the way of.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tell(level, facility, message);
    }

    fn error(&self, error: KafkaError, text: &str) {
        tell_error(&error, text);
    }
}

impl ConsumerContext for Quiet {}

pub fn tell(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::warn!(facility, "kafka: {message}");
        }
        _ => tracing::debug!(facility, "kafka: {message}"),
    }
}

pub fn tell_error(error: &KafkaError, text: &str) {
    // To be fenced is no accident; the writer speaks of it.
    let fenced = error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fenced);
    if fenced || passes(error) {
        tracing::debug!(%error, "kafka: {text}");
    } else {
        tracing::warn!(%error, "kafka: {text}");
    }
}

/// Whether an error is the client's to deal with: it goes on trying.
pub fn passes(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::PartitionEOF
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::NotCoordinator
        )
    )
}
