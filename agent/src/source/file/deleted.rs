//! The bound on what deleted files keep on the disk: those that are furthest from being read are let go of, and what is
//! lost with them is said.

use super::{Reader, generation::Generation};
use millrace_model::SourceId;

impl Reader {
    /// Lets go of deleted files until no more is kept than may be. Their sources end as deleted, with what was not read as lost.
    pub(super) fn let_go_of_deleted(&mut self) {
        let mut kept: Vec<(SourceId, u64, u64)> = self
            .generations
            .values()
            .filter_map(|generation| {
                let (allocated, unread) = generation.deleted_bytes()?;
                Some((generation.source, allocated, unread))
            })
            .collect();
        let now = kept.iter().map(|(_, allocated, _)| allocated).sum();
        let mut excess = self.keep_deleted(now);
        kept.sort_by_key(|(_, _, unread)| *unread);
        while excess > 0
            && let Some((source, allocated, unread)) = kept.pop()
        {
            let Some(generation) = self.generations.get_mut(&source) else { continue };
            tracing::error!(path = %generation.at.display(), unread, "a deleted file is let go of before it was read: \
                what such files may keep on the disk is used up (agent.deleted_bytes)");
            generation.let_go();
            self.open_files -= 1;
            self.context.shared.metrics.released_files.inc();
            excess = self.keep_deleted(self.deleted - allocated);
        }
    }

    fn keep_deleted(&mut self, now: u64) -> u64 {
        let before = std::mem::replace(&mut self.deleted, now);
        self.context.shared.metrics.deleted_bytes.inc_by(now as i64 - before as i64);
        self.context.shared.deleted.change(before, now)
    }
}

impl Generation {
    /// Of an open file without a name: what it takes on the disk, and how much of it is not read. `None`: it has one.
    fn deleted_bytes(&self) -> Option<(u64, u64)> {
        let metadata = self.open_metadata()?;
        let nameless = std::os::unix::fs::MetadataExt::nlink(&metadata) == 0;
        let unread = metadata.len().saturating_sub(self.position());
        nameless.then(|| (std::os::unix::fs::MetadataExt::blocks(&metadata) * 512, unread))
    }
}
