//! What went wrong, as a status and JSON: `{"error":{"code","message","span"?,"suggestion"?}}`.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use millrace_filter::ParseError;
use millrace_listen::Turned;
use millrace_pipes::TooLarge;
use serde_json::{Value, json};

/// An answer that is an error.
#[derive(Debug)]
pub enum ApiError {
    /// The query does not parse.
    Query(ParseError),
    /// A parameter is wrong.
    Parameter {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no such thing.
    NotFound(String),
    /// There is, but it is not asked like that.
    Method,
    /// Something else forbids it.
    Conflict(String),
    /// What it gathers would take too much memory.
    TooLarge(TooLarge),
    /// It took too long.
    Timeout,
    /// Whoever asked may not ask any more.
    Ended(Turned),
    /// Something that the answer needs cannot be reached or read.
    Unavailable(String),
}

impl From<ParseError> for ApiError {
    fn from(error: ParseError) -> Self {
        Self::Query(error)
    }
}

impl From<TooLarge> for ApiError {
    fn from(error: TooLarge) -> Self {
        Self::TooLarge(error)
    }
}

impl From<millrace_catalogue::Error> for ApiError {
    fn from(error: millrace_catalogue::Error) -> Self {
        tracing::error!(%error, "the catalogue cannot be read");
        Self::Unavailable(format!("the catalogue cannot be read: {error}"))
    }
}

impl ApiError {
    /// Something that was needed and failed.
    pub(super) fn unavailable(what: &str, error: &anyhow::Error) -> Self {
        tracing::error!(error = format!("{error:#}"), "{what}");
        Self::Unavailable(format!("{what}: {error:#}"))
    }
}

impl ApiError {
    /// As the answer says it.
    pub(super) fn body(&self) -> Value {
        json!({ "error": self.told().1 })
    }

    /// Its status, and what it says.
    fn told(&self) -> (StatusCode, Value) {
        match self {
            Self::Query(error) => (
                StatusCode::BAD_REQUEST,
                json!({
                    "code": "query_invalid", "message": error.message,
                    "span": { "start": error.span.start, "end": error.span.end }, "suggestion": error.suggestion,
                }),
            ),
            Self::Parameter { name, problem } => (
                StatusCode::BAD_REQUEST,
                json!({ "code": "parameter_invalid", "message": format!("{name}: {problem}"), "parameter": name }),
            ),
            Self::NotFound(what) => (StatusCode::NOT_FOUND, json!({ "code": "not_found", "message": what })),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                json!({ "code": "method_not_allowed", "message": "this path takes other methods: see `allow`" }),
            ),
            Self::Conflict(what) => (StatusCode::CONFLICT, json!({ "code": "conflict", "message": what })),
            Self::TooLarge(error) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                json!({ "code": "query_too_large", "message": error.to_string() }),
            ),
            Self::Timeout => (
                StatusCode::GATEWAY_TIMEOUT,
                json!({ "code": "timeout", "message": "the search took too long; ask for less time or fewer streams" }),
            ),
            Self::Ended(turned) => (turned.status, json!({ "code": turned.code, "message": turned.message })),
            Self::Unavailable(what) => {
                (StatusCode::SERVICE_UNAVAILABLE, json!({ "code": "unavailable", "message": what }))
            }
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.told().1["message"].as_str().unwrap_or_default())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.told().0, Json(self.body())).into_response()
    }
}
