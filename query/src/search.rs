//! A search: which shards and leaves to ask, asking them, and joining what they say.

pub mod deletions;
pub mod explain;
pub mod fanout;
mod masked;
pub mod merge;
pub mod partitions;
pub mod plan;
pub mod results;
pub mod settle;
pub(crate) mod standing;
pub mod walk;

use crate::{
    INDEXER_GROUP, KnownTemplates, Leaves, Metrics,
    shards::OpenShards,
    verify::{Verification, verify},
};
use explain::Explanation;
use millrace_catalogue::Catalogue;
use millrace_cores::{Cores, Piece, Turn};
use millrace_filter::Filter;
use millrace_model::{Clock, Partition, RecordId, Row, Sight, StreamName, TimeRange, Timestamp};
use millrace_pipes::{Answer, Partials, Plan, TooLarge};
use millrace_store::{HotRows, Leaf, LeafResponse, Order, Templates};
use millrace_transport::Topic;
use partitions::Partitions;
use results::Results;
use serde::Serialize;
use standing::Standing;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    /// Which records.
    pub filter: Filter,
    /// When.
    pub range: TimeRange,
    /// In which streams; `None`: in all.
    pub streams: Option<Vec<StreamName>>,
    /// What whoever asks may see of them.
    pub sight: Sight,
    /// How many hits; 0 counts only.
    pub limit: usize,
    /// Which end of time first.
    pub order: Order,
    /// Only what comes after.
    pub after: Option<(Timestamp, RecordId)>,
    /// The histogram's interval.
    pub histogram: Option<Duration>,
    /// What is to be gathered of all that match, beside hits and a histogram where these are asked for.
    pub gather: Option<millrace_pipes::Fragments>,
}

/// Something that the answer may lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Missing {
    /// The partition whose newest records are concerned, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i32, required = false)]
    pub partition: Option<Partition>,
    /// How many messages of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub lag: Option<i64>,
    /// The shard that could not be read, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub shard: Option<String>,
    /// What happened.
    pub reason: String,
    /// Was it published, and let go of, since the search looked at the catalogue?
    #[serde(skip)]
    pub outrun: bool,
}

