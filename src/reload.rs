//! The agent of a process, from one reading of its settings to the next: SIGHUP has them read again.
//!
//! A reload is a restart that keeps the process. Settings with a mistake change nothing. With sound ones the agent stops in good
//! order, which takes five seconds at most where the topic does not answer, and begins anew: what was not acknowledged is read
//! again, at the same positions.

use crate::{cli, settings::Settings, systemd};
use millrace_agent::{Components, Heartbeats, Ingest, Metrics, Status};
use millrace_model::Clock;
use millrace_transport::{DeliveryReport, Topic};
use std::{future::Future, io::IsTerminal, sync::Arc};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

/// Delivery reports that may wait for the agent.
const REPORTS: usize = 4096;

/// Reads the settings again, from where they were read first. Blocks.
pub(crate) type Reread = Arc<dyn Fn() -> anyhow::Result<Settings> + Send + Sync>;

/// What stays while settings come and go.
pub(crate) struct Host {
    pub(crate) topic: Topic,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) status: Status,
    pub(crate) ingest: Ingest,
    pub(crate) shutdown: CancellationToken,
    pub(crate) reread: Reread,
}

/// Runs agents, one after another, until `shutdown`.
///
/// # Errors
/// Those of [`millrace_agent::run`].
pub(crate) async fn agents(
    mut settings: Settings,
    host: Host,
    mut hangups: Option<Signal>,
) -> anyhow::Result<()> {
    loop {
        let (reports, delivered) = mpsc::channel::<DeliveryReport>(REPORTS);
        let components = Components {
            producer: host.topic.producer(reports)?,
            reports: delivered,
            clock: Arc::clone(&host.clock),
            metrics: host.metrics.clone(),
            status: host.status.clone(),
            heartbeats: Some(Heartbeats {
                topic: host.topic.clone(),
                version: env!("CARGO_PKG_VERSION"),
                config: settings.fingerprint.clone(),
            }),
            ingest: host.ingest.clone(),
        };
        let stop = host.shutdown.child_token();
        let run = millrace_agent::run(settings.agent.clone(), components, stop.clone());
        tokio::pin!(run);
        let Some(next) = until_reload(&mut run, &mut hangups, &settings, &host).await? else { return Ok(()) };
        stop.cancel();
        run.await?;
        if host.shutdown.is_cancelled() {
            return Ok(());
        }
        settings = next;
        systemd::ready();
        tracing::info!("the settings were read again and are in use");
    }
}

/// Waits for settings that are to be used from now on; `None`: the agent has ended.
async fn until_reload<F>(
    run: &mut F,
    hangups: &mut Option<Signal>,
    settings: &Settings,
    host: &Host,
) -> anyhow::Result<Option<Settings>>
where
    F: Future<Output = Result<(), millrace_agent::Error>> + Unpin,
{
    loop {
        tokio::select! {
            ended = &mut *run => {
                ended?;
                return Ok(None);
            }
            Some(()) = next(hangups) => {}
        }
        systemd::reloading();
        let reread = Arc::clone(&host.reread);
        let read = tokio::task::spawn_blocking(move || reread()).await?;
        match read.and_then(|next| fits(settings, &next).map(|()| next)) {
            Ok(next) => {
                host.metrics.reloaded(true);
                return Ok(Some(next));
            }
            Err(error) => {
                host.metrics.reloaded(false);
                systemd::ready();
                tracing::error!(
                    "the settings were read again, and something is wrong with them: those before stay"
                );
                cli::complain(&error);
            }
        }
    }
}

/// From now on SIGHUP is heard, if it says anything here: before anybody is told that the process is there.
///
/// # Errors
/// No signal can be received.
pub(crate) fn hangups() -> anyhow::Result<Option<Signal>> {
    Ok(if is_daemon() { Some(signal(SignalKind::hangup())?) } else { None })
}

async fn next(hangups: &mut Option<Signal>) -> Option<()> {
    match hangups {
        Some(hangups) => hangups.recv().await,
        None => std::future::pending().await,
    }
}

/// Is SIGHUP a word from an operator? To what runs in a terminal it says that the terminal is gone.
pub(crate) fn is_daemon() -> bool {
    !std::io::stdin().is_terminal()
}

/// Can these settings take the place of the others while the process lives?
fn fits(old: &Settings, new: &Settings) -> anyhow::Result<()> {
    let fixed = [
        ("topic", old.topic == new.topic),
        ("agent.state_dir", old.agent.state_dir == new.agent.state_dir),
        ("agent.listen", old.agent.listen == new.agent.listen),
    ];
    match fixed.iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((name, _)) => anyhow::bail!("{name} is another: that takes a restart"),
    }
}
