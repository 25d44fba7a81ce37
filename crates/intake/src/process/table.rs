//! Tables that records are enriched from: of values, and of networks.

use maxminddb::{Reader, geoip2};
use millrace_model::Value;
use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

/// Rows of a table of comma-separated values, by one of its columns.
#[derive(Clone, PartialEq)]
pub struct CsvTable {
    columns: Arc<[String]>,
    /// The place of the column by which rows are found.
    by: usize,
    rows: Arc<HashMap<String, Box<[String]>>>,
}

impl CsvTable {
    /// Reads a table, the first line of which names its columns. `column` is the one by which rows are found; of several rows with
    /// the same value the first counts.
    ///
    /// # Errors
    /// It is no such table, or has no such column.
    pub fn new(bytes: &[u8], column: &str) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let columns: Vec<String> =
            reader.headers().map_err(|error| error.to_string())?.iter().map(str::to_owned).collect();
        let by = columns
            .iter()
            .position(|name| name == column)
            .ok_or_else(|| format!("the table has no column {column:?}; it has {}", columns.join(", ")))?;
        let mut rows = HashMap::new();
        for row in reader.records() {
            let row: Box<[String]> =
                row.map_err(|error| error.to_string())?.iter().map(str::to_owned).collect();
            rows.entry(row[by].clone()).or_insert(row);
        }
        Ok(Self { columns: columns.into(), by, rows: Arc::new(rows) })
    }

    /// The other columns of the row with this value, by their names; empty ones are left out.
    pub(super) fn find<'a>(&'a self, value: &str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let row = self.rows.get(value).map(|row| &row[..]).unwrap_or_default();
        let by = self.by;
        let others = self.columns.iter().zip(row).enumerate();
        others
            .filter(move |(at, (_, value))| *at != by && !value.is_empty())
            .map(|(_, (name, value))| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for CsvTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CsvTable({} rows of {:?})", self.rows.len(), self.columns)
    }
}

/// Networks, and where they are or whose: a database in the format of `MaxMind`.
#[derive(Clone)]
pub struct GeoTable(Arc<Reader<Vec<u8>>>);

impl GeoTable {
    /// Reads a database.
    ///
    /// # Errors
    /// It is none.
    pub fn new(bytes: Vec<u8>) -> Result<Self, String> {
        Reader::from_source(bytes).map(|reader| Self(Arc::new(reader))).map_err(|error| error.to_string())
    }

    /// What is known of an address.
    pub(super) fn find(&self, address: &str) -> Vec<(&'static str, Value)> {
        let mut facts = Vec::new();
        let Ok(address) = address.parse::<IpAddr>() else { return facts };
        let Ok(found) = self.0.lookup(address) else { return facts };
        if let Ok(Some(city)) = found.decode::<geoip2::City<'_>>() {
            let text = |value: Option<&str>| value.map(Value::from);
            let first = city.subdivisions.first();
            let known = [
                ("geo.continent.code", text(city.continent.code)),
                ("geo.country.iso_code", text(city.country.iso_code)),
                (
                    "geo.region.iso_code",
                    region(city.country.iso_code, first.and_then(|region| region.iso_code)),
                ),
                ("geo.locality.name", text(city.city.names.english)),
                ("geo.postal_code", text(city.postal.code)),
                ("geo.location.lat", city.location.latitude.map(Value::from)),
                ("geo.location.lon", city.location.longitude.map(Value::from)),
            ];
            facts.extend(known.into_iter().filter_map(|(name, value)| Some((name, value?))));
        }
        if let Ok(Some(network)) = found.decode::<geoip2::Asn<'_>>() {
            facts.extend(
                network.autonomous_system_number.map(|number| ("as.number", i64::from(number).into())),
            );
            facts.extend(
                network.autonomous_system_organization.map(|name| ("as.organization.name", name.into())),
            );
        }
        facts
    }
}

/// As ISO 3166-2 has it: the country, and the region within.
fn region(country: Option<&str>, region: Option<&str>) -> Option<Value> {
    Some(format!("{}-{}", country?, region?).into())
}

impl PartialEq for GeoTable {
    fn eq(&self, other: &Self) -> bool {
        self.0.metadata() == other.0.metadata()
    }
}

