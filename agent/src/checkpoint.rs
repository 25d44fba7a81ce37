//! What the agent knows of its sources across restarts: how far each was delivered, and how to find it again.
//!
//! A position only ever covers bytes that the topic has acknowledged, without a gap.

use crate::source::file::{FileIdentity, Fingerprint};
use millrace_model::{AgentId, InstanceId, Partition, SourceId, SpoolId, wire::SourceOpen};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::Range, path::PathBuf};

/// Everything, as it lies in `checkpoint.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) agent: AgentId,
    pub(crate) instance: InstanceId,
    pub(crate) epoch: u64,
    pub(crate) sources: BTreeMap<SourceId, Entry>,
    /// Where to go on in each journal, by the name of its settings.
    #[serde(default)]
    pub(crate) cursors: BTreeMap<String, String>,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The name of its settings.
    pub(crate) name: String,
    pub(crate) place: Place,
    /// The first position that was ever this source's.
    pub(crate) start: u64,
    /// Everything before is delivered.
    pub(crate) position: u64,
    /// Chosen when the source is minted, and kept for its life.
    pub(crate) partition: Option<Partition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) continues: Option<SourceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) because: Option<String>,
    /// Positions, not delivered yet, where a record was ended though its line had not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cuts: Vec<u64>,
    /// Bytes of whole lines that belong to records of the file before, and that are not delivered yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) merged: Vec<Range<u64>>,
    /// Its end is decided, but not yet delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) closing: Option<Closing>,
    /// It has ended; remembered so that its file is not taken for a new one.
    #[serde(default)]
    pub(crate) closed: bool,
}

/// How to find a source again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Place {
    File(FilePlace),
    Journal(JournalPlace),
    Spool(SpoolPlace),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FilePlace {
    /// Where it was first seen: what its records say.
    #[serde(with = "path_text")]
    pub(crate) path: PathBuf,
    /// Where it was last seen.
    #[serde(with = "path_text")]
    pub(crate) at: PathBuf,
    pub(crate) identity: FileIdentity,
    /// The first bytes.
    pub(crate) head: Fingerprint,
    /// The bytes before the position.
    pub(crate) marker: Fingerprint,
    /// The size when it was last read.
    pub(crate) size: u64,
    /// The size as it lies there, if it is compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) packed: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JournalPlace {
    /// The journal's sequence-number id.
    pub(crate) sequence: String,
    /// The journal: its folder, or what stands for the system's.
    pub(crate) journal: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpoolPlace {
    /// The spool: another one in the same folder is another source.
    pub(crate) spool: SpoolId,
    /// The kind of the source.
    pub(crate) input: String,
    /// Where it listens, or what stands for that.
    pub(crate) at: String,
}

/// A decision to end a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closing {
    /// Where it ends; what lies before, a last line without its newline included, is still to be delivered.
    pub(crate) end: u64,
    pub(crate) reason: String,
    pub(crate) lost_at_least: Option<u64>,
    /// The file may still lie there: it must not be taken for a new one.
    pub(crate) remember: bool,
    /// Its last records go on in the file that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) goes_on: Option<GoesOn>,
}

/// What another source has of a source's last records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GoesOn {
    pub(crate) source: SourceId,
    /// Whole lines of it.
    pub(crate) ranges: Vec<Range<u64>>,
}

impl FilePlace {
    /// The size that a file has which was read to its end.
    pub(crate) fn lies_as(&self) -> u64 {
        self.packed.unwrap_or(self.size)
    }
}

impl Entry {
    pub(crate) fn new(name: String, place: Place, start: u64) -> Self {
        Self {
            name,
            place,
            start,
            position: start,
            partition: None,
            continues: None,
            because: None,
            cuts: Vec::new(),
            merged: Vec::new(),
            closing: None,
            closed: false,
        }
    }

