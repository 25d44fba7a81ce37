//! The journal export format, read byte by byte: however the bytes are cut, the same entries come out.
//!
//! An entry is a list of fields and ends with an empty line. A field is `NAME=value`, or, where the value is not plain
//! text, `NAME`, its length as 64 bits little-endian, the value, and a newline.

/// More fields than this, or more bytes, an entry does not keep.
const MAX_FIELDS: usize = 1000;
const MAX_BYTES: usize = 4 << 20;
/// Longer names do not exist.
const MAX_NAME: usize = 256;

/// The stream is not in the export format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what journalctl printed is not in the export format")]
pub(crate) struct NotExport;

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// The first bytes, as many as are kept.
    pub(crate) value: Vec<u8>,
    /// How long the value really is.
    pub(crate) length: u64,
}

/// An entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JournalEntry {
    pub(crate) fields: Vec<Field>,
    /// Fields that were not kept because there were too many.
    pub(crate) dropped: u64,
    /// Of all names and values, but those that journald adds for transport (`__…`).
    pub(crate) crc32c: u32,
    /// How many bytes those are.
    pub(crate) length: u64,
    kept: usize,
}

impl JournalEntry {
    /// The first value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|field| field.name == name).map(|field| field.value.as_slice())
    }

    fn digest(&mut self, bytes: &[u8]) {
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.length += bytes.len() as u64;
    }
}

#[derive(Debug)]
enum State {
    /// Inside a line of text, before its `=`; an empty line ends the entry.
    Name,
    /// After the `=`.
    Text,
    /// Inside the length of a binary value.
    Length { bytes: [u8; 8], got: usize },
    /// Inside a binary value.
    Binary { left: u64 },
    /// Before the newline that follows it.
    End,
}

/// Reads a stream of entries.
#[derive(Debug)]
pub(crate) struct Parser {
    max_value: usize,
    state: State,
    entry: JournalEntry,
    name: Vec<u8>,
    value: Vec<u8>,
    length: u64,
}

impl Parser {
    /// Of longer values than `max_value` bytes only the first bytes are kept.
    pub(crate) fn new(max_value: usize) -> Self {
        Self {
            max_value,
            state: State::Name,
            entry: JournalEntry::default(),
            name: Vec::new(),
            value: Vec::new(),
            length: 0,
        }
    }

