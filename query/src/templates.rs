//! The merges of masks that the catalogue knows, kept at hand so that hits can say which template their line stands for.
//!
//! Every answer reads what is new first. Merges change what hits say from then on, never what is stored.

use millrace_catalogue::{Alias, Catalogue, Error};
use millrace_store::Templates;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long an answer waits for the catalogue's word on this.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct KnownTemplates {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The catalogue's, up to which all aliases are in `templates`.
    version: u64,
    /// Answers that are being written hold one of before.
    templates: Arc<Templates>,
}

impl KnownTemplates {
    /// What is known now. Where the catalogue cannot be read, or not within a second, that is what was known before, and
    /// the log says so.
    pub async fn current(&self, catalogue: &Catalogue) -> Arc<Templates> {
        let problem = match tokio::time::timeout(PATIENCE, self.read(catalogue)).await {
            Ok(read) => read.err().map(|error| error.to_string()),
            Err(late) => Some(late.to_string()),
        };
        if let Some(error) = problem {
            tracing::warn!(error, "merges of templates cannot be read; the known ones are used");
        }
        Arc::clone(&self.lock().templates)
    }

    async fn read(&self, catalogue: &Catalogue) -> Result<(), Error> {
        loop {
            let since = self.lock().version;
            let (version, aliases) = catalogue.aliases_since(since).await?;
            if aliases.is_empty() {
                return Ok(());
            }
            self.lock().absorb(since, version, &aliases);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // One that was left half way lacks merges that are read again: the version moves last.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes over what came between two versions, unless another request did meanwhile.
    fn absorb(&mut self, since: u64, version: u64, aliases: &[Alias]) {
        if self.version == since {
            let templates = Arc::make_mut(&mut self.templates);
            for alias in aliases {
                templates.absorb(&alias.mask);
            }
            self.version = version;
        }
    }
}

#[cfg(test)]
mod tests;
