//! Commands that ask a server: `audit` and `catalogue show`; and how commands ask.

use crate::cli::{AuditArgs, CatalogueShowArgs, Code, Failure, Output, ServerArgs, written};
use millrace_model::chain;
use serde_json::{Map, Value, json};
use std::io::{self, BufWriter, Write};

/// A log line must not drive the terminal: control characters but tab become `�`.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// `millrace audit`.
pub(crate) async fn audit(args: &AuditArgs) -> anyhow::Result<Code> {
    let mut body = Map::new();
    if let Some(source) = &args.source {
        body.insert("source".to_owned(), json!(source));
    }
    if args.verify {
        body.insert("verify".to_owned(), json!(true));
    }
    let answer = Request::get(&args.server, "api/v1/audit").with(&Value::Object(body)).send().await?;
    let complete = answer["complete"] == json!(true);
    let sources = answer["sources"].as_array().cloned().unwrap_or_default();
    let holes = answer["holes"].as_array().cloned().unwrap_or_default();
    let mut out = BufWriter::new(io::stdout().lock());
    match args.output {
        Output::Json => written(writeln!(out, "{answer:#}"))?,
        Output::Ndjson => {
            written(sources.iter().try_for_each(|source| writeln!(out, "{source}")))?;
            written(holes.iter().try_for_each(|hole| writeln!(out, "{}", json!({ "hole": hole }))))?;
        }
        Output::Text => {
            written(sources.iter().try_for_each(|source| write_source(&mut out, source)))?;
            written(holes.iter().try_for_each(|hole| write_hole(&mut out, hole)))?;
        }
    }
    let verification = &answer["verification"];
    let findings = verification["findings"].as_array().cloned().unwrap_or_default();
    match args.output {
        Output::Json => {}
        Output::Ndjson => {
            written(findings.iter().try_for_each(|one| writeln!(out, "{}", json!({ "finding": one }))))?;
        }
        Output::Text => written(findings.iter().try_for_each(|one| write_finding(&mut out, one)))?,
    }
    written(out.flush())?;
    for missing in answer["missing"].as_array().into_iter().flatten() {
        eprintln!("not in this account: {}", missing["reason"].as_str().unwrap_or_default());
    }
    let verdict = if complete { "complete" } else { "NOT complete" };
    eprintln!("{verdict}: {} sources, {} records published", sources.len(), answer["records"]);
    let verified = !args.verify || say_what_was_verified(verification);
    Ok(if complete && verified { Code::Ok } else { Code::Findings })
}

/// Tells what a verification came to, and returns whether nothing was found.
fn say_what_was_verified(verification: &Value) -> bool {
    let number = |name: &str| verification[name].as_u64();
    for key in verification["unknown_bundles"].as_array().into_iter().flatten() {
        eprintln!("no row knows bundle {}", key.as_str().unwrap_or_default());
    }
    if let Some(unknown) = number("unknown_bundles_total").filter(|unknown| *unknown > 0) {
        eprintln!(
            "{unknown} bundles that no row knows: of publishes under way, or left behind by killed ones"
        );
    }
    if let Some(ended) = number("ended_meanwhile").filter(|ended| *ended > 0) {
        eprintln!("{ended} shards ended while they were being verified");
    }
    // An older server does not know what it was asked, and says nothing.
    let findings = number("findings_total");
    let verdict = match findings {
        Some(0) => "verified".to_owned(),
        Some(findings) => format!("NOT verified, {findings} findings"),
        None => "NOT verified: the server told nothing".to_owned(),
    };
    eprintln!(
        "{verdict}: {} links of {} trails, {} shards, {} bytes",
        number("links").unwrap_or(0),
        number("chains").unwrap_or(0),
        number("shards").unwrap_or(0),
        number("bytes").unwrap_or(0)
    );
    findings == Some(0)
}

fn write_finding(out: &mut impl Write, finding: &Value) -> io::Result<()> {
    let text = |name: &str| finding[name].as_str().unwrap_or_default();
    let what = match text("subject") {
        "trail" => format!("trail of partition {} of {}", finding["partition"], text("topic")),
        "partition" => format!("partition {} of {}", finding["partition"], text("topic")),
        "topic" => format!("topic {}, partition {}", text("topic"), finding["partition"]),
        "bundle" => format!("bundle {} of shard {}", text("key"), text("shard")),
        "snapshot" => format!("snapshot {}", text("key")),
        _ => format!("shard {}", text("shard")),
    };
    writeln!(out, "FINDING          {what}: {}", printable(text("problem")))
}

