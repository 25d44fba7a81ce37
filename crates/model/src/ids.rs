//! Names of things: who sent, what was read, where a record lies. Each is its own type, so that none can stand in
//! for another. Random ids come from the operating system's generator.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// Why a text is not one of the ids of this module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{expected} expected, found {found:?}")]
pub struct IdError {
    /// What the text should have been.
    pub expected: &'static str,
    /// What it was.
    pub found: String,
}

fn random_u128() -> u128 {
    let mut bytes = [0u8; 16];
    // Without randomness from the system no id would be unique: there is nothing sensible to go on with.
    #[expect(clippy::expect_used, reason = "no id can be minted safely without the system's random source")]
    getrandom::fill(&mut bytes).expect("the operating system's random source");
    u128::from_be_bytes(bytes)
}

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// A new id, unique without coordination (128 random bits).
            pub fn random() -> Self {
                Self(random_u128())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError { expected: $what, found: text.to_owned() };
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(error());
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| error())
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id128!(
    /// One agent: minted when its state folder is first used, and kept with it.
    AgentId, "32 hexadecimal digits of an agent id"
);
id128!(
    /// Where an agent's state lives: a digest of the machine's id and the state folder's identity, so that a copied
    /// state folder is seen to be another instance.
    InstanceId, "32 hexadecimal digits of an instance id"
);
id128!(
    /// One start of an agent's process. Two boots that claim the same epoch are a cloned machine.
    BootId, "32 hexadecimal digits of a boot id"
);
id128!(
    /// One generation of one file, one journal's sequence, or one spool of pushed input. Minted and made durable
    /// before its first byte is shipped.
    SourceId, "32 hexadecimal digits of a source id"
);
id128!(
    /// One life of a spool: minted when its folder is first used, and written into each of its files.
    SpoolId, "32 hexadecimal digits of a spool id"
);
id128!(
    /// One sealed shard.
    ShardId, "32 hexadecimal digits of a shard id"
);
id128!(
    /// One incarnation of a topic: written into its first message, so that a topic deleted and created again under
    /// its old name is not taken for the old one.
    TopicId, "32 hexadecimal digits of a topic id"
);

impl SourceId {
    /// A source made from other facts, the same wherever it is computed: `parts` are hashed with their lengths.
    /// Used for messages without our headers and for the far side of a clone.
    pub fn derived(parts: &[&[u8]]) -> Self {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.digest128())
    }
}

/// One partition of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub i32);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A named set of records with its own retention. Lower-case letters, digits, `.`, `_` and `-`; starts with a letter
/// or digit; at most 100 bytes. Cloning is a reference count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// The stream of a record whose source names none.
    pub const DEFAULT: &'static str = "logs";
    /// Where searches and what administrators do are noted. Nobody hands records in to it.
    pub const AUDIT: &'static str = "millrace.audit";

    /// The history of alerts.
    pub const ALERTS: &'static str = "alerts";

    /// Is this what Millrace tells of itself: the audit trail, or the history of alerts?
    pub fn is_own(&self) -> bool {
        self.is_audit() || self.as_str() == Self::ALERTS
    }

    /// Is this the audit trail?
    pub fn is_audit(&self) -> bool {
        self.as_str() == Self::AUDIT
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for StreamName {
    fn default() -> Self {
        Self(Arc::from(Self::DEFAULT))
    }
}

impl FromStr for StreamName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let valid = (1..=100).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if valid {
            Ok(Self(Arc::from(text)))
        } else {
            Err(IdError {
                expected: "a stream name of 1 to 100 lower-case letters, digits, '.', '_' or '-'",
                found: text.chars().take(120).collect(),
            })
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StreamName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Names a record for life: the same line read again after a crash has the same id. `position` is the record's first
/// byte in its source (a message offset for messages without our headers); `index` tells records of one position apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The source that the record was read from.
    pub source: SourceId,
    /// Where in the source it begins.
    pub position: u64,
    /// Which of the records that begin there; 0 but for messages without our headers.
    pub index: u32,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}-{:x}", self.source, self.position, self.index)
    }
}

impl FromStr for RecordId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let parse = || {
            let mut parts = text.splitn(3, '-');
            let source = parts.next()?.parse().ok()?;
            let position = u64::from_str_radix(parts.next().filter(|p| p.len() == 16)?, 16).ok()?;
            let index = u32::from_str_radix(parts.next()?, 16).ok()?;
            Some(Self { source, position, index })
        };
        parse().ok_or_else(|| IdError { expected: "a record id", found: text.chars().take(120).collect() })
    }
}

impl Serialize for RecordId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse_back() {
        let id = RecordId { source: SourceId::random(), position: 123_456, index: 7 };
        assert_eq!(id.to_string().parse::<RecordId>().unwrap(), id);
        assert!("x".parse::<RecordId>().is_err());
        assert!("+0000000000000000000000000000001".parse::<SourceId>().is_err());
    }

    #[test]
    fn stream_names_are_checked() {
        for good in ["logs", "app-1", "a.b_c", "0"] {
            assert!(good.parse::<StreamName>().is_ok(), "{good}");
        }
        for bad in ["", "Logs", "a/b", "../x", ".hidden", "-x", &"a".repeat(101)] {
            assert!(bad.parse::<StreamName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_derived_source_tells_its_parts_apart() {
        assert_ne!(SourceId::derived(&[b"ab", b"c"]), SourceId::derived(&[b"a", b"bc"]));
        assert_eq!(SourceId::derived(&[b"ab"]), SourceId::derived(&[b"ab"]));
    }
}
