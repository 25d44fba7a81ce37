//! Globs: from regular expressions on paths, and from tools that take braces literally.

use super::variables;

/// Is it a glob that Millrace reads?
pub(super) fn check(glob: &str) -> Result<(), String> {
    let text = variables::replaced(glob, "x");
    let wrong = |what: &str| Err(format!("{what} in the glob {glob:?}"));
    let mut braces = 0_u32;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next().is_none() => return wrong("nothing follows the backslash"),
            '[' if !skip_class(&mut chars) => {
                return wrong("a bracket is not closed, or its range goes backwards,");
            }
            '{' => braces += 1,
            '}' if braces == 0 => return wrong("a brace was never opened"),
            '}' => braces -= 1,
            _ => {}
        }
    }
    match (text.is_empty(), braces) {
        (true, _) => Err("the glob is empty".to_owned()),
        (false, 0) => Ok(()),
        (false, _) => wrong("a brace is not closed"),
    }
}

/// Passes over a class whose bracket was read. `false`: it is none.
fn skip_class(chars: &mut std::str::Chars<'_>) -> bool {
    let mut first = true;
    let mut before = None;
    if chars.as_str().starts_with(['!', '^']) {
        chars.next();
    }
    while let Some(c) = chars.next() {
        match c {
            ']' if !first => return true,
            '-' if !first => match (before, chars.clone().next()) {
                (Some(low), Some(high)) if high != ']' && low > high => return false,
                _ => before = None,
            },
            c => before = Some(c),
        }
        first = false;
    }
    false
}

/// A glob of a tool to which braces mean nothing: here they do, so they are quoted.
pub(super) fn without_braces(glob: &str) -> String {
    let quote = |(variable, stretch): (bool, &str)| {
        if variable {
            return stretch.to_owned();
        }
        let mut quoted = String::with_capacity(stretch.len());
        let mut in_class = false;
        for c in stretch.chars() {
            match c {
                '{' | '}' if !in_class => quoted.extend(['[', c, ']']),
                c => quoted.push(c),
            }
            in_class = c == '[' || in_class && c != ']';
        }
        quoted
    };
    variables::stretches(glob).map(quote).collect()
}

/// The globs that name the files whose path has a part that matches; `None`: there are none, or none that are as simple as what is
/// written for this.
pub(super) fn from_regex(pattern: &str) -> Option<Vec<String>> {
    if variables::are_in(pattern) || pattern.is_empty() {
        return None;
    }
    let mut globs = Vec::new();
    for part in alternatives(pattern)? {
        globs.extend(one(part)?);
    }
    Some(globs)
}

/// What stands between the `|`; `None`: there are groups, which are not looked into.
fn alternatives(pattern: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut escaped, mut in_class) = (Vec::new(), 0, false, false);
    for (at, c) in pattern.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' | ')' if !in_class => return None,
            '|' if !in_class => {
                parts.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&pattern[start..]);
    Some(parts)
}

fn one(pattern: &str) -> Option<Vec<String>> {
    let (from_start, pattern) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
    let (from_start, pattern) =
        pattern.strip_prefix(".*").map_or((from_start, pattern), |rest| (false, rest));
    let escaped_end = pattern.ends_with("\\$");
    let ended = pattern.strip_suffix('$').filter(|_| !escaped_end);
    let (to_end, pattern) = ended.map_or((false, pattern), |rest| (true, rest));
    let (to_end, pattern) = pattern.strip_suffix(".*").map_or((to_end, pattern), |rest| (false, rest));
    let glob = middle(pattern)?;
    if glob.is_empty() {
        return None;
    }
    // A pattern without a slash is for names; with one it is for whole paths.
    let name_only = !glob.contains('/');
    let before = match (from_start, name_only, glob.starts_with('/')) {
        (true, true, _) | (true, false, false) => return None,
        (true, false, true) => "",
        (false, true, _) => "*",
        (false, false, true) => "/**",
        (false, false, false) => "/**/*",
    };
    let mut globs = Vec::new();
    if !glob.ends_with('/') {
        globs.push(format!("{before}{glob}{}", if to_end { "" } else { "*" }));
    }
    if !to_end {
        let folder = if name_only { "/**/*" } else { before };
        let rest = if glob.ends_with('/') { "**" } else { "*/**" };
        globs.push(format!("{folder}{glob}{rest}"));
    }
    Some(globs)
}

/// Characters, escaped ones, single wildcards and classes.
fn middle(pattern: &str) -> Option<String> {
    let mut glob = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                'd' => glob.push_str("[0-9]"),
                c if c.is_ascii_punctuation() => push(&mut glob, c),
                _ => return None,
            },
            '[' => {
                let class: String = chars.by_ref().take_while(|c| *c != ']').collect();
                let simple = class.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
                if !simple || class.is_empty() || class.starts_with('-') || class.ends_with('-') {
                    return None;
                }
                glob.extend(["[", &class, "]"]);
            }
            '.' => glob.push('?'),
            '*' | '+' | '?' | '{' | '}' | '(' | ')' | '|' | '^' | '$' | ']' => return None,
            c => push(&mut glob, c),
        }
        if matches!(chars.peek(), Some('*' | '+' | '?' | '{')) {
            return None;
        }
    }
    Some(glob)
}

fn push(glob: &mut String, c: char) {
    if "*?[]{}!".contains(c) {
        glob.extend(['[', c, ']']);
    } else if c == '\\' {
        glob.push_str("\\\\");
    } else {
        glob.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_expressions_become_globs() {
        for (pattern, expected) in [
            (r"\.gz$", &["*.gz"][..]),
            (r".gz$", &["*?gz"]),
            (r"\.(gz|zip)$", &[]),
            (r"\.gz$|\.zip$", &["*.gz", "*.zip"]),
            (r".*\.log\.[0-9]$", &["*.log.[0-9]"]),
            (r"\d\.log$", &["*[0-9].log"]),
            (r"debug", &["*debug*", "/**/*debug*/**"]),
            (r"^/var/log/private/", &["/var/log/private/**"]),
            (r"^/var/log/app", &["/var/log/app*", "/var/log/app*/**"]),
            (r"nginx/error\.log$", &["/**/*nginx/error.log"]),
            (r"/tmp/", &["/**/tmp/**"]),
            (r"\.gz.*", &["*.gz*", "/**/*.gz*/**"]),
            (r"^app", &[]),
            (r"a.*b", &[]),
            (r"[^a]b$", &[]),
            (r"x+$", &[]),
            (r"", &[]),
            (r"a\{1\}$", &["*a[{]1[}]"]),
        ] {
            let globs = from_regex(pattern).unwrap_or_default();
            assert_eq!(globs, expected, "{pattern}");
            assert!(globs.iter().all(|glob| check(glob).is_ok()), "{pattern}");
        }
    }

    #[test]
    fn what_is_no_glob_is_told() {
        for glob in ["", "/a/[b", "/a/{b,c", "/a/b}", "/a\\", "/[z-a]"] {
            assert!(check(glob).is_err(), "{glob}");
        }
        for glob in ["/a/*.log", "/a/{b,c}/**", "/[a-z]", "/[]x]", "/a\\[", "/[!a]"] {
            assert_eq!(check(glob), Ok(()), "{glob}");
        }
        assert_eq!(without_braces("/a{b}/[{]"), "/a[{]b[}]/[{]");
    }
}