impl fmt::Debug for GeoTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GeoTable({})", self.0.metadata().database_type)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_a_column() {
        let table =
            CsvTable::new(b"name, team ,room\nweb1,\"shop, front\",\nweb2,search,7\nweb1,other,8\n", "name")
                .unwrap();
        let found = |name: &str| table.find(name).collect::<Vec<_>>();
        assert_eq!(found("web1"), [("team", "shop, front")]);
        assert_eq!(found("web2"), [("team", "search"), ("room", "7")]);
        assert!(found("web3").is_empty());
        let error = CsvTable::new(b"a,b\n1,2\n", "c").unwrap_err();
        assert!(error.contains("it has a, b"), "{error}");
        assert!(CsvTable::new(b"a,b\n1\n", "a").unwrap_err().contains("2 fields"));
        assert!(CsvTable::new(b"", "a").is_err());
    }

    /// A database of one network, by the description of `MaxMind`'s format 2.0: 10.0.0.0/8 with the given data.
    pub(crate) fn database(kind: &str, data: &[u8]) -> Vec<u8> {
        // Eight nodes with records of 24 bits, one for each bit of the first byte: 00001010.
        let nodes = 8_u32;
        let mut bytes = Vec::new();
        for bit in 0..8 {
            let next = if bit == 7 { nodes + 16 } else { bit + 1 };
            let one = 0b0000_1010_u8 >> (7 - bit) & 1 == 1;
            for record in if one { [nodes, next] } else { [next, nodes] } {
                bytes.extend(&record.to_be_bytes()[1..]);
            }
        }
        bytes.extend([0; 16]);
        bytes.extend(data);
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        let number = |value: u16| [vec![0xa2], value.to_be_bytes().to_vec()].concat();
        let metadata: [(&str, Vec<u8>); 9] = [
            ("binary_format_major_version", number(2)),
            ("binary_format_minor_version", number(0)),
            ("build_epoch", vec![0x01, 0x02, 1]),
            ("database_type", text(kind)),
            ("description", map(&[])),
            ("ip_version", number(4)),
            ("languages", vec![0x00, 0x04]),
            ("node_count", vec![0xc1, nodes as u8]),
            ("record_size", number(24)),
        ];
        bytes.extend(map(&metadata.each_ref().map(|(name, value)| (*name, value.clone()))));
        bytes
    }

    pub(crate) fn text(text: &str) -> Vec<u8> {
        let length = text.len() as u8;
        let control = if length < 29 { vec![0x40 | length] } else { vec![0x5d, length - 29] };
        [control, text.as_bytes().to_vec()].concat()
    }

    pub(crate) fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = vec![0xe0 | entries.len() as u8];
        for (name, value) in entries {
            bytes.extend(text(name));
            bytes.extend(value);
        }
        bytes
    }

    #[test]
    fn networks_tell_where_they_are_and_whose() {
        let names = map(&[("names", map(&[("en", text("Berlin"))]))]);
        let double = |value: f64| [vec![0x68], value.to_be_bytes().to_vec()].concat();
        let place = map(&[
            ("city", names),
            ("country", map(&[("iso_code", text("DE"))])),
            ("location", map(&[("latitude", double(52.5)), ("longitude", double(13.4))])),
            ("subdivisions", [vec![0x01, 0x04], map(&[("iso_code", text("BE"))])].concat()),
        ]);
        let table = GeoTable::new(database("GeoLite2-City", &place)).unwrap();
        let facts = table.find("10.1.2.3");
        let expected: [(&str, Value); 5] = [
            ("geo.country.iso_code", "DE".into()),
            ("geo.region.iso_code", "DE-BE".into()),
            ("geo.locality.name", "Berlin".into()),
            ("geo.location.lat", 52.5.into()),
            ("geo.location.lon", 13.4.into()),
        ];
        assert_eq!(facts, expected);
        for none in ["11.0.0.1", "::1", "nowhere", ""] {
            assert!(table.find(none).is_empty(), "{none}");
        }
        let owner = map(&[
            ("autonomous_system_number", vec![0xc1, 64]),
            ("autonomous_system_organization", text("Example")),
        ]);
        let table = GeoTable::new(database("GeoLite2-ASN", &owner)).unwrap();
        assert_eq!(
            table.find("10.0.0.1"),
            [("as.number", 64.into()), ("as.organization.name", "Example".into())]
        );
        assert!(GeoTable::new(b"nothing of that kind".to_vec()).is_err());
    }
}
