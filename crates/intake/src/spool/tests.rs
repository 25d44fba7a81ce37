#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;
use std::{fs::File, io::Read, ops::Range, os::unix::fs::PermissionsExt, sync::mpsc};

const SMALL: Bounds = Bounds { bytes: 1 << 20, overflow: Overflow::Refuse };

fn open(folder: &Path, bounds: Bounds) -> (Spool, Opened) {
    Spool::open(folder, bounds, |_| 0).unwrap()
}

/// Appends, and waits until it is acknowledged or refused.
fn append(handle: &Handle, payloads: &[Vec<u8>]) -> Result<(), Refused> {
    let (tell, told) = mpsc::sync_channel(1);
    handle.append(payloads.to_vec(), Box::new(move |outcome| tell.send(outcome).unwrap()))?;
    told.recv().unwrap()
}

fn payload(number: usize) -> Vec<u8> {
    format!("record {number} {}", "x".repeat(number % 300)).into_bytes()
}

fn payloads(numbers: Range<usize>) -> Vec<Vec<u8>> {
    numbers.map(payload).collect()
}

#[derive(Debug, Clone, PartialEq)]
enum Told {
    Record(u64, Vec<u8>),
    Lost(Range<u64>, bool),
}

/// Everything from a number on, which must tile.
fn read_from(handle: &Handle, from: u64) -> Vec<Told> {
    let mut reader = handle.reader(from);
    let (mut all, mut at) = (Vec::new(), from);
    while let Some(item) = reader.next_item().unwrap() {
        let (numbers, read) = match item {
            Item::Record { number, payload } => (number..number + 1, Told::Record(number, payload.to_vec())),
            Item::Lost { numbers, damaged } => (numbers.clone(), Told::Lost(numbers, damaged)),
        };
        assert!(numbers.start == at && numbers.end > at, "{numbers:?} after {at}");
        at = numbers.end;
        all.push(read);
    }
    assert_eq!(at, handle.end().max(from));
    assert_eq!(reader.position(), at);
    all
}

fn records(numbers: Range<usize>) -> Vec<Told> {
    numbers.map(|number| Told::Record(number as u64, payload(number))).collect()
}

/// The segment files, oldest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "spool"));
    files.sort();
    files
}

#[test]
fn what_was_appended_is_read_in_order_and_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, first) = open(folder.path(), SMALL);
    assert!(first.new);
    let handle = spool.handle();
    assert_eq!(handle.reader(0).next_item().unwrap(), None);
    append(&handle, &payloads(0..3)).unwrap();
    append(&handle, &payloads(3..4)).unwrap();
    assert_eq!(read_from(&handle, 0), records(0..4));
    assert_eq!(read_from(&handle, 2), records(2..4));
    let mode = files(folder.path())[0].metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
    drop(spool);
    assert_eq!(append(&handle, &payloads(4..5)), Err(Refused::Closed));

    let (spool, second) = open(folder.path(), SMALL);
    assert_eq!(second, Opened { new: false, ..first });
    append(&spool.handle(), &payloads(4..6)).unwrap();
    assert_eq!(read_from(&spool.handle(), 0), records(0..6));
}

#[test]
fn a_reader_that_is_at_the_end_goes_on_when_there_is_more() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), SMALL);
    let handle = spool.handle();
    let mut reader = handle.reader(0);
    for number in 0..2000 {
        append(&handle, &payloads(number..number + 1)).unwrap();
        handle.wait(number as u64, Duration::from_mins(1));
        let expected = payload(number);
        assert!(
            matches!(reader.next_item().unwrap(), Some(Item::Record { number: n, payload, .. }) if n == number as u64 && payload == expected)
        );
        assert_eq!(reader.next_item().unwrap(), None);
    }
    assert!(files(folder.path()).len() > 4);
}

#[test]
fn what_is_shipped_goes_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), SMALL);
    let handle = spool.handle();
    for at in 0..40 {
        append(&handle, &payloads(at * 50..(at + 1) * 50)).unwrap();
    }
    let before = (files(folder.path()).len(), handle.bytes());
    handle.remove_before(1000).unwrap();
    let after = (files(folder.path()).len(), handle.bytes());
    assert!(after.0 < before.0 && after.1 < before.1 && after.0 > 2);
    assert_eq!(read_from(&handle, 1000), records(1000..2000));
    let on_disk: u64 = files(folder.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(after.1, on_disk);
    // However much is shipped, the last segment stays: it says where the spool is.
    handle.remove_before(u64::MAX).unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    drop(spool);
    let (spool, opened) = open(folder.path(), SMALL);
    assert!(!opened.new);
    assert_eq!(spool.handle().end(), 2000);
    // A closed spool's files are another's matter.
    assert!(handle.remove_before(u64::MAX).is_ok());
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn a_full_spool_refuses_until_something_is_shipped() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), SMALL);
    let handle = spool.handle();
    let kilobytes = vec![vec![7; 10_000]];
    let mut taken = 0;
    while append(&handle, &kilobytes).is_ok() {
        taken += 1;
    }
    assert_eq!(append(&handle, &kilobytes), Err(Refused::Full));
    assert!((90..=104).contains(&taken), "{taken}");
    assert!(handle.bytes() <= SMALL.bytes);
    handle.remove_before(50).unwrap();
    append(&handle, &kilobytes).unwrap();
    assert_eq!(read_from(&handle, 50).len(), taken - 50 + 1);
    let too_much = vec![vec![0; 100_000]; 2];
    assert!(matches!(append(&handle, &too_much), Err(Refused::TooLarge { most, .. }) if most == 1 << 17));
}

