//! The end of a generation: what its last message says, and what must be remembered of it.

use super::{
    super::{FileContext, Fingerprint, records::put},
    Generation,
};
use crate::{
    budget::Stopped,
    checkpoint::{Closing, FilePlace},
    source::{Mark, Reading},
};
use millrace_model::wire::SourceClose;

impl Generation {
    /// Ends the source: a last line without its newline becomes a record. What it became is returned if its file must
    /// be remembered. `lent`: lines of the file that follows, which belong to its last records.
    pub(crate) fn close(
        mut self,
        reason: &'static str,
        remember: bool,
        lent: &[u8],
        context: &FileContext,
    ) -> Result<Option<FilePlace>, Stopped> {
        let unread = self.handle.is_none() && (self.unread || self.settled.is_none());
        let destroyed = reason == "truncated" || (reason == "deleted" && unread);
        let lost_at_least = destroyed.then(|| self.size.saturating_sub(self.read_to));
        let shared = &context.shared;
        let untouched = self.fresh && self.outbox.is_untouched() && self.framer.pending() == 0;
        if untouched && !remember && lost_at_least.unwrap_or(0) == 0 {
            shared.tell(Reading::Forgotten(vec![self.source]))?;
            return Ok(None);
        }
        self.seal(context)?;
        let closing = match self.closing.take() {
            Some(decided) if self.read_to >= decided.end => decided,
            Some(decided) => {
                let missing = decided.end - self.read_to + decided.lost_at_least.unwrap_or(0);
                Closing { end: self.read_to, lost_at_least: Some(missing), ..decided }
            }
            None => {
                if !destroyed {
                    self.keep_zeros(context);
                }
                Closing {
                    end: self.read_to,
                    reason: reason.to_owned(),
                    lost_at_least,
                    remember,
                    goes_on: None,
                }
            }
        };
        shared.tell(Reading::Closing(self.source, closing.clone()))?;
        context.count_closed(reason);
        let observed = shared.clock.now();
        let Self { framer, outbox, resource, .. } = &mut self;
        for line in lent.split_inclusive(|byte| *byte == b'\n') {
            framer.lend(line, &mut |piece| put(&piece, outbox, observed, resource, context));
        }
        framer.finish(&mut |piece| put(&piece, outbox, observed, resource, context));
        if self.unverified.is_none() {
            self.mark = (self.read_to, Fingerprint::of(&self.tail));
        }
        let mark = Mark::File { head: self.head, marker: self.mark.1, size: self.size };
        let close =
            SourceClose { end: closing.end, reason: closing.reason, lost_at_least: closing.lost_at_least };
        self.outbox.seal(mark, Some(close), shared)?;
        let Self { path, at, identity, head, mark, read_to, packed, .. } = self;
        Ok(closing.remember.then_some(FilePlace {
            path,
            at,
            identity,
            head,
            marker: mark.1,
            size: read_to,
            packed,
        }))
    }
}
