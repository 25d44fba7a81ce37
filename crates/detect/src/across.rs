//! Rules whose groups span partitions. A detector that sees one partition decides by itself where a group names a host, for all that
//! a host sends lies in one partition; matches of all other groups are handed on, so that those of one group come together in one
//! *slice*, whose detector takes them as if it had seen the records.
//!
//! A rule over what other rules count, and those rules, are in the same slice wherever one of them cannot be decided within a
//! partition: what the one is satisfied by reaches the other without another way round.

use crate::{
    detector::held::Held,
    finding::{digest, fingerprint},
    kinds::RuleKind,
    matching::Field,
    rule::Rule,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// What a detector sees of the records, and so which groups it decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Share {
    /// All records, and all groups.
    #[default]
    Whole,
    /// The records of one partition. Matches of groups that span partitions are handed on to one of so many slices.
    Partition {
        /// How many there are; at least one.
        slices: u32,
    },
    /// What partitions hand on to one slice.
    Slice {
        /// Which, from 0.
        number: u32,
        /// Of so many.
        of: u32,
    },
}

/// What a partition's detector hands on.
#[derive(Debug, Clone, PartialEq)]
pub struct Handed {
    /// To which slice.
    pub slice: u32,
    /// Do the matches come of rules that count, and not of the record itself? Then they come about as time passes, too: when the
    /// same records are read again they may do so beside another one.
    pub counted: bool,
    /// What was matched.
    pub matches: MatchBatch,
}

/// Matches that a partition's detector hands on to one slice. JSON, versioned by whoever sends it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MatchBatch {
    /// Ids and digests of the rules that they are of.
    rules: Vec<(String, String)>,
    /// In the order in which they came; a place is one in `rules`.
    matches: Vec<Held>,
}

impl MatchBatch {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.matches.len()
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.matches.is_empty()
    }

    /// Adds one match of a rule, by its id and digest.
    pub(crate) fn push(&mut self, rule: &str, digest: u128, held: Held) {
        let found = self.rules.iter().position(|(id, _)| *id == *rule);
        let place = found.unwrap_or_else(|| {
            self.rules.push((rule.to_owned(), format!("{digest:032x}")));
            self.rules.len() - 1
        });
        self.matches.push(Held { place, ..held });
    }

    /// Each match, with the id and the digest of its rule.
    pub(crate) fn into_matches(self) -> impl Iterator<Item = (String, u128, Held)> {
        let rules = self.rules;
        self.matches.into_iter().filter_map(move |held| {
            let (id, digest) = rules.get(held.place)?;
            Some((id.clone(), u128::from_str_radix(digest, 16).ok()?, held))
        })
    }

    /// In two halves, where a message has no room for all. One match is not cut.
    pub fn split(mut self) -> (Self, Option<Self>) {
        if self.matches.len() < 2 {
            return (self, None);
        }
        let rest = self.matches.split_off(self.matches.len() / 2);
        let other = Self { rules: self.rules.clone(), matches: rest };
        (self, Some(other))
    }
}

/// Where the groups of each rule of a set come together.
#[derive(Debug, Default)]
pub(crate) struct Meeting {
    rules: Vec<Meets>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Meets {
    /// Not within a partition, whatever its groups name.
    never_within: bool,
    /// All of its groups are in one slice, with those of the rules that it is connected with.
    together: Option<u64>,
}

impl Meeting {
    /// `over`: the rules over each rule.
    pub(crate) fn of(rules: &[Rule], over: &HashMap<usize, Vec<(usize, usize)>>) -> Self {
        let mut meets = vec![Meets::default(); rules.len()];
        // A match of a detection needs nothing counted: whoever sees the record knows it.
        let counted: Vec<(usize, usize)> = over
            .iter()
            .filter(|(input, _)| !matches!(rules[**input].kind, RuleKind::Sigma))
            .flat_map(|(input, over)| over.iter().map(|(place, _)| (*input, *place)))
            .collect();
        for (input, place) in &counted {
            for place in [*input, *place] {
                meets[place].together = Some(digest_of(&rules[place]));
            }
        }
        loop {
            let mut changed = false;
            for (input, place) in &counted {
                let least = meets[*input].together.min(meets[*place].together);
                let spans =
                    meets[*input].never_within || !rules[*input].group_by.iter().any(Field::is_of_host);
                for (which, never) in [(*input, false), (*place, spans)] {
                    let after = Meets { never_within: meets[which].never_within || never, together: least };
                    changed |= after != meets[which];
                    meets[which] = after;
                }
            }
            if !changed {
                return Self { rules: meets };
            }
        }
    }

    /// Are the rule's groups decided within partitions, but for records that no host sent?
    pub(crate) fn within(&self, place: usize, rule: &Rule) -> bool {
        !self.rules[place].never_within && rule.group_by.iter().any(Field::is_of_host)
    }

    /// The slice, of so many, in which a group is decided; `None`: within its partition.
    pub(crate) fn slice(
        &self,
        place: usize,
        rule: &Rule,
        values: &BTreeMap<String, String>,
        of: u32,
    ) -> Option<u32> {
        let meets = self.rules[place];
        let names_host = || rule.group_by.iter().any(|f| f.is_of_host() && values.contains_key(&f.name));
        if !meets.never_within && names_host() {
            return None;
        }
        let number = meets.together.unwrap_or_else(|| fingerprint(&rule.id, values) as u64);
        Some((number % u64::from(of.max(1))) as u32)
    }
}

fn digest_of(rule: &Rule) -> u64 {
    digest(["together", rule.id.as_str()].into_iter()) as u64
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
