//! The parameters of a search, from a query string or a JSON body, to a [`SearchRequest`].

use super::ApiError;
use crate::SearchRequest;
use millrace_filter::Filter;
use millrace_model::{RecordId, Sight, StreamName, TimeRange, Timestamp};
use millrace_pipes::{Context, Joined, Pipe, Plan};
use millrace_store::Order;
use serde::{Deserialize, Deserializer};
use std::time::Duration;

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
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The query; absent: everything.
    pub q: Option<String>,
    /// The first instant; absent: an hour before `to`.
    #[serde(default, deserialize_with = "text_or_number")]
    pub from: Option<String>,
    /// The first instant after; absent: everything up to now, and what claims to be up to a day ahead.
    #[serde(default, deserialize_with = "text_or_number")]
    pub to: Option<String>,
    /// How many hits; 0: counts only.
    #[serde(default, deserialize_with = "text_or_number")]
    pub limit: Option<String>,
    /// `-timestamp` (newest first) or `timestamp`.
    pub sort: Option<String>,
    /// Where the answer before ended.
    pub cursor: Option<String>,
    /// Stream names, with commas between.
    pub stream: Option<String>,
    /// The interval of a histogram: `1m`, `30s`.
    pub histogram: Option<String>,
    /// The field by whose values the histogram's buckets are split.
    pub histogram_by: Option<String>,
    /// Say with the answer what was done for it.
    pub explain: Option<bool>,
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

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
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
        let histogram = self.histogram.as_deref().map(|text| interval(text, range)).transpose()?;
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

fn interval(text: &str, range: TimeRange) -> Result<Duration, ApiError> {
    let wrong = |problem: String| ApiError::Parameter { name: "histogram", problem };
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

/// For a parameter or a body that is not what it should be.
pub(super) fn wrong(name: &'static str, problem: String) -> ApiError {
    ApiError::Parameter { name, problem }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use millrace_model::{Grant, SourceId};

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

    fn ask(json: &str) -> Result<SearchRequest, ApiError> {
        let asking = Asking { now: NOW, memory: 1 << 20, sight: Sight::whole(Grant::All) };
        let (request, pipes) = serde_json::from_str::<Parameters>(json).unwrap().request(&asking)?;
        pipes.map(|pipes| pipes.plan(Vec::new())).transpose()?;
        Ok(request)
    }

    #[test]
    fn the_default_is_the_last_hour_newest_first() {
        let request = ask("{}").unwrap();
        assert_eq!(request.range.from, NOW.minus(DEFAULT_RANGE));
        assert!(request.range.contains(NOW));
        assert_eq!((request.limit, request.order), (DEFAULT_LIMIT, Order::NewestFirst));
    }

    #[test]
    fn times_come_in_four_spellings() {
        for (text, expected) in [
            ("now", NOW),
            ("15m", NOW.minus(Duration::from_mins(15))),
            ("now-1h", NOW.minus(Duration::from_hours(1))),
            ("1500", Timestamp::from_millis(1500)),
            ("1970-01-01T00:00:02Z", Timestamp::from_millis(2000)),
        ] {
            assert_eq!(time(text, NOW), Some(expected), "{text}");
        }
        assert_eq!(ask(r#"{"from": 1500, "to": "2000"}"#).unwrap().range.from, Timestamp::from_millis(1500));
    }

    #[test]
    fn an_open_range_reads_back_as_it_was_given() {
        assert_eq!(open_range(None, None, NOW).unwrap(), TimeRange::ALL);
        assert_eq!(bounds(TimeRange::ALL), (None, None));
        let range = open_range(Some("1h"), Some("now"), NOW).unwrap();
        assert_eq!(bounds(range), (Some(NOW.minus(DEFAULT_RANGE)), Some(NOW)));
        for (from, to) in [(Some("now"), Some("1h")), (Some("soon"), None), (None, Some("soon"))] {
            assert!(matches!(open_range(from, to, NOW), Err(ApiError::Parameter { .. })), "{from:?} {to:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, name) in [
            (r#"{"from":"yesterday"}"#, "from"),
            (r#"{"from":2,"to":1}"#, "from"),
            (r#"{"limit":-1}"#, "limit"),
            (r#"{"limit":10001}"#, "limit"),
            (r#"{"sort":"host"}"#, "sort"),
            (r#"{"cursor":"x"}"#, "cursor"),
            (r#"{"stream":"A B"}"#, "stream"),
            (r#"{"histogram":"0s"}"#, "histogram"),
            (r#"{"histogram":"1ms"}"#, "histogram"),
            (r#"{"q":"* | stats count()","histogram":"1m"}"#, "histogram"),
            (r#"{"q":"* | stats count()","sort":"timestamp"}"#, "sort"),
            (r#"{"q":"* | stats count()","histogram_by":"level"}"#, "histogram_by"),
            (r#"{"histogram_by":"level"}"#, "histogram_by"),
            (r#"{"histogram":"1m","histogram_by":""}"#, "histogram_by"),
            (r#"{"q":"* | timechart count()","from":"1677-09-21T00:12:43.145224192Z"}"#, "q"),
        ] {
            match ask(json) {
                Err(ApiError::Parameter { name: found, .. }) => assert_eq!(found, name, "{json}"),
                other => panic!("{json}: {other:?}"),
            }
        }
        assert!(matches!(ask(r#"{"q":"(a"}"#), Err(ApiError::Query(_))));
    }

    #[test]
    fn a_cursor_is_read_back() {
        let place = (Timestamp(-5), RecordId { source: SourceId(3), position: 9, index: 1 });
        assert_eq!(read_cursor(&write_cursor(place)), Some(place));
    }
}