/// What the topic lost.
fn write_hole(out: &mut impl Write, hole: &Value) -> io::Result<()> {
    let text = |name: &str| hole[name].as_str().map(printable).unwrap_or_default();
    writeln!(
        out,
        "{:<16} partition {} of {}: offsets {} to {}, {} messages, found {}",
        text("kind"),
        hole["partition"],
        text("topic"),
        hole["from"],
        hole["to"],
        hole["messages"],
        text("noted"),
    )?;
    writeln!(out, "    {}", text("notice"))
}

fn write_source(out: &mut impl Write, source: &Value) -> io::Result<()> {
    let open = &source["open"];
    let place = format!("{}:{}", open["host"].as_str().unwrap_or("?"), open["path"].as_str().unwrap_or("?"));
    let number = |name: &str| source[name].as_u64().unwrap_or(0);
    writeln!(
        out,
        "{:<16} {}  {} records, {} accounted for, {} came again  ({})",
        source["verdict"].as_str().unwrap_or_default(),
        place,
        number("records"),
        number("covered"),
        number("duplicate_bytes"),
        source["source"].as_str().unwrap_or_default(),
    )?;
    for hole in source["holes"].as_array().into_iter().flatten() {
        writeln!(out, "    missing {}-{}", hole["start"], hole["end"])?;
    }
    for (reason, length) in source["skipped"].as_object().into_iter().flatten() {
        writeln!(out, "    {reason} {length}")?;
    }
    if let Some(lost) = source["close"]["lost_at_least"].as_u64() {
        writeln!(out, "    destroyed before it could be read: at least {lost}")?;
    }
    if let Some(notice) = source["notice"].as_str() {
        writeln!(out, "    {notice}")?;
    }
    Ok(())
}

/// `millrace catalogue show`.
pub(crate) async fn catalogue(args: &CatalogueShowArgs) -> anyhow::Result<Code> {
    let answer = Request::get(&args.server, "api/v1/catalogue").send().await?;
    let mut out = BufWriter::new(io::stdout().lock());
    match args.output {
        Output::Json => written(writeln!(out, "{answer:#}"))?,
        Output::Ndjson => written(writeln!(out, "{answer}"))?,
        Output::Text => written(write_catalogue(&mut out, &answer))?,
    }
    written(out.flush())?;
    Ok(Code::Ok)
}

fn write_catalogue(out: &mut impl Write, answer: &Value) -> io::Result<()> {
    writeln!(
        out,
        "schema {}, {} sources, {} trail links, {} shards hidden, last snapshot {}",
        answer["schema_version"],
        answer["sources"],
        answer["trail_links"],
        answer["hidden_shards"],
        answer["newest_snapshot"]["at"].as_str().unwrap_or("none"),
    )?;
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), printable);
    for row in list("partitions") {
        let next = if row["next_offset"].is_null() {
            "nothing yet".to_owned()
        } else {
            row["next_offset"].to_string()
        };
        let (topic, owner) = (text(&row["topic"]), text(&row["owner"]));
        writeln!(
            out,
            "partition  {topic}/{}  next {next}  owner {owner}, epoch {}",
            row["partition"], row["owner_epoch"]
        )?;
    }
    for row in list("streams") {
        writeln!(
            out,
            "stream     {}  {} shards, {} records, {} bytes, {} to {}",
            text(&row["name"]),
            row["shards"],
            row["records"],
            row["bytes"],
            text(&row["first"]),
            text(&row["last"])
        )?;
    }
    for row in list("nodes") {
        writeln!(
            out,
            "node       {}  {}  version {}",
            text(&row["id"]),
            text(&row["role"]),
            text(&row["version"])
        )?;
    }
    Ok(())
}

/// Says what an answer may lack.
pub(crate) fn partial(answer: &Value) -> Code {
    if answer["partial"] != json!(true) {
        return Code::Ok;
    }
    for missing in answer["missing"].as_array().into_iter().flatten() {
        eprintln!("partial: {}", missing["reason"].as_str().unwrap_or_default());
    }
    Code::Partial
}

/// A question to a server.
pub(crate) struct Request<'a> {
    server: &'a ServerArgs,
    path: &'a str,
    method: reqwest::Method,
    parameters: Option<&'a Value>,
    body: Option<Vec<u8>>,
    query: Option<&'a str>,
}

impl<'a> Request<'a> {
    fn new(server: &'a ServerArgs, path: &'a str, method: reqwest::Method, body: Option<Value>) -> Self {
        let body = body.map(|body| body.to_string().into_bytes());
        Self { server, path, method, parameters: None, body, query: None }
    }

    pub(crate) fn get(server: &'a ServerArgs, path: &'a str) -> Self {
        Self::new(server, path, reqwest::Method::GET, None)
    }

