//! What listeners are told: who is listened to, over what, and how much of it.

use millrace_config::{ByteSize, Secret, Section, Unguarded};
use std::path::PathBuf;

/// What a listener shows to those who connect over TLS, and what it asks of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// Its certificate and those that vouch for it, PEM.
    pub certificate: PathBuf,
    /// The certificate's key, PEM.
    pub key: PathBuf,
    /// Who must have signed a sender's certificate, PEM; `None`: senders need none.
    pub client_ca: Option<PathBuf>,
}

impl TlsSettings {
    /// Reads `certificate`, `key` and `client_ca`. `None` only where an error was recorded.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let (certificate, key) = (section.required("certificate"), section.required("key"));
        let client_ca = section.optional("client_ca");
        Some(Self { certificate: certificate?, key: key?, client_ca })
    }
}

/// Nobody needs more at once, and each takes a file handle.
const MOST_CONNECTIONS: usize = 100_000;

/// Reads `max_connections`.
pub fn read_max_connections(section: &mut Section<'_>, default: usize) -> usize {
    let most = section.or("max_connections", default);
    if !(1..=MOST_CONNECTIONS).contains(&most) {
        section.error("max_connections", format!("must be from 1 to {MOST_CONNECTIONS}"));
    }
    most
}

/// What listeners of HTTP have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSettings {
    /// What a sender must know; `None`: nothing.
    pub token: Option<Secret>,
    /// What is shown to senders, and asked of them; `None`: nothing is hidden on the way.
    pub tls: Option<TlsSettings>,
    /// The largest request, unpacked, in bytes.
    pub max_body: usize,
    /// So many connections are served at once; more are closed again.
    pub max_connections: usize,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self { token: None, tls: None, max_body: 8 << 20, max_connections: 1_000 }
    }
}

/// A request is held in memory whole, and more than one at once.
const LARGEST_BODY: u64 = 256 << 20;

impl WebSettings {
    /// Reads `token`, `[tls]`, `max_body` and `max_connections`.
    pub fn read(section: &mut Section<'_>, default: &Self) -> Self {
        let token = section.token("token");
        Self {
            token,
            tls: section.section("tls").and_then(|mut tls| TlsSettings::read(&mut tls)),
            max_body: Self::read_max_body(section, default.max_body),
            max_connections: read_max_connections(section, default.max_connections),
        }
    }

    /// Reads `max_body`.
    pub fn read_max_body(section: &mut Section<'_>, default: usize) -> usize {
        let ByteSize(max_body) = section.or("max_body", ByteSize(default as u64));
        if !(1 << 10..=LARGEST_BODY).contains(&max_body) {
            section.error("max_body", "must be from 1KiB to 256MiB");
        }
        max_body as usize
    }

    /// What it means that no token is asked for, if none is, and no certificates either.
    pub fn unguarded(&self) -> Option<Unguarded> {
        let unguarded = Unguarded {
            problem: "everybody there can write into it",
            help: "ask for a token (token = { file = \"/etc/millrace/push.token\" }) or, with tls.client_ca, for certificates, \
                   or listen on 127.0.0.1",
        };
        let asks = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        (self.token.is_none() && !asks).then_some(unguarded)
    }
}
