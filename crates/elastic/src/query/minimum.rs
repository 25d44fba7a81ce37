//! `minimum_should_match`: `2`, `-1`, `75%`, `-25%`, `3<90%`, and several of the last kind.

use crate::{Error, json::scalar};
use serde_json::Value as Json;

/// How many of `count` clauses must match.
///
/// # Errors
/// It is none of these.
pub(crate) fn minimum(given: &Json, count: usize) -> Result<usize, Error> {
    let text = scalar(given).unwrap_or_default();
    calculate(text.trim(), count).ok_or_else(|| {
        let shown: String = text.chars().take(100).collect();
        Error::query(format!("failed to parse [minimum_should_match]: {shown}")).within_number(&shown)
    })
}

impl Error {
    fn within_number(self, text: &str) -> Self {
        Self { cause: Some(Box::new(Self::number(text))), ..self }
    }
}

fn calculate(text: &str, count: usize) -> Option<usize> {
    if text.contains('<') {
        let mut result = count;
        for part in text.split_whitespace() {
            let (limit, spec) = part.split_once('<')?;
            if count <= limit.trim().parse::<usize>().ok()? {
                return Some(result);
            }
            result = calculate(spec, count)?;
        }
        return Some(result);
    }
    let total = i64::try_from(count).ok()?;
    let number = match text.strip_suffix('%') {
        Some(percent) => {
            let percent = percent.trim().parse::<i64>().ok()?.clamp(-1_000_000, 1_000_000);
            (total * percent) / 100
        }
        None => text.strip_suffix(".0").unwrap_or(text).parse::<i64>().ok()?,
    };
    let number = if text.starts_with('-') { total.saturating_add(number) } else { number };
    usize::try_from(number.max(0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_parts_of_clauses() {
        for (text, count, expected) in [
            ("2", 4, Some(2)),
            ("-2", 4, Some(2)),
            ("-10", 4, Some(0)),
            ("50%", 4, Some(2)),
            ("75%", 3, Some(2)),
            ("-25%", 4, Some(3)),
            ("9", 4, Some(9)),
            ("2<75%", 2, Some(2)),
            ("2<75%", 4, Some(3)),
            ("2<-25% 9<-3", 12, Some(9)),
            ("x", 3, None),
            ("", 3, None),
        ] {
            assert_eq!(calculate(text, count), expected, "{text} of {count}");
        }
    }
}
