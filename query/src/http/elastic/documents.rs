//! `_bulk`, `_doc` and `_create`: documents in, and one by its id out.

use super::{Answered, Asked, Problem, Reply, changes::written_once, indices::stream};
use crate::elastic::{Index, Write};
use axum::http::StatusCode;
use millrace_elastic::{
    Error,
    fields::SourceFilter,
    request::{Action, AutoCreate, Condition, Operation, Search, bulk, several},
    response,
};
use millrace_store::Leaf;
use serde_json::{Value as Json, json};
use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

impl<L: Leaf> Asked<'_, L> {
    pub(super) async fn bulk(&self, index: Option<&str>) -> Answered {
        let started = Instant::now();
        let operations = bulk(&self.body, index)?;
        let collections = self.api.elastic.indices.collections();
        let (changes, streamed): (Vec<_>, Vec<_>) =
            operations.iter().enumerate().partition(|(_, operation)| collections.holds(&operation.index));
        let mut outcomes = self.change_all(&changes).await?;
        let mut write = Write::default();
        if !streamed.is_empty() {
            let (mut known, auto) = (self.known().await?, self.api.elastic.indices.auto_create().await?);
            let places: HashSet<usize> = streamed.iter().map(|(at, _)| *at).collect();
            for (at, operation) in streamed {
                let outcome = self.operation(operation, &mut known, &auto, &mut write);
                let outcome = outcome.map(|id| response::written(&operation.index, &id, "created", 1, 0));
                outcomes.insert(at, outcome);
            }
            match self.finish(&mut write).await {
                // What was changed is done, and is not to be done again with the rest.
                Err(Problem::Elastic(error)) if !changes.is_empty() => {
                    let written = outcomes.iter_mut().filter(|(at, _)| places.contains(at));
                    written.filter(|(_, one)| one.is_ok()).for_each(|(_, one)| *one = Err(error.clone()));
                }
                finished => finished?,
            }
        }
        let item = |(at, operation): (usize, &Operation<'_>)| {
            let outcome = outcomes.remove(&at);
            let outcome = outcome.unwrap_or_else(|| Err(Error::internal("nothing became of it")));
            response::bulk_item(operation.action, &operation.index, operation.id.as_deref(), outcome)
        };
        let items: Vec<Json> = operations.iter().enumerate().map(item).collect();
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
            Action::Update | Action::Delete => return Err(written_once()),
        }
        if operation.condition != Condition::default() {
            return Err(written_once());
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

    /// Writes one document: the whole of it is the body.
    pub(super) async fn index(&self, name: &str, id: Option<&str>, create: bool) -> Answered {
        let create = create || self.parameters.get("op_type") == Some("create");
        let action = if create { Action::Create } else { Action::Index };
        let operation = self.one(name, id, action)?;
        if self.api.elastic.indices.collections().holds(name) {
            return self.change(&operation).await;
        }
        let (mut known, auto) = (self.known().await?, self.api.elastic.indices.auto_create().await?);
        let mut write = Write::default();
        let id = self.operation(&operation, &mut known, &auto, &mut write)?;
        self.finish(&mut write).await?;
        Ok(Reply::Json(StatusCode::CREATED, response::written(name, &id, "created", 1, 0)))
    }

    /// Changes a part of a document.
    pub(super) async fn update(&self, name: &str, id: &str) -> Answered {
        self.change(&self.one(name, Some(id), Action::Update)?).await
    }

    /// Deletes a document.
    pub(super) async fn remove(&self, name: &str, id: &str) -> Answered {
        self.change(&self.one(name, Some(id), Action::Delete)?).await
    }

    /// What is asked of one document.
    fn one(&self, name: &str, id: Option<&str>, action: Action) -> Result<Operation<'_>, Error> {
        let source =
            std::str::from_utf8(&self.body).map_err(|_| Error::argument("the document is not UTF-8"))?;
        let is_versioned =
            self.parameters.get("version").is_some() || self.parameters.get("version_type").is_some();
        let condition = Condition::new(
            self.parameters.integer("if_seq_no")?,
            self.parameters.integer("if_primary_term")?,
            is_versioned,
        )?;
        let (index, id) = (name.to_owned(), id.map(str::to_owned));
        Ok(Operation { action, index, id, condition, source: Some(source) })
    }

    /// A document by its id.
    pub(super) async fn get(&self, name: &str, id: &str, part: &str) -> Answered {
        let found = self.found_by_id(name, id).await?;
        Ok(match (found, part) {
            (Some(found), "_source") => found["_source"].clone().into(),
            (Some(found), _) => found.into(),
            (None, "_source") => Reply::Found(false),
            (None, _) => Reply::Json(StatusCode::NOT_FOUND, absent(name, id)),
        })
    }

    /// Documents by their ids.
    pub(super) async fn several(&self, name: Option<&str>) -> Answered {
        let wanted = several(&self.body, name)?;
        let mut documents = Vec::with_capacity(wanted.len());
        for (index, id) in wanted {
            let found = match self.found_by_id(&index, &id).await {
                Ok(found) => found.unwrap_or_else(|| absent(&index, &id)),
                Err(Problem::Elastic(error)) if error.status < 500 => {
                    json!({ "_index": index, "_id": id, "error": error.shown() })
                }
                Err(other) => return Err(other),
            };
            documents.push(found);
        }
        Ok(json!({ "docs": documents }).into())
    }

    async fn found_by_id(&self, name: &str, id: &str) -> Result<Option<Json>, Problem> {
        let mut source = SourceFilter::default();
        source.restrict(&self.parameters.list("_source_includes"), &self.parameters.list("_source_excludes"));
        let shown = |mut found: Json| {
            found["_source"] = source.apply(found["_source"].take()).unwrap_or_default();
            found
        };
        let indices = self.named(name).await?;
        if let [index] = indices.as_slice()
            && index.is_mutable
        {
            return Ok(self.stored(index, id).await?.map(shown));
        }
        let body = json!({ "query": { "ids": { "values": [id] } }, "size": 1, "version": true, "seq_no_primary_term": true });
        let answer = self.elastic().search(&Search::body(&body)?, &indices, None).await?;
        let Some(mut hit) = answer.hits.into_iter().next() else { return Ok(None) };
        let of = |hit: &mut Json, name: &str| hit[name].take();
        let found = json!({
            "_index": of(&mut hit, "_index"), "_id": of(&mut hit, "_id"), "_version": of(&mut hit, "_version"),
            "_seq_no": of(&mut hit, "_seq_no"), "_primary_term": 1, "found": true, "_source": of(&mut hit, "_source"),
        });
        Ok(Some(shown(found)))
    }
}

fn absent(index: &str, id: &str) -> Json {
    json!({ "_index": index, "_id": id, "found": false })
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
    Ok(known.entry(name.to_owned()).or_insert_with(|| Index::of_stream(stream)))
}
