//! Which masks are one template after all: those that differ only in names, paths, states and the like.
//!
//! Masks of one skeleton are compared slot by slot ([`crate::slots`]). A new mask is merged with the *fewest* slots
//! open for which the masks seen so far give evidence: where all else is equal, the contents of each open slot must
//! have a weight of [`EVIDENCE`], times the number of slots opened at once. A content that holds a variable already
//! weighs two, as does a unit behind a variable, and any other one. So four names make a variable, and two paths with
//! numbers do; two or three words (`opened`, `closed`) stay what they are; and where two slots vary together, like the
//! states before and after, each must vary more. Half of a mask's words stay, or it is no template.
//!
//! **Invariants:**
//! - The merges of a skeleton are disjoint: no mask is covered by two of them. One that overlaps others is replaced by
//!   their *join*, open wherever one of them is. The outcome is the least set of disjoint merges that covers all that
//!   were ever added, so it does not depend on their order, and nodes that have told one another all of their merges
//!   ([`Miner::merges`], [`Miner::absorb`]) until nothing changes have the same set, as long as no bound is reached.
//! - What a mask stands for ([`Miner::canonical`]) is a function of the mask and that set.
//! - Time and memory for a mask are bounded, whatever comes: [`Limits`]. What was learned for want of evidence is
//!   forgotten when it has not been asked for longest; merges are kept.

use crate::{
    FREE_TEXT, Merge, TemplateId,
    contents::{
        Contents, Parts, covers, distinct_weight, is_kept, keeps_words, open_slots, opened, overlap, words,
    },
};
use std::{
    collections::{BTreeMap, HashMap, hash_map::RandomState},
    mem,
};

/// The weight of contents that opens a slot.
const EVIDENCE: u32 = 4;

/// How many sets of slots are tried for a mask.
const CANDIDATES: usize = 32;

/// What bounds a miner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Skeletons that are being learned; at least as many of those asked for last are kept, at most twice as many.
    pub skeletons: usize,
    /// Slots of the masks that are remembered of those, in all, in the same sense; each takes 16 bytes.
    pub contents: usize,
    /// Masks without a merge that are remembered of one skeleton, the newest; and how many merges it may have.
    pub variants: usize,
    /// Merges that are learned. Those of other nodes are taken beyond it, up to four times as many.
    pub merges: usize,
    /// Bytes of the masks of all merges, in the same sense.
    pub merge_bytes: usize,
    /// A longer mask, in bytes, is left alone.
    pub mask_bytes: usize,
    /// A mask with more slots is left alone; at most 128.
    pub slots: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            skeletons: 4096,
            contents: 500_000,
            variants: 48,
            merges: 8192,
            merge_bytes: 4 << 20,
            mask_bytes: 4096,
            slots: 100,
        }
    }
}

/// What a mask stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canonical<'a> {
    /// No merge covers it.
    Itself,
    /// The merge that covers it.
    Merged(&'a Merge),
}

/// Learns which masks are one template. See the module's own words.
#[derive(Debug, Clone, Default)]
pub struct Miner {
    limits: Limits,
    /// Keys that nobody outside knows, so that nobody can make skeletons or contents collide.
    keys: [RandomState; 2],
    merges: BTreeMap<TemplateId, Known>,
    of_skeleton: HashMap<u128, Vec<TemplateId>>,
    /// Bytes of the masks of merges.
    merge_bytes: usize,
    young: HashMap<u128, Vec<Contents>>,
    /// Slots that went into `young`, at least as many as are there.
    young_contents: usize,
    old: HashMap<u128, Vec<Contents>>,
}

#[derive(Debug, Clone)]
struct Known {
    merge: Merge,
    contents: Contents,
}

impl Miner {
    /// A miner with the one setting for all systems.
    pub fn new() -> Self {
        Self::default()
    }

