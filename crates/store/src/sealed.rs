//! A sealed shard: opened once, then searched by any number of threads. Documents are numbered in the rows' total
//! order, so a time range, a cursor and a histogram's buckets are stretches of numbers, found by bisection; the
//! newest hits are the last bits of a set.

mod columns;
#[cfg(test)]
mod tests;

pub(crate) use self::columns::Columns;
use crate::{
    Error,
    bundle::{Bundle, BundleDirectory},
    documents::Documents,
    layout::{self, Layout, TABLES},
    leaf::{LeafRequest, LeafResponse, Order, bucket},
    lower::{self, Lowered},
    tables::Tables,
};
use millrace_model::{RecordId, Row, ShardMeta, TimeRange, Timestamp, wire};
use std::{ops::Range, path::Path, sync::Arc};
use tantivy::{Index, SegmentReader, TantivyDocument, schema::Value, store::StoreReader};

/// How many uncompressed blocks of records (256 KiB each) an open shard keeps at hand.
const STORE_BLOCKS: usize = 8;

/// A published shard, open for searching. Keeps one file open, the dictionary of its terms and its columns in memory;
/// the rest is read when it is asked for.
pub struct SealedShard {
    bundle: Arc<Bundle>,
    layout: Layout,
    segment: SegmentReader,
    store: StoreReader,
    columns: Columns,
    tables: Tables,
}

impl std::fmt::Debug for SealedShard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedShard").field("path", &self.bundle.path()).finish_non_exhaustive()
    }
}

