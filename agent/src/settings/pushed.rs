//! Sources that others push to: where they listen, who may push, and how much their spools keep.

use super::{parse, read_max_line};
use millrace_config::{ByteSize, FromValue, MinFree, Section, Unguarded, Value};
use millrace_intake::{
    Parser, Parsers,
    spool::{Bounds, Overflow},
};
use millrace_listen::{TlsSettings, WebSettings, read_max_connections};
use std::{fmt, net::SocketAddr};

/// What the spool of a pushed source may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolSettings {
    /// How much, and what happens beyond.
    pub bounds: Bounds,
    /// How much room its disk must keep.
    pub min_free: MinFree,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self {
            bounds: Bounds { bytes: 1 << 30, overflow: Overflow::default() },
            min_free: MinFree::default(),
        }
    }
}

#[derive(Clone)]
struct OverflowChoice(Overflow);
millrace_config::choices!(OverflowChoice {
    "refuse" => OverflowChoice(Overflow::Refuse),
    "drop_oldest" => OverflowChoice(Overflow::DropOldest),
    "drop_newest" => OverflowChoice(Overflow::DropNewest),
});

impl SpoolSettings {
    /// `longest`: of one record, in bytes.
    fn read(section: &mut Section<'_>, longest: usize) -> Self {
        let default = Self::default();
        let ByteSize(bytes) = section.or("spool_bytes", ByteSize(default.bounds.bytes));
        let overflow = section.optional::<OverflowChoice>("overflow");
        let overflow = overflow.map_or(default.bounds.overflow, |OverflowChoice(overflow)| overflow);
        let bounds = Bounds { bytes, overflow };
        if bytes < Bounds::LEAST {
            section.error("spool_bytes", "must be 1MiB or more");
        } else if bounds.queue() < 2 * longest as u64 {
            // What is read of a line may be as long as the line.
            section.error("spool_bytes", "must be 16 times what one record may have, or more");
        }
        Self { bounds, min_free: MinFree::read(section) }
    }
}

/// How syslog travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A datagram a message.
    Udp,
    /// Framed by octet counts or line ends.
    Tcp,
    /// The same over TLS.
    Tls,
}

impl Protocol {
    const ALL: [(&str, Self); 3] = [("udp://", Self::Udp), ("tcp://", Self::Tcp), ("tls://", Self::Tls)];
}

/// Where a source of syslog listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// How.
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddr,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Protocol::ALL.iter().find(|(_, protocol)| *protocol == self.protocol);
        write!(f, "{}{}", name.map_or("", |(name, _)| *name), self.address)
    }
}

impl FromValue for Endpoint {
    const EXPECTED: &'static str = "where to listen, such as \"udp://127.0.0.1:5514\", \"tcp://127.0.0.1:5514\" or \"tls://127.0.0.1:6514\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| format!("found {}", value.found()))?;
        let split =
            Protocol::ALL.iter().find_map(|(name, protocol)| Some((*protocol, text.strip_prefix(name)?)));
        let Some((protocol, address)) = split else {
            return Err(format!("{text:?} does not begin with udp://, tcp:// or tls://"));
        };
        let address = address
            .parse()
            .map_err(|_| format!("{address:?} is no address with a port, such as 127.0.0.1:5514"))?;
        Ok(Self { protocol, address })
    }

    fn example() -> String {
        "\"udp://127.0.0.1:5514\"".to_owned()
    }
}

/// Syslog over UDP, TCP and TLS.
#[derive(Debug, Clone, PartialEq)]
pub struct SyslogSettings {
    /// Where it listens.
    pub listen: Vec<Endpoint>,
    /// For addresses with `tls://`.
    pub tls: Option<TlsSettings>,
    /// How messages are read, tried in order.
    pub parse: Parsers,
    /// The longest message that is kept whole, in bytes.
    pub max_line: usize,
    /// So many connections are served at once; more are closed again.
    pub max_connections: usize,
    /// How many bytes of datagrams the kernel is asked to keep until they are read.
    pub receive_buffer: usize,
    /// What waits to be shipped.
    pub spool: SpoolSettings,
}

impl Default for SyslogSettings {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            tls: None,
            parse: parse::of_this_host_as(Parser::Syslog),
            max_line: 64 << 10,
            max_connections: 1_000,
            receive_buffer: 8 << 20,
            spool: SpoolSettings::default(),
        }
    }
}

