//! The parameters of a search, from a query string or a JSON body, to a [`SearchRequest`].

use super::{ApiError, described::When};
use crate::SearchRequest;
use axum::{Json, extract::rejection::JsonRejection};
use millrace_filter::Filter;
use millrace_model::{RecordId, Sight, StreamName, TimeRange, Timestamp};
use millrace_pipes::{Context, Joined, Pipe, Plan};
use millrace_store::Order;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// The most hits in one answer.
const MAX_LIMIT: usize = 10_000;
const DEFAULT_LIMIT: usize = 100;
const DEFAULT_RANGE: Duration = Duration::from_hours(1);
/// The most buckets in a histogram.
const MAX_BUCKETS: u128 = 20_000;
/// How far ahead of now the default range reaches: records whose clocks run ahead are still found.
const AHEAD: Duration = Duration::from_hours(24);

/// What holds for whoever asks.
#[derive(Debug, Clone)]
pub struct Asking {
    /// When that is.
    pub now: Timestamp,
    /// How many bytes what pipes gather may take.
    pub memory: usize,
    /// What may be seen.
    pub sight: Sight,
}

/// As they are given. Times are RFC 3339, epoch milliseconds, `now`, or an age before now (`15m`).
#[derive(Debug, Default, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[schema(as = SearchParameters)]
#[into_params(parameter_in = Query)]
pub struct Parameters {
    /// The query; absent: everything.
    #[schema(example = "level:error -host:web2")]
    pub q: Option<String>,
    /// The first instant; absent: an hour before `to`.
    #[serde(default, deserialize_with = "text_or_number")]
    #[schema(value_type = Option<When>)]
    #[param(value_type = Option<When>)]
    pub from: Option<String>,
    /// The first instant after; absent: everything up to now, and what claims to be up to a day ahead.
    #[serde(default, deserialize_with = "text_or_number")]
    #[schema(value_type = Option<When>)]
    #[param(value_type = Option<When>)]
    pub to: Option<String>,
    /// How many hits; 0: counts only.
    #[serde(default, deserialize_with = "text_or_number")]
    #[schema(value_type = Option<u32>, default = 100, minimum = 0, maximum = 10_000)]
    #[param(value_type = Option<u32>, default = 100, minimum = 0, maximum = 10_000)]
    pub limit: Option<String>,
    /// `-timestamp` (newest first) or `timestamp`.
    #[schema(value_type = Option<Sort>)]
    #[param(value_type = Option<Sort>)]
    pub sort: Option<String>,
    /// Where the answer before ended.
    #[schema(pattern = "^-?[0-9]+_[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]+$")]
    #[param(pattern = "^-?[0-9]+_[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]+$")]
    pub cursor: Option<String>,
    /// Stream names, with commas between; absent: all that may be seen.
    #[schema(pattern = "^[a-z0-9._-]{1,100}(,[a-z0-9._-]{1,100})*$")]
    #[param(pattern = "^[a-z0-9._-]{1,100}(,[a-z0-9._-]{1,100})*$")]
    pub stream: Option<String>,
    /// The interval of a histogram: `1m`, `30s`. At most 20,000 intervals lie in the time that is asked for.
    #[schema(example = "1m", pattern = "^([0-9]+(ms|s|m|h|d))+$")]
    #[param(example = "1m", pattern = "^([0-9]+(ms|s|m|h|d))+$")]
    pub histogram: Option<String>,
    /// The field by whose values the histogram's buckets are split.
    #[schema(example = "level", min_length = 1)]
    #[param(example = "level", min_length = 1)]
    pub histogram_by: Option<String>,
    /// Say with the answer what was done for it.
    pub explain: Option<bool>,
}

/// Those of them that say which records: what is summed up of all of these has no order and no pages.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is described, and never made")]
pub(super) struct Selection {
    /// The query, without pipes; absent: everything.
    q: Option<String>,
    /// The first instant; absent: an hour before `to`.
    #[param(value_type = Option<When>)]
    from: Option<String>,
    /// The first instant after; absent: everything up to now, and what claims to be up to a day ahead.
    #[param(value_type = Option<When>)]
    to: Option<String>,
    /// How many are told of at most.
    #[param(default = 100, minimum = 0, maximum = 10_000)]
    limit: Option<u32>,
    /// Stream names, with commas between; absent: all that may be seen.
    #[param(pattern = "^[a-z0-9._-]{1,100}(,[a-z0-9._-]{1,100})*$")]
    stream: Option<String>,
}

/// Which end of time comes first.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is described, and never made")]
pub(super) enum Sort {
    /// The latest.
    #[schema(rename = "-timestamp")]
    Latest,
    /// The earliest.
    #[schema(rename = "timestamp")]
    Earliest,
}

