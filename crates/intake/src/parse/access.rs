//! Access logs of web servers, in the formats that nginx and Apache call common and combined, with or without the virtual host in
//! front. What comes after is kept: one more quoted text is the `X-Forwarded-For` of nginx's own example.
//!
//! Names are OpenTelemetry's semantic conventions for HTTP.

use super::{Reading, fields::Fields, time::Times};
use millrace_model::{Timestamp, Value};

/// What follows the fields that the formats name.
const REST: &str = "access.rest";

/// Looks it like one: a time in brackets where the formats have it?
pub(super) fn is_likely(text: &str) -> bool {
    let Some(at) = text.find(" [") else { return false };
    matches!(text.as_bytes().get(at + 2..at + 31), Some([a, b, b'/', _, _, _, b'/', ..]) if a.is_ascii_digit() && b.is_ascii_digit())
}

pub(super) fn read(text: &str, reading: &mut Reading<'_>) -> Result<(), String> {
    let line = Line::parse(text).ok_or("not common or combined")?;
    let timestamp = time(line.time, reading.times).ok_or("no time in brackets")?;
    let mut fields = Fields::default();
    fields.text("server.address", line.host);
    fields.text("client.address", Some(line.client));
    fields.text("user.identifier", given(line.identifier));
    fields.text("user.name", given(line.user));
    request(line.request, &mut fields);
    fields.push("http.response.status_code", Value::Int(line.status));
    if let Ok(size) = line.size.parse() {
        fields.push("http.response.body.size", Value::Int(size));
    }
    let unescaped = |text: Option<&str>| text.and_then(given).map(unescape);
    fields.text("http.request.header.referer", unescaped(line.referrer).as_deref());
    fields.text("user_agent.original", unescaped(line.agent).as_deref());
    match line.rest.trim() {
        "" => {}
        rest => match quoted(rest) {
            Some((forwarded, "")) => {
                fields.text("http.request.header.x-forwarded-for", given(forwarded));
            }
            _ => fields.text(REST, Some(rest)),
        },
    }
    fields.place(reading);
    reading.record.timestamp = Some(timestamp);
    Ok(())
}

struct Line<'a> {
    host: Option<&'a str>,
    client: &'a str,
    identifier: &'a str,
    user: &'a str,
    time: &'a str,
    request: &'a str,
    status: i64,
    size: &'a str,
    referrer: Option<&'a str>,
    agent: Option<&'a str>,
    rest: &'a str,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (before, after) = text.split_once(" [")?;
        let (first, others) = before.split_once(' ')?;
        let (host, client, others) = match others.split_once(' ') {
            // `www.example.com:443 192.0.2.1 - -`: a host with a port stands where else the client does.
            Some((second, others)) if is_host_and_port(first) && others.contains(' ') => {
                (Some(first), second, others)
            }
            _ => (None, first, others),
        };
        let (identifier, user) = others.split_once(' ')?;
        let (time, after) = after.split_once("] ")?;
        let (request, after) = quoted(after)?;
        let (status, after) = word(after)?;
        if status.len() != 3 {
            return None;
        }
        let (size, after) = word(after)?;
        let (referrer, after) = optional(after);
        let (agent, rest) = optional(after);
        let status = status.parse().ok()?;
        Some(Self { host, client, identifier, user, time, request, status, size, referrer, agent, rest })
    }
}

fn is_host_and_port(text: &str) -> bool {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.contains(':'));
    port.is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `-` stands for nothing.
fn given(text: &str) -> Option<&str> {
    (text != "-").then_some(text)
}

fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(' ').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn optional(text: &str) -> (Option<&str>, &str) {
    match quoted(text) {
        Some((value, rest)) => (Some(value), rest),
        None => (None, text),
    }
}

/// What stands in quotes, still escaped, and what comes after.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start().strip_prefix('"')?;
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', &text.as_bytes()[from..])?;
        if text.as_bytes()[at] == b'"' {
            return Some((&text[..at], &text[at + 1..]));
        }
        from = at + 1 + text[at + 1..].chars().next()?.len_utf8();
    }
}

/// Quotes and backslashes lose their backslash; other escapes stand for bytes that are no text, and stay.
fn unescape(text: &str) -> String {
    if text.contains('\\') { text.replace("\\\"", "\"").replace("\\\\", "\\") } else { text.to_owned() }
}

/// `GET /path?query HTTP/1.1`; what is none, such as the start of a TLS handshake, stays whole.
fn request(text: &str, fields: &mut Fields) {
    let text = unescape(text);
    let parts = text.split_once(' ').and_then(|(method, rest)| {
        let (target, version) = rest.rsplit_once(" HTTP/").unwrap_or((rest, ""));
        let plausible = !method.is_empty()
            && method.len() <= 32
            && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_');
        plausible.then_some((method, target, version))
    });
    let Some((method, target, version)) = parts else {
        return fields.text("url.original", given(&text));
    };
    fields.text("http.request.method", Some(method));
    fields.text("network.protocol.version", Some(version));
    if target.starts_with('/') {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        fields.text("url.path", Some(path));
        fields.text("url.query", Some(query));
    } else {
        fields.text("url.original", Some(target));
    }
}

/// `10/Oct/2000:13:55:36 -0700`.
fn time(text: &str, times: &Times) -> Option<Timestamp> {
    if let [
        d,
        e,
        b'/',
        m,
        o,
        n,
        b'/',
        y @ ..,
        b':',
        h,
        i,
        b':',
        k,
        l,
        b':',
        s,
        t,
        b' ',
        sign @ (b'+' | b'-'),
        a,
        b,
        c,
        f,
    ] = text.as_bytes()
        && let (Some(day), Some(hour), Some(minute), Some(second)) =
            (two(*d, *e), two(*h, *i), two(*k, *l), two(*s, *t))
        && let (Some(hours), Some(minutes)) = (two(*a, *b), two(*c, *f))
        && let Some(month) = month([*m, *o, *n])
    {
        let year = std::str::from_utf8(y).ok().filter(|year| year.len() == 4)?.parse().ok()?;
        let east = (hours * 60 + minutes) as i32 * 60;
        let offset = chrono::FixedOffset::east_opt(if *sign == b'-' { -east } else { east })?;
        let date = chrono::NaiveDate::from_ymd_opt(year, month, day)?.and_hms_opt(hour, minute, second)?;
        return Timestamp::from_datetime(&date.and_local_timezone(offset).single()?.to_utc());
    }
    // `$time_iso8601`, which some put there.
    times.known(text)
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

/// 1 to 12, by its English short name.
pub(super) fn month(name: [u8; 3]) -> Option<u32> {
    const NAMES: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let lower = name.map(|byte| byte.to_ascii_lowercase());
    NAMES.iter().position(|name| **name == lower).map(|at| at as u32 + 1)
}
