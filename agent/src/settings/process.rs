//! `process`: the steps of a source, one table each.

use millrace_config::{FromValue, Value};
use millrace_filter::{Expr, Filter};
use millrace_intake::process::{Action, CsvTable, GeoTable, Rate, Step};
use millrace_model::{Attributes, fields::FieldRef};
use std::{fs, path::Path};

/// What a step may be.
const ACTIONS: [&str; 7] = ["drop", "keep", "sample", "rate_limit", "rename", "add", "enrich"];
/// A larger table is a mistake.
const LARGEST_TABLE: u64 = 256 << 20;

pub(super) struct StepSetting(pub(super) Step);

impl FromValue for StepSetting {
    const EXPECTED: &'static str =
        "a step: a table with one of drop, keep, sample, rate_limit, rename, add, enrich, and perhaps when";

    fn from_value(value: &Value) -> Result<Self, String> {
        if !value.is_table() {
            return Err(format!("found {}", value.found()));
        }
        let mut kinds = ACTIONS.iter().filter(|action| value.get(action).is_some());
        let (Some(kind), None) = (kinds.next(), kinds.next()) else {
            return Err(format!("a step is exactly one of {}", ACTIONS.join(", ")));
        };
        let options: &[&str] = match *kind {
            "sample" => &["key"],
            "rate_limit" => &["key", "burst"],
            _ => &[],
        };
        if let Some(unknown) =
            value.keys().find(|key| key != kind && *key != "when" && !options.contains(key))
        {
            return Err(format!("{kind} has no setting {unknown}"));
        }
        let said = value.get(kind).ok_or("nothing")?;
        let key = value.get("key").map(|key| field(key, "key")).transpose()?;
        let mut when = value.get("when").map(|when| query(when, "when")).transpose()?;
        let action = match *kind {
            "drop" => {
                let dropped = query(said, "drop")?;
                when = Some(match when {
                    Some(when) => {
                        Filter::new(Expr::all_of(vec![when.root().clone(), dropped.root().clone()]))
                    }
                    None => dropped,
                });
                Action::Drop
            }
            "keep" => Action::Keep(query(said, "keep")?),
            "sample" => Action::Sample { share: share(said)?, key },
            "rate_limit" => Action::RateLimit { rate: rate(said, value.get("burst"))?, key },
            "rename" => Action::Rename(rename(said)?),
            "add" => Action::Add(add(said)?),
            _ => enrich(said)?,
        };
        Ok(Self(Step { when, action }))
    }

    fn example() -> String {
        "{ drop = \"level:debug\" }".to_owned()
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("{name} needs a text, not {}", value.found()))
}

fn query(value: &Value, name: &str) -> Result<Filter, String> {
    let text = text(value, name)?;
    millrace_filter::parse(text).map_err(|error| match &error.suggestion {
        Some(suggestion) => format!("{name}: {}; {suggestion}", error.message),
        None => format!("{name}: {}", error.message),
    })
}

fn field(value: &Value, name: &str) -> Result<FieldRef, String> {
    Ok(FieldRef::resolve(text(value, name)?))
}

fn share(value: &Value) -> Result<f64, String> {
    let share = value.as_float().ok_or_else(|| format!("sample needs a number, not {}", value.found()))?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err("sample is from 0 to 1: a tenth is 0.1".to_owned())
    }
}

fn rate(value: &Value, burst: Option<&Value>) -> Result<Rate, String> {
    let expected = || {
        format!(
            "rate_limit is so many for a time, such as \"100/s\", \"30/m\" or \"5/h\", not {}",
            value.found()
        )
    };
    let (count, unit) = value.as_str().and_then(|text| text.split_once('/')).ok_or_else(expected)?;
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(expected()),
    };
    let count: f64 = count
        .trim()
        .parse()
        .ok()
        .filter(|count| *count > 0.0 && f64::is_finite(*count))
        .ok_or_else(expected)?;
    let burst = match burst.map(|burst| burst.as_float().filter(|burst| *burst >= 1.0)) {
        None => count.max(1.0),
        Some(Some(burst)) => burst,
        Some(None) => return Err("burst needs a number of at least 1".to_owned()),
    };
    Ok(Rate { per_second: count / seconds, burst })
}

/// A name that is an attribute's: what a record has apart from those is set by parsing alone.
fn attribute(name: &str) -> Result<String, String> {
    match FieldRef::resolve(name) {
        FieldRef::Any { path, .. } | FieldRef::Attribute(path) if !path.is_empty() => Ok(path),
        _ => Err(format!("{name:?} is no attribute: steps change attributes alone")),
    }
}

fn rename(value: &Value) -> Result<Vec<(String, String)>, String> {
    let names = value.keys().map(|from| {
        let to = value.get(from).ok_or("nothing")?;
        Ok((attribute(from)?, attribute(text(to, from)?)?))
    });
    let names = names.collect::<Result<Vec<_>, String>>()?;
    if names.is_empty() { Err("rename needs a table: { from = \"to\" }".to_owned()) } else { Ok(names) }
}

fn add(value: &Value) -> Result<Attributes, String> {
    let mut attributes = Attributes::new();
    for name in value.keys() {
        let said = value.get(name).ok_or("nothing")?;
        let key = attribute(name)?;
        if let Some(text) = said.as_str() {
            attributes.set(key, text);
        } else if let Some(number) = said.as_integer() {
            attributes.set(key, i64::try_from(number).map_err(|_| format!("{name} is too large"))?);
        } else if let Some(number) = said.as_float() {
            attributes.set(key, number);
        } else if let Some(value) = said.as_bool() {
            attributes.set(key, value);
        } else {
            return Err(format!("{name} needs a text, a number or a boolean, not {}", said.found()));
        }
    }
    if attributes.is_empty() {
        Err("add needs a table: { name = \"value\" }".to_owned())
    } else {
        Ok(attributes)
    }
}

fn enrich(value: &Value) -> Result<Action, String> {
    let known = ["csv", "mmdb", "by", "column", "into"];
    if let Some(unknown) = value.keys().find(|key| !known.contains(key)) {
        return Err(format!("enrich has no setting {unknown}: it has {}", known.join(", ")));
    }
    let by = value.get("by").ok_or("enrich needs by: the field that is looked up")?;
    let into = value.get("into").map(|into| attribute(text(into, "into")?)).transpose()?;
    match (value.get("csv"), value.get("mmdb")) {
        (Some(path), None) => {
            let path = text(path, "csv")?;
            let column = value.get("column").map_or_else(|| text(by, "by"), |column| text(column, "column"))?;
            let table = CsvTable::new(&read(path)?, column).map_err(|error| format!("{path}: {error}"))?;
            Ok(Action::Csv { by: field(by, "by")?, table, into })
        }
        (None, Some(path)) if value.get("column").is_none() => {
            let path = text(path, "mmdb")?;
            let table = GeoTable::new(read(path)?).map_err(|error| format!("{path}: {error}"))?;
            Ok(Action::Geo { by: field(by, "by")?, table, into })
        }
        _ => Err("enrich needs csv (with column, where that has another name than by) or mmdb: the path of a table".to_owned()),
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    let trouble = |error: std::io::Error| format!("{path} cannot be read: {error}");
    let size = fs::metadata(Path::new(path)).map_err(trouble)?.len();
    if size > LARGEST_TABLE {
        return Err(format!("{path} has {size} bytes; a table may have 256 MiB"));
    }
    fs::read(path).map_err(trouble)
}
