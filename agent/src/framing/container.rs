//! Lines as container runtimes write them: the application's line in an envelope that tells its time and its stream.
//!
//! - CRI (containerd, CRI-O): `2026-01-02T03:04:05.678901234Z stdout F the line`; `P` says that it goes on.
//!   Source: Kubernetes, `staging/src/k8s.io/cri-api`, "log format".
//! - Docker's `json-file`: `{"log":"the line\n","stream":"stdout","time":"…"}`; without the `\n` it goes on.

use millrace_intake::parse::from_text;
use millrace_model::Timestamp;
use serde::Deserialize;
use std::{borrow::Cow, collections::BTreeMap};

/// Which of a container's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Output {
    /// As OpenTelemetry's `log.iostream` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Stdout, Self::Stderr].into_iter().find(|output| output.name() == name)
    }
}

/// What the runtime says of a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// When its first part was written.
    pub time: Option<Timestamp>,
    /// Where.
    pub output: Output,
    /// Labels and the like, which Docker adds where it is told to.
    pub labels: BTreeMap<String, String>,
}

/// A line without its envelope.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    pub(super) envelope: Envelope,
    /// What the application wrote, without a line end.
    pub(super) text: Cow<'a, [u8]>,
    /// The application's line goes on in the next of its output.
    pub(super) goes_on: bool,
}

/// Opens a line, whichever of the two it is; `None`: neither.
pub(super) fn open(line: &[u8]) -> Option<Opened<'_>> {
    if line.first() == Some(&b'{') { docker(line) } else { cri(line) }
}

fn cri(line: &[u8]) -> Option<Opened<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = from_text(std::str::from_utf8(parts.next()?).ok()?)?;
    let output = Output::of(std::str::from_utf8(parts.next()?).ok()?)?;
    let tags = parts.next()?;
    let goes_on = match tags.split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let text = Cow::Borrowed(parts.next().unwrap_or_default());
    let envelope = Envelope { time: Some(time), output, labels: BTreeMap::new() };
    Some(Opened { envelope, text, goes_on })
}

#[derive(Deserialize)]
struct Docker<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

fn docker(line: &[u8]) -> Option<Opened<'_>> {
    let Docker { log, stream, time, attrs } = serde_json::from_slice(line).ok()?;
    let output = Output::of(&stream)?;
    let goes_on = !log.ends_with('\n');
    let text = match log {
        Cow::Borrowed(text) => Cow::Borrowed(without_end(text).as_bytes()),
        Cow::Owned(mut text) => {
            text.truncate(without_end(&text).len());
            Cow::Owned(text.into_bytes())
        }
    };
    let time = time.and_then(|time| from_text(&time));
    Some(Opened { envelope: Envelope { time, output, labels: attrs }, text, goes_on })
}

fn without_end(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn opened(line: &str) -> Option<(String, &'static str, bool)> {
        let Opened { envelope, text, goes_on } = open(line.as_bytes())?;
        assert_eq!(envelope.time.unwrap().to_string(), "2026-01-02T03:04:05.678901234Z");
        Some((String::from_utf8(text.into_owned()).unwrap(), envelope.output.name(), goes_on))
    }

    #[test]
    fn both_runtimes_lines_are_opened_and_nothing_else() {
        let time = "2026-01-02T03:04:05.678901234Z";
        let whole = |text: &str, output, goes_on| Some((text.to_owned(), output, goes_on));
        assert_eq!(opened(&format!("{time} stdout F a  b ")), whole("a  b ", "stdout", false));
        assert_eq!(opened(&format!("{time} stderr P:x a")), whole("a", "stderr", true));
        assert_eq!(opened(&format!("{time} stdout F ")), whole("", "stdout", false));
        let offset = time.replace('Z', "+00:00");
        assert_eq!(opened(&format!("{offset} stdout F")), whole("", "stdout", false));
        let json = |log: &str| format!(r#"{{"log":"{log}","stream":"stderr","time":"{time}"}}"#);
        assert_eq!(opened(&json("a\\n")), whole("a", "stderr", false));
        assert_eq!(opened(&json("\\\"a\\\"\\r\\n")), whole("\"a\"", "stderr", false));
        assert_eq!(opened(&json("a")), whole("a", "stderr", true));

        let labelled = br#"{"log":"a\n","stream":"stdout","time":"x","attrs":{"tag":"web"}}"#;
        let envelope = open(labelled).unwrap().envelope;
        assert_eq!((envelope.time, envelope.labels["tag"].as_str()), (None, "web"));
        for none in
            ["", "a b c d", "{}", &format!("{time} stdin F a"), &format!("{time} stdout X a"), "{\"log\":1}"]
        {
            assert!(open(none.as_bytes()).is_none(), "{none}");
        }
    }
}