impl SyslogSettings {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let default = Self::default();
        let listen: Option<Vec<Endpoint>> = section.required("listen");
        let tls = section.section("tls").and_then(|mut tls| TlsSettings::read(&mut tls));
        let max_line = read_max_line(section, default.max_line);
        let settings = Self {
            tls,
            parse: parse::read_pushed(section, default.parse),
            max_line,
            max_connections: read_max_connections(section, default.max_connections),
            receive_buffer: section.or("receive_buffer", ByteSize(default.receive_buffer as u64)).0 as usize,
            spool: SpoolSettings::read(section, max_line),
            listen: listen?,
        };
        if settings.listen.is_empty() {
            section.error("listen", "names no address");
        }
        let over_tls = |endpoint: &&Endpoint| endpoint.protocol == Protocol::Tls;
        if settings.tls.is_none() && !section.has("tls") && settings.listen.iter().any(|at| over_tls(&at)) {
            section.error_with_help(
                "listen",
                "tls:// needs a certificate",
                format!("add [{}.tls] with certificate and key", section.path()),
            );
        }
        let asks = settings.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let open: Vec<SocketAddr> = settings
            .listen
            .iter()
            .filter(|at| !(asks && over_tls(at)))
            .map(|endpoint| endpoint.address)
            .collect();
        let unguarded = Unguarded {
            problem: "everybody there can write into it",
            help: "listen on tls:// with a client_ca, or on 127.0.0.1",
        };
        section.guard("listen", &open, Some(unguarded));
        Some(settings)
    }
}

/// OpenTelemetry's protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpSettings {
    /// Where gRPC is listened for.
    pub grpc: Option<SocketAddr>,
    /// Where HTTP is listened for.
    pub http: Option<SocketAddr>,
    /// Of both.
    pub web: WebSettings,
    /// What waits to be shipped.
    pub spool: SpoolSettings,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            grpc: Some(SocketAddr::from(([127, 0, 0, 1], 4317))),
            http: Some(SocketAddr::from(([127, 0, 0, 1], 4318))),
            web: WebSettings::default(),
            spool: SpoolSettings::default(),
        }
    }
}

impl OtlpSettings {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        // Where one is said, the other is not meant.
        let said = section.has("grpc") || section.has("http");
        let (grpc, http) = (section.optional("grpc"), section.optional("http"));
        let (grpc, http) = if said { (grpc, http) } else { (default.grpc, default.http) };
        let web = WebSettings::read(section, &WebSettings::default());
        let guarded = |address: Option<SocketAddr>| address.as_slice().to_vec();
        section.guard("grpc", &guarded(grpc), web.unguarded());
        section.guard("http", &guarded(http), web.unguarded());
        // What is read of a request may be as long as the request; a record that is too long for the spool is dropped and counted.
        let spool = SpoolSettings::read(section, 0);
        Self { grpc, http, web, spool }
    }
}

/// Lines of JSON over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How lines are read, tried in order.
    pub parse: Parsers,
    /// The longest line that is kept whole, in bytes.
    pub max_line: usize,
    /// Who may send how much.
    pub web: WebSettings,
    /// What waits to be shipped.
    pub spool: SpoolSettings,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7702)),
            parse: parse::of_this_host_as(Parser::Json),
            max_line: 1 << 20,
            web: WebSettings::default(),
            spool: SpoolSettings::default(),
        }
    }
}

impl HttpSettings {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let web = WebSettings::read(section, &WebSettings::default());
        let max_line = read_max_line(section, default.max_line);
        Self {
            listen: section.listen(default.listen, web.unguarded()),
            parse: parse::read_pushed(section, default.parse),
            max_line,
            spool: SpoolSettings::read(section, max_line),
            web,
        }
    }
}

/// Lines of this process's standard input.
#[derive(Debug, Clone, PartialEq)]
pub struct StdinSettings {
    /// How lines are read, tried in order.
    pub parse: Parsers,
    /// The longest line that is kept whole, in bytes.
    pub max_line: usize,
    /// What waits to be shipped.
    pub spool: SpoolSettings,
}

impl Default for StdinSettings {
    fn default() -> Self {
        Self { parse: parse::of_this_host(), max_line: 1 << 20, spool: SpoolSettings::default() }
    }
}

impl StdinSettings {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let max_line = read_max_line(section, default.max_line);
        Self {
            parse: parse::read_pushed(section, default.parse),
            max_line,
            spool: SpoolSettings::read(section, max_line),
        }
    }
}

/// What others hand in at the address at which people ask: `[query.ingest]`.
#[derive(Debug, Clone, PartialEq)]
pub struct IngestSettings {
    /// That address.
    pub listen: SocketAddr,
    /// The longest line that is kept whole, in bytes.
    pub max_line: usize,
    /// The largest request, unpacked, in bytes.
    pub max_body: usize,
    /// What waits to be shipped.
    pub spool: SpoolSettings,
}

impl IngestSettings {
    /// Reads `max_line`, `max_body` and what spools have.
    pub fn read(section: &mut Section<'_>, listen: SocketAddr) -> Self {
        let max_line = read_max_line(section, 1 << 20);
        let max_body = WebSettings::read_max_body(section, WebSettings::default().max_body);
        Self { listen, max_line, max_body, spool: SpoolSettings::read(section, max_line) }
    }
}
