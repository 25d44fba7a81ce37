//! `millrace doctor`: whether this machine, what the configuration names, and a server that runs are as they must be. It looks,
//! and changes nothing but for a file that it makes and removes where Millrace is to write.

mod host;
mod parts;
mod server;

use crate::{
    cli::{Code, DoctorArgs, Output, written},
    lines::is_coloured,
    settings::{self, Settings},
};
use serde_json::{Value, json};
use std::io::{self, Write};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// As it must be.
    Ok,
    /// Nobody could look.
    Unknown,
    /// It works, and may not for long.
    Warning,
    /// It does not work.
    Problem,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }

    /// A terminal's number of its colour.
    const fn colour(self) -> u8 {
        match self {
            Self::Ok => 32,
            Self::Unknown => 36,
            Self::Warning => 33,
            Self::Problem => 31,
        }
    }
}

/// What was looked at, and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it.
    repair: Option<String>,
}

impl Check {
    fn new(what: &'static str, verdict: Verdict, found: impl Into<String>) -> Self {
        Self { what, verdict, found: found.into(), repair: None }
    }

    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, Verdict::Ok, found)
    }

    fn unknown(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, Verdict::Unknown, found)
    }

    fn warning(what: &'static str, found: impl Into<String>, repair: impl Into<String>) -> Self {
        Self { repair: Some(repair.into()), ..Self::new(what, Verdict::Warning, found) }
    }

    fn problem(what: &'static str, found: impl Into<String>, repair: impl Into<String>) -> Self {
        Self { repair: Some(repair.into()), ..Self::new(what, Verdict::Problem, found) }
    }

    fn json(&self) -> Value {
        json!({ "check": self.what, "verdict": self.verdict.name(), "found": self.found, "repair": self.repair })
    }
}

/// Looks at everything, and tells. A configuration that cannot be read ends it: what it would have named is not known.
pub(crate) async fn run(args: &DoctorArgs) -> anyhow::Result<Code> {
    let mut checks = Vec::new();
    let settings = read(args, &mut checks)?;
    checks.extend(host::look(settings.as_ref()));
    if let Some(settings) = &settings {
        checks.extend(parts::look(settings).await);
    }
    checks.extend(server::look(args).await?);
    let mut out = io::stdout().lock();
    written(match args.output {
        Output::Text => write_text(&mut out, &checks, is_coloured(args.colour)),
        Output::Json => {
            let all: Value = checks.iter().map(Check::json).collect();
            writeln!(out, "{:#}", json!({ "checks": all, "well": worst(&checks) < Verdict::Problem }))
        }
        Output::Ndjson => checks.iter().try_for_each(|check| writeln!(out, "{}", check.json())),
    })?;
    let many = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let (problems, warnings) = (many(Verdict::Problem), many(Verdict::Warning));
    eprintln!("{} checks, {problems} problems, {warnings} warnings", checks.len());
    Ok(if problems > 0 { Code::Findings } else { Code::Ok })
}

fn read(args: &DoctorArgs, checks: &mut Vec<Check>) -> anyhow::Result<Option<Settings>> {
    let (settings, what) = match (&args.config, &args.data) {
        (config, Some(data)) => (settings::of_data(config.clone(), data)?, data.display().to_string()),
        (Some(config), None) => (settings::check(config)?, config.display().to_string()),
        (None, None) => {
            let found = "none was named: only this machine and a server are looked at (--config FILE, or --data DIR of `millrace up`)";
            checks.push(Check::unknown("configuration", found));
            return Ok(None);
        }
    };
    checks.push(Check::ok("configuration", format!("{what}: nothing is wrong with it")));
    Ok(Some(settings))
}

fn worst(checks: &[Check]) -> Verdict {
    checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok)
}

fn write_text(out: &mut impl Write, checks: &[Check], coloured: bool) -> io::Result<()> {
    let width = checks.iter().map(|check| check.what.len()).max().unwrap_or(0);
    for Check { what, verdict, found, repair } in checks {
        let name = format!("{:<7}", verdict.name());
        let name = if coloured { format!("\x1b[{}m{name}\x1b[0m", verdict.colour()) } else { name };
        writeln!(out, "{name}  {what:<width$}  {found}")?;
        if let Some(repair) = repair {
            writeln!(out, "{:<9}{:width$}  → {repair}", "", "")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_has_its_repair_below_it() {
        let checks = [
            Check::ok("disk", "/data: 5 GiB free"),
            Check::problem("permissions", "/data: cannot be written to", "chown it"),
        ];
        let mut out = Vec::new();
        assert!(write_text(&mut out, &checks, false).is_ok());
        let wanted = "ok       disk         /data: 5 GiB free\n\
                      problem  permissions  /data: cannot be written to\n\
                      \x20                     → chown it\n";
        assert_eq!(String::from_utf8_lossy(&out), wanted);
        assert_eq!(worst(&checks), Verdict::Problem);
    }
}
