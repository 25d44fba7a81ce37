//! Tables in markdown, and how numbers are written in them.

/// The table's first two lines.
pub(crate) fn head(columns: &[&str]) {
    println!("| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
}

/// One more line. A `|` in a cell would end it.
pub(crate) fn row(cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    println!("| {} |", cells.join(" | "));
}

/// A line of a table of two columns: what, and how much.
pub(crate) fn fact(what: &str, value: &str) {
    row(&[what.to_owned(), value.to_owned()]);
}

/// 1234567 as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as `12.34 MB`, of 10^6.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

/// How many of a thing each CPU-second; a dash where no time was spent.
pub(crate) fn rate(count: u64, seconds: f64) -> String {
    if seconds > 0.0 { thousands((count as f64 / seconds) as u64) } else { "–".to_owned() }
}

/// `1/18.2`.
pub(crate) fn ratio(raw: u64, stored: u64) -> String {
    if stored > 0 { format!("1/{:.2}", raw as f64 / stored as f64) } else { "–".to_owned() }
}

/// Milliseconds with three digits that mean something.
pub(crate) fn milliseconds(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else if value >= 1.0 {
        2
    } else {
        4
    };
    format!("{value:.digits$}")
}

/// Whether a count was the right one, and if not, which would have been.
pub(crate) fn verdict(right: bool, expected: u64) -> String {
    if right { "equal".to_owned() } else { format!("**differs: {}**", thousands(expected)) }
}
