//! Reading the index: which documents hold a term, and which terms begin alike. Keeps account of what was read.

use super::Lowered;
use crate::documents::Documents;
use std::cell::Cell;
use tantivy::{
    SegmentReader,
    postings::TermInfo,
    schema::{Field, IndexRecordOption},
};

pub(super) type Result<T> = tantivy::Result<T>;

/// The inverted index of a shard.
pub(super) struct Index<'a> {
    segment: &'a SegmentReader,
    read: Cell<u64>,
}

impl<'a> Index<'a> {
    pub(super) fn new(segment: &'a SegmentReader) -> Self {
        Self { segment, read: Cell::new(0) }
    }

    /// Bytes of posting lists read so far.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read.get()
    }

    pub(super) fn none(&self) -> Documents {
        Documents::none(self.segment.max_doc())
    }

    pub(super) fn all(&self) -> Documents {
        Documents::all(self.segment.max_doc())
    }

    /// The documents that hold a term.
    pub(super) fn with(&self, field: Field, term: &[u8]) -> Result<Documents> {
        let mut documents = self.none();
        if let Some(info) = self.segment.inverted_index(field)?.terms().get(term)? {
            self.add(field, &info, &mut documents)?;
        }
        Ok(documents)
    }

    /// Adds the documents of a term.
    pub(super) fn add(&self, field: Field, info: &TermInfo, documents: &mut Documents) -> Result<()> {
        self.read.set(self.read.get() + info.postings_range.len() as u64);
        let index = self.segment.inverted_index(field)?;
        let mut postings = index.read_block_postings_from_terminfo(info, IndexRecordOption::Basic)?;
        loop {
            let block = postings.docs();
            if block.is_empty() {
                return Ok(());
            }
            for document in block {
                documents.insert(*document);
            }
            postings.advance();
        }
    }

    /// Sorts the terms that begin with `prefix` by what `decide` says of their remaining bytes, and joins their
    /// documents: `Some(true)` are surely in, `None` may be, `Some(false)` are not read at all.
    pub(super) fn scan(
        &self,
        field: Field,
        prefix: &[u8],
        mut decide: impl FnMut(&[u8]) -> Option<bool>,
    ) -> Result<Lowered> {
        let (mut sure, mut open) = (self.none(), self.none());
        let index = self.segment.inverted_index(field)?;
        let mut range = index.terms().range().ge(prefix);
        if let Some(after) = after_prefix(prefix) {
            range = range.lt(after);
        }
        let mut terms = range.into_stream()?;
        while let Some((term, info)) = terms.next() {
            match decide(&term[prefix.len()..]) {
                Some(true) => self.add(field, info, &mut sure)?,
                None => self.add(field, info, &mut open)?,
                Some(false) => {}
            }
        }
        Ok(Lowered { possible: open.or(&sure), sure })
    }
}

/// The first bytes after all that begin with `prefix`; `None` where there are none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut after = prefix.to_vec();
    while let Some(last) = after.pop() {
        if last < u8::MAX {
            after.push(last + 1);
            return Some(after);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::after_prefix;

    #[test]
    fn a_prefix_ends_where_its_last_byte_grows() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }
}
