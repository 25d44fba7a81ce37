//! Documents that clients write, change and delete one by one: which indices hold such, and their rows.
//!
//! They lie in the catalogue. To be searched they become hot rows, on which the same plans and pipes run as on those of streams.
//! The rows of an index are kept until the next search and go on from where they were, as long as nothing of them was changed.

use super::{Failed, Index, unreadable, write::finished};
use crate::{Metrics, settings::ElasticSettings};
use millrace_catalogue::{
    Bounds, Catalogue, Collection, CollectionDocument, Decide, Edited, Error, NotEdited,
};
use millrace_elastic::{
    Error as ElasticError, Wildcard,
    fields::{Mapping, record_of},
};
use millrace_model::{Declarations, LogRecord, Partition, RecordId, Row, SourceId, StreamName, Value};
use millrace_store::{FieldRules, HotRow, HotRows, HotShard, Shaper};
use prometheus_client::metrics::counter::Counter;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The largest document, in bytes.
pub const MAX_DOCUMENT: usize = 1 << 20;
/// How many such indices there are at most.
const MAX_INDICES: usize = 200;
/// How many documents one of them holds.
const MAX_DOCUMENTS: u64 = 100_000;
/// How many bytes these are, their ids included.
const MAX_BYTES: u64 = 64 << 20;
/// So many changes are one transaction: whoever else writes to the catalogue waits for no more of them.
const AT_ONCE: usize = 200;
/// Names of fields that get columns in rows.
const MAX_FIELDS: usize = 1000;

/// See the module.
pub struct Collections {
    catalogue: Catalogue,
    patterns: Vec<Wildcard>,
    bounds: Bounds,
    let_go: Counter,
    /// How many bytes of memory rows may take between searches.
    memory: usize,
    kept: Mutex<HashMap<StreamName, Arc<Slot>>>,
}

/// Where the rows of an index are kept.
#[derive(Default)]
struct Slot {
    rows: tokio::sync::Mutex<Option<Rows>>,
    weight: AtomicUsize,
}

/// The rows of an index.
struct Rows {
    /// As it was when they were read.
    collection: Collection,
    mapping: Mapping,
    shard: HotShard,
}

impl Collections {
    /// Those of the indices that `settings` name, in this catalogue. `memory`: how many bytes rows may take between searches.
    pub fn new(catalogue: Catalogue, settings: &ElasticSettings, memory: usize, metrics: &Metrics) -> Self {
        Self {
            catalogue,
            patterns: settings.documents.iter().map(|pattern| Wildcard::new(pattern)).collect(),
            bounds: Bounds {
                documents: MAX_DOCUMENTS,
                bytes: MAX_BYTES,
                room_after: settings.make_room_after,
            },
            let_go: metrics.documents_let_go.clone(),
            memory,
            kept: Mutex::default(),
        }
    }

