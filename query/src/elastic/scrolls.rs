//! Scrolls: searches that go on page by page.

use super::Index;
use millrace_elastic::request::Search;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// As Elasticsearch has it: so many are open at once.
const MOST: usize = 500;
/// Nobody keeps one for longer without asking.
const LONGEST: Duration = Duration::from_hours(24);

/// A scroll, between two pages.
#[derive(Debug, Clone)]
pub struct Scroll {
    /// Whose it is; `None`: nobody has to say who they are.
    pub owner: Option<String>,
    /// What is searched, without what was shown.
    pub search: Search,
    /// Where.
    pub indices: Vec<Index>,
    /// Records that were observed later are hidden.
    pub pinned: i64,
    /// The sort values of the last hit that was shown.
    pub after: Option<Vec<serde_json::Value>>,
    /// Everything was shown.
    pub ended: bool,
    keep: Duration,
    until: Instant,
}

/// All scrolls of this node.
#[derive(Debug, Default)]
pub struct Scrolls(Mutex<HashMap<String, Scroll>>);

impl Scroll {
    /// One that begins behind its first page.
    pub fn new(
        owner: Option<&str>,
        search: Search,
        indices: Vec<Index>,
        pinned: i64,
        keep: Duration,
    ) -> Self {
        let (owner, keep) = (owner.map(str::to_owned), keep.min(LONGEST));
        Self { owner, search, indices, pinned, after: None, ended: false, keep, until: Instant::now() + keep }
    }
}

impl Scrolls {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Scroll>> {
        let mut scrolls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        scrolls.retain(|_, scroll| scroll.until > now);
        scrolls
    }

    /// Keeps one; its id. `None`: too many are open.
    pub fn open(&self, scroll: Scroll) -> Option<String> {
        let mut scrolls = self.lock();
        if scrolls.len() >= MOST {
            return None;
        }
        // As hard to guess as a source.
        let id = millrace_model::SourceId::random().to_string();
        scrolls.insert(id.clone(), scroll);
        Some(id)
    }

    /// One that is open and theirs, to be kept for so long from now on.
    pub fn get(&self, owner: Option<&str>, id: &str, keep: Option<Duration>) -> Option<Scroll> {
        let mut scrolls = self.lock();
        let scroll = scrolls.get_mut(id).filter(|scroll| scroll.owner.as_deref() == owner)?;
        scroll.keep = keep.unwrap_or(scroll.keep).min(LONGEST);
        scroll.until = Instant::now() + scroll.keep;
        Some(scroll.clone())
    }

    /// A page more was shown.
    pub fn put(&self, id: &str, scroll: Scroll) {
        if let Some(open) = self.lock().get_mut(id) {
            *open = scroll;
        }
    }

    /// Closes some of theirs, or all; how many there were.
    pub fn close(&self, owner: Option<&str>, ids: &[String]) -> usize {
        let mut scrolls = self.lock();
        let before = scrolls.len();
        let all = ids.iter().any(|id| id == "_all");
        scrolls.retain(|id, scroll| scroll.owner.as_deref() != owner || !(all || ids.contains(id)));
        before - scrolls.len()
    }
}
