//! What aggregates keep of each group while rows come in: one kind of state an aggregate, one entry a group. States of
//! different leaves are joined, in whatever order.

use crate::{
    ABSENT, Cells,
    ast::AggregateKind,
    expression::{float, number, rank, truth},
    key::{Key, Probe},
};
use datasketches::hll::{HllSketch, HllType, HllUnion};
use millrace_model::{Number, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sketches_ddsketch::{Config, DDSketch};
use std::cmp::Ordering;

/// How exact counts of different values are: 2^12 registers, a standard error of 1.6 %. Up to some hundred, they are exact.
const LG_REGISTERS: u8 = 12;
/// Percentiles of so many values are exact.
const EXACT_VALUES: usize = 256;
/// How far percentiles of more may be from the value.
const RELATIVE_ERROR: f64 = 0.01;
const MAX_BINS: u32 = 2048;
/// Numbers nearer to zero count as zero in sketches.
const LEAST: f64 = 1e-9;

/// The states of all groups of one aggregate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum States {
    Count(Vec<u64>),
    CountIf(Vec<u64>),
    Distinct(#[serde(serialize_with = "write_sketches", deserialize_with = "read_sketches")] Vec<HllSketch>),
    Sum(Vec<Sum>),
    Moments(Vec<Moments>),
    Min(Vec<Option<Key>>),
    Max(Vec<Option<Key>>),
    Values(Vec<Values>),
    First(Vec<Option<(i64, Key)>>),
    Last(Vec<Option<(i64, Key)>>),
}

/// A sum: of whole numbers exactly, whatever the order.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Sum {
    count: u64,
    #[serde(with = "wide")]
    whole: i128,
    rest: f64,
    /// A number with a fraction was in it.
    has_rest: bool,
}

impl Sum {
    fn add(&mut self, number: Number) {
        self.count += 1;
        match number {
            Number::Int(number) => self.whole = self.whole.saturating_add(number.into()),
            Number::Double(number) => {
                self.rest += number;
                self.has_rest = true;
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.whole = self.whole.saturating_add(other.whole);
        self.rest += other.rest;
        self.has_rest |= other.has_rest;
    }

    fn total(&self) -> f64 {
        self.whole as f64 + self.rest
    }

    /// Whole, where it is and fits.
    fn value(&self) -> Option<Value> {
        match i64::try_from(self.whole) {
            Ok(whole) if !self.has_rest => Some(Value::Int(whole)),
            _ => finite(self.total()),
        }
    }
}

/// Numbers that JSON's readers cannot hold, as text.
mod wide {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &i128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i128, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Count, mean and squared distance from it, joined as Chan, Golub and `LeVeque` have it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if other.count == 0.0 {
            return;
        }
        let apart = other.mean - self.mean;
        self.squares += other.squares + apart * apart * self.count * other.count / count;
        self.mean += apart * other.count / count;
        self.count = count;
    }
}

/// The values of a group, all of them or a sketch.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Values {
    Exact(Vec<f64>),
    Sketch(Box<DDSketch>),
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(values) => f.debug_tuple("Exact").field(values).finish(),
            Self::Sketch(sketch) => f.debug_tuple("Sketch").field(&sketch.count()).finish(),
        }
    }
}

impl Values {
    fn add(&mut self, value: f64) {
        match self {
            Self::Exact(values) if values.len() < EXACT_VALUES => values.push(value),
            Self::Exact(_) => {
                self.sketch().add(value);
            }
            Self::Sketch(sketch) => sketch.add(value),
        }
    }

    /// As a sketch from now on.
    fn sketch(&mut self) -> &mut DDSketch {
        if let Self::Exact(values) = self {
            let mut sketch = DDSketch::new(Config::new(RELATIVE_ERROR, MAX_BINS, LEAST));
            for value in values.iter() {
                sketch.add(*value);
            }
            *self = Self::Sketch(Box::new(sketch));
        }
        match self {
            Self::Sketch(sketch) => sketch,
            Self::Exact(_) => unreachable!("it was made a sketch above"),
        }
    }

    fn merge(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Exact(values), Self::Exact(others)) if values.len() + others.len() <= EXACT_VALUES => {
                values.extend(others);
            }
            (_, Self::Exact(others)) => others.iter().for_each(|value| self.sketch().add(*value)),
            // Both are made by the settings above, so they are joined; one of another program version would be left out.
            (_, Self::Sketch(other)) => drop(self.sketch().merge(&other)),
        }
    }

    fn quantile(&self, part: f64) -> Option<f64> {
        match self {
            Self::Exact(values) => {
                let mut sorted = values.clone();
                sorted.sort_by(f64::total_cmp);
                let place = part * sorted.len().checked_sub(1)? as f64;
                let (below, above) =
                    (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
                Some(below + (above - below) * place.fract())
            }
            Self::Sketch(sketch) => sketch.quantile(part).ok().flatten(),
        }
    }
}

