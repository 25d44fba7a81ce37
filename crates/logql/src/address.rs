//! `ip("…")`: one address, a range or a network; looked for in lines and compared with labels.

use std::{fmt, net::IpAddr};

/// Which addresses are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    text: String,
    low: IpAddr,
    high: IpAddr,
}

impl Addresses {
    /// Reads `192.0.2.0`, `192.168.0.1-192.168.0.9` or `10.0.0.0/8`, of either family.
    pub fn parse(text: &str) -> Option<Self> {
        let (low, high) = match (text.split_once('/'), text.split_once('-')) {
            (Some((address, bits)), _) => network(address.trim().parse().ok()?, bits.trim().parse().ok()?)?,
            (None, Some((low, high))) => (low.trim().parse().ok()?, high.trim().parse().ok()?),
            (None, None) => {
                let address: IpAddr = text.trim().parse().ok()?;
                (address, address)
            }
        };
        let ordered = low.is_ipv4() == high.is_ipv4() && low <= high;
        ordered.then(|| Self { text: text.to_owned(), low, high })
    }

    /// Is `text` one of these addresses, and nothing else?
    fn is(&self, text: &str) -> bool {
        text.parse().is_ok_and(|address| self.holds(address))
    }

    /// Is any of these addresses somewhere in a line or a label?
    pub fn are_in(&self, line: &str) -> bool {
        let (in_address, ends): (fn(u8) -> bool, &[char]) = if self.low.is_ipv4() {
            (|byte| byte.is_ascii_digit() || byte == b'.', &['.'])
        } else {
            (|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'), &['.'])
        };
        let bytes = line.as_bytes();
        let mut at = 0;
        while let Some(start) = bytes[at..].iter().position(|byte| in_address(*byte)).map(|skip| at + skip) {
            let length = bytes[start..].iter().take_while(|byte| in_address(**byte)).count();
            at = start + length;
            let run = line[start..at].trim_matches(ends);
            // A port may stand behind an address of version 4, a colon behind one of version 6.
            if self.is(run) || run.strip_suffix(':').is_some_and(|run| self.is(run)) {
                return true;
            }
        }
        false
    }

    /// The address, where it is one, of version 4: such a one has one spelling.
    pub(crate) fn only_version_4(&self) -> Option<IpAddr> {
        (self.low == self.high && self.low.is_ipv4()).then_some(self.low)
    }

    fn holds(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.low.is_ipv4() && self.low <= address && address <= self.high
    }
}

/// The first and the last address of a network.
fn network(address: IpAddr, bits: u32) -> Option<(IpAddr, IpAddr)> {
    Some(match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            if bits > 32 {
                return None;
            }
            let first = address.to_bits() & !host;
            (IpAddr::V4(first.into()), IpAddr::V4((first | host).into()))
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            if bits > 128 {
                return None;
            }
            let first = address.to_bits() & !host;
            (IpAddr::V6(first.into()), IpAddr::V6((first | host).into()))
        }
    })
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip({})", crate::token::quoted(&self.text))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_lines() {
        for (addresses, line, expected) in [
            ("192.0.2.1", "from 192.0.2.1:8080", true),
            ("3.180.71.3", "93.180.71.3 - -", false),
            ("10.0.0.0/8", "a 10.200.3.4, b", true),
            ("10.0.0.0/8", "a 11.0.0.1.", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("192.168.4.5-192.168.4.20", "x=192.168.4.20", true),
            ("192.168.4.5-192.168.4.20", "x=192.168.4.21", false),
            ("2001:db8::/32", "[2001:db8::7]:80", true),
            ("::1", "to ::1: refused", true),
            ("::1", "10.0.0.1", false),
            ("10.0.0.1", "10.0.0.1.5", false),
        ] {
            assert_eq!(Addresses::parse(addresses).unwrap().are_in(line), expected, "{addresses} in {line}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "10.0.0.0/33", "a", "10.0.0.2-10.0.0.1", "10.0.0.1-::1", "::/129"] {
            assert_eq!(Addresses::parse(text), None, "{text}");
        }
    }
}
