//! Queries with pipes: first the queries that they join are answered, then records are searched, and of what was gathered is
//! made what the pipes say.

use super::{
    Api, ApiError,
    explain::{self, Gathers},
    parameters::Pipes,
};
use crate::{Hits, Missing, SearchRequest, Searcher};
use millrace_pipes::{Answer, Context, Join, Joined, Pipe};
use millrace_store::Leaf;
use serde_json::Value;
use std::time::Duration;

/// What was made.
pub(crate) struct Made {
    /// What the search said; what it may lack of queries that are joined is missing here, too.
    pub(crate) hits: Hits,
    /// The table.
    pub(crate) answer: Answer,
    /// What was done for it, where that was asked.
    pub(super) explanation: Option<Value>,
}

/// Searches, and makes of what was found what pipes say; with `explain` it tells what was done for that.
pub(super) async fn piped<L: Leaf>(
    api: &Api<L>,
    request: &SearchRequest,
    pipes: &Pipes,
    explain: bool,
) -> Result<Made, ApiError> {
    table(&api.searcher, api.timeout, request, pipes, explain).await
}

/// The same for whoever does not ask over HTTP, with as much time.
pub(crate) async fn table<L: Leaf>(
    searcher: &Searcher<L>,
    timeout: Duration,
    request: &SearchRequest,
    pipes: &Pipes,
    explain: bool,
) -> Result<Made, ApiError> {
    let making = carry_out(searcher, request, pipes, explain);
    tokio::time::timeout(timeout, making).await.map_err(|_| ApiError::Timeout)?
}

async fn carry_out<L: Leaf>(
    searcher: &Searcher<L>,
    request: &SearchRequest,
    pipes: &Pipes,
    explain: bool,
) -> Result<Made, ApiError> {
    let mut rights = Rights { memory: pipes.context.memory, ..Rights::default() };
    for pipe in &pipes.each {
        if let Pipe::Join(join) = pipe {
            rights.add(searcher, request, &pipes.context, join, explain).await?;
        }
    }
    let Rights { joined, memory, missing, scanned_bytes, told } = rights;
    let pipes = Pipes { context: Context { memory, ..pipes.context }, ..pipes.clone() };
    let plan = if joined.is_empty() {
        pipes.plan(joined)?
    } else {
        // Tables are sorted by what they are looked up by.
        let planning = searcher.try_on_a_core(move |_| pipes.plan(joined)).await;
        planning.map_err(|error| ApiError::unavailable("a join broke off", &error.into()))??
    };
    let request = SearchRequest { limit: 0, gather: Some(plan.leaf()), ..request.clone() };
    let (mut hits, explanation) = if explain {
        let (hits, seen) = searcher.explain(&request).await?;
        (hits, Some(explain::told(&request, &Gathers::Table(&plan), &seen, &told)))
    } else {
        (searcher.search(&request).await?, None)
    };
    let answer = searcher.finish(plan, hits.gathered.take()).await?;
    hits.missing.extend(missing);
    hits.scanned_bytes += scanned_bytes;
    Ok(Made { hits, answer, explanation })
}

/// The queries that are joined, as far as they are answered.
#[derive(Default)]
struct Rights {
    joined: Vec<Joined>,
    /// How many bytes may still be taken.
    memory: usize,
    missing: Vec<Missing>,
    scanned_bytes: u64,
    told: Vec<Value>,
}

impl Rights {
    /// Answers one more: for the same time, and the same streams.
    async fn add<L: Leaf>(
        &mut self,
        searcher: &Searcher<L>,
        request: &SearchRequest,
        context: &Context,
        join: &Join,
        explain: bool,
    ) -> Result<(), ApiError> {
        let context = Context { limit: Joined::LIMIT, memory: self.memory, ..*context };
        let pipes = Pipes { each: join.right.pipes.clone(), context };
        let request = SearchRequest { filter: join.right.filter.clone(), ..request.clone() };
        let made = Box::pin(carry_out(searcher, &request, &pipes, explain)).await?;
        let joined = Joined::of(made.answer, self.memory)?;
        self.memory = self.memory.saturating_sub(joined.bytes());
        self.joined.push(joined);
        self.missing.extend(made.hits.missing.into_iter().map(|missing| Missing {
            reason: format!("of a query that is joined: {}", missing.reason),
            ..missing
        }));
        self.scanned_bytes += made.hits.scanned_bytes;
        self.told.extend(made.explanation);
        Ok(())
    }
}
