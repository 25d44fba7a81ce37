//! A message becomes a record: read by the source's parsers, with what is known of where it came from.

use crate::source::pushed::{Inlet, decoder::Message};
use millrace_intake::Parsers;
use millrace_model::{Attributes, LogRecord};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// So many senders are kept to be shared; then it begins anew.
const MAX_PEERS: usize = 1024;

/// Makes records of one sender's messages.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    address: String,
    transport: &'static str,
    /// Of TLS, such as `1.3`.
    tls: Option<String>,
    resource: Arc<Attributes>,
}

impl Peer {
    /// Whoever does not name a host is called by the address; on this machine, by this host's name.
    pub(super) fn new(address: IpAddr, transport: &'static str, inlet: &Inlet) -> Self {
        let address = address.to_canonical();
        let mut resource = Attributes::new();
        if address.is_loopback() {
            resource.set("host.name", &*inlet.host);
        } else {
            resource.set("host.name", address.to_string());
        }
        Self { address: address.to_string(), transport, tls: None, resource: Arc::new(resource) }
    }

    /// The same over TLS of this version, as OpenSSL calls it.
    pub(super) fn over_tls(self, version: &str) -> Self {
        Self { tls: Some(version.trim_start_matches("TLSv").to_owned()), ..self }
    }

    /// `None`: nothing was said, which is counted.
    pub(super) fn record(
        &self,
        message: &Message<'_>,
        parsers: &Parsers,
        inlet: &Inlet,
    ) -> Option<LogRecord> {
        let mut record = inlet.read(message, parsers, &self.resource)?;
        record.attributes.set("network.peer.address", self.address.as_str());
        record.attributes.set("network.transport", self.transport);
        if let Some(version) = &self.tls {
            record.attributes.set("tls.protocol.version", version.as_str());
        }
        Some(record)
    }
}

/// The senders of datagrams.
#[derive(Debug, Default)]
pub(super) struct Peers(HashMap<IpAddr, Peer>);

impl Peers {
    pub(super) fn of(&mut self, address: SocketAddr, inlet: &Inlet) -> &Peer {
        if self.0.len() >= MAX_PEERS && !self.0.contains_key(&address.ip()) {
            self.0.clear();
        }
        self.0.entry(address.ip()).or_insert_with(|| Peer::new(address.ip(), "udp", inlet))
    }
}
