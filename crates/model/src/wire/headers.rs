//! Headers to and from text. See the table in [`super`].

use super::{DecodeError, Envelope, Extent, Run, RunKind, Sender, SkipReason, VERSION as FORMAT};
use crate::{StreamName, TopicId};
use bytes::{BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use std::str::FromStr;

pub(super) const VERSION: &str = "millrace.version";
pub(super) const TOPIC: &str = "millrace.topic";
const STREAM: &str = "millrace.stream";
const AGENT: &str = "millrace.agent";
const INSTANCE: &str = "millrace.instance";
const EPOCH: &str = "millrace.epoch";
const BOOT: &str = "millrace.boot";
const SOURCE: &str = "millrace.source";
const RANGE: &str = "millrace.range";
const CRC32C: &str = "millrace.crc32c";
const RUNS: &str = "millrace.runs";
const OPEN: &str = "millrace.open";
const CLOSE: &str = "millrace.close";

pub(super) enum Facts {
    None { stream: Option<StreamName> },
    Topic(TopicId),
    Envelope(Box<Envelope>),
}

pub(super) fn write(envelope: &Envelope) -> Vec<(String, Bytes)> {
    let Envelope { stream, sender, source, extent, open, close } = envelope;
    let mut headers = vec![
        (VERSION.to_owned(), Bytes::from(FORMAT.to_string())),
        self::stream(stream),
        (AGENT.to_owned(), Bytes::from(sender.agent.to_string())),
        (INSTANCE.to_owned(), Bytes::from(sender.instance.to_string())),
        (EPOCH.to_owned(), Bytes::from(sender.epoch.to_string())),
        (BOOT.to_owned(), Bytes::from(sender.boot.to_string())),
        (SOURCE.to_owned(), Bytes::from(source.to_string())),
        (RANGE.to_owned(), Bytes::from(format!("{}-{}", extent.start, extent.end))),
        (CRC32C.to_owned(), Bytes::from(format!("{:08x}", extent.crc32c))),
        (RUNS.to_owned(), write_runs(&extent.runs)),
    ];
    // Serialising plain structs of strings and numbers to JSON cannot fail.
    if let Some(json) = open.as_ref().and_then(|open| serde_json::to_vec(open).ok()) {
        headers.push((OPEN.to_owned(), json.into()));
    }
    if let Some(json) = close.as_ref().and_then(|close| serde_json::to_vec(close).ok()) {
        headers.push((CLOSE.to_owned(), json.into()));
    }
    headers
}

pub(super) fn read(headers: &[(String, Bytes)]) -> Result<Facts, DecodeError> {
    let headers = Headers(headers);
    let Some(version) = headers.text(VERSION)? else {
        // A foreign producer may still say where its records belong.
        return Ok(Facts::None { stream: headers.text(STREAM)?.and_then(|name| name.parse().ok()) });
    };
    if version != FORMAT.to_string() {
        return Err(DecodeError::Version(version.chars().take(20).collect()));
    }
    if let Some(id) = headers.text(TOPIC)? {
        return Ok(Facts::Topic(id.parse().map_err(|e| problem(TOPIC, e))?));
    }
    let range = headers.required(RANGE)?;
    let (start, end) = range
        .split_once('-')
        .and_then(|(start, end)| Some((start.parse::<u64>().ok()?, end.parse::<u64>().ok()?)))
        .filter(|(start, end)| start <= end)
        .ok_or_else(|| problem(RANGE, format!("start-end expected, found {range:?}")))?;
    let runs = read_runs(headers.bytes(RUNS).ok_or_else(|| problem(RUNS, "missing"))?)?;
    let length = runs.iter().try_fold(0u64, |sum, run| sum.checked_add(run.length));
    if length != Some(end - start) {
        return Err(DecodeError::Runs(format!("they add up to {length:?}, the range holds {}", end - start)));
    }
    let crc = headers.required(CRC32C)?;
    Ok(Facts::Envelope(Box::new(Envelope {
        stream: headers.parsed(STREAM)?,
        sender: Sender {
            agent: headers.parsed(AGENT)?,
            instance: headers.parsed(INSTANCE)?,
            epoch: headers.parsed(EPOCH)?,
            boot: headers.parsed(BOOT)?,
        },
        source: headers.parsed(SOURCE)?,
        extent: Extent {
            start,
            end,
            crc32c: u32::from_str_radix(crc, 16).map_err(|e| problem(CRC32C, e))?,
            runs,
        },
        open: headers.json(OPEN)?,
        close: headers.json(CLOSE)?,
    })))
}

fn problem(name: &'static str, problem: impl std::fmt::Display) -> DecodeError {
    DecodeError::Header { name, problem: format!("{problem}") }
}

/// The header that names a stream.
pub(super) fn stream(name: &StreamName) -> (String, Bytes) {
    (STREAM.to_owned(), Bytes::from(name.to_string()))
}

pub(super) struct Headers<'a>(pub(super) &'a [(String, Bytes)]);

impl<'a> Headers<'a> {
    fn bytes(&self, name: &str) -> Option<&'a Bytes> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<&'a str>, DecodeError> {
        self.bytes(name).map(|bytes| std::str::from_utf8(bytes).map_err(|e| problem(name, e))).transpose()
    }

    fn required(&self, name: &'static str) -> Result<&'a str, DecodeError> {
        self.text(name)?.ok_or_else(|| problem(name, "missing"))
    }

    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &self,
        name: &'static str,
    ) -> Result<T, DecodeError> {
        self.required(name)?.parse().map_err(|e: T::Err| problem(name, e))
    }

    fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, DecodeError> {
        self.bytes(name).map(|bytes| serde_json::from_slice(bytes).map_err(|e| problem(name, e))).transpose()
    }
}

fn write_runs(runs: &[Run]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(runs.len() * 2);
    for run in runs {
        let skipped = match run.kind {
            RunKind::Record => None,
            RunKind::Skipped(reason) => Some(reason),
        };
        let mut rest = u128::from(run.length) << 1 | u128::from(skipped.is_some());
        while rest >= 0x80 {
            bytes.put_u8((rest as u8 & 0x7f) | 0x80);
            rest >>= 7;
        }
        bytes.put_u8(rest as u8);
        if let Some(reason) = skipped {
            bytes.put_u8(reason.code());
        }
    }
    bytes.freeze()
}

fn read_runs(bytes: &[u8]) -> Result<Vec<Run>, DecodeError> {
    let mut runs = Vec::with_capacity(bytes.len() / 2);
    let mut bytes = bytes.iter().copied();
    while let Some(first) = bytes.next() {
        let (mut byte, mut number, mut shift) = (first, 0u128, 0);
        loop {
            number |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 63 {
                return Err(problem(RUNS, "a number is longer than 65 bits"));
            }
            byte = bytes.next().ok_or_else(|| problem(RUNS, "a number is cut short"))?;
        }
        let length = u64::try_from(number >> 1)
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| problem(RUNS, "a length out of range"))?;
        let kind = if number & 1 == 0 {
            RunKind::Record
        } else {
            let code = bytes.next().ok_or_else(|| problem(RUNS, "a reason is missing"))?;
            let reason =
                SkipReason::from_code(code).ok_or_else(|| problem(RUNS, format!("unknown reason {code}")))?;
            RunKind::Skipped(reason)
        };
        runs.push(Run { length, kind });
    }
    Ok(runs)
}
