//! How hits are found in their order: as records lie, where that will do, else by pipes whose table says which they are.

use super::{
    Missing, SortField, SortKey,
    after::{self, Value},
};
use crate::{
    Error, Zone,
    fields::{Kind, Mapping, Resolved, Stored},
    json,
    query::Leaf,
};
use millrace_filter::Expr as Filter;
use millrace_model::{RecordId, Row, Timestamp, Value as Cell};
use millrace_pipes::{Expr, Function, Named, Pipe, Table};
use serde_json::{Value as Json, json};

const MILLISECOND: i64 = 1_000_000;

/// The order in which records lie: time, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Native {
    /// The newest first.
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// A place in that order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The time of a record.
    pub time: Timestamp,
    /// Its id.
    pub id: RecordId,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    keys: Vec<Key>,
    native: Option<Native>,
    position: Option<Position>,
    filter: Option<Filter>,
    condition: Option<Expr>,
    /// Was an order asked for? Scores are not shown then.
    pub is_sorted: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) given: SortKey,
    pub(super) field: Resolved,
}

/// A hit that pipes found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its id.
    pub id: String,
    /// Its sort values.
    pub sort: Vec<Json>,
}

impl Order {
    pub(super) fn new(
        sort: &[SortKey],
        after: Option<&[Json]>,
        is_pit: bool,
        mapping: &Mapping,
    ) -> Result<Self, Error> {
        let mut keys: Vec<Key> =
            sort.iter().map(|given| Key { given: given.clone(), field: field(given, mapping) }).collect();
        // At a point in time, equal ones are told apart.
        if is_pit && !keys.iter().any(|key| key.given.field == SortField::Doc) {
            let descending = keys.first().is_some_and(|key| key.given.descending);
            let given = SortKey { descending, ..SortKey::new("_shard_doc") };
            keys.push(Key { field: field(&given, mapping), given });
        }
        let native = native(&keys);
        let mut order = Self {
            keys,
            native,
            position: None,
            filter: None,
            condition: None,
            is_sorted: !sort.is_empty() || is_pit,
        };
        if let Some(after) = after {
            order.begin(after)?;
        }
        Ok(order)
    }

    fn begin(&mut self, after: &[Json]) -> Result<(), Error> {
        let Some(native) = self.native else {
            self.condition = Some(after::condition(&self.keys, after)?);
            return Ok(());
        };
        for (key, given) in self.keys.iter().zip(after) {
            if key.given.field == SortField::Doc
                && let Some(position) = given.as_str().and_then(read_position)
            {
                self.position = Some(position);
                return Ok(());
            }
        }
        // Without a place, all of the millisecond was seen.
        let time =
            self.keys.iter().zip(after).find(|(key, _)| matches!(key.given.field, SortField::Field(_)));
        let Some((key, given)) = time else {
            return Err(Error::argument("Failed to parse search_after value for field [_doc]."));
        };
        let Value::Time(at) = after::value(key, given)? else { return Ok(()) };
        let leaf = Leaf::new(key.field.clone(), 0);
        self.filter = Some(match native {
            Native::OldestFirst => leaf.between(Some(at.saturating_add(MILLISECOND)), None),
            Native::NewestFirst => leaf.between(None, Some(at)),
        });
        Ok(())
    }

    /// In the order in which records lie, where that is what is asked for.
    pub fn native(&self) -> Option<Native> {
        self.native
    }

    /// Where hits begin in that order.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// What else must hold of hits, where they begin behind another.
    pub fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    /// The sort values of a row that was found as it lies; nothing, where no order was asked for.
    pub fn sort_values(&self, row: &Row) -> Vec<Json> {
        let value = |key: &Key| match &key.given.field {
            SortField::Doc => json!(position_text(row.time, &row.id.to_string())),
            SortField::Score => json!(1.0),
            SortField::Field(_) => shown(key, Some(&Cell::Int(row.time.0))),
        };
        self.keys.iter().map(value).collect()
    }

    /// Pipes that give the first `limit` hits; their table is for [`Order::found`].
    pub fn pipes(&self, limit: usize) -> Vec<Pipe> {
        let mut columns = Vec::new();
        let mut sort = Vec::new();
        let mut names = vec!["_id".to_owned()];
        for (at, key) in self.keys.iter().enumerate() {
            let Some(expr) = column(key) else { continue };
            let name = sort_column(at);
            columns.push(Named { name: name.clone(), what: expr.clone() });
            if key.given.missing == Missing::First {
                let gone = format!("_gone{at}");
                columns.push(Named { name: gone.clone(), what: call(Function::Exists, vec![expr]) });
                sort.push(millrace_pipes::SortKey { name: gone, descending: false });
            }
            let ranked = format!("_rank{at}");
            columns.push(Named { name: ranked.clone(), what: rank(key, &name) });
            sort.push(millrace_pipes::SortKey { name: ranked, descending: key.given.descending });
            names.push(name);
        }
        let mut pipes = vec![Pipe::Eval(columns)];
        if let Some(condition) = &self.condition {
            pipes.push(Pipe::Where(condition.clone()));
        }
        if sort.is_empty() {
            sort.push(millrace_pipes::SortKey { name: "@timestamp".to_owned(), descending: true });
        }
        pipes.extend([Pipe::Sort(sort), Pipe::Limit(limit), Pipe::Fields(names)]);
        pipes
    }

