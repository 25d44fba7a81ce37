//! What many rows share, stored once: the sources that they were read from and the resources that they are about.
//! A document names them by ordinal.

use crate::{Error, leaf::unhex};
use millrace_model::{Attributes, LogRecord, Row, SourceId, fields::hex, wire};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, hash::Hash, io, path::Path, sync::Arc};

const ZSTD_LEVEL: i32 = 3;

/// As it lies in the bundle: JSON, compressed with zstd. A resource is a record with nothing else, as OTLP bytes in
/// hexadecimal.
#[derive(Serialize, Deserialize)]
struct Written {
    sources: Vec<SourceId>,
    resources: Vec<String>,
}

/// Values in the order in which they were first met.
struct Ordinals<T> {
    known: HashMap<T, u64>,
}

impl<T: Eq + Hash> Ordinals<T> {
    fn of(&mut self, value: T) -> u64 {
        let next = self.known.len() as u64;
        *self.known.entry(value).or_insert(next)
    }

    fn into_sorted(self) -> Vec<T> {
        let mut all: Vec<(T, u64)> = self.known.into_iter().collect();
        all.sort_unstable_by_key(|(_, ordinal)| *ordinal);
        all.into_iter().map(|(value, _)| value).collect()
    }
}

/// Gives ordinals while a shard is sealed. Rows are borrowed, so that an address stands for a resource.
pub(crate) struct TablesWriter<'a> {
    sources: Ordinals<SourceId>,
    resources: Ordinals<Vec<u8>>,
    seen: HashMap<*const Attributes, u64>,
    rows: std::marker::PhantomData<&'a Row>,
}

impl<'a> TablesWriter<'a> {
    pub(crate) fn new() -> Self {
        Self {
            sources: Ordinals { known: HashMap::new() },
            resources: Ordinals { known: HashMap::new() },
            seen: HashMap::new(),
            rows: std::marker::PhantomData,
        }
    }

    pub(crate) fn source(&mut self, row: &'a Row) -> u64 {
        self.sources.of(row.id.source)
    }

    pub(crate) fn resource(&mut self, row: &'a Row) -> u64 {
        let resource = &row.record.resource;
        *self.seen.entry(Arc::as_ptr(resource)).or_insert_with(|| {
            let alone = LogRecord { resource: Arc::clone(resource), ..LogRecord::default() };
            self.resources.of(wire::encode_record(&alone).to_vec())
        })
    }

    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        let resources = self.resources.into_sorted().iter().map(|bytes| hex(bytes)).collect();
        let json = serde_json::to_vec(&Written { sources: self.sources.into_sorted(), resources })?;
        zstd::encode_all(json.as_slice(), ZSTD_LEVEL)
    }
}

/// What ordinals mean, in an open shard.
#[derive(Debug)]
pub(crate) struct Tables {
    sources: Vec<SourceId>,
    resources: Vec<Arc<Attributes>>,
}

impl Tables {
    /// Reads what [`TablesWriter::finish`] gave. `path` is the bundle's, for errors.
    pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let bad = |problem: String| Error::corrupt(path, format!("its tables: {problem}"));
        let json = zstd::decode_all(bytes).map_err(|e| bad(e.to_string()))?;
        let Written { sources, resources } = serde_json::from_slice(&json).map_err(|e| bad(e.to_string()))?;
        let resources = resources
            .iter()
            .map(|text| {
                let bytes =
                    unhex(text).ok_or_else(|| bad("a resource in hexadecimal expected".to_owned()))?;
                wire::decode_record(&bytes).map(|record| record.resource).map_err(|e| bad(e.to_string()))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { sources, resources })
    }

    /// All sources, by ordinal.
    pub(crate) fn sources(&self) -> impl Iterator<Item = SourceId> {
        self.sources.iter().copied()
    }

    pub(crate) fn source(&self, ordinal: u64) -> Option<SourceId> {
        self.sources.get(usize::try_from(ordinal).ok()?).copied()
    }

    pub(crate) fn ordinal(&self, source: SourceId) -> Option<u64> {
        self.sources.iter().position(|known| *known == source).map(|ordinal| ordinal as u64)
    }

    pub(crate) fn resource(&self, ordinal: u64) -> Option<&Arc<Attributes>> {
        self.resources.get(usize::try_from(ordinal).ok()?)
    }
}