/// Pipes, and what they are asked with.
#[derive(Debug, Clone)]
pub struct Pipes {
    /// One after the other.
    pub each: Vec<Pipe>,
    /// When, of which time, and within which bounds.
    pub context: Context,
}

impl Pipes {
    /// How they are carried out, once the queries that they join are answered.
    pub fn plan(&self, joined: Vec<Joined>) -> Result<Plan, ApiError> {
        Plan::joining(&self.each, &self.context, joined).map_err(|problem| wrong("q", problem))
    }
}

pub(super) fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(i64),
    }
    Ok(Option::<Either>::deserialize(deserializer)?.map(|either| match either {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    }))
}

impl Parameters {
    /// What they ask for.
    pub fn request(&self, asking: &Asking) -> Result<(SearchRequest, Option<Pipes>), ApiError> {
        self.limited(asking, None)
    }

    /// What they ask for, and all of it.
    pub fn unlimited(&self, asking: &Asking) -> Result<(SearchRequest, Option<Pipes>), ApiError> {
        self.limited(asking, Some(usize::MAX))
    }

    fn limited(
        &self,
        asking: &Asking,
        limit: Option<usize>,
    ) -> Result<(SearchRequest, Option<Pipes>), ApiError> {
        let query = millrace_pipes::parse(self.q.as_deref().unwrap_or("*"))?;
        let mut request = self.found(query.filter, asking)?;
        request.limit = limit.unwrap_or(request.limit);
        if query.pipes.is_empty() {
            return Ok((request, None));
        }
        let pipes = self.pipes(query.pipes, &request, asking)?;
        Ok((request, Some(pipes)))
    }

    /// What they ask for with a pipe behind their query, which is a filter alone; of its rows as many as they say, or `limit`.
    pub fn summary(
        &self,
        asking: &Asking,
        pipe: Pipe,
        limit: Option<usize>,
    ) -> Result<(SearchRequest, Pipes), ApiError> {
        if self.explain.is_some() {
            return Err(wrong("explain", "only /api/v1/search explains what it does".to_owned()));
        }
        let mut request = self.found(millrace_filter::parse(self.q.as_deref().unwrap_or("*"))?, asking)?;
        request.limit = limit.unwrap_or(request.limit);
        let pipes = self.pipes(vec![pipe], &request, asking)?;
        Ok((request, pipes))
    }

    fn pipes(&self, each: Vec<Pipe>, request: &SearchRequest, asking: &Asking) -> Result<Pipes, ApiError> {
        let alone = [
            ("sort", &self.sort),
            ("cursor", &self.cursor),
            ("histogram", &self.histogram),
            ("histogram_by", &self.histogram_by),
        ];
        if let Some((name, _)) = alone.into_iter().find(|(_, given)| given.is_some()) {
            let instead = "a query with pipes says by `| sort`, `| limit` and `| timechart` what it gives";
            return Err(wrong(name, instead.to_owned()));
        }
        let Asking { now, memory, .. } = *asking;
        let context = Context { now, range: request.range, limit: request.limit, memory };
        Ok(Pipes { each, context })
    }

    /// The search alone.
    fn found(&self, filter: Filter, asking: &Asking) -> Result<SearchRequest, ApiError> {
        let now = asking.now;
        let wrong = |name, problem: String| ApiError::Parameter { name, problem };
        let to = match &self.to {
            Some(text) => time(text, now).ok_or_else(|| wrong("to", time_expected(text)))?,
            None => now.plus(AHEAD),
        };
        let from = match &self.from {
            Some(text) => time(text, now).ok_or_else(|| wrong("from", time_expected(text)))?,
            None => to.min(now).minus(DEFAULT_RANGE),
        };
        if from > to {
            return Err(wrong("from", format!("{from} is after {to}")));
        }
        let limit = match self.limit.as_deref().map(str::parse::<usize>) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if limit <= MAX_LIMIT => limit,
            Some(_) => return Err(wrong("limit", format!("a number from 0 to {MAX_LIMIT} expected"))),
        };
        let order = match self.sort.as_deref() {
            None | Some("-timestamp") => Order::NewestFirst,
            Some("timestamp") => Order::OldestFirst,
            Some(other) => {
                return Err(wrong("sort", format!("-timestamp or timestamp expected, found {other:?}")));
            }
        };
        let after = match &self.cursor {
            Some(text) => {
                Some(read_cursor(text).ok_or_else(|| wrong("cursor", "this is no cursor".to_owned()))?)
            }
            None => None,
        };
        let streams = self.stream.as_deref().map(stream_names).transpose()?;
        let range = TimeRange { from, to };
        let histogram =
            self.histogram.as_deref().map(|text| interval("histogram", text, range)).transpose()?;
        match self.histogram_by.as_deref() {
            Some("") => return Err(wrong("histogram_by", "the name of a field expected".to_owned())),
            Some(_) if histogram.is_none() => {
                return Err(wrong("histogram_by", "it splits a histogram: say its interval".to_owned()));
            }
            _ => {}
        }
        Ok(SearchRequest {
            filter,
            range,
            streams,
            sight: asking.sight.clone(),
            limit,
            order,
            after,
            histogram,
            gather: None,
        })
    }
}

