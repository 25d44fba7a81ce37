//! How one value becomes a setting: the trait, and the types that every room uses.

use crate::{Age, ByteSize, Secret, Value, value::Data, value::Place};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

/// What is wrong with (a part of) a value.
#[derive(Debug)]
pub struct Wrong {
    /// Where.
    pub place: Place,
    /// What was found, or why it will not do.
    pub message: String,
    /// What was expected there.
    pub expected: &'static str,
    /// How it is written; may be empty.
    pub example: String,
}

/// A type that can be read from a value. Enums use [`choices!`](crate::choices).
pub trait FromValue: Sized {
    /// What is expected, for messages: `a size such as "50GiB"`.
    const EXPECTED: &'static str;

    /// Must the value stay out of messages and listings?
    const SECRET: bool = false;

    /// Reads it, or says what was found (without the key, which the caller adds).
    ///
    /// # Errors
    /// The text says what was found, or why it will not do.
    fn from_value(value: &Value) -> Result<Self, String>;

    /// A value as it is written in TOML; empty if no example helps.
    fn example() -> String {
        String::new()
    }

    /// Reads it, collecting what is wrong; `None` if anything is. Lists use this to point at their elements.
    fn read(value: &Value, wrong: &mut Vec<Wrong>) -> Option<Self> {
        match Self::from_value(value) {
            Ok(setting) => Some(setting),
            Err(message) => {
                let place = value.place().clone();
                wrong.push(Wrong { place, message, expected: Self::EXPECTED, example: Self::example() });
                None
            }
        }
    }

    /// As `config show` prints a default; `None` if it cannot be shown.
    fn show(&self) -> Option<String> {
        None
    }
}

fn found(value: &Value) -> String {
    format!("found {}", value.found())
}

impl FromValue for String {
    const EXPECTED: &'static str = "a text in quotes";

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_str().map(str::to_owned).ok_or_else(|| found(value))
    }

    fn example() -> String {
        "\"text\"".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

impl FromValue for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| found(value))
    }

    fn example() -> String {
        "true".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

macro_rules! integers {
    ($($type:ty, $expected:literal;)*) => {$(
        impl FromValue for $type {
            const EXPECTED: &'static str = $expected;

            fn from_value(value: &Value) -> Result<Self, String> {
                value.as_integer().and_then(|number| Self::try_from(number).ok()).ok_or_else(|| found(value))
            }

            fn example() -> String {
                "5".to_owned()
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

integers! {
    u16, "a whole number from 0 to 65535";
    u32, "a whole number from 0 to 4294967295";
    u64, "a whole number, 0 or more";
    usize, "a whole number, 0 or more";
    i64, "a whole number";
}

impl FromValue for f64 {
    const EXPECTED: &'static str = "a number";

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_float().filter(|number| number.is_finite()).ok_or_else(|| found(value))
    }

    fn example() -> String {
        "0.5".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl FromValue for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("") => Err("found an empty text".to_owned()),
            Some(path) => Ok(Path::new(path).to_path_buf()),
            None => Err(found(value)),
        }
    }

    fn example() -> String {
        "\"/var/lib/millrace\"".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(format!("{:?}", self.display().to_string()))
    }
}

impl FromValue for SocketAddr {
    const EXPECTED: &'static str = "an IP address and a port";

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| found(value))
    }

    fn example() -> String {
        "\"127.0.0.1:7700\"".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(format!("\"{self}\""))
    }
}

impl FromValue for ByteSize {
    const EXPECTED: &'static str = "a size: B, kB, KiB, MB, MiB, GB, GiB, TB, TiB, or a number of bytes";

    fn from_value(value: &Value) -> Result<Self, String> {
        match (value.as_integer(), value.as_str()) {
            (Some(bytes), _) => u64::try_from(bytes).map(Self).map_err(|_| found(value)),
            (None, Some(text)) => {
                Self::from_str(text).map_err(|error| format!("{text:?} is not a size: {error}"))
            }
            (None, None) => Err(found(value)),
        }
    }

    fn example() -> String {
        "\"50MiB\"".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(format!("\"{self}\""))
    }
}

impl FromValue for Age {
    const EXPECTED: &'static str = "a length of time: ns, us, ms, s, m, h, d, w";

    fn from_value(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| found(value))?;
        Self::from_str(text).map_err(|error| format!("{text:?} is not a length of time: {error}"))
    }

    fn example() -> String {
        "\"1h30m\"".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(format!("\"{self}\""))
    }
}

impl FromValue for Secret {
    const EXPECTED: &'static str = "a text in quotes, \"${VARIABLE}\", or { file = \"path\" }";
    const SECRET: bool = true;

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_str().map(Self::new).ok_or_else(|| format!("found {}", value.kind()))
    }

    fn example() -> String {
        "{ file = \"/etc/millrace/secret\" }".to_owned()
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    const EXPECTED: &'static str = "a list in brackets";
    const SECRET: bool = T::SECRET;

    fn from_value(value: &Value) -> Result<Self, String> {
        let mut wrong = Vec::new();
        Self::read(value, &mut wrong)
            .ok_or_else(|| wrong.pop().map_or_else(String::new, |wrong| wrong.message))
    }

    fn example() -> String {
        format!("[{}]", T::example())
    }

    fn read(value: &Value, wrong: &mut Vec<Wrong>) -> Option<Self> {
        let parts;
        let elements = match value.as_list() {
            Some(elements) => elements,
            None if value.place().text.unquoted => {
                parts = parts_of(value);
                &parts
            }
            None => {
                let message = if Self::SECRET { format!("found {}", value.kind()) } else { found(value) };
                let example = Self::example();
                wrong.push(Wrong {
                    place: value.place().clone(),
                    message,
                    expected: Self::EXPECTED,
                    example,
                });
                return None;
            }
        };
        // Every element is read, so that all wrong ones are told.
        let read: Vec<Option<T>> = elements
            .iter()
            .map(|element| if matches!(element.data, Data::Invalid) { None } else { T::read(element, wrong) })
            .collect();
        read.into_iter().collect()
    }

    fn show(&self) -> Option<String> {
        let elements: Option<Vec<String>> = self.iter().map(T::show).collect();
        Some(format!("[{}]", elements?.join(", ")))
    }
}

/// `a,b` of the environment as a list; what is in quotes there is one element.
fn parts_of(value: &Value) -> Vec<Value> {
    let written = value.place().written();
    if value.as_str() != Some(written) {
        return vec![value.clone()];
    }
    let mut start = value.place().span.start;
    let mut parts = Vec::new();
    for piece in written.split(',') {
        let part = piece.trim();
        let at = start + (piece.len() - piece.trim_start().len());
        start += piece.len() + 1;
        if !part.is_empty() {
            let data = part.parse().map_or_else(|_| Data::String(part.to_owned()), Data::Integer);
            parts.push(Value { data, place: Place::new(&value.place().text, at..at + part.len()) });
        }
    }
    parts
}
