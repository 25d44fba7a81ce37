//! Messages on their way to another host. Pure: bytes in, bytes out.
//!
//! Version 1, little endian; parts one after the other, each of messages of one partition:
//!
//! | bytes | content |
//! |---|---|
//! | 4 | the partition |
//! | 4 | length of the block |
//! | … | a [`block`], whose offsets count from 0 and whose timestamps mean nothing |
//!
//! So a parcel is compressed and has checksums.

use crate::{
    Message,
    embedded::block::{self, Header},
};
use bytes::{Buf, Bytes};
use millrace_model::{Partition, Timestamp, wire::Payload};
use std::io;

/// What it is called in a request.
pub(super) const CONTENT_TYPE: &str = "application/vnd.millrace.messages; version=1";

/// What is wrong with a parcel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("it ends within a part")]
    Torn,
    #[error("a part of it is no block of messages")]
    Header,
    #[error("it has more than {most} bytes, unpacked")]
    TooLarge { most: usize },
    #[error("a part of it is damaged: {0}")]
    Block(#[from] block::Damage),
}

/// Packs messages; those of a partition, which keep their order, come together. The numbers say at which place of the parcel each
/// of them lies.
pub(super) fn pack(messages: &[(Partition, Payload)]) -> io::Result<(Vec<u8>, Vec<usize>)> {
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_by_key(|at| messages[*at].0);
    let mut places = vec![0; messages.len()];
    for (place, at) in order.iter().enumerate() {
        places[*at] = place;
    }
    let mut parcel = Vec::new();
    for part in order.chunk_by(|a, b| messages[*a].0 == messages[*b].0) {
        let payloads = part.iter().map(|at| &messages[*at].1);
        let (_, block) = block::encode(0, Timestamp::default(), payloads)?;
        parcel.extend_from_slice(&messages[part[0]].0.0.to_le_bytes());
        parcel.extend_from_slice(&(block.len() as u32).to_le_bytes());
        parcel.extend_from_slice(&block);
    }
    Ok((parcel, places))
}

/// The messages of a parcel that has `most` bytes at most once it is unpacked.
pub(super) fn unpack(mut parcel: Bytes, most: usize) -> Result<Vec<Message>, Damage> {
    let (mut messages, mut left) = (Vec::new(), most);
    while !parcel.is_empty() {
        if parcel.len() < 8 {
            return Err(Damage::Torn);
        }
        let partition = Partition(parcel.get_i32_le());
        let length = parcel.get_u32_le() as usize;
        if length > parcel.len() {
            return Err(Damage::Torn);
        }
        let mut block = parcel.split_to(length);
        let header = Header::read(&block).ok_or(Damage::Header)?;
        left = left.checked_sub(header.decompressed()).ok_or(Damage::TooLarge { most })?;
        block.advance(block::HEADER);
        messages.extend(block::decode(&header, &block, partition)?);
    }
    Ok(messages)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload() -> impl Strategy<Value = Payload> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let headers = prop::collection::vec((".{0,8}", bytes()), 0..3);
        (bytes(), headers, bytes()).prop_map(|(key, headers, value)| Payload { key, headers, value })
    }

    fn messages() -> impl Strategy<Value = Vec<(Partition, Payload)>> {
        prop::collection::vec((0..5_i32, payload()), 0..20).prop_map(|all| {
            all.into_iter().map(|(partition, payload)| (Partition(partition), payload)).collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(messages in messages()) {
            let (parcel, places) = pack(&messages).unwrap();
            let unpacked = unpack(parcel.into(), 1 << 20).unwrap();
            prop_assert_eq!(unpacked.len(), messages.len());
            for ((partition, payload), place) in messages.iter().zip(&places) {
                let found = &unpacked[*place];
                prop_assert_eq!(found.partition, *partition);
                prop_assert_eq!((&found.key, &found.headers, &found.value), (&payload.key, &payload.headers, &payload.value));
            }
            // Of a partition, in order.
            for (a, b) in (0..messages.len()).zip(1..messages.len()) {
                prop_assert!(messages[a].0 != messages[b].0 || places[a] < places[b]);
            }
        }

        #[test]
        fn what_is_damaged_is_refused(messages in messages(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
            let (mut parcel, _) = pack(&messages).unwrap();
            prop_assume!(!parcel.is_empty());
            let at = at.index(parcel.len());
            prop_assert_eq!(unpack(Bytes::copy_from_slice(&parcel[..at]), 1 << 20).is_ok(), at == 0 || is_a_boundary(&parcel, at));
            parcel[at] ^= flip;
            // The partition's number is all that no checksum covers.
            let covered = !starts(&pack(&messages).unwrap().0).any(|start| (start..start + 4).contains(&at));
            prop_assert!(unpack(parcel.into(), 1 << 20).is_err() || !covered);
        }

        #[test]
        fn any_bytes_are_a_parcel_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(unpack(bytes.into(), 1 << 20));
        }
    }

    fn starts(parcel: &[u8]) -> impl Iterator<Item = usize> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let length = parcel.get(at + 4..at + 8)?;
            let start = at;
            at += 8 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
            Some(start)
        })
    }

    fn is_a_boundary(parcel: &[u8], at: usize) -> bool {
        starts(parcel).any(|start| start == at)
    }

    #[test]
    fn a_parcel_that_claims_too_much_is_not_unpacked() {
        let large = Payload { key: Bytes::new(), headers: Vec::new(), value: vec![0; 1000].into() };
        let (parcel, _) = pack(&[(Partition(0), large.clone()), (Partition(1), large)]).unwrap();
        assert!(unpack(parcel.clone().into(), 2100).is_ok());
        assert_eq!(unpack(parcel.into(), 1500), Err(Damage::TooLarge { most: 1500 }));
    }
}
