//! A stretch of bytes that is read as a whole: short ones go to the pool as they are, long ones get a zstd frame of
//! their own in the data.

use super::Sections;
use crate::{
    bytes::{Malformed, Reader, put_number},
    zstd_frame::{Compressor, MAX_LENGTH, decompress},
};
use std::borrow::Cow;

/// Shorter ones are better compressed together with their neighbours.
pub(super) const OWN_FRAME: usize = 512;
/// A frame may claim to hold this much, and `RATIO` for each of its bytes besides, so that a lie costs little memory.
const CLAIM: usize = 4 << 20;
const RATIO: usize = 1024;

/// Appends `bytes` where they belong, and their head.
pub(super) fn put_blob(bytes: &[u8], compressor: &mut Compressor, out: &mut Sections) {
    let mut head = |place: u64| put_number(&mut out.head, (bytes.len() as u64) << 2 | place);
    if bytes.len() < OWN_FRAME {
        head(0);
        out.pool.extend_from_slice(bytes);
    } else if let Some(frame) = worthwhile(bytes, compressor) {
        head(2);
        put_number(&mut out.head, frame.len() as u64);
        out.data.extend_from_slice(frame);
    } else {
        head(1);
        out.data.extend_from_slice(bytes);
    }
}

/// The frame of long bytes; `None` where it does not pay, and where zstd gives none: they are then stored as they are.
fn worthwhile<'c>(bytes: &[u8], compressor: &'c mut Compressor) -> Option<&'c [u8]> {
    let frame = compressor.compress(bytes).ok()?;
    (frame.len() < bytes.len() / 32 * 31 && bytes.len() <= claim(frame.len())).then_some(frame)
}

/// The most that a frame of `length` bytes may hold.
fn claim(length: usize) -> usize {
    CLAIM.saturating_add(length.saturating_mul(RATIO)).min(MAX_LENGTH)
}

/// Where a blob is and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlobHead {
    place: Place,
    length: usize,
    stored: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Pool,
    Data,
    Frame,
}

impl BlobHead {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let first = reader.number()?;
        let length = (first >> 2) as usize;
        let (place, stored) = match first & 3 {
            0 => (Place::Pool, length),
            1 => (Place::Data, length),
            2 => (Place::Frame, reader.at_most(u32::MAX as usize)?),
            _ => return Err(Malformed("a known place of bytes expected")),
        };
        if place == Place::Frame && length > claim(stored) {
            return Err(Malformed("a frame of likely length expected"));
        }
        Ok(Self { place, length, stored })
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn data_length(&self) -> usize {
        if self.place == Place::Pool { 0 } else { self.stored }
    }

    pub(super) fn pool_length(&self) -> usize {
        if self.place == Place::Pool { self.stored } else { 0 }
    }

    /// Takes the bytes from the front of `data` or `pool`.
    pub(super) fn open<'a>(
        &self,
        data: &mut Reader<'a>,
        pool: &mut Reader<'a>,
    ) -> Result<Cow<'a, [u8]>, Malformed> {
        match self.place {
            Place::Pool => pool.take(self.stored).map(Cow::Borrowed),
            Place::Data => data.take(self.stored).map(Cow::Borrowed),
            Place::Frame => decompress(data.take(self.stored)?, self.length).map(Cow::Owned),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn blobs_come_back_from_where_they_belong() {
        let mut compressor = Compressor::default();
        let mut noise = 1u64;
        let random: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 56) as u8
        })
        .take(600)
        .collect();
        for bytes in
            [Vec::new(), b"abc".to_vec(), vec![b'a'; 511], vec![b'a'; 9000], random, vec![0; 20 << 20]]
        {
            let mut out = Sections::default();
            put_blob(&bytes, &mut compressor, &mut out);
            let head = BlobHead::read(&mut Reader::new(&out.head)).unwrap();
            assert_eq!((head.data_length(), head.pool_length()), (out.data.len(), out.pool.len()));
            let read = head.open(&mut Reader::new(&out.data), &mut Reader::new(&out.pool)).unwrap();
            assert_eq!(*read, bytes);
        }
    }
}
