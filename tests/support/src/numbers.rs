//! Numbered lines over files that are rotated while they are written, and the proof that each number is found once.

use crate::Server;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Writes numbered lines in turn into a few files, and rotates each by rename and create.
#[derive(Debug)]
pub struct Writer {
    files: Vec<PathBuf>,
    /// Lines of a file until it is rotated.
    rotate_after: u64,
    written: Vec<u64>,
    rotations: u64,
    next: u64,
}

/// Lines that are written at once.
const CHUNK: u64 = 50;

impl Writer {
    /// Into `count` files of a folder; each is rotated (to `<name>.<number>`) after so many lines.
    pub fn new(folder: &Path, count: usize, rotate_after: u64) -> Self {
        let files = (0..count).map(|nth| folder.join(format!("numbers-{nth:02}.log"))).collect();
        Self { files, rotate_after, written: vec![0; count], rotations: 0, next: 0 }
    }

    /// How many lines were written so far.
    pub fn written(&self) -> u64 {
        self.next
    }

    /// Writes on until `until` lines were written.
    ///
    /// # Panics
    /// When a file cannot be written or renamed.
    pub fn write_until(&mut self, until: u64) {
        while self.next < until {
            let nth = usize::try_from(self.next / CHUNK).expect("few files") % self.files.len();
            let end = (self.next + CHUNK).min(until);
            let lines: Vec<String> =
                (self.next..end).map(|number| format!("line number={number} of many\n")).collect();
            crate::program::append(&self.files[nth], lines.concat().as_bytes());
            self.written[nth] += end - self.next;
            self.next = end;
            if self.written[nth] >= self.rotate_after {
                self.rotate(nth);
            }
        }
    }

    fn rotate(&mut self, nth: usize) {
        self.rotations += 1;
        self.written[nth] = 0;
        let mut name = self.files[nth].clone().into_os_string();
        name.push(format!(".{}", self.rotations));
        fs::rename(&self.files[nth], name).expect("a log can be renamed");
        fs::write(&self.files[nth], "").expect("a log can be made");
    }
}

/// What [`Writer`] wrote, as a query.
pub const QUERY: &str = "\"of many\"";

/// The number of a hit's line.
///
/// # Panics
/// When it is not one that [`Writer`] writes.
#[track_caller]
pub fn number_of(hit: &Value) -> u64 {
    let body = hit["body"].as_str().expect("a body");
    let number = body.strip_prefix("line number=").and_then(|rest| rest.strip_suffix(" of many"));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{body:?}"))
}

/// Pages through everything and makes sure that each number below `count` is there once.
///
/// # Panics
/// When one is missing or comes twice; says which.
#[track_caller]
pub fn assert_each_once(server: &Server, count: u64) {
    let mut seen = vec![0_u32; usize::try_from(count).expect("they fit into memory")];
    server.each_hit(QUERY, |hit| {
        seen[usize::try_from(number_of(hit)).expect("it fits into memory")] += 1;
    });
    let few = |wanted: fn(u32) -> bool| {
        let numbers = seen.iter().enumerate().filter(|(_, times)| wanted(**times)).map(|(number, _)| number);
        numbers.take(20).collect::<Vec<_>>()
    };
    let (missing, twice) = (few(|times| times == 0), few(|times| times > 1));
    assert!(
        missing.is_empty() && twice.is_empty(),
        "of {count} numbers, missing: {missing:?}…, repeated: {twice:?}…"
    );
}
