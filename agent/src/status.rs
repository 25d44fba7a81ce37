//! Whether the agent does its work, for `/readyz`. Written by the shipper, read by anybody.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Without a delivery for so long, while something waits for one, the agent is not ready.
const PATIENCE: Duration = Duration::from_secs(10);

/// A handle on the agent's state of health. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Status(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    started: bool,
    topic: Option<String>,
    checkpoint: Option<String>,
    waiting: Option<Waiting>,
    /// By the names of their sources.
    spools: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    bytes: usize,
}

impl Status {
    /// Of an agent that has not started.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ready, or why not.
    ///
    /// # Errors
    /// The text names what the agent waits for.
    pub fn readiness(&self) -> Result<(), String> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = &inner.checkpoint {
            return Err(format!("the checkpoint cannot be written: {problem}"));
        }
        if let Some(problem) = &inner.topic {
            return Err(format!("topic: {problem}"));
        }
        if let Some((name, problem)) = inner.spools.first_key_value() {
            return Err(format!("source {name} takes nothing: {problem}"));
        }
        if !inner.started {
            return Err("the agent has not started yet".to_owned());
        }
        match &inner.waiting {
            Some(Waiting { since, bytes }) if since.elapsed() > PATIENCE => Err(format!(
                "topic: nothing was acknowledged for {} s, {bytes} bytes wait",
                since.elapsed().as_secs()
            )),
            _ => Ok(()),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn started(&self) {
        self.change(|inner| inner.started = true);
    }

    /// The topic's trouble; `None`: it works. Says whether that is news.
    pub(crate) fn topic(&self, problem: Option<String>) -> bool {
        self.change(|inner| replace(&mut inner.topic, problem))
    }

    /// The checkpoint's trouble; `None`: it is written. Says whether that is news.
    pub(crate) fn checkpoint(&self, problem: Option<String>) -> bool {
        self.change(|inner| replace(&mut inner.checkpoint, problem))
    }

    /// The trouble of a source's spool; `None`: it takes records.
    pub(crate) fn spool(&self, name: &str, problem: Option<String>) {
        self.change(|inner| match problem {
            Some(problem) => inner.spools.insert(name.to_owned(), problem),
            None => inner.spools.remove(name),
        });
    }

    /// So many bytes wait for acknowledgement; `progress`: one has just come.
    pub(crate) fn waiting(&self, bytes: usize, progress: bool) {
        self.change(|inner| match &mut inner.waiting {
            _ if bytes == 0 => inner.waiting = None,
            Some(waiting) => {
                waiting.bytes = bytes;
                if progress {
                    waiting.since = Instant::now();
                }
            }
            None => inner.waiting = Some(Waiting { since: Instant::now(), bytes }),
        });
    }
}

fn replace(slot: &mut Option<String>, new: Option<String>) -> bool {
    let news = *slot != new;
    *slot = new;
    news
}
