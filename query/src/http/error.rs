//! What went wrong, as a status and JSON: `{"error":{"code","message","span"?,"suggestion"?}}`.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use millrace_filter::ParseError;
use millrace_listen::Turned;
use millrace_pipes::TooLarge;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

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

/// As it is answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorAnswer {
    error: ErrorTold,
}

/// What went wrong.
#[derive(Debug, Default, Serialize, ToSchema)]
struct ErrorTold {
    /// Its name, for programs: `query_invalid`, `parameter_invalid`, `not_found`, …
    #[schema(value_type = String)]
    code: &'static str,
    /// What it is, in words.
    message: String,
    /// The parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    parameter: Option<&'static str>,
    /// Where in the query it is, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    span: Option<SpanTold>,
    /// What may have been meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    suggestion: Option<String>,
}

/// A part of a query; its end lies outside.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QuerySpan)]
struct SpanTold {
    start: usize,
    end: usize,
}

impl ErrorTold {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), ..Self::default() }
    }
}

impl ApiError {
    /// As the answer says it.
    pub(super) fn body(&self) -> Value {
        json!(ErrorAnswer { error: self.told().1 })
    }

    /// Its status, and what it says.
    fn told(&self) -> (StatusCode, ErrorTold) {
        match self {
            Self::Query(error) => (
                StatusCode::BAD_REQUEST,
                ErrorTold {
                    span: Some(SpanTold { start: error.span.start, end: error.span.end }),
                    suggestion: error.suggestion.clone(),
                    ..ErrorTold::new("query_invalid", error.message.clone())
                },
            ),
            Self::Parameter { name, problem } => (
                StatusCode::BAD_REQUEST,
                ErrorTold {
                    parameter: Some(name),
                    ..ErrorTold::new("parameter_invalid", format!("{name}: {problem}"))
                },
            ),
            Self::NotFound(what) => (StatusCode::NOT_FOUND, ErrorTold::new("not_found", what)),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                ErrorTold::new("method_not_allowed", "this path takes other methods: see `allow`"),
            ),
            Self::Conflict(what) => (StatusCode::CONFLICT, ErrorTold::new("conflict", what)),
            Self::TooLarge(error) => {
                (StatusCode::UNPROCESSABLE_ENTITY, ErrorTold::new("query_too_large", error.to_string()))
            }
            Self::Timeout => (
                StatusCode::GATEWAY_TIMEOUT,
                ErrorTold::new("timeout", "the search took too long; ask for less time or fewer streams"),
            ),
            Self::Ended(turned) => (turned.status, ErrorTold::new(turned.code, turned.message.clone())),
            Self::Unavailable(what) => (StatusCode::SERVICE_UNAVAILABLE, ErrorTold::new("unavailable", what)),
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.told().1.message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.told().0, Json(self.body())).into_response()
    }
}
