//! When a scheduled rule runs: by a cron expression in a time zone, or every so often. What time it is, is said.

use crate::states::hours::floor;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use millrace_model::{TimeRange, Timestamp};
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::{fmt, time::Duration};

/// A schedule must have a time after this: 2026-01-01T00:00:00Z.
const BEGIN: Timestamp = Timestamp(1_767_225_600_000_000_000);

/// See the module.
#[derive(Debug, Clone)]
pub struct Schedule(Times);

#[derive(Debug, Clone)]
enum Times {
    /// As cron says it.
    Cron { text: String, cron: Box<Cron>, zone: Tz },
    /// At each multiple of this since 1970.
    Every(Duration),
}

impl Schedule {
    /// By a cron expression of five fields: minute, hour, day of the month, month, day of the week.
    pub(crate) fn cron(text: &str, zone: Tz) -> Result<Self, String> {
        let fields = text.split_whitespace().count();
        if fields != 5 {
            return Err(format!(
                "five fields expected (minute, hour, day of the month, month, day of the week), found {fields}"
            ));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| error.to_string())?;
        let schedule = Self(Times::Cron { text: text.to_owned(), cron: Box::new(cron), zone });
        match schedule.next(BEGIN) {
            Some(_) => Ok(schedule),
            None => Err("there is no such day".to_owned()),
        }
    }

    /// Every so often, of more than nothing.
    pub(crate) const fn every(span: Duration) -> Self {
        Self(Times::Every(span))
    }

    /// The latest time of it that is not after `now`.
    pub fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            Times::Cron { cron, zone, .. } => {
                let found = cron.find_previous_occurrence(&local(now, *zone)?, true).ok()?;
                Timestamp::from_datetime(&found.to_utc())
            }
            Times::Every(span) => Some(floor(now, *span)),
        }
    }

    /// The first time of it that is after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            Times::Cron { cron, zone, .. } => {
                let found = cron.find_next_occurrence(&local(now, *zone)?, false).ok()?;
                Timestamp::from_datetime(&found.to_utc())
            }
            Times::Every(span) => Some(floor(now, *span).plus(*span)),
        }
    }

    /// Its times within a range, in order.
    pub fn times(&self, range: TimeRange) -> impl Iterator<Item = Timestamp> {
        let before = Timestamp(range.from.0.saturating_sub(1));
        std::iter::successors(self.next(before), |time| self.next(*time))
            .take_while(move |time| *time < range.to)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Times::Cron { text, cron, zone } => {
                let words = cron.describe();
                let words = words.trim_end_matches('.');
                write!(f, "by the cron expression {text} in {zone} ({words})")
            }
            Times::Every(span) => write!(f, "every {}", crate::explain::span(*span)),
        }
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.0 {
            Times::Cron { text, zone, .. } => {
                map.serialize_entry("cron", text)?;
                map.serialize_entry("zone", zone.name())?;
            }
            Times::Every(span) => map.serialize_entry("every", &format!("{}s", span.as_secs_f64()))?,
        }
        map.end()
    }
}

