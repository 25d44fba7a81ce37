//! Is everything that a topic has taken still in its files? Reads all of them; readers and writers go on meanwhile.

use super::{
    log::Log,
    segment::{Segment, Step},
};
use crate::Error;
use millrace_model::{Partition, chain};
use std::{io, sync::Arc};

/// Something that is wrong with the file of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: Partition,
    /// Which file, and what is wrong with it.
    pub problem: String,
}

/// What is wrong with the files of a partition. Blocks on the disk.
pub(super) fn verify(topic: &str, log: &Log) -> Vec<Flaw> {
    let mut problems = Vec::new();
    let mut next: Option<i64> = None;
    for segment in log.segments() {
        let path = segment.path.display();
        if let Some(missing) = next.filter(|next| *next < segment.base) {
            problems
                .push(format!("{path}: no file before it holds the offsets {missing} to {}", segment.base));
        }
        let end = match walk(&segment, &mut problems) {
            Ok(end) => end,
            // Retention has come first.
            Err(Error::File { source, .. })
                if source.kind() == io::ErrorKind::NotFound && log.low() > segment.base =>
            {
                segment.base
            }
            Err(error) => {
                problems.push(chain(&error));
                segment.base
            }
        };
        next = Some(end);
    }
    let flaw = |problem| Flaw { topic: topic.to_owned(), partition: log.partition, problem };
    problems.into_iter().map(flaw).collect()
}

/// Reads a segment through; returns the offset after everything in it.
fn walk(segment: &Arc<Segment>, problems: &mut Vec<String>) -> Result<i64, Error> {
    let limit = segment.committed();
    let mut walker = segment.walk_from(segment.base)?;
    let mut end = segment.base;
    loop {
        let step = walker.step(limit, true).map_err(|source| walker.error(source))?;
        let from = match step {
            Step::End => return Ok(end),
            Step::Damaged { from } => from,
            Step::Block { header, position, payload } => {
                end = end.max(header.end());
                if header.holds(&payload) {
                    continue;
                }
                position
            }
        };
        problems.push(format!(
            "{}: from byte {from} on it is damaged: messages are lost",
            segment.path.display()
        ));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{Metrics, embedded::block};
    use bytes::Bytes;
    use millrace_model::{Timestamp, wire::Payload};
    use std::{fs, path::Path};

    fn block_of(first: i64) -> Vec<u8> {
        let payload = Payload { value: Bytes::from(format!("message {first}")), ..Payload::default() };
        block::encode(first, Timestamp::from_millis(first), std::iter::once(&payload)).unwrap().1
    }

    /// Three segments of two messages each.
    fn segments(folder: &Path) {
        for base in [0, 2, 4] {
            let bytes = [block_of(base), block_of(base + 1)].concat();
            fs::write(folder.join(Segment::file_name(base)), bytes).unwrap();
        }
    }

    fn problems(folder: &Path) -> Vec<String> {
        let log = Log::open(folder.to_owned(), Partition(0), &Metrics::default().of("logs")).unwrap();
        verify("logs", &log).into_iter().map(|flaw| flaw.problem).collect()
    }

    #[test]
    fn each_damage_to_an_older_segment_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let middle = folder.path().join(Segment::file_name(2));
        segments(folder.path());
        assert_eq!(problems(folder.path()), [""; 0]);
        let whole = fs::read(&middle).unwrap();
        for at in [0, block::HEADER + 1, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&middle, bytes).unwrap();
            let told = problems(folder.path());
            assert!(told.len() == 1 && told[0].contains(&*middle.to_string_lossy()), "{at}: {told:?}");
        }
        fs::write(&middle, &whole[..whole.len() / 2]).unwrap();
        let told = problems(folder.path());
        assert!(told.len() == 1 && told[0].contains("offsets 3 to 4"), "{told:?}");
        fs::remove_file(&middle).unwrap();
        let told = problems(folder.path());
        assert!(told.len() == 1 && told[0].contains("offsets 2 to 4"), "{told:?}");
        fs::create_dir(&middle).unwrap();
        let told = problems(folder.path());
        assert!(told[0].contains(&*middle.to_string_lossy()), "{told:?}");
    }
}