    /// Takes the next bytes and hands out what is complete. After an error the parser is of no more use.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        take: &mut impl FnMut(JournalEntry),
    ) -> Result<(), NotExport> {
        while let Some(first) = bytes.first().copied() {
            match &mut self.state {
                State::Name => {
                    let end = bytes.iter().position(|byte| matches!(byte, b'=' | b'\n'));
                    let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    self.name.extend_from_slice(part);
                    if self.name.len() > MAX_NAME {
                        return Err(NotExport);
                    }
                    bytes = rest.get(1..).unwrap_or_default();
                    match rest.first() {
                        Some(b'=') => self.begin_value(State::Text)?,
                        Some(_) if self.name.is_empty() => self.end_entry(take),
                        Some(_) => self.begin_value(State::Length { bytes: [0; 8], got: 0 })?,
                        None => {}
                    }
                }
                State::Text => {
                    let end = memchr::memchr(b'\n', bytes);
                    let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    self.extend(part);
                    bytes = rest.get(1..).unwrap_or_default();
                    if end.is_some() {
                        self.end_field();
                    }
                }
                State::Length { bytes: length, got } => {
                    length[*got] = first;
                    *got += 1;
                    bytes = &bytes[1..];
                    if *got == 8 {
                        let left = u64::from_le_bytes(*length);
                        self.state = if left == 0 { State::End } else { State::Binary { left } };
                    }
                }
                State::Binary { left } => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::End;
                    }
                    let (part, rest) = bytes.split_at(here);
                    self.extend(part);
                    bytes = rest;
                }
                State::End if first == b'\n' => {
                    bytes = &bytes[1..];
                    self.end_field();
                }
                State::End => return Err(NotExport),
            }
        }
        Ok(())
    }

    fn begin_value(&mut self, state: State) -> Result<(), NotExport> {
        let known = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
        if self.name.is_empty() || !self.name.iter().all(known) {
            return Err(NotExport);
        }
        if !self.is_transport() {
            self.entry.digest(&self.name);
            self.entry.digest(b"=");
        }
        self.state = state;
        Ok(())
    }

    fn is_transport(&self) -> bool {
        self.name.starts_with(b"__")
    }

    fn extend(&mut self, part: &[u8]) {
        let room = self.max_value.saturating_sub(self.value.len()).min(part.len());
        self.value.extend_from_slice(&part[..room]);
        self.length += part.len() as u64;
        if !self.is_transport() {
            self.entry.digest(part);
        }
    }

    fn end_field(&mut self) {
        if !self.is_transport() {
            self.entry.digest(b"\n");
        }
        self.state = State::Name;
        let name = String::from_utf8_lossy(&std::mem::take(&mut self.name)).into_owned();
        let field =
            Field { name, value: std::mem::take(&mut self.value), length: std::mem::take(&mut self.length) };
        let entry = &mut self.entry;
        entry.kept += field.name.len() + field.value.len();
        if entry.fields.len() < MAX_FIELDS && entry.kept <= MAX_BYTES {
            entry.fields.push(field);
        } else {
            entry.dropped += 1;
        }
    }

    fn end_entry(&mut self, take: &mut impl FnMut(JournalEntry)) {
        if !self.entry.fields.is_empty() {
            take(std::mem::take(&mut self.entry));
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(blocks: &[&[u8]], max_value: usize) -> Result<Vec<JournalEntry>, NotExport> {
        let (mut parser, mut entries) = (Parser::new(max_value), Vec::new());
        for block in blocks {
            parser.push(block, &mut |entry| entries.push(entry))?;
        }
        Ok(entries)
    }

    fn export(entries: &[Vec<(String, Vec<u8>)>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            for (name, value) in entry {
                bytes.extend_from_slice(name.as_bytes());
                if value.iter().any(|byte| *byte < b' ' || *byte > b'~') {
                    bytes.push(b'\n');
                    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
                } else {
                    bytes.push(b'=');
                }
                bytes.extend_from_slice(value);
                bytes.push(b'\n');
            }
            bytes.push(b'\n');
        }
        bytes
    }

    #[test]
    fn long_values_are_cut_and_counted_in_the_checksum() {
        let entry = vec![("A".to_owned(), vec![b'x'; 1000]), ("__B".to_owned(), b"y".to_vec())];
        let bytes = export(&[entry]);
        let entries = parse(&[&bytes], 10).unwrap();
        assert_eq!((entries[0].fields[0].value.len(), entries[0].fields[0].length), (10, 1000));
        assert_eq!(entries[0].crc32c, crc32c::crc32c(format!("A={}\n", "x".repeat(1000)).as_bytes()));
        assert_eq!(entries[0].length, 1003);
    }

    #[test]
    fn what_is_no_export_is_said_to_be_none() {
        for bytes in [&b"-- No entries --\nX=1\n"[..], b"=x\n", b"A\n\x01\0\0\0\0\0\0\0xy", &[b'A'; 1000]] {
            assert_eq!(parse(&[bytes], 100), Err(NotExport), "{}", bytes.escape_ascii());
        }
        let many: Vec<_> = (0..2000).map(|n| (format!("F{n}"), b"1".to_vec())).collect();
        let entries = parse(&[&export(&[many])], 100).unwrap();
        assert_eq!((entries[0].fields.len(), entries[0].dropped), (1000, 1000));
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_entries(
            entries in prop::collection::vec(
                prop::collection::vec(("[A-Z_][A-Z0-9_]{0,8}", prop::collection::vec(any::<u8>(), 0..40)), 1..6),
                0..6,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let bytes = export(&entries);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut blocks = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                blocks.push(&bytes[from..cut]);
                from = cut;
            }
            let cut = parse(&blocks, 1000).unwrap();
            prop_assert_eq!(&cut, &parse(&[&bytes], 1000).unwrap());
            let fields: Vec<Vec<(String, Vec<u8>)>> = cut
                .into_iter()
                .map(|entry| entry.fields.into_iter().map(|field| (field.name, field.value)).collect())
                .collect();
            prop_assert_eq!(fields, entries);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(entries) = parse(&[&bytes], 50) {
                prop_assert!(entries.len() <= bytes.len());
            }
        }
    }
}