    pub(crate) fn post(server: &'a ServerArgs, path: &'a str, body: Value) -> Self {
        Self::new(server, path, reqwest::Method::POST, Some(body))
    }

    /// With a body that is no JSON document.
    pub(crate) fn post_bytes(server: &'a ServerArgs, path: &'a str, body: Vec<u8>) -> Self {
        Self { body: Some(body), ..Self::new(server, path, reqwest::Method::POST, None) }
    }

    pub(crate) fn put(server: &'a ServerArgs, path: &'a str, body: Value) -> Self {
        Self::new(server, path, reqwest::Method::PUT, Some(body))
    }

    pub(crate) fn delete(server: &'a ServerArgs, path: &'a str) -> Self {
        Self::new(server, path, reqwest::Method::DELETE, None)
    }

    /// With parameters in the query string.
    pub(crate) fn with(self, parameters: &'a Value) -> Self {
        Self { parameters: Some(parameters), ..self }
    }

    /// The query that an error of the server points into.
    pub(crate) fn about(self, query: &'a str) -> Self {
        Self { query: Some(query), ..self }
    }

    /// Asks, and returns the answer.
    pub(crate) async fn send(self) -> anyhow::Result<Value> {
        let response = self.ask().await?;
        read(&self.server.server, self.query, response).await
    }

    /// Asks, and returns the answer as it comes, unless it is an error.
    pub(crate) async fn open(self) -> anyhow::Result<reqwest::Response> {
        let response = self.ask().await?.map_err(|error| unreachable(&self.server.server, &error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        read(&self.server.server, self.query, Ok(response)).await?;
        Err(Failure::with(Code::Unreachable, format!("{} answered {status}", self.server.server)))
    }

    async fn ask(&self) -> anyhow::Result<reqwest::Result<reqwest::Response>> {
        let url = url(&self.server.server, self.path)?;
        let mut request = reqwest::Client::new().request(self.method.clone(), url);
        if let Some(token) = token(self.server)? {
            request = request.bearer_auth(token);
        }
        if let Some(parameters) = self.parameters {
            request = request.query(parameters);
        }
        if let Some(body) = &self.body {
            request = request.header("content-type", "application/json").body(body.clone());
        }
        Ok(request.send().await)
    }
}

/// The token that is shown, if there is one.
fn token(server: &ServerArgs) -> anyhow::Result<Option<String>> {
    let token = match &server.token_file {
        None => std::env::var("MILLRACE_TOKEN").ok(),
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
            Failure::with(Code::Usage, format!("--token-file {}: {error}", path.display()))
        })?),
    };
    Ok(token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()))
}

fn unreachable(server: &str, error: &reqwest::Error) -> anyhow::Error {
    Failure::with(
        Code::Unreachable,
        format!("{server} cannot be reached: {}\nis it running? `millrace up` starts one", chain(error)),
    )
}

fn url(server: &str, path: &str) -> anyhow::Result<reqwest::Url> {
    let base = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    reqwest::Url::parse(&format!("{}/{path}", base.trim_end_matches('/')))
        .map_err(|error| Failure::with(Code::Usage, format!("--server {server:?} is no address: {error}")))
}

async fn read(
    server: &str,
    query: Option<&str>,
    response: reqwest::Result<reqwest::Response>,
) -> anyhow::Result<Value> {
    let unreachable = |error| unreachable(server, &error);
    let response = response.map_err(unreachable)?;
    let status = response.status();
    let body = response.bytes().await.map_err(unreachable)?;
    let answer: Value = serde_json::from_slice(&body).map_err(|_| {
        Failure::with(
            Code::Unreachable,
            format!("{server} answered {status}, but not as a Millrace server does"),
        )
    })?;
    let error = &answer["error"];
    if error.is_null() {
        return Ok(answer);
    }
    let message = error["message"].as_str().unwrap_or_default();
    let (Some(query), Some(start), Some(end)) =
        (query, error["span"]["start"].as_u64(), error["span"]["end"].as_u64())
    else {
        let code = if status.is_client_error() { Code::Usage } else { Code::Unreachable };
        return Err(Failure::with(code, message));
    };
    let marked = millrace_filter::ParseError {
        span: start as usize..end as usize,
        message: message.to_owned(),
        suggestion: error["suggestion"].as_str().map(str::to_owned),
    };
    Err(unreadable(&marked, query))
}

/// A query that is wrong, marked where it is.
pub(crate) fn unreadable(error: &millrace_filter::ParseError, query: &str) -> anyhow::Error {
    Failure::with(Code::Usage, format!("the query cannot be read\n{}", error.render(query)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_does_not_drive_the_terminal() {
        assert_eq!(printable("a\tb\x1b[2J"), "a\tb\u{fffd}[2J");
    }
}
