//! What receivers over HTTP have in common: a POST of JSON, and what becomes of its answer.

use super::Outcome;
use chrono::{DateTime, Utc};
use millrace_model::Timestamp;
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use serde_json::Value;
use std::time::Duration;

/// So much of an answer that refuses is told, in bytes.
const TOLD: usize = 300;

/// Sends a JSON body.
pub(super) async fn post(request: RequestBuilder, id: &str, body: &Value, now: Timestamp) -> Outcome {
    let request = request.header("idempotency-key", id).json(body);
    match request.send().await {
        Ok(response) => outcome(response, now).await,
        // Where it went may be a secret.
        Err(error) => Outcome::later(millrace_model::chain(&error.without_url())),
    }
}

async fn outcome(response: Response, now: Timestamp) -> Outcome {
    let status = response.status();
    if status.is_success() {
        return Outcome::Delivered;
    }
    let after = retry_after(response.headers(), now);
    let said = response.text().await.unwrap_or_default();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = &said[..said.floor_char_boundary(TOLD)];
    let problem = if said.is_empty() {
        format!("it answered {status}")
    } else {
        format!("it answered {status}: {said}")
    };
    if refuses(status) { Outcome::Never { problem } } else { Outcome::Later { problem, after } }
}

/// Will another try never help? Everything of 4xx but time-outs and "not now".
fn refuses(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429)
}

/// How long it wants to be left alone.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
    Some(Timestamp::from_datetime(&at)?.since(now))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait_is_a_number_or_a_time() {
        let now = Timestamp::from_millis(1_000_000_000_000);
        let after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(after("120"), Some(Duration::from_mins(2)));
        assert_eq!(after("Sun, 09 Sep 2001 01:46:50 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(after("Sun, 09 Sep 2001 01:46:30 GMT"), Some(Duration::ZERO), "it is over");
        assert_eq!(after("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn what_will_never_help_is_not_tried_again() {
        for (status, refused) in
            [(400, true), (404, true), (408, false), (425, false), (429, false), (500, false), (503, false)]
        {
            assert_eq!(refuses(StatusCode::from_u16(status).unwrap()), refused, "{status}");
        }
    }
}
