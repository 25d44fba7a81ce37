//! Filebeat's `dissect`, as a regular expression with named groups.

use crate::query;

/// The expression for a tokenizer; the names of its fields get this in front, with a dot.
pub(super) fn pattern(tokenizer: &str, prefix: &str) -> Result<String, String> {
    let mut pattern = String::from("^");
    let mut rest = tokenizer;
    let mut names: Vec<&str> = Vec::new();
    while let Some((before, after)) = rest.split_once("%{") {
        pattern.push_str(&query::literal(before));
        let (key, after) = after.split_once('}').ok_or("the tokenizer has a %{ without its }")?;
        // The last field takes all that is left.
        let any = if after.is_empty() { ".*" } else { ".*?" };
        if key.is_empty() || key.starts_with('?') {
            pattern.push_str(any);
        } else {
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            let fits =
                key.chars().all(legal) && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if !fits || names.contains(&key) {
                return Err(format!("Millrace does not know what dissect's key {key:?} means"));
            }
            names.push(key);
            let dot = if prefix.is_empty() { "" } else { "." };
            pattern.extend(["(?<", prefix, dot, key, ">", any, ")"]);
        }
        rest = after;
    }
    pattern.push_str(&query::literal(rest));
    if !rest.is_empty() {
        pattern.push('$');
    }
    query::check_named(&pattern)?;
    Ok(pattern)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn tokenizers_become_expressions() {
        for (tokenizer, prefix, expected) in [
            ("%{when} [%{level}] %{text}", "", r"^(?<when>.*?) \[(?<level>.*?)\] (?<text>.*)"),
            ("%{} %{?x} <%{a.b}>", "dissect", r"^.*? .*? <(?<dissect.a.b>.*?)>$"),
        ] {
            assert_eq!(pattern(tokenizer, prefix).unwrap(), expected);
        }
        for bad in ["%{+a} %{+a}", "%{a->} x", "%{a|integer}", "%{a", "plain", "%{a} %{a}"] {
            assert!(pattern(bad, "").is_err(), "{bad}");
        }
    }
}
