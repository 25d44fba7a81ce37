//! A small document on disk that survives `kill -9` and power cuts: written beside the old one, made durable, then put
//! in its place; the generation before is kept.

use crate::Error;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

const VERSION: u32 = 1;

/// The document around the state: what a reader needs to trust it.
#[derive(Serialize, Deserialize)]
struct Wrapper<'a> {
    version: u32,
    /// CRC-32C of the state's text, 8 hexadecimal digits.
    crc32c: String,
    #[serde(borrow)]
    state: &'a RawValue,
}

/// What was found on disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Loaded<T> {
    /// Nothing: the first start.
    Nothing,
    /// The latest generation.
    Latest(T),
    /// The latest is damaged; this is the one before.
    Previous(T),
    /// All there is, is damaged.
    Damaged,
}

/// One document, in `name` and `name.1`.
#[derive(Debug, Clone)]
pub(crate) struct Durable {
    folder: PathBuf,
    path: PathBuf,
}

impl Durable {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        Self { folder: folder.to_owned(), path: folder.join(name) }
    }

    /// Reads the newest generation that is whole. A damaged one is put aside as `name.damaged`, and said loudly.
    pub(crate) fn load<T: DeserializeOwned>(&self) -> Result<Loaded<T>, Error> {
        let latest = read::<T>(&self.path)?;
        let previous = self.beside(".1");
        if let Found::Whole(state) = latest {
            if let Found::Damaged(problem) = read::<T>(&previous)? {
                tracing::warn!(path = %previous.display(), problem, "the generation before is damaged; the next one takes its place");
            }
            return Ok(Loaded::Latest(state));
        }
        if let Found::Damaged(problem) = &latest {
            tracing::error!(path = %self.path.display(), problem, "the state is damaged; trying the generation before");
            let aside = self.beside(".damaged");
            fs::rename(&self.path, &aside).map_err(|source| Error::file(&self.path, "put aside", source))?;
        }
        Ok(match (read::<T>(&previous)?, latest) {
            (Found::Whole(state), latest) => {
                if matches!(latest, Found::Nothing) {
                    tracing::warn!(path = %self.path.display(), "the state is missing; the generation before is used");
                }
                Loaded::Previous(state)
            }
            (Found::Damaged(problem), _) => {
                tracing::error!(path = %previous.display(), problem, "the generation before is damaged, too");
                Loaded::Damaged
            }
            (Found::Nothing, Found::Damaged(_)) => Loaded::Damaged,
            (Found::Nothing, _) => Loaded::Nothing,
        })
    }

    /// Writes a new generation; when this returns it is durable. Blocks.
    pub(crate) fn store<T: Serialize>(&self, state: &T) -> Result<(), Error> {
        let fail = |action| move |source| Error::file(&self.path, action, source);
        let state = serde_json::value::to_raw_value(state).map_err(|e| fail("serialise")(e.into()))?;
        let crc32c = format!("{:08x}", crc32c::crc32c(state.get().as_bytes()));
        let text = serde_json::to_vec(&Wrapper { version: VERSION, crc32c, state: &state })
            .map_err(|e| fail("serialise")(e.into()))?;

        let new = self.beside(".new");
        let mut file = File::create(&new).map_err(fail("create"))?;
        file.write_all(&text).map_err(fail("write"))?;
        file.sync_all().map_err(fail("sync"))?;
        drop(file);
        self.keep_previous().map_err(fail("keep the generation before"))?;
        fs::rename(&new, &self.path).map_err(fail("replace"))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(fail("sync the folder of"))
    }

    /// `name` becomes `name.1` without ever being away.
    fn keep_previous(&self) -> io::Result<()> {
        let (link, previous) = (self.beside(".1.new"), self.beside(".1"));
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::hard_link(&self.path, &link) {
            Ok(()) => fs::rename(&link, &previous),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // A file system without hard links: for a moment there is only the generation before.
            Err(_) => fs::rename(&self.path, &previous),
        }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(self.path.as_os_str());
        name.push(suffix);
        name.into()
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Found<T>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(source) => return Err(Error::Unreadable { path: path.to_owned(), source }),
    };
    Ok(match unwrap(&text) {
        Ok(state) => Found::Whole(state),
        Err(problem) => Found::Damaged(problem),
    })
}

enum Found<T> {
    Nothing,
    Whole(T),
    Damaged(String),
}

fn unwrap<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let wrapper: Wrapper<'_> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if wrapper.version != VERSION {
        return Err(format!("its version is {}, this program reads {VERSION}", wrapper.version));
    }
    let crc32c = format!("{:08x}", crc32c::crc32c(wrapper.state.get().as_bytes()));
    if wrapper.crc32c != crc32c {
        return Err(format!("its checksum is {crc32c}, it should be {}", wrapper.crc32c));
    }
    serde_json::from_str(wrapper.state.get()).map_err(|error| error.to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn put(folder: &Path, name: &str, bytes: &[u8]) {
        fs::write(folder.join(name), bytes).unwrap();
    }

    #[test]
    fn the_newest_whole_generation_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let durable = Durable::new(folder.path(), "state.json");
        assert_eq!(durable.load::<u32>().unwrap(), Loaded::Nothing);
        durable.store(&1u32).unwrap();
        durable.store(&2u32).unwrap();
        assert_eq!(durable.load::<u32>().unwrap(), Loaded::Latest(2));

        let whole = fs::read(folder.path().join("state.json")).unwrap();
        for damage in [&b""[..], &vec![0; whole.len()], &whole[..whole.len() / 2], b"{}"] {
            put(folder.path(), "state.json", damage);
            assert_eq!(durable.load::<u32>().unwrap(), Loaded::Previous(1));
        }
        let mut flipped = whole.clone();
        let digit = flipped.iter().rposition(|b| *b == b'2').unwrap();
        flipped[digit] = b'7';
        put(folder.path(), "state.json", &flipped);
        assert_eq!(durable.load::<u32>().unwrap(), Loaded::Previous(1));

        // The good generation is not pushed out by the damaged one.
        durable.store(&3u32).unwrap();
        put(folder.path(), "state.json", b"x");
        assert_eq!(durable.load::<u32>().unwrap(), Loaded::Previous(1));
        put(folder.path(), "state.json.1", b"x");
        assert_eq!(durable.load::<u32>().unwrap(), Loaded::Damaged);
    }

    #[test]
    fn a_half_written_generation_is_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let durable = Durable::new(folder.path(), "state.json");
        durable.store(&1u32).unwrap();
        put(folder.path(), "state.json.new", b"{\"ver");
        put(folder.path(), "state.json.1.new", b"{\"ver");
        assert_eq!(durable.load::<u32>().unwrap(), Loaded::Latest(1));
        durable.store(&2u32).unwrap();
        assert_eq!(durable.load::<u32>().unwrap(), Loaded::Latest(2));
    }
}
