//! The agent, in the order in which a line travels: readers (one OS thread a source) → shipper → topic, and back from
//! the topic's reports to the checkpoint.

use crate::{
    Error,
    budget::Budget,
    desk::Desk,
    identity::StateFolder,
    metrics::Metrics,
    settings::{Settings, SourceKind},
    ship::Shipper,
    source::{Context, Deleted, file, journald, removed},
    status::Status,
};
use millrace_intake::{Limits, Process};
use millrace_model::{Clock, StreamName};
use millrace_transport::{DeliveryReport, Producer};
use std::{path::Path, sync::Arc, thread::JoinHandle};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many things readers may have told that the shipper has not taken yet.
const READINGS: usize = 64;

/// What an agent works with.
pub struct Components<P> {
    /// The topic.
    pub producer: P,
    /// What became of each message; the other end is the producer's.
    pub reports: mpsc::Receiver<DeliveryReport>,
    /// When a record is observed.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether it works.
    pub status: Status,
}

/// Reads and ships until `shutdown`, then delivers what is in hand (5 s at most), writes the checkpoint and returns.
/// Dropped instead, it stops at once, as if the process were killed: what was not acknowledged is read again.
///
/// # Errors
/// The state folder cannot be used, a glob is none, or the topic is closed for good. Everything else is waited out.
pub async fn run<P: Producer>(
    settings: Settings,
    components: Components<P>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Components { producer, reports, clock, metrics, status } = components;
    let folder = open_folder(&settings.state_dir).await?;
    let budget = Budget::new(usize::try_from(settings.in_flight).unwrap_or(usize::MAX));
    let deleted = Deleted::new(settings.deleted_bytes);
    let host: Arc<str> = settings.host.as_str().into();
    let (tell, readings) = mpsc::channel(READINGS);
    let stop = shutdown.child_token();
    // However this ends, the readers end too.
    let _stop = stop.clone().drop_guard();

    let context = |name: &str, kind: &'static str, stream: &StreamName, process: &Process| Context {
        name: name.into(),
        kind,
        stream: stream.clone(),
        sender: folder.sender,
        host: Arc::clone(&host),
        readings: tell.clone(),
        budget: budget.share(),
        deleted: Arc::clone(&deleted),
        clock: Arc::clone(&clock),
        metrics: metrics.clone(),
        limits: Limits::default(),
        process: process.clone(),
        policy: settings.redact.clone(),
        stop: stop.clone(),
    };
    let mut readers = Vec::new();
    for source in &settings.sources {
        let context = context(&source.name, source.kind.name(), &source.stream, &source.process);
        readers.push(start(&source.kind, context, &folder)?);
    }
    let removed =
        folder.checkpoint.open_without(|name| settings.sources.iter().any(|source| source.name == name));
    if !removed.is_empty() {
        readers.push(removed::spawn(
            context("removed", "removed", &StreamName::default(), &Process::default()),
            removed,
        )?);
    }
    drop(tell);

    let ended = metrics.clone();
    let desk = Desk::new(folder, host, metrics, status, budget);
    let shipper = Shipper { producer, reports, readings, desk, shutdown: shutdown.clone() };
    let shipped = shipper.run().await;
    stop.cancel();
    join(readers).await;
    ended.ended();
    shipped
}

fn start(kind: &SourceKind, context: Context, folder: &StateFolder) -> Result<JoinHandle<()>, Error> {
    let known = folder.checkpoint.of_name(&context.name);
    match kind {
        SourceKind::File(settings) => file::spawn(context, (**settings).clone(), known),
        SourceKind::Journald(settings) => {
            let cursor = folder.checkpoint.cursors.get(&*context.name).cloned();
            journald::spawn(context, settings.clone(), known, cursor)
        }
    }
}

impl SourceKind {
    fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Journald(_) => "journald",
        }
    }
}

async fn open_folder(path: &Path) -> Result<StateFolder, Error> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || StateFolder::open(&path));
    opened
        .await
        .unwrap_or_else(|error| Err(Error::file(Path::new("state"), "open", std::io::Error::other(error))))
}

/// Waits for the readers' threads. They look at their stop several times a second.
async fn join(readers: Vec<JoinHandle<()>>) {
    let joined = tokio::task::spawn_blocking(move || {
        readers.into_iter().map(JoinHandle::join).filter(Result::is_err).count()
    });
    if let Ok(panicked @ 1..) = joined.await {
        tracing::error!(panicked, "readers ended in a panic");
    }
}
