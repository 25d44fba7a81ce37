//! One block of a segment file: a checksummed header and zstd-compressed messages. Pure: bytes in, bytes out.
//!
//! Format 1, little endian:
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 4 | `MRB1`: magic and version |
//! | 4 | 4 | CRC-32C of bytes 8 to 44 |
//! | 8 | 4 | length of the payload that follows the header |
//! | 12 | 4 | CRC-32C of the payload |
//! | 16 | 4 | length of the payload, decompressed |
//! | 20 | 4 | how many messages |
//! | 24 | 8 | offset of the first; the others follow it one by one |
//! | 32 | 8 | latest timestamp, milliseconds |
//! | 40 | 4 | compression: 1 = zstd |
//!
//! A message, decompressed: LEB128 milliseconds before the latest timestamp; key; LEB128 number of headers; for each its
//! name and value; value. Every text or byte string is its LEB128 length and its bytes.

use crate::Message;
use bytes::{Buf, Bytes};
use millrace_model::{Partition, Timestamp, wire::Payload};

/// Length of the header.
pub(crate) const HEADER: usize = 44;
/// No block is larger than this, decompressed: what claims to be is damaged.
pub(crate) const LARGEST: usize = 64 << 20;
const MAGIC: &[u8; 4] = b"MRB1";
const ZSTD: u32 = 1;
const LEVEL: i32 = 1;

/// What a block says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Of the payload, as it lies in the file.
    pub(crate) length: u32,
    crc32c: u32,
    decompressed: u32,
    pub(crate) count: u32,
    pub(crate) first: i64,
    pub(crate) newest_ms: i64,
}

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("the payload's checksum is wrong")]
    Checksum,
    #[error("the payload does not decompress to the length it claims")]
    Compression,
    #[error("the payload does not hold the messages it claims")]
    Messages,
}

impl Header {
    /// Reads a header; `None` unless it is whole and sound.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        let (magic, mut rest) = bytes.split_at(4);
        let crc = rest.get_u32_le();
        if magic != MAGIC || crc32c::crc32c(rest) != crc {
            return None;
        }
        let header = Self {
            length: rest.get_u32_le(),
            crc32c: rest.get_u32_le(),
            decompressed: rest.get_u32_le(),
            count: rest.get_u32_le(),
            first: rest.get_i64_le(),
            newest_ms: rest.get_i64_le(),
        };
        let sound = rest.get_u32_le() == ZSTD
            && header.decompressed as usize <= LARGEST
            && header.count > 0
            && header.first >= 0
            && header.first.checked_add(header.count.into()).is_some();
        sound.then_some(header)
    }

    fn write(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.crc32c.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.decompressed.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.count.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.newest_ms.to_le_bytes());
        bytes[40..].copy_from_slice(&ZSTD.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The offset after the last message.
    pub(crate) fn end(&self) -> i64 {
        self.first + i64::from(self.count)
    }

    /// How many bytes the payload claims to have, decompressed.
    pub(crate) fn decompressed(&self) -> usize {
        self.decompressed as usize
    }

    /// Header and payload together.
    pub(crate) fn total(&self) -> u64 {
        HEADER as u64 + u64::from(self.length)
    }

    /// Is the payload what was written?
    pub(crate) fn holds(&self, payload: &[u8]) -> bool {
        payload.len() == self.length as usize && crc32c::crc32c(payload) == self.crc32c
    }
}

/// Where the start of a header may be in `bytes`: the first place that looks like the magic.
pub(crate) fn find_magic(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MAGIC.len()).position(|window| window == MAGIC)
}

/// Makes a block of `messages`, all taken by the topic at `now`; the first has the offset `first`. Not empty, and below
/// [`LARGEST`] together.
pub(crate) fn encode<'a>(
    first: i64,
    now: Timestamp,
    messages: impl Iterator<Item = &'a Payload>,
) -> std::io::Result<(Header, Vec<u8>)> {
    let mut plain = Vec::with_capacity(64 << 10);
    let mut count = 0;
    for message in messages {
        write_number(&mut plain, 0);
        write_bytes(&mut plain, &message.key);
        write_number(&mut plain, message.headers.len() as u64);
        for (name, value) in &message.headers {
            write_bytes(&mut plain, name.as_bytes());
            write_bytes(&mut plain, value);
        }
        write_bytes(&mut plain, &message.value);
        count += 1;
    }
    let payload = zstd::bulk::compress(&plain, LEVEL)?;
    let header = Header {
        length: payload.len() as u32,
        crc32c: crc32c::crc32c(&payload),
        decompressed: plain.len() as u32,
        count,
        first,
        newest_ms: now.as_millis(),
    };
    let mut block = Vec::with_capacity(HEADER + payload.len());
    block.extend_from_slice(&header.write());
    block.extend_from_slice(&payload);
    Ok((header, block))
}

/// Reads the messages of a block.
pub(crate) fn decode(header: &Header, payload: &[u8], partition: Partition) -> Result<Vec<Message>, Damage> {
    if !header.holds(payload) {
        return Err(Damage::Checksum);
    }
    let plain =
        zstd::bulk::decompress(payload, header.decompressed as usize).map_err(|_| Damage::Compression)?;
    if plain.len() != header.decompressed as usize {
        return Err(Damage::Compression);
    }
    let mut plain = Bytes::from(plain);
    // No message takes fewer than 4 bytes: a false count reserves no memory.
    let mut messages = Vec::with_capacity((header.count as usize).min(plain.len() / 4));
    for offset in header.first..header.end() {
        messages.push(read_message(&mut plain, header, partition, offset).ok_or(Damage::Messages)?);
    }
    if plain.is_empty() { Ok(messages) } else { Err(Damage::Messages) }
}

fn read_message(plain: &mut Bytes, header: &Header, partition: Partition, offset: i64) -> Option<Message> {
    let age = i64::try_from(read_number(plain)?).ok()?;
    let timestamp = Timestamp::from_millis(header.newest_ms.saturating_sub(age));
    let key = read_bytes(plain)?;
    let names = read_number(plain)?;
    let mut headers = Vec::new();
    for _ in 0..names {
        let name = String::from_utf8(read_bytes(plain)?.into()).ok()?;
        headers.push((name, read_bytes(plain)?));
    }
    let value = read_bytes(plain)?;
    Some(Message { partition, offset, timestamp, key, headers, value })
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn read_number(bytes: &mut Bytes) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn read_bytes(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(read_number(bytes)?).ok()?;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

#[cfg(test)]
mod tests;
