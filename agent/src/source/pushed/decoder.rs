//! Cuts what a connection brings into lines; or into messages of syslog, as RFC 6587 has it: octet counts where a message begins with
//! a digit and a count is what stands there, else lines, which a newline or a zero byte ends. Each message chooses for itself, as
//! rsyslog has it.
//!
//! Of a message that is too long the beginning is kept. What is kept of one is bounded, whatever a sender claims.

/// A count has so many digits at most.
const MOST_DIGITS: usize = 9;

/// A message, cut to what may be kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) text: &'a [u8],
    /// How long it was, in bytes.
    pub(crate) length: u64,
}

impl<'a> Message<'a> {
    /// Of bytes that are all here; line ends behind it are none of it.
    pub(crate) fn cut(bytes: &'a [u8], max_line: usize) -> Self {
        let whole = trim_end(bytes);
        Self { text: &whole[..whole.len().min(max_line)], length: whole.len() as u64 }
    }

    /// Is its end not here?
    pub(crate) fn is_cut(&self) -> bool {
        self.text.len() as u64 != self.length
    }
}

/// One connection's bytes, being cut.
#[derive(Debug)]
pub(crate) struct Decoder {
    max_line: usize,
    /// Syslog's; else lines.
    syslog: bool,
    state: State,
    /// What is kept of the message that has begun.
    kept: Vec<u8>,
    /// How much of it has come.
    length: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a message.
    Start,
    /// In what may be a count; the digits are kept, for they may be a message's beginning.
    Count,
    /// In a message that so many more bytes belong to.
    Counted(u64),
    /// In a message that a line end ends.
    Line,
}

impl Decoder {
    /// Of lines.
    pub(crate) fn lines(max_line: usize) -> Self {
        Self { syslog: false, ..Self::syslog(max_line) }
    }

    /// Of syslog.
    pub(crate) fn syslog(max_line: usize) -> Self {
        Self { max_line, syslog: true, state: State::Start, kept: Vec::new(), length: 0 }
    }

    /// Takes what has come, and gives each message that is whole.
    pub(crate) fn push(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(Message<'_>)) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Start => {
                    let digit = self.syslog && matches!(bytes, [b'1'..=b'9', ..]);
                    self.state = if digit { State::Count } else { State::Line };
                    bytes
                }
                State::Count => self.count(bytes),
                State::Counted(left) => self.counted(bytes, left, each),
                State::Line => self.line(bytes, each),
            };
        }
    }

    /// The connection has ended: half a message is one, too.
    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(Message<'_>)) {
        if self.length > 0 {
            self.give(each);
        }
    }

    fn count<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.keep(&bytes[..digits]);
        let rest = &bytes[digits..];
        match rest.first() {
            _ if self.kept.len() > MOST_DIGITS => self.state = State::Line,
            Some(b' ') => {
                let count = self.kept.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
                self.kept.clear();
                self.length = 0;
                self.state = State::Counted(count);
                return &rest[1..];
            }
            Some(_) => self.state = State::Line,
            None => {}
        }
        rest
    }

    fn counted<'a>(&mut self, bytes: &'a [u8], left: u64, each: &mut dyn FnMut(Message<'_>)) -> &'a [u8] {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        self.keep(&bytes[..taken]);
        let left = left - taken as u64;
        self.state = State::Counted(left);
        if left == 0 {
            self.give(each);
        }
        &bytes[taken..]
    }

    fn line<'a>(&mut self, bytes: &'a [u8], each: &mut dyn FnMut(Message<'_>)) -> &'a [u8] {
        let end = if self.syslog { memchr::memchr2(b'\n', 0, bytes) } else { memchr::memchr(b'\n', bytes) };
        let Some(end) = end else {
            self.keep(bytes);
            return &[];
        };
        if self.length == 0 {
            // All of it is here: nothing is copied.
            give(&bytes[..end], end as u64, self.max_line, each);
            self.state = State::Start;
        } else {
            self.keep(&bytes[..end]);
            self.give(each);
        }
        &bytes[end + 1..]
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.max_line.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..room.min(bytes.len())]);
        self.length += bytes.len() as u64;
    }

    fn give(&mut self, each: &mut dyn FnMut(Message<'_>)) {
        give(&self.kept, self.length, self.max_line, each);
        self.kept.clear();
        // A connection that has had one long message does not hold its memory for ever.
        self.kept.shrink_to(4 << 10);
        self.length = 0;
        self.state = State::Start;
    }
}

