//! A storm of rotations: fifty files, rotated in three ways as fast as an agent takes note of them, while the agent is killed and has its
//! settings read again, the broker stands still and is started anew, and the kernel has more to tell of files than it keeps.

use crate::{
    BINARY, DEADLINE,
    random::{Random, number},
};
use millrace_test_support::{Cluster, Plan, Site, kafka::Broker, program::append, wait};
use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

const FILES: usize = 50;
const WRITERS: usize = 4;
const QUERY: &str = "storm";
/// Events that the kernel keeps, so that it is soon too many for it.
const QUEUED_EVENTS: &str = "/proc/sys/fs/inotify/max_queued_events";

/// How a file is rotated.
#[derive(Debug, Clone, Copy)]
enum Style {
    /// To a name that no glob has; then it is made anew.
    Away,
    /// To another name that is read; the second before that is compressed.
    Within,
    /// It is a link, and leads to another file from then on.
    Link,
}

struct LogFile {
    folder: PathBuf,
    nth: usize,
    style: Style,
    rotations: usize,
    lines: u64,
    rotate_after: u64,
}

impl LogFile {
    fn path(&self) -> PathBuf {
        self.folder.join(format!("storm-{:02}.log", self.nth))
    }

    fn begin(&self) {
        if let Style::Link = self.style {
            let target = self.folder.join(format!("target-{:02}.{}", self.nth, self.rotations));
            fs::write(&target, "").unwrap();
            let link = self.folder.join(format!("link-{:02}", self.nth));
            symlink(&target, &link).unwrap();
            fs::rename(&link, self.path()).unwrap();
        } else {
            fs::write(self.path(), "").unwrap();
        }
    }

    fn write(&mut self, lines: &str, count: u64, checkpoint: &Path) {
        append(&self.path(), lines.as_bytes());
        self.lines += count;
        if self.lines >= self.rotate_after && self.is_known(checkpoint) {
            self.rotate();
        }
    }

    /// Does the agent know the file? One that nobody has seen before its name is gone is nobody's.
    fn is_known(&self, checkpoint: &Path) -> bool {
        let metadata = fs::metadata(self.path()).unwrap();
        // An inode is used again; the time of birth tells which file is meant.
        let born = metadata.created().unwrap().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let identity = format!("\"inode\":{},\"born\":{born}", metadata.ino());
        matches!(self.style, Style::Within)
            || fs::read_to_string(checkpoint).is_ok_and(|text| text.contains(&identity))
    }

    fn rotate(&mut self) {
        self.rotations += 1;
        self.lines = 0;
        match self.style {
            Style::Away => {
                fs::rename(self.path(), format!("{}.{}", self.path().display(), self.rotations)).unwrap();
            }
            Style::Within => {
                let old = |rotation: usize| self.folder.join(format!("storm-{:02}.{rotation}.log", self.nth));
                fs::rename(self.path(), old(self.rotations)).unwrap();
                if self.rotations > 2 {
                    let status =
                        Command::new("gzip").arg("-1").arg(old(self.rotations - 2)).status().unwrap();
                    assert!(status.success());
                }
            }
            Style::Link => {}
        }
        self.begin();
    }
}

fn line(number: u64) -> String {
    let text = format!("storm line={number}");
    format!("{text} sum={:08x}\n", sum(&text))
}

/// FNV-1a: enough to see that a line is whole.
fn sum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Has the kernel keep few events, as long as it lives.
struct FewEvents(String);

impl FewEvents {
    fn new() -> Self {
        let before = fs::read_to_string(QUEUED_EVENTS).unwrap();
        fs::write(QUEUED_EVENTS, "16").unwrap();
        Self(before)
    }
}

impl Drop for FewEvents {
    fn drop(&mut self) {
        fs::write(QUEUED_EVENTS, &self.0).unwrap();
    }
}

