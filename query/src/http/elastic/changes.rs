//! Documents that clients change: operations on them, one or many, and what they find.

use super::{Answered, Asked, Problem, Reply, forbidden, indices::stream};
use crate::elastic::{Collections, Index, decide, id_of, shown};
use axum::http::StatusCode;
use millrace_catalogue::{Change, Decide};
use millrace_elastic::{Error, request::Operation};
use millrace_filter::Expr;
use millrace_listen::Role;
use millrace_model::Grant;
use millrace_store::Leaf;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, HashMap};

/// What became of operations, by their places in the request.
pub(super) type Outcomes = HashMap<usize, Result<Json, Error>>;

impl<L: Leaf> Asked<'_, L> {
    /// Carries out what is asked of one document.
    pub(super) async fn change(&self, operation: &Operation<'_>) -> Answered {
        if !self.api.elastic.indices.collections().holds(&operation.index) {
            // Is it there at all?
            self.named(&operation.index).await?;
            return Err(written_once().into());
        }
        let outcome = self.change_all(&[(0, operation)]).await?.remove(&0);
        let shown = outcome.unwrap_or_else(|| Err(Error::internal("nothing became of it")))?;
        let status = match shown["result"].as_str() {
            Some("created") => StatusCode::CREATED,
            Some("not_found") => StatusCode::NOT_FOUND,
            _ => StatusCode::OK,
        };
        Ok(Reply::Json(status, shown))
    }

    /// Carries operations out, those of an index in their order.
    pub(super) async fn change_all(
        &self,
        operations: &[(usize, &Operation<'_>)],
    ) -> Result<Outcomes, Problem> {
        let mut outcomes = Outcomes::new();
        let mut by_index: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (at, operation) in operations {
            by_index.entry(&operation.index).or_default().push((*at, *operation));
        }
        for (name, operations) in by_index {
            let index = match self.mutable(name).await {
                Ok(index) => index,
                Err(Problem::Elastic(error)) if error.status < 500 => {
                    outcomes.extend(operations.into_iter().map(|(at, _)| (at, Err(error.clone()))));
                    continue;
                }
                Err(other) => return Err(other),
            };
            let (mut places, mut edits): (Vec<usize>, Vec<(String, Decide<Error>)>) =
                (Vec::new(), Vec::new());
            for (at, operation) in operations {
                match decide(operation, &index.mapping) {
                    Ok(edit) => {
                        places.push(at);
                        edits.push(edit);
                    }
                    Err(error) => {
                        outcomes.insert(at, Err(error));
                    }
                }
            }
            let ids: Vec<String> = edits.iter().map(|(id, _)| id.clone()).collect();
            let each = self.api.elastic.indices.collections().edit(&index.stream, edits).await;
            for ((at, id), edited) in places.into_iter().zip(ids).zip(each) {
                outcomes.insert(at, edited.map(|edited| shown(edited, name, &id)));
            }
        }
        Ok(outcomes)
    }

    /// An index of documents that are changed; it is made by that, if it is not there.
    async fn mutable(&self, name: &str) -> Result<Index, Problem> {
        let stream = stream(name)?;
        self.may_write(&stream)?;
        let all = self.api.elastic.indices.mutable(&Grant::All).await?;
        if let Some(index) = all.iter().find(|index| index.stream == stream) {
            return Ok(index.clone());
        }
        if !self.api.elastic.indices.auto_create().await?.allows(name) {
            return Err(Error::no_index(name).into());
        }
        Collections::room_beside(all.len())?;
        Ok(Index::mutable(stream))
    }

    /// A document as it is stored.
    pub(super) async fn stored(&self, index: &Index, id: &str) -> Result<Option<Json>, Problem> {
        let found = self.api.elastic.indices.collections().document(&index.stream, id).await?;
        let Some(found) = found else { return Ok(None) };
        let source: Json =
            serde_json::from_str(&found.body).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Some(json!({
            "_index": index.stream, "_id": found.id, "_version": found.version, "_seq_no": found.sequence,
            "_primary_term": 1, "found": true, "_source": source,
        })))
    }

    /// Deletes what a filter finds of an index of documents that are changed. How many were deleted, and how many others had changed meanwhile.
    pub(super) async fn remove_found(&self, index: &Index, filter: Expr) -> Result<(u64, u64), Problem> {
        self.may_write(&index.stream)?;
        self.caller.may(Role::Read).map_err(forbidden)?;
        let most = usize::try_from(index.records).unwrap_or(usize::MAX);
        let found = self.elastic().records(index, filter, most).await?;
        let edits = found.iter().map(|row| {
            let sequence = row.id.position;
            let decide: Decide<Error> = Box::new(move |before| match before {
                Some(before) if before.sequence == sequence => Ok(Change::Delete),
                _ => Err(Error::conflict("it was changed since it was found")),
            });
            (id_of(row), decide)
        });
        let each = self.api.elastic.indices.collections().edit(&index.stream, edits.collect()).await;
        let (mut deleted, mut changed) = (0, 0);
        for one in each {
            match one {
                Ok(_) => deleted += 1,
                Err(error) if error.status == 409 => changed += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok((deleted, changed))
    }
}

/// Why nothing of a stream is changed.
pub(super) fn written_once() -> Error {
    Error::argument("documents of a stream are written once; delete by query, or write another")
}
