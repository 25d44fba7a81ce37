//! Keys: `<stream>/<yyyymmdd>/<shard id>.shard`. Checked here, before they become paths.

use crate::Error;
use object_store::path::Path;

/// The longest part between two slashes: what file systems allow, less the suffix of a file that is being written.
const MAX_PART: usize = 240;

/// A key that stays below the store's root on every kind of store.
pub(crate) fn checked(key: &str) -> Result<Path, Error> {
    let bad = |problem| Error::Key { key: key.chars().take(200).collect(), problem };
    for part in key.split('/') {
        match part {
            "" => return Err(bad("an empty part")),
            "." | ".." => return Err(bad("it climbs")),
            _ if part.len() > MAX_PART => return Err(bad("a part is too long")),
            _ if !part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) => {
                return Err(bad("expected letters, digits, '.', '_', '-' and '/'"));
            }
            _ => {}
        }
    }
    Path::parse(key).map_err(|_| bad("not a path"))
}

/// A prefix of whole parts; empty: everything.
pub(crate) fn checked_prefix(prefix: &str) -> Result<Option<Path>, Error> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if prefix.is_empty() { Ok(None) } else { checked(prefix).map(Some) }
}
