//! `${VAR}` and `${VAR:-default}` inside one text. `$${` is a literal `${`; a lone `$` is itself.

use std::collections::BTreeMap;

/// What cannot be expanded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure<'a> {
    /// The part of the text that is meant, from its `${`.
    pub(crate) part: &'a str,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// The text with its variables put in, or each reason why not. A default stands for a variable that is unset or
/// empty; it ends at the first `}`.
pub(crate) fn expand<'a>(
    text: &'a str,
    variables: &BTreeMap<String, String>,
) -> Result<String, Vec<Failure<'a>>> {
    let mut expanded = String::with_capacity(text.len());
    let mut failures = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, part) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = &part[2..];
            continue;
        }
        expanded.push_str(before);
        let Some(end) = part.find('}') else {
            let help = "close it with `}`, or write `$${` for a literal `${`".to_owned();
            failures.push(Failure { part, message: "`${` is not closed".to_owned(), help });
            rest = "";
            break;
        };
        let inside = &part[2..end];
        let (name, default) =
            inside.split_once(":-").map_or((inside, None), |(name, value)| (name, Some(value)));
        match value(name, default, variables) {
            Ok(value) => expanded.push_str(value),
            Err((message, help)) => failures.push(Failure { part: &part[..=end], message, help }),
        }
        rest = &part[end + 1..];
    }
    expanded.push_str(rest);
    if failures.is_empty() { Ok(expanded) } else { Err(failures) }
}

fn value<'a>(
    name: &str,
    default: Option<&'a str>,
    variables: &'a BTreeMap<String, String>,
) -> Result<&'a str, (String, String)> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let help = "write `${NAME}` or `${NAME:-default}`; `$${` is a literal `${`".to_owned();
        return Err((format!("{name:?} is not the name of a variable"), help));
    }
    match (variables.get(name), default) {
        (Some(value), _) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default),
        (Some(value), None) => Ok(value),
        (None, None) => Err((
            format!("the environment variable {name} is not set"),
            format!("set {name}, or give a default: `${{{name}:-default}}`"),
        )),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [("HOST", "web1"), ("EMPTY", ""), ("ODD", "${HOST}")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    }

    #[test]
    fn variables_and_defaults_are_put_in_once() {
        for (text, expanded) in [
            ("plain", "plain"),
            ("${HOST}", "web1"),
            ("a-${HOST}-b-${HOST}", "a-web1-b-web1"),
            ("${MISSING:-x}", "x"),
            ("${MISSING:-}", ""),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${HOST:-x}", "web1"),
            ("${ODD}", "${HOST}"),
            ("$HOST costs $5 $", "$HOST costs $5 $"),
            ("$${HOST}", "${HOST}"),
            ("größe ${HOST} ü", "größe web1 ü"),
        ] {
            assert_eq!(expand(text, &variables()).unwrap(), expanded, "{text}");
        }
    }

    #[test]
    fn every_failure_of_a_text_is_told() {
        let variables = variables();
        let failures = expand("${A} ${HOST} ${2x:-1} ${open", &variables).unwrap_err();
        let told: Vec<_> = failures.iter().map(|failure| (failure.part, failure.message.as_str())).collect();
        assert_eq!(
            told,
            [
                ("${A}", "the environment variable A is not set"),
                ("${2x:-1}", "\"2x\" is not the name of a variable"),
                ("${open", "`${` is not closed"),
            ]
        );
    }
}
