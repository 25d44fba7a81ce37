//! Whether the disks where bundles lie and are made have the room that they must keep. Without it the pipeline pauses and
//! merges wait; what is in memory is still published, and retention and purges, which free room, go on.

use crate::parts::{Parts, Status};
use millrace_config::{MinFree, Shortage, Space, Watermark};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often the disks are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Asks how much room there is; blocks.
type Ask = fn(&Path) -> io::Result<Space>;

/// What was seen last. There is room until somebody has looked.
#[derive(Debug, Default)]
pub struct Room {
    short: AtomicBool,
}

impl Room {
    /// Has a disk less room than it must keep?
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(crate) fn set_short(&self, short: bool) {
        self.short.store(short, Ordering::Release);
    }
}

/// Looks at the disks.
struct Looker {
    room: Arc<Room>,
    status: Arc<Status>,
    folders: Vec<(PathBuf, Watermark)>,
    ask: Ask,
}

/// Looks until `shutdown`.
pub(crate) async fn run(
    parts: Arc<Parts>,
    room: Arc<Room>,
    status: Arc<Status>,
    min_free: MinFree,
    shutdown: CancellationToken,
) {
    let folders = [Some(parts.work_directory.as_path()), parts.bundles.folder()];
    let folders = folders.into_iter().flatten().map(|folder| (folder.to_owned(), Watermark::new(min_free)));
    let mut looker = Looker { room, status, folders: folders.collect(), ask: Space::of };
    loop {
        let looking = tokio::task::spawn_blocking(move || {
            let free = looker.look();
            (looker, free)
        });
        let Ok((back, free)) = looking.await else { return };
        looker = back;
        parts.metrics.free_bytes.set(i64::try_from(free).unwrap_or(i64::MAX));
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

impl Looker {
    /// Looks at each disk, and returns how many bytes are free where it is least.
    fn look(&mut self) -> u64 {
        let mut least = u64::MAX;
        let mut shortage: Option<(&Path, Shortage)> = None;
        for (folder, watermark) in &mut self.folders {
            match (self.ask)(folder) {
                Ok(space) => {
                    least = least.min(space.free);
                    if let Err(found) = watermark.look(space) {
                        shortage = Some((folder, found));
                    }
                }
                // A write will tell what is wrong with it.
                Err(error) => {
                    tracing::debug!(%error, folder = %folder.display(), "a disk does not say what is free");
                }
            }
        }
        let problem = shortage.map(|(folder, shortage)| format!("{}: {shortage}", folder.display()));
        let short = problem.is_some();
        if short != self.room.short.swap(short, Ordering::AcqRel) {
            if let Some(problem) = &problem {
                tracing::error!(problem, "nothing more is taken in or merged until there is room");
            } else {
                tracing::info!("the disk has room again");
            }
        }
        self.status.room(problem);
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a made-up disk has is in the name of its folder.
    fn made_up(folder: &Path) -> io::Result<Space> {
        let free = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        Ok(Space { free: free.ok_or(io::ErrorKind::NotFound)?, total: 1_000_000 })
    }

    #[test]
    fn the_fullest_disk_counts_and_one_that_cannot_be_asked_does_not() {
        let (room, status) = (Arc::new(Room::default()), Arc::new(Status::default()));
        let mut looker = Looker {
            room: Arc::clone(&room),
            status: Arc::clone(&status),
            folders: Vec::new(),
            ask: made_up,
        };
        let mut look = |folders: [&str; 2]| {
            let marks = if looker.folders.is_empty() {
                vec![Watermark::new(MinFree::bytes(1000)); 2]
            } else {
                looker.folders.drain(..).map(|(_, mark)| mark).collect()
            };
            looker.folders = folders.into_iter().map(PathBuf::from).zip(marks).collect();
            let least = looker.look();
            (least, room.is_short(), status.problems())
        };
        assert_eq!(look(["/a/5000", "/b/1000"]), (1000, false, vec![]));
        let (least, short, problems) = look(["/a/5000", "/b/999"]);
        assert_eq!((least, short, problems.len()), (999, true, 1));
        assert!(problems[0].starts_with("/b/999: ") && problems[0].contains("min_free"), "{problems:?}");
        assert!(look(["/a/5000", "/b/1099"]).1, "it was short, and has little more");
        assert_eq!(look(["/a/away", "/b/1100"]), (1100, false, vec![]));
    }
}
