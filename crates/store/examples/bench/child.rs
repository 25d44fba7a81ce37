//! What is measured in a process of its own, so that memory which earlier work left behind does not count, or hide what
//! counts. The child prints what it found as JSON.

use crate::{
    corpus::Feed,
    ingest::{Ingested, Merged, ingest, merged},
    meter::{self, Outcome},
};
use millrace_store::SealedShard;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// The first argument of a child.
pub(crate) const CHILD: &str = "--child";

/// What it costs to open a shard.
#[derive(Serialize, Deserialize)]
pub(crate) struct Opened {
    /// Seconds of wall time.
    pub(crate) wall: f64,
    /// CPU seconds.
    pub(crate) spent: f64,
    /// Bytes of memory that came with it.
    pub(crate) resident: u64,
}

/// [`ingest`] of at most `lines` lines of these files.
pub(crate) fn ingested(
    files: &[PathBuf],
    lines: usize,
    cut: Option<u64>,
    folder: &Path,
) -> Outcome<Ingested> {
    let mut arguments: Vec<OsString> = vec!["ingest".into(), folder.into()];
    arguments.push(cut.unwrap_or_default().to_string().into());
    arguments.push(lines.to_string().into());
    arguments.extend(files.iter().map(OsString::from));
    ask(arguments)
}

/// [`merged`] of these shards.
pub(crate) fn merged_of(shards: &[PathBuf], folder: &Path) -> Outcome<Merged> {
    let mut arguments: Vec<OsString> = vec!["merge".into(), folder.into()];
    arguments.extend(shards.iter().map(OsString::from));
    ask(arguments)
}

/// Opens a shard once.
pub(crate) fn opened(path: &Path) -> Outcome<Opened> {
    ask(vec!["open".into(), path.into()])
}

fn ask<T: DeserializeOwned>(arguments: Vec<OsString>) -> Outcome<T> {
    let mut command = Command::new(std::env::current_exe()?);
    let child = command.arg(CHILD).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !child.status.success() {
        return Err(format!("a process of its own ended with {}", child.status).into());
    }
    Ok(serde_json::from_slice(&child.stdout)?)
}

/// What the child does.
pub(crate) fn run(arguments: &[&str]) -> Outcome<()> {
    let json = match arguments {
        ["ingest", folder, cut, lines, files @ ..] => {
            let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            let cut = Some(cut.parse()?).filter(|cut| *cut > 0);
            serde_json::to_string(&ingest(&mut Feed::new(&files, lines.parse()?), cut, Path::new(folder))?)?
        }
        ["merge", folder, shards @ ..] => {
            let shards: Vec<PathBuf> = shards.iter().map(PathBuf::from).collect();
            serde_json::to_string(&merged(&shards, Path::new(folder))?)?
        }
        ["open", path] => {
            let before = meter::resident()?;
            let started = Instant::now();
            let (spent, shard) = meter::cpu(|| SealedShard::open(Path::new(path)))?;
            let wall = started.elapsed().as_secs_f64();
            let _held = shard?;
            let resident = meter::resident()?.saturating_sub(before);
            serde_json::to_string(&Opened { wall, spent, resident })?
        }
        _ => return Err("a child without a task".into()),
    };
    println!("{json}");
    Ok(())
}
