//! A pipeline is carried out: stage by stage on one line, until one leaves it out.

use crate::{
    ast::{
        Chosen, CompareOp, Conversion, FormatValue, LabelFilter, LabelFormat, Matcher, Pipeline, Quantity,
        Stage, Unwrap,
    },
    entry::{ERROR, ERROR_DETAILS, Entry, Labels, label_name},
    json, logfmt,
    template::{Scope, Template},
    units::{Duration, bytes_value},
};
use std::borrow::Cow;

/// A label could not be read as what it is compared with.
const LABEL_FILTER_ERROR: &str = "LabelFilterErr";
/// A template made no text.
const TEMPLATE_ERROR: &str = "TemplateFormatErr";
/// A label could not be read as a sample's value.
const SAMPLE_ERROR: &str = "SampleExtractionErr";

impl Pipeline {
    /// Carries it out. `false`: the line is left out.
    pub fn run(&self, entry: &mut Entry) -> bool {
        self.selects(entry) && self.stages.iter().all(|stage| stage.run(entry))
    }

    /// Does the selector hold?
    pub fn selects(&self, entry: &Entry) -> bool {
        self.selector.iter().all(|matcher| matches(matcher, entry))
    }
}

fn matches(matcher: &Matcher, entry: &Entry) -> bool {
    matcher.is_match(entry.label(&matcher.label).unwrap_or_default())
}

impl Stage {
    fn run(&self, entry: &mut Entry) -> bool {
        match self {
            Self::Line(filter) => return filter.is_match(&entry.line),
            Self::Label(filter) => return filter.keeps(entry),
            Self::Json(fields) if fields.is_empty() => json::read(entry),
            Self::Json(fields) => json::read_fields(fields, entry),
            Self::Logfmt(settings) => logfmt::read(settings, entry),
            Self::Pattern(pattern) => {
                let line = std::mem::take(&mut entry.line);
                pattern.captures(&line, &mut |name, value| entry.extract(name, value));
                entry.line = line;
            }
            Self::Regexp(expression) => {
                let line = std::mem::take(&mut entry.line);
                if let Some(found) = expression.regex().captures(&line) {
                    for name in expression.regex().capture_names().flatten() {
                        entry.extract(&label_name(name), found.name(name).map_or("", |part| part.as_str()));
                    }
                }
                entry.line = line;
            }
            Self::Unpack => json::unpack(entry),
            Self::LineFormat(template) => line_format(template, entry),
            Self::LabelFormat(formats) => label_format(formats, entry),
            Self::Decolorize => {
                if let Cow::Owned(line) = decolorized(&entry.line) {
                    entry.line = line;
                }
            }
            Self::Drop(chosen) => {
                for Chosen { label, test } in chosen {
                    let value = entry.label(label);
                    if value.is_some_and(|value| test.as_ref().is_none_or(|test| test.is_match(value))) {
                        entry.remove(label);
                    }
                }
            }
            Self::Keep(chosen) => keep(chosen, entry),
            Self::Unwrap(unwrap) => return unwrap.run(entry),
        }
        true
    }
}

fn keep(chosen: &[Chosen], entry: &mut Entry) {
    for name in entry.names() {
        let value = entry.label(&name).unwrap_or_default();
        let kept = chosen.iter().any(|chosen| {
            chosen.label == name && chosen.test.as_ref().is_none_or(|test| test.is_match(value))
        });
        if !kept {
            entry.remove(&name);
        }
    }
}

fn line_format(template: &Template, entry: &mut Entry) {
    let scope = Scope { label: &|name| entry.label(name), line: &entry.line, timestamp: entry.timestamp };
    match template.render(&scope) {
        Ok(line) => entry.line = line,
        Err(why) => entry.fail(TEMPLATE_ERROR, why),
    }
}

fn label_format(formats: &[LabelFormat], entry: &mut Entry) {
    // Templates see the labels as the first of them found them.
    let mut seen: Option<Labels> = None;
    for LabelFormat { label, value } in formats {
        match value {
            FormatValue::Rename(source) => {
                let value = entry.label(source).filter(|_| source != label).map(str::to_owned);
                if let Some(value) = value {
                    entry.set(label, value);
                    entry.remove(source);
                }
            }
            FormatValue::Template(template) => {
                let labels = &*seen.get_or_insert_with(|| entry.labels());
                let scope = Scope {
                    label: &|name| labels.get(name).map(String::as_str),
                    line: &entry.line,
                    timestamp: entry.timestamp,
                };
                match template.render(&scope) {
                    Ok(value) => entry.set(label, value),
                    Err(why) => entry.fail(TEMPLATE_ERROR, why),
                }
            }
        }
    }
}

