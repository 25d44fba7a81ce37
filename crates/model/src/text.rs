//! Words: how text is cut into tokens and how case is folded, for indexing, for matching and for templates alike.
//!
//! A token is a longest run of letters, digits and `_` (Unicode's alphabetic and numeric characters); everything else
//! separates. Folding is to lower case, character by character, so a fold never depends on its neighbours.

/// The longest token, in bytes of its folded form, that an index keeps; a longer one is cut there on both sides of the
/// search, and the record itself decides.
pub const MAX_TOKEN_BYTES: usize = 128;

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The tokens of `text` in order, each as its byte range.
pub fn token_ranges(text: &str) -> TokenRanges<'_> {
    TokenRanges { text, at: 0 }
}

/// See [`token_ranges`].
#[derive(Debug, Clone)]
pub struct TokenRanges<'a> {
    text: &'a str,
    at: usize,
}

const ASCII_WORD: [bool; 128] = {
    let mut table = [false; 128];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_';
        byte += 1;
    }
    table
};

impl TokenRanges<'_> {
    /// The first byte at or after `at` where a word character does (or does not) stand.
    fn next_where(&self, mut at: usize, word: bool) -> usize {
        let bytes = self.text.as_bytes();
        while at < bytes.len() {
            let byte = bytes[at];
            if byte < 128 {
                if ASCII_WORD[byte as usize] == word {
                    return at;
                }
                at += 1;
            } else {
                let Some(c) = self.text[at..].chars().next() else { return at };
                if is_word(c) == word {
                    return at;
                }
                at += c.len_utf8();
            }
        }
        at
    }
}

impl Iterator for TokenRanges<'_> {
    type Item = std::ops::Range<usize>;
    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next_where(self.at, true);
        let end = self.next_where(start, false);
        self.at = end;
        (start < end).then_some(start..end)
    }
}

/// Appends the folded form of `text` to `into`.
pub fn fold_into(text: &str, into: &mut String) {
    if text.is_ascii() {
        let at = into.len();
        into.push_str(text);
        into[at..].make_ascii_lowercase();
    } else {
        into.extend(text.chars().flat_map(char::to_lowercase));
    }
}

/// The folded form of `text`.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    fold_into(text, &mut folded);
    folded
}

/// Calls `visit` with each token of `text`, folded. `buffer` is scratch space.
pub fn each_token(text: &str, buffer: &mut String, visit: &mut dyn FnMut(&str)) {
    for range in token_ranges(text) {
        buffer.clear();
        fold_into(&text[range], buffer);
        visit(buffer);
    }
}

/// The folded tokens of `text`.
pub fn tokens(text: &str) -> Vec<String> {
    token_ranges(text).map(|range| fold(&text[range])).collect()
}

/// A folded token as an index keeps it: cut at [`MAX_TOKEN_BYTES`], on a character's edge.
pub fn indexed_form(token: &str) -> &str {
    if token.len() <= MAX_TOKEN_BYTES {
        return token;
    }
    let mut end = MAX_TOKEN_BYTES;
    while !token.is_char_boundary(end) {
        end -= 1;
    }
    &token[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_runs_of_letters_digits_and_underscores() {
        assert_eq!(
            tokens("GET /api/v1?user_id=42 10.0.0.1"),
            ["get", "api", "v1", "user_id", "42", "10", "0", "0", "1"]
        );
        assert_eq!(tokens("Größe: 5 µs — İstanbul"), ["größe", "5", "µs", "i\u{307}stanbul"]);
        assert!(tokens(" -- \n").is_empty());
    }

    #[test]
    fn long_tokens_are_cut_on_a_character() {
        let token = "é".repeat(100);
        assert_eq!(indexed_form(&token).len(), 128);
        assert_eq!(indexed_form(&format!("a{token}")).len(), 127);
    }

    proptest! {
        #[test]
        fn ranges_hold_exactly_the_word_characters(text in ".*") {
            let inside: String = token_ranges(&text).map(|r| &text[r]).collect();
            let expected: String = text.chars().filter(|c| is_word(*c)).collect();
            prop_assert_eq!(inside, expected);
        }
    }
}