#[test]
fn where_the_oldest_may_go_they_go_and_are_told_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), Bounds { overflow: Overflow::DropOldest, ..SMALL });
    let handle = spool.handle();
    // One is reading: what it has open it reads to its end.
    let mut reader = handle.reader(0);
    append(&handle, &payloads(0..100)).unwrap();
    assert!(matches!(reader.next_item().unwrap(), Some(Item::Record { number: 0, .. })));
    for at in 1..100 {
        append(&handle, &payloads(at * 100..(at + 1) * 100)).unwrap();
        assert!(handle.bytes() <= SMALL.bytes);
    }
    let all = read_from(&handle, 0);
    let Told::Lost(lost, damaged) = all[0].clone() else { panic!("{:?}", all[0]) };
    assert!(!damaged && lost.start == 0 && lost.end > 2000);
    assert_eq!(all[1..], records(lost.end as usize..10_000));
    assert_eq!((handle.take_dropped(), handle.take_dropped().is_empty()), (lost, true));
    let mut read = 1;
    while let Some(Item::Record { .. }) = reader.next_item().unwrap() {
        read += 1;
    }
    assert!(read >= 100, "{read}");
}

#[test]
fn where_the_newest_are_dropped_they_are_told_as_lost_in_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), Bounds { overflow: Overflow::DropNewest, ..SMALL });
    let handle = spool.handle();
    let mut taken = 0;
    while append(&handle, &[vec![1; 10_000]]).is_ok() {
        taken += 1;
    }
    assert_eq!(append(&handle, &[vec![1; 20_000], vec![1]]), Err(Refused::Dropped));
    handle.remove_before(taken).unwrap();
    append(&handle, &[vec![2; 10]]).unwrap();
    assert_eq!(
        read_from(&handle, taken),
        [Told::Lost(taken..taken + 3, false), Told::Record(taken + 3, vec![2; 10])]
    );
}

#[test]
fn a_loss_is_told_even_if_nothing_comes_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), SMALL);
    append(&spool.handle(), &payloads(0..1)).unwrap();
    spool.handle().lose(5);
    spool.handle().wait(1, Duration::from_mins(1));
    assert_eq!(read_from(&spool.handle(), 1), [Told::Lost(1..6, false)]);
    spool.handle().lose(2);
    drop(spool);
    let (spool, _) = open(folder.path(), SMALL);
    append(&spool.handle(), &[b"next".to_vec()]).unwrap();
    let last = Told::Record(8, b"next".to_vec());
    // The gaps join: no record lies between them.
    assert_eq!(read_from(&spool.handle(), 6), [Told::Lost(6..8, false), last]);
}

#[test]
fn a_paused_spool_takes_nothing_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), SMALL);
    let handle = spool.handle();
    handle.pause(Some("no room".to_owned()));
    assert_eq!(append(&handle, &payloads(0..1)), Err(Refused::Disk("no room".to_owned())));
    assert_eq!(handle.trouble().as_deref(), Some("no room"));
    handle.pause(None);
    append(&handle, &payloads(0..1)).unwrap();
}