impl Missing {
    pub(crate) fn of(reason: impl Into<String>) -> Self {
        Self { partition: None, lag: None, shard: None, reason: reason.into(), outrun: false }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hits {
    /// The first matches, in order.
    pub hits: Vec<Row>,
    /// How many match.
    pub total: u64,
    /// How many match by bucket start, in nanoseconds.
    pub histogram: BTreeMap<i64, u64>,
    /// What the answer may lack; nothing: it is whole.
    pub missing: Vec<Missing>,
    /// What had to be read.
    pub scanned_bytes: u64,
    /// What was gathered for the pipes, where there are some.
    pub gathered: Option<Partials>,
}

impl Hits {
    /// Of what all leaves said together.
    fn of(all: LeafResponse, missing: Vec<Missing>) -> Self {
        Self {
            hits: all.hits,
            total: all.total,
            histogram: all.histogram,
            missing,
            scanned_bytes: all.scanned_bytes,
            gathered: all.gathered,
        }
    }
}

/// How often a search begins anew because rows were published and let go of while it was under way.
const AGAIN: u32 = 2;
/// How often is looked for what is kept here of bundles that are gone.
const TIDIED: Duration = Duration::from_secs(30);

/// Answers searches.
pub struct Searcher<L> {
    catalogue: Catalogue,
    shards: Arc<OpenShards>,
    leaves: Leaves<L>,
    templates: KnownTemplates,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    cores: Cores,
    partitions: Partitions,
    results: Results,
    /// Held while all bundles are read: one after another is enough.
    verifying: tokio::sync::Mutex<()>,
}

impl<L: Leaf> Searcher<L> {
    /// Out of its parts.
    pub fn new(
        catalogue: Catalogue,
        shards: OpenShards,
        leaves: Leaves<L>,
        cores: Cores,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        Self {
            catalogue,
            shards: Arc::new(shards),
            leaves,
            templates: KnownTemplates::default(),
            clock,
            results: Results::new(0, metrics.clone()),
            metrics,
            cores,
            partitions: Partitions::default(),
            verifying: tokio::sync::Mutex::default(),
        }
    }

    /// With room for so many bytes of what sealed shards have answered; 0, as long as nothing is said: none is kept.
    #[must_use]
    pub fn keeping(self, bytes: usize) -> Self {
        Self { results: Results::new(bytes, self.metrics.clone()), ..self }
    }

    /// Answers one search. What could not be asked is in the answer's `missing`.
    ///
    /// # Errors
    /// Only when the catalogue cannot be read: then nothing is known of what there is.
    pub async fn search(&self, request: &SearchRequest) -> Result<Hits, millrace_catalogue::Error> {
        Ok(self.carry_out(request, false).await?.0)
    }

    /// The same, and why it read what it read. What the index says of each shard is asked once more for that.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub async fn explain(
        &self,
        request: &SearchRequest,
    ) -> Result<(Hits, Explanation), millrace_catalogue::Error> {
        self.carry_out(request, true).await
    }

    async fn carry_out(
        &self,
        request: &SearchRequest,
        explain: bool,
    ) -> Result<(Hits, Explanation), millrace_catalogue::Error> {
        if masked::hides(request) {
            return Box::pin(self.search_masked(request, explain)).await;
        }
        self.carry_out_whole(request, explain).await
    }

    async fn carry_out_whole(
        &self,
        request: &SearchRequest,
        explain: bool,
    ) -> Result<(Hits, Explanation), millrace_catalogue::Error> {
        let started = std::time::Instant::now();
        let (mut answer, mut told) = self.search_once(request, explain).await?;
        for _ in 0..AGAIN {
            if !answer.missing.iter().any(|missing| missing.outrun) {
                break;
            }
            (answer, told) = self.search_once(request, explain).await?;
        }
        self.metrics.searches.inc();
        if !answer.missing.is_empty() {
            self.metrics.partial.inc();
        }
        self.metrics.seconds.observe(started.elapsed().as_secs_f64());
        Ok((answer, told))
    }

    /// Answers one search, of rows that lie neither in shards nor at indexers as well: the caller has seen that all of these may
    /// be seen. Where no stream is asked for, no indexer is either.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub async fn search_beside(
        &self,
        request: &SearchRequest,
        beside: &[HotRows],
    ) -> Result<Hits, millrace_catalogue::Error> {
        if beside.is_empty() {
            return self.search(request).await;
        }
        let mut answer = match request.streams.as_deref() {
            Some([]) => Hits::default(),
            _ => self.search(request).await?,
        };
        let (leaf, beside) = (plan::leaf_request(request), beside.to_vec());
        let joining = self.try_on_a_core(move |turn| {
            let found = LeafResponse {
                hits: std::mem::take(&mut answer.hits),
                total: answer.total,
                histogram: std::mem::take(&mut answer.histogram),
                scanned_bytes: answer.scanned_bytes,
                gathered: answer.gathered.take(),
            };
            let joined = beside.iter().try_fold(found, |all, rows| {
                Ok::<_, millrace_store::Error>(all.merge(rows.search(&leaf, i64::MIN, Some(turn))?, &leaf))
            });
            joined.map(|all| Hits::of(all, answer.missing))
        });
        let broken_off = |error: String| Hits {
            missing: vec![Missing::of(format!("a search broke off: {error}"))],
            ..Hits::default()
        };
        Ok(match joining.await {
            Ok(Ok(hits)) => hits,
            Ok(Err(error)) => broken_off(error.to_string()),
            Err(error) => broken_off(error.to_string()),
        })
    }

    async fn search_once(
        &self,
        request: &SearchRequest,
        explain: bool,
    ) -> Result<(Hits, Explanation), millrace_catalogue::Error> {
        let plan = plan::plan(&self.catalogue, request).await?;
        let (mut sealed, hot) = futures_util::future::join(
            fanout::sealed(&self.shards, &self.results, &self.cores, &plan, explain),
            fanout::hot(&self.leaves, &plan),
        )
        .await;
        let told = if explain {
            let shards = std::mem::take(&mut sealed.told);
            explain::explanation(&self.catalogue, request, &plan, shards, &hot).await?
        } else {
            Explanation::default()
        };
        let mut answer = merge::merge(&plan, sealed, hot);
        answer.missing.extend(self.partitions.untaken(&plan.snapshot.partitions));
        Ok((answer, told))
    }

