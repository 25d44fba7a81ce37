//! Names of encodings, as other tools and the WHATWG have them.

/// Other names than the WHATWG's, and those that need no setting: plain text, and what a byte order mark tells.
const OTHERS: [(&str, &str); 19] = [
    ("", ""),
    ("plain", ""),
    ("nop", ""),
    ("auto", ""),
    ("utf-16-bom", ""),
    ("utf-16be-bom", ""),
    ("utf-16le-bom", ""),
    ("utf8", "utf-8"),
    ("utf-16", "utf-16le"),
    ("shift-jis", "shift_jis"),
    ("shiftjis", "shift_jis"),
    ("sjis", "shift_jis"),
    ("uhc", "euc-kr"),
    ("koi8r", "koi8-r"),
    ("koi8u", "koi8-u"),
    ("us-ascii", "utf-8"),
    ("ascii", "utf-8"),
    ("macintosh-cyrillic", "x-mac-cyrillic"),
    ("latin-1", "latin1"),
];

/// Names that mean the same.
const SAME: [&str; 16] = [
    "utf-8",
    "utf-16be",
    "utf-16le",
    "latin1",
    "big5",
    "gbk",
    "gb2312",
    "gb18030",
    "euc-kr",
    "euc-jp",
    "iso-2022-jp",
    "shift_jis",
    "koi8-r",
    "koi8-u",
    "macintosh",
    "x-mac-cyrillic",
];

/// The WHATWG's name; an empty one: nothing needs to be set.
pub(super) fn ours(name: &str) -> Result<String, String> {
    let name = name.trim().to_lowercase();
    if let Some((_, ours)) = OTHERS.iter().find(|(theirs, _)| *theirs == name) {
        return Ok((*ours).to_owned());
    }
    if SAME.contains(&name.as_str()) {
        return Ok(name);
    }
    let number = |prefixes: &[&str]| {
        let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
        rest.and_then(|rest| rest.parse::<u32>().ok())
    };
    match (number(&["windows-", "windows", "win", "cp"]), number(&["iso-8859-", "iso8859-", "iso_8859-"])) {
        (Some(page @ 1250..=1258), _) => Ok(format!("windows-{page}")),
        (_, Some(part @ (1..=11 | 13..=16))) => Ok(format!("iso-8859-{part}")),
        _ => Err(format!("Millrace does not know the encoding {name:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_whatwgs() {
        for (name, expected) in [
            ("UTF-16LE", "utf-16le"),
            ("iso8859-15", "iso-8859-15"),
            ("cp1252", "windows-1252"),
            ("Win1251", "windows-1251"),
            ("ShiftJIS", "shift_jis"),
            ("plain", ""),
        ] {
            assert_eq!(ours(name).as_deref(), Ok(expected), "{name}");
        }
        for name in ["hz-gb-2312", "iso-8859-12", "windows-874x", "ebcdic"] {
            assert!(ours(name).is_err(), "{name}");
        }
    }
}
