//! Parameters as Loki takes them: from the query string, or from a form.

use super::Problem;
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{Method, header},
};
use millrace_listen::Caller;
use millrace_logql::units;
use millrace_model::Timestamp;
use std::collections::BTreeMap;

const SECOND: f64 = 1e9;
const HOUR: i64 = 3_600_000_000_000;
/// The largest form, in bytes.
const MAX_FORM: usize = 1 << 20;

/// What was given, by name; names may come several times.
#[derive(Debug)]
pub(super) struct Given {
    /// By whom.
    pub(super) caller: Caller,
    values: BTreeMap<String, Vec<String>>,
    /// Labels are wanted by where they come from.
    pub(super) categorize: bool,
}

impl<S: Send + Sync> FromRequest<S> for Given {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let flags = request.headers().get("x-loki-response-encoding-flags");
        let categorize = flags.is_some_and(|flags| flags.as_bytes() == b"categorize-labels");
        let (mut parts, body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, state).await.map_err(Problem::Turned)?;
        let request = Request::from_parts(parts, body);
        let mut given = Self { caller, values: BTreeMap::new(), categorize };
        given.read(request.uri().query().unwrap_or_default())?;
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_form = kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if *request.method() == Method::POST && is_form {
            let body = axum::body::to_bytes(request.into_body(), MAX_FORM).await;
            let body: Bytes =
                body.map_err(|error| Problem::Parameter(format!("the form did not come: {error}")))?;
            given.read(
                std::str::from_utf8(&body)
                    .map_err(|_| Problem::Parameter("the form is no text".to_owned()))?,
            )?;
        }
        Ok(given)
    }
}

impl Given {
    fn read(&mut self, text: &str) -> Result<(), Problem> {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(text).map_err(|error| Problem::Parameter(error.to_string()))?;
        for (name, value) in pairs {
            self.values.entry(name).or_default().push(value);
        }
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.first().map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Problem> {
        self.get(name).ok_or_else(|| Problem::Parameter(format!("parameter {name:?} is required")))
    }

    pub(super) fn number(&self, name: &str, default: usize, most: usize) -> Result<usize, Problem> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let wrong =
            || Problem::Parameter(format!("{name}: a number from 0 to {most} expected, found {text:?}"));
        text.parse().ok().filter(|number| *number <= most).ok_or_else(wrong)
    }

    /// A time in nanoseconds: nanoseconds, seconds with or without a fraction, or RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || Problem::Parameter(format!("{name}: {text:?} is no time"));
        read_time(text).map(Some).ok_or_else(wrong)
    }

    /// `start` and `end`, or `since`; the last hour unless it is said.
    pub(super) fn times(&self, now: Timestamp) -> Result<(i64, i64), Problem> {
        let end = self.time("end")?.unwrap_or(now.0);
        let since = match self.get("since") {
            Some(text) => {
                duration(text).ok_or_else(|| Problem::Parameter(format!("since: {text:?} is no duration")))?
            }
            None => HOUR,
        };
        let start = self.time("start")?.unwrap_or_else(|| end.saturating_sub(since));
        if end < start {
            return Err(Problem::Parameter(
                "end timestamp must not be before or equal to start time".to_owned(),
            ));
        }
        Ok((start, end))
    }

    /// The step in nanoseconds: seconds or a duration; such that there are some 250 unless it is said.
    pub(super) fn step(&self, (start, end): (i64, i64)) -> Result<i64, Problem> {
        let Some(text) = self.get("step") else {
            let second = 1_000_000_000;
            return Ok(((end - start) / 250 / second).max(1) * second);
        };
        let wrong = || Problem::Parameter(format!("step: a duration above zero expected, found {text:?}"));
        duration(text).filter(|step| *step > 0).ok_or_else(wrong)
    }
}

/// Seconds, or a duration as queries write them; in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => Some((seconds * SECOND) as i64),
        _ => units::Duration::parse(text).map(|duration| duration.0),
    }
}

fn read_time(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<i64>() {
        // As Loki tells them apart: up to ten digits are seconds.
        return Some(if text.trim_start_matches('-').len() <= 10 {
            number.saturating_mul(SECOND as i64)
        } else {
            number
        });
    }
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => Some((seconds * SECOND) as i64),
        _ => text.parse::<Timestamp>().ok().map(|time| time.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_loki_reads_them() {
        for (text, nanoseconds) in [
            ("1700000000", 1_700_000_000_000_000_000),
            ("1700000000000000000", 1_700_000_000_000_000_000),
            ("1700000000.5", 1_700_000_000_500_000_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000_000_000),
        ] {
            assert_eq!(read_time(text), Some(nanoseconds), "{text}");
        }
        assert_eq!(
            (duration("15"), duration("1m30s"), duration("x")),
            (Some(15_000_000_000), Some(90_000_000_000), None)
        );
        assert_eq!(read_time("yesterday"), None);
    }
}
