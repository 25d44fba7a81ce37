//! This machine: its disks, the folders that Millrace writes to, the files and journals that it reads, limits, the clock.

use super::Check;
use crate::settings::Settings;
use millrace_agent::{FileSettings, JournaldSettings, SourceKind, named};
use millrace_config::{MinFree, Space};
use millrace_transport::TopicSettings;
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// Fewer open files than these are soon too few: readers, shards and connections share them.
const FEW_FILES: u64 = 4096;
/// So many names of a kind are told.
const SHOWN: usize = 3;

/// Looks at all of it. Blocks.
pub(super) fn look(settings: Option<&Settings>) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut folders_watched = 0;
    if let Some(settings) = settings {
        for (folder, (what, min_free)) in folders(settings) {
            checks.push(disk(&folder, what, min_free));
            checks.push(writable(&folder, what));
        }
        for source in &settings.agent.sources {
            match &source.kind {
                SourceKind::File(files) => {
                    let (check, folders) = files_of(&source.name, files);
                    checks.push(check);
                    folders_watched += folders;
                }
                SourceKind::Journald(journal) => checks.push(journal_of(&source.name, journal)),
                _ => {}
            }
        }
    }
    checks.extend(inotify(folders_watched));
    checks.push(open_files());
    checks.push(clock());
    checks
}

/// Where something is written, what it is, and what its disk must keep free.
fn folders(settings: &Settings) -> BTreeMap<PathBuf, (&'static str, MinFree)> {
    let mut folders = BTreeMap::new();
    let mut add = |folder: &Path, what: &'static str, min_free| {
        folders.entry(folder.to_owned()).or_insert((what, min_free));
    };
    let keeps = settings.indexer.min_free;
    if !settings.agent.sources.is_empty() {
        add(&settings.agent.state_dir, "the agent's state", keeps);
    }
    if let TopicSettings::Embedded(topic) = &settings.topic {
        add(&topic.directory, "the topic", topic.min_free);
    }
    // An agent that ships to other machines keeps nothing else.
    if !matches!(settings.topic, TopicSettings::Http(_)) {
        if let Some(file) = settings.catalogue.strip_prefix("sqlite://")
            && let Some(folder) = Path::new(file).parent()
        {
            add(folder, "the catalogue", keeps);
        }
        match settings.storage.url.strip_prefix("file://") {
            Some(folder) => add(Path::new(folder), "shards", keeps),
            None => add(&settings.storage.cache_dir, "copies of shards", keeps),
        }
        add(&settings.work_directory, "shards in the making", keeps);
    }
    folders
}

/// What is there of a path: itself, or the nearest above it.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/"))
}

fn disk(folder: &Path, what: &str, min_free: MinFree) -> Check {
    let place = format!("{} ({what})", folder.display());
    match Space::of(nearest(folder)) {
        Ok(space) => {
            let kept = min_free.of(space.total);
            let found = format!("{place}: {} of {} free", size(space.free), size(space.total));
            if space.free < kept {
                let repair = format!("free some: below {} (min_free) nothing is taken in", size(kept));
                Check::problem("disk", found, repair)
            } else if space.free < 2 * kept {
                let repair =
                    format!("it is near the {} below which nothing is taken in (min_free)", size(kept));
                Check::warning("disk", found, repair)
            } else {
                Check::ok("disk", found)
            }
        }
        Err(error) => Check::unknown("disk", format!("{place}: {error}")),
    }
}

fn writable(folder: &Path, what: &str) -> Check {
    let place = format!("{} ({what})", folder.display());
    let is_there = folder.is_dir();
    let tried = nearest(folder);
    let file = tried.join(format!(".millrace-doctor-{}", std::process::id()));
    let made =
        OpenOptions::new().write(true).create_new(true).open(&file).and_then(|_| fs::remove_file(&file));
    match made {
        Ok(()) if is_there => Check::ok("permissions", format!("{place}: can be written to by {}", user())),
        Ok(()) => Check::ok("permissions", format!("{place}: is not there, and can be made by {}", user())),
        Err(error) => {
            let at = if is_there { String::new() } else { format!(", in {}", tried.display()) };
            let found = format!("{place}: cannot be written to by {}{at}: {error}", user());
            let repair = "give it to the user that Millrace runs as (chown), or run this as that user";
            Check::problem("permissions", found, repair)
        }
    }
}

fn user() -> String {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok();
    name.or_else(|| numbers("Uid").map(|uid| format!("user {uid}"))).unwrap_or_else(|| "this user".to_owned())
}

/// The first number of a line of this process's status.
fn numbers(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next().map(str::to_owned)
}

/// A source's files; and how many folders want a watch.
fn files_of(source: &str, settings: &FileSettings) -> (Check, usize) {
    let globs = settings.include.join(", ");
    match named(source, settings) {
        Err(error) => (Check::problem("files", format!("{source}: {error}"), "mend the glob"), 0),
        Ok(found) if !found.unreadable.is_empty() => {
            let shown: Vec<String> = found
                .unreadable
                .iter()
                .take(SHOWN)
                .map(|(path, error)| format!("{}: {error}", path.display()))
                .collect();
            let more = found.unreadable.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            let text = format!(
                "{source}: {} of {} files cannot be read by {}: {}{more}",
                found.unreadable.len(),
                found.files.max(found.unreadable.len()),
                user(),
                shown.join(", ")
            );
            let repair =
                "let the agent's user read them: a group (usermod -aG adm USER), or an ACL (setfacl)";
            (Check::problem("files", text, repair), found.folders)
        }
        Ok(found) if found.files == 0 => {
            let text = format!("{source}: {globs} names no file now");
            (
                Check::warning("files", text, "files that appear later are read; is the glob right?"),
                found.folders,
            )
        }
        Ok(found) => {
            let text = format!("{source}: {} files, in {} folders, can be read", found.files, found.folders);
            (Check::ok("files", text), found.folders)
        }
    }
}

