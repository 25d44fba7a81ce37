//! `millrace ingest`: lines of files, or of standard input, brought to a server. What it has acknowledged is durable there.

use crate::{
    cli::{Code, Failure, IngestArgs},
    client::Request,
};
use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use serde_json::json;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    time::Duration,
};

/// Lines go in requests of about so many bytes.
const REQUEST: usize = 2 << 20;
/// So many bytes are read at once.
const READ: usize = 256 << 10;
/// A server that takes nothing now is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// So often, and then given up.
const TRIES: u32 = 60;

/// What became of all lines.
#[derive(Debug, Default)]
struct Count {
    accepted: u64,
    rejected: u64,
    unparsed: u64,
}

/// Brings everything; what is wrong with one file ends it there.
pub(crate) async fn run(args: &IngestArgs) -> anyhow::Result<Code> {
    Request::get(&args.server, "version").send().await?;
    let mut count = Count::default();
    let outcome = async {
        for file in &args.files {
            let reading = || format!("cannot read {}", file.display());
            let mut lines = Lines::new(open(file).with_context(reading)?);
            while let Some(some) = lines.next().with_context(reading)? {
                send(args, some, &mut count).await?;
            }
        }
        anyhow::Ok(())
    }
    .await;
    let Count { accepted, rejected, unparsed } = count;
    eprintln!("{accepted} records are taken in");
    if unparsed > 0 {
        eprintln!("{unparsed} of them could not be read as {}, and are there as they are", args.format);
    }
    if rejected > 0 {
        eprintln!(
            "{rejected} were not taken: they are too long, or the server drops what it has no room for"
        );
    }
    outcome?;
    Ok(if rejected > 0 { Code::Findings } else { Code::Ok })
}

/// A file, unpacked if it is gzip; `-` is standard input.
fn open(file: &Path) -> io::Result<Box<dyn Read>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let mut reader = BufReader::new(File::open(file)?);
    let is_gzip = reader.fill_buf()?.starts_with(b"\x1f\x8b");
    Ok(if is_gzip { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) })
}

async fn send(args: &IngestArgs, lines: Vec<u8>, count: &mut Count) -> anyhow::Result<()> {
    let mut parameters = json!({ "format": args.format });
    if let Some(stream) = &args.stream {
        parameters["stream"] = json!(stream);
    }
    for tried in 1.. {
        let request = Request::post_bytes(&args.server, "api/v1/ingest", lines.clone());
        match request.with(&parameters).send().await {
            Ok(answer) => {
                let number = |name: &str| answer[name].as_u64().unwrap_or(0);
                count.accepted += number("accepted");
                count.rejected += number("rejected");
                count.unparsed += number("unparsed");
                return Ok(());
            }
            // It was reached before, or it has no room now.
            Err(error) if tried < TRIES && is_passing(&error) => tokio::time::sleep(AGAIN).await,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// It was there at the beginning.
fn is_passing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == Code::Unreachable)
}

/// Cuts what is read into stretches of whole lines.
struct Lines<R> {
    input: R,
    rest: Vec<u8>,
    ended: bool,
}

impl<R: Read> Lines<R> {
    fn new(input: R) -> Self {
        Self { input, rest: Vec::new(), ended: false }
    }

    /// The next lines, about [`REQUEST`] bytes of them, or one that is longer.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (mut searched, mut drained) = (0, false);
        loop {
            if self.ended || drained || self.rest.len() >= REQUEST {
                let end = self.rest[searched..].iter().rposition(|byte| *byte == b'\n');
                if let Some(end) = end.map(|end| searched + end) {
                    let rest = self.rest.split_off(end + 1);
                    return Ok(Some(std::mem::replace(&mut self.rest, rest)));
                }
                searched = self.rest.len();
            }
            if self.ended {
                return Ok((!self.rest.is_empty()).then(|| std::mem::take(&mut self.rest)));
            }
            let before = self.rest.len();
            self.rest.resize(before + READ, 0);
            let read = loop {
                match self.input.read(&mut self.rest[before..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
            self.rest.truncate(before + read);
            self.ended = read == 0;
            // What writes into a pipe says no more for now.
            drained = read < READ;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn lines_are_never_cut() {
        let long = "x".repeat(3 * REQUEST);
        let short = "a line\n".repeat(REQUEST / 2);
        for text in [String::new(), "a".to_owned(), short.clone(), format!("{long}\n{short}last"), long] {
            let mut lines = Lines::new(text.as_bytes());
            let mut all = Vec::new();
            while let Some(some) = lines.next().unwrap() {
                let is_last = all.len() + some.len() == text.len();
                assert!(some.ends_with(b"\n") || is_last);
                all.extend(some);
            }
            assert!(all == text.as_bytes());
        }
    }
}