    /// The hits that such a table names.
    pub fn found(&self, table: &Table) -> Vec<Found> {
        let cells =
            |name: &str| table.columns.iter().find(|column| column.name == name).map(|column| &column.cells);
        let ids = cells("_id");
        let row = |row: usize| {
            let id = ids.and_then(|ids| ids.get(row)).and_then(Cell::as_str).unwrap_or_default().to_owned();
            let value = |(at, key): (usize, &Key)| match key.given.field {
                SortField::Score => json!(1.0),
                SortField::Doc => json!(id),
                SortField::Field(_) => shown(key, cells(&sort_column(at)).and_then(|cells| cells.get(row))),
            };
            Found { sort: self.keys.iter().enumerate().map(value).collect(), id: id.clone() }
        };
        (0..table.rows).map(row).collect()
    }
}

fn sort_column(at: usize) -> String {
    format!("_sort{at}")
}

pub(super) fn call(function: Function, arguments: Vec<Expr>) -> Expr {
    Expr::Call(function, arguments)
}

fn field(key: &SortKey, mapping: &Mapping) -> Resolved {
    match &key.field {
        SortField::Field(name) => mapping.field(name),
        SortField::Doc | SortField::Score => mapping.field("_id"),
    }
}

/// By time, and then by nothing but the place.
fn native(keys: &[Key]) -> Option<Native> {
    let keys: Vec<&Key> = keys.iter().filter(|key| key.given.field != SortField::Score).collect();
    let Some(first) = keys.first() else { return Some(Native::NewestFirst) };
    let is_time = matches!(&first.field.kind, Kind::Date { stored: Stored::Time, .. })
        && first.field.path != "observed_timestamp"
        && !matches!(first.given.missing, Missing::Value(_));
    let rest = match first.given.field {
        SortField::Doc => &keys[..],
        _ if is_time => &keys[1..],
        _ => return None,
    };
    let places = rest.iter().all(|key| {
        key.given.field == SortField::Doc
            || matches!(&key.given.field, SortField::Field(name) if name == "_id")
    });
    let one = rest.len() <= 1;
    // Of equal times, which come first is nobody's wish.
    (places && one).then_some(if first.given.descending { Native::NewestFirst } else { Native::OldestFirst })
}

/// The values of a key, as they are shown.
pub(super) fn column(key: &Key) -> Option<Expr> {
    let name = match key.given.field {
        SortField::Score => return None,
        SortField::Doc => "_id".to_owned(),
        SortField::Field(_) => key.field.path.clone(),
    };
    let values = Expr::Column(name);
    let values = match &key.field.kind {
        Kind::Date { stored: Stored::Time, .. } => {
            call(Function::Bucket, vec![values, Expr::Constant(Cell::Int(MILLISECOND))])
        }
        Kind::Long | Kind::Double | Kind::Date { .. } => call(Function::Number, vec![values]),
        _ => values,
    };
    Some(match &key.given.missing {
        Missing::Value(value) => {
            call(Function::Coalesce, vec![values, Expr::Constant(after::cell(key, value))])
        }
        _ => values,
    })
}

/// What of them is compared: true and false beside numbers are 1 and 0.
pub(super) fn rank(key: &Key, name: &str) -> Expr {
    let values = Expr::Column(name.to_owned());
    if !matches!(key.field.kind, Kind::Dynamic | Kind::Boolean) {
        return values;
    }
    let is = |text: &str| {
        let texts = call(Function::Text, vec![values.clone()]);
        call(Function::Equal, vec![texts, Expr::Constant(Cell::from(text))])
    };
    let number = |number: i64| Expr::Constant(Cell::Int(number));
    let otherwise = call(Function::If, vec![is("false"), number(0), values.clone()]);
    call(Function::If, vec![is("true"), number(1), otherwise])
}

fn shown(key: &Key, value: Option<&Cell>) -> Json {
    let Some(value) = value else { return Json::Null };
    if let (Kind::Date { stored, .. }, Cell::Int(number)) = (&key.field.kind, value) {
        let nanos = number.saturating_mul(stored.unit());
        return match (&key.given.format, stored) {
            (Some(format), _) => format.value(nanos, Zone::UTC),
            (None, Stored::Time) => json!(nanos.div_euclid(MILLISECOND)),
            (None, _) => json!(number),
        };
    }
    match value {
        Cell::Double(number) => json::number(*number),
        other => json!(other),
    }
}

/// A place as text, which clients hand back as they got it.
fn position_text(time: Timestamp, id: &str) -> String {
    format!("{}_{id}", time.0)
}

fn read_position(text: &str) -> Option<Position> {
    let (time, id) = text.split_once('_')?;
    Some(Position { time: Timestamp(time.parse().ok()?), id: id.parse().ok()? })
}
