//! Byte strings back to back in one buffer. Owns nothing but them; what they mean is the caller's.

/// A list of byte strings. Together they are at most 4 GiB; what would go beyond is cut.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Strings {
    /// None.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Forgets all strings and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes they have together.
    pub(crate) fn byte_len(&self) -> usize {
        self.ends.last().map_or(0, |end| *end as usize)
    }

    /// Appends one.
    #[inline]
    pub(crate) fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.end();
    }

    /// Appends all of another list.
    pub(crate) fn extend_from(&mut self, other: &Self) {
        let base = self.bytes.len();
        if base + other.bytes.len() > u32::MAX as usize {
            other.iter().for_each(|string| self.push(string));
            return;
        }
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| base as u32 + end));
    }

    /// Keeps the first ones.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.ends.truncate(length);
        self.bytes.truncate(self.byte_len());
    }

    /// String `index`; empty where there is none.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let Some(end) = self.ends.get(index) else { return &[] };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.bytes.get(start as usize..*end as usize).unwrap_or(&[])
    }

    /// How many bytes so many strings have together, from string `first` on.
    #[inline]
    pub(crate) fn span(&self, first: usize, count: usize) -> usize {
        let end_before = |index: usize| match index.checked_sub(1) {
            Some(last) => self.ends.get(last).copied().unwrap_or_default() as usize,
            None => 0,
        };
        end_before(first + count).saturating_sub(end_before(first))
    }

    /// All of them in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator + Clone {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The bytes of all of them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the bytes of the next string are appended, before [`Self::end`] makes them one.
    #[inline]
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the string that was appended to [`Self::buffer`].
    #[inline]
    pub(crate) fn end(&mut self) {
        if self.bytes.len() > u32::MAX as usize {
            self.bytes.truncate(u32::MAX as usize);
        }
        self.ends.push(self.bytes.len() as u32);
    }
}

impl<S: AsRef<[u8]>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut list = Self::new();
        strings.into_iter().for_each(|string| list.push(string.as_ref()));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_what_is_pushed(strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..20)) {
            let mut list = Strings::new();
            for string in &strings {
                list.buffer().extend_from_slice(string);
                list.end();
            }
            let twice: Strings = strings.iter().chain(&strings).collect();
            prop_assert_eq!(list.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), strings.clone());
            prop_assert_eq!(list.byte_len(), strings.iter().map(Vec::len).sum::<usize>());
            prop_assert_eq!(list.span(0, list.len()), list.byte_len());
            let middle = strings.len() / 2;
            prop_assert_eq!(list.span(middle, list.len() - middle), strings[middle..].iter().map(Vec::len).sum::<usize>());
            let copy = list.clone();
            list.extend_from(&copy);
            prop_assert_eq!(&list, &twice);
            prop_assert_eq!(list.get(strings.len() * 2), b"");
            list.clear();
            prop_assert_eq!(list.len(), 0);
        }
    }
}
