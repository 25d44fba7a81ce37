//! Merges of masks, told to other nodes and taken over from them by way of the catalogue, so that all agree on what a line
//! stands for. What is told goes into a cut ([`crate::publish`]); how masks are merged is the store's matter.
//!
//! **Invariant:** a merge is due to be told until a cut with it was published, or the catalogue was seen to have it.

use millrace_catalogue::{Alias, Catalogue};
use millrace_store::{Merge, Shaper, TemplateId};
use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The most aliases in one cut; the rest goes with the next ones.
const ALIASES_A_CUT: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Exchange {
    shaper: Shaper,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The catalogue's, up to which all aliases were taken over.
    version: u64,
    /// What the catalogue has, or has refused.
    told: HashSet<TemplateId>,
}

impl Exchange {
    /// For what this shaper learns; nothing was told yet.
    pub fn new(shaper: &Shaper) -> Self {
        Self { shaper: shaper.clone(), ..Self::default() }
    }

    /// Takes over what others have told since the last time. Where the catalogue cannot be read that is left to the next
    /// time, and the log says so.
    pub async fn take_over(&self, catalogue: &Catalogue) {
        loop {
            let since = self.lock().version;
            let (version, aliases) = match catalogue.aliases_since(since).await {
                Ok((_, aliases)) if aliases.is_empty() => return,
                Ok(read) => read,
                Err(error) => {
                    tracing::warn!(%error, "merges of templates cannot be read; they will be later");
                    return;
                }
            };
            // Appends wait for one of them at most, some microseconds.
            for alias in &aliases {
                self.shaper.absorb(&alias.mask);
            }
            let mut state = self.lock();
            state.told.extend(aliases.iter().map(|alias| TemplateId::of(&alias.mask)));
            state.version = state.version.max(version);
        }
    }

    /// What is due to be told, the same until it [was](Self::told), and more.
    pub fn due(&self) -> Vec<Alias> {
        let state = self.lock();
        let due = self.shaper.merges(|id| !state.told.contains(&id), ALIASES_A_CUT);
        due.into_iter().map(|Merge { id, mask }| Alias { id: id.to_string(), mask: mask.into() }).collect()
    }

    /// A cut with these was published. One that the catalogue refused then is not told again: it would be refused again.
    pub fn told(&self, aliases: &[Alias]) {
        self.lock().told.extend(aliases.iter().map(|alias| TemplateId::of(&alias.mask)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
