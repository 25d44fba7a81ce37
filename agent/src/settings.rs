//! The agent's settings: `[agent]` and its sources. Plain data, with the defaults in one place.

mod parse;
pub(crate) use parse::of_this_host_as;
mod process;
mod pushed;
mod redact;

pub use pushed::{
    Endpoint, HttpSettings, IngestSettings, OtlpSettings, Protocol, SpoolSettings, StdinSettings,
    SyslogSettings,
};

use crate::framing::{Charset, Multiline};
use millrace_config::{Age, ByteSize, Section};
use millrace_intake::{Parsers, Policy, Process};
use millrace_model::StreamName;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// What one agent reads, and where it keeps its state.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where id and checkpoint lie. Its loss means that everything is read again.
    pub state_dir: PathBuf,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    pub listen: SocketAddr,
    /// The name of this host, as records show it.
    pub host: String,
    /// How many bytes may wait for the topic's acknowledgement before reading stops.
    pub in_flight: u64,
    /// How many bytes of deleted files may be kept on the disk, for they are still read. What is more is lost, and said to be.
    pub deleted_bytes: u64,
    /// How often it says how it is, in `<topic>.agents`; zero: never.
    pub heartbeat: Duration,
    /// What is taken out of records.
    pub redact: Policy,
    /// What is read.
    pub sources: Vec<SourceSettings>,
}

/// One thing to read.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSettings {
    /// Its name in the settings; checkpoints are kept by it.
    pub name: String,
    /// Where its records go.
    pub stream: StreamName,
    /// What is done to its records before they are redacted.
    pub process: Process,
    /// What it is.
    pub kind: SourceKind,
}

/// The kinds of sources.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceKind {
    /// Files by glob.
    File(Box<FileSettings>),
    /// A journal of systemd.
    Journald(JournaldSettings),
    /// Syslog over the network.
    Syslog(Box<SyslogSettings>),
    /// OpenTelemetry's protocol.
    Otlp(OtlpSettings),
    /// Lines of JSON over HTTP.
    Http(Box<HttpSettings>),
    /// This process's standard input.
    Stdin(StdinSettings),
    /// What the process that the agent lives in hands over.
    Ingest(IngestSettings),
}

impl SourceKind {
    pub(crate) const INGEST: &'static str = "ingest";

    /// Its name, as settings have it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Journald(_) => "journald",
            Self::Syslog(_) => "syslog",
            Self::Otlp(_) => "otlp",
            Self::Http(_) => "http",
            Self::Stdin(_) => "stdin",
            Self::Ingest(_) => Self::INGEST,
        }
    }

    /// Where a source that is pushed is reached, as audits show it.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::File(_) | Self::Journald(_) => String::new(),
            Self::Syslog(syslog) => {
                syslog.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
            Self::Otlp(otlp) => {
                let places = [("grpc", otlp.grpc), ("http", otlp.http)];
                let places = places.iter().filter_map(|(name, at)| Some(format!("{name}://{}", (*at)?)));
                places.collect::<Vec<_>>().join(", ")
            }
            Self::Http(http) => format!("http://{}", http.listen),
            Self::Stdin(_) => "stdin".to_owned(),
            Self::Ingest(ingest) => format!("http://{}", ingest.listen),
        }
    }

    /// What its spool may hold; `None`: it has none, for it can be read again.
    pub(crate) fn spool(&self) -> Option<&SpoolSettings> {
        match self {
            Self::File(_) | Self::Journald(_) => None,
            Self::Syslog(syslog) => Some(&syslog.spool),
            Self::Otlp(otlp) => Some(&otlp.spool),
            Self::Http(http) => Some(&http.spool),
            Self::Stdin(stdin) => Some(&stdin.spool),
            Self::Ingest(ingest) => Some(&ingest.spool),
        }
    }
}

/// Files by glob.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSettings {
    /// Which.
    pub include: Vec<String>,
    /// But not these; without a `/` a pattern is for names.
    pub exclude: Vec<String>,
    /// Which lines belong together; `None`: none do.
    pub multiline: Option<Multiline>,
    /// Lines that may belong together wait so long for the next.
    pub multiline_wait: Duration,
    /// A line waits so long for its end; zero: for ever.
    pub line_wait: Duration,
    /// How lines are read, tried in order.
    pub parse: Parsers,
    /// Are lines a container runtime's? `None`: where such runtimes write, they are.
    pub containers: Option<bool>,
    /// What is written in; `None`: UTF-8, or what a byte order mark says.
    pub charset: Option<Charset>,
    /// The longest line that is kept whole, in bytes.
    pub max_line: usize,
    /// A file that was renamed or deleted is let go once it was quiet for so long.
    pub rotate_wait: Duration,
    /// All files are looked at so often, whatever the kernel tells.
    pub rescan: Duration,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self {
            include: Vec::new(),
            exclude: Vec::new(),
            multiline: None,
            multiline_wait: Duration::from_secs(1),
            line_wait: Duration::from_secs(5),
            parse: parse::of_this_host(),
            containers: None,
            charset: None,
            max_line: 1 << 20,
            rotate_wait: Duration::from_secs(5),
            rescan: Duration::from_secs(1),
        }
    }
}

/// A journal of systemd.
#[derive(Debug, Clone, PartialEq)]
pub struct JournaldSettings {
    /// The folder of its files; `None` is this system's journal.
    pub directory: Option<PathBuf>,
    /// The program that reads it.
    pub journalctl: PathBuf,
    /// The longest value of a field that is kept whole, in bytes.
    pub max_line: usize,
}

