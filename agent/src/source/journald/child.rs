//! The child `journalctl`, its output and its last words. It ends with its owner.

use crate::settings::JournaldSettings;
use std::{
    io::{self, BufRead, BufReader, Read},
    process::{self, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread::{self, JoinHandle},
    time::Duration,
};

/// What is read at once, and how many such blocks may wait.
const BLOCK: usize = 64 << 10;
const WAITING_BLOCKS: usize = 4;
/// How much of its last words is kept.
const LAST_WORDS: usize = 1000;
const LONGEST_LINE: u64 = 64 << 10;

/// What a child does.
#[derive(Debug)]
pub(crate) enum Event {
    Bytes(Vec<u8>),
    /// Nothing for as long as was waited.
    Nothing,
    /// It ended, and this is what it said.
    Ended(String),
}

#[derive(Debug)]
pub(crate) struct Child {
    process: process::Child,
    blocks: Receiver<Vec<u8>>,
    last_words: Option<JoinHandle<String>>,
}

impl Child {
    pub(crate) fn start(settings: &JournaldSettings, cursor: Option<&str>) -> io::Result<Self> {
        let mut command = Command::new(&settings.journalctl);
        // `--follow` alone begins with the last ten entries (so `--no-tail`), and in systemd 250 to 257 reads this boot
        // only, whatever `--boot` says: of all that turns it off only `--merge` goes with a cursor.
        command.args(["--output=export", "--follow", "--all", "--no-tail", "--merge", "--quiet"]);
        if let Some(folder) = &settings.directory {
            command.arg("--directory").arg(folder);
        }
        if let Some(cursor) = cursor {
            command.arg("--cursor").arg(cursor);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let (sender, blocks) = mpsc::sync_channel(WAITING_BLOCKS);
        if let Some(output) = process.stdout.take() {
            thread::Builder::new().name("journalctl".to_owned()).spawn(move || pump(output, &sender))?;
        }
        let errors = process.stderr.take();
        let last_words =
            thread::Builder::new().name("journalctl-errors".to_owned()).spawn(move || listen(errors))?;
        Ok(Self { process, blocks, last_words: Some(last_words) })
    }

    /// Waits for output, `within` at most. Blocks.
    pub(crate) fn next(&mut self, within: Duration) -> Event {
        match self.blocks.recv_timeout(within) {
            Ok(bytes) => Event::Bytes(bytes),
            Err(RecvTimeoutError::Timeout) => Event::Nothing,
            Err(RecvTimeoutError::Disconnected) => Event::Ended(self.end()),
        }
    }

    /// Ends it, and says what it said.
    fn end(&mut self) -> String {
        // It may have ended already; then there is nothing to kill.
        if let Err(error) = self.process.kill() {
            tracing::debug!(%error, "journalctl cannot be ended");
        }
        let status = self.process.wait();
        let words = self.last_words.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        match status {
            _ if !words.is_empty() => words,
            Ok(status) => format!("journalctl ended: {status}"),
            Err(error) => format!("journalctl ended: {error}"),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.last_words.is_some() {
            self.end();
        }
    }
}

fn pump(mut output: impl Read, blocks: &SyncSender<Vec<u8>>) {
    loop {
        let mut block = vec![0; BLOCK];
        match output.read(&mut block) {
            Ok(0) => return,
            Ok(length) => {
                block.truncate(length);
                if blocks.send(block).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::debug!(%error, "journalctl's output ended");
                return;
            }
        }
    }
}

/// The last line that it wrote to its errors.
fn listen(errors: Option<impl Read>) -> String {
    let mut last = String::new();
    let Some(errors) = errors else { return last };
    let mut lines = BufReader::new(errors);
    let mut line = Vec::new();
    // What cannot be read is what it did not say.
    while lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            last = text.trim().chars().take(LAST_WORDS).collect();
        }
        line.clear();
    }
    last
}
