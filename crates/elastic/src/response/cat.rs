//! `_cat`: tables as text, or as JSON.

use super::IndexFacts;
use crate::{Error, Wildcard, request::Parameters};
use serde_json::{Map, Value as Json, json};

/// A column: its name, and others for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Short names for it.
    pub others: &'static [&'static str],
    /// Numbers stand to the right.
    pub is_number: bool,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatTable {
    /// Its columns.
    pub columns: Vec<Column>,
    /// A text of each.
    pub rows: Vec<Vec<String>>,
}

const fn column(name: &'static str, others: &'static [&'static str], is_number: bool) -> Column {
    Column { name, others, is_number }
}

impl CatTable {
    /// With what `h` asks for, as text or as JSON: `Err` holds the text.
    ///
    /// # Errors
    /// A parameter is wrong.
    pub fn shown(self, parameters: &Parameters) -> Result<Result<Json, String>, Error> {
        parameters.ignore(&[
            "master_timeout",
            "local",
            "time",
            "ts",
            "expand_wildcards",
            "include_unloaded_segments",
        ]);
        let asked = parameters.list("h");
        let with_names = parameters.flag("v")?.unwrap_or(false);
        let sort = parameters.list("s");
        let is_json = matches!(parameters.get("format"), Some("json"));
        let mut table = self;
        for key in sort.iter().rev() {
            let (name, descending) = match key.rsplit_once(':') {
                Some((name, order)) => (name, order == "desc"),
                None => (key.as_str(), false),
            };
            let place = table.place(name).ok_or_else(|| {
                Error::argument(format!(
                    "Unable to sort by unknown sort key `{}`",
                    name.chars().take(100).collect::<String>()
                ))
            })?;
            table.rows.sort_by(|a, b| {
                let number = |row: &[String]| row[place].parse::<f64>().ok();
                let order = match (number(a), number(b)) {
                    (Some(a), Some(b)) => a.total_cmp(&b),
                    _ => a[place].cmp(&b[place]),
                };
                if descending { order.reverse() } else { order }
            });
        }
        let table = if asked.is_empty() { table } else { table.select(&asked) };
        Ok(if is_json { Ok(table.json()) } else { Err(table.text(with_names)) })
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name || column.others.contains(&name))
    }

    fn select(self, asked: &[String]) -> Self {
        let mut places: Vec<usize> = Vec::new();
        for name in asked {
            let pattern = Wildcard::new(name);
            let named = if pattern.is_name() {
                self.place(name).into_iter().collect()
            } else {
                (0..self.columns.len())
                    .filter(|at| pattern.matches(self.columns[*at].name))
                    .collect::<Vec<_>>()
            };
            places.extend(named);
        }
        let row = |row: &Vec<String>| places.iter().map(|at| row[*at].clone()).collect();
        Self {
            columns: places.iter().map(|at| self.columns[*at]).collect(),
            rows: self.rows.iter().map(row).collect(),
        }
    }

    fn json(&self) -> Json {
        let row = |row: &Vec<String>| {
            let cell = |(column, text): (&Column, &String)| (column.name.to_owned(), json!(text));
            Json::Object(self.columns.iter().zip(row).map(cell).collect::<Map<_, _>>())
        };
        self.rows.iter().map(row).collect()
    }

    fn text(&self, with_names: bool) -> String {
        let names =
            with_names.then(|| self.columns.iter().map(|column| column.name.to_owned()).collect::<Vec<_>>());
        let rows: Vec<&Vec<String>> = names.iter().chain(&self.rows).collect();
        let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for row in rows {
            let mut line = String::new();
            for ((column, cell), width) in self.columns.iter().zip(row).zip(&widths) {
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                let (before, after) =
                    if column.is_number { (padding.as_str(), "") } else { ("", padding.as_str()) };
                line.extend([before, cell.as_str(), after, " "]);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `_cat/indices`, of those whose health is asked for.
///
/// # Errors
/// A parameter is wrong.
pub fn indices(facts: &[IndexFacts], parameters: &Parameters) -> Result<CatTable, Error> {
    let health = parameters.get("health");
    if let Some(other) = health.filter(|health| !matches!(*health, "green" | "yellow" | "red")) {
        let shown: String = other.chars().take(100).collect();
        return Err(Error::argument(format!("unknown cluster health status [{shown}]")));
    }
    let unit = parameters.get("bytes");
    if let Some(other) = unit.filter(|unit| factor(unit).is_none()) {
        let shown: String = other.chars().take(100).collect();
        return Err(Error::argument(format!("failed to parse [bytes]: [{shown}]")));
    }
    let bytes = |bytes: u64| match unit.and_then(factor) {
        Some(factor) => (bytes / factor).to_string(),
        None => size(bytes),
    };
    let row = |index: &IndexFacts| {
        vec![
            "green".to_owned(),
            "open".to_owned(),
            index.name.clone(),
            index.uuid.clone(),
            "1".to_owned(),
            "0".to_owned(),
            index.documents.to_string(),
            "0".to_owned(),
            bytes(index.bytes),
            bytes(index.bytes),
            bytes(index.bytes),
        ]
    };
    let shown = facts.iter().filter(|_| health.is_none_or(|health| health == "green"));
    Ok(CatTable {
        columns: vec![
            column("health", &[], false),
            column("status", &["s"], false),
            column("index", &["i", "idx"], false),
            column("uuid", &["id"], false),
            column("pri", &["p", "shards.primary", "shardsPrimary"], true),
            column("rep", &["r", "shards.replica", "shardsReplica"], true),
            column("docs.count", &["dc", "docsCount"], true),
            column("docs.deleted", &["dd", "docsDeleted"], true),
            column("store.size", &["ss", "storeSize"], true),
            column("pri.store.size", &[], true),
            column("dataset.size", &[], true),
        ],
        rows: shown.map(row).collect(),
    })
}

fn factor(unit: &str) -> Option<u64> {
    let shift = match unit {
        "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        "p" | "pb" => 50,
        _ => return None,
    };
    Some(1 << shift)
}

/// `222.8kb`.
fn size(bytes: u64) -> String {
    let units = [("pb", 50), ("tb", 40), ("gb", 30), ("mb", 20), ("kb", 10)];
    match units.iter().find(|(_, shift)| bytes >= 1 << shift) {
        None => format!("{bytes}b"),
        Some((unit, shift)) => {
            let text = format!("{:.1}", bytes as f64 / (1u64 << shift) as f64);
            format!("{}{unit}", text.trim_end_matches(".0"))
        }
    }
}

/// `_cat/health`. `at` is the time now, in seconds since the epoch.
impl CatTable {
    /// The one row of `_cat/health`.
    pub fn health(cluster: &str, at: i64, nodes: usize, indices: usize) -> Self {
        let time = crate::zone::utc(at.saturating_mul(1_000_000_000)).format("%H:%M:%S").to_string();
        let columns = vec![
            column("epoch", &["t", "time"], true),
            column("timestamp", &["ts"], false),
            column("cluster", &["cl"], false),
            column("status", &["st"], false),
            column("node.total", &["nt"], true),
            column("node.data", &["nd"], true),
            column("shards", &["sh"], true),
            column("pri", &["p"], true),
            column("relo", &["r"], true),
            column("init", &["i"], true),
            column("unassign", &["u"], true),
            column("pending_tasks", &["pt"], true),
            column("max_task_wait_time", &["mtwt"], false),
            column("active_shards_percent", &["asp"], true),
        ];
        let row = [
            at.to_string(),
            time,
            cluster.to_owned(),
            "green".to_owned(),
            nodes.to_string(),
            nodes.to_string(),
            indices.to_string(),
            indices.to_string(),
            "0".to_owned(),
            "0".to_owned(),
            "0".to_owned(),
            "0".to_owned(),
            "-".to_owned(),
            "100.0%".to_owned(),
        ];
        Self { columns, rows: vec![row.to_vec()] }
    }
}