/// What somebody says in words, within a length in characters; no database takes zero bytes.
pub(super) fn said(name: &'static str, text: &str, most: usize) -> Result<String, ApiError> {
    if text.chars().count() > most {
        return Err(wrong(name, format!("at most {most} characters expected")));
    }
    Ok(text.replace('\0', "\u{fffd}"))
}

/// A length of time by which a range is cut into not too many buckets.
pub(super) fn interval(name: &'static str, text: &str, range: TimeRange) -> Result<Duration, ApiError> {
    let wrong = |problem: String| ApiError::Parameter { name, problem };
    let interval = text.parse::<millrace_config::Age>().map_err(|e| wrong(e.to_string()))?.0;
    if interval < Duration::from_millis(1) {
        return Err(wrong("an interval of at least 1ms expected".to_owned()));
    }
    let buckets = range.to.since(range.from).as_nanos() / interval.as_nanos();
    if buckets > MAX_BUCKETS {
        return Err(wrong(format!(
            "{text} cuts the range into {buckets} buckets; at most {MAX_BUCKETS} are given"
        )));
    }
    Ok(interval)
}

/// RFC 3339, epoch milliseconds, `now`, or an age before now.
pub fn time(text: &str, now: Timestamp) -> Option<Timestamp> {
    if text == "now" {
        return Some(now);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let age = text.strip_prefix("now-").unwrap_or(text);
    age.parse::<millrace_config::Age>().ok().map(|age| now.minus(age.0))
}

pub(super) fn time_expected(text: &str) -> String {
    format!("a time as RFC 3339, epoch milliseconds, `now` or an age such as 15m expected, found {text:?}")
}

/// A range that may be open: from the beginning, or without an end.
pub(super) fn open_range(
    from: Option<&str>,
    to: Option<&str>,
    now: Timestamp,
) -> Result<TimeRange, ApiError> {
    let bound = |name, text: Option<&str>, none| match text {
        None => Ok(none),
        Some(text) => time(text, now).ok_or_else(|| wrong(name, time_expected(text))),
    };
    let range =
        TimeRange { from: bound("from", from, Timestamp::MIN)?, to: bound("to", to, Timestamp::MAX)? };
    if range.from > range.to {
        return Err(wrong("from", format!("{} is after {}", range.from, range.to)));
    }
    Ok(range)
}

/// The bounds of a range, where it has some.
pub(super) fn bounds(range: TimeRange) -> (Option<Timestamp>, Option<Timestamp>) {
    let bound = |time: Timestamp, none| (time != none).then_some(time);
    (bound(range.from, Timestamp::MIN), bound(range.to, Timestamp::MAX))
}

/// The names of streams, with commas between.
pub(super) fn stream_names(names: &str) -> Result<Vec<StreamName>, ApiError> {
    names.split(',').map(|name| stream(name.trim())).collect()
}

/// The name of a stream.
pub(super) fn stream(name: &str) -> Result<StreamName, ApiError> {
    name.parse().map_err(|error: millrace_model::ids::IdError| wrong("stream", error.to_string()))
}

/// Where an answer ended, as text.
pub fn write_cursor((time, id): (Timestamp, RecordId)) -> String {
    format!("{}_{id}", time.0)
}

fn read_cursor(text: &str) -> Option<(Timestamp, RecordId)> {
    let (time, id) = text.split_once('_')?;
    Some((Timestamp(time.parse().ok()?), id.parse().ok()?))
}

/// A body of JSON. It is an object: an array would be taken for its members in their order.
pub(super) type ObjectBody = Result<Json<Map<String, Value>>, JsonRejection>;

/// What a body says.
pub(super) fn of_body<T: DeserializeOwned>(body: ObjectBody) -> Result<T, ApiError> {
    let Json(object) = body.map_err(|error| wrong("body", error.body_text()))?;
    of_object(object)
}

/// What an object says.
pub(super) fn of_object<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(object)).map_err(|error| wrong("body", error.to_string()))
}

/// For a parameter or a body that is not what it should be.
pub(super) fn wrong(name: &'static str, problem: String) -> ApiError {
    ApiError::Parameter { name, problem }
}

#[cfg(test)]
mod tests;
