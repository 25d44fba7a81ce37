//! Loki's API over our records, as Grafana and `logcli` ask. Errors are plain text, as Loki's are.

mod answers;
mod indexes;
mod parameters;
mod queries;
mod tail;

use super::Api;
use crate::loki::{Loki, LokiError};
use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use millrace_listen::Turned;
use millrace_logql::{Bounds, ParseError};
use millrace_store::Leaf;
use parameters::Given;
use std::{future::Future, sync::Arc};

/// The paths.
pub(super) fn router<L: Leaf + 'static>() -> Router<Arc<Api<L>>> {
    let at = |path: &str| format!("/loki/api/v1/{path}");
    Router::new()
        .route(&at("query"), either(queries::query::<L>, queries::query::<L>))
        .route(&at("query_range"), either(queries::query_range::<L>, queries::query_range::<L>))
        .route(&at("labels"), either(indexes::labels::<L>, indexes::labels::<L>))
        .route(&at("label"), either(indexes::labels::<L>, indexes::labels::<L>))
        .route(&at("label/{name}/values"), get(indexes::values::<L>))
        .route(&at("series"), either(indexes::series::<L>, indexes::series::<L>))
        .route(&at("index/stats"), either(indexes::stats::<L>, indexes::stats::<L>))
        .route(&at("index/volume"), either(indexes::volume::<L>, indexes::volume::<L>))
        .route(&at("index/volume_range"), either(indexes::volume_range::<L>, indexes::volume_range::<L>))
        .route(&at("detected_labels"), either(indexes::detected_labels::<L>, indexes::detected_labels::<L>))
        .route(&at("detected_fields"), either(indexes::detected_fields::<L>, indexes::detected_fields::<L>))
        .route(&at("patterns"), either(indexes::patterns::<L>, indexes::patterns::<L>))
        .route(&at("format_query"), either(queries::format::<L>, queries::format::<L>))
        .route(&at("tail"), get(tail::tail::<L>))
        .route(&at("status/buildinfo"), get(answers::build_info))
}

/// `GET` with a query string, or `POST` with a form.
fn either<H, T, S>(ask: H, form: H) -> MethodRouter<S>
where
    H: axum::handler::Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    get(ask).post(form)
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Problem {
    /// The query cannot be read.
    Query(Box<(String, ParseError)>),
    /// A parameter is wrong.
    Parameter(String),
    /// It cannot be computed.
    Failed(LokiError),
    /// Nothing is known now.
    Unavailable(String),
    /// It took too long.
    Timeout,
    /// Who asks may not.
    Turned(Turned),
}

impl From<LokiError> for Problem {
    fn from(error: LokiError) -> Self {
        Self::Failed(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Query(about) => {
                let (query, error) = *about;
                let before = query.get(..error.span.start).unwrap_or(&query);
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
                let repair = error.suggestion.map(|repair| format!(" ({repair})")).unwrap_or_default();
                let text = format!("parse error at line {line}, col {column}: {}{repair}", error.message);
                (StatusCode::BAD_REQUEST, text)
            }
            Self::Parameter(problem) => (StatusCode::BAD_REQUEST, problem),
            Self::Failed(LokiError::Catalogue(error)) => {
                tracing::error!(%error, "the catalogue cannot be read");
                (StatusCode::SERVICE_UNAVAILABLE, format!("the catalogue cannot be read: {error}"))
            }
            Self::Failed(LokiError::TooLarge(error)) => {
                (StatusCode::UNPROCESSABLE_ENTITY, format!("the query needs too much memory: {error}"))
            }
            Self::Failed(error) => (StatusCode::BAD_REQUEST, error.to_string()),
            Self::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
            Self::Turned(turned) => (turned.status, turned.message),
            Self::Timeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "the query took too long; ask for less time or select fewer streams".to_owned(),
            ),
        };
        (status, text).into_response()
    }
}

/// For whoever asks.
fn loki<'a, L: Leaf>(api: &'a Api<L>, given: &Given) -> Loki<'a, L> {
    let sight = api.sight(&given.caller);
    Loki { searcher: &api.searcher, sight, memory: api.query_memory, bounds: Bounds::default() }
}

/// Within the time that a query may take.
async fn in_time<L, T>(
    api: &Api<L>,
    asked: impl Future<Output = Result<T, LokiError>>,
) -> Result<T, Problem> {
    Ok(tokio::time::timeout(api.timeout, asked).await.map_err(|_| Problem::Timeout)??)
}