impl States {
    pub(crate) fn new(kind: AggregateKind) -> Self {
        match kind {
            AggregateKind::Count => Self::Count(Vec::new()),
            AggregateKind::CountIf => Self::CountIf(Vec::new()),
            AggregateKind::CountDistinct => Self::Distinct(Vec::new()),
            AggregateKind::Sum | AggregateKind::Avg | AggregateKind::Rate => Self::Sum(Vec::new()),
            AggregateKind::StdDev => Self::Moments(Vec::new()),
            AggregateKind::Min => Self::Min(Vec::new()),
            AggregateKind::Max => Self::Max(Vec::new()),
            AggregateKind::Percentile(_) => Self::Values(Vec::new()),
            AggregateKind::First => Self::First(Vec::new()),
            AggregateKind::Last => Self::Last(Vec::new()),
        }
    }

    /// The same of no groups.
    pub(crate) const fn none(&self) -> Self {
        match self {
            Self::Count(_) => Self::Count(Vec::new()),
            Self::CountIf(_) => Self::CountIf(Vec::new()),
            Self::Distinct(_) => Self::Distinct(Vec::new()),
            Self::Sum(_) => Self::Sum(Vec::new()),
            Self::Moments(_) => Self::Moments(Vec::new()),
            Self::Min(_) => Self::Min(Vec::new()),
            Self::Max(_) => Self::Max(Vec::new()),
            Self::Values(_) => Self::Values(Vec::new()),
            Self::First(_) => Self::First(Vec::new()),
            Self::Last(_) => Self::Last(Vec::new()),
        }
    }

    /// Other groups, so many: those here become part of them, one after the other.
    pub(crate) fn regrouped(self, groups: &[u32], count: usize) -> Self {
        let mut all = self.none();
        all.grow(count);
        all.merge(self, groups);
        all
    }

    /// So many groups; new ones are empty.
    pub(crate) fn grow(&mut self, groups: usize) {
        match self {
            Self::Count(all) | Self::CountIf(all) => all.resize(groups, 0),
            Self::Distinct(all) => all.resize_with(groups, empty_sketch),
            Self::Sum(all) => all.resize_with(groups, Sum::default),
            Self::Moments(all) => all.resize_with(groups, Moments::default),
            Self::Min(all) | Self::Max(all) => all.resize(groups, None),
            Self::Values(all) => all.resize_with(groups, || Values::Exact(Vec::new())),
            Self::First(all) | Self::Last(all) => all.resize(groups, None),
        }
    }

    /// Rows, by their groups. Without cells rows are counted, or summed as ones.
    pub(crate) fn add(&mut self, groups: &[u32], cells: Option<&Cells>, times: Option<&Cells>) {
        let Some(cells) = cells else {
            match self {
                Self::Count(all) => groups.iter().for_each(|group| all[*group as usize] += 1),
                Self::Sum(all) => groups.iter().for_each(|group| all[*group as usize].add(Number::Int(1))),
                _ => debug_assert!(false, "only counts and rates are of rows"),
            }
            return;
        };
        let wanted = self.wanted();
        let there = || groups.iter().zip(&cells.codes).enumerate().filter(|(_, (_, code))| **code != ABSENT);
        match self {
            Self::Count(all) => there().for_each(|(_, (group, _))| all[*group as usize] += 1),
            Self::CountIf(all) => {
                each(groups, cells, |value| truth(value).then_some(()), |group, ()| all[group] += 1);
            }
            Self::Distinct(all) => {
                // A sketch takes a value more than once as once: of runs only the first is offered.
                let mut last = None;
                for (_, (group, code)) in there() {
                    if last != Some((*group, *code)) {
                        last = Some((*group, *code));
                        all[*group as usize].update(Probe(&cells.values[*code as usize]));
                    }
                }
            }
            Self::Sum(all) => each(groups, cells, number, |group, number| all[group].add(number)),
            Self::Moments(all) => each(groups, cells, float, |group, mean| {
                all[group].merge(&Moments { count: 1.0, mean, squares: 0.0 });
            }),
            Self::Values(all) => each(groups, cells, float, |group, number| all[group].add(number)),
            Self::Min(all) | Self::Max(all) => there().for_each(|(_, (group, code))| {
                better(&mut all[*group as usize], &cells.values[*code as usize], wanted);
            }),
            Self::First(all) | Self::Last(all) => there().for_each(|(row, (group, code))| {
                let time = time_of(times, row);
                nearer(&mut all[*group as usize], time, &cells.values[*code as usize], wanted);
            }),
        }
    }