    /// Makes what a plan says of what was gathered for it, when there is a core for it.
    ///
    /// # Errors
    /// It would take too much memory.
    pub async fn finish(&self, plan: Plan, gathered: Option<Partials>) -> Result<Answer, TooLarge> {
        let templates = self.templates().await;
        self.on_a_core(move |_| plan.finish(gathered, templates.merges())).await
    }

    /// Makes what plans say of what was gathered for them together, when there is a core for it.
    ///
    /// # Errors
    /// It would take too much memory.
    pub async fn finish_all(
        &self,
        plans: Vec<Plan>,
        gathered: Option<Partials>,
    ) -> Result<Vec<Answer>, TooLarge> {
        let templates = self.templates().await;
        self.on_a_core(move |_| Plan::finish_all(&plans, gathered, templates.merges())).await
    }

    /// Does what takes a while, when there is a core for it. What breaks off there breaks off here.
    pub(crate) async fn on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Turn) -> T + Send + 'static,
    ) -> T {
        let worked = self.try_on_a_core(work).await;
        worked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// The same.
    ///
    /// # Errors
    /// It broke off.
    pub(crate) async fn try_on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Turn) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let (search, _waiting) = self.cores.search();
        let turn = search.turn(Piece::Near).await;
        tokio::task::spawn_blocking(move || work(&turn)).await
    }

    /// Has what the topic holds now published, so that the ledger tells of it. What was not in time is returned.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn settle(&self) -> Result<Vec<Missing>, millrace_catalogue::Error> {
        let mut missing = settle::settle(&self.catalogue, &self.leaves).await?;
        let rows = self.catalogue.snapshot(INDEXER_GROUP, TimeRange::NONE, None).await?.partitions;
        missing.extend(self.partitions.untaken(&rows));
        Ok(missing)
    }

    /// How far each partition of the topic has come, with what waits of it in memory; and what could not be asked.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub(crate) async fn standing(&self) -> Result<Standing, millrace_catalogue::Error> {
        let mut standing = standing::standing(&self.catalogue, &self.leaves, self.clock.now()).await?;
        standing.missing.extend(self.partitions.untaken(&standing.rows));
        Ok(standing)
    }

    /// Keeps in mind how many partitions the topic has, until `shutdown`.
    pub async fn watch_partitions(&self, topic: &Topic, shutdown: CancellationToken) {
        self.partitions.watch(topic, shutdown).await;
    }

    /// Verifies all that is published; waits for another verification that is under way.
    ///
    /// # Errors
    /// The catalogue or the list of bundles cannot be read.
    pub async fn verify(&self) -> anyhow::Result<Verification> {
        let _one = self.verifying.lock().await;
        verify(&self.catalogue, self.shards.bundles()).await
    }

    /// Keeps nothing for long of what is gone, until `shutdown`.
    pub async fn tidy(&self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(TIDIED) => {}
            }
            match self.let_go_of_what_is_gone().await {
                Ok(0) => {}
                Ok(copies) => tracing::info!(copies, "copies of bundles that are gone were removed"),
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "copies of bundles that are gone may be kept"
                    );
                }
            }
        }
    }

    /// Lets go of what is kept here of bundles that the catalogue has no row of any more: they were merged away, have expired,
    /// or held records that were to be deleted, and their retention has deleted them. Returns how many copies that were.
    ///
    /// # Errors
    /// The catalogue or the local disk fails.
    pub async fn let_go_of_what_is_gone(&self) -> anyhow::Result<usize> {
        let known = self.catalogue.bundle_keys().await?;
        self.results.keep_only(&known);
        Ok(self.shards.keep_only(&known).await?)
    }

    /// What the lines of hits stand for, as the catalogue knows it now. To be asked after the search: merges are published
    /// with the records that they were learned from, or before.
    pub async fn templates(&self) -> Arc<Templates> {
        self.templates.current(&self.catalogue).await
    }

    /// The catalogue that it reads.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

#[cfg(test)]
mod tests;
