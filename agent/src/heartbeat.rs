//! Says how the agent is, every so often, in a topic of its own. Nobody waits for it: where that topic takes nothing, the next one is
//! said when it does.

use crate::{metrics::Metrics, status::Status};
use millrace_model::{Clock, Partition, Timestamp, wire, wire::Heartbeat};
use millrace_transport::{AnyProducer, DeliveryReport, Producer, Topic};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc::{self, Receiver},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long the last one may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where the agent says how it is, and what of that it does not know itself.
#[derive(Clone)]
pub struct Heartbeats {
    /// The topic beside which they go.
    pub topic: Topic,
    /// The version of the program.
    pub version: &'static str,
    /// What its settings come to: the same where they are.
    pub config: String,
}

/// Who says it.
pub(crate) struct Speaker {
    pub(crate) heartbeats: Heartbeats,
    pub(crate) sender: wire::Sender,
    pub(crate) host: Arc<str>,
    /// Its sources: their names and kinds.
    pub(crate) sources: Vec<(String, &'static str)>,
    pub(crate) every: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) status: Status,
}

impl Speaker {
    /// Speaks until the stop, and once more then.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let started = self.clock.now();
        let mut tick = interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut line = None;
        let mut told = false;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => break,
            }
            let said = tokio::select! {
                said = self.say(&mut line, started, false) => said,
                () = stop.cancelled() => break,
            };
            match said {
                Ok(()) => told = false,
                Err(problem) => {
                    line = None;
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(problem, "heartbeats are not taken; they are tried again");
                    }
                }
            }
        }
        if line.is_some() {
            // Whoever looks sees otherwise that no more come.
            drop(timeout(FAREWELL, self.say(&mut line, started, true)).await);
        }
    }

    /// Says it once, and waits until it is heard.
    async fn say(
        &self,
        line: &mut Option<(AnyProducer, Receiver<DeliveryReport>)>,
        started: Timestamp,
        stopping: bool,
    ) -> Result<(), String> {
        let (producer, delivered) = match line {
            Some(line) => line,
            none => {
                let topic = self.heartbeats.topic.agents().await.map_err(|error| error.to_string())?;
                let (reports, delivered) = mpsc::channel(1);
                let producer = topic.producer(reports).map_err(|error| error.to_string())?;
                none.insert((producer, delivered))
            }
        };
        let message = self.beat(started, stopping).encode().map_err(|error| error.to_string())?;
        producer.send(Partition(0), message, 0).await.map_err(|error| error.to_string())?;
        let report = delivered.recv().await.ok_or("the topic is closed")?;
        report.outcome.map(drop).map_err(|rejected| rejected.to_string())
    }

    fn beat(&self, started: Timestamp, stopping: bool) -> Heartbeat {
        let backlog = self.metrics.backlog(&self.sources);
        Heartbeat {
            agent: self.sender.agent,
            instance: self.sender.instance,
            host: self.host.to_string(),
            millrace: self.heartbeats.version.to_owned(),
            config: self.heartbeats.config.clone(),
            started,
            sent: self.clock.now(),
            interval_seconds: self.every.as_secs(),
            stopping,
            sources: self.metrics.open_sources(&self.sources),
            backlog_bytes: backlog.bytes,
            backlog_seconds: backlog.seconds,
            in_flight_bytes: self.metrics.in_flight_bytes.get().max(0) as u64,
            shipped_records: self.metrics.shipped_records.get(),
            problem: self.status.readiness().err(),
        }
    }
}
