//! Reading a whole bundle to say whether it is what was sealed: its footer, each block, the hash over all of them. It
//! compares a bundle with what it says of itself; whether that is what the catalogue says is its caller's matter.
//!
//! **Invariant:** no byte of a verified bundle can differ from what was sealed, unless its footer was made anew to fit;
//! against that stands the hash that the catalogue knows. It holds a few blocks in memory, however long the bundle is.

use super::{BLOCK, Bundle, ByteRanges};
use crate::Error;
use millrace_model::{ShardMeta, fields::hex};
use sha2::{Digest, Sha256};
use std::{fmt, ops::Range, path::Path, sync::Arc};

/// How much is read at once.
const STRIDE: usize = 32 * BLOCK;
/// How many faults of one bundle are told one by one.
const TOLD: usize = 16;

/// What a bundle was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What it says of itself.
    pub meta: ShardMeta,
    /// What is wrong with it; nothing: it is as it was sealed.
    pub faults: Vec<BundleFault>,
    /// How many faults there are besides, which are of the same kinds.
    pub more: u64,
}

/// Something wrong with a bundle that has a sound footer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleFault {
    /// Bytes were changed.
    #[error("bytes {} to {} do not have their checksum ({})", .bytes.start, .bytes.end, Files(.files))]
    Block {
        /// Which.
        bytes: Range<u64>,
        /// The files inside the bundle that they belong to.
        files: Vec<String>,
    },
    /// The content as a whole is not that of the footer.
    #[error("its content has the SHA-256 {found}, its footer says {expected}")]
    Hash {
        /// The footer's.
        expected: String,
        /// The content's.
        found: String,
    },
}

struct Files<'a>(&'a [String]);

impl fmt::Display for Files<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("of no file"),
            files => write!(f, "of {}", files.join(", ")),
        }
    }
}

/// Reads a whole bundle from a local file and says what is wrong with its content. Blocking, for an OS thread.
///
/// # Errors
/// As [`verify_from`].
pub fn verify(path: &Path) -> Result<Verified, Error> {
    Bundle::open(path)?.verify()
}

/// As [`verify`], of a bundle that is no local file. Errors name it by `name`.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Version`] where the footer cannot be read, so that nothing is known of the rest; what
/// the source says.
pub fn verify_from(name: &Path, source: Arc<dyn ByteRanges>) -> Result<Verified, Error> {
    Bundle::of(name, source)?.verify()
}

impl Bundle {
    fn verify(&self) -> Result<Verified, Error> {
        let mut digest = Sha256::new();
        let mut verified = Verified { meta: self.meta.clone(), faults: Vec::new(), more: 0 };
        let mut checksums = self.checksums.as_chunks::<4>().0.iter();
        let mut at = 0;
        while at < self.body {
            let to = (at + STRIDE as u64).min(self.body);
            let bytes = self.source.read(at..to).map_err(Error::io(&self.path, "reading"))?;
            digest.update(&bytes);
            for block in bytes.chunks(BLOCK) {
                let end = at + block.len() as u64;
                if checksums.next().is_none_or(|sum| crc32c::crc32c(block) != u32::from_be_bytes(*sum)) {
                    verified.add(BundleFault::Block { bytes: at..end, files: self.files_in(&(at..end)) });
                }
                at = end;
            }
            at = to;
        }
        let found = hex(&digest.finalize());
        // A block that does not fit tells more.
        if verified.faults.is_empty() && found != self.meta.sha256 {
            verified.add(BundleFault::Hash { expected: self.meta.sha256.clone(), found });
        }
        Ok(verified)
    }

    /// The files that have bytes in a range.
    fn files_in(&self, bytes: &Range<u64>) -> Vec<String> {
        self.places()
            .filter(|(_, place)| place.start < bytes.end && bytes.start < place.end)
            .map(|(name, _)| name.to_owned())
            .collect()
    }
}

impl Verified {
    fn add(&mut self, fault: BundleFault) {
        if self.faults.len() < TOLD {
            self.faults.push(fault);
        } else {
            self.more += 1;
        }
    }
}
