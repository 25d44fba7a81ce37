//! Which indices there are, and what is known of their fields.

use super::Collections;
use crate::{INDEXER_GROUP, SearchRequest, Searcher};
use millrace_catalogue::{Catalogue, Error};
use millrace_elastic::{
    Error as ElasticError,
    fields::{Kind, Mapping},
    request::AutoCreate,
};
use millrace_filter::Filter;
use millrace_model::{Grant, Row, Sight, StreamName, TimeRange, Value};
use millrace_pipes::{Aggregate, AggregateKind, Context, Expr, Named, Pipe, Plan};
use millrace_store::{Leaf, Order};
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What indices that were made are called in the catalogue.
const KIND: &str = "elastic.index";
const SETTINGS: &str = "elastic.settings";
const AUTO_CREATE: &str = "auto_create_index";

/// An index.
#[derive(Debug, Clone)]
pub struct Index {
    /// Its name, and its stream's.
    pub stream: StreamName,
    /// What is known of its fields.
    pub mapping: Mapping,
    /// How many records it has.
    pub records: u64,
    /// How many bytes these take in shards.
    pub bytes: u64,
    /// In how many shards.
    pub shards: u64,
    /// Its documents lie in the catalogue, and clients change them.
    pub is_mutable: bool,
}

/// Keeps what was said of indices.
#[derive(Clone)]
pub struct IndexKeeper {
    catalogue: Catalogue,
    collections: Arc<Collections>,
}

impl IndexKeeper {
    /// In this catalogue, where the documents lie that clients change.
    pub fn new(catalogue: Catalogue, collections: Collections) -> Self {
        Self { catalogue, collections: Arc::new(collections) }
    }

    /// Documents that clients change.
    pub fn collections(&self) -> &Collections {
        &self.collections
    }

    async fn made(&self) -> Result<BTreeMap<String, Mapping>, Error> {
        let documents = self.catalogue.documents(KIND).await?;
        let read = |body: &str| {
            let body: Json = serde_json::from_str(body).ok()?;
            Mapping::parse(&body["mappings"]).ok()
        };
        // What cannot be read says nothing of fields.
        let mapping = |body: &str| read(body).unwrap_or_else(Mapping::of_documents);
        Ok(documents.into_iter().map(|document| (document.key, mapping(&document.body))).collect())
    }

    /// Makes an index with these mappings. `false`: there is one.
    ///
    /// # Errors
    /// The catalogue fails.
    pub async fn make(&self, name: &StreamName, mappings: &Mapping) -> Result<bool, Error> {
        let body = json!({ "mappings": mappings.printed() }).to_string();
        match self.catalogue.put_document(KIND, name.as_str(), None, &body).await {
            Ok(_) => Ok(true),
            Err(Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes more mappings in.
    ///
    /// # Errors
    /// They do not fit, or the catalogue fails.
    pub async fn extend(
        &self,
        name: &StreamName,
        mappings: &Json,
    ) -> Result<Result<(), ElasticError>, Error> {
        let stored = self.catalogue.document(KIND, name.as_str()).await?;
        let before = self.made().await?.remove(name.as_str());
        let mut mapping = before.unwrap_or_else(Mapping::of_documents);
        if let Err(error) = mapping.merge(mappings) {
            return Ok(Err(error));
        }
        let body = json!({ "mappings": mapping.printed() }).to_string();
        let version = stored.map(|(version, _)| version);
        self.catalogue.put_document(KIND, name.as_str(), version, &body).await?;
        Ok(Ok(()))
    }

    /// Which indices are made by writing to them.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn auto_create(&self) -> Result<AutoCreate, Error> {
        let stored = self.catalogue.document(SETTINGS, AUTO_CREATE).await?;
        Ok(stored.map_or_else(AutoCreate::default, |(_, text)| AutoCreate::parse(&text)))
    }

    /// Sets that.
    ///
    /// # Errors
    /// The catalogue fails.
    pub async fn set_auto_create(&self, text: &str) -> Result<(), Error> {
        let version = self.catalogue.document(SETTINGS, AUTO_CREATE).await?.map(|(version, _)| version);
        self.catalogue.put_document(SETTINGS, AUTO_CREATE, version, text).await.map(drop)
    }

    /// Forgets an index.
    ///
    /// # Errors
    /// The catalogue fails.
    pub async fn forget(&self, name: &StreamName) -> Result<(), Error> {
        if let Some((version, _)) = self.catalogue.document(KIND, name.as_str()).await? {
            self.catalogue.delete_document(KIND, name.as_str(), version).await?;
        }
        Ok(())
    }

    /// The indices whose documents clients change, by name: those that were made, and those that hold something.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn mutable(&self, grant: &Grant) -> Result<Vec<Index>, Error> {
        let made = self.made().await?;
        self.mutable_of(made, grant).await
    }

    async fn mutable_of(
        &self,
        mut made: BTreeMap<String, Mapping>,
        grant: &Grant,
    ) -> Result<Vec<Index>, Error> {
        made.retain(|name, _| self.collections.holds(name));
        let collections = self.catalogue.collections().await?;
        let names: BTreeSet<String> =
            made.keys().cloned().chain(collections.iter().map(|one| one.name.clone())).collect();
        let index = |name: String| {
            let stream: StreamName = name.parse().ok().filter(|stream| grant.covers(stream))?;
            let collection = collections.iter().find(|one| one.name == name);
            Some(Index {
                records: collection.map_or(0, |one| one.documents),
                bytes: collection.map_or(0, |one| one.bytes),
                mapping: made.remove(&name).unwrap_or_else(Mapping::of_documents),
                ..Index::mutable(stream)
            })
        };
        // What is not named any more is not shown, and comes back when it is.
        let named = names.into_iter().filter(|name| self.collections.holds(name));
        Ok(named.filter_map(index).collect())
    }

    /// All indices that may be seen, by name: those that were made, and the streams that hold something.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn all<L: Leaf>(
        &self,
        searcher: &Searcher<L>,
        grant: &Grant,
        memory: usize,
    ) -> Result<Vec<Index>, Error> {
        let mut made = self.made().await?;
        let mut mutable = self.mutable_of(made.clone(), grant).await?;
        made.retain(|name, _| !self.collections.holds(name));
        let counts = counts(searcher, grant, memory).await?;
        let usage = self.catalogue.stream_usage(INDEXER_GROUP).await?;
        let declared = self.catalogue.stream_fields(INDEXER_GROUP).await?;
        let names: BTreeSet<String> = made.keys().chain(counts.keys()).cloned().collect();
        let names = names.into_iter().filter(|name| !self.collections.holds(name));
        let index = |name: String| {
            let stream: StreamName = name.parse().ok().filter(|stream| grant.covers(stream))?;
            let usage = usage.iter().find(|usage| usage.stream == stream);
            let mapping = made.remove(&name).unwrap_or_else(|| {
                let declared = declared.get(&stream).and_then(|fields| fields.declared.keys().next_back());
                let none = millrace_model::Declarations::default();
                Mapping::of_records(declared.unwrap_or(&none))
            });
            Some(Index {
                mapping,
                records: counts.get(&name).copied().unwrap_or(0),
                bytes: usage.map_or(0, |usage| usage.bytes),
                shards: usage.map_or(0, |usage| usage.shards),
                ..Index::of_stream(stream)
            })
        };
        mutable.extend(names.filter_map(index));
        mutable.sort_unstable_by(|a, b| a.stream.cmp(&b.stream));
        Ok(mutable)
    }
}

