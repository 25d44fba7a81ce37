//! Snapshots of the catalogue in storage: the newest is there, and each is whole.

use super::{Finding, Verification};
use anyhow::Context;
use millrace_catalogue::{Catalogue, SnapshotError, read_snapshot};
use millrace_model::ShardId;
use millrace_storage::Bundles;
use serde_json::Value;

/// Where they lie, and how their keys end.
const FOLDER: &str = "catalogue";
const ENDING: &str = ".snapshot";

/// Reads them all, one after the other.
pub(super) async fn check(
    catalogue: &Catalogue,
    bundles: &Bundles,
    into: &mut Verification,
) -> anyhow::Result<()> {
    let newest = newest(catalogue).await?;
    let listed = bundles.list(FOLDER).await?;
    let mut keys: Vec<String> =
        listed.into_iter().map(|(key, _)| key).filter(|key| key.ends_with(ENDING)).collect();
    keys.extend(newest.filter(|newest| !keys.contains(newest)));
    for key in keys {
        match problem(bundles, &key).await? {
            // An old one goes as a newer one comes.
            Some(Problem::Missing) if self::newest(catalogue).await?.as_ref() != Some(&key) => {}
            Some(Problem::Missing) => {
                into.find(Finding::of_snapshot(
                    &key,
                    "it is not in storage, though it is the newest".to_owned(),
                ));
            }
            Some(Problem::Damaged(problem)) => into.find(Finding::of_snapshot(&key, problem)),
            None => {}
        }
    }
    Ok(())
}

/// The key of the newest one.
async fn newest(catalogue: &Catalogue) -> anyhow::Result<Option<String>> {
    let Some((_, body)) = catalogue.document("snapshot", "newest").await? else { return Ok(None) };
    let body: Value = serde_json::from_str(&body).context("the document of the newest snapshot")?;
    Ok(body["key"].as_str().map(str::to_owned))
}

enum Problem {
    Missing,
    Damaged(String),
}

async fn problem(bundles: &Bundles, key: &str) -> anyhow::Result<Option<Problem>> {
    let file = std::env::temp_dir().join(format!("millrace-verify-{}{ENDING}", ShardId::random()));
    let copied = bundles.copy_to(key, &file).await;
    let path = file.clone();
    let read = tokio::task::spawn_blocking(move || match copied {
        Ok(_) => read_snapshot(&path, |_| Ok::<_, SnapshotError>(())).err().map(|error| match error {
            // The copy's place says nothing to anybody.
            SnapshotError::Corrupt { problem, .. } => Problem::Damaged(format!("it is damaged: {problem}")),
            other => Problem::Damaged(format!("{:#}", anyhow::Error::from(other))),
        }),
        Err(millrace_storage::Error::Missing { .. }) => Some(Problem::Missing),
        Err(error) => {
            Some(Problem::Damaged(format!("it cannot be reached: {:#}", anyhow::Error::from(error))))
        }
    });
    let problem = read.await;
    match tokio::fs::remove_file(&file).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %file.display(), %error, "the copy of a snapshot stays behind");
        }
        _ => {}
    }
    Ok(problem?)
}
