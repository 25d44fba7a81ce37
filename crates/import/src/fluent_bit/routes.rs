//! Which input's records a filter sees: tags, and patterns of tags.

use crate::tree::Node;

/// May a tag match a pattern? Both may have `*` in them: an input's tag is filled in with its files' paths.
pub(super) fn may_match(pattern: &str, tag: &str) -> bool {
    let (pattern, tag): (Vec<char>, Vec<char>) = (pattern.chars().collect(), tag.chars().collect());
    // Which places of the tag can be reached after each part of the pattern.
    let mut reached = vec![false; tag.len() + 1];
    reached[0] = true;
    skip_stars(&mut reached, &tag);
    for part in &pattern {
        let mut next = vec![false; tag.len() + 1];
        for at in 0..=tag.len() {
            if !reached[at] {
                continue;
            }
            match (part, tag.get(at)) {
                ('*', _) => next[at..].fill(true),
                // A star of the tag stands for this character too.
                (_, Some('*')) => next[at] = true,
                (part, Some(c)) if part == c => next[at + 1] = true,
                _ => {}
            }
        }
        reached = next;
        skip_stars(&mut reached, &tag);
    }
    reached[tag.len()]
}

/// A star of the tag may stand for nothing.
fn skip_stars(reached: &mut [bool], tag: &[char]) {
    for at in 0..tag.len() {
        if reached[at] && tag[at] == '*' {
            reached[at + 1] = true;
        }
    }
}

/// Does a filter see the records of a tag? `None`: that cannot be told here.
pub(super) fn sees(filter: &Node, tag: &str) -> Option<bool> {
    if let Some(pattern) = filter.get("match") {
        return pattern.text().map(|pattern| may_match(&pattern, tag));
    }
    let pattern = filter.get("match_regex")?.text()?;
    let regex = regex::Regex::new(&pattern).ok()?;
    (!tag.contains('*') || pattern == ".*").then(|| regex.is_match(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_meet_tags() {
        for (pattern, tag, expected) in [
            ("*", "kube.*", true),
            ("kube.*", "kube.*", true),
            ("kube.var.log.*", "kube.*", true),
            ("app.*", "kube.*", false),
            ("app", "app", true),
            ("app", "app2", false),
            ("*.log", "a.log", true),
            ("", "*", true),
            ("x", "", false),
        ] {
            assert_eq!(may_match(pattern, tag), expected, "{pattern} {tag}");
        }
    }
}