    /// How what is kept compares with what is not, where one is kept.
    const fn wanted(&self) -> Ordering {
        match self {
            Self::Max(_) | Self::Last(_) => Ordering::Greater,
            _ => Ordering::Less,
        }
    }

    /// Takes over another leaf's: its groups are these here, one after the other. `false`: they are of another kind.
    pub(crate) fn merge(&mut self, other: Self, groups: &[u32]) -> bool {
        let (to, wanted) = (|at: usize| groups[at] as usize, self.wanted());
        match (self, other) {
            (Self::Count(all), Self::Count(others)) | (Self::CountIf(all), Self::CountIf(others)) => {
                others.into_iter().enumerate().for_each(|(at, other)| all[to(at)] += other);
            }
            (Self::Distinct(all), Self::Distinct(others)) => {
                for (at, other) in others.into_iter().enumerate() {
                    let mine = &mut all[to(at)];
                    if mine.is_empty() {
                        *mine = other;
                    } else if let Ok(mut union) = HllUnion::new(LG_REGISTERS) {
                        union.update(mine);
                        union.update(&other);
                        *mine = union.to_sketch(HllType::Hll8);
                    }
                }
            }
            (Self::Sum(all), Self::Sum(others)) => {
                others.iter().enumerate().for_each(|(at, other)| all[to(at)].merge(other));
            }
            (Self::Moments(all), Self::Moments(others)) => {
                others.iter().enumerate().for_each(|(at, other)| all[to(at)].merge(other));
            }
            (Self::Values(all), Self::Values(others)) => {
                others.into_iter().enumerate().for_each(|(at, other)| all[to(at)].merge(other));
            }
            (Self::Min(all), Self::Min(others)) | (Self::Max(all), Self::Max(others)) => {
                for (at, other) in others.iter().enumerate() {
                    if let Some(other) = other {
                        better(&mut all[to(at)], &other.0, wanted);
                    }
                }
            }
            (Self::First(all), Self::First(others)) | (Self::Last(all), Self::Last(others)) => {
                for (at, other) in others.iter().enumerate() {
                    if let Some((time, other)) = other {
                        nearer(&mut all[to(at)], *time, &other.0, wanted);
                    }
                }
            }
            _ => return false,
        }
        true
    }

    /// The same for each aggregate, where there are so many groups here.
    pub(crate) fn merge_all(mine: &mut [Self], others: Vec<Self>, groups: &[u32], count: usize) -> bool {
        mine.len() == others.len()
            && mine.iter_mut().zip(others).all(|(mine, others)| {
                mine.grow(count);
                others.groups() <= groups.len() && mine.merge(others, groups)
            })
    }

    /// How many groups.
    fn groups(&self) -> usize {
        match self {
            Self::Count(all) | Self::CountIf(all) => all.len(),
            Self::Distinct(all) => all.len(),
            Self::Sum(all) => all.len(),
            Self::Moments(all) => all.len(),
            Self::Min(all) | Self::Max(all) => all.len(),
            Self::Values(all) => all.len(),
            Self::First(all) | Self::Last(all) => all.len(),
        }
    }

    /// The value of a group, and whether it is an estimate. `seconds` are those that rates are of.
    pub(crate) fn value(&self, group: usize, kind: AggregateKind, seconds: f64) -> (Option<Value>, bool) {
        let exactly = |value| (value, false);
        match self {
            Self::Count(all) | Self::CountIf(all) => exactly(Some(Value::Int(all[group] as i64))),
            Self::Distinct(all) => {
                let estimate = all[group].estimate();
                (Some(Value::Int(estimate.round() as i64)), estimate > f64::from(1u32 << (LG_REGISTERS - 3)))
            }
            Self::Sum(all) => {
                let sum = &all[group];
                exactly(match kind {
                    AggregateKind::Avg if sum.count == 0 => None,
                    AggregateKind::Avg => finite(sum.total() / sum.count as f64),
                    AggregateKind::Rate => finite(sum.total() / seconds),
                    _ if sum.count == 0 => None,
                    _ => sum.value(),
                })
            }
            Self::Moments(all) => {
                let of = &all[group];
                exactly(if of.count == 0.0 { None } else { finite((of.squares / of.count).max(0.0).sqrt()) })
            }
            Self::Min(all) | Self::Max(all) => exactly(all[group].as_ref().map(|key| key.0.clone())),
            Self::Values(all) => {
                let AggregateKind::Percentile(part) = kind else { return exactly(None) };
                (all[group].quantile(part).and_then(finite), matches!(all[group], Values::Sketch(_)))
            }
            Self::First(all) | Self::Last(all) => exactly(all[group].as_ref().map(|(_, key)| key.0.clone())),
        }
    }