impl LabelFilter {
    /// Is the line kept? A label that cannot be read keeps it, and so does every comparison once something went wrong: only
    /// tests of texts see errors.
    fn keeps(&self, entry: &mut Entry) -> bool {
        match self {
            Self::Text(matcher) => matches(matcher, entry),
            Self::And(left, right) => left.keeps(entry) && right.keeps(entry),
            Self::Or(left, right) => left.keeps(entry) || right.keeps(entry),
            Self::Compare { label, .. } if is_error(label) => false,
            Self::Compare { .. } | Self::Addresses { .. } if entry.error().is_some() => true,
            Self::Addresses { label, equal, addresses } => match entry.label(label) {
                Some(value) => addresses.are_in(value) == *equal,
                None => false,
            },
            Self::Compare { label, op, value } => {
                match entry.label(label).map(|text| value.compare(text, *op)) {
                    None => false,
                    Some(Ok(holds)) => holds,
                    Some(Err(why)) => {
                        entry.fail(LABEL_FILTER_ERROR, why);
                        true
                    }
                }
            }
        }
    }
}

fn is_error(label: &str) -> bool {
    matches!(label, ERROR | ERROR_DETAILS)
}

impl Quantity {
    fn compare(&self, text: &str, op: CompareOp) -> Result<bool, String> {
        match self {
            Self::Number(number) => Ok(op.holds(&float(text)?, number)),
            Self::Duration(duration) => Ok(op.holds(&length_of_time(text)?, duration)),
            Self::Bytes(bytes) => Ok(op.holds(&amount(text)?, bytes)),
        }
    }
}

fn float(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn length_of_time(text: &str) -> Result<Duration, String> {
    Duration::parse_value(text).ok_or_else(|| format!("{text:?} is no length of time"))
}

fn amount(text: &str) -> Result<u64, String> {
    bytes_value(text).ok_or_else(|| format!("{text:?} is no amount of bytes"))
}

impl Unwrap {
    /// A line without the label is no sample.
    fn run(&self, entry: &mut Entry) -> bool {
        let Some(text) = entry.label(&self.label).filter(|text| !text.is_empty()) else { return false };
        let value = match self.conversion {
            Conversion::Number => float(text),
            Conversion::Duration => length_of_time(text).map(Duration::seconds),
            Conversion::Bytes => amount(text).map(|bytes| bytes as f64),
        };
        match value {
            Ok(value) => entry.set_sample(value),
            Err(why) => {
                entry.set_sample(0.0);
                entry.fail(SAMPLE_ERROR, why);
            }
        }
        true
    }
}

/// Without the sequences that colour a terminal.
fn decolorized(line: &str) -> Cow<'_, str> {
    const ESCAPES: [char; 2] = ['\u{1b}', '\u{9b}'];
    let Some(first) = line.find(ESCAPES) else { return Cow::Borrowed(line) };
    let mut out = line[..first].to_owned();
    let mut rest = &line[first..];
    while !rest.is_empty() {
        let length = sequence(rest);
        rest = &rest[length..];
        let next = rest.find(ESCAPES).unwrap_or(rest.len());
        // An escape that begins no sequence stays.
        let next =
            if length == 0 && next == 0 { rest.chars().next().map_or(0, char::len_utf8) } else { next };
        out.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    Cow::Owned(out)
}

/// How long the sequence is that `text` begins with: a control sequence, or a command up to its bell.
fn sequence(text: &str) -> usize {
    let (start, introduced) = match text.as_bytes() {
        [0x1b, b'[', ..] | [0xc2, 0x9b, ..] => (2, true),
        [0x1b, b']', ..] => (2, false),
        _ => return 0,
    };
    let rest = &text.as_bytes()[start..];
    if !introduced {
        return rest.iter().position(|byte| *byte == 7).map_or(0, |bell| start + bell + 1);
    }
    let parameters = rest.iter().take_while(|byte| (0x20..0x40).contains(*byte)).count();
    match rest.get(parameters) {
        Some(0x40..=0x7e) => start + parameters + 1,
        _ => 0,
    }
}
