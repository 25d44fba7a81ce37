//! What OTLP answers besides records: partial success, and `google.rpc.Status` with the time after which to come again.

use crate::source::pushed::Taken;
use millrace_listen::RETRY_AFTER;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Duration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Duration {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

impl Status {
    pub(super) fn new(code: tonic::Code, message: &str) -> Self {
        Self { code: code as i32, message: message.to_owned(), details: Vec::new() }
    }

    /// The sender is to come again in a while.
    pub(super) fn unavailable(message: &str) -> Self {
        let retry = RetryInfo { retry_delay: Some(Duration { seconds: RETRY_AFTER as i64 }) };
        let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
        let details = vec![Any { type_url, value: retry.encode_to_vec() }];
        Self { details, ..Self::new(tonic::Code::Unavailable, message) }
    }
}

/// The answer to a request that was taken, wholly or in part.
pub(super) fn success(taken: Taken) -> ExportLogsServiceResponse {
    let partial = ExportLogsPartialSuccess {
        rejected_log_records: taken.rejected as i64,
        error_message: super::REJECTED.to_owned(),
    };
    ExportLogsServiceResponse { partial_success: (taken.rejected > 0).then_some(partial) }
}
