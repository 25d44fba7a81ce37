//! A server that runs: whether it is ready, the hosts that ship to it, what could not be taken in, versions, its clock.

use super::Check;
use crate::{
    cli::{Code, DoctorArgs, Failure, ServerArgs},
    client::Request,
};
use chrono::DateTime;
use millrace_model::{Clock, SystemClock};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// A clock that is further off than this makes records stand where nobody looks for them.
const SKEW: Duration = Duration::from_secs(2);
const OWN: &str = env!("CARGO_PKG_VERSION");
/// Who waits longer than so many seconds waits for something that is wrong, or for more machines.
const LATE: f64 = 30.0;
/// So many names of a kind are told.
const SHOWN: usize = 3;

/// Looks at it, if one answers.
///
/// # Errors
/// Its address is none, or its token cannot be read.
pub(super) async fn look(args: &DoctorArgs) -> anyhow::Result<Vec<Check>> {
    let server = &args.server;
    let version = match Request::get(server, "version").send().await {
        Ok(version) => version["version"].as_str().unwrap_or("?").to_owned(),
        Err(error) if is(&error, Code::Unreachable) => {
            let text = format!("{} cannot be reached", server.server);
            return Ok(vec![if server.is_default() {
                Check::unknown("server", format!("{text}: only this machine was looked at"))
            } else {
                Check::problem("server", text, "is it running? `millrace up` starts one")
            }]);
        }
        Err(error) => return Err(error),
    };
    let mut checks = vec![ready(server).await?, clock(server).await?];
    checks.extend([hosts(server).await?, lag(server).await?, dead_letters(server).await?]);
    checks.push(versions(server, &version).await?);
    Ok(checks)
}

fn is(error: &anyhow::Error, code: Code) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == code)
}

/// What it answers, or a check that says why it does not.
async fn ask(
    server: &ServerArgs,
    what: &'static str,
    path: &str,
    parameters: Value,
) -> anyhow::Result<Result<Value, Check>> {
    match Request::get(server, path).with(&parameters).send().await {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) if is(&error, Code::Usage) => {
            Ok(Err(Check::unknown(what, format!("{} does not tell: {error}", server.server))))
        }
        Err(error) => Ok(Err(Check::problem(what, format!("{error:#}"), "see its log"))),
    }
}

async fn ready(server: &ServerArgs) -> anyhow::Result<Check> {
    let url = &server.server;
    Ok(match ask(server, "server", "readyz", json!({})).await? {
        Err(check) => check,
        Ok(answer) if answer["ready"] == true => Check::ok("server", format!("{url}: ready")),
        Ok(answer) => {
            let problems = answer["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let problems = problems.collect::<Vec<_>>().join("; ");
            Check::problem(
                "server",
                format!("{url}: {problems}"),
                "it goes on by itself once that is over; its log says more",
            )
        }
    })
}

async fn clock(server: &ServerArgs) -> anyhow::Result<Check> {
    let response = Request::get(server, "healthz").open().await?;
    let date = response.headers().get("date").and_then(|date| date.to_str().ok());
    let Some(date) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) else {
        return Ok(Check::unknown("clock", format!("{} does not say what time it is", server.server)));
    };
    // Its clock is told to the second.
    let apart = SystemClock.now().0 as f64 / 1e9 - date.timestamp() as f64 - 0.5;
    let text = format!("this clock and that of {} are {:.0} s apart", server.server, apart.abs());
    Ok(if apart.abs() > SKEW.as_secs_f64() {
        Check::warning("clock", text, "keep both in step (NTP)")
    } else {
        Check::ok("clock", format!("in step with that of {}", server.server))
    })
}

async fn hosts(server: &ServerArgs) -> anyhow::Result<Check> {
    let answer = match ask(server, "agents", "api/v1/hosts", json!({})).await? {
        Ok(answer) => answer,
        Err(check) => return Ok(check),
    };
    let hosts = answer["hosts"].as_array().cloned().unwrap_or_default();
    let told = |host: &Value| {
        let why = host["problem"].as_str().unwrap_or_else(|| host["state"].as_str().unwrap_or("?"));
        format!("{} ({why})", host["host"].as_str().unwrap_or("?"))
    };
    let trouble: Vec<String> = hosts
        .iter()
        .filter(|host| host["state"] == "troubled" || host["state"] == "away")
        .map(told)
        .collect();
    let bytes: u64 = hosts.iter().filter_map(|host| host["backlog_bytes"].as_u64()).sum();
    let count = hosts.len();
    Ok(if trouble.is_empty() {
        Check::ok("agents", format!("{count} hosts ship, {} unread", super::host::size(bytes)))
    } else {
        let more = trouble.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!(
            "{} of {count} hosts: {}{more}",
            trouble.len(),
            trouble[..trouble.len().min(SHOWN)].join(", ")
        );
        Check::warning(
            "agents",
            text,
            "`millrace hosts` shows each; `millrace doctor --config` there looks at one",
        )
    })
}

