//! The name of a template: a hash of its mask, the same everywhere and for ever.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// Hashed before the mask, so that no other use of SHA-256 gives the same names. Changing it renames every template.
const DOMAIN: &[u8] = b"millrace.template.v1\0";

/// The first 64 bits of the SHA-256 of a fixed prefix and the mask. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(pub u64);

impl TemplateId {
    /// The id of the template with this mask.
    pub fn of(mask: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(DOMAIN).chain_update(mask).finalize();
        Self(digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte)))
    }
}

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TemplateId({self})")
    }
}

/// The text is not 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a template's id is 16 hexadecimal digits")]
pub struct InvalidTemplateId;

impl FromStr for TemplateId {
    type Err = InvalidTemplateId;
    fn from_str(text: &str) -> Result<Self, InvalidTemplateId> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidTemplateId);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidTemplateId)
    }
}

impl Serialize for TemplateId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TemplateId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn ids_never_change() {
        // These values are in catalogues and in people's rules.
        assert_eq!(TemplateId::of(b"").to_string(), "5b1c197c78c0f76a");
        assert_eq!(TemplateId::of(b"user \0 logged in").to_string(), "5db785927fb6600a");
    }

    #[test]
    fn an_id_is_written_as_sixteen_digits_and_read_back() {
        let id = TemplateId(0xab);
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"00000000000000ab\"");
        assert_eq!(serde_json::from_str::<TemplateId>("\"00000000000000AB\"").unwrap(), id);
        for wrong in ["", "ab", "+0000000000000ab", "00000000000000abc", "000000000000000g"] {
            assert_eq!(wrong.parse::<TemplateId>(), Err(InvalidTemplateId), "{wrong}");
        }
    }
}
