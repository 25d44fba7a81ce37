//! Requests to web servers, out of the attributes that a parser made or out of the line of an access or error log.
//!
//! Sigma's rules are written against logs of several servers: what they call a query is a query to some and the whole
//! target to others. So `cs-uri-query` is both.

use super::Said;
use crate::sigma::view::View;
use std::borrow::Cow;

pub(super) fn read<'a>(line: &'a str, view: &View<'a>, said: &mut Said<'a>) {
    let text = |name: &str| view.value(name).and_then(|value| value.as_str());
    let whole = ["url.original", "url.full", "http.target"].into_iter().find_map(text);
    match (text("url.path"), whole) {
        (Some(path), whole) => {
            let query = text("url.query");
            let made = || query.map_or(Cow::Borrowed(path), |query| Cow::Owned(format!("{path}?{query}")));
            target(whole.map_or_else(made, Cow::Borrowed), query, said);
        }
        (None, Some(whole)) => {
            target(Cow::Borrowed(whole), whole.split_once('?').map(|(_, query)| query), said);
        }
        (None, None) => in_line(line, said),
    }
}

fn target<'a>(whole: Cow<'a, str>, query: Option<&'a str>, said: &mut Said<'a>) {
    said.extend("cs-uri-query", query);
    said.extend("c-uri-query", query);
    said.push("cs-uri-query", whole.clone());
    said.push("cs-uri", whole.clone());
    said.push("c-uri", whole);
}

/// A line that nobody has parsed: common or combined, or an error with `request: "…"` in it.
fn in_line<'a>(line: &'a str, said: &mut Said<'a>) {
    let (client, rest) = if let Some((before, rest)) = line.split_once("] \"") {
        (before.split(' ').next(), rest)
    } else if let Some((before, rest)) = line.split_once("request: \"") {
        let client = before.split_once("client: ").and_then(|(_, client)| client.split([',', ' ']).next());
        (client, rest)
    } else {
        return;
    };
    let Some((request, rest)) = quoted(rest) else { return };
    let mut words = request.split(' ');
    let (Some(method), Some(whole)) = (words.next(), words.next()) else { return };
    said.extend("c-ip", client);
    said.push("cs-method", method);
    let (path, query) = whole.split_once('?').map_or((whole, None), |(path, query)| (path, Some(query)));
    said.push("cs-uri-stem", path);
    target(Cow::Borrowed(whole), query, said);
    let status = rest.trim_start().split(' ').next().filter(|status| status.len() == 3);
    let Some(status) = status.filter(|status| status.bytes().all(|byte| byte.is_ascii_digit())) else {
        return;
    };
    said.push("sc-status", status);
    let Some((_, rest)) = rest.split_once('"') else { return };
    let Some((referrer, rest)) = quoted(rest) else { return };
    said.push("cs-referer", referrer);
    let agent = rest.split_once('"').and_then(|(_, rest)| quoted(rest));
    if let Some((agent, _)) = agent {
        said.push("cs-user-agent", agent);
        said.push("c-useragent", agent);
    }
}

/// What stands before the closing quote, and what comes after.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    Some((&text[..end], &text[end + 1..]))
}