#[test]
fn a_disk_that_fails_refuses_and_works_again() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("spool");
    let (spool, _) = open(&inside, SMALL);
    let handle = spool.handle();
    append(&handle, &payloads(0..1)).unwrap();
    // A new segment cannot be made where a folder has its name.
    let mut end = 1;
    while files(&inside).len() < 2 {
        let next = inside.join(open::file_name(end));
        fs::create_dir(&next).unwrap();
        match append(&handle, &[vec![3; 20_000]]) {
            Ok(()) => {
                fs::remove_dir(&next).unwrap();
                end += 1;
            }
            Err(Refused::Disk(reason)) => {
                assert!(reason.contains("create it"), "{reason}");
                fs::remove_dir(&next).unwrap();
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let began = Instant::now();
    while append(&handle, &[vec![4]]).is_err() {
        assert!(began.elapsed() < Duration::from_mins(1));
        std::thread::sleep(Duration::from_millis(20));
    }
    let all = read_from(&handle, 0);
    assert_eq!(all.len() as u64, end + 1);
    assert_eq!(all.last(), Some(&Told::Record(end, vec![4])));
}

#[test]
fn what_looks_like_a_frame_inside_of_a_record_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), SMALL);
    // Whole frames, as a sender could make them that does not know the spool's id.
    let forged = |number| {
        let header = frame::FrameHeader::of(number, b"forged");
        [header.write(0).as_slice(), b"forged", &header.write(frame::seed(SpoolId(1))), b"forged"].concat()
    };
    append(&spool.handle(), &[payload(0), forged(1), forged(2), payload(3)]).unwrap();
    drop(spool);
    let path = &files(folder.path())[0];
    let mut bytes = fs::read(path).unwrap();
    // The header of the second frame.
    let at = frame::SEGMENT + FRAME + payload(0).len() + 8;
    bytes[at] ^= 1;
    fs::write(path, &bytes).unwrap();
    let (spool, _) = open(folder.path(), SMALL);
    let expected = [
        Told::Record(0, payload(0)),
        Told::Lost(1..2, true),
        Told::Record(2, forged(2)),
        Told::Record(3, payload(3)),
    ];
    assert_eq!(read_from(&spool.handle(), 0), expected);
}

#[test]
fn numbers_that_a_checkpoint_covers_are_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), SMALL);
    append(&spool.handle(), &payloads(0..10)).unwrap();
    drop(spool);
    let path = &files(folder.path())[0];
    let length = path.metadata().unwrap().len();
    File::options().write(true).open(path).unwrap().set_len(length - 3).unwrap();
    let (spool, opened) = Spool::open(folder.path(), SMALL, |_| 10).unwrap();
    assert!(opened.cut_bytes > 0);
    append(&spool.handle(), &[b"new".to_vec()]).unwrap();
    assert_eq!(read_from(&spool.handle(), 10), [Told::Record(10, b"new".to_vec())]);
    assert_eq!(read_from(&spool.handle(), 9)[0], Told::Lost(9..10, false));
}

#[test]
fn a_folder_that_is_gone_or_of_which_nothing_is_known_is_a_new_spool() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, first) = open(folder.path(), SMALL);
    append(&spool.handle(), &payloads(0..3)).unwrap();
    drop(spool);
    let path = files(folder.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    // One copy of the header is enough, and makes the other good.
    for byte in [0, 20, 40, 63] {
        let mut bytes = whole.clone();
        bytes[byte] ^= 0x10;
        fs::write(&path, bytes).unwrap();
        let (spool, opened) = open(folder.path(), SMALL);
        assert_eq!(opened, Opened { new: false, ..first.clone() });
        assert_eq!(read_from(&spool.handle(), 0), records(0..3));
        drop(spool);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    let mut bytes = whole.clone();
    (bytes[5], bytes[37]) = (bytes[5] ^ 1, bytes[37] ^ 1);
    fs::write(&path, &bytes).unwrap();
    let (spool, opened) = open(folder.path(), SMALL);
    assert!(opened.new && opened.id != first.id);
    assert_eq!(fs::read(&opened.put_aside[0].1).unwrap(), bytes);
    assert_eq!(read_from(&spool.handle(), 0), []);
    drop(spool);

    // A newer version is not guessed at.
    (bytes[3], bytes[35]) = (b'2', b'2');
    fs::write(&path, &bytes).unwrap();
    let refused = Spool::open(folder.path(), SMALL, |_| 0).err().unwrap();
    assert!(refused.to_string().contains("newer version"), "{refused}");
}

/// A spool of version 1 is read for ever.
#[test]
fn the_format_is_that_of_the_fixture() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spool-1.spool");
    let folder = tempfile::tempdir().unwrap();
    fs::copy(&fixture, folder.path().join(open::file_name(41))).unwrap();
    let (spool, opened) = open(folder.path(), SMALL);
    assert_eq!(opened.id, SpoolId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff));
    let expected = [
        Told::Record(41, b"one".to_vec()),
        Told::Record(42, b"two".to_vec()),
        Told::Lost(43..50, false),
        Told::Record(50, b"three".to_vec()),
    ];
    assert_eq!(read_from(&spool.handle(), 41), expected);
    let seed = frame::seed(opened.id);
    let mut bytes = frame::SegmentHeader { spool: opened.id, base: 41 }.write().to_vec();
    for (number, payload) in [(41, "one"), (42, "two"), (50, ""), (50, "three")] {
        bytes.extend(frame::FrameHeader::of(number, payload.as_bytes()).write(seed));
        bytes.extend(payload.as_bytes());
    }
    assert_eq!(fs::read(fixture).unwrap(), bytes);
}

