//! Asking: sealed shards on a bounded number of threads, hot rows at every indexer at once.

use super::{
    Missing,
    deletions::Deletions,
    explain::{Outcome, ShardTold},
    plan::Plan,
    results::Results,
};
use crate::{Leaves, leaves::LeafAnswer, shards::OpenShards};
use millrace_cores::{Cores, Piece, Search};
use millrace_model::ShardMeta;
use millrace_pipes::Partials;
use millrace_store::{ChunksTold, Error, Leaf, LeafRequest, LeafResponse};
use std::{sync::Arc, time::Instant};
use tokio::task::JoinSet;

/// What the sealed shards said.
#[derive(Debug, Default)]
pub struct Sealed {
    /// All of their answers, joined.
    pub response: LeafResponse,
    /// Those that gave none.
    pub missing: Vec<Missing>,
    /// Of each shard what became of it, where that was asked.
    pub told: Vec<ShardTold>,
}

/// What one of them is asked: what is not deleted in it, piece by piece; and what its chunks are told for, where they are.
type Asked = (Vec<LeafRequest>, Option<LeafRequest>);
/// What one of them said, and how its chunks were dealt with, where that was asked.
type Answered = (LeafResponse, Option<ChunksTold>);

/// Searches every planned shard for what is not deleted in it. With `explain` it tells of each what became of it.
pub async fn sealed(
    shards: &Arc<OpenShards>,
    results: &Results,
    cores: &Cores,
    plan: &Plan,
    explain: bool,
) -> Sealed {
    // Whoever drops this future, a client that has gone or a time-out, ends what it began.
    let (search, stop) = cores.search();
    let mut stop = Some(stop);
    let deletions = Deletions::of(&plan.snapshot.deletions);
    // Who wants to know how shards are searched is shown that.
    let keeps = !explain && results.keeps(&plan.sealed);
    let mut all = Sealed::default();
    let mut tasks = JoinSet::new();
    for meta in plan.snapshot.shards.clone() {
        let requests = match deletions.apply(&plan.sealed, &meta) {
            Ok(requests) => requests,
            Err(closed) => {
                all.missing.push(closed);
                all.told.push(ShardTold::of(&meta, Outcome::Failed));
                continue;
            }
        };
        if requests.is_empty() {
            all.told.push(ShardTold::of(&meta, Outcome::Pruned("deletion")));
            continue;
        }
        let question = if keeps { results.question(&meta, &requests) } else { None };
        if let Some(answer) = question.as_ref().and_then(|question| results.answer(question, &plan.sealed)) {
            all.response = all.response.merge(answer, &plan.sealed);
            continue;
        }
        let (shards, search) = (Arc::clone(shards), search.clone());
        let explained = explain.then(|| plan.sealed.clone());
        tasks.spawn(async move {
            let started = Instant::now();
            let asked = Arc::new((requests, explained));
            let answer = search_one(&shards, &meta, &asked, &search).await;
            (meta, question, answer, started.elapsed())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok((meta, question, Ok((response, chunks)), took)) => {
                if explain {
                    let found = (response.total, response.scanned_bytes);
                    all.told.push(ShardTold::answered(&meta, found, chunks, took));
                }
                if let Some(question) = question {
                    results.keep(question, &response);
                }
                all.response = all.response.merge(response, &plan.sealed);
                if all.response.gathered.as_ref().is_some_and(Partials::is_too_large) {
                    // Nothing comes of the others.
                    drop(stop.take());
                }
            }
            Ok((_, _, Err(error), _)) if is_stopped(&error) => {}
            Ok((meta, _, Err(error), _)) => {
                tracing::error!(shard.id = %meta.id, error = format!("{error:#}"), "a shard could not be searched");
                all.told.push(ShardTold::of(&meta, Outcome::Failed));
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
    asked: &Arc<Asked>,
    search: &Search,
) -> anyhow::Result<Answered> {
    match try_one(shards, meta, asked, search).await {
        Err(error) if is_damage(&error) && shards.distrust(meta).await => {
            tracing::warn!(shard.id = %meta.id, error = format!("{error:#}"), "the copy of a shard is damaged; it is fetched again");
            try_one(shards, meta, asked, search).await
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
    asked: &Arc<Asked>,
    search: &Search,
) -> anyhow::Result<Answered> {
    let found = shards.find(meta).await?;
    let turn = search.turn(if found.is_near() { Piece::Near } else { Piece::Far }).await;
    let (shards, meta, asked) = (Arc::clone(shards), meta.clone(), Arc::clone(asked));
    let searching = tokio::task::spawn_blocking(move || {
        let shard = shards.open(&meta, found)?;
        let (requests, explained) = &*asked;
        let mut all = LeafResponse::default();
        for request in requests {
            let answer = shard.sealed().search_on(request, Some(&turn))?;
            all = all.merge(answer, request);
        }
        let told = |request: &LeafRequest| shard.sealed().chunks_told(&request.filter, request.range);
        Ok::<_, Error>((all, explained.as_ref().map(told).transpose()?))
    });
    Ok(searching.await??)
}

/// Asks every holder of hot rows.
pub async fn hot<L: Leaf>(leaves: &Leaves<L>, plan: &Plan) -> Vec<LeafAnswer> {
    leaves.ask(&plan.snapshot.nodes, &plan.hot).await
}
