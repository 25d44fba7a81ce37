//! The agent, in the order in which a line travels: (listeners → spools →) readers (one OS thread a source) → shipper → topic, and
//! back from the topic's reports to the checkpoint, and from there to the spools.

use crate::{
    Error, Heartbeats, Ingest,
    budget::Budget,
    desk::Desk,
    heartbeat::Speaker,
    identity::StateFolder,
    metrics::Metrics,
    settings::{Settings, SourceKind},
    ship::Shipper,
    source::{
        Context, Deleted, file, http, journald, otlp,
        pushed::{FAREWELL, Inlet},
        removed, spool, stdin, syslog,
    },
    spools::{Delivered, SourceSpool, Spools},
    status::Status,
};
use millrace_intake::{Limits, Process};
use millrace_model::{Clock, StreamName};
use millrace_transport::{DeliveryReport, Producer};
use std::{path::Path, sync::Arc, thread::JoinHandle};
use tokio::{sync::mpsc, task::JoinSet};
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
    /// Where it says how it is; `None`: nowhere.
    pub heartbeats: Option<Heartbeats>,
    /// Where the process that it lives in hands records over, if it does.
    pub ingest: Ingest,
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
    let Components { producer, reports, clock, metrics, status, heartbeats, ingest } = components;
    let (folder, spools) = open_folder(&settings, &metrics).await?;
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
    let (mut readers, mut listeners) = (Vec::new(), JoinSet::new());
    for source in &settings.sources {
        let context = context(&source.name, source.kind.name(), &source.stream, &source.process);
        match spools.get(&source.name) {
            Some(spool) => {
                let inlet = context.inlet(spool.handle.clone());
                match &source.kind {
                    SourceKind::Ingest(settings) => ingest.open(inlet, settings),
                    kind => listen(kind, inlet, &mut listeners).await?,
                }
                readers.push(read_spool(&source.kind, context, spool, &folder)?);
            }
            None => readers.extend(start(&source.kind, context, &folder)?),
        }
    }
    let delivered = Delivered::of_checkpoint(&folder.checkpoint);
    readers.extend(spools.look_after(&settings.sources, &delivered, &metrics, &status, &stop)?);
    let removed =
        folder.checkpoint.open_without(|name| settings.sources.iter().any(|source| source.name == name));
    if !removed.is_empty() {
        readers.push(removed::spawn(
            context("removed", "removed", &StreamName::default(), &Process::default()),
            removed,
        )?);
    }
    drop(tell);

    let speaker = heartbeats.filter(|_| !settings.heartbeat.is_zero()).map(|heartbeats| Speaker {
        heartbeats,
        sender: folder.sender,
        host: Arc::clone(&host),
        sources: settings.sources.iter().map(|source| (source.name.clone(), source.kind.name())).collect(),
        every: settings.heartbeat,
        clock: Arc::clone(&clock),
        metrics: metrics.clone(),
        status: status.clone(),
    });
    let speaking = speaker.map(|speaker| tokio::spawn(speaker.run(stop.clone())));
    let ended = metrics.clone();
    let desk = Desk::new(folder, host, metrics, status, budget, delivered);
    let shipper = Shipper { producer, reports, readings, desk, shutdown: shutdown.clone() };
    let shipped = shipper.run().await;
    stop.cancel();
    ingest.close();
    let farewell = async { while listeners.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
        tracing::warn!("not all senders were answered in time; they send again");
    }
    if let Some(speaking) = speaking {
        // It says that the agent ends, or gives up soon.
        drop(speaking.await);
    }
    join(readers).await;
    ended.ended();
    shipped
}

/// Starts what reads a source that can be read again; `None`: it is pushed.
fn start(kind: &SourceKind, context: Context, folder: &StateFolder) -> Result<Option<JoinHandle<()>>, Error> {
    let known = folder.checkpoint.of_name(&context.name);
    match kind {
        SourceKind::File(settings) => file::spawn(context, (**settings).clone(), known).map(Some),
        SourceKind::Journald(settings) => {
            let cursor = folder.checkpoint.cursors.get(&*context.name).cloned();
            journald::spawn(context, settings.clone(), known, cursor).map(Some)
        }
        _ => Ok(None),
    }
}

/// Starts what takes in a source that is pushed.
async fn listen(kind: &SourceKind, inlet: Inlet, listeners: &mut JoinSet<()>) -> Result<(), Error> {
    match kind {
        SourceKind::Syslog(settings) => syslog::start(inlet, settings, listeners).await,
        SourceKind::Otlp(settings) => otlp::start(inlet, settings, listeners).await,
        SourceKind::Http(settings) => http::start(inlet, settings, listeners).await,
        SourceKind::Stdin(settings) => stdin::start(inlet, settings),
        SourceKind::File(_) | SourceKind::Journald(_) | SourceKind::Ingest(_) => Ok(()),
    }
}

/// Starts what reads what was taken in.
fn read_spool(
    kind: &SourceKind,
    context: Context,
    spool: &SourceSpool,
    folder: &StateFolder,
) -> Result<JoinHandle<()>, Error> {
    let known = folder.checkpoint.of_name(&context.name);
    spool::spawn(context, spool.handle.clone(), &spool.opened, kind.place(), known)
}

async fn open_folder(settings: &Settings, metrics: &Metrics) -> Result<(StateFolder, Spools), Error> {
    let (path, sources, metrics) = (settings.state_dir.clone(), settings.sources.clone(), metrics.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let folder = StateFolder::open(&path)?;
        let spools = Spools::open(&path, &sources, &folder.checkpoint, &folder.lock, &metrics)?;
        Ok((folder, spools))
    });
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
