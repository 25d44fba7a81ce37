//! Opening a spool's folder, after whatever has happened to it: which segments there are, where the end is, and what of the last
//! segment is no whole frame.

use super::{
    Error, Segment,
    frame::{self, FoundHeader, SEGMENT, SegmentHeader},
    walk::{Step, Walker},
};
use millrace_model::SpoolId;
use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File, OpenOptions},
    io::Read,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// How it was when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The spool.
    pub id: SpoolId,
    /// There was none.
    pub new: bool,
    /// The name of its last file.
    pub last: String,
    /// Bytes at the end of that which were no whole frame, and are gone: torn by a crash, then nothing in them had been acknowledged; or
    /// damaged since.
    pub cut_bytes: u64,
    /// Files of which nothing could be known any more, and where they lie aside.
    pub put_aside: Vec<(PathBuf, PathBuf)>,
}

/// What is there.
pub(super) struct Found {
    pub(super) segments: VecDeque<Segment>,
    pub(super) end: u64,
}

/// The file's name for a base: 20 digits, so that names sort as numbers do.
pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}.spool")
}

fn base_of(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".spool")?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

pub(super) fn open(folder: &Path, floor: impl Fn(SpoolId) -> u64) -> Result<(Found, Opened), Error> {
    // What was pushed lies there as it came: it is nobody's but this user's to read.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(Error::at(folder, "make it"))?;
    let files = list(folder)?;
    let Some(id) = identify(&files)? else {
        return begin(folder, files);
    };
    let mut segments = VecDeque::with_capacity(files.len());
    for (base, path) in files {
        let committed = fs::metadata(&path).map_err(Error::at(&path, "read its size"))?.len();
        segments.push_back(Segment { base, path, committed });
    }
    let last = segments.back().map(|segment| file_name(segment.base)).unwrap_or_default();
    let mut opened = Opened { id, new: false, last, cut_bytes: 0, put_aside: Vec::new() };
    let mut end = floor(id);
    if let Some(last) = segments.back_mut() {
        let checked = check(last, id)?;
        end = end.max(checked.end);
        opened.cut_bytes = last.committed.saturating_sub(checked.sound);
        restore(last, id, checked.sound)?;
    }
    Ok((Found { segments, end }, opened))
}

fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::at(folder, "list it"))? {
        let path = entry.map_err(Error::at(folder, "list it"))?.path();
        if let Some(base) = base_of(&path) {
            files.push((base, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The id that most headers say; `None`: no header is sound. One file's damage, or one that was put here, changes nothing.
fn identify(files: &[(u64, PathBuf)]) -> Result<Option<SpoolId>, Error> {
    let mut said: Vec<(SpoolId, usize)> = Vec::new();
    for (_, path) in files {
        match SegmentHeader::read(&read_header(path)?) {
            FoundHeader::Sound(header) => match said.iter_mut().find(|(id, _)| *id == header.spool) {
                Some((_, times)) => *times += 1,
                None => said.push((header.spool, 1)),
            },
            FoundHeader::Newer => return Err(Error::Newer { path: path.clone() }),
            FoundHeader::Damaged => {}
        }
    }
    Ok(said.into_iter().max_by_key(|(_, times)| *times).map(|(id, _)| id))
}

/// Both copies, as they lie there.
fn read_header(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(SEGMENT);
    let read = File::open(path).and_then(|file| file.take(SEGMENT as u64).read_to_end(&mut bytes));
    read.map_err(Error::at(path, "read it"))?;
    Ok(bytes)
}

/// A new spool. What lies there under a segment's name and is none is put aside.
fn begin(folder: &Path, files: Vec<(u64, PathBuf)>) -> Result<(Found, Opened), Error> {
    let mut put_aside = Vec::new();
    for (_, path) in files {
        // One that has no byte, or only zero bytes, was being made when the machine died.
        let aside = path.with_extension("damaged");
        fs::rename(&path, &aside).map_err(Error::at(&path, "put it aside"))?;
        put_aside.push((path, aside));
    }
    let id = SpoolId::random();
    let (_, segment) = create(folder, id, 0)?;
    let opened = Opened { id, new: true, last: file_name(0), cut_bytes: 0, put_aside };
    Ok((Found { segments: VecDeque::from([segment]), end: 0 }, opened))
}

/// Makes an empty segment that survives a crash of the machine.
pub(super) fn create(folder: &Path, id: SpoolId, base: u64) -> Result<(File, Segment), Error> {
    let path = folder.join(file_name(base));
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(Error::at(&path, "create it"))?;
    let header = SegmentHeader { spool: id, base }.write();
    file.write_all_at(&header, 0)
        .and_then(|()| file.sync_all())
        .map_err(Error::at(&path, "write its header"))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::at(folder, "sync it"))?;
    Ok((file, Segment { base, path, committed: SEGMENT as u64 }))
}

/// What the last segment was found to hold.
struct Checked {
    /// Bytes up to the end of the last sound frame.
    sound: u64,
    /// The number after everything that sound frames speak of.
    end: u64,
}

fn check(segment: &Segment, id: SpoolId) -> Result<Checked, Error> {
    let file = File::open(&segment.path).map_err(Error::at(&segment.path, "open it"))?;
    let mut walker = Walker::new(file, frame::seed(id));
    let mut checked = Checked { sound: SEGMENT as u64, end: segment.base };
    loop {
        match walker.step(segment.committed).map_err(Error::at(&segment.path, "read it"))? {
            Step::Frame { header, payload: Some(_) } if header.number >= checked.end => {
                checked.end = header.end();
                checked.sound = walker.position();
            }
            Step::Frame { .. } | Step::Damaged => {}
            Step::End => return Ok(checked),
        }
    }
}

/// Cuts what is no whole frame off the end, and makes the header good again: it is what the next start knows the spool by.
fn restore(segment: &mut Segment, id: SpoolId, sound: u64) -> Result<(), Error> {
    let whole = SegmentHeader { spool: id, base: segment.base }.write();
    if segment.committed != sound || read_header(&segment.path)? != whole {
        let open = OpenOptions::new().write(true).open(&segment.path);
        let file = open.map_err(Error::at(&segment.path, "open it"))?;
        file.set_len(sound)
            .and_then(|()| file.write_all_at(&whole, 0))
            .and_then(|()| file.sync_all())
            .map_err(Error::at(&segment.path, "make it whole"))?;
        segment.committed = sound;
    }
    Ok(())
}
