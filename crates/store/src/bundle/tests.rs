#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::Error;
use millrace_model::{ShardId, StreamName, Timestamp};
use proptest::prelude::*;

fn meta() -> ShardMeta {
    ShardMeta {
        id: ShardId(7),
        schema_version: SCHEMA_VERSION,
        stream: StreamName::default(),
        first: Timestamp(1),
        last: Timestamp(2),
        records: 3,
        bytes: 0,
        sha256: String::new(),
        key: "logs/7.shard".to_owned(),
        offsets: Vec::new(),
        created: Timestamp(3),
        rewrites: 0,
        bucket: None,
        deletions: 0,
        fields: millrace_model::ShardFields::default(),
    }
}

fn written(folder: &Path, files: &[(&str, Vec<u8>)]) -> (PathBuf, ShardMeta) {
    let (path, mut meta) = (folder.join("x.shard"), meta());
    write(&path, &mut meta, files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.as_slice())))
        .unwrap();
    (path, meta)
}

#[test]
fn files_come_back_and_the_meta_is_that_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let long: Vec<u8> = (0..3 * BLOCK + 17).map(|n| (n * 31 % 251) as u8).collect();
    let (path, meta) =
        written(folder.path(), &[("a", b"hello".to_vec()), ("b", long.clone()), ("empty", Vec::new())]);
    let bundle = Bundle::open(&path).unwrap();
    assert_eq!(bundle.meta(), &meta);
    assert_eq!(meta.bytes, std::fs::metadata(&path).unwrap().len());
    let body = std::fs::read(&path).unwrap()[..long.len() + 5].to_vec();
    assert_eq!(meta.sha256, hex(&Sha256::digest(&body)));
    assert_eq!(bundle.places().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b", "empty"]);
    assert_eq!(bundle.read(bundle.place("a").unwrap()).unwrap(), b"hello");
    assert_eq!(bundle.read(bundle.place("b").unwrap()).unwrap(), long);
    assert_eq!(bundle.read(bundle.place("empty").unwrap()).unwrap(), b"");
    assert_eq!(bundle.place("c"), None);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
}

#[test]
fn a_flipped_byte_is_named_when_it_is_read_and_harms_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = written(folder.path(), &[("a", vec![1; BLOCK]), ("b", vec![2; BLOCK])]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[BLOCK + 9] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    assert!(bundle.read(bundle.place("a").unwrap()).is_ok());
    let error = bundle.read(bundle.place("b").unwrap()).unwrap_err().to_string();
    assert_eq!(error, format!("bytes {BLOCK} to {} do not have their checksum", 2 * BLOCK));
}

#[test]
fn a_newer_layout_is_refused_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = written(folder.path(), &[("a", vec![1])]);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 12;
    bytes[at..at + 4].copy_from_slice(&9u32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = Bundle::open(&path).unwrap_err();
    assert!(matches!(error, Error::Version { found: 9, known: SCHEMA_VERSION, .. }), "{error}");
}

#[test]
fn a_folder_that_is_not_there_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no/x.shard");
    let error = write(&path, &mut meta(), std::iter::empty()).unwrap_err();
    assert!(matches!(&error, Error::Io { path: p, .. } if *p == path), "{error}");
    assert!(Bundle::open(&path).is_err());
}

proptest! {
    /// Whatever is cut off, added or changed at the end: an error, never a panic, and never other bytes than sealed.
    #[test]
    fn damaged_ends_are_refused(cut in 0usize..700, noise in prop::collection::vec(any::<u8>(), 0..40), flip in prop::option::of((1usize..600, 1u8..))) {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = written(folder.path(), &[("a", b"hello".to_vec())]);
        let whole = std::fs::read(&path).unwrap();
        let mut bytes = whole[..whole.len().saturating_sub(cut)].to_vec();
        bytes.extend(&noise);
        if let Some((back, with)) = flip && back <= bytes.len() {
            let at = bytes.len() - back;
            bytes[at] ^= with;
        }
        std::fs::write(&path, &bytes).unwrap();
        match Bundle::open(&path) {
            Err(error) => prop_assert!(error.to_string().contains("x.shard")),
            // Only the body can differ, and reading it tells.
            Ok(bundle) => prop_assert!(bytes == whole || bundle.read(bundle.place("a").unwrap()).is_err()),
        }
    }
}

#[test]
fn a_verification_names_the_block_and_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, meta) = written(folder.path(), &[("a", vec![1; BLOCK]), ("b", vec![2; 40 * BLOCK + 7])]);
    let sound = Verified { meta: meta.clone(), faults: Vec::new(), more: 0 };
    assert_eq!(verify(&path).unwrap(), sound);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[35 * BLOCK + 9] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let found = verify(&path).unwrap();
    let place = 35 * BLOCK as u64..36 * BLOCK as u64;
    assert_eq!(found.faults[0], BundleFault::Block { bytes: place, files: vec!["b".to_owned()] });
    assert_eq!((found.faults.len(), found.more), (1, 0));
    assert_eq!(
        found.faults[0].to_string(),
        format!("bytes {} to {} do not have their checksum (of b)", 35 * BLOCK, 36 * BLOCK)
    );
    // All blocks at once are told by a few.
    bytes.iter_mut().take(41 * BLOCK).for_each(|byte| *byte ^= 0x80);
    std::fs::write(&path, &bytes).unwrap();
    let found = verify(&path).unwrap();
    assert_eq!((found.faults.len(), found.more), (16, 25));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_flipped_bit_passes_a_verification(at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = written(folder.path(), &[("a", vec![1; BLOCK + 5]), ("b", b"hello".to_vec())]);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, bytes).unwrap();
        prop_assert!(verify(&path).map_or(true, |found| !found.faults.is_empty()), "byte {at}");
    }
}
