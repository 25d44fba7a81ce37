//! The filters: for each stretch of neighbouring chunks one binary fuse filter over the keys of what stands in a single
//! chunk. A filter may say yes to what is not there, once in 256; never no to what is.

use crate::{
    bits::Bits,
    bytes::{Malformed, Reader, put_bytes, put_number},
};
use xorf::{BinaryFuse8, Descriptor, DmaSerializable, Filter};

/// A filter is closed when it has this many keys: small ones name fewer chunks for nothing, large ones take fewer bits.
const KEYS: usize = 512;

/// Collects keys, chunk after chunk.
pub(super) struct Writer {
    file: Vec<u8>,
    keys: Vec<u64>,
    chunks: u64,
}

impl Writer {
    pub(super) fn new(seed: u64) -> Self {
        Self { file: seed.to_le_bytes().to_vec(), keys: Vec::new(), chunks: 0 }
    }

    pub(super) fn add(&mut self, key: u64) {
        self.keys.push(key);
    }

    pub(super) fn end_chunk(&mut self) {
        self.chunks += 1;
        if self.keys.len() >= KEYS {
            self.end_filter();
        }
    }

    fn end_filter(&mut self) {
        self.keys.sort_unstable();
        self.keys.dedup();
        put_number(&mut self.file, self.chunks);
        let filter =
            if self.keys.is_empty() { None } else { BinaryFuse8::try_from(self.keys.as_slice()).ok() };
        match filter {
            _ if self.keys.is_empty() => self.file.push(0),
            Some(filter) => {
                let mut descriptor = [0; BinaryFuse8::DESCRIPTOR_LEN];
                filter.dma_copy_descriptor_to(&mut descriptor);
                self.file.push(1);
                self.file.extend(descriptor);
                put_bytes(&mut self.file, filter.dma_fingerprints());
            }
            // No filter could be made of the keys: all of these chunks may hold anything.
            None => self.file.push(2),
        }
        self.keys.clear();
        self.chunks = 0;
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.chunks > 0 {
            self.end_filter();
        }
        self.file
    }
}

#[derive(Debug)]
enum Kind {
    Nothing,
    Some(BinaryFuse8),
    Anything,
}

/// All filters of a shard, in memory: about one byte a key.
#[derive(Debug)]
pub(crate) struct Filters {
    pub(super) seed: u64,
    /// With the first chunk after each.
    filters: Vec<(u32, Kind)>,
}

impl Filters {
    /// Reads what [`Writer::finish`] gave, for so many chunks.
    pub(super) fn read(file: &[u8], chunks: u32) -> Result<Self, Malformed> {
        let mut reader = Reader::new(file);
        let seed = reader.take(8)?.try_into().map_err(|_| Malformed("eight bytes expected"))?;
        let (mut filters, mut end) = (Vec::new(), 0u64);
        while !reader.is_empty() {
            end = end.saturating_add(reader.number()?);
            let kind = match reader.byte()? {
                0 => Kind::Nothing,
                1 => Kind::Some(read_filter(&mut reader)?),
                2 => Kind::Anything,
                _ => return Err(Malformed("a kind of filter expected")),
            };
            filters.push((u32::try_from(end).map_err(|_| Malformed("fewer chunks expected"))?, kind));
        }
        if end == u64::from(chunks) {
            Ok(Self { seed: u64::from_le_bytes(seed), filters })
        } else {
            Err(Malformed("filters for all chunks expected"))
        }
    }

    /// Adds the chunks that may hold a key.
    pub(super) fn look_up(&self, key: u64, into: &mut Bits) {
        let mut start = 0;
        for (end, kind) in &self.filters {
            let may = match kind {
                Kind::Nothing => false,
                Kind::Some(filter) => filter.contains(&key),
                Kind::Anything => true,
            };
            if may {
                into.insert_range(start..*end);
            }
            start = *end;
        }
    }
}

/// Reads a filter, and sees to it that no key can point outside of its fingerprints.
fn read_filter(reader: &mut Reader<'_>) -> Result<BinaryFuse8, Malformed> {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let seed = number(reader.take(8)?);
    let [segment_length, segment_length_mask, segment_count_length] =
        [number(reader.take(4)?) as u32, number(reader.take(4)?) as u32, number(reader.take(4)?) as u32];
    let fingerprints = reader.bytes()?;
    let whole = u64::from(segment_count_length) + 2 * u64::from(segment_length);
    let sound = segment_length.is_power_of_two()
        && segment_length_mask == segment_length - 1
        && segment_count_length.is_multiple_of(segment_length)
        && fingerprints.len() as u64 == whole;
    if !sound {
        return Err(Malformed("a filter as long as it says expected"));
    }
    let descriptor = Descriptor { seed, segment_length, segment_length_mask, segment_count_length };
    Ok(BinaryFuse8 { descriptor, fingerprints: fingerprints.into() })
}
