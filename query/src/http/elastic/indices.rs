//! What there is: indices, their fields, and the cluster.

use super::{Answered, Asked, CLUSTER, Reply, forbidden};
use crate::elastic::{Collections, Index};
use axum::http::StatusCode;
use millrace_elastic::{
    Error,
    fields::Mapping,
    request::Indices,
    response::{self, CatTable, IndexFacts, IndexFields, Node},
};
use millrace_filter::{Expr, Filter};
use millrace_listen::Role;
use millrace_model::{Grant, StreamName, TimeRange};
use millrace_store::Leaf;
use serde_json::{Value as Json, json};
use std::time::Instant;

/// So many of the latest records are looked into for their fields.
const SAMPLE: usize = 1000;

fn facts(indices: &[Index]) -> Vec<IndexFacts> {
    let one = |index: &Index| IndexFacts {
        name: index.stream.to_string(),
        uuid: millrace_model::SourceId::derived(&[index.stream.as_str().as_bytes()]).to_string()[..22]
            .to_owned(),
        documents: index.records,
        bytes: index.bytes,
        // What is in memory is one, too.
        segments: index.shards.max(u64::from(index.records > 0)),
    };
    indices.iter().map(one).collect()
}

fn names(indices: &[Index]) -> Vec<&str> {
    indices.iter().map(|index| index.stream.as_str()).collect()
}

/// The stream of an index.
pub(super) fn stream(name: &str) -> Result<StreamName, Error> {
    Indices::check_name(name)?;
    name.parse().map_err(|error: millrace_model::ids::IdError| Error::index_name(name, &error.to_string()))
}

