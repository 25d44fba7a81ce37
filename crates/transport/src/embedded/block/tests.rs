#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::{collection::vec, prelude::*};

fn payloads() -> impl Strategy<Value = Vec<Payload>> {
    let bytes = || vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let header = || ("[a-z.é]{0,20}", bytes());
    let payload = (bytes(), vec(header(), 0..4), bytes());
    vec(payload.prop_map(|(key, headers, value)| Payload { key, headers, value }), 1..20)
}

fn split(block: &[u8]) -> (Header, &[u8]) {
    (Header::read(block).unwrap(), &block[HEADER..])
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(payloads in payloads(), first in 0..i64::MAX / 2, millis in -1_000_000_i64..1 << 42) {
        let now = Timestamp::from_millis(millis);
        let (header, block) = encode(first, now, payloads.iter()).unwrap();
        prop_assert_eq!(split(&block).0, header);
        prop_assert_eq!(block.len() as u64, header.total());
        let messages = decode(&header, &block[HEADER..], Partition(3)).unwrap();
        prop_assert_eq!(messages.len(), payloads.len());
        for ((offset, message), sent) in (first..).zip(messages).zip(payloads) {
            prop_assert_eq!(message.offset, offset);
            prop_assert_eq!(message.partition, Partition(3));
            prop_assert_eq!(message.timestamp, now);
            prop_assert_eq!(Payload { key: message.key, headers: message.headers, value: message.value }, sent);
        }
    }

    /// Whatever lies in a file, reading it gives messages or an error.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(Header::read(&bytes).is_none(), "two checksums by chance");
        prop_assert!(find_magic(&bytes).is_none_or(|at| bytes[at..].starts_with(MAGIC)));
    }

    /// The same behind a header whose checksums are right: the decoder stands by itself.
    #[test]
    fn arbitrary_content_never_panics(plain in vec(any::<u8>(), 0..400), count in 1..u32::MAX, claimed in 0..LARGEST as u32, honest: bool) {
        let payload = zstd::bulk::compress(&plain, 1).unwrap();
        let header = Header {
            length: payload.len() as u32,
            crc32c: crc32c::crc32c(&payload),
            decompressed: if honest { plain.len() as u32 } else { claimed },
            count,
            first: 0,
            newest_ms: 0,
        };
        prop_assert_eq!(Header::read(&header.write()), Some(header));
        if let Ok(messages) = decode(&header, &payload, Partition(0)) {
            prop_assert_eq!(messages.len(), count as usize);
        }
    }

    /// One flipped bit is always seen.
    #[test]
    fn a_flipped_bit_is_seen(payloads in payloads(), at: prop::sample::Index, bit in 0..8) {
        let (header, mut block) = encode(7, Timestamp(0), payloads.iter()).unwrap();
        let at = at.index(block.len());
        block[at] ^= 1_u8 << bit;
        match Header::read(&block) {
            None => prop_assert!(at < HEADER),
            Some(found) => {
                prop_assert_eq!(found, header);
                prop_assert_eq!(decode(&found, &block[HEADER..], Partition(0)), Err(Damage::Checksum));
            }
        }
    }
}

#[test]
fn a_header_that_claims_the_impossible_is_none() {
    let sound = Header { length: 1, crc32c: 0, decompressed: 1, count: 1, first: 0, newest_ms: 0 };
    assert_eq!(Header::read(&sound.write()), Some(sound));
    assert_eq!(Header::read(&sound.write()[..HEADER - 1]), None);
    let wrong = [
        Header { count: 0, ..sound },
        Header { first: -1, ..sound },
        Header { first: i64::MAX, ..sound },
        Header { decompressed: LARGEST as u32 + 1, ..sound },
    ];
    for header in wrong {
        assert_eq!(Header::read(&header.write()), None, "{header:?}");
    }
}

#[test]
fn a_block_of_another_version_is_not_read_as_this_one() {
    let (_, mut block) = encode(0, Timestamp(0), std::iter::once(&Payload::default())).unwrap();
    assert!(Header::read(&block).is_some());
    block[3] = b'2';
    assert!(Header::read(&block).is_none());
}

/// Written by the first release; never to be made again.
#[test]
fn format_1_is_still_read() {
    let block = include_bytes!("../../../tests/fixtures/block-1.bin");
    let (header, payload) = split(block);
    let messages = decode(&header, payload, Partition(0)).unwrap();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].offset, 41);
    assert_eq!(messages[0].timestamp, Timestamp::from_millis(1_732_388_400_123));
    assert_eq!(messages[0].key, "host");
    assert_eq!(messages[0].headers, [("name".to_owned(), Bytes::from_static(b"\x00\xff"))]);
    assert_eq!(messages[0].value, "a line");
    assert_eq!((messages[1].offset, messages[1].value.len()), (42, 100));
}
