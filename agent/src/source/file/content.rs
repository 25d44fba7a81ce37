//! The bytes of a file: as they lie on disk, or decompressed. Positions are of what is read, not of what lies there.

use super::{Fingerprint, HEAD, MARKER};
use flate2::read::MultiGzDecoder;
use rustix::fs::{SeekFrom, seek};
use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// What a compressed file's name ends in.
const SUFFIX: &str = ".gz";
/// What it begins with.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
const BUFFER: usize = 64 << 10;

/// An open file.
#[derive(Debug)]
pub(crate) enum Content {
    Plain(File),
    Gzip(Box<Gzip>),
}

impl Content {
    /// `packed`: it is decompressed.
    pub(crate) fn new(file: File, packed: bool) -> Self {
        if packed { Self::Gzip(Box::new(Gzip::new(file))) } else { Self::Plain(file) }
    }

    pub(super) fn file(&self) -> &File {
        match self {
            Self::Plain(file) => file,
            Self::Gzip(gzip) => &gzip.file,
        }
    }

    /// As [`FileExt::read_at`]. Of a compressed file all before the position may have to be read again. Blocks.
    pub(super) fn read_at(&mut self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read_at(buffer, position),
            Self::Gzip(gzip) => gzip.read_at(buffer, position),
        }
    }

    /// As [`FileExt::read_exact_at`].
    pub(crate) fn read_exact_at(&mut self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.read_exact_at(buffer, position),
            Self::Gzip(gzip) => {
                let mut read = 0;
                while read < buffer.len() {
                    match gzip.read_at(&mut buffer[read..], position + read as u64)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        more => read += more,
                    }
                }
                Ok(())
            }
        }
    }

    /// How it begins, as far as that is there; nothing, if it cannot be read.
    pub(crate) fn head(&mut self) -> Fingerprint {
        let mut head = [0; HEAD];
        let read = self.read_at(&mut head, 0).unwrap_or(0);
        Fingerprint::of(&head[..read])
    }

    /// Where the next byte lies that was ever written, at or after the position; the end of the file if there is none, the position
    /// itself where the file system does not tell.
    pub(super) fn next_data(&self, position: u64, size: u64) -> u64 {
        match self {
            Self::Gzip(_) => position,
            Self::Plain(file) => match seek(file, SeekFrom::Data(position)) {
                Ok(data) => data.min(size),
                Err(rustix::io::Errno::NXIO) => size,
                Err(_) => position,
            },
        }
    }
}

/// The file that this one is made of by compressing it, if its name says that it is compressed.
fn unpacked_name(path: &Path) -> Option<PathBuf> {
    path.to_str()?.strip_suffix(SUFFIX).map(PathBuf::from)
}

/// Is it compressed, by its name and by how it begins? `None`: it cannot be told yet, or its original is still there, and counts.
pub(crate) fn is_packed(path: &Path, file: &File) -> io::Result<Option<bool>> {
    let Some(original) = unpacked_name(path) else { return Ok(Some(false)) };
    let mut magic = [0; 2];
    if fs::symlink_metadata(original).is_ok() || file.read_at(&mut magic, 0)? < magic.len() {
        return Ok(None);
    }
    Ok(Some(magic == MAGIC))
}

/// A compressed file, of which all members are read.
#[derive(Debug)]
pub(crate) struct Gzip {
    file: File,
    /// `None`: at the beginning. It reads as soon as it is made, so it is made when something is asked for.
    decoder: Option<MultiGzDecoder<BufReader<File>>>,
    /// The last bytes that were read, as many as may be asked for again.
    recent: Vec<u8>,
    /// Where they end.
    position: u64,
    /// The end of the compressed file was reached, in good order.
    ended: bool,
}

impl Gzip {
    fn new(file: File) -> Self {
        Self { file, decoder: None, recent: Vec::new(), position: 0, ended: false }
    }

