//! Lists of values: one that is on it, or one that is not. Addresses may be networks.

use crate::matching::Field;
use serde::{Serialize, Serializer};
use std::{collections::HashSet, net::IpAddr};

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub struct List {
    /// The field that is looked up.
    #[serde(serialize_with = "as_name")]
    pub(crate) field: Field,
    /// Is a value that is on it what must not be? Else one that is not.
    pub deny: bool,
    /// Where values must be on it: is a record without the field a finding?
    pub missing: bool,
    /// How many entries it has.
    #[serde(rename = "entries")]
    pub(crate) count: usize,
    /// Differs when an entry does.
    #[serde(skip)]
    pub(crate) digest: u128,
    #[serde(skip)]
    values: HashSet<String>,
    /// Of networks, the first and the last address; sorted, and apart from one another.
    #[serde(skip)]
    networks: Vec<(u128, u128)>,
}

fn as_name<S: Serializer>(field: &Field, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&field.name)
}

impl List {
    /// Of these entries; blank ones and those that begin with `#` are none.
    pub(crate) fn new<'e>(
        field: Field,
        deny: bool,
        missing: bool,
        entries: impl Iterator<Item = &'e str>,
    ) -> Self {
        let (mut values, mut networks) = (HashSet::new(), Vec::new());
        let mut count = 0;
        let mut all: Vec<&str> = Vec::new();
        for entry in entries.map(str::trim).filter(|entry| !entry.is_empty() && !entry.starts_with('#')) {
            count += 1;
            all.push(entry);
            if let Some(network) = ends(entry) {
                networks.push(network);
                continue;
            }
            values.insert(millrace_model::text::fold(entry));
            if let Ok(address) = entry.parse::<IpAddr>() {
                networks.push((bits(address), bits(address)));
            }
        }
        all.sort_unstable();
        let digest = crate::finding::digest(all.into_iter());
        Self { field, deny, missing, count, digest, values, networks: joined(networks) }
    }

    /// Is a record with this value a finding?
    pub(crate) fn finds(&self, value: Option<&str>) -> bool {
        match value {
            Some(value) => self.holds(value) == self.deny,
            None => !self.deny && self.missing,
        }
    }

    fn holds(&self, value: &str) -> bool {
        if self.values.contains(&millrace_model::text::fold(value)) {
            return true;
        }
        if self.networks.is_empty() {
            return false;
        }
        let Ok(address) = value.trim().parse::<IpAddr>() else { return false };
        let address = bits(address);
        let after = self.networks.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).is_some_and(|at| address <= self.networks[at].1)
    }
}

/// An address of version 4 is one of version 6, as `::ffff:a.b.c.d` has it.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The first and the last address of a network, `address/bits`.
fn ends(network: &str) -> Option<(u128, u128)> {
    let (address, size) = network.split_once('/')?;
    let (address, size) = (address.parse::<IpAddr>().ok()?, size.parse::<u32>().ok()?);
    let free = if address.is_ipv4() { 32_u32 } else { 128 }.checked_sub(size)?;
    let mask = 1_u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
    let first = bits(address) & !mask;
    Some((first, first | mask))
}

fn joined(mut networks: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    networks.sort_unstable();
    let mut all: Vec<(u128, u128)> = Vec::with_capacity(networks.len());
    for (first, last) in networks {
        match all.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => all.push((first, last)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(deny: bool, missing: bool, entries: &[&str]) -> List {
        List::new(Field::new("ip"), deny, missing, entries.iter().copied())
    }

    #[test]
    fn values_and_networks_are_found() {
        let list = list(
            true,
            false,
            &["bad", "Really Bad", "10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "# no", ""],
        );
        for value in
            ["BAD", "really bad", "10.255.255.255", "10.1.2.3", "192.0.2.7", "::ffff:10.0.0.1", "2001:db8::1"]
        {
            assert!(list.finds(Some(value)), "{value}");
        }
        for value in ["good", "also bad", "11.0.0.0", "9.255.255.255", "192.0.2.8", "2001:db9::", "# no", ""]
        {
            assert!(!list.finds(Some(value)), "{value}");
        }
        assert!(!list.finds(None) && list.count == 6);
    }

    #[test]
    fn what_must_be_on_the_list() {
        assert!(list(false, true, &["good"]).finds(None) && !list(false, false, &["good"]).finds(None));
        assert!(
            list(false, false, &["good"]).finds(Some("other"))
                && !list(false, false, &["good"]).finds(Some("Good"))
        );
        assert!(!list(true, false, &["0.0.0.0/0"]).finds(Some("::1")), "all of version 4 is not all");
        assert!(list(true, false, &["::/0"]).finds(Some("1.2.3.4")));
    }
}
