//! `min_free`: how much room a disk must keep. Whoever has this setting stops writing before the disk is full, so that what
//! frees room, and what else lies on that disk, still can.

use crate::{ByteSize, Section};
use std::{fmt, io, path::Path};

/// What is kept free unless it is said: this, or a twentieth of a small disk.
const DEFAULT: u64 = 1 << 30;
const DEFAULT_PART: u64 = 20;
/// How much more must be free before writing goes on: a tenth, and at most this.
const MORE_AT_MOST: u64 = 64 << 20;

/// The setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MinFree(Option<u64>);

impl MinFree {
    /// Nothing need be free.
    pub const NOTHING: Self = Self(Some(0));

    /// So many bytes.
    pub fn bytes(bytes: u64) -> Self {
        Self(Some(bytes))
    }

    /// Reads `min_free`.
    pub fn read(section: &mut Section<'_>) -> Self {
        Self(section.optional::<ByteSize>("min_free").map(|bytes| bytes.0))
    }

    /// How many bytes of a disk of that size.
    pub fn of(self, total: u64) -> u64 {
        self.0.unwrap_or_else(|| DEFAULT.min(total / DEFAULT_PART))
    }
}

/// A disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What this user may still write.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

impl Space {
    /// Of the disk that a folder or file lies on. Blocks, for moments.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
    }
}

/// There is less room than there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// What is free, in bytes.
    pub free: u64,
    /// What should be.
    pub wanted: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        write!(
            f,
            "the disk has {} MiB free, and should have {} MiB (min_free)",
            mib(self.free),
            mib(self.wanted)
        )
    }
}

/// Tells whether a disk has room, each time it is looked at. Where it had none, there must be somewhat more before it counts
/// as having room again: it does not go back and forth with every file.
#[derive(Debug, Clone)]
pub struct Watermark {
    min_free: MinFree,
    short: bool,
}

impl Watermark {
    /// There was room until now.
    pub fn new(min_free: MinFree) -> Self {
        Self { min_free, short: false }
    }

    /// The disk is like this now.
    pub fn look(&mut self, Space { free, total }: Space) -> Result<(), Shortage> {
        let least = self.min_free.of(total);
        let wanted = if self.short { least.saturating_add((least / 10).min(MORE_AT_MOST)) } else { least };
        self.short = free < wanted;
        if self.short { Err(Shortage { free, wanted }) } else { Ok(()) }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_small_disk_keeps_a_part_and_a_large_one_a_gibibyte() {
        assert_eq!(MinFree::default().of(10_000 * MIB), 500 * MIB);
        assert_eq!(MinFree::default().of(1_000_000 * MIB), 1024 * MIB);
        assert_eq!(MinFree::bytes(7).of(1_000_000 * MIB), 7);
    }

    #[test]
    fn what_was_full_needs_somewhat_more_to_count_as_having_room() {
        let mut watermark = Watermark::new(MinFree::bytes(100 * MIB));
        let mut look = |free: u64| watermark.look(Space { free: free * MIB, total: 1000 * MIB }).is_ok();
        assert!(look(100));
        assert!(!look(99));
        assert!(!look(100) && !look(109));
        assert!(look(110) && look(100));
        let mut large = Watermark::new(MinFree::bytes(10_000 * MIB));
        let mut look = |free: u64| large.look(Space { free: free * MIB, total: 100_000 * MIB });
        assert_eq!(look(9_999).unwrap_err().wanted, 10_000 * MIB);
        assert_eq!(look(10_063).unwrap_err().wanted, 10_064 * MIB);
        assert!(look(10_064).is_ok());
        let mut none = Watermark::new(MinFree::NOTHING);
        assert!(none.look(Space { free: 0, total: 0 }).is_ok());
        assert!(Watermark::new(MinFree::bytes(u64::MAX)).look(Space { free: MIB, total: MIB }).is_err());
    }

    #[test]
    fn a_disk_has_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::of(folder.path()).unwrap();
        assert!(space.free <= space.total && space.total > 0, "{space:?}");
        assert!(Space::of(&folder.path().join("nowhere")).is_err());
    }
}
