//! What tests of alerts begin with: a catalogue of their own, whose time they tell, and an alert.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_catalogue::{Alert, AlertState, Catalogue};
use millrace_model::{ManualClock, Timestamp};
use std::{collections::BTreeMap, sync::Arc};

/// An empty one. It is gone with the folder.
pub(super) async fn catalogue(now: Timestamp) -> (Catalogue, Arc<ManualClock>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(now));
    let url = format!("sqlite://{}", folder.path().join("c.db").display());
    (Catalogue::open(&url, Arc::<ManualClock>::clone(&clock)).await.unwrap(), clock, folder)
}

/// One that fires, since now.
pub(super) fn alert(id: &str, now: Timestamp) -> Alert {
    Alert {
        id: id.to_owned(),
        fingerprint: id.to_owned(),
        rule_id: "r".into(),
        title: "R".into(),
        level: "high".into(),
        state: AlertState::Firing,
        group: BTreeMap::new(),
        first: now,
        last: now,
        count: 1,
        evidence: Vec::new(),
        resolved_at: None,
    }
}
