//! Writing documents: each becomes a record of its index's stream. What was acknowledged is durable.

use super::{ID, Index};
use crate::{SearchRequest, Searcher};
use futures_util::future::BoxFuture;
use millrace_elastic::{Error as ElasticError, fields::record_of};
use millrace_filter::{Expr, FieldTest, Filter, Literal, Predicate};
use millrace_model::{Declarations, Grant, LogRecord, Sight, StreamName, TimeRange, declared::say_words};
use millrace_store::{Leaf, Order};
use serde_json::Value as Json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Brings records of a stream to the disk; the error says why not now.
pub type Put =
    Arc<dyn Fn(StreamName, Vec<LogRecord>) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// How often is looked whether a document can be found.
const LOOK: Duration = Duration::from_millis(50);
/// For so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// An id for a document that was given none, as hard to guess as a source.
pub(crate) fn new_id() -> String {
    millrace_model::SourceId::random().to_string()
}

/// A document's record as an indexer expects it.
pub(super) fn finished(
    mut record: LogRecord,
    declared: &Declarations,
    id: &str,
    observed: millrace_model::Timestamp,
) -> LogRecord {
    // What is not of its type was refused.
    declared.coerce(&mut record.attributes, |_| {});
    record.observed_timestamp = observed;
    record.attributes.set(ID, id);
    say_words(&mut record.attributes);
    record
}

/// Documents on their way.
#[derive(Debug, Default)]
pub struct Write {
    records: Vec<(StreamName, LogRecord)>,
    /// What is declared of fields, by stream.
    declared: BTreeMap<StreamName, Declarations>,
    /// By stream, the id of the last.
    last: Vec<(StreamName, String)>,
}

impl Write {
    /// Takes a document in; its id.
    ///
    /// # Errors
    /// It does not fit its index.
    pub fn document(
        &mut self,
        index: &Index,
        id: Option<&str>,
        line: &str,
        document: &Json,
        now: millrace_model::Timestamp,
    ) -> Result<String, ElasticError> {
        let record = record_of(&index.mapping, line, document)?;
        let declared = self.declared.entry(index.stream.clone());
        let declared = declared.or_insert_with(|| index.mapping.declarations());
        let id = id.map_or_else(new_id, str::to_owned);
        let record = finished(record, declared, &id, now);
        self.records.push((index.stream.clone(), record));
        match self.last.iter_mut().find(|(stream, _)| *stream == index.stream) {
            Some((_, last)) => last.clone_from(&id),
            None => self.last.push((index.stream.clone(), id.clone())),
        }
        Ok(id)
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Makes all of them durable.
    ///
    /// # Errors
    /// Nothing can be taken in now; some may be there.
    pub async fn put(&mut self, put: &Put) -> Result<(), ElasticError> {
        let mut rest = std::mem::take(&mut self.records).into_iter().peekable();
        while let Some((stream, record)) = rest.next() {
            let mut some = vec![record];
            while let Some((_, record)) = rest.next_if(|(next, _)| *next == stream) {
                some.push(record);
            }
            put(stream, some).await.map_err(ElasticError::unavailable)?;
        }
        Ok(())
    }

    /// Waits until all of them can be found.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn visible<L: Leaf>(&self, searcher: &Searcher<L>) -> Result<bool, millrace_catalogue::Error> {
        let until = tokio::time::Instant::now() + PATIENCE;
        for (stream, id) in &self.last {
            let own = FieldTest::new(&format!("attributes.{ID}"), Predicate::Equals(Literal::new(id)));
            let request = SearchRequest {
                filter: Filter::new(Expr::Field(Box::new(own))),
                range: TimeRange::ALL,
                streams: Some(vec![stream.clone()]),
                sight: Sight::whole(Grant::All),
                limit: 0,
                order: Order::NewestFirst,
                after: None,
                histogram: None,
                gather: None,
            };
            while searcher.search(&request).await?.total == 0 {
                if tokio::time::Instant::now() > until {
                    return Ok(false);
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(true)
    }
}
