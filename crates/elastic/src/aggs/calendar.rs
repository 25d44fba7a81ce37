//! Times cut into intervals: fixed ones, and those of calendars in time zones. As an expression of pipes, and here, where empty
//! intervals are filled in. Calendars are reckoned from days by whole numbers (the year begins in March, so that its leap day is its
//! last), offsets of zones by a tree over the times at which they change.

use super::{
    needs::{call, column, int},
    spec::Every,
};
use crate::{
    Zone,
    zone::{Unit, add_local, floor_local},
};
use millrace_model::TimeRange;
use millrace_pipes::{Expr, Function, Named, Pipe};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// From Monday to the first of January 1970.
const WEEK_SHIFT: i64 = 3 * DAY;
/// Offsets of zones change at such times at the earliest, and at no others.
const QUARTER_HOUR: i64 = 900 * SECOND;
/// The year 2100, up to which rules of zones are known.
const UNTIL: i64 = 4_102_444_800 * SECOND;

/// How times are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rounding {
    pub(super) every: Every,
    pub(super) zone: Zone,
    /// In nanoseconds.
    pub(super) offset: i64,
}

impl Rounding {
    /// Its length, where that is always the same and what it is cut by does not depend on when offsets change.
    fn width(&self) -> Option<i64> {
        match self.every {
            Every::Fixed(width) => Some(width),
            Every::Calendar(unit) => unit.length(),
        }
    }

    /// Are keys local times, to be made instants later? Of short intervals each instant is told apart by itself.
    pub(super) fn is_local(&self) -> bool {
        match self.zone {
            Zone::Fixed(_) => false,
            Zone::Named(_) => self.width().is_none_or(|width| width > HOUR || HOUR % width != 0),
        }
    }

    /// Where the interval of a local time begins, in local time.
    fn floor_in(&self, local: i64) -> i64 {
        let shifted = local.saturating_sub(self.offset);
        let start = match self.every {
            Every::Fixed(width) => shifted.saturating_sub(shifted.rem_euclid(width)),
            Every::Calendar(unit) => floor_local(shifted, unit),
        };
        start.saturating_add(self.offset)
    }

    /// Where the interval begins that an instant lies in.
    pub(super) fn floor(&self, at: i64) -> i64 {
        let local = self.zone.local(at);
        let start = self.floor_in(local);
        if self.is_local() {
            self.zone.instant(start)
        } else {
            at.saturating_sub(local.saturating_sub(start))
        }
    }

    /// The interval behind the one that begins at `start`; always later.
    pub(super) fn next(&self, start: i64) -> i64 {
        if !self.is_local()
            && let Some(width) = self.width()
        {
            return start.saturating_add(width);
        }
        let local = self.zone.local(start).saturating_sub(self.offset);
        let later = match self.every {
            Every::Fixed(width) => local.saturating_add(width),
            Every::Calendar(unit) => add_local(local, unit, 1),
        };
        let next = self.zone.instant(later.saturating_add(self.offset));
        if next > start { next } else { start.saturating_add(HOUR) }
    }

    /// The instant that a key of [`Rounding::columns`] is.
    pub(super) fn instant(&self, key: i64) -> i64 {
        if self.is_local() { self.zone.instant(key) } else { key }
    }

    /// Columns, whose names begin with `prefix`, of which the last is the key of times (in nanoseconds) that `times` gives.
    pub(super) fn columns(&self, prefix: &str, times: Expr, range: TimeRange) -> (Vec<Pipe>, Expr) {
        let mut columns = Columns { prefix, made: Vec::new() };
        let times = columns.put("t", times);
        let shift = match self.zone {
            Zone::Fixed(seconds) => int(i64::from(seconds) * SECOND),
            Zone::Named(_) => {
                let coarse = columns.put("q", bucket(times.clone(), QUARTER_HOUR));
                columns.put("z", offsets(self.zone, &coarse, range))
            }
        };
        let is_shifted = shift != int(0);
        let local = if is_shifted { plus(times, shift.clone()) } else { times };
        let shifted = if self.offset == 0 { local } else { minus(local, int(self.offset)) };
        let start = match self.every {
            Every::Fixed(width) => bucket(shifted, width),
            Every::Calendar(unit) => calendar(unit, shifted, &mut columns),
        };
        let start = if self.offset == 0 { start } else { plus(start, int(self.offset)) };
        let key = if self.is_local() || !is_shifted { start } else { minus(start, shift) };
        (columns.pipes(), key)
    }
}

fn bucket(of: Expr, width: i64) -> Expr {
    call(Function::Bucket, vec![of, int(width)])
}

fn plus(a: Expr, b: Expr) -> Expr {
    call(Function::Add, vec![a, b])
}

fn minus(a: Expr, b: Expr) -> Expr {
    call(Function::Subtract, vec![a, b])
}