/// How long lines wait on their way to where they are found.
async fn lag(server: &ServerArgs) -> anyhow::Result<Check> {
    let answer = match ask(server, "lag", "api/v1/pipeline", json!({})).await? {
        Ok(answer) => answer,
        Err(check) => return Ok(check),
    };
    // What is in memory is found already.
    let hops = answer["hops"].as_array().into_iter().flatten().filter(|hop| hop["hop"] != "memory");
    let (mut waits, mut longest) = (Vec::new(), 0.0_f64);
    for hop in hops {
        let what = match (hop["messages"].as_u64(), hop["bytes"].as_u64()) {
            (Some(messages), _) => format!("{messages} messages"),
            (None, Some(bytes)) => super::host::size(bytes),
            (None, None) => continue,
        };
        let seconds = hop["seconds"].as_f64();
        longest = longest.max(seconds.unwrap_or(0.0));
        let length = seconds.map_or_else(String::new, |seconds| format!(" for {seconds:.1} s"));
        waits.push(format!("{} {what}{length}", hop["hop"].as_str().unwrap_or("?")));
    }
    let waits = format!("waiting: {}", waits.join(", "));
    let missing: Vec<&str> =
        answer["missing"].as_array().into_iter().flatten().filter_map(|one| one["reason"].as_str()).collect();
    Ok(if longest > LATE {
        let repair = "see what holds it up: `/metrics` of the role behind it, its log, `/readyz`";
        Check::warning("lag", waits, repair)
    } else if missing.is_empty() {
        Check::ok("lag", waits)
    } else {
        let text = format!("{waits}; not known: {}", missing[..missing.len().min(SHOWN)].join(", "));
        Check::warning("lag", text, "searches are partial for what does not answer")
    })
}

async fn dead_letters(server: &ServerArgs) -> anyhow::Result<Check> {
    let most = 1000;
    let answer = match ask(server, "dead letters", "api/v1/dead-letters", json!({ "limit": most })).await? {
        Ok(answer) => answer,
        Err(check) => return Ok(check),
    };
    let letters = answer["letters"].as_array().cloned().unwrap_or_default();
    let waiting = letters.iter().filter(|letter| letter["state"] == "waiting").count();
    let more = if letters.len() == most { " or more" } else { "" };
    Ok(if waiting == 0 {
        Check::ok("dead letters", "none waits")
    } else {
        let text = format!("{waiting}{more} messages could not be taken in");
        Check::warning(
            "dead letters",
            text,
            "`millrace dead-letters list --waiting` says why, `replay` sends them again",
        )
    })
}

/// All that run here are of one version, or an upgrade is under way.
async fn versions(server: &ServerArgs, version: &str) -> anyhow::Result<Check> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    found.entry(OWN.to_owned()).or_default().push("this program".to_owned());
    found.entry(version.to_owned()).or_default().push(server.server.clone());
    for (path, list, name, of) in
        [("api/v1/catalogue", "nodes", "id", "version"), ("api/v1/hosts", "hosts", "host", "millrace")]
    {
        let answer = match ask(server, "versions", path, json!({})).await? {
            Ok(answer) => answer,
            Err(check) => return Ok(check),
        };
        for one in answer[list].as_array().into_iter().flatten() {
            let text = |key: &str| one[key].as_str().unwrap_or("?").to_owned();
            found.entry(text(of)).or_default().push(text(name));
        }
    }
    let mut told = found.iter().map(|(version, of)| {
        let more = of.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{version}: {}{more}", of[..of.len().min(SHOWN)].join(", "))
    });
    Ok(if found.len() == 1 {
        Check::ok("versions", format!("all {OWN}"))
    } else {
        let text = told.by_ref().collect::<Vec<_>>().join("; ");
        Check::warning(
            "versions",
            text,
            "bring all to one: agents last, as they understand less than what reads them",
        )
    })
}
