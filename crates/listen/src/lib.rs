//! Listeners for what others send: connections are bounded in number, requests in size, in time and in what they hold of memory
//! together; TLS and a token where the settings ask for them. [`access`] knows who asks, and what they may. What is said is not
//! known here.
//!
//! **Invariant.** However many come and whatever they send, the memory that they take is bounded by the settings.

mod accept;
pub mod access;
mod settings;
mod tls;
mod web;

pub use accept::{Connection, Stream, accept};
pub use access::{Access, AccessSettings, Asked, Audited, Caller, Callers, Role, asks};
pub use settings::{TlsSettings, WebSettings, read_max_connections};
pub use tls::Tls;
pub use web::{
    From, PROTOCOLS, RETRY_AFTER, Received, Turned, behind_door, beside, receive, serve, serve_all,
};

use prometheus_client::metrics::gauge::Gauge;
use std::{fmt::Display, io, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long an occupied port is waited for.
const TAKEN_DOWN: Duration = Duration::from_secs(2);

/// Why nobody can be listened to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be listened on.
    #[error("{name}: cannot listen on {address}")]
    Listen {
        /// Who listens.
        name: String,
        /// The address, with its protocol.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Certificates or keys are no good.
    #[error("{name}: its certificates cannot be used: {problem}")]
    Certificates {
        /// Who listens.
        name: String,
        /// What is wrong with which file.
        problem: String,
    },
}

/// Who listens, until when, and whom it tells what it turns away. Cloning is cheap.
#[derive(Clone)]
pub struct Listener {
    /// Its name in logs and errors.
    pub name: Arc<str>,
    /// Ends it.
    pub stop: CancellationToken,
    /// Its open connections.
    pub open: Gauge,
    /// Counts a request or connection that is turned away, by its reason.
    pub turned_away: Arc<dyn Fn(&'static str) + Send + Sync>,
}

impl Listener {
    /// What TLS needs, if it is spoken. `protocols`: what is spoken inside, best first, in the form of ALPN; nothing: it is not
    /// talked about. Blocks on small files.
    ///
    /// # Errors
    /// A file is not there, or not what it should be.
    pub fn tls(
        &self,
        settings: Option<&TlsSettings>,
        protocols: &'static [u8],
    ) -> Result<Option<Tls>, Error> {
        let tls = settings.map(|settings| Tls::open(settings, protocols)).transpose();
        tls.map_err(|problem| Error::Certificates { name: self.name.to_string(), problem })
    }

    /// Takes an address, so that an occupied one ends the start with a clear word.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn bind<T, F: Future<Output = io::Result<T>>>(
        &self,
        address: &impl Display,
        bind: impl Fn() -> F,
    ) -> Result<T, Error> {
        let bound = patiently(bind).await.map_err(|source| {
            let (name, address) = (self.name.to_string(), address.to_string());
            Error::Listen { name, address, source }
        })?;
        tracing::info!(listener = %self.name, "listening on {address}");
        Ok(bound)
    }
}

/// Binds, and waits a moment where the address is taken: a killed process takes a moment to be taken down.
///
/// # Errors
/// It cannot be had.
pub async fn patiently<T, F: Future<Output = io::Result<T>>>(bind: impl Fn() -> F) -> io::Result<T> {
    let deadline = Instant::now() + TAKEN_DOWN;
    loop {
        match bind().await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                sleep(Duration::from_millis(50)).await;
            }
            bound => return bound,
        }
    }
}