    /// Are the documents of an index of this name changed by clients?
    pub fn holds(&self, index: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(index))
    }

    /// A document by its id.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn document(&self, index: &StreamName, id: &str) -> Result<Option<CollectionDocument>, Error> {
        self.catalogue.collection_document(index.as_str(), id).await
    }

    /// Changes documents, one after another; what becomes of each. All that happened is durable, and found by the next search.
    pub async fn edit(
        &self,
        index: &StreamName,
        edits: Vec<(String, Decide<ElasticError>)>,
    ) -> Vec<Result<Edited, ElasticError>> {
        let mut each = Vec::with_capacity(edits.len());
        let mut rest = edits.into_iter().peekable();
        while rest.peek().is_some() {
            let some: Vec<_> = rest.by_ref().take(AT_ONCE).collect();
            let count = some.len();
            match self.catalogue.edit_collection(index.as_str(), &self.bounds, some).await {
                Ok(edits) => {
                    self.note_let_go(index, edits.let_go);
                    each.extend(edits.each.into_iter().map(|one| one.map_err(|why| self.told(index, why))));
                }
                // What came before them is done.
                Err(error) => each.extend(vec![Err(unreadable(&error)); count]),
            }
        }
        each
    }

    fn note_let_go(&self, index: &StreamName, documents: u64) {
        if documents > 0 {
            self.let_go.inc_by(documents);
            tracing::warn!(%index, documents, "an index was full: what nobody had written for long made room");
        }
    }

    /// Why a document is not changed, as clients are told.
    fn told(&self, index: &StreamName, why: NotEdited<ElasticError>) -> ElasticError {
        match why {
            NotEdited::Refused(error) => error,
            NotEdited::Full => {
                let Bounds { documents, bytes, .. } = self.bounds;
                let why = format!(
                    "it may hold [{documents}] documents of [{bytes}] bytes together and has no room for this one: delete some, \
                     or set [query.elastic] make_room_after"
                );
                ElasticError::full(index.as_str(), &why)
            }
        }
    }

    /// Deletes all documents of an index.
    ///
    /// # Errors
    /// The catalogue fails.
    pub async fn delete(&self, index: &StreamName) -> Result<(), Error> {
        self.lock().remove(index);
        self.catalogue.delete_collection(index.as_str()).await.map(drop)
    }

    /// May there be one more beside these?
    ///
    /// # Errors
    /// There are as many as there may be.
    pub fn room_beside(indices: usize) -> Result<(), ElasticError> {
        if indices < MAX_INDICES {
            return Ok(());
        }
        Err(ElasticError::limit(format!(
            "this action would add an index of documents that can be changed, but there are [{indices}]/[{MAX_INDICES}] already: delete one"
        )))
    }

    /// The documents of an index as they are now.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn rows(&self, index: &Index) -> Result<HotRows, Failed> {
        let slot = Arc::clone(self.lock().entry(index.stream.clone()).or_default());
        // Two that search at once must not both go on.
        let mut kept = slot.rows.lock().await;
        let known = kept.take().filter(|rows| rows.mapping == index.mapping);
        let since = known.as_ref().map_or(0, |rows| rows.collection.next_sequence);
        let name = index.stream.as_str();
        let Some((mut collection, mut changed)) = self.catalogue.collection_since(name, since).await? else {
            slot.weight.store(0, Ordering::Relaxed);
            return Ok(HotRows::default());
        };
        let known = known.filter(|rows| rows.goes_on(&collection, changed.len()));
        if known.is_none() && since > 0 {
            let Some(all) = self.catalogue.collection_since(name, 0).await? else {
                return Ok(HotRows::default());
            };
            (collection, changed) = all;
        }
        let (stream, mapping) = (index.stream.clone(), index.mapping.clone());
        let made = tokio::task::spawn_blocking(move || {
            let mut rows = known.unwrap_or_else(|| Rows::new(mapping, collection.clone()));
            rows.append(&stream, &changed);
            rows.collection = collection;
            rows
        });
        let rows = made.await.map_err(|error| ElasticError::internal(error.to_string()))?;
        let found = rows.shard.snapshot();
        slot.weight.store(rows.shard.weight(), Ordering::Relaxed);
        *kept = Some(rows);
        self.keep_few(&index.stream);
        Ok(found)
    }

    /// Lets go of the rows of other indices where all of them take too much memory.
    fn keep_few(&self, latest: &StreamName) {
        let mut kept = self.lock();
        let weight: usize = kept.values().map(|slot| slot.weight.load(Ordering::Relaxed)).sum();
        if weight > self.memory {
            kept.retain(|index, _| index == latest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamName, Arc<Slot>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn new(mapping: Mapping, collection: Collection) -> Self {
        let rules = FieldRules::new(Arc::new(mapping.declarations()), MAX_FIELDS);
        Self { collection, mapping, shard: HotShard::new(&Shaper::new(), &rules) }
    }

    /// Is all of this still so, and what has changed only added to it? Each document that is changed or gone makes the collection
    /// one smaller than it would be otherwise.
    fn goes_on(&self, now: &Collection, changed: usize) -> bool {
        now.created == self.collection.created && now.documents == self.collection.documents + changed as u64
    }

    fn append(&self, stream: &StreamName, documents: &[CollectionDocument]) {
        let source = SourceId::derived(&[b"collection", stream.as_str().as_bytes()]);
        let declared = self.mapping.declarations();
        let row = |document: &CollectionDocument| HotRow {
            partition: Partition(0),
            offset: 0,
            row: row(stream, source, &self.mapping, &declared, document),
        };
        self.shard.append(documents.iter().map(row).collect());
    }
}

/// A document's row. Its id says which document it is, in which edition: [`edition`] reads it.
fn row(
    stream: &StreamName,
    source: SourceId,
    mapping: &Mapping,
    declared: &Declarations,
    document: &CollectionDocument,
) -> Row {
    let index = u32::try_from(document.version).unwrap_or(u32::MAX);
    let parsed = serde_json::from_str(&document.body).unwrap_or_default();
    // What fitted when it was written may not fit a mapping that has grown since. It is there, and has no fields.
    let record = record_of(mapping, &document.body, &parsed)
        .unwrap_or_else(|_| LogRecord { body: Value::from(document.body.as_str()), ..LogRecord::default() });
    Row {
        id: RecordId { source, position: document.sequence, index },
        stream: stream.clone(),
        time: record.timestamp.unwrap_or(document.written),
        record: finished(record, declared, &document.id, document.written),
    }
}

/// The version and the last change's number of a document, from its row.
pub(super) fn edition(row: &Row) -> (u64, u64) {
    (u64::from(row.id.index), row.id.position)
}

#[cfg(test)]
mod tests;
