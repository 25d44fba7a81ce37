//! Journals, with the real binary: 200,000 entries over files that journald's own writer rotates, killed again and again, and a part that
//! is vacuumed before it was read. Each entry is found once, or said to be lost, to the last one.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, wait::until_true};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const WRITER: &str = "/usr/lib/systemd/systemd-journal-remote";
const WITHIN: Duration = Duration::from_mins(3);
const ENTRIES: u64 = 200_000;
/// Those that are written while the agent runs.
const WATCHED: u64 = 120_000;

/// Journald's writer, fed by a pipe. It begins a new file, in the same sequence, at 128 MiB.
struct Journal(Child);

impl Journal {
    fn new(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let file = folder.join("remote-host.journal");
        let child = Command::new(WRITER)
            .args(["--compress=no", "-o"])
            .args([&file, Path::new("-")])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("systemd-journal-remote is installed");
        Self(child)
    }

    fn write(&mut self, from: u64, to: u64) {
        let padding = "x".repeat(2600);
        let pipe = self.0.stdin.as_mut().unwrap();
        for number in from..to {
            let entry = format!(
                "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={}\n_HOSTNAME=web1\nPRIORITY=4\n\
                 SYSLOG_IDENTIFIER=sshd\n_PID=7\nMESSAGE=journal number={number} {padding}\n\n",
                1_790_000_000_000_000 + number * 1000,
                number * 1000,
                "a".repeat(32),
            );
            pipe.write_all(entry.as_bytes()).unwrap();
        }
        pipe.flush().unwrap();
    }

    /// Ends the pipe and waits until all is written.
    fn finish(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

/// The first sequence number of each file that was rotated away, as its name says.
fn first_numbers(folder: &Path) -> Vec<u64> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let number = |name: String| u64::from_str_radix(name.split_once('@')?.1.split('-').nth(1)?, 16).ok();
    let mut numbers: Vec<u64> = names.filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn two_hundred_thousand_entries_and_a_gap() {
    let site = Site::new(BINARY);
    let folder = site.path("journal");
    let mut journal = Journal::new(&folder);
    let settings = format!(
        "[agent.sources.journal]\ntype = \"journald\"\ndirectory = \"{}\"\nstream = \"journal\"\n\
         [streams.journal]\nretention = \"36500d\"\n",
        folder.display()
    );
    let mut up = site.up(&settings);
    let lives = 6;
    for life in 0..lives {
        up.start();
        journal.write(WATCHED * life / lives, WATCHED * (life + 1) / lives);
        let found =
            || up.server.try_search(&serde_json::json!({ "q": "stream:journal", "from": "0", "limit": 0 }));
        let enough = WATCHED * life / lives / 2 + 1;
        until_true("some are read", WITHIN, || {
            found().is_some_and(|answer| answer["total"].as_u64() >= Some(enough))
        });
        up.kill();
    }

    // While no agent runs the journal grows, and all but the newest files are vacuumed.
    journal.write(WATCHED, ENTRIES);
    journal.finish();
    assert!(first_numbers(&folder).len() >= 4, "five files at least");
    let vacuumed = Command::new("journalctl")
        .args(["--quiet", "--vacuum-files=2", "--directory"])
        .arg(&folder)
        .output()
        .unwrap();
    assert!(vacuumed.status.success(), "{vacuumed:?}");
    let first_kept = first_numbers(&folder)[0];
    assert!(first_kept > WATCHED, "entries that nobody has read are gone: the first is {first_kept}");

    up.start();
    up.server.wait_for_total(&format!("\"number {}\"", ENTRIES - 1), 1, WITHIN);
    let mut seen = vec![0_u8; ENTRIES as usize];
    up.server.each_hit("stream:journal", |hit| {
        let body = hit["body"].as_str().unwrap();
        let number = body.strip_prefix("journal number=").unwrap().split(' ').next().unwrap();
        seen[number.parse::<usize>().unwrap()] += 1;
    });
    assert!(seen.iter().all(|times| *times <= 1), "none comes twice");
    // Entry 0 has the sequence number 1.
    let missing: Vec<u64> = (0..ENTRIES).filter(|number| seen[*number as usize] == 0).collect();
    let lost = missing.len() as u64;
    assert!(lost > 0);
    assert_eq!(
        (missing[0], missing[missing.len() - 1]),
        (first_kept - 1 - lost, first_kept - 2),
        "one gap, up to what was kept"
    );

    until_true("everything is published", WITHIN, || {
        up.server.get("/api/v1/audit")["records"].as_u64() == Some(ENTRIES - lost)
    });
    let audit = up.server.get("/api/v1/audit");
    let sources = audit["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 1, "{audit}");
    assert_eq!(sources[0]["skipped"]["lost"].as_u64(), Some(lost), "{audit}");
    let outcome = up.run(&["audit"]);
    assert_eq!(outcome.code, Some(1), "{}{}", outcome.stdout, outcome.stderr);
    up.stop();
}
