//! What a regular expression cannot do without: literals that stand in every text that it matches. They narrow down
//! which records have to be read; the expression itself decides.

use super::{Lowering, Result};
use crate::documents::Documents;
use millrace_filter::Pattern;
use millrace_model::text::fold;
use regex_syntax::hir::{Hir, HirKind};

/// How many literals of one expression are looked up, at the price of reading the dictionary once or twice each.
const MOST_LITERALS: usize = 16;
/// Shorter literals stand in too many words to narrow anything down.
const SHORTEST_LITERAL: usize = 3;

impl Lowering<'_> {
    /// At least the documents whose body the expression matches.
    pub(super) fn regex(&self, pattern: &Pattern) -> Result<Documents> {
        // The pattern compiled, so it parses; and if it did not, any record may match.
        match regex_syntax::parse(pattern.as_str()) {
            Ok(hir) => self.needed(&hir, &mut 0),
            Err(_) => Ok(self.index.all()),
        }
    }

    fn needed(&self, hir: &Hir, looked_up: &mut usize) -> Result<Documents> {
        match hir.kind() {
            HirKind::Literal(literal) => match str::from_utf8(&literal.0) {
                Ok(text) if text.len() >= SHORTEST_LITERAL && *looked_up < MOST_LITERALS => {
                    *looked_up += 1;
                    self.with_literal(&fold(text))
                }
                _ => Ok(self.index.all()),
            },
            HirKind::Capture(capture) => self.needed(&capture.sub, looked_up),
            HirKind::Repetition(repetition) if repetition.min > 0 => self.needed(&repetition.sub, looked_up),
            HirKind::Concat(parts) => parts
                .iter()
                .try_fold(self.index.all(), |so_far, part| Ok(so_far.and(&self.needed(part, looked_up)?))),
            HirKind::Alternation(branches) => {
                branches.iter().try_fold(self.index.none(), |so_far, branch| {
                    Ok(so_far.or(&self.needed(branch, looked_up)?))
                })
            }
            _ => Ok(self.index.all()),
        }
    }
}