fn journal_of(source: &str, settings: &JournaldSettings) -> Check {
    let mut command = Command::new(&settings.journalctl);
    command.args(["--quiet", "--lines=1", "--output=export"]);
    if let Some(directory) = &settings.directory {
        command.arg("--directory").arg(directory);
    }
    match command.output() {
        Err(error) => {
            let found = format!("{source}: {} cannot be run: {error}", settings.journalctl.display());
            Check::problem("journal", found, "install systemd, or name its journalctl")
        }
        Ok(output) if !output.status.success() => {
            let words = String::from_utf8_lossy(&output.stderr);
            let found = format!("{source}: journalctl says {:?}", words.trim());
            Check::problem("journal", found, "let the agent's user read it: usermod -aG systemd-journal USER")
        }
        Ok(output) if output.stdout.is_empty() => {
            let found = format!("{source}: this user sees no entry");
            let repair = "it is empty, or its entries are hidden: usermod -aG systemd-journal USER";
            Check::warning("journal", found, repair)
        }
        Ok(_) => Check::ok("journal", format!("{source}: can be read")),
    }
}

fn inotify(folders: usize) -> Vec<Check> {
    let limit = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse().ok()
    };
    let watches = match limit("max_user_watches") {
        None => Check::unknown("inotify", "its limits are not to be seen"),
        Some(watches) if (folders as u64) * 2 > watches => Check::warning(
            "inotify",
            format!("{folders} folders are to be watched, and a user may have {watches} watches"),
            "raise fs.inotify.max_user_watches (sysctl); folders without a watch are looked at in turn",
        ),
        Some(watches) => Check::ok(
            "inotify",
            format!("{watches} watches a user, {folders} wanted for the folders of sources"),
        ),
    };
    let used = instances();
    let instances = match limit("max_user_instances") {
        Some(instances) if used + 8 > instances => Some(Check::warning(
            "inotify",
            format!("{used} of {instances} instances are in use"),
            "raise fs.inotify.max_user_instances (sysctl)",
        )),
        _ => None,
    };
    [Some(watches), instances].into_iter().flatten().collect()
}

/// How many instances of inotify the processes have that may be looked at.
fn instances() -> u64 {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let descriptors = processes.flatten().filter_map(|process| fs::read_dir(process.path().join("fd")).ok());
    let of_inotify =
        |link: io::Result<PathBuf>| link.is_ok_and(|link| link.as_os_str() == "anon_inode:inotify");
    descriptors.flat_map(Iterator::flatten).filter(|entry| of_inotify(fs::read_link(entry.path()))).count()
        as u64
}

fn open_files() -> Check {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    match soft.map(str::parse::<u64>) {
        Some(Ok(soft)) if soft < FEW_FILES => Check::warning(
            "open files",
            format!("a process of this session may have {soft}"),
            format!("give the service {FEW_FILES} or more: LimitNOFILE= of its unit, or ulimit -n"),
        ),
        Some(Ok(soft)) => Check::ok("open files", format!("a process of this session may have {soft}")),
        _ => Check::ok("open files", "without a limit"),
    }
}

fn clock() -> Check {
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    match asked {
        Ok(output) if output.status.success() => match String::from_utf8_lossy(&output.stdout).trim() {
            "yes" => Check::ok("clock", "kept in step (NTP)"),
            _ => Check::warning(
                "clock",
                "nothing keeps it in step",
                "run a client of NTP (chrony, systemd-timesyncd): records are in the order of their times",
            ),
        },
        _ => Check::unknown("clock", "nobody here says whether it is kept in step"),
    }
}

pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = UNITS.iter().find(|(_, shift)| bytes >> shift > 0);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(name, shift)| {
            format!(
                "{:.1} {name}",
                bytes as f64 / f64::from(1 << shift.min(&30)) / if *shift == 40 { 1024.0 } else { 1.0 }
            )
        },
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_folder_that_can_be_written_to_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(writable(folder.path(), "x").verdict, Verdict::Ok);
        let below = folder.path().join("a/b");
        let check = writable(&below, "x");
        assert_eq!(check.verdict, Verdict::Ok);
        assert!(check.found.contains("is not there"), "{}", check.found);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(writable(Path::new("/proc/none"), "x").verdict, Verdict::Problem);
    }

    #[test]
    fn a_disk_is_held_against_what_it_must_keep() {
        let folder = tempfile::tempdir().unwrap();
        let free = Space::of(folder.path()).unwrap().free;
        let verdict = |bytes| disk(&folder.path().join("not/there"), "x", MinFree::bytes(bytes)).verdict;
        assert_eq!((verdict(0), verdict(u64::MAX / 4)), (Verdict::Ok, Verdict::Problem));
        assert_eq!(verdict(free / 3 * 2), Verdict::Warning);
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [(7, "7 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
