//! A file that takes another's place: what it begins with may belong to the other's last records. It is read once that is known.

use super::Reader;
use crate::{
    budget::Stopped,
    checkpoint::{Closing, GoesOn},
    source::Reading,
};
use millrace_model::SourceId;

impl Reader {
    /// A file lies at another path than the one at which it was seen first: another will take its place there.
    pub(super) fn leaves_its_path(&mut self, source: SourceId) {
        let walk = self.walks;
        let Some(generation) = self.generations.get_mut(&source) else { return };
        let news = generation.leaving.is_none();
        generation.leave("rotated", walk);
        if !news {
            return;
        }
        let (path, born) = (generation.path.clone(), generation.identity.born);
        let last = self.left.get(&path).and_then(|last| self.generations.get(last));
        if last.is_none_or(|last| last.identity.born <= born) {
            self.left.insert(path, source);
        }
    }

    /// May a file be read now? Not before it is known what of it belongs to records of the file before.
    pub(super) fn may_begin(&mut self, source: SourceId) -> Result<bool, Stopped> {
        let Some(generation) = self.generations.get(&source) else { return Ok(true) };
        if !generation.may_follow() {
            return Ok(true);
        }
        let Some(before) = self.left.get(&generation.path).copied().filter(|before| *before != source) else {
            return Ok(true);
        };
        let Some(last) = self.generations.get(&before) else { return Ok(true) };
        if last.is_closing() || last.trouble.is_some() {
            return Ok(true);
        }
        if !last.is_drained() {
            self.heirs.insert(before, source);
            self.enqueue(before);
            return Ok(false);
        }
        let Some(waited) = last.waits_for_its_follower() else {
            self.heirs.remove(&before);
            return Ok(true);
        };
        let (max_line, settings) = (self.context.settings.max_line, &self.context.settings);
        let patience = settings.line_wait.max(settings.multiline_wait);
        let Some(generation) = self.generations.get_mut(&source) else { return Ok(true) };
        let Some(bytes) = generation.peek(max_line) else {
            self.heirs.remove(&before);
            return Ok(true);
        };
        let no_more = bytes.len() >= max_line || waited > patience;
        let found = self.generations.get(&before).map(|last| last.followed_by(&bytes, no_more));
        match found {
            Some(None) => {
                self.heirs.insert(before, source);
                Ok(false)
            }
            None => Ok(true),
            Some(Some(ranges)) => {
                self.heirs.remove(&before);
                if !ranges.is_empty() {
                    self.goes_on(before, GoesOn { source, ranges })?;
                }
                Ok(true)
            }
        }
    }

    /// A file's last records go on in another. That is made durable, and the file ends.
    fn goes_on(&mut self, before: SourceId, goes_on: GoesOn) -> Result<(), Stopped> {
        let Some(last) = self.generations.get_mut(&before) else { return Ok(()) };
        let (end, reason) = (last.position(), "rotated".to_owned());
        let (heir, ranges) = (goes_on.source, goes_on.ranges.clone());
        let closing = Closing { end, reason, lost_at_least: None, remember: true, goes_on: Some(goes_on) };
        last.decide(closing.clone());
        self.context.shared.tell(Reading::GoesOn(before, closing))?;
        if let Some(heir) = self.generations.get_mut(&heir) {
            heir.take_as_merged(&ranges);
        }
        self.close(before, "rotated", true)
    }

    /// The lines that another file has of a file's last records.
    pub(super) fn lent_to(&mut self, source: SourceId) -> Vec<u8> {
        let Some(goes_on) = self.generations.get(&source).and_then(|last| last.goes_on().cloned()) else {
            return Vec::new();
        };
        let heir = self.generations.get_mut(&goes_on.source);
        match heir.map(|heir| heir.read_ranges(&goes_on.ranges)) {
            Some(Ok(lines)) => lines,
            other => {
                let error = other.and_then(Result::err).map(|error| error.to_string());
                tracing::warn!(%source, error, "what another file has of its last records cannot be read any more");
                Vec::new()
            }
        }
    }

    /// What waited for this file to be drained may go on.
    pub(super) fn call_heir(&mut self, source: SourceId) {
        if let Some(heir) = self.heirs.get(&source).copied() {
            self.enqueue(heir);
        }
    }
}
