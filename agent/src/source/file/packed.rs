//! Compressed files: each is a source by itself, or one that is known already, compressed since.
//!
//! It is the same if it begins as that began, and the same stands before the position that was reached. To see that, all before the
//! position is decompressed, by a thread of its own: the other files are read meanwhile.

use super::{
    Ended, FileIdentity, Fingerprint, Reader, content::Content, discover::Found, generation::Generation,
};
use crate::{
    budget::Stopped,
    checkpoint::{Entry, FilePlace, Place},
    source::Reading,
};
use millrace_model::SourceId;
use std::{
    fs::{self, File},
    io,
    path::Path,
    thread::{self, JoinHandle},
};

/// A source that a compressed file may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) source: SourceId,
    pub(super) head: Fingerprint,
    /// Where its bytes were told, and what stands before.
    pub(super) position: u64,
    pub(super) marker: Fingerprint,
}

/// Which source a compressed file is, and whether there is more in it than was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recognised {
    source: SourceId,
    more: bool,
}

pub(super) type Recognising = JoinHandle<io::Result<Option<Recognised>>>;

/// What is to be done with a compressed file that was seen.
pub(super) enum Verdict {
    /// Nothing, for now or at all.
    Nothing,
    /// It is a source of its own, or the rest of one.
    Begin(Box<Entry>),
}

impl Reader {
    /// A compressed file was seen that is not known.
    pub(super) fn judge_packed(&mut self, found: &Found, file: &File) -> Result<Verdict, Stopped> {
        if self.twins.contains_key(&found.identity) {
            return Ok(Verdict::Nothing);
        }
        let recognised = match self.recognising.remove(&found.identity) {
            Some(thread) if !thread.is_finished() => {
                self.recognising.insert(found.identity, thread);
                return Ok(Verdict::Nothing);
            }
            Some(thread) => thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())),
            None => {
                let candidates = self.candidates();
                if candidates.is_empty() {
                    Ok(None)
                } else {
                    match recognise_in_a_thread(file, candidates) {
                        Ok(thread) => {
                            self.recognising.insert(found.identity, thread);
                            return Ok(Verdict::Nothing);
                        }
                        Err(error) => Err(error),
                    }
                }
            }
        };
        match recognised {
            Ok(None) => self.take_for_blank(found),
            Ok(Some(recognised)) => self.take_for(found, recognised),
            Err(error) => {
                self.report_path(&found.path, &error);
                Ok(Verdict::Nothing)
            }
        }
    }

    /// The file holds what none of the known ones began with. It may be the copy of one that was empty when it was last seen, and is
    /// gone: if it is not, but that of another that nobody has seen, it is read all the same, and nothing else is of that source.
    fn take_for_blank(&mut self, found: &Found) -> Result<Verdict, Stopped> {
        let is_gone = |generation: &Generation| {
            let there = fs::metadata(&generation.at);
            !there.is_ok_and(|there| FileIdentity::of(&there) == generation.identity)
        };
        let blank = self.generations.iter().find(|(_, generation)| {
            generation.is_blank()
                && !generation.is_open()
                && is_called_after(&found.path, &generation.path)
                && is_gone(generation)
        });
        match blank.map(|(source, generation)| (*source, generation.missing.is_some())) {
            None => Ok(Verdict::Begin(Box::new(self.new_entry(found, true)))),
            // It may lie under another name: the walk will tell.
            Some((_, false)) => Ok(Verdict::Nothing),
            Some((source, true)) => {
                self.becomes(source, found)?;
                self.enqueue(source);
                Ok(Verdict::Nothing)
            }
        }
    }

    fn candidates(&self) -> Vec<Candidate> {
        let ended = self.ended.values().filter(|ended| ended.place.packed.is_none()).map(|ended| Candidate {
            source: ended.source,
            head: ended.place.head,
            position: ended.place.size,
            marker: ended.place.marker,
        });
        let open = self.generations.values().filter_map(Generation::as_candidate);
        ended.chain(open).filter(|candidate| candidate.head.length > 0).collect()
    }

    /// The file is that source's.
    fn take_for(&mut self, found: &Found, recognised: Recognised) -> Result<Verdict, Stopped> {
        let Recognised { source, more } = recognised;
        if let Some(generation) = self.generations.get_mut(&source) {
            if generation.is_open() {
                // It is read to its end where it is open.
                self.twins.insert(found.identity, (source, found.clone()));
            } else {
                // Its file is gone: it goes on in the copy.
                self.becomes(source, found)?;
                self.enqueue(source);
            }
            return Ok(Verdict::Nothing);
        }
        let known =
            self.ended.iter().find(|(_, ended)| ended.source == source).map(|(identity, _)| *identity);
        let Some(ended) = known.and_then(|identity| self.ended.remove(&identity)) else {
            // It was forgotten meanwhile: looked at again.
            return Ok(Verdict::Nothing);
        };
        let place = FilePlace {
            at: found.path.clone(),
            identity: found.identity,
            packed: Some(found.size),
            ..ended.place
        };
        if more {
            self.context.shared.tell(Reading::Forgotten(vec![source]))?;
            let mut entry = self.new_entry(found, true);
            (entry.continues, entry.because) = (Some(source), Some("reopened".to_owned()));
            (entry.start, entry.position) = (place.size, place.size);
            entry.place = Place::File(place);
            return Ok(Verdict::Begin(Box::new(entry)));
        }
        self.context.shared.tell(Reading::Moved(source, place.at.clone(), place.identity, place.packed))?;
        let walk = self.walks;
        self.ended.insert(found.identity, Ended { source, place, walk, missing: None });
        Ok(Verdict::Nothing)
    }

    /// A source's file is its compressed copy from now on.
    pub(super) fn becomes(&mut self, source: SourceId, copy: &Found) -> Result<(), Stopped> {
        let walk = self.walks;
        let Some(generation) = self.generations.get_mut(&source) else { return Ok(()) };
        let old = std::mem::replace(&mut generation.identity, copy.identity);
        generation.packed = Some(copy.size);
        (generation.walk, generation.missing) = (walk, None);
        generation.leave("rotated", walk);
        if self.by_identity.get(&old) == Some(&source) {
            self.by_identity.remove(&old);
        }
        self.by_identity.insert(copy.identity, source);
        self.moved(source, copy.path.clone())
    }

    /// The compressed copy of a source's file, if there is one.
    pub(super) fn take_twin(&mut self, source: SourceId) -> Option<Found> {
        let twin = self.twins.iter().find(|(_, (of, _))| *of == source).map(|(identity, _)| *identity)?;
        self.twins.remove(&twin).map(|(_, found)| found)
    }
}

