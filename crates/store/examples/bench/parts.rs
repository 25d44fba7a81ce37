//! How many bytes of a shard belong to what, by the bundle's own footer.

use crate::meter::Outcome;
use std::{collections::BTreeMap, path::Path};

/// After the footer: its length and checksum, the schema version and the magic.
const TRAILER: usize = 20;

/// Adds the bytes of a bundle to those of others, by file. An index names its files after the segment; only what comes
/// after that counts here.
pub(crate) fn add(bundle: &Path, sums: &mut BTreeMap<String, u64>) -> Outcome<()> {
    let bytes = std::fs::read(bundle)?;
    let trailer = bytes.len().checked_sub(TRAILER).ok_or("too short for a bundle")?;
    let length = u32::from_le_bytes(bytes[trailer..trailer + 4].try_into()?) as usize;
    let footer = bytes.get(trailer.saturating_sub(length)..trailer).ok_or("a footer outside the bundle")?;
    let footer: serde_json::Value = serde_json::from_slice(footer)?;
    for file in footer["files"].as_array().ok_or("a footer without files")? {
        let place = |end: &str| file[end].as_u64().ok_or("a file without a place");
        let name = file["name"].as_str().ok_or("a file without a name")?;
        let segment = |stem: &str| stem.len() == 32 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
        let name = name.split_once('.').filter(|(stem, _)| segment(stem)).map_or(name, |(_, kind)| kind);
        *sums.entry(name.to_owned()).or_insert(0) += place("to")? - place("from")?;
    }
    *sums.entry("footer".to_owned()).or_insert(0) += (length + TRAILER) as u64;
    Ok(())
}
