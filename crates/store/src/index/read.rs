//! Asking the index and the filters which chunks may hold a word or term.

use super::{FieldName, Fields, filters::Filters, tokenizers, write::key};
use crate::{
    Error,
    bits::Bits,
    bundle::{Bundle, BundleDirectory},
};
use std::{cell::Cell, path::Path, sync::Arc};
use tantivy::{
    DocSet, Index, SegmentReader, TERMINATED, Term, postings::TermInfo, schema::IndexRecordOption,
};

/// The open index of a shard.
pub(crate) struct ChunkIndex {
    fields: Fields,
    segment: SegmentReader,
    filters: Filters,
    chunks: u32,
}

impl ChunkIndex {
    pub(crate) fn open(bundle: &Arc<Bundle>, filters: &[u8], chunks: u32) -> Result<Self, Error> {
        let path = bundle.path();
        let bad = |problem: String| Error::corrupt(path, problem);
        let fields = Fields::new();
        let mut index = Index::open(BundleDirectory(Arc::clone(bundle))).map_err(Error::index(path))?;
        index.set_tokenizers(tokenizers());
        if index.schema() != fields.schema {
            return Err(bad("its index has other fields than its layout".to_owned()));
        }
        let segments = index.searchable_segments().map_err(Error::index(path))?;
        let [segment] = segments.as_slice() else {
            return Err(bad(format!("{} segments found, one expected", segments.len())));
        };
        let segment = SegmentReader::open(segment).map_err(Error::index(path))?;
        if segment.max_doc() != chunks || segment.has_deletes() {
            return Err(bad(format!("{} documents found, {chunks} chunks expected", segment.max_doc())));
        }
        let filters =
            Filters::read(filters, chunks).map_err(|problem| bad(format!("its filters: {problem}")))?;
        Ok(Self { fields, segment, filters, chunks })
    }

    /// Calls `visit` with every word (`true`) and term of the index.
    pub(crate) fn each_term<E: From<Error>>(
        &self,
        path: &Path,
        mut visit: impl FnMut(bool, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |error: std::io::Error| Error::index(path)(error);
        for field in [self.fields.body, self.fields.terms] {
            let inverted = self.segment.inverted_index(field).map_err(Error::index(path))?;
            let mut terms = inverted.terms().stream().map_err(failed)?;
            while terms.advance() {
                visit(field == self.fields.body, terms.key())?;
            }
        }
        Ok(())
    }

    /// The chunks that may hold a word or term: all that do, and seldom another. `read` counts bytes of postings.
    pub(crate) fn look_up(
        &self,
        path: &Path,
        name: FieldName,
        bytes: &[u8],
        read: &Cell<u64>,
    ) -> Result<Bits, Error> {
        let mut found = Bits::none(self.chunks);
        self.filters.look_up(key(self.filters.seed, name, bytes), &mut found);
        let term = match name {
            FieldName::Body => {
                Term::from_field_text(self.fields.body, std::str::from_utf8(bytes).unwrap_or_default())
            }
            FieldName::Terms => Term::from_field_bytes(self.fields.terms, bytes),
        };
        let failed = Error::index(path);
        let inverted = self.segment.inverted_index(self.fields.get(name)).map_err(&failed)?;
        let info: Option<TermInfo> = inverted.get_term_info(&term).map_err(|e| failed(e.into()))?;
        if let Some(info) = info {
            read.set(read.get() + info.postings_range.len() as u64);
            let mut postings = inverted
                .read_postings_from_terminfo(&info, IndexRecordOption::Basic)
                .map_err(|e| failed(e.into()))?;
            let mut document = postings.doc();
            while document != TERMINATED {
                found.insert(document);
                document = postings.advance();
            }
        }
        Ok(found)
    }
}
