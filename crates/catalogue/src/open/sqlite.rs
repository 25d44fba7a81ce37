//! A catalogue in a file: one connection that writes, a few that only read.

use super::{Opened, Patience, Purpose, Session, bad_url, migrate, opening, pool};
use crate::{Error, database::Database};
use sqlx::any::AnyConnectOptions;
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a caller waits for this process's own writers, or for a free reader.
const ACQUIRE_TIMEOUT: Duration = Duration::from_mins(1);
/// Connections that read at once.
const READERS: u32 = 4;
/// How often the first connection is tried while other processes open the same new file.
const OPEN_ATTEMPTS: u32 = 100;
/// Between two such tries: switching a new file to WAL does not wait by itself.
const OPEN_PAUSE: Duration = Duration::from_millis(50);
/// What the write-ahead log shrinks back to once its content has been folded in.
const WAL_BYTES: u64 = 64 << 20;

/// Opens the file, creating it and its folder if they are not there.
pub(super) async fn open(url: &str, patience: Patience, purpose: Purpose) -> Result<Opened, Error> {
    let path = path_of(url)?;
    if purpose == Purpose::Read {
        return open_to_read(&path, patience);
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
    }
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(ending);
        let path = PathBuf::from(name);
        if path.is_dir() {
            return Err(Error::NoFile { path });
        }
    }
    let mut attempt = 1;
    loop {
        match try_open(&path, patience, purpose).await {
            Err(Error::Busy { .. }) if attempt < OPEN_ATTEMPTS => attempt += 1,
            done => return done,
        }
        tokio::time::sleep(OPEN_PAUSE).await;
    }
}

async fn try_open(path: &Path, patience: Patience, purpose: Purpose) -> Result<Opened, Error> {
    let place = path.display().to_string();
    let failed = |source| opening(&place, Database::Sqlite)(source);
    let session: Session = format!(
        "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; \
         PRAGMA journal_size_limit = {WAL_BYTES};",
        patience.busy.as_millis()
    )
    .into();
    let options = options(path, "rwc").map_err(failed)?;
    migrate(&place, Database::Sqlite, &options, &session, purpose).await?;
    let kept = |connections, session| {
        pool(connections, ACQUIRE_TIMEOUT, session)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(options.clone())
    };
    let only_reads = format!("{session} PRAGMA query_only = ON;").into();
    let (writer, readers) = (kept(1, session), kept(READERS, only_reads));
    Ok(Opened { place, database: Database::Sqlite, writer, readers })
}

/// A file that is there, its content as it is. The log of what was written last is folded in when the last of all that
/// have it open goes, which changes nothing that it holds.
fn open_to_read(path: &Path, patience: Patience) -> Result<Opened, Error> {
    let place = path.display().to_string();
    if !path.is_file() {
        return Err(Error::Absent { place });
    }
    let options = options(path, "rw").map_err(|source| opening(&place, Database::Sqlite)(source))?;
    let session: Session =
        format!("PRAGMA busy_timeout = {}; PRAGMA query_only = ON;", patience.busy.as_millis()).into();
    let readers = pool(READERS, ACQUIRE_TIMEOUT, session).connect_lazy_with(options);
    Ok(Opened { place, database: Database::Sqlite, writer: readers.clone(), readers })
}

fn path_of(url: &str) -> Result<PathBuf, Error> {
    let path = url.strip_prefix("sqlite://").ok_or_else(|| bad_url("expected // after sqlite:"))?;
    if path.is_empty() || path.ends_with('/') {
        return Err(bad_url("it names no file"));
    }
    if path.contains('?') {
        return Err(bad_url("options are not understood here"));
    }
    Ok(PathBuf::from(path))
}

/// The path as the driver wants it: as a url of its own, in which nothing but letters and digits stands for itself.
fn options(path: &Path, mode: &str) -> Result<AnyConnectOptions, sqlx::Error> {
    let absolute = std::path::absolute(path)?;
    let mut url = String::from("sqlite://");
    for byte in absolute.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            write!(url, "%{byte:02X}").unwrap_or_default();
        }
    }
    format!("{url}?mode={mode}").parse()
}
