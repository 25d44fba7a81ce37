//! What a scheduled rule asks, answered.

use crate::{
    SearchRequest, Searcher,
    http::{parameters::Pipes, piped},
};
use futures_util::future::BoxFuture;
use millrace_detect::{MAX_ROWS, Rule};
use millrace_model::{Sight, Timestamp};
use millrace_pipes::{Context, Table};
use millrace_store::{Leaf, Order};
use std::{sync::Arc, time::Duration};

/// Has the query of a scheduled rule answered, for one of its times. The error says why it could not be, or what an answer might
/// have lacked.
pub type Ask = Arc<dyn Fn(Rule, Timestamp) -> BoxFuture<'static, Result<Answered, String>> + Send + Sync>;

/// What was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answered {
    /// As many rows as are told of.
    pub table: Table,
    /// How many there are.
    pub rows: u64,
    /// How many records the query's filter matched.
    pub records: u64,
}

impl Answered {
    /// Are there more rows than are told of?
    pub fn is_cut_off(&self) -> bool {
        self.rows > self.table.rows as u64
    }
}

/// What one answer may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long.
    pub timeout: Duration,
    /// How many bytes of memory each part of its pipes.
    pub memory: usize,
}

/// Answers the query of a scheduled rule for one of its times; only whole answers are any.
///
/// # Errors
/// Why it cannot be answered, or what an answer might lack.
pub async fn ask<L: Leaf>(
    searcher: &Searcher<L>,
    bounds: Bounds,
    rule: &Rule,
    at: Timestamp,
    sight: Sight,
) -> Result<Answered, String> {
    let scheduled = rule.scheduled().ok_or("the rule asks nothing")?;
    let range = scheduled.range(at);
    let request = SearchRequest {
        filter: scheduled.query.filter.clone(),
        range,
        streams: (!rule.streams.is_empty()).then(|| rule.streams.clone()),
        sight,
        limit: 0,
        order: Order::NewestFirst,
        after: None,
        histogram: None,
        gather: None,
    };
    let context = Context { now: at, range, limit: MAX_ROWS, memory: bounds.memory };
    let pipes = Pipes { each: scheduled.query.pipes.clone(), context };
    let made = piped::table(searcher, bounds.timeout, &request, &pipes, false).await;
    let made = made.map_err(|error| error.to_string())?;
    if let Some(missing) = made.hits.missing.first() {
        return Err(format!("the answer may lack something: {}", missing.reason));
    }
    Ok(Answered { table: made.answer.table, rows: made.answer.rows, records: made.hits.total })
}
