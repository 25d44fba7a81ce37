//! Silences: alerts that a matcher means are kept and not told of, for a while or in windows of every week.

use super::matcher::{Matcher, problem};
use crate::http::described::Time;
use chrono::{Datelike, NaiveTime, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use millrace_model::{LogRecord, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The kind of their documents in the catalogue.
pub const KIND: &str = "silence";
/// The most silences that are kept.
pub const MAX_SILENCES: usize = 1_000;
/// The most windows of one.
const MAX_WINDOWS: usize = 50;
/// The longest matcher and comment, in bytes.
const MAX_TEXT: usize = 4 << 10;

/// A window of every week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SilenceWindow)]
pub struct Window {
    /// The days on which it begins: `mon`, `tue`, … None: every day.
    #[serde(default)]
    pub days: Vec<String>,
    /// When it begins: `22:00`.
    pub from: String,
    /// When it ends, outside; at or before `from`: on the next day.
    pub to: String,
    /// Where the clock hangs: `Europe/Berlin`.
    #[serde(default = "utc")]
    pub zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// A silence as somebody wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SilenceBody, example = json!({ "match": "host:web1", "ends": "2100-01-01T00:00:00Z", "comment": "moves" }))]
pub struct Wanted {
    /// Which alerts.
    #[serde(rename = "match")]
    pub matcher: String,
    /// Since when; absent: at once.
    #[serde(default)]
    #[schema(value_type = Option<Time>)]
    pub starts: Option<Timestamp>,
    /// Until when, outside. Only with windows may it be absent.
    #[serde(default)]
    #[schema(value_type = Option<Time>)]
    pub ends: Option<Timestamp>,
    /// Only within these windows; none: all the time.
    #[serde(default)]
    pub weekly: Vec<Window>,
    /// Why.
    #[serde(default)]
    pub comment: String,
}

/// A silence as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SilenceMade)]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// Which alerts.
    #[serde(rename = "match")]
    pub matcher: String,
    /// Since when.
    #[schema(value_type = Time)]
    pub starts: Timestamp,
    /// Until when, outside; null: without an end.
    #[schema(value_type = Option<Time>, required)]
    pub ends: Option<Timestamp>,
    /// Only within these windows.
    pub weekly: Vec<Window>,
    /// Why.
    pub comment: String,
    /// Who made it; empty: nobody that has a name.
    pub created_by: String,
    /// When.
    #[schema(value_type = Time)]
    pub created: Timestamp,
}

/// A silence that can be asked.
#[derive(Debug, Clone)]
pub struct Silence {
    /// As it is kept.
    pub kept: Kept,
    matcher: Matcher,
    windows: Vec<Read>,
}

#[derive(Debug, Clone)]
struct Read {
    days: Vec<Weekday>,
    from: NaiveTime,
    to: NaiveTime,
    zone: Tz,
}

/// What is wrong with a silence: which of its fields, and what.
pub type Wrong = (&'static str, String);

impl Wanted {
    /// The silence that is wanted, checked.
    ///
    /// # Errors
    /// The field that is wrong, and what is wrong with it.
    pub fn check(self, id: String, by: &str, now: Timestamp) -> Result<Silence, Wrong> {
        if self.comment.len() > MAX_TEXT {
            return Err(("comment", format!("at most {MAX_TEXT} bytes expected")));
        }
        let starts = self.starts.unwrap_or(now);
        if self.ends.is_none() && self.weekly.is_empty() {
            return Err((
                "ends",
                "is missing: only a silence with weekly windows may go on without an end".to_owned(),
            ));
        }
        if self.ends.is_some_and(|ends| ends <= starts.max(now)) {
            return Err(("ends", "a time that is still to come, and after `starts`, expected".to_owned()));
        }
        Silence::read(Kept {
            id,
            matcher: self.matcher,
            starts,
            ends: self.ends,
            weekly: self.weekly,
            comment: self.comment,
            created_by: by.to_owned(),
            created: now,
        })
    }
}

impl Silence {
    /// Reads one that is kept.
    ///
    /// # Errors
    /// The field that is wrong, and what is wrong with it.
    pub fn read(kept: Kept) -> Result<Self, Wrong> {
        if kept.matcher.len() > MAX_TEXT {
            return Err(("match", format!("at most {MAX_TEXT} bytes expected")));
        }
        if kept.weekly.len() > MAX_WINDOWS {
            return Err(("weekly", format!("at most {MAX_WINDOWS} windows expected")));
        }
        let matcher = Matcher::read(&kept.matcher).map_err(|error| ("match", problem(&error)))?;
        let windows = kept.weekly.iter().map(|window| read(window).map_err(|problem| ("weekly", problem)));
        let windows = windows.collect::<Result<_, _>>()?;
        Ok(Self { kept, matcher, windows })
    }

    /// Is its time over for good?
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.kept.ends.is_some_and(|ends| ends <= now)
    }

    /// Does it hold now?
    pub fn holds(&self, now: Timestamp) -> bool {
        self.kept.starts <= now
            && !self.is_over(now)
            && (self.windows.is_empty() || self.windows.iter().any(|window| window.holds(now)))
    }

    /// Does it mean this alert, whenever it holds?
    pub fn means(&self, alert: &LogRecord) -> bool {
        self.matcher.matches(alert)
    }
}

fn read(window: &Window) -> Result<Read, String> {
    let time = |text: &str| {
        NaiveTime::parse_from_str(text, "%H:%M")
            .map_err(|_| format!("a time like 22:00 expected, found {text:?}"))
    };
    let day = |text: &String| {
        text.parse::<Weekday>().map_err(|_| format!("a day like mon or sunday expected, found {text:?}"))
    };
    Ok(Read {
        days: window.days.iter().map(day).collect::<Result<_, _>>()?,
        from: time(&window.from)?,
        to: time(&window.to)?,
        zone: window.zone.parse().map_err(|_| {
            format!("the name of a time zone such as Europe/Berlin expected, found {:?}", window.zone)
        })?,
    })
}

impl Read {
    fn holds(&self, now: Timestamp) -> bool {
        let now = self.zone.from_utc_datetime(&Utc.timestamp_nanos(now.0).naive_utc());
        let (time, today) = (now.time(), now.weekday());
        let on = |day: Weekday| self.days.is_empty() || self.days.contains(&day);
        if self.from < self.to {
            on(today) && self.from <= time && time < self.to
        } else {
            let yesterday = (now.date_naive() - TimeDelta::days(1)).weekday();
            (on(today) && self.from <= time) || (on(yesterday) && time < self.to)
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_datetime(&text.parse::<DateTime<Utc>>().unwrap()).unwrap()
    }

    fn wanted(weekly: Vec<Window>) -> Wanted {
        Wanted {
            matcher: "rule.id:ssh*".to_owned(),
            starts: None,
            ends: None,
            weekly,
            comment: String::new(),
        }
    }

    fn window(days: &[&str], from: &str, to: &str, zone: &str) -> Window {
        let days = days.iter().map(|day| (*day).to_owned()).collect();
        Window { days, from: from.to_owned(), to: to.to_owned(), zone: zone.to_owned() }
    }

    #[test]
    fn a_window_holds_every_week_by_its_own_clock() {
        let now = at("2026-11-01T00:00:00Z");
        let night = wanted(vec![window(&["sat"], "22:00", "02:00", "Europe/Berlin")]);
        let silence = night.check("s".into(), "", now).unwrap();
        // 2026-11-28 is a Saturday; Berlin is an hour ahead then, and two in summer.
        for (time, holds) in [
            ("2026-11-28T20:59:00Z", false),
            ("2026-11-28T21:00:00Z", true),
            ("2026-11-29T00:59:00Z", true),
            ("2026-11-29T01:00:00Z", false),
            ("2026-11-29T21:30:00Z", false),
            ("2026-12-05T21:00:00Z", true),
            ("2027-07-03T20:00:00Z", true),
            ("2026-10-24T21:00:00Z", false),
        ] {
            assert_eq!(silence.holds(at(time)), holds, "{time}");
        }
        let daily = wanted(vec![window(&[], "08:00", "09:00", "UTC")]);
        let daily =
            Wanted { ends: Some(at("2026-11-03T08:30:00Z")), ..daily }.check("s".into(), "", now).unwrap();
        for (time, holds) in
            [("2026-11-02T08:00:00Z", true), ("2026-11-02T09:00:00Z", false), ("2026-11-03T08:30:00Z", false)]
        {
            assert_eq!(daily.holds(at(time)), holds, "{time}");
        }
        assert!(daily.is_over(at("2026-11-03T08:30:00Z")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let now = at("2026-11-01T00:00:00Z");
        let later = Some(at("2026-11-01T01:00:00Z"));
        let cases = [
            (wanted(vec![]), "ends", "is missing"),
            (Wanted { ends: Some(now), ..wanted(vec![]) }, "ends", "still to come"),
            (Wanted { ends: later, starts: later, ..wanted(vec![]) }, "ends", "after `starts`"),
            (Wanted { ends: later, matcher: "((".into(), ..wanted(vec![]) }, "match", "at 2 to 2"),
            (Wanted { ends: later, comment: "x".repeat(5_000), ..wanted(vec![]) }, "comment", "4096 bytes"),
            (wanted(vec![window(&["someday"], "1:00", "2:00", "UTC")]), "weekly", "someday"),
            (wanted(vec![window(&[], "25:00", "2:00", "UTC")]), "weekly", "25:00"),
            (wanted(vec![window(&[], "1:00", "2:00", "Mars/Phobos")]), "weekly", "Mars/Phobos"),
            (wanted(vec![window(&[], "1:00", "2:00", "UTC"); 51]), "weekly", "50 windows"),
        ];
        for (wanted, field, problem) in cases {
            let (wrong, told) = wanted.check("s".into(), "", now).unwrap_err();
            assert_eq!(wrong, field);
            assert!(told.contains(problem), "{told}");
        }
        let future = Wanted { starts: later, ends: Some(at("2026-11-01T02:00:00Z")), ..wanted(vec![]) };
        let future = future.check("s".into(), "", now).unwrap();
        assert!(!future.holds(now) && future.holds(at("2026-11-01T01:30:00Z")));
    }
}