/// The second in which a time lies, on the clocks of a zone.
fn local(time: Timestamp, zone: Tz) -> Option<DateTime<Tz>> {
    let second = DateTime::<Utc>::from_timestamp(time.0.div_euclid(1_000_000_000), 0)?;
    Some(second.with_timezone(&zone))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use chrono_tz::Europe::Berlin;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_cron_expression_says_when() {
        let quarter = Schedule::cron("*/15 8-17 * * mon-fri", Tz::UTC).unwrap();
        // A Friday.
        let now = at("2026-11-27T17:44:59.5Z");
        assert_eq!(quarter.latest(now), Some(at("2026-11-27T17:30:00Z")));
        assert_eq!(quarter.next(now), Some(at("2026-11-27T17:45:00Z")));
        assert_eq!(quarter.next(at("2026-11-27T17:45:00Z")), Some(at("2026-11-30T08:00:00Z")));
        assert_eq!(quarter.latest(at("2026-11-27T17:45:00Z")), Some(at("2026-11-27T17:45:00Z")));
        assert_eq!(quarter.latest(at("2026-11-29T12:00:00Z")), Some(at("2026-11-27T17:45:00Z")));
    }

    #[test]
    fn days_of_the_month_or_of_the_week_are_enough_as_cron_has_it() {
        let either = Schedule::cron("0 0 13 * fri", Tz::UTC).unwrap();
        let range = TimeRange { from: at("2026-11-06T00:00:00Z"), to: at("2026-11-20T00:00:00Z") };
        let times: Vec<String> = either.times(range).map(|time| time.to_string()[5..10].to_owned()).collect();
        assert_eq!(times, ["11-06", "11-13"]);
        let range = TimeRange { from: at("2026-12-10T00:00:00Z"), to: at("2026-12-19T00:00:00Z") };
        let times: Vec<String> = either.times(range).map(|time| time.to_string()[5..10].to_owned()).collect();
        assert_eq!(times, ["12-11", "12-13", "12-18"]);
    }

    #[test]
    fn a_day_has_one_run_where_clocks_are_put_forward_or_back() {
        let night = Schedule::cron("30 2 * * *", Berlin).unwrap();
        // 02:30 does not exist on 29 March, and comes twice on 25 October.
        for (from, to) in [("2026-03-28", "2026-03-31"), ("2026-10-24", "2026-10-27")] {
            let range =
                TimeRange { from: at(&format!("{from}T12:00:00Z")), to: at(&format!("{to}T00:00:00Z")) };
            let times: Vec<Timestamp> = night.times(range).collect();
            let days: std::collections::BTreeSet<String> =
                times.iter().map(|time| time.to_string()[..10].to_owned()).collect();
            assert_eq!((times.len(), days.len()), (2, 2), "{times:?}");
        }
        assert_eq!(night.next(at("2026-07-01T00:00:00Z")), Some(at("2026-07-01T00:30:00Z")));
        assert_eq!(night.next(at("2026-12-01T00:00:00Z")), Some(at("2026-12-01T01:30:00Z")));
    }

    #[test]
    fn every_so_often_is_the_same_for_every_node() {
        let often = Schedule::every(Duration::from_secs(5));
        assert_eq!(often.latest(at("2026-11-27T17:44:59.5Z")), Some(at("2026-11-27T17:44:55Z")));
        assert_eq!(often.next(at("2026-11-27T17:44:55Z")), Some(at("2026-11-27T17:45:00Z")));
        let range = TimeRange { from: at("2026-11-27T17:45:00Z"), to: at("2026-11-27T17:46:00Z") };
        assert_eq!(often.times(range).count(), 12);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for wrong in ["* * * *", "0 * * * * *", "61 * * * *", "* * * * noday", "0 0 30 2 *", "@daily", ""] {
            assert!(Schedule::cron(wrong, Tz::UTC).is_err(), "{wrong}");
        }
        let text = Schedule::cron("0 6 * * *", Berlin).unwrap().to_string();
        assert!(
            text.contains("0 6 * * *") && text.contains("Europe/Berlin") && text.contains("06:00"),
            "{text}"
        );
    }

    proptest::proptest! {
        #[test]
        fn the_latest_and_the_next_time_lie_around_now(nanos in 0..4_000_000_000_000_000_000i64, which in 0..4usize) {
            let schedule = match which {
                0 => Schedule::cron("*/7 * * * *", Berlin).unwrap(),
                1 => Schedule::cron("30 2 * * *", Berlin).unwrap(),
                2 => Schedule::cron("0 0 29 2 *", Tz::UTC).unwrap(),
                _ => Schedule::every(Duration::from_millis(2500)),
            };
            let now = Timestamp(nanos);
            let (latest, next) = (schedule.latest(now), schedule.next(now).unwrap());
            proptest::prop_assert!(latest.is_none_or(|latest| latest <= now) && next > now);
            // Nothing lies between them.
            proptest::prop_assert_eq!(schedule.latest(Timestamp(next.0 - 1)), latest);
            proptest::prop_assert_eq!(schedule.latest(next), Some(next));
        }
    }
}
