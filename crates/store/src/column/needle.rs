//! A part that every value that is sought holds: what passes over values without looking at each.

use memchr::memmem::Finder;

/// A folded ASCII text, sought in bytes of either case.
#[derive(Debug, Clone)]
pub(crate) struct Needle {
    finder: Finder<'static>,
    has_letters: bool,
}

impl Needle {
    /// `None` where nothing is known of the bytes of what holds it: characters outside of ASCII have several spellings.
    pub(crate) fn new(folded: &str) -> Option<Self> {
        let known = !folded.is_empty() && folded.is_ascii();
        let has_letters = folded.bytes().any(|byte| byte.is_ascii_alphabetic());
        known.then(|| Self { finder: Finder::new(folded).into_owned(), has_letters })
    }

    /// May values that lie in these bytes hold it? Characters outside of ASCII can fold to anything.
    #[inline]
    pub(super) fn may_be_in(&self, bytes: &[u8], folded: &mut Vec<u8>) -> bool {
        if !bytes.is_ascii() {
            return true;
        }
        if !self.has_letters {
            return self.finder.find(bytes).is_some();
        }
        folded.clear();
        folded.extend(bytes.iter().map(u8::to_ascii_lowercase));
        self.finder.find(folded).is_some()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::Needle;

    #[test]
    fn bytes_without_it_are_passed_over() {
        let mut folded = Vec::new();
        let mut may =
            |needle: &str, bytes: &str| Needle::new(needle).unwrap().may_be_in(bytes.as_bytes(), &mut folded);
        assert!(may("block", "addStoredBlock") && !may("block", "addStored"));
        assert!(may("50", "x50y") && !may("50", "x5 0y") && may("k", "\u{212a}"));
        assert!(Needle::new("").is_none() && Needle::new("größe").is_none());
    }
}
