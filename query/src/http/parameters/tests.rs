#![expect(clippy::unwrap_used, reason = "tests")]
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
fn a_body_is_an_object() {
    let read = |body: &str| of_body::<Parameters>(Ok(Json(serde_json::from_str(body).unwrap())));
    assert_eq!(read(r#"{"q":"x","limit":5}"#).unwrap().limit.as_deref(), Some("5"));
    assert!(matches!(read(r#"{"query":"x"}"#), Err(ApiError::Parameter { name: "body", .. })));
    assert!(serde_json::from_str::<Map<String, Value>>("[\"x\"]").is_err());
}

#[test]
fn a_cursor_is_read_back() {
    let place = (Timestamp(-5), RecordId { source: SourceId(3), position: 9, index: 1 });
    assert_eq!(read_cursor(&write_cursor(place)), Some(place));
}