    /// About how many bytes of memory they take.
    pub(crate) fn weight(&self) -> usize {
        let of_key = |key: &Key| 32 + text_bytes(&key.0);
        match self {
            Self::Count(all) | Self::CountIf(all) => all.len() * 8,
            Self::Distinct(all) => all.iter().map(|sketch| 64 + sketch.estimated_size()).sum(),
            Self::Sum(all) => all.len() * size_of::<Sum>(),
            Self::Moments(all) => all.len() * size_of::<Moments>(),
            Self::Min(all) | Self::Max(all) => all.iter().map(|key| 8 + key.as_ref().map_or(0, of_key)).sum(),
            Self::Values(all) => all
                .iter()
                .map(|values| match values {
                    Values::Exact(values) => 32 + values.capacity() * 8,
                    Values::Sketch(sketch) => 256 + sketch.length() * 8,
                })
                .sum(),
            Self::First(all) | Self::Last(all) => {
                all.iter().map(|found| 16 + found.as_ref().map_or(0, |(_, key)| of_key(key))).sum()
            }
        }
    }
}

/// Calls `visit` with the group of each row and what is made of its value, which is made once a value.
fn each<T: Copy>(
    groups: &[u32],
    cells: &Cells,
    make: impl Fn(&Value) -> Option<T>,
    mut visit: impl FnMut(usize, T),
) {
    let made: Vec<Option<T>> = cells.values.iter().map(make).collect();
    for (group, code) in groups.iter().zip(&cells.codes) {
        // None for rows without a value, too.
        if let Some(made) = made.get(*code as usize).copied().flatten() {
            visit(*group as usize, made);
        }
    }
}

/// The bytes of a value that lie elsewhere.
pub(crate) fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) | Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(values) => values.iter().map(|value| 32 + text_bytes(value)).sum(),
        Value::Map(entries) => entries.iter().map(|(key, value)| 64 + key.len() + text_bytes(value)).sum(),
        _ => 0,
    }
}

fn finite(number: f64) -> Option<Value> {
    number.is_finite().then_some(Value::Double(number))
}

/// The time of a row: its own, or where none is known its place.
fn time_of(times: Option<&Cells>, row: usize) -> i64 {
    match times.and_then(|times| times.get(row)) {
        Some(Value::Int(time)) => *time,
        _ => row as i64,
    }
}

/// Where numbers are, they are before texts, whichever end is asked for.
fn better(best: &mut Option<Key>, value: &Value, wanted: Ordering) {
    let is_better = |best: &Key| match (number(&best.0).is_some(), number(value).is_some()) {
        (true, false) => false,
        (false, true) => true,
        _ => rank(value, &best.0) == wanted,
    };
    if best.as_ref().is_none_or(is_better) {
        *best = Some(Key(value.clone()));
    }
}

fn nearer(best: &mut Option<(i64, Key)>, time: i64, value: &Value, wanted: Ordering) {
    let is_nearer = |(known, key): &(i64, Key)| time.cmp(known).then_with(|| rank(value, &key.0)) == wanted;
    if best.as_ref().is_none_or(is_nearer) {
        *best = Some((time, Key(value.clone())));
    }
}

#[expect(clippy::expect_used, reason = "the number of registers is a constant that is allowed")]
fn empty_sketch() -> HllSketch {
    HllSketch::new(LG_REGISTERS, HllType::Hll8).expect("2^12 registers are allowed")
}

fn write_sketches<S: Serializer>(sketches: &[HllSketch], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(sketches.iter().map(HllSketch::serialize))
}

fn read_sketches<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<HllSketch>, D::Error> {
    let sketches = Vec::<Vec<u8>>::deserialize(from)?;
    let read = |bytes: Vec<u8>| HllSketch::deserialize(&bytes).map_err(D::Error::custom);
    sketches.into_iter().map(read).collect()
}
