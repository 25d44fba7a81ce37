//! Where it is decided who is told of what: looks at open alerts, silences, verdicts and at what receivers know, and puts what
//! comes of it into the outbox, in one transaction with what is known then. Several nodes may do so beside each other: whoever
//! has read what another has changed is refused, and looks again.
//!
//! It also writes the history of alerts into the stream `alerts`: one node at a time, whoever has the lease.

use super::{
    plan::{self, Group, View, plan},
    routes::Routing,
    silence::{self, Kept, Silence},
    told::{STREAM, record},
};
use crate::elastic::Put;
use millrace_catalogue::{Catalogue, Dispatch, Error};
use millrace_model::{Clock, StreamName, Timestamp};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// It is looked so often, even if nobody says that anything has changed.
const EVERY: Duration = Duration::from_secs(1);
/// Looking takes at most this part of the time.
const PART: u32 = 5;
/// So many alerts are written into history at once.
const AT_ONCE: u32 = 500;
/// Where history cannot be written, it is tried again after this.
const RETRY: Duration = Duration::from_secs(5);
/// Whoever writes history may do so; where that node is gone, another goes on after [`LEASE`].
const HISTORY: &str = "alert-history";
/// Longer than writing takes.
const LEASE: Duration = Duration::from_secs(30);

/// What a desk is made of.
pub struct DeskParts {
    /// Where alerts, silences, verdicts and the outbox are kept.
    pub catalogue: Catalogue,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who is told of what.
    pub routing: Routing,
    /// Rung when something has changed.
    pub wake: Arc<Notify>,
    /// Rings when something was put into the outbox.
    pub ring: watch::Sender<()>,
    /// What takes records in, if anything does here.
    pub put: Option<Put>,
    /// This node's name in the catalogue.
    pub node: String,
}

/// Decides who is told.
pub struct Desk {
    parts: DeskParts,
    /// History is not tried before.
    not_before: Option<Instant>,
}

impl Desk {
    /// Made of these.
    pub fn new(parts: DeskParts) -> Self {
        if parts.put.is_none() {
            tracing::info!(
                "the history of alerts is not searchable: nothing is taken in here (no [query.ingest])"
            );
        }
        Self { parts, not_before: None }
    }

    /// Runs until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let started = Instant::now();
            let pause = match self.look().await {
                Ok(next) => {
                    let now = self.parts.clock.now();
                    next.map_or(EVERY, |next| next.since(now).min(EVERY))
                }
                Err(Error::Conflict { .. }) => Duration::ZERO,
                Err(error) => {
                    tracing::warn!(
                        error = millrace_model::chain(&error),
                        "who is to be told of alerts cannot be decided"
                    );
                    EVERY
                }
            };
            self.write_history().await;
            let rest = started.elapsed() * PART;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.parts.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Decides once. Returns when something is due that nobody rings for.
    async fn look(&self) -> Result<Option<Timestamp>, Error> {
        let catalogue = &self.parts.catalogue;
        let now = self.parts.clock.now();
        // Before the alerts: whoever has told somebody meanwhile has changed them, and then this is refused.
        let groups = groups(catalogue, now).await?;
        let open = catalogue.open_alerts().await?;
        if open.is_empty() && groups.is_empty() {
            return Ok(None);
        }
        let silences = silences(catalogue).await?;
        let false_positives = catalogue.false_positives().await?;
        let view = View {
            routing: &self.parts.routing,
            open: &open,
            silences: &silences,
            false_positives: &false_positives,
            groups: &groups,
        };
        let (dispatch, next) = plan(&view, now);
        if dispatch != Dispatch::default() {
            catalogue.dispatch(&dispatch).await?;
            if !dispatch.notifications.is_empty() {
                self.parts.ring.send_replace(());
            }
        }
        Ok(next)
    }

    /// Each change is a record. It is noted after it was taken in, so a crash between the two writes it again.
    async fn write_history(&mut self) {
        let Some(put) = &self.parts.put else { return };
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.not_before = None;
        if let Err(error) = write_history(&self.parts, put).await {
            tracing::warn!(error = format!("{error:#}"), "the history of alerts waits");
            self.not_before = Some(Instant::now() + RETRY);
            // Another may be able to.
            if let Err(error) = self.parts.catalogue.release(HISTORY, &self.parts.node).await {
                tracing::warn!(%error, "the lease of the history of alerts cannot be given back");
            }
        }
    }
}

async fn write_history(parts: &DeskParts, put: &Put) -> anyhow::Result<()> {
    let stream: StreamName = STREAM.parse().map_err(anyhow::Error::msg)?;
    let catalogue = &parts.catalogue;
    if catalogue.unrecorded_alerts(1).await?.is_empty()
        || !catalogue.lease(HISTORY, &parts.node, LEASE).await?
    {
        return Ok(());
    }
    // Read under the lease: another may just have written what was there before.
    let some = catalogue.unrecorded_alerts(AT_ONCE).await?;
    if some.is_empty() {
        return Ok(());
    }
    let mut records = Vec::with_capacity(some.len());
    for kept in &some {
        let verdict = catalogue.verdict(&kept.alert.id).await?;
        records.push(record(kept, verdict.as_ref(), parts.clock.now()));
    }
    put(stream, records).await.map_err(anyhow::Error::msg)?;
    let revisions: Vec<_> = some.into_iter().map(|kept| (kept.alert.id, kept.revision)).collect();
    catalogue.recorded(&revisions).await?;
    Ok(())
}

async fn groups(catalogue: &Catalogue, now: Timestamp) -> Result<BTreeMap<String, (u64, Group)>, Error> {
    let mut groups = BTreeMap::new();
    for document in catalogue.documents(plan::KIND).await? {
        match serde_json::from_str(&document.body) {
            Ok(group) => drop(groups.insert(document.key, (document.version, group))),
            // It is told again, rather than never.
            Err(error) => {
                tracing::error!(%error, group = document.key, "how far a receiver was told cannot be read");
                groups.insert(document.key, (document.version, Group::begun(now)));
            }
        }
    }
    Ok(groups)
}

/// The silences that are kept, by id.
pub async fn silences(catalogue: &Catalogue) -> Result<Vec<Silence>, Error> {
    let mut silences = Vec::new();
    for document in catalogue.documents(silence::KIND).await? {
        let read = serde_json::from_str::<Kept>(&document.body).map_err(|error| error.to_string());
        match read.and_then(|kept| Silence::read(kept).map_err(|(_, problem)| problem)) {
            Ok(silence) => silences.push(silence),
            Err(problem) => tracing::error!(problem, silence = document.key, "a silence cannot be read"),
        }
    }
    Ok(silences)
}

#[cfg(test)]
mod tests;