impl Default for JournaldSettings {
    fn default() -> Self {
        Self { directory: None, journalctl: "journalctl".into(), max_line: 1 << 20 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/millrace/agent".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7701)),
            host: host_name(),
            in_flight: 64 << 20,
            deleted_bytes: 1 << 30,
            heartbeat: Duration::from_secs(30),
            redact: Policy::nothing(),
            sources: Vec::new(),
        }
    }
}

/// The kernel's name of this machine.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

#[derive(Clone)]
enum KindName {
    File,
    Journald,
    Syslog,
    Otlp,
    Http,
    Stdin,
}
millrace_config::choices!(KindName {
    "file" => KindName::File,
    "journald" => KindName::Journald,
    "syslog" => KindName::Syslog,
    "otlp" => KindName::Otlp,
    "http" => KindName::Http,
    "stdin" => KindName::Stdin,
});

impl Settings {
    /// Reads `[agent]`. What is wrong is noted in the document; what comes back then is of no use.
    pub fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let settings = Self {
            state_dir: section.or("state_dir", default.state_dir),
            listen: section.or("listen", default.listen),
            host: section.or("host", default.host),
            in_flight: section.or("in_flight", ByteSize(default.in_flight)).0,
            deleted_bytes: section.or("deleted_bytes", ByteSize(default.deleted_bytes)).0,
            heartbeat: section.or("heartbeat", Age(default.heartbeat)).0,
            redact: section.section("redact").map_or(default.redact, |mut redact| redact::read(&mut redact)),
            sources: section
                .sections("sources")
                .into_iter()
                .filter_map(|(name, mut source)| SourceSettings::read(name, &mut source))
                .collect(),
        };
        let of_stdin = |source: &&SourceSettings| matches!(source.kind, SourceKind::Stdin(_));
        if settings.sources.iter().filter(of_stdin).count() > 1 {
            section.error("sources", "there is one standard input, and several sources of type stdin");
        }
        if settings.heartbeat < Duration::from_secs(1) && !settings.heartbeat.is_zero() {
            section.error("heartbeat", "must be 1s or more; 0s: never");
        }
        if settings.host.is_empty() {
            section.error("host", "a host needs a name");
        }
        settings
    }
}

impl SourceSettings {
    fn read(name: String, section: &mut Section<'_>) -> Option<Self> {
        let kind = section.required::<KindName>("type")?;
        let stream = section.optional::<String>("stream").map(|stream| stream.parse::<StreamName>());
        let stream = match stream.transpose() {
            Ok(stream) => stream.unwrap_or_default(),
            Err(error) => {
                section.error("stream", error.to_string());
                return None;
            }
        };
        let steps = section.or("process", Vec::<process::StepSetting>::new());
        let process = steps.into_iter().map(|process::StepSetting(step)| step).collect();
        let kind = match kind {
            KindName::File => SourceKind::File(Box::new(FileSettings::read(section)?)),
            KindName::Journald => SourceKind::Journald(JournaldSettings::read(section)),
            KindName::Syslog => SourceKind::Syslog(Box::new(SyslogSettings::read(section)?)),
            KindName::Otlp => SourceKind::Otlp(OtlpSettings::read(section)),
            KindName::Http => SourceKind::Http(Box::new(HttpSettings::read(section))),
            KindName::Stdin => SourceKind::Stdin(StdinSettings::read(section)),
        };
        Some(Self { name, stream, process, kind })
    }
}

/// Lines shorter than this cannot be told from one another.
const LEAST_LINE: u64 = 64;
/// A longer line would not fit into any message.
const LONGEST_LINE: u64 = 64 << 20;

fn read_max_line(section: &mut Section<'_>, default: usize) -> usize {
    let ByteSize(max_line) = section.or("max_line", ByteSize(default as u64));
    if !(LEAST_LINE..=LONGEST_LINE).contains(&max_line) {
        section.error("max_line", "must be from 64 bytes to 64MiB");
    }
    max_line as usize
}

impl FileSettings {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let default = Self::default();
        let include: Option<Vec<String>> = section.required("include");
        let exclude = section.or("exclude", Vec::new());
        let (containers, parse) = parse::read(section, default.parse);
        let settings = Self {
            multiline: section.optional::<Multiline>("multiline"),
            multiline_wait: section.or("multiline_wait", Age(default.multiline_wait)).0,
            line_wait: section.or("line_wait", Age(default.line_wait)).0,
            parse,
            containers,
            charset: section.optional::<Charset>("encoding"),
            max_line: read_max_line(section, default.max_line),
            rotate_wait: section.or("rotate_wait", Age(default.rotate_wait)).0,
            rescan: section.or("rescan", Age(default.rescan)).0,
            include: include?,
            exclude,
        };
        if settings.include.is_empty() {
            section.error("include", "names no files");
        }
        for (key, patterns) in [("include", &settings.include), ("exclude", &settings.exclude)] {
            for pattern in patterns {
                if let Err(error) = globset::Glob::new(pattern) {
                    section.error(key, error.to_string());
                }
            }
        }
        if settings.multiline_wait.is_zero() {
            section.error("multiline_wait", "must be longer than nothing");
        }
        if settings.rescan.is_zero() {
            section.error("rescan", "must be longer than nothing");
        }
        Some(settings)
    }
}

impl JournaldSettings {
    fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            directory: section.optional("directory"),
            journalctl: section.or("journalctl", default.journalctl),
            max_line: read_max_line(section, default.max_line),
        }
    }
}

#[cfg(test)]
mod tests;
