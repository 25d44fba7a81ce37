//! What a topic says of itself in `topic.json`: its id and how many partitions it has. The folder says both, too: in the
//! names of its partitions and in the marker that each begins with. So a file that is damaged or gone is made again.

use super::{
    block,
    files::{read_json, replace_json},
    log::file_error,
    segment::{Segment, Step, Walker},
};
use crate::Error;
use millrace_model::{
    Partition, TopicId,
    wire::{self, Decoded},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Its name in the topic's folder.
pub(super) const FILE: &str = "topic.json";
const VERSION: u32 = 1;

/// What it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Described {
    version: u32,
    pub(super) id: TopicId,
    pub(super) partitions: u32,
}

impl Described {
    pub(super) fn new(id: TopicId, partitions: u32) -> Self {
        Self { version: VERSION, id, partitions }
    }
}

/// Reads the description of the topic in a folder; `None` if there is no such folder. One that is damaged, missing or not
/// this topic's is made again, which is said; what lay there is put aside as `topic.json.damaged`.
pub(super) fn read(directory: &Path) -> Result<Option<Described>, Error> {
    let path = directory.join(FILE);
    if !directory.exists() {
        return Ok(None);
    }
    let (problem, version) = match read_json::<Described>(&path) {
        Ok(Some(described)) if described.version == VERSION => {
            let Some(problem) = contradiction(directory, &described)? else { return Ok(Some(described)) };
            (problem, VERSION)
        }
        Ok(Some(described)) => (String::new(), described.version),
        Ok(None) => ("it is missing".to_owned(), VERSION),
        Err(Error::Corrupt { problem, .. }) => (problem, version_of(&path)),
        Err(error) => return Err(error),
    };
    if version > VERSION {
        let problem = format!("version {version} is newer than this program");
        return Err(Error::Corrupt { path, problem });
    }
    remake(directory, &path, &problem).map(Some)
}

/// The version that a file of another layout says.
fn version_of(path: &Path) -> u32 {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    read_json::<Version>(path).ok().flatten().map_or(VERSION, |found| found.version)
}

/// In what the folder says something else.
fn contradiction(directory: &Path, described: &Described) -> Result<Option<String>, Error> {
    let folders = partitions(directory)?;
    let there = folders.last().map_or(0, |(last, _)| last.0 as u32 + 1);
    if there != described.partitions {
        return Ok(Some(format!("it says {} partitions, and there are {there}", described.partitions)));
    }
    let id = folders.iter().find_map(|(partition, folder)| marked(*partition, folder));
    Ok(id.filter(|id| *id != described.id).map(|id| format!("it says {}, the messages {id}", described.id)))
}

fn remake(directory: &Path, path: &Path, problem: &str) -> Result<Described, Error> {
    let folders = partitions(directory)?;
    let Some((last, _)) = folders.last() else {
        let problem =
            format!("{problem}, and the topic has no partition; move its folder away to begin anew");
        return Err(Error::Corrupt { path: path.to_owned(), problem });
    };
    // Where retention has taken all markers, a new id has everything read again, which makes nothing come twice.
    let marked = folders.iter().find_map(|(partition, folder)| marked(*partition, folder));
    let described = Described::new(marked.unwrap_or_else(TopicId::random), last.0 as u32 + 1);
    if path.exists() {
        let aside = path.with_added_extension("damaged");
        fs::rename(path, &aside).map_err(file_error(path, "put it aside"))?;
    }
    replace_json(path, &described)?;
    tracing::error!(
        path = %path.display(), problem, partitions = described.partitions, id = %described.id,
        "what the topic said of itself was wrong, and is made again by what lies in its folder"
    );
    Ok(described)
}

/// The folders of its partitions, by their numbers.
fn partitions(directory: &Path) -> Result<Vec<(Partition, PathBuf)>, Error> {
    let listed = fs::read_dir(directory).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
    });
    let numbered = |path: PathBuf| {
        let number: u16 = path.file_name()?.to_str()?.parse().ok()?;
        path.is_dir().then_some((Partition(i32::from(number)), path))
    };
    let mut folders: Vec<_> =
        listed.map_err(file_error(directory, "list it"))?.into_iter().filter_map(numbered).collect();
    folders.sort_unstable();
    Ok(folders)
}

/// The topic's id as the first message of a partition says it, if that is still there.
fn marked(partition: Partition, folder: &Path) -> Option<TopicId> {
    let path = folder.join(Segment::file_name(0));
    let size = fs::metadata(&path).ok()?.len();
    let Step::Block { header, payload, .. } = Walker::whole(&path).ok()?.step(size, true).ok()? else {
        return None;
    };
    let message = block::decode(&header, &payload, partition).ok()?.into_iter().next()?;
    match wire::decode(&message.headers, &message.value) {
        Ok(Decoded::TopicMarker(id)) => Some(id),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{EmbeddedSettings, EmbeddedTopic, Metrics};
    use millrace_model::SystemClock;
    use std::sync::Arc;

    fn open(directory: &Path) -> Result<EmbeddedTopic, Error> {
        let settings =
            EmbeddedSettings { partitions: 2, ..EmbeddedSettings::new(directory.to_owned(), "logs") };
        EmbeddedTopic::open(settings, Arc::new(SystemClock), &Metrics::default())
    }

    #[test]
    fn a_description_that_is_wrong_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()).unwrap());
        let (directory, path) = (folder.path().join("logs"), folder.path().join("logs").join(FILE));
        let good = read(&directory).unwrap().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let id = good.id.to_string();
        let other = format!("{}{}", if id.starts_with('0') { '1' } else { '0' }, &id[1..]);
        let few = text.replace("\"partitions\": 2", "\"partitions\": 1");
        let many = text.replace("\"partitions\": 2", "\"partitions\": 9");
        assert!(few != text && many != text);
        for damage in ["", "{}", "[1", &text[..text.len() / 2], &text.replace(&id, &other), &few, &many] {
            fs::write(&path, damage).unwrap();
            drop(open(folder.path()).unwrap());
            assert_eq!(read(&directory).unwrap().unwrap(), good, "{damage}");
            assert_eq!(fs::read_to_string(path.with_added_extension("damaged")).unwrap(), damage);
        }
        fs::remove_file(&path).unwrap();
        drop(open(folder.path()).unwrap());
        assert_eq!(read(&directory).unwrap().unwrap(), good);
    }

    #[test]
    fn a_newer_topic_and_an_empty_folder_are_errors_that_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()).unwrap());
        let path = folder.path().join("logs").join(FILE);
        for newer in [
            "{\"version\":2,\"id\":\"00000000000000000000000000000001\",\"partitions\":2}",
            "{\"version\":2}",
        ] {
            fs::write(&path, newer).unwrap();
            let Err(Error::Corrupt { path: named, problem }) = open(folder.path()) else { panic!("{newer}") };
            assert!(named == path && problem.contains("newer"), "{problem}");
        }
        fs::remove_dir_all(folder.path().join("logs")).unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        assert!(matches!(open(folder.path()), Err(Error::Corrupt { .. })), "no topic is made in its place");
    }
}
