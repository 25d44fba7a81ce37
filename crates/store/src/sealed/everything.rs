//! All that a shard holds: every record, and every text that stands somewhere besides the records, whether or not one
//! shows it. For proving what is there and what is not.

use super::{SealedShard, reader::Reader};
use crate::{Error, blocks::BLOCK_ROWS, shape::SeverityText};
use millrace_model::{RecordId, Row};

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextPlace {
    /// The constant text of lines of one shape, each variable of it as a NUL.
    Mask,
    /// The name of an attribute, or the constant text of a level.
    Shape,
    /// The attributes of a resource, as JSON.
    Resource,
    /// A word of lines, in the index.
    Word,
    /// A field with or without a value, in the index.
    Term,
    /// A word or term that rows are counted of.
    Counted,
}

impl SealedShard {
    /// Calls `visit` with every record, in order. CPU bound and blocking.
    ///
    /// # Errors
    /// Bytes of the bundle are missing or changed; what `visit` returns.
    pub fn each_record<E: From<Error>>(&self, mut visit: impl FnMut(Row) -> Result<(), E>) -> Result<(), E> {
        let reader = Reader::new(self);
        let all: Vec<u32> = (0..self.meta().records as u32).collect();
        for rows in all.chunks(BLOCK_ROWS) {
            reader.rows(rows, None)?.into_iter().try_for_each(&mut visit)?;
        }
        Ok(())
    }

    /// Calls `visit` with the id of every record, in order. Reads what is said of rows, not what their records hold. CPU bound and
    /// blocking.
    ///
    /// # Errors
    /// Bytes that say it are missing or changed.
    pub fn each_id(&self, mut visit: impl FnMut(RecordId)) -> Result<(), Error> {
        let reader = Reader::new(self);
        (0..self.meta().records as u32).try_for_each(|row| reader.id(row).map(&mut visit))
    }

    /// Calls `visit` with every text beside the records: of shapes, of resources, of the index. Bytes that need not be text.
    /// CPU bound and blocking.
    ///
    /// # Errors
    /// As [`Self::each_record`].
    pub fn each_text<E: From<Error>>(
        &self,
        mut visit: impl FnMut(TextPlace, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for shape in &self.directory.shapes {
            if let Some(mask) = shape.mask() {
                visit(TextPlace::Mask, &mask.text)?;
            }
            if let SeverityText::Constant(text) = &shape.severity_text
                && !text.is_empty()
            {
                visit(TextPlace::Shape, text.as_bytes())?;
            }
            let mut names = Vec::new();
            shape.attributes.each(&mut |path, _| names.push(path.to_owned()));
            names.iter().try_for_each(|name| visit(TextPlace::Shape, name.as_bytes()))?;
        }
        for origin in &self.directory.origins {
            let text = serde_json::to_string(&*origin.resource).unwrap_or_default();
            visit(TextPlace::Resource, text.as_bytes())?;
        }
        self.index.each_term(self.bundle.path(), |is_word, bytes| {
            visit(if is_word { TextPlace::Word } else { TextPlace::Term }, bytes)
        })?;
        self.counts()?.each().try_for_each(|bytes| visit(TextPlace::Counted, bytes))
    }
}