impl SealedShard {
    /// Opens a bundle. Blocking; reads the footer, the term dictionaries and the columns.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Index`] where bytes are missing or changed, [`Error::Version`] where the layout
    /// is newer than this program.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bundle = Arc::new(Bundle::open(path)?);
        let missing = || Error::corrupt(path, format!("it has no file {TABLES}"));
        let tables =
            bundle.read(bundle.place(TABLES).ok_or_else(missing)?).map_err(Error::io(path, "reading"))?;
        let tables = Tables::read(path, &tables)?;
        let layout = Layout::new();
        let segment = open_segment(&bundle, &layout)?;
        let columns = Columns::open(&segment).map_err(Error::index(path))?;
        let store = segment.get_store_reader(STORE_BLOCKS).map_err(Error::index(path))?;
        Ok(Self { bundle, layout, segment, store, columns, tables })
    }

    /// What the bundle says of itself.
    pub fn meta(&self) -> &ShardMeta {
        self.bundle.meta()
    }

    /// Searches. CPU bound and blocking, for a pool of threads.
    pub fn search(&self, request: &LeafRequest) -> Result<LeafResponse, Error> {
        let range = self.documents_in(request.range);
        if range.is_empty() {
            return Ok(LeafResponse::default());
        }
        let shard = lower::Shard {
            segment: &self.segment,
            layout: &self.layout,
            columns: &self.columns,
            tables: &self.tables,
            stream: &self.meta().stream,
        };
        let (lowered, mut scanned_bytes) = lower::lower(&request.filter, shard).map_err(self.failed())?;
        let matching = self.decide(lowered, &range, request, &mut scanned_bytes)?;
        let histogram = request.histogram.filter(|interval| *interval > 0);
        Ok(LeafResponse {
            hits: self.hits(&matching, &range, request, &mut scanned_bytes)?,
            total: matching.count(&range),
            histogram: histogram
                .map(|interval| self.histogram(&matching, &range, interval))
                .unwrap_or_default(),
            scanned_bytes,
        })
    }

    /// The record of that id, if it is in here.
    pub fn record(&self, id: RecordId) -> Result<Option<Row>, Error> {
        let Some(source) = self.tables.ordinal(id.source) else { return Ok(None) };
        self.columns.find(source, &id).map(|document| self.row(document, &mut 0)).transpose()
    }

    /// The residual test: records that the index leaves open are decoded and asked.
    fn decide(
        &self,
        lowered: Lowered,
        range: &Range<u32>,
        request: &LeafRequest,
        scanned_bytes: &mut u64,
    ) -> Result<Documents, Error> {
        let open = lowered.possible.without(&lowered.sure);
        let mut matching = lowered.sure;
        for document in open.upwards(range.clone()) {
            let row = self.row(document, scanned_bytes)?;
            if millrace_filter::matches(&request.filter, &row.placed()) {
                matching.insert(document);
            }
        }
        Ok(matching)
    }

    fn hits(
        &self,
        matching: &Documents,
        range: &Range<u32>,
        request: &LeafRequest,
        scanned_bytes: &mut u64,
    ) -> Result<Vec<Row>, Error> {
        let mut range = range.clone();
        // The cursor's own document, should it be here, is on neither side.
        if let Some(after) = &request.after {
            match request.order {
                Order::NewestFirst => range.end = range.end.min(self.first_where(|place| place >= *after)),
                Order::OldestFirst => range.start = range.start.max(self.first_where(|place| place > *after)),
            }
        }
        let documents: Vec<u32> = match request.order {
            Order::NewestFirst => matching.downwards(range).take(request.limit).collect(),
            Order::OldestFirst => matching.upwards(range).take(request.limit).collect(),
        };
        documents.into_iter().map(|document| self.row(document, scanned_bytes)).collect()
    }

    /// Counts by bucket. Looks at one time for each bucket that holds anything, and bisects for its end.
    fn histogram(
        &self,
        matching: &Documents,
        range: &Range<u32>,
        interval: u64,
    ) -> std::collections::BTreeMap<i64, u64> {
        let mut counts = std::collections::BTreeMap::new();
        let mut from = range.start;
        while let Some(document) = matching.next(from).filter(|document| *document < range.end) {
            let start = bucket(self.columns.time(document), interval);
            let end = self.columns.first_from(document + 1..range.end, |time| bucket(time, interval) > start);
            counts.insert(start, matching.count(&(document..end)));
            from = end;
        }
        counts
    }

    fn documents_in(&self, range: TimeRange) -> Range<u32> {
        let all = 0..self.columns.documents();
        let from = self.columns.first_from(all.clone(), |time| time >= range.from);
        from..self.columns.first_from(from..all.end, |time| time >= range.to)
    }

    /// The first document whose place satisfies what all later ones satisfy too.
    fn first_where(&self, test: impl Fn((Timestamp, RecordId)) -> bool) -> u32 {
        columns::bisect(0..self.columns.documents(), |document| {
            // A source that the tables do not name was refused when the row was read; its place is before all.
            self.columns.id(document, &self.tables).is_some_and(|id| test((self.columns.time(document), id)))
        })
    }

    /// Decodes a document.
    fn row(&self, document: u32, scanned_bytes: &mut u64) -> Result<Row, Error> {
        let path = self.bundle.path();
        let stored: TantivyDocument = self.store.get(document).map_err(self.failed())?;
        let bytes = stored.get_first(self.layout.record).and_then(|value| value.as_bytes());
        let bytes =
            bytes.ok_or_else(|| Error::corrupt(path, format!("document {document} holds no record")))?;
        *scanned_bytes += bytes.len() as u64;
        let mut record = wire::decode_record(bytes).map_err(|source| Error::Record {
            path: path.to_owned(),
            document,
            source,
        })?;
        record.timestamp = self.columns.timestamp(document);
        record.observed_timestamp = self.columns.observed(document);
        let unknown = |what| Error::corrupt(path, format!("document {document} names an unknown {what}"));
        let resource = self.tables.resource(self.columns.resource(document));
        record.resource = Arc::clone(resource.ok_or_else(|| unknown("resource"))?);
        let id = self.columns.id(document, &self.tables).ok_or_else(|| unknown("source"))?;
        Ok(Row { id, stream: self.meta().stream.clone(), time: self.columns.time(document), record })
    }

    fn failed(&self) -> impl Fn(tantivy::TantivyError) -> Error {
        Error::index(self.bundle.path())
    }
}

fn open_segment(bundle: &Arc<Bundle>, layout: &Layout) -> Result<SegmentReader, Error> {
    let path = bundle.path();
    let bad = |problem: String| Error::corrupt(path, problem);
    let mut index = Index::open(BundleDirectory(Arc::clone(bundle))).map_err(Error::index(path))?;
    index.set_tokenizers(layout::tokenizers());
    if index.schema() != layout.schema {
        return Err(bad("its index has other fields than its layout".to_owned()));
    }
    let segments = index.searchable_segments().map_err(Error::index(path))?;
    let [segment] = segments.as_slice() else {
        return Err(bad(format!("{} segments found, one expected", segments.len())));
    };
    let reader = SegmentReader::open(segment).map_err(Error::index(path))?;
    if u64::from(reader.max_doc()) != bundle.meta().records || reader.has_deletes() {
        return Err(bad(format!(
            "{} documents found, {} records expected",
            reader.max_doc(),
            bundle.meta().records
        )));
    }
    Ok(reader)
}
