//! `_bulk`, `_doc` and `_create`: documents in, and one by its id out.

use super::{Answered, Asked, Problem, Reply, indices::stream};
use crate::elastic::{Index, Write};
use axum::http::StatusCode;
use millrace_elastic::{
    Error,
    fields::Mapping,
    request::{Action, AutoCreate, Operation, Search, bulk},
    response,
};
use millrace_store::Leaf;
use serde_json::json;
use std::{collections::HashMap, time::Instant};

impl<L: Leaf> Asked<'_, L> {
    pub(super) async fn bulk(&self, index: Option<&str>) -> Answered {
        let started = Instant::now();
        let operations = bulk(&self.body, index)?;
        let (mut known, auto) = (self.known().await?, self.api.elastic.indices.auto_create().await?);
        let mut write = Write::default();
        let mut items = Vec::with_capacity(operations.len());
        for operation in &operations {
            let outcome = self.operation(operation, &mut known, &auto, &mut write);
            let outcome = outcome.map(|id| response::written(&operation.index, &id, "created", 1));
            items.push(response::bulk_item(
                operation.action,
                &operation.index,
                operation.id.as_deref(),
                outcome,
            ));
        }
        self.finish(&mut write).await?;
        Ok(response::bulk(started.elapsed().as_millis() as u64, &items).into())
    }

    async fn known(&self) -> Result<HashMap<String, Index>, Problem> {
        Ok(self.all().await?.into_iter().map(|index| (index.stream.to_string(), index)).collect())
    }

    /// One operation; the id of its document.
    fn operation(
        &self,
        operation: &Operation<'_>,
        known: &mut HashMap<String, Index>,
        auto: &AutoCreate,
        write: &mut Write,
    ) -> Result<String, Error> {
        match operation.action {
            Action::Index | Action::Create => {}
            Action::Update | Action::Delete => {
                let reason = "documents of a stream are written once; delete by query, or write another";
                return Err(Error::argument(reason));
            }
        }
        self.may_write(&stream(&operation.index)?)?;
        let index = index_of(&operation.index, known, auto)?;
        let document = operation.document()?;
        let now = self.api.searcher.now();
        write.document(index, operation.id.as_deref(), operation.source.unwrap_or_default(), &document, now)
    }

    /// Makes documents durable, and waits where that is asked until they can be found.
    async fn finish(&self, write: &mut Write) -> Result<(), Problem> {
        let Some(put) = &self.api.elastic.put else {
            let why = "nothing is taken in here: set [query.ingest] state_dir";
            return Err(Error::unavailable(why).into());
        };
        write.put(put).await?;
        let waits = matches!(self.parameters.get("refresh"), Some("true" | "wait_for" | ""));
        if waits && !write.visible(&self.api.searcher).await? {
            return Err(Error::unavailable("the documents are durable, and cannot be found yet").into());
        }
        Ok(())
    }

    pub(super) async fn index(&self, name: &str, id: Option<&str>, create: bool) -> Answered {
        let (mut known, auto) = (self.known().await?, self.api.elastic.indices.auto_create().await?);
        let mut write = Write::default();
        let source =
            std::str::from_utf8(&self.body).map_err(|_| Error::argument("the document is not UTF-8"))?;
        let operation = Operation {
            action: if create { Action::Create } else { Action::Index },
            index: name.to_owned(),
            id: id.map(str::to_owned),
            source: Some(source),
        };
        let id = self.operation(&operation, &mut known, &auto, &mut write)?;
        self.finish(&mut write).await?;
        Ok(Reply::Json(StatusCode::CREATED, response::written(name, &id, "created", 1)))
    }

    /// A document by its id.
    pub(super) async fn get(&self, name: &str, id: &str, part: &str) -> Answered {
        let indices = self.named(name).await?;
        let search = Search::body(&json!({ "query": { "ids": { "values": [id] } }, "size": 1 }))?;
        let answer = self.elastic().search(&search, &indices, None).await?;
        let Some(hit) = answer.hits.first() else {
            if part == "_source" {
                return Ok(Reply::Found(false));
            }
            let body = json!({ "_index": name, "_id": id, "found": false });
            return Ok(Reply::Json(StatusCode::NOT_FOUND, body));
        };
        if part == "_source" {
            return Ok(hit["_source"].clone().into());
        }
        let body = json!({
            "_index": hit["_index"], "_id": hit["_id"], "_version": 1, "_seq_no": 0, "_primary_term": 1,
            "found": true, "_source": hit["_source"],
        });
        Ok(body.into())
    }
}

/// The index that a document goes to; it is made by that, if it is not there.
fn index_of<'k>(
    name: &str,
    known: &'k mut HashMap<String, Index>,
    auto: &AutoCreate,
) -> Result<&'k Index, Error> {
    let stream = stream(name)?;
    if !known.contains_key(name) && !auto.allows(name) {
        return Err(Error::no_index(name));
    }
    Ok(known.entry(name.to_owned()).or_insert_with(|| Index {
        stream,
        mapping: Mapping::of_documents(),
        records: 0,
        bytes: 0,
        shards: 0,
    }))
}