fn give(text: &[u8], length: u64, max_line: usize, each: &mut dyn FnMut(Message<'_>)) {
    let text = &text[..text.len().min(max_line)];
    let whole = text.len() as u64 == length;
    let trimmed = if whole { trim_end(text) } else { text };
    let length = length - (text.len() - trimmed.len()) as u64;
    each(Message { text: trimmed, length });
}

/// Without the line ends that senders put behind a message.
fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !b"\r\n\0".contains(byte));
    &text[..end.map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts and lengths, with the bytes coming in pieces of this size.
    fn cut(bytes: &[u8], piece: usize, max_line: usize) -> Vec<(String, u64)> {
        let (mut decoder, mut messages) = (Decoder::syslog(max_line), Vec::new());
        let mut each = |message: Message<'_>| {
            assert!(message.text.len() <= max_line);
            messages.push((String::from_utf8_lossy(message.text).into_owned(), message.length));
        };
        for piece in bytes.chunks(piece) {
            decoder.push(piece, &mut each);
        }
        decoder.finish(&mut each);
        messages
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        cut(bytes, usize::MAX, 1 << 20).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn each_message_says_how_it_ends() {
        assert_eq!(texts(b"<1>a\n<2>b\r\n<3>c\0<4>d"), ["<1>a", "<2>b", "<3>c", "<4>d"]);
        assert_eq!(texts(b"4 <1>a5 <2>\nb<3>c\n6 <4>d\r\n"), ["<1>a", "<2>\nb", "<3>c", "<4>d"]);
        // A line end behind a counted message is an empty line; whoever takes messages passes over it.
        assert_eq!(texts(b"4 <1>a\n4 <2>b\n"), ["<1>a", "", "<2>b", ""]);
    }

    #[test]
    fn lines_are_lines_whatever_is_in_them() {
        let (mut decoder, mut lines) = (Decoder::lines(8), Vec::new());
        let mut each = |line: Message<'_>| lines.push((line.text.to_vec(), line.length));
        decoder.push(b"4 <1>a\na\0b\r\n0123456", &mut each);
        decoder.push(b"789\nlast", &mut each);
        decoder.finish(&mut each);
        let line = |text: &[u8], length| (text.to_vec(), length);
        assert_eq!(lines, [line(b"4 <1>a", 6), line(b"a\0b", 3), line(b"01234567", 10), line(b"last", 4)]);
    }

    #[test]
    fn digits_that_are_no_count_begin_a_line() {
        assert_eq!(texts(b"2026-10-11 x\n"), ["2026-10-11 x"]);
        assert_eq!(texts(b"12345678901 x\n0 y\n7\n"), ["12345678901 x", "0 y", "7"]);
        assert_eq!(texts(b"123"), ["123"]);
    }

    #[test]
    fn what_is_too_long_is_cut_and_its_length_is_known() {
        let long = |text: &str, length| (text.to_owned(), length);
        for piece in [1, 3, 100] {
            assert_eq!(cut(b"abcdefgh\nxy\n", piece, 4), [long("abcd", 8), long("xy", 2)]);
            assert_eq!(cut(b"8 abcdefgh2 xy", piece, 4), [long("abcd", 8), long("xy", 2)]);
            // The connection ends before all that was announced has come.
            assert_eq!(cut(b"999999999 abc", piece, 4), [long("abc", 3)]);
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_pieces_bytes_come(
            messages in prop::collection::vec((any::<bool>(), "<[0-9]{1,3}>[ -~]{0,40}"), 0..20),
            piece in 1..50usize,
        ) {
            let mut bytes = Vec::new();
            for (counted, text) in &messages {
                let framed = if *counted { format!("{} {text}", text.len()) } else { format!("{text}\n") };
                bytes.extend_from_slice(framed.as_bytes());
            }
            let expected: Vec<_> = messages.into_iter().map(|(_, text)| (text.clone(), text.len() as u64)).collect();
            prop_assert_eq!(cut(&bytes, piece, 1000), expected);
        }

        #[test]
        fn no_bytes_are_too_much_for_it(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1..20usize) {
            prop_assert_eq!(cut(&bytes, piece, 16), cut(&bytes, usize::MAX, 16));
        }
    }
}