/// How many records each stream has.
async fn counts<L: Leaf>(
    searcher: &Searcher<L>,
    grant: &Grant,
    memory: usize,
) -> Result<BTreeMap<String, u64>, Error> {
    let by = vec![Named { name: "stream".to_owned(), what: Expr::Column("_stream".to_owned()) }];
    let count = Aggregate { kind: AggregateKind::Count, of: None };
    let pipe = Pipe::Stats { aggregates: vec![Named { name: "count".to_owned(), what: count }], by };
    let table = grouped(searcher, grant, None, TimeRange::ALL, pipe, memory).await?;
    let mut counts = BTreeMap::new();
    if let Some(table) = table {
        for row in 0..table.rows {
            if let [Some(Value::String(stream)), Some(Value::Int(count))] =
                [0, 1].map(|column: usize| table.columns[column].cells.get(row))
            {
                counts.insert(stream.clone(), *count as u64);
            }
        }
    }
    Ok(counts)
}

async fn grouped<L: Leaf>(
    searcher: &Searcher<L>,
    grant: &Grant,
    streams: Option<Vec<StreamName>>,
    range: TimeRange,
    pipe: Pipe,
    memory: usize,
) -> Result<Option<millrace_pipes::Table>, Error> {
    let context = Context { now: searcher.now(), range, limit: usize::MAX, memory };
    // A pipe of known columns can always be planned.
    let Ok(plan) = Plan::new(&[pipe], &context) else { return Ok(None) };
    let request = SearchRequest {
        filter: Filter::ALL,
        range,
        streams,
        sight: Sight::whole(grant.clone()),
        limit: 0,
        order: Order::NewestFirst,
        after: None,
        histogram: None,
        gather: Some(plan.leaf()),
    };
    let found = searcher.search(&request).await?;
    Ok(searcher.finish(plan, found.gathered).await.ok().map(|answer| answer.table))
}

impl Index {
    /// One of documents about which nothing is known, and of which there are none.
    pub fn of_stream(stream: StreamName) -> Self {
        let mapping = Mapping::of_documents();
        Self { stream, mapping, records: 0, bytes: 0, shards: 0, is_mutable: false }
    }

    /// The same, of documents that clients change.
    pub fn mutable(stream: StreamName) -> Self {
        Self { is_mutable: true, ..Self::of_stream(stream) }
    }

    /// Notes which fields some of its records have that nobody declared.
    pub fn look(&mut self, rows: &[Row]) {
        let is_documents = self.mapping.is_documents();
        for row in rows {
            let mut see = |name: &str, value: &Value| {
                let kind = match value {
                    Value::Int(_) => Kind::Long,
                    Value::Double(_) => Kind::Double,
                    Value::Bool(_) => Kind::Boolean,
                    Value::String(_) | Value::Text(_) => Kind::Dynamic,
                    _ => return,
                };
                if name != super::ID {
                    self.mapping.see(name, kind);
                }
            };
            row.record.attributes.each_leaf(&mut see);
            if !is_documents {
                row.record.resource.each_leaf(&mut see);
            }
        }
    }
}