    /// Was all of it read?
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    fn read_at(&mut self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if position < self.position - self.recent.len() as u64 {
            self.begin_anew();
        }
        let mut passed = vec![0; if position > self.position { BUFFER } else { 0 }];
        while position > self.position {
            let length = usize::try_from(position - self.position).unwrap_or(BUFFER).min(BUFFER);
            if self.read(&mut passed[..length])? == 0 {
                return Ok(0);
            }
        }
        let old = (self.position - position) as usize;
        let from = self.recent.len() - old;
        let old = old.min(buffer.len());
        buffer[..old].copy_from_slice(&self.recent[from..from + old]);
        if old == buffer.len() { Ok(old) } else { Ok(old + self.read(&mut buffer[old..])?) }
    }

    fn begin_anew(&mut self) {
        self.decoder = None;
        (self.position, self.ended) = (0, false);
        self.recent.clear();
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            None => self.decoder.insert(decoder(&self.file)?),
        };
        let read = match decoder.read(buffer) {
            Ok(read) => read,
            Err(error) => {
                // Of a file that is still being written the rest may come: then all is read again.
                self.begin_anew();
                return Err(error);
            }
        };
        self.ended = read == 0 && !buffer.is_empty();
        if self.ended && self.file.metadata()?.len() == 0 {
            // It is about to be written anew.
            self.begin_anew();
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += read as u64;
        let new = &buffer[..read];
        let keep = MARKER.saturating_sub(read).min(self.recent.len());
        self.recent.drain(..self.recent.len() - keep);
        self.recent.extend_from_slice(&new[read.saturating_sub(MARKER)..]);
        Ok(read)
    }
}

fn decoder(file: &File) -> io::Result<MultiGzDecoder<BufReader<File>>> {
    let mut file = file.try_clone()?;
    file.rewind()?;
    Ok(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn member(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn all_members_are_read_from_any_position() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log.gz");
        let text: Vec<u8> = (0..40_000_u32).flat_map(|number| format!("{number}\n").into_bytes()).collect();
        let (first, second) = text.split_at(70_001);
        fs::write(&path, [member(first), member(second)].concat()).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(is_packed(&path, &file).unwrap(), Some(true));
        assert_eq!(unpacked_name(&path), Some(folder.path().join("x.log")));
        fs::write(folder.path().join("x.log"), "").unwrap();
        assert_eq!(is_packed(&path, &file).unwrap(), None, "its original is there");
        let mut content = Content::new(file, true);
        // Forwards, a little back, far back, and to the end.
        for position in [0, 1, 69_990, 69_800, 150_000, 5, text.len() - 3] {
            let mut buffer = vec![0; 300.min(text.len() - position)];
            content.read_exact_at(&mut buffer, position as u64).unwrap();
            assert_eq!(buffer, text[position..position + buffer.len()], "{position}");
        }
        let mut buffer = [0; 10];
        assert_eq!(content.read_at(&mut buffer, text.len() as u64).unwrap(), 0);
        assert!(matches!(&content, Content::Gzip(gzip) if gzip.is_ended()));
        assert_eq!(content.read_at(&mut buffer, text.len() as u64 + 5).unwrap(), 0);
    }

    #[test]
    fn a_compressed_file_that_is_cut_short_is_an_error_and_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gz");
        let whole = member(&[b'x'; 5000]);
        fs::write(&path, &whole[..whole.len() - 4]).unwrap();
        let mut content = Content::new(File::open(&path).unwrap(), true);
        let mut buffer = [0; 6000];
        assert!(content.read_exact_at(&mut buffer, 0).is_err());
        assert!(matches!(&content, Content::Gzip(gzip) if !gzip.is_ended()));
    }

    #[test]
    fn what_was_never_written_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let file = File::create(&path).unwrap();
        file.write_at(b"x", 1 << 30).unwrap();
        let content = Content::new(File::open(&path).unwrap(), false);
        let data = content.next_data(0, (1 << 30) + 1);
        assert!(data == 0 || (1 << 30) - data < 1 << 16, "{data}");
        assert_eq!(content.next_data((1 << 30) + 1, (1 << 30) + 1), (1 << 30) + 1);
    }
}