    /// A miner with other bounds.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits: Limits { slots: limits.slots.min(128), ..limits }, ..Self::default() }
    }

    /// Learns a mask, and says what it stands for now.
    pub fn learn(&mut self, mask: &[u8]) -> Canonical<'_> {
        let Some(parts) = self.parts(mask) else { return Canonical::Itself };
        if let Some(id) = self.covering(&parts) {
            return self.merged(id);
        }
        let seen = self.seen(parts.skeleton);
        if seen.contains(&parts.contents) {
            return Canonical::Itself;
        }
        if let Some(open) = self.evidence(&parts)
            && self.has_room(parts.skeleton, 1)
            && let Some(id) = self.add(&opened(mask, &parts.slots, open), Some(&parts))
        {
            return self.merged(id);
        }
        let most = self.limits.variants;
        let seen = self.seen(parts.skeleton);
        if seen.len() >= most {
            seen.remove(0);
        }
        if most > 0 {
            let contents = parts.contents.len();
            seen.push(parts.contents);
            self.young_contents += contents;
        }
        Canonical::Itself
    }

    /// What a mask stands for, without learning it.
    pub fn canonical(&self, mask: &[u8]) -> Canonical<'_> {
        match self.parts(mask).and_then(|parts| self.covering(&parts)) {
            Some(id) => self.merged(id),
            None => Canonical::Itself,
        }
    }

    /// All merges, by id.
    pub fn merges(&self) -> impl Iterator<Item = &Merge> {
        self.merges.values().map(|known| &known.merge)
    }

    /// Takes over a merged mask of another node.
    pub fn absorb(&mut self, merge: &[u8]) {
        let room = self.parts(merge).is_some_and(|parts| self.has_room(parts.skeleton, 4));
        if room {
            self.add(merge, None);
        }
    }

    /// Whether there may be another merge of a skeleton, by so many times the bounds.
    fn has_room(&self, skeleton: u128, times: usize) -> bool {
        let of_skeleton = self.of_skeleton.get(&skeleton).map_or(0, Vec::len);
        self.merges.len() < self.limits.merges.saturating_mul(times)
            && self.merge_bytes < self.limits.merge_bytes.saturating_mul(times)
            && of_skeleton < self.limits.variants.saturating_mul(times)
    }

    fn merged(&self, id: TemplateId) -> Canonical<'_> {
        self.merges.get(&id).map_or(Canonical::Itself, |known| Canonical::Merged(&known.merge))
    }

    /// The merge that covers a mask.
    fn covering(&self, parts: &Parts) -> Option<TemplateId> {
        let ids = self.of_skeleton.get(&parts.skeleton)?;
        let covers = |id: &&TemplateId| {
            let known = self.merges.get(id);
            known.is_some_and(|known| covers(&known.contents, &parts.contents))
        };
        ids.iter().find(covers).copied()
    }

    fn parts(&self, mask: &[u8]) -> Option<Parts> {
        let is_short = mask.len() <= self.limits.mask_bytes;
        is_short.then(|| Parts::of(mask, self.limits.slots, &self.keys))?
    }

    /// What is being learned of a skeleton.
    fn seen(&mut self, skeleton: u128) -> &mut Vec<Contents> {
        let is_new = !self.young.contains_key(&skeleton);
        if self.young_contents >= self.limits.contents
            || (is_new && self.young.len() >= self.limits.skeletons)
        {
            self.old = mem::take(&mut self.young);
            self.young_contents = 0;
        }
        if let Some(known) = self.old.remove(&skeleton) {
            self.young_contents += known.iter().map(|variant| variant.len()).sum::<usize>();
            self.young.insert(skeleton, known);
        }
        self.young.entry(skeleton).or_default()
    }

    /// The fewest slots of a new mask that there is evidence to open, as a set of bits.
    fn evidence(&self, parts: &Parts) -> Option<u128> {
        let seen = self.young.get(&parts.skeleton).into_iter().flatten();
        let merges = self.of_skeleton.get(&parts.skeleton).into_iter().flatten();
        let merges = merges.filter_map(|id| self.merges.get(id)).map(|known| &known.contents);
        let count = parts.contents.len();
        let words = words(&parts.contents);
        let mut others: Vec<(u128, &Contents)> = Vec::new();
        let seen = seen.map(|contents| (contents, false));
        for (contents, is_merge) in seen.chain(merges.map(|contents| (contents, true))) {
            let (mut differing, mut kept) = (0_u128, words);
            for (at, (theirs, own)) in contents.iter().zip(&parts.contents).enumerate() {
                if theirs.hash != own.hash && !(is_merge && theirs.open) {
                    differing |= 1 << at;
                    kept -= usize::from(own.word);
                    if !is_kept(kept, words) {
                        break;
                    }
                }
            }
            if is_kept(kept, words) {
                others.push((differing, contents));
            }
        }
        others.sort_by_key(|(differing, _)| (differing.count_ones(), *differing));
        let mut candidates: Vec<u128> = others.iter().map(|(differing, _)| *differing).collect();
        candidates.dedup();
        candidates.into_iter().take(CANDIDATES).find(|open| {
            let equal_elsewhere = || others.iter().filter(|(differing, _)| differing & !open == 0);
            let enough = EVIDENCE * open.count_ones();
            (0..count).filter(|at| open >> at & 1 == 1).all(|at| {
                let contents = equal_elsewhere().map(|(_, contents)| contents[at]);
                distinct_weight(contents.chain([parts.contents[at]]), enough) >= enough
            })
        })
    }

    /// Adds a merge, joined with all that it overlaps. One that was `learned` from a mask only if that keeps its
    /// skeleton, and half of its words.
    fn add(&mut self, mask: &[u8], learned: Option<&Parts>) -> Option<TemplateId> {
        let mut mask: Box<[u8]> = mask.into();
        let mut parts = self.parts(&mask)?;
        if let Some(id) = self.covering(&parts) {
            return Some(id);
        }
        let skeleton = learned.unwrap_or(&parts).skeleton;
        let mut joined = Vec::new();
        let ids = self.of_skeleton.get(&skeleton).cloned().unwrap_or_default();
        loop {
            let overlapping = ids.iter().filter(|id| !joined.contains(*id)).find_map(|id| {
                let known = self.merges.get(id)?;
                overlap(&known.contents, &parts.contents).then_some((*id, known))
            });
            let Some((id, known)) = overlapping else { break };
            joined.push(id);
            mask = opened(&mask, &parts.slots, open_slots(&known.contents));
            parts = self.parts(&mask)?;
        }
        // Free text is no template, and a mask with nothing open merges nothing.
        let is_merge = *mask != *FREE_TEXT && parts.contents.iter().any(|content| content.open);
        let is_worded = learned.is_none_or(|mask| keeps_words(&mask.contents, open_slots(&parts.contents)));
        if parts.skeleton != skeleton || !is_merge || !is_worded {
            return None;
        }
        let merge = Merge::new(mask);
        let id = merge.id;
        for id in &joined {
            self.merge_bytes -= self.merges.remove(id).map_or(0, |known| known.merge.mask.len());
        }
        let ids = self.of_skeleton.entry(skeleton).or_default();
        ids.retain(|id| !joined.contains(id));
        ids.push(id);
        for seen in [&mut self.young, &mut self.old] {
            if let Some(variants) = seen.get_mut(&skeleton) {
                variants.retain(|variant| !covers(&parts.contents, variant));
            }
        }
        self.merge_bytes += merge.mask.len();
        self.merges.insert(id, Known { merge, contents: parts.contents });
        Some(id)
    }
}

#[cfg(test)]
mod tests;
