//! The parser `logfmt`: pairs as `level=info msg="all is well"`.

use crate::{
    ast::Logfmt,
    entry::{Entry, label_name},
};

/// The error of a line that is no logfmt, where that is asked for.
const LOGFMT_ERROR: &str = "LogfmtParserErr";

pub(crate) fn read(settings: &Logfmt, entry: &mut Entry) {
    let line = std::mem::take(&mut entry.line);
    let mut pairs = Pairs { rest: &line };
    while let Some(pair) = pairs.next() {
        let (key, value) = match pair {
            Ok(pair) => pair,
            Err(why) if settings.strict => {
                entry.fail(
                    LOGFMT_ERROR,
                    format!("logfmt syntax error at pos {}: {why}", pairs.position(&line)),
                );
                break;
            }
            Err(_) => continue,
        };
        let name = label_name(key);
        if settings.wanted.is_empty() {
            if !value.is_empty() || settings.keep_empty {
                entry.extract(&name, value);
            }
            continue;
        }
        for (label, _) in settings.wanted.iter().filter(|(_, wanted)| *wanted == name || wanted == key) {
            entry.extract(label, value.clone());
        }
    }
    for (label, _) in &settings.wanted {
        if !entry.is_extracted(label) {
            entry.extract(label, "");
        }
    }
    entry.line = line;
}

struct Pairs<'l> {
    rest: &'l str,
}

impl<'l> Iterator for Pairs<'l> {
    type Item = Result<(&'l str, String), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = self.rest.trim_start_matches(is_blank);
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find(|c| is_blank(c) || matches!(c, '=' | '"')).unwrap_or(self.rest.len());
        let (key, behind) = self.rest.split_at(end);
        self.rest = behind;
        let value = match behind.strip_prefix('=') {
            Some(_) if key.is_empty() => return Some(self.skip("unexpected '='")),
            Some(value) if value.starts_with('"') => {
                self.rest = value;
                return Some(self.quoted().map(|value| (key, value)));
            }
            Some(value) => value,
            None if behind.starts_with('"') => return Some(self.skip("unexpected '\"'")),
            None => return Some(Ok((key, String::new()))),
        };
        let end = value.find(|c| is_blank(c) || matches!(c, '=' | '"')).unwrap_or(value.len());
        let (value, behind) = value.split_at(end);
        self.rest = behind;
        match behind.chars().next() {
            Some('=') => Some(self.skip("unexpected '='")),
            Some('"') => Some(self.skip("unexpected '\"'")),
            _ => Some(Ok((key, value.to_owned()))),
        }
    }
}

fn is_blank(c: char) -> bool {
    c <= ' '
}

impl<'l> Pairs<'l> {
    fn position(&self, line: &str) -> usize {
        line.len() - self.rest.len() + 1
    }

    /// Goes on behind the next blank.
    fn skip(&mut self, why: &'static str) -> Result<(&'l str, String), &'static str> {
        let end = self.rest.find(is_blank).unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
        Err(why)
    }

    /// A value in double quotes, with the escapes of JSON.
    fn quoted(&mut self) -> Result<String, &'static str> {
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let text = &self.rest[..=at];
                    self.rest = &self.rest[at + 1..];
                    return serde_json::from_str(text)
                        .or_else(|_| lenient(text))
                        .map_err(|()| "invalid quoted value");
                }
                _ => {}
            }
        }
        self.rest = "";
        Err("unterminated quoted value")
    }
}

/// What is no text of JSON, but has no escapes, is what it says.
fn lenient(text: &str) -> Result<String, ()> {
    if text.contains('\\') { Err(()) } else { Ok(text[1..text.len() - 1].to_owned()) }
}
