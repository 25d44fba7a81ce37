//! Asking: sealed shards on a bounded number of threads, hot rows at every indexer at once.

use super::{Missing, deletions::Deletions, plan::Plan};
use crate::{Leaves, shards::OpenShards};
use millrace_cores::{Cores, Piece, Search};
use millrace_model::ShardMeta;
use millrace_pipes::Partials;
use millrace_store::{Error, HotResponse, Leaf, LeafError, LeafRequest, LeafResponse};
use std::sync::Arc;
use tokio::task::JoinSet;

/// What the sealed shards said.
#[derive(Debug, Default)]
pub struct Sealed {
    /// All of their answers, joined.
    pub response: LeafResponse,
    /// Those that gave none.
    pub missing: Vec<Missing>,
}

/// Searches every planned shard for what is not deleted in it.
pub async fn sealed(shards: &Arc<OpenShards>, cores: &Cores, plan: &Plan) -> Sealed {
    // Whoever drops this future, a client that has gone or a time-out, ends what it began.
    let (search, stop) = cores.search();
    let mut stop = Some(stop);
    let deletions = Deletions::of(&plan.snapshot.deletions);
    let mut missing = Vec::new();
    let mut tasks = JoinSet::new();
    for meta in plan.snapshot.shards.clone() {
        let requests = match deletions.apply(&plan.sealed, &meta) {
            Ok(requests) => requests,
            Err(closed) => {
                missing.push(closed);
                continue;
            }
        };
        let (shards, search) = (Arc::clone(shards), search.clone());
        tasks.spawn(async move {
            let answer = search_one(&shards, &meta, &Arc::new(requests), &search).await;
            (meta, answer)
        });
    }
    let mut all = Sealed { missing, ..Sealed::default() };
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok((_, Ok(response))) => {
                all.response = all.response.merge(response, &plan.sealed);
                if all.response.gathered.as_ref().is_some_and(Partials::is_too_large) {
                    // Nothing comes of the others.
                    drop(stop.take());
                }
            }
            Ok((_, Err(error))) if is_stopped(&error) => {}
            Ok((meta, Err(error))) => {
                tracing::error!(shard.id = %meta.id, error = format!("{error:#}"), "a shard could not be searched");
                all.missing.push(Missing {
                    shard: Some(meta.id.to_string()),
                    ..Missing::of(format!("shard {} could not be searched: {error:#}", meta.id))
                });
            }
            Err(error) => all.missing.push(Missing::of(format!("a shard's search broke off: {error}"))),
        }
    }
    all
}

/// Searches one shard. Where the copy of its bundle turns out to be damaged, the bundle is fetched anew, once.
async fn search_one(
    shards: &Arc<OpenShards>,
    meta: &ShardMeta,
    requests: &Arc<Vec<LeafRequest>>,
    search: &Search,
) -> anyhow::Result<LeafResponse> {
    match try_one(shards, meta, requests, search).await {
        Err(error) if is_damage(&error) && shards.distrust(meta).await => {
            tracing::warn!(shard.id = %meta.id, error = format!("{error:#}"), "the copy of a shard is damaged; it is fetched again");
            try_one(shards, meta, requests, search).await
        }
        answer => answer,
    }
}

fn is_stopped(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Stopped))
}

fn is_damage(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Corrupt { .. } | Error::Index { .. }))
}

async fn try_one(
    shards: &Arc<OpenShards>,
    meta: &ShardMeta,
    requests: &Arc<Vec<LeafRequest>>,
    search: &Search,
) -> anyhow::Result<LeafResponse> {
    if requests.is_empty() {
        return Ok(LeafResponse::default());
    }
    let found = shards.find(meta).await?;
    let turn = search.turn(if found.is_near() { Piece::Near } else { Piece::Far }).await;
    let (shards, meta, requests) = (Arc::clone(shards), meta.clone(), Arc::clone(requests));
    let searching = tokio::task::spawn_blocking(move || {
        let shard = shards.open(&meta, found)?;
        let mut all = LeafResponse::default();
        for request in requests.iter() {
            let answer = shard.sealed().search_on(request, Some(&turn))?;
            all = all.merge(answer, request);
        }
        Ok::<_, Error>(all)
    });
    Ok(searching.await??)
}

/// Asks every holder of hot rows.
pub async fn hot<L: Leaf>(leaves: &Leaves<L>, plan: &Plan) -> Vec<(String, Result<HotResponse, LeafError>)> {
    leaves.ask(&plan.snapshot.nodes, &plan.hot).await
}
