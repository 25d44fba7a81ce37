//! `query`, `query_range` and `format_query`.

use super::{Problem, answers, in_time, loki, parameters::Given};
use crate::http::Api;
use axum::{Json, extract::State};
use millrace_logql::{Query, Steps, parse};
use millrace_store::{Leaf, Order};
use serde_json::{Value, json};
use std::sync::Arc;

/// The most lines of an answer.
const MOST_LINES: usize = 5000;
const LINES: usize = 100;

fn read(given: &Given) -> Result<Query, Problem> {
    let text = given.required("query")?;
    parse(text).map_err(|error| Problem::Query(Box::new((text.to_owned(), error))))
}

fn order(given: &Given) -> Result<Order, Problem> {
    match given.get("direction").map(str::to_ascii_lowercase).as_deref() {
        None | Some("backward") => Ok(Order::NewestFirst),
        Some("forward") => Ok(Order::OldestFirst),
        Some(other) => {
            Err(Problem::Parameter(format!("direction: forward or backward expected, found {other:?}")))
        }
    }
}

/// At one time.
pub(super) async fn query<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    given: Given,
) -> Result<Json<Value>, Problem> {
    let time = given.time("time")?.unwrap_or(api.searcher.now().0);
    match read(&given)? {
        Query::Metric(expr) => {
            let steps = Steps::instant(time);
            let metric = in_time(&api, loki(&api, &given).metric(&expr, steps)).await?;
            Ok(answers::success(answers::vector(&metric.value, steps.millis(0)), &metric.missing))
        }
        Query::Log(_) => Err(Problem::Parameter(
            "log queries are not supported as an instant query type, please change your query to a range query type"
                .to_owned(),
        )),
    }
}

/// Over a time.
pub(super) async fn query_range<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    given: Given,
) -> Result<Json<Value>, Problem> {
    let times = given.times(api.searcher.now())?;
    match read(&given)? {
        Query::Metric(expr) => {
            let steps = Steps { start: times.0, end: times.1, step: given.step(times)? };
            let metric = in_time(&api, loki(&api, &given).metric(&expr, steps)).await?;
            let millis: Vec<i64> = (0..steps.count()).map(|nth| steps.millis(nth)).collect();
            Ok(answers::success(answers::matrix(&metric.value, &millis), &metric.missing))
        }
        Query::Log(pipeline) => {
            let limit = given.number("limit", LINES, MOST_LINES)?;
            let logs =
                in_time(&api, loki(&api, &given).logs(&pipeline, times, order(&given)?, limit)).await?;
            Ok(answers::success(answers::streams(&logs, given.categorize), &logs.missing))
        }
    }
}

/// A query as it is written here.
pub(super) async fn format<L: Leaf + 'static>(
    State(_): State<Arc<Api<L>>>,
    given: Given,
) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "status": "success", "data": read(&given)?.to_string() })))
}
