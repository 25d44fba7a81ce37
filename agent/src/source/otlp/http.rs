//! OTLP over HTTP: `POST /v1/logs`, protobuf or JSON, packed with gzip or not.

use super::{Shared, status, status::Status};
use crate::source::pushed::{Encoded, Later, Taken};
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use millrace_listen::{RETRY_AFTER, Received, Turned, beside, receive};
use millrace_model::wire;
use prost::Message;
use serde_json::json;
use std::sync::Arc;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/logs", post(export))
        .fallback(|| async {
            Turned::new(StatusCode::NOT_FOUND, "not_found", "logs are taken: POST /v1/logs")
        })
        .with_state(shared)
}

/// In which form a request came, and is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Protobuf,
    Json,
}

impl Form {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        match kind.split(';').next()?.trim().to_ascii_lowercase().as_str() {
            PROTOBUF => Some(Self::Protobuf),
            JSON => Some(Self::Json),
            _ => None,
        }
    }

    fn error(self, status: StatusCode, error: &Status) -> Response {
        match self {
            Self::Protobuf => {
                (status, [(header::CONTENT_TYPE, PROTOBUF)], error.encode_to_vec()).into_response()
            }
            Self::Json => {
                (status, Json(json!({ "code": error.code, "message": error.message }))).into_response()
            }
        }
    }

    fn success(self, taken: Taken) -> Response {
        let answer = status::success(taken);
        match (self, answer.partial_success.as_ref()) {
            (Self::Protobuf, _) => {
                ([(header::CONTENT_TYPE, PROTOBUF)], answer.encode_to_vec()).into_response()
            }
            (Self::Json, None) => Json(json!({})).into_response(),
            // 64 bits are text in OTLP's JSON.
            (Self::Json, Some(partial)) => Json(json!({ "partialSuccess": {
                "rejectedLogRecords": partial.rejected_log_records.to_string(),
                "errorMessage": partial.error_message,
            } }))
            .into_response(),
        }
    }
}

async fn export(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.export(request).await
}

impl Shared {
    /// Takes a request in.
    pub(crate) async fn export(self: Arc<Self>, request: Request) -> Response {
        let shared = self;
        let (parts, body) = request.into_parts();
        let Some(form) = Form::of(&parts.headers) else {
            shared.inlet.rejected("content_type");
            let why = format!("the content-type must be {PROTOBUF} or {JSON}");
            return Turned::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", why).into_response();
        };
        let reading = Arc::clone(&shared);
        let read = async {
            let received = receive(&parts.headers, body, reading.max_body).await?;
            beside(move || reading.read(received, form)).await
        };
        let records = match read.await {
            Ok(records) => records,
            Err(turned) => {
                shared.inlet.rejected(turned.code);
                return form
                    .error(turned.status, &Status::new(tonic::Code::InvalidArgument, &turned.message));
            }
        };
        match shared.put(records).await {
            Ok(taken) => form.success(taken),
            Err(Later(why)) => {
                let mut answer = form.error(StatusCode::SERVICE_UNAVAILABLE, &Status::unavailable(&why));
                answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER.into());
                answer
            }
        }
    }

    fn read(&self, received: Received, form: Form) -> Result<Encoded, Turned> {
        let plain = received.plain()?;
        self.encode(match form {
            Form::Protobuf => wire::decode_otlp(&plain),
            Form::Json => wire::decode_otlp_json(&plain),
        })
    }
}
