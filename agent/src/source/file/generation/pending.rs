//! What waits for its end: a line for its newline, lines for the next that begins. After a while that is given up.

use super::{
    super::{FileContext, Fingerprint, MARKER, content::Content, records::put},
    Generation,
};
use crate::{budget::Stopped, source::Reading};
use std::{io, time::Instant};

impl Generation {
    /// When what is pending has waited long enough for its end: a line for its newline, lines for the next that begins.
    pub(crate) fn cut_due(&self, context: &FileContext) -> Option<Instant> {
        self.framer.cut_at().filter(|_| !self.unread && self.settled.is_some())?;
        let settings = &context.settings;
        let whole = !self.framer.is_within_line() && settings.multiline.is_some();
        let wait = if whole { settings.multiline_wait } else { settings.line_wait };
        (!wait.is_zero()).then(|| self.progress.1 + wait)
    }

    /// Gives up waiting for the end of what is pending. That is made durable before it is shipped: read again, it must become the
    /// same record.
    pub(crate) fn cut(&mut self, context: &FileContext) -> Result<(), Stopped> {
        let Some(cut) = self.framer.cut_at() else { return Ok(()) };
        let Some(mark) = self.mark_before(cut) else { return Ok(()) };
        let shared = &context.shared;
        shared.tell(Reading::Cut(self.source, cut))?;
        let observed = shared.clock.now();
        let Self { framer, outbox, resource, .. } = self;
        framer.cut(&mut |piece| put(&piece, outbox, observed, resource, context));
        self.mark = mark;
        Ok(())
    }

    /// What stands before a position; `None`: it cannot be read now.
    pub(super) fn mark_before(&mut self, position: u64) -> Option<(u64, Fingerprint)> {
        let from = self.read_to - self.tail.len() as u64;
        let mark = mark_at(self.mark, position, self.handle.as_mut(), &self.tail, from);
        let trouble = |error: &io::Error| {
            tracing::debug!(path = %self.at.display(), position, %error, "what stands before it cannot be read");
        };
        mark.inspect_err(trouble).ok()
    }
}

/// The fingerprint before `position`: out of the window that begins at `from`, where it lies in that; out of the file, where a record
/// ends that is known to only now.
pub(super) fn mark_at(
    mark: (u64, Fingerprint),
    position: u64,
    content: Option<&mut Content>,
    window: &[u8],
    from: u64,
) -> io::Result<(u64, Fingerprint)> {
    if mark.0 == position {
        return Ok(mark);
    }
    let reach = position.min(MARKER as u64);
    if let Some(at) = position.checked_sub(from).filter(|at| *at >= reach) {
        return Ok((position, Fingerprint::before(at as usize, window)));
    }
    let mut bytes = vec![0; reach as usize];
    let content = content.ok_or(io::ErrorKind::NotFound)?;
    content.read_exact_at(&mut bytes, position - reach)?;
    Ok((position, Fingerprint::of(&bytes)))
}