fn times(a: Expr, b: i64) -> Expr {
    call(Function::Multiply, vec![a, int(b)])
}

/// A whole part: `of / by`, rounded down.
fn whole(of: Expr, by: i64) -> Expr {
    call(Function::Floor, vec![call(Function::Divide, vec![of, int(by)])])
}

/// Columns that are made one after the other.
struct Columns<'p> {
    prefix: &'p str,
    made: Vec<Named<Expr>>,
}

impl Columns<'_> {
    /// The column of this, by its name.
    fn put(&mut self, name: &str, what: Expr) -> Expr {
        let name = format!("{}{name}", self.prefix);
        self.made.push(Named { name: name.clone(), what });
        column(&name)
    }

    fn pipes(self) -> Vec<Pipe> {
        if self.made.is_empty() { Vec::new() } else { vec![Pipe::Eval(self.made)] }
    }
}

/// The offset of a zone at each time, in nanoseconds: half of the changes lie on either side of each question.
fn offsets(zone: Zone, at: &Expr, range: TimeRange) -> Expr {
    let (from, to) = (range.from.0.clamp(0, UNTIL), range.to.0.clamp(0, UNTIL));
    let mut changes = vec![(i64::MIN, zone.offset_at(from))];
    changes.extend(zone.changes(from, to));
    half(&changes, at)
}

fn half(changes: &[(i64, i32)], at: &Expr) -> Expr {
    match changes {
        [] => int(0),
        [(_, offset)] => int(i64::from(*offset) * SECOND),
        _ => {
            let (before, after) = changes.split_at(changes.len() / 2);
            let begins = after.first().map_or(i64::MAX, |(begins, _)| *begins);
            let is_before = call(Function::Less, vec![at.clone(), int(begins)]);
            call(Function::If, vec![is_before, half(before, at), half(after, at)])
        }
    }
}

/// Where the unit begins.
fn calendar(unit: Unit, of: Expr, columns: &mut Columns<'_>) -> Expr {
    if let Some(length) = unit.length() {
        return bucket(of, length);
    }
    let day = columns.put("d", bucket(of, DAY));
    match unit {
        Unit::Day => return day,
        Unit::Week => return minus(bucket(plus(day, int(WEEK_SHIFT)), 7 * DAY), int(WEEK_SHIFT)),
        _ => {}
    }
    let days = columns.put("n", call(Function::Round, vec![call(Function::Divide, vec![day, int(DAY)])]));
    // Days since the first of March of the year 0, and within 400 years, which repeat.
    let since = columns.put("s", plus(days.clone(), int(719_468)));
    let era = columns.put("e", whole(since.clone(), 146_097));
    let of_era = columns.put("o", minus(since, times(era.clone(), 146_097)));
    let leaps = minus(
        plus(minus(of_era.clone(), whole(of_era.clone(), 1460)), whole(of_era.clone(), 36_524)),
        whole(of_era.clone(), 146_096),
    );
    let year = columns.put("y", whole(leaps, 365));
    let before = minus(plus(times(year.clone(), 365), whole(year.clone(), 4)), whole(year.clone(), 100));
    let of_year = columns.put("r", minus(of_era, before));
    let month = columns.put("m", whole(plus(times(of_year.clone(), 5), int(2)), 153));
    let into = match unit {
        Unit::Month => minus(of_year, whole(plus(times(month, 153), int(2)), 5)),
        _ => since_january(unit, &of_year, &month, plus(year, times(era, 400)), columns),
    };
    times(minus(days, into), DAY)
}

/// How many days a year or a quarter is old. Months and days count from March.
fn since_january(unit: Unit, of_year: &Expr, month: &Expr, year: Expr, columns: &mut Columns<'_>) -> Expr {
    let year = columns.put("c", year);
    let is = |what: Expr, number: i64| call(Function::Equal, vec![what, int(number)]);
    let rest = |by: i64| call(Function::Remainder, vec![year.clone(), int(by)]);
    let is_leap = call(
        Function::And,
        vec![
            is(rest(4), 0),
            call(Function::Or, vec![call(Function::Not, vec![is(rest(100), 0)]), is(rest(400), 0)]),
        ],
    );
    let to_march = columns.put("l", call(Function::If, vec![is_leap, int(60), int(59)]));
    let from_march = plus(of_year.clone(), to_march);
    let choose = |condition: Expr, yes: Expr, no: Expr| call(Function::If, vec![condition, yes, no]);
    let below = |number: i64| call(Function::Less, vec![month.clone(), int(number)]);
    let later = minus(of_year.clone(), int(306));
    if unit == Unit::Year {
        return choose(below(10), from_march, later);
    }
    let since = |day: i64| minus(of_year.clone(), int(day));
    let spring_on =
        choose(below(4), since(31), choose(below(7), since(122), choose(below(10), since(214), later)));
    choose(below(1), from_march, spring_on)
}
