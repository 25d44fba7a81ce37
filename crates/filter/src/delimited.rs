//! Texts between two signs, for every grammar of queries: how they are read, not what they mean.

/// What stands between the sign that `rest` begins with and the next `end`, in which `\` takes the next character as it is; and how
/// many bytes that is with both signs. `None`: it is not closed.
pub fn quoted(rest: &str, end: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => text.extend(chars.next().map(|(_, c)| c)),
            c if c == end => return Some((text, at + 1)),
            c => text.push(c),
        }
    }
    None
}

/// The regular expression between the slash that `rest` begins with and the next, without the escapes of slashes; and how many
/// bytes that is with both. `None`: it is not closed.
pub fn regex(rest: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '/' => return Some((text, at + 1)),
            '\\' => match chars.next() {
                Some((_, '/')) => text.push('/'),
                Some((_, c)) => text.extend(['\\', c]),
                None => {}
            },
            c => text.push(c),
        }
    }
    None
}