/// What is done to the files of a closed spool.
#[derive(Debug, Clone)]
enum Harm {
    /// The last file ends early.
    Torn(prop::sample::Index),
    /// One bit of a file is another.
    Flip(prop::sample::Index, prop::sample::Index, u8),
    /// A file, but not the last, is gone.
    Gone(prop::sample::Index),
    /// Bytes after the end.
    Trash(Vec<u8>),
}

fn harm() -> impl Strategy<Value = Harm> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        index().prop_map(Harm::Torn),
        (index(), index(), 0..8u8).prop_map(|(file, at, bit)| Harm::Flip(file, at, bit)),
        index().prop_map(Harm::Gone),
        prop::collection::vec(any::<u8>(), 1..100).prop_map(Harm::Trash),
    ]
}

/// Does it, and says which records may be missed because of it: those whose bytes it touches.
fn hurt(folder: &Path, harm: &Harm) -> Range<u64> {
    let files = files(folder);
    let base = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    match harm {
        Harm::Torn(at) => {
            let path = files.last().unwrap();
            let bytes = fs::read(path).unwrap();
            let length = at.index(bytes.len() + 1);
            fs::write(path, &bytes[..length]).unwrap();
            number_at(&bytes, length, base(path))..u64::MAX
        }
        Harm::Flip(file, at, bit) => {
            let path = file.get(&files);
            let mut bytes = fs::read(path).unwrap();
            let at = at.index(bytes.len());
            let number = number_at(&bytes, at, base(path));
            bytes[at] ^= 1 << bit;
            fs::write(path, &bytes).unwrap();
            if at < frame::SEGMENT { 0..0 } else { number..number + 1 }
        }
        Harm::Gone(at) => {
            if files.len() == 1 {
                return 0..0;
            }
            let at = at.index(files.len() - 1);
            fs::remove_file(&files[at]).unwrap();
            base(&files[at])..base(&files[at + 1])
        }
        Harm::Trash(trash) => {
            let path = files.last().unwrap();
            fs::write(path, [fs::read(path).unwrap(), trash.clone()].concat()).unwrap();
            0..0
        }
    }
}

/// The number of the record that holds this byte of a sound file.
fn number_at(bytes: &[u8], at: usize, base: u64) -> u64 {
    let (mut position, mut number) = (frame::SEGMENT, base);
    while position < bytes.len() {
        let length = u32::from_le_bytes(bytes[position + 16..position + 20].try_into().unwrap());
        position += FRAME + length as usize;
        if at < position {
            return number;
        }
        number += 1;
    }
    number
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens to one place in the files: the spool opens, loses only what was touched, and makes nothing up; it goes on
    /// taking records, and what is opened again is the same.
    #[test]
    fn damage_takes_what_it_touches_and_nothing_else(
        groups in prop::collection::vec(1..60usize, 1..30),
        harm in harm(),
        removed in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (spool, first) = open(folder.path(), SMALL);
        let mut end = 0;
        for group in groups {
            append(&spool.handle(), &payloads(end..end + group)).unwrap();
            end += group;
        }
        spool.handle().remove_before(removed.index(end) as u64 / 2).unwrap();
        drop(spool);
        let kept = fs::read_dir(folder.path()).unwrap().count();
        let from = files(folder.path())[0].file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
        let touched = hurt(folder.path(), &harm);
        prop_assume!(kept > 1 || !matches!(&harm, Harm::Torn(_)) || {
            // A header of which both copies are gone is no spool any more.
            let mut bytes = Vec::new();
            File::open(&files(folder.path())[0]).unwrap().read_to_end(&mut bytes).unwrap();
            bytes.len() >= 32
        });

        let (spool, opened) = open(folder.path(), SMALL);
        prop_assert_eq!(opened.id, first.id);
        let handle = spool.handle();
        append(&handle, &[b"after".to_vec()]).unwrap();
        let all = read_from(&handle, from);
        let (last, before) = all.split_last().unwrap();
        prop_assert!(matches!(last, Told::Record(_, payload) if payload == b"after"));
        let mut seen = vec![false; end];
        for read in before {
            match read {
                Told::Record(number, bytes) => {
                    prop_assert_eq!(bytes, &payload(*number as usize));
                    seen[*number as usize] = true;
                }
                Told::Lost(numbers, _) => {
                    prop_assert!(touched.start <= numbers.start && numbers.end <= touched.end, "{:?}", numbers);
                }
            }
        }
        for number in (from as usize..end).filter(|number| !seen[*number]) {
            prop_assert!(touched.contains(&(number as u64)), "{} is missing, {:?} is touched", number, touched);
        }
        drop(spool);
        let (spool, _) = open(folder.path(), SMALL);
        prop_assert_eq!(read_from(&spool.handle(), from), all);
    }
}