    /// What its first message says; `None` once that is delivered.
    pub(crate) fn opening(&self, host: &str) -> Option<SourceOpen> {
        let (kind, path) = match &self.place {
            Place::File(file) => ("file", file.path.display().to_string()),
            Place::Journal(place) => ("journald", place.journal.clone()),
            Place::Spool(place) => (place.input.as_str(), place.at.clone()),
        };
        (self.position == self.start).then(|| SourceOpen {
            kind: kind.to_owned(),
            path,
            host: host.to_owned(),
            start: self.start,
            continues: self.continues,
            because: self.because.clone(),
        })
    }

    /// The entry of the source that goes on where this one is.
    fn successor(&self, id: SourceId, because: &str) -> Self {
        Self { start: self.position, continues: Some(id), because: Some(because.to_owned()), ..self.clone() }
    }
}

impl Checkpoint {
    pub(crate) fn new(agent: AgentId, instance: InstanceId) -> Self {
        Self { agent, instance, epoch: 0, sources: BTreeMap::new(), cursors: BTreeMap::new() }
    }

    /// Makes it another instance's: what is open goes on under new ids from where it was.
    pub(crate) fn adopt(&mut self, instance: InstanceId) {
        self.instance = instance;
        let open: Vec<SourceId> =
            self.sources.iter().filter(|(_, entry)| !entry.closed).map(|(id, _)| *id).collect();
        for id in open {
            self.succeed(id, "instance");
        }
    }

    /// Ends a source here and goes on under a new id; `None` if it is not known.
    pub(crate) fn succeed(&mut self, id: SourceId, because: &str) -> Option<SourceId> {
        let entry = self.sources.remove(&id)?;
        let new = SourceId::random();
        self.sources.insert(new, entry.successor(id, because));
        Some(new)
    }

    /// The open sources whose name is not among the known ones.
    pub(crate) fn open_without(&self, known: impl Fn(&str) -> bool) -> Vec<(SourceId, Entry)> {
        let others = self.sources.iter().filter(|(_, entry)| !entry.closed && !known(&entry.name));
        others.map(|(id, entry)| (*id, entry.clone())).collect()
    }

    /// How far each spool is delivered.
    pub(crate) fn spools(&self) -> impl Iterator<Item = (SpoolId, u64)> {
        self.sources.values().filter_map(|entry| match &entry.place {
            Place::Spool(place) => Some((place.spool, entry.position)),
            _ => None,
        })
    }

    /// The sources of one name, with their ids.
    pub(crate) fn of_name(&self, name: &str) -> Vec<(SourceId, Entry)> {
        let own = self.sources.iter().filter(|(_, entry)| entry.name == name);
        own.map(|(id, entry)| (*id, entry.clone())).collect()
    }
}

/// Paths as text where they are text, as bytes where they are not.
mod path_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::{
        ffi::OsString,
        os::unix::ffi::OsStringExt,
        path::{Path, PathBuf},
    };

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Text {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => text.serialize(serializer),
            None => Text::Bytes(path.as_os_str().as_encoded_bytes().to_vec()).serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(match Text::deserialize(deserializer)? {
            Text::Text(text) => text.into(),
            Text::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};

    #[test]
    fn it_reads_back_as_written_even_with_a_path_that_is_no_text() {
        let path = PathBuf::from(OsString::from_vec(b"/var/log/\xff.log".to_vec()));
        let identity = FileIdentity { device: 1, inode: 2, born: Some(3) };
        let print = Fingerprint::of(b"abc");
        let place = FilePlace {
            at: "/var/log/x".into(),
            path,
            identity,
            head: print,
            marker: print,
            size: 9,
            packed: None,
        };
        let mut entry = Entry::new("app".to_owned(), Place::File(place), 5);
        entry.closing = Some(Closing {
            end: 9,
            reason: "deleted".into(),
            lost_at_least: Some(0),
            remember: false,
            goes_on: None,
        });
        let mut checkpoint = Checkpoint::new(AgentId(1), InstanceId(2));
        checkpoint.sources.insert(SourceId(3), entry);
        let text = serde_json::to_string(&checkpoint).unwrap();
        assert_eq!(serde_json::from_str::<Checkpoint>(&text).unwrap(), checkpoint);
    }
}