#[test]
#[ignore = "takes minutes, wants root: make chaos"]
fn a_storm_of_rotations() {
    let mut random = Random::from_environment();
    let lines = number("MILLRACE_CHAOS_LINES").unwrap_or(2_000_000);
    let kills = number("MILLRACE_CHAOS_KILLS").unwrap_or(30) as usize;
    let few = FewEvents::new();
    let site = Site::new(BINARY);
    let broker = Broker::start();
    let plan = Plan { indexers: 1, ..Plan::new(&broker.bootstrap, "storm") };
    let mut cluster = Cluster::new(&site, plan);
    let mut agent = millrace_test_support::Role::agent(&site, plan, "agent", "{*.log,*.log.gz}");
    std::mem::swap(&mut cluster.agent, &mut agent);
    fs::create_dir_all(site.path("logs")).unwrap();
    cluster.start();

    let (checkpoint, folder) = (site.path("agent").join("checkpoint.json"), site.path("logs"));
    let written = AtomicU64::new(0);
    let rotations = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let during = Duration::from_secs(4) * kills as u32;
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (checkpoint, folder, written, rotations) = (&checkpoint, &folder, &written, &rotations);
            scope.spawn(move || {
                let mut files: Vec<LogFile> = (writer..FILES)
                    .step_by(WRITERS)
                    .map(|nth| LogFile {
                        folder: folder.clone(),
                        nth,
                        style: [Style::Away, Style::Within, Style::Link][nth % 3],
                        rotations: 0,
                        lines: 0,
                        rotate_after: 500 + 37 * nth as u64,
                    })
                    .collect();
                files.iter().for_each(LogFile::begin);
                let begun = Instant::now();
                for turn in 0.. {
                    let due = (begun.elapsed().as_secs_f64() / during.as_secs_f64() * lines as f64) as u64;
                    let from = written.fetch_add(50, Ordering::SeqCst);
                    if from >= lines {
                        break;
                    }
                    if from > due {
                        thread::sleep(Duration::from_millis(5));
                    }
                    let to = (from + 50).min(lines);
                    let text: String = (from..to).map(line).collect();
                    let count = files.len();
                    files[turn % count].write(&text, to - from, checkpoint);
                }
                rotations.fetch_add(files.iter().map(|file| file.rotations as u64).sum(), Ordering::SeqCst);
            });
        }
        // What the kernel tells of these is more than it keeps.
        let (junk, done) = (folder.join("junk"), &done);
        scope.spawn(move || {
            while !done.load(Ordering::SeqCst) {
                for _ in 0..200 {
                    fs::write(&junk, "").unwrap();
                    fs::remove_file(&junk).unwrap();
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        for kill in 0..kills {
            thread::sleep(random.time(Duration::ZERO, Duration::from_secs(4)));
            if kill == kills / 3 {
                broker.pause();
                thread::sleep(Duration::from_secs(10));
                cluster.agent.process().signal("HUP");
                thread::sleep(Duration::from_secs(2));
                broker.resume();
            } else if kill == kills * 2 / 3 {
                broker.kill();
                thread::sleep(Duration::from_secs(5));
                broker.restart();
            } else if kill % 3 == 1 {
                cluster.agent.process().signal("HUP");
                thread::sleep(random.time(Duration::ZERO, Duration::from_millis(500)));
            }
            cluster.agent.kill();
            thread::sleep(random.time(Duration::ZERO, Duration::from_secs(1)));
            cluster.agent.start();
        }
        wait::until_true("all is written", DEADLINE, || written.load(Ordering::SeqCst) >= lines);
        done.store(true, Ordering::SeqCst);
    });
    drop(few);
    println!("{} rotations", rotations.load(Ordering::SeqCst));

    let begun = Instant::now();
    cluster.server.wait_for_total(QUERY, lines, DEADLINE);
    println!("all {lines} found {:?} after the last was written", begun.elapsed());
    let mut seen = vec![0_u8; lines as usize];
    cluster.server.each_hit(QUERY, |hit| {
        let body = hit["body"].as_str().unwrap();
        let (text, told) = body.rsplit_once(" sum=").unwrap();
        assert_eq!(format!("{:08x}", sum(text)), told, "{body}");
        seen[text.strip_prefix("storm line=").unwrap().parse::<usize>().unwrap()] += 1;
    });
    assert!(seen.iter().all(|times| *times == 1), "each once");
    cluster.assert_audit_is_complete(lines);
    println!("each line once; complete by the audit");
}
