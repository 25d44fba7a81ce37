//! `_search`, `_msearch`, `_count`, scrolls and points in time.

use super::{Answered, Asked, Problem, Reply};
use crate::elastic::{Index, Scroll};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use millrace_elastic::{
    Error,
    request::{Count, Indices, Parameters, Search, multi},
    response,
};
use millrace_store::Leaf;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

impl<L: Leaf> Asked<'_, L> {
    pub(super) async fn search(&self, names: &str) -> Answered {
        let indices = Indices::read(names, &self.parameters)?;
        let search = Search::read(&self.body, &self.parameters)?;
        self.parameters.ignore(&[
            "search_type",
            "preference",
            "routing",
            "request_cache",
            "batched_reduce_size",
            "max_concurrent_shard_requests",
            "pre_filter_shard_size",
            "ccs_minimize_roundtrips",
            "allow_partial_search_results",
        ]);
        self.parameters.finish(&format!("/{}", self.path))?;
        search.check_indices(&indices)?;
        Ok(self.found(search, &indices).await?.into())
    }

    /// The answer of a search.
    async fn found(&self, search: Search, indices: &Indices) -> Result<Json, Problem> {
        let started = Instant::now();
        let (indices, pinned, pit_id) = match &search.pit {
            Some(pit) => {
                let (names, pinned) = read_pit(&pit.id)?;
                let indices = Indices { patterns: names, ignore_unavailable: true, refuse_none: false };
                (self.looked_into(&indices).await?, Some(pinned), Some(pit.id.clone()))
            }
            None => (self.looked_into(indices).await?, None, None),
        };
        let now = self.api.searcher.now().0;
        let pinned = pinned.or_else(|| search.scroll.map(|_| now));
        let mut answer = self.elastic().search(&search, &indices, pinned).await?;
        answer.took = started.elapsed().as_millis() as u64;
        answer.pit_id = pit_id;
        if let Some(keep) = search.scroll {
            let mut scroll =
                Scroll::new(self.caller.key(), search.clone(), indices, pinned.unwrap_or(now), keep);
            went_on(&mut scroll, &answer.hits);
            let id = self.api.elastic.scrolls.open(scroll);
            answer.scroll_id = Some(id.ok_or_else(|| {
                Error::unavailable(
                    "Trying to create too many scroll contexts. Must be less than or equal to: [500].",
                )
            })?);
        }
        Ok(answer.body(&search))
    }

    pub(super) async fn multi(&self, names: &str) -> Answered {
        let started = Instant::now();
        let indices = Indices::read(names, &self.parameters)?;
        let items = multi(&self.body, &indices, &self.parameters)?;
        let mut answers = Vec::with_capacity(items.len());
        for item in items {
            let answer = match item.search {
                Err(error) => Err(error),
                Ok(search) => match self.found(search, &item.header.indices).await {
                    Ok(answer) => Ok(answer),
                    Err(Problem::Elastic(error)) => Err(error),
                    Err(Problem::Path) => return Err(Problem::Path),
                },
            };
            answers.push(answer);
        }
        Ok(response::multi(started.elapsed().as_millis() as u64, answers).into())
    }

    pub(super) async fn count(&self, names: &str) -> Answered {
        let indices = self.looked_into(&Indices::read(names, &self.parameters)?).await?;
        let count = Count::read(&self.body, &self.parameters)?;
        let now = self.api.searcher.now();
        let of = |index| {
            let index: &Index = index;
            Ok((index, count.filter(&index.mapping, now)?))
        };
        let filters = indices.iter().map(of).collect::<Result<Vec<_>, Error>>()?;
        let (count, failures) = self.elastic().counted(&filters).await?;
        Ok(response::count(count, indices.len(), &failures).into())
    }

    pub(super) async fn scroll(&self, id: Option<&str>) -> Answered {
        let started = Instant::now();
        let body: Json = if self.body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(&self.body).map_err(|error| Error::content(error.to_string()))?
        };
        let given = id.or_else(|| body["scroll_id"].as_str()).or_else(|| self.parameters.get("scroll_id"));
        let Some(id) = given else {
            return Err(Error::validation(&["scrollId is missing".to_owned()]).into());
        };
        let keep = match body["scroll"].as_str() {
            Some(text) => Parameters::new(vec![("scroll".to_owned(), text.to_owned())]).duration("scroll")?,
            None => self.parameters.duration("scroll")?,
        };
        let Some(mut scroll) = self.api.elastic.scrolls.get(self.caller.key(), id, keep) else {
            return Err(Error::no_context(id).into());
        };
        let mut search = scroll.search.clone();
        (search.from, search.search_after) = (0, scroll.after.clone());
        if scroll.ended {
            search.size = 0;
        }
        let mut answer = self.elastic().search(&search, &scroll.indices, Some(scroll.pinned)).await?;
        answer.took = started.elapsed().as_millis() as u64;
        answer.aggregations = None;
        went_on(&mut scroll, &answer.hits);
        self.api.elastic.scrolls.put(id, scroll);
        answer.scroll_id = Some(id.to_owned());
        Ok(answer.body(&search).into())
    }

    pub(super) fn close_scrolls(&self, ids: Option<&str>) -> Reply {
        let body: Json = serde_json::from_slice(&self.body).unwrap_or_default();
        let mut all: Vec<String> =
            ids.into_iter().flat_map(|ids| ids.split(',')).map(str::to_owned).collect();
        match &body["scroll_id"] {
            Json::String(id) => all.push(id.clone()),
            Json::Array(ids) => all.extend(ids.iter().filter_map(Json::as_str).map(str::to_owned)),
            _ => {}
        }
        let freed = self.api.elastic.scrolls.close(self.caller.key(), &all);
        json!({ "succeeded": true, "num_freed": freed }).into()
    }

    pub(super) async fn open_pit(&self, names: &str) -> Answered {
        let indices = self.looked_into(&Indices::read(names, &self.parameters)?).await?;
        let keep: Option<Duration> = self.parameters.duration("keep_alive")?;
        if keep.is_none() {
            return Err(Error::validation(&["[keep_alive] is not specified".to_owned()]).into());
        }
        let names: Vec<&str> = indices.iter().map(|index| index.stream.as_str()).collect();
        let pit = json!({ "indices": names, "at": self.api.searcher.now().0 });
        Ok(json!({ "id": BASE64_URL_SAFE_NO_PAD.encode(pit.to_string()), "_shards": { "total": 1, "successful": 1, "skipped": 0, "failed": 0 } }).into())
    }

    /// There is nothing to be freed.
    pub(super) fn close_pit(&self) -> Answered {
        let body: Json = serde_json::from_slice(&self.body).unwrap_or_default();
        let id = body["id"].as_str().ok_or_else(|| Error::validation(&["id is missing".to_owned()]))?;
        read_pit(id)?;
        Ok(json!({ "succeeded": true, "num_freed": 1 }).into())
    }
}

/// The indices of a point in time, and when that was, in nanoseconds.
fn read_pit(id: &str) -> Result<(Vec<String>, i64), Error> {
    let read = || {
        let pit: Json = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(id).ok()?).ok()?;
        let names = pit["indices"].as_array()?.iter().filter_map(Json::as_str).map(str::to_owned).collect();
        Some((names, pit["at"].as_i64()?))
    };
    read().ok_or_else(|| Error::no_context(id))
}

/// Notes where a scroll goes on.
fn went_on(scroll: &mut Scroll, hits: &[Json]) {
    scroll.ended |= hits.len() < scroll.search.size;
    if let Some(sort) = hits.last().and_then(|hit| hit["sort"].as_array()) {
        scroll.after = Some(sort.clone());
    }
}
