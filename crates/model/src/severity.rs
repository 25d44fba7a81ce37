//! Severity by OpenTelemetry's numbers: 1–4 trace, 5–8 debug, 9–12 info, 13–16 warn, 17–20 error, 21–24 fatal; 0 unknown.
//! Names of syslog, log4j and friends are mapped by the table in OpenTelemetry's log data model, appendix B.

use serde::{Deserialize, Serialize};

/// A severity number, 0 (unknown) to 24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Severity(u8);

impl Severity {
    /// Not said.
    pub const UNKNOWN: Self = Self(0);
    /// The first of the info numbers, and so of the other classes below.
    pub const INFO: Self = Self(9);
    /// Warn.
    pub const WARN: Self = Self(13);
    /// Error.
    pub const ERROR: Self = Self(17);
    /// Fatal.
    pub const FATAL: Self = Self(21);

    /// From OpenTelemetry's number; what lies outside 1 to 24 is unknown.
    pub fn from_number(number: i64) -> Self {
        Self(u8::try_from(number).ok().filter(|n| *n <= 24).unwrap_or(0))
    }

    /// OpenTelemetry's number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// From a syslog priority's severity, 0 (emergency) to 7 (debug).
    pub fn from_syslog(level: u8) -> Self {
        Self(match level {
            0 => 24,
            1 => 22,
            2 => 21,
            3 => 17,
            4 => 13,
            5 => 10,
            6 => 9,
            7 => 5,
            _ => 0,
        })
    }

    /// From a name in any common spelling, case ignored; `None` if it is no level's name.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut buffer = [0u8; 13];
        let name = name.trim().as_bytes();
        let lower = buffer.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        Some(Self(match &*lower {
            b"trace" | b"trc" | b"finest" | b"verbose" | b"silly" => 1,
            b"trace2" => 2,
            b"trace3" => 3,
            b"trace4" => 4,
            b"debug" | b"dbg" | b"fine" | b"finer" | b"d" => 5,
            b"debug2" => 6,
            b"debug3" => 7,
            b"debug4" => 8,
            b"info" | b"information" | b"informational" | b"inf" | b"i" => 9,
            b"info2" | b"notice" | b"note" | b"config" => 10,
            b"info3" => 11,
            b"info4" => 12,
            b"warn" | b"warning" | b"wrn" | b"w" => 13,
            b"warn2" => 14,
            b"warn3" => 15,
            b"warn4" => 16,
            b"error" | b"err" | b"severe" | b"e" => 17,
            b"error2" => 18,
            b"error3" => 19,
            b"error4" => 20,
            b"fatal" | b"crit" | b"critical" | b"ftl" | b"f" => 21,
            b"fatal2" | b"alert" | b"panic" => 22,
            b"fatal3" => 23,
            b"fatal4" | b"emerg" | b"emergency" => 24,
            _ => return None,
        }))
    }

    /// The class's name in lower case, or `""` where it is unknown.
    pub const fn class(self) -> &'static str {
        match self.0 {
            1..=4 => "trace",
            5..=8 => "debug",
            9..=12 => "info",
            13..=16 => "warn",
            17..=20 => "error",
            21..=24 => "fatal",
            _ => "",
        }
    }

    /// The first number of this one's class: what `level:>=warn` compares with.
    #[must_use]
    pub const fn class_floor(self) -> Self {
        if self.0 == 0 { self } else { Self((self.0 - 1) / 4 * 4 + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_map_to_classes() {
        for (name, class) in [
            ("WARNING", "warn"),
            ("Err", "error"),
            ("notice", "info"),
            ("CRITICAL", "fatal"),
            (" debug ", "debug"),
            ("informational", "info"),
        ] {
            assert_eq!(Severity::from_name(name).map(Severity::class), Some(class), "{name}");
        }
        assert_eq!(Severity::from_name("banana"), None);
        assert_eq!(Severity::from_name("a-very-long-name"), None);
        assert_eq!(Severity::from_number(25), Severity::UNKNOWN);
        assert_eq!(Severity::from_number(16).class_floor(), Severity::WARN);
    }
}