impl<L: Leaf> Asked<'_, L> {
    fn here(&self) -> Vec<Node> {
        vec![Node {
            id: CLUSTER.to_owned(),
            name: CLUSTER.to_owned(),
            address: self.api.elastic.address.clone(),
        }]
    }

    pub(super) fn nodes(&self) -> Reply {
        response::nodes(CLUSTER, &self.here()).into()
    }

    pub(super) async fn health(&self) -> Answered {
        Ok(response::health(CLUSTER, 1, self.all().await?.len()).into())
    }

    pub(super) async fn exists(&self, names: &str) -> Answered {
        let all = self.all().await?;
        let known: Vec<&str> = all.iter().map(|index| index.stream.as_str()).collect();
        let found = Indices::read(names, &self.parameters)?.resolve(&known);
        Ok(Reply::Found(found.is_ok_and(|found| !found.is_empty())))
    }

    pub(super) async fn describe(&self, names: &str) -> Answered {
        let indices = self.looked(self.named(names).await?).await?;
        let one = |index: &Index| {
            let settings = json!({ "index": { "provided_name": index.stream, "number_of_shards": "1", "number_of_replicas": "0" } });
            (
                index.stream.to_string(),
                json!({ "aliases": {}, "mappings": index.mapping.printed(), "settings": settings }),
            )
        };
        Ok(Json::Object(indices.iter().map(one).collect()).into())
    }

    pub(super) async fn settings(&self, names: &str) -> Answered {
        let indices = self.named(names).await?;
        let one = |index: &Index| {
            let settings = json!({ "index": { "provided_name": index.stream, "number_of_shards": "1", "number_of_replicas": "0" } });
            (index.stream.to_string(), json!({ "settings": settings }))
        };
        Ok(Json::Object(indices.iter().map(one).collect()).into())
    }

    /// The same, with the fields that their records have.
    async fn looked(&self, mut indices: Vec<Index>) -> Result<Vec<Index>, super::Problem> {
        for index in &mut indices {
            let rows = self.elastic().records(index, Expr::All, SAMPLE).await?;
            index.look(&rows);
        }
        Ok(indices)
    }

    pub(super) async fn mapping(&self, names: &str) -> Answered {
        let indices = self.looked(self.named(names).await?).await?;
        let all: Vec<(&str, &Mapping)> =
            indices.iter().map(|index| (index.stream.as_str(), &index.mapping)).collect();
        Ok(response::mappings(&all).into())
    }

    pub(super) async fn field_caps(&self, names: &str) -> Answered {
        let mut indices =
            self.looked(self.looked_into(&Indices::read(names, &self.parameters)?).await?).await?;
        let mut patterns = self.parameters.list("fields");
        let body: Json = if self.body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(&self.body).map_err(|error| Error::content(error.to_string()))?
        };
        match &body["fields"] {
            Json::String(name) => patterns.push(name.clone()),
            Json::Array(all) => patterns.extend(all.iter().filter_map(Json::as_str).map(str::to_owned)),
            _ => {}
        }
        if let Some(filter) = body.get("index_filter") {
            let now = self.api.searcher.now();
            let mut kept = Vec::new();
            for index in indices {
                let filter = millrace_elastic::query::query(filter, &index.mapping, now)?;
                if self.elastic().counted(&[(&index, filter)]).await?.0 > 0 {
                    kept.push(index);
                }
            }
            indices = kept;
        }
        let fields: Vec<IndexFields<'_>> = indices
            .iter()
            .map(|index| IndexFields { index: index.stream.as_str(), mapping: &index.mapping })
            .collect();
        Ok(response::field_caps(&fields, &patterns).into())
    }

    pub(super) async fn cat_indices(&self, names: &str) -> Answered {
        let indices = self.named(names).await?;
        let table = response::indices(&facts(&indices), &self.parameters)?;
        self.table(table)
    }

    pub(super) async fn cat_health(&self) -> Answered {
        let count = self.all().await?.len();
        let column = |name| response::Column { name, others: &[], is_number: false };
        let rows = vec![vec![CLUSTER.to_owned(), "green".to_owned(), "1".to_owned(), count.to_string()]];
        self.table(CatTable {
            columns: ["cluster", "status", "node.total", "shards"].map(column).to_vec(),
            rows,
        })
    }

    fn table(&self, table: CatTable) -> Answered {
        let shown = table.shown(&self.parameters)?;
        self.parameters.finish(&format!("/{}", self.path))?;
        Ok(match shown {
            Ok(json) => json.into(),
            Err(text) => Reply::Text(text),
        })
    }

    pub(super) async fn resolve(&self, names_: &str) -> Answered {
        let indices = self.named(names_).await?;
        Ok(response::resolve(&names(&indices)).into())
    }

    pub(super) async fn aliases(&self, names_: &str) -> Answered {
        let indices = self.named(names_).await?;
        Ok(response::aliases(&names(&indices)).into())
    }

    pub(super) async fn stats(&self, names_: &str) -> Answered {
        let indices = self.named(names_).await?;
        Ok(response::stats(&facts(&indices)).into())
    }

    pub(super) async fn search_shards(&self, names_: &str) -> Answered {
        let indices = self.named(names_).await?;
        Ok(response::search_shards(&names(&indices), &self.here()).into())
    }

    pub(super) async fn create(&self, name: &str) -> Answered {
        let stream = stream(name)?;
        self.may_write(&stream)?;
        let body: Json = if self.body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(&self.body).map_err(|error| Error::content(error.to_string()))?
        };
        let mapping = match body.get("mappings") {
            Some(mappings) => Mapping::parse(mappings)?,
            None => Mapping::of_documents(),
        };
        let keeper = &self.api.elastic.indices;
        let is_mutable = keeper.collections().holds(name);
        let all = if is_mutable { keeper.mutable(&Grant::All).await? } else { self.all().await? };
        if all.iter().any(|index| index.stream == stream) {
            return Err(Error::index_exists(name).into());
        }
        if is_mutable {
            Collections::room_beside(all.len())?;
        }
        if !keeper.make(&stream, &mapping).await? {
            return Err(Error::index_exists(name).into());
        }
        Ok(json!({ "acknowledged": true, "shards_acknowledged": true, "index": name }).into())
    }

    /// What can be set of the cluster: which indices are made by writing to them.
    pub(super) async fn cluster_settings(&self) -> Answered {
        let body: Json =
            serde_json::from_slice(&self.body).map_err(|error| Error::content(error.to_string()))?;
        for kept in ["persistent", "transient"] {
            let Some(given) = body[kept].as_object() else { continue };
            let flat = given
                .get("action.auto_create_index")
                .or_else(|| given.get("action")?.get("auto_create_index"));
            match flat {
                None => {}
                Some(Json::Null) => self.api.elastic.indices.set_auto_create("true").await?,
                Some(Json::String(text)) => self.api.elastic.indices.set_auto_create(text).await?,
                Some(other) => self.api.elastic.indices.set_auto_create(&other.to_string()).await?,
            }
        }
        Ok(json!({ "acknowledged": true, "persistent": body["persistent"], "transient": body["transient"] })
            .into())
    }

    pub(super) async fn extend(&self, name: &str) -> Answered {
        let stream = stream(name)?;
        self.may_write(&stream)?;
        let body: Json =
            serde_json::from_slice(&self.body).map_err(|error| Error::content(error.to_string()))?;
        self.api.elastic.indices.extend(&stream, &body).await??;
        Ok(json!({ "acknowledged": true }).into())
    }

    /// Forgets indices, and deletes what is in them.
    pub(super) async fn delete(&self, names: &str) -> Answered {
        for index in self.looked_into(&Indices::read(names, &self.parameters)?).await? {
            if index.is_mutable {
                self.api.elastic.indices.collections().delete(&index.stream).await?;
            } else if index.records > 0 {
                let reason = "its index was deleted".to_owned();
                super::super::streams::ask(
                    self.api,
                    index.stream.clone(),
                    &Filter::ALL,
                    TimeRange::ALL,
                    reason,
                )
                .await?;
            }
            self.api.elastic.indices.forget(&index.stream).await?;
        }
        Ok(json!({ "acknowledged": true }).into())
    }

    pub(super) async fn delete_by_query(&self, names: &str) -> Answered {
        let started = Instant::now();
        let indices = self.looked_into(&Indices::read(names, &self.parameters)?).await?;
        let query = millrace_elastic::request::Count::read(&self.body, &self.parameters)?;
        let now = self.api.searcher.now();
        if indices.iter().any(|index| !index.is_mutable) {
            self.caller.may(Role::Admin).map_err(forbidden)?;
        }
        let (mut deleted, mut conflicts) = (0, 0);
        for index in &indices {
            let filter = query.filter(&index.mapping, now)?;
            if index.is_mutable {
                let (gone, changed) = self.remove_found(index, filter).await?;
                (deleted, conflicts) = (deleted + gone, conflicts + changed);
                continue;
            }
            deleted += self.elastic().counted(&[(index, filter.clone())]).await?.0;
            let reason = "_delete_by_query".to_owned();
            let filter = Filter::new(crate::elastic::with_ids(filter));
            super::super::streams::ask(self.api, index.stream.clone(), &filter, TimeRange::ALL, reason)
                .await?;
        }
        let took = started.elapsed().as_millis() as u64;
        let body = json!({
            "took": took, "timed_out": false, "total": deleted + conflicts, "deleted": deleted, "batches": 1,
            "version_conflicts": conflicts, "noops": 0, "retries": { "bulk": 0, "search": 0 },
            "throttled_millis": 0, "requests_per_second": -1.0, "throttled_until_millis": 0, "failures": [],
        });
        let may_conflict = self.parameters.get("conflicts") == Some("proceed");
        let status = if conflicts > 0 && !may_conflict { StatusCode::CONFLICT } else { StatusCode::OK };
        Ok(Reply::Json(status, body))
    }
}
