//! What librdkafka calls back about messages, and which failures are for good.

use super::Shared;
use crate::{
    Rejected,
    kafka::client::{self, Statistics},
    message::size,
    sync::lock,
};
use millrace_model::{Partition, wire::Payload};
use rdkafka::{
    Message as _,
    client::ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::ProducerContext,
};
use std::sync::Arc;

/// Is this the kind of failure that sending again cannot help?
pub(super) fn rejection(code: RDKafkaErrorCode, partition: Partition, payload: &Payload) -> Option<Rejected> {
    use RDKafkaErrorCode::{
        InvalidMessageSize, InvalidRecord, InvalidTimestamp, MessageBatchTooLarge, MessageSizeTooLarge,
        PolicyViolation, UnknownPartition,
    };
    match code {
        MessageSizeTooLarge | MessageBatchTooLarge | InvalidMessageSize => {
            Some(Rejected::TooLarge { bytes: size(&payload.key, &payload.headers, &payload.value) })
        }
        UnknownPartition => Some(Rejected::NoSuchPartition(partition)),
        InvalidRecord | InvalidTimestamp | PolicyViolation => Some(Rejected::Refused(code.to_string())),
        _ => None,
    }
}

/// What librdkafka calls back.
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    /// Which client it belongs to.
    pub(super) generation: u64,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::Fatal) {
            self.shared.health.told(&error, reason);
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        // Read for what they say of the brokers.
        drop(Statistics::read(statistics, &self.shared.health));
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sequence: usize) {
        match result {
            Ok(message) => {
                self.shared.health.up();
                self.shared.settle(sequence, Ok((Partition(message.partition()), message.offset())));
            }
            Err((error, _)) => self.failed(error, sequence),
        }
    }
}

impl Context {
    fn failed(&self, error: &KafkaError, sequence: usize) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let mut state = lock(&self.shared.state);
        let Some(open) = state.open.get(&sequence) else { return };
        if let Some(rejected) = rejection(code, open.partition, &open.payload) {
            drop(state);
            self.shared.settle(sequence, Err(rejected));
        } else if self.generation == state.generation {
            // Kept, and sent again by the next client together with all that came after it.
            state.broken.get_or_insert_with(|| error.to_string());
        }
    }
}
