#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::Parsers;
use millrace_filter::parse;
use millrace_model::Timestamp;
use proptest::prelude::*;
use std::time::Duration;

fn record(line: &str, second: u64) -> LogRecord {
    Parsers::default().parse(
        line.as_bytes(),
        Timestamp::default().plus(Duration::from_secs(second)),
        &Arc::new(Attributes::new()),
    )
}

fn place(position: u64) -> At {
    At { source: SourceId(7), position }
}

fn step(when: &str, action: Action) -> Step {
    Step { when: (!when.is_empty()).then(|| parse(when).unwrap()), action }
}

/// What becomes of a line.
fn after(steps: &[Step], line: &str) -> Result<LogRecord, (SkipReason, usize)> {
    let mut record = record(line, 0);
    let process: Process = steps.iter().cloned().collect();
    match process.apply(&mut record, place(0)) {
        Ok(()) => Ok(record),
        Err(Dropped { reason, step }) => Err((reason, step)),
    }
}

#[test]
fn steps_are_done_in_order_and_what_is_dropped_says_by_which() {
    let steps = [
        step(
            "level:<warn",
            Action::Add([("dull", true)].into_iter().fold(Attributes::new(), |mut all, (name, value)| {
                all.set(name, value);
                all
            })),
        ),
        step("dull:true -user:*", Action::Drop),
        step(
            "",
            Action::Rename(vec![
                ("user".to_owned(), "user.name".to_owned()),
                ("a".to_owned(), "b".to_owned()),
            ]),
        ),
        step("", Action::Keep(parse("user.name:* OR level:error").unwrap())),
    ];
    assert_eq!(after(&steps, r#"{"level":"info","msg":"x"}"#), Err((SkipReason::Filtered, 1)));
    assert_eq!(after(&steps, r#"{"level":"warn","msg":"x"}"#), Err((SkipReason::Filtered, 3)));
    assert!(after(&steps, r#"{"level":"error"}"#).is_ok());
    let kept = after(&steps, r#"{"level":"info","user":"ann","a":1,"b":2}"#).unwrap();
    let attributes: Vec<_> = kept.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(attributes, ["b=1", "dull=true", "user.name=ann"]);
    assert_eq!(
        kept.body,
        Value::from(r#"{"level":"info","user":"ann","a":1,"b":2}"#),
        "the line is as it was"
    );
    assert_eq!(after(&[], "x").unwrap(), record("x", 0));
}

#[test]
fn records_are_enriched_from_tables() {
    let csv = CsvTable::new(b"name,team,tier\nweb1,shop,1\n", "name").unwrap();
    let host = FieldRef::resolve("host");
    let steps = [step("", Action::Csv { by: host, table: csv, into: Some("asset".to_owned()) })];
    let enriched = after(&steps, r#"{"host":"web1"}"#).unwrap();
    assert_eq!(enriched.attributes.get("asset.team"), Some(&Value::from("shop")));
    assert_eq!(enriched.attributes.get("asset.tier"), Some(&Value::from("1")));
    assert_eq!(after(&steps, r#"{"host":"web9"}"#).unwrap().attributes.len(), 1);
    assert_eq!(after(&steps, "plain").unwrap().attributes.len(), 0);

    let country =
        table::tests::map(&[("country", table::tests::map(&[("iso_code", table::tests::text("DE"))]))]);
    let networks = GeoTable::new(table::tests::database("GeoLite2-Country", &country)).unwrap();
    let by = FieldRef::resolve("client_ip");
    let steps = [step("", Action::Geo { by, table: networks, into: Some("client".to_owned()) })];
    let enriched = after(&steps, r#"{"client_ip":"10.9.8.7"}"#).unwrap();
    assert_eq!(enriched.attributes.get("client.geo.country.iso_code"), Some(&Value::from("DE")));
}

#[test]
fn a_rate_is_kept_for_each_value_of_a_field() {
    let rate = Rate { per_second: 1.0, burst: 2.0 };
    let steps = [step("noise", Action::RateLimit { rate, key: Some(FieldRef::resolve("user")) })];
    let process: Process = steps.into_iter().collect();
    let kept = |line: &str, second| {
        let mut record = record(line, second);
        process.apply(&mut record, place(0)).map_err(|dropped| dropped.reason)
    };
    let (ann, bob) = (r#"{"user":"ann","m":"noise"}"#, r#"{"user":"bob","m":"noise"}"#);
    let limited = Err(SkipReason::RateLimited);
    assert_eq!((kept(ann, 0), kept(ann, 0), kept(ann, 0)), (Ok(()), Ok(()), limited));
    assert_eq!((kept(bob, 0), kept("noise", 0), kept("other", 0)), (Ok(()), Ok(()), Ok(())));
    assert_eq!((kept(ann, 1), kept(ann, 1)), (Ok(()), limited));
}

proptest! {
    /// A sample is of the size that is asked for, the same each time, and a larger one holds a smaller one.
    #[test]
    fn sampling_is_a_function_of_the_place(share in 0.05..0.95_f64, source in any::<u128>()) {
        let kept = |share: f64| {
            let process: Process = [step("", Action::Sample { share, key: None })].into_iter().collect();
            (0..2000_u64).filter(|position| {
                process.apply(&mut record("x", 0), At { source: SourceId(source), position: position * 37 }).is_ok()
            }).collect::<Vec<_>>()
        };
        let sample = kept(share);
        prop_assert_eq!(&sample, &kept(share));
        prop_assert!((sample.len() as f64 - share * 2000.0).abs() < 150.0, "{} of {}", sample.len(), share);
        let larger = kept((share + 0.05).min(1.0));
        prop_assert!(sample.iter().all(|position| larger.contains(position)));
        prop_assert_eq!((kept(1.0).len(), kept(0.0).len()), (2000, 0));
    }

    /// Records of one trace go together, wherever they lie.
    #[test]
    fn a_key_is_sampled_as_one(trace in "[0-9a-f]{8}", positions in prop::collection::vec(any::<u64>(), 2..20)) {
        let key = Some(FieldRef::resolve("request"));
        let process: Process = [step("", Action::Sample { share: 0.5, key })].into_iter().collect();
        let line = format!("{{\"request\":\"{trace}\"}}");
        let kept: Vec<bool> = positions.iter().map(|position| process.apply(&mut record(&line, 0), place(*position)).is_ok()).collect();
        prop_assert!(kept.iter().all(|one| *one == kept[0]));
    }
}
