//! Bars for terminals, of blocks in eighths. Without colours they have the same shape.

/// How high a chart over time is, in lines.
const HEIGHT: usize = 8;
/// Columns left of it, for numbers.
const MARGIN: usize = 9;
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const SIDEWAYS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// How a part of a bar is coloured, by its number in a terminal's colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shade {
    Error = 1,
    Warning = 3,
    Plain = 6,
}

/// A bar: its parts, the lowest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) errors: u64,
    pub(crate) warnings: u64,
    pub(crate) others: u64,
}

impl Bar {
    pub(crate) fn total(&self) -> u64 {
        self.errors + self.warnings + self.others
    }

    /// Where each part ends, in eighths of a line.
    fn tops(&self, highest: u64) -> [(usize, Shade); 3] {
        let eighths = |count: u64| {
            let exact = count as f64 / highest.max(1) as f64 * (8 * HEIGHT) as f64;
            // What is there is seen.
            if count == 0 { 0 } else { (exact.round() as usize).max(1) }
        };
        let (errors, warnings) = (eighths(self.errors), eighths(self.errors + self.warnings));
        [(errors, Shade::Error), (warnings, Shade::Warning), (eighths(self.total()), Shade::Plain)]
    }
}

/// How many bars fit into so many columns.
pub(crate) const fn fitting(columns: usize) -> usize {
    columns.saturating_sub(MARGIN)
}

/// Bars side by side, each as wide as they fit into so many columns, over a line with these labels: at the left, in the middle and
/// at the right.
pub(crate) fn over_time(bars: &[Bar], labels: &[String; 3], columns: usize, coloured: bool) -> Vec<String> {
    let each = (fitting(columns) / bars.len().max(1)).clamp(1, 8);
    let highest = bars.iter().map(Bar::total).max().unwrap_or(0);
    let mut lines = Vec::new();
    for line in (0..HEIGHT).rev() {
        let number = if line + 1 == HEIGHT { short(highest) } else { String::new() };
        let axis = if number.is_empty() { '│' } else { '┤' };
        let mut text = format!("{number:>width$} {axis}", width = MARGIN - 2);
        for bar in bars {
            text.push_str(&cell(&bar.tops(highest), line * 8, each, coloured));
        }
        lines.push(text.trim_end().to_owned());
    }
    let width = each * bars.len();
    lines.push(format!("{:>1$} └{2}", 0, MARGIN - 2, "─".repeat(width)));
    lines.push(format!("{}{}", " ".repeat(MARGIN), spread(labels, width)));
    lines
}

/// The part of a bar that lies in one line, which begins at so many eighths.
fn cell(tops: &[(usize, Shade); 3], from: usize, width: usize, coloured: bool) -> String {
    let within = |top: usize| top.saturating_sub(from).min(8);
    let filled = within(tops[2].0);
    let blocks = |eighths: usize| BLOCKS[eighths].to_string().repeat(width);
    if !coloured || filled == 0 {
        return blocks(filled);
    }
    // The lowest part of this line, and what is above it: two colours are all that a cell can have.
    let parts = tops.iter().filter(|(top, _)| within(*top) > 0);
    let (lowest, shade) =
        parts.clone().next().map_or((filled, Shade::Plain), |(top, shade)| (within(*top), *shade));
    let above = parts.clone().find(|(top, _)| within(*top) > lowest).map(|(_, shade)| *shade);
    match above {
        Some(above) if filled == 8 => {
            format!("\x1b[3{};4{}m{}\x1b[0m", shade as u8, above as u8, blocks(lowest))
        }
        Some(above) if lowest * 2 < filled => format!("\x1b[3{}m{}\x1b[0m", above as u8, blocks(filled)),
        _ => format!("\x1b[3{}m{}\x1b[0m", shade as u8, blocks(filled)),
    }
}

/// Three labels over so many columns; where that is too little, fewer.
fn spread(labels: &[String; 3], width: usize) -> String {
    let [left, middle, right] = labels.each_ref().map(|label| label.chars().count());
    if left + middle + right + 4 <= width {
        let centre = (width - middle) / 2;
        let before = centre.saturating_sub(left).max(1);
        let behind = width.saturating_sub(left + before + middle + right).max(1);
        return [
            &labels[0],
            " ".repeat(before).as_str(),
            &labels[1],
            " ".repeat(behind).as_str(),
            &labels[2],
        ]
        .concat();
    }
    let between = width.saturating_sub(left + right).max(2);
    format!("{}{}{}", labels[0], " ".repeat(between), labels[2])
}

/// A bar of a part of so many columns.
pub(crate) fn sideways(part: f64, columns: usize) -> String {
    let eighths = (part.clamp(0.0, 1.0) * (8 * columns) as f64).round() as usize;
    let eighths = if part > 0.0 { eighths.max(1) } else { eighths };
    let mut bar = SIDEWAYS[8].to_string().repeat(eighths / 8);
    if eighths % 8 > 0 {
        bar.push(SIDEWAYS[eighths % 8]);
    }
    bar
}

/// A number in few characters.
fn short(number: u64) -> String {
    for (unit, size) in [("G", 1e9), ("M", 1e6), ("k", 1e3)] {
        let units = number as f64 / size;
        if units >= 10.0 {
            return if units >= 100.0 { format!("{units:.0}{unit}") } else { format!("{units:.1}{unit}") };
        }
    }
    number.to_string()
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(errors: u64, warnings: u64, others: u64) -> Bar {
        Bar { errors, warnings, others }
    }

    #[test]
    fn bars_are_as_high_as_their_counts() {
        let labels = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let bars = [bar(0, 0, 64), bar(0, 0, 0), bar(0, 0, 1), bar(8, 8, 16)];
        let lines = over_time(&bars, &labels, MARGIN + 8, false);
        assert_eq!(
            lines,
            [
                "     64 ┤██",
                "        │██",
                "        │██",
                "        │██",
                "        │██    ██",
                "        │██    ██",
                "        │██    ██",
                "        │██  ▁▁██",
                "      0 └────────",
                "         a  b   c",
            ]
        );
    }

    #[test]
    fn parts_of_a_bar_have_their_colours() {
        let lines = over_time(&[bar(4, 0, 60)], &Default::default(), MARGIN + 1, true);
        // Half of the lowest line are errors, under others.
        assert!(lines[HEIGHT - 1].ends_with("\x1b[31;46m▄\x1b[0m"), "{lines:?}");
        assert!(lines[0].ends_with("\x1b[36m█\x1b[0m"), "{lines:?}");
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0, "0"),
            (9999, "9999"),
            (12_345, "12.3k"),
            (123_456, "123k"),
            (7_000_000, "7000k"),
            (12_000_000_000, "12.0G"),
        ] {
            assert_eq!(short(number), text);
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
        assert_eq!(
            (sideways(0.5, 4).as_str(), sideways(0.001, 4).as_str(), sideways(0.0, 4).as_str()),
            ("██", "▏", "")
        );
    }
}