/// Is it the name of a file that once had the other? As rotation has it: of the same folder, and beginning like it.
fn is_called_after(path: &Path, before: &Path) -> bool {
    let (Some(name), Some(stem)) = (path.file_name(), before.file_stem()) else { return false };
    let rest = name.as_encoded_bytes().strip_prefix(stem.as_encoded_bytes());
    path.parent() == before.parent()
        && rest.and_then(|rest| rest.first()).is_some_and(|next| !next.is_ascii_alphanumeric())
}

fn recognise_in_a_thread(file: &File, candidates: Vec<Candidate>) -> io::Result<Recognising> {
    // A handle of its own: the other's place in the file is shared with its copies.
    let file =
        File::open(Path::new("/proc/self/fd").join(std::os::fd::AsRawFd::as_raw_fd(file).to_string()))?;
    thread::Builder::new().name("recognise".to_owned()).spawn(move || recognise(file, candidates))
}

/// Which of them it is. Of several the one that was read furthest. Blocks.
fn recognise(file: File, mut candidates: Vec<Candidate>) -> io::Result<Option<Recognised>> {
    let mut content = Content::new(file, true);
    candidates.sort_by_key(|candidate| candidate.position);
    let mut found = None;
    for candidate in candidates {
        let mut head = vec![0; usize::from(candidate.head.length)];
        let mut marker = vec![0; usize::from(candidate.marker.length)];
        let from = candidate.position - marker.len() as u64;
        let read = content.read_exact_at(&mut head, 0).and_then(|()| {
            if Fingerprint::of(&head) == candidate.head {
                content.read_exact_at(&mut marker, from)
            } else {
                Ok(())
            }
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !is_cut_short(&content) => continue,
            read => read?,
        }
        if Fingerprint::of(&head) == candidate.head && Fingerprint::of(&marker) == candidate.marker {
            let more = content.read_at(&mut [0], candidate.position)? > 0;
            found = Some(Recognised { source: candidate.source, more });
        }
    }
    Ok(found)
}

/// Did it end where it may not?
fn is_cut_short(content: &Content) -> bool {
    !matches!(content, Content::Gzip(gzip) if gzip.is_ended())
}
