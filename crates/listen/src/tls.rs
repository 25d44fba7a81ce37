//! What a listener needs for TLS, out of the files that settings name.

use crate::{Listener, TlsSettings};
use openssl::{
    ssl::{AlpnError, Ssl, SslAcceptor, SslFiletype, SslMethod, SslMode, SslVerifyMode, select_next_proto},
    x509::X509,
};
use std::{
    path::Path,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{net::TcpStream, time::sleep};
use tokio_openssl::SslStream;

/// How often is looked whether certificates or keys are others.
const LOOK: Duration = Duration::from_secs(10);

/// What TLS needs. Certificates that are renewed in their files are shown to who connects after that. Cloning is cheap, and is the
/// same.
#[derive(Clone)]
pub struct Tls {
    settings: TlsSettings,
    protocols: &'static [u8],
    current: Arc<RwLock<SslAcceptor>>,
}

impl Tls {
    /// Reads certificate and key; what is wrong with which file. Blocks.
    /// `protocols`: what is spoken inside, best first, in the form of ALPN; nothing: it is not talked about.
    pub(crate) fn open(settings: &TlsSettings, protocols: &'static [u8]) -> Result<Self, String> {
        let current = Arc::new(RwLock::new(acceptor(settings, protocols)?));
        Ok(Self { settings: settings.clone(), protocols, current })
    }

    /// What shakes hands now.
    pub(crate) fn acceptor(&self) -> SslAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files again and again until the stop. What cannot be used changes nothing, and is told.
    pub(crate) async fn keep_up(self, listener: Listener) {
        let (mut before, mut told) = (None, None);
        loop {
            let (settings, protocols, known) = (self.settings.clone(), self.protocols, before.clone());
            let looked = tokio::task::spawn_blocking(move || {
                let found = files(&settings)?;
                let new = known.as_ref() != Some(&found);
                Ok((new.then(|| acceptor(&settings, protocols)).transpose()?, found))
            });
            match looked.await.unwrap_or_else(|error| Err(error.to_string())) {
                Ok((acceptor, files)) => {
                    if let Some(acceptor) = acceptor {
                        *self.current.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
                    }
                    if before.as_ref().is_some_and(|before| *before != files) {
                        let path = self.settings.certificate.display();
                        tracing::info!(listener = %listener.name, %path, "the certificate was read again");
                    }
                    (before, told) = (Some(files), None);
                }
                Err(problem) if told.as_ref() != Some(&problem) => {
                    tracing::error!(listener = %listener.name, problem, "the certificate stays as it was");
                    told = Some(problem);
                }
                Err(_) => {}
            }
            if listener.stop.run_until_cancelled(sleep(LOOK)).await.is_none() {
                return;
            }
        }
    }
}

fn files(settings: &TlsSettings) -> Result<Vec<Vec<u8>>, String> {
    let paths = [&settings.certificate, &settings.key].into_iter().chain(&settings.client_ca);
    paths.map(|path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))).collect()
}

fn acceptor(settings: &TlsSettings, protocols: &'static [u8]) -> Result<SslAcceptor, String> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |error| format!("{path}: {error}")
    };
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())
        .map_err(|error| format!("OpenSSL: {error}"))?;
    // Idle connections keep no buffers.
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    builder.set_certificate_chain_file(&settings.certificate).map_err(at(&settings.certificate))?;
    builder.set_private_key_file(&settings.key, SslFiletype::PEM).map_err(at(&settings.key))?;
    builder.check_private_key().map_err(|_| {
        format!("{} is not the key of {}", settings.key.display(), settings.certificate.display())
    })?;
    if let Some(path) = &settings.client_ca {
        let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let authorities = X509::stack_from_pem(&pem).map_err(at(path))?;
        if authorities.is_empty() {
            return Err(format!("{}: there is no certificate in it", path.display()));
        }
        for authority in authorities {
            builder.add_client_ca(&authority).map_err(at(path))?;
            builder.cert_store_mut().add_cert(authority).map_err(at(path))?;
        }
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
    // Without it nobody who showed a certificate could come again under the same session.
    builder.set_session_id_context(b"millrace").map_err(|error| format!("OpenSSL: {error}"))?;
    if !protocols.is_empty() {
        builder.set_alpn_select_callback(move |_, offered| {
            select_next_proto(protocols, offered).ok_or(AlpnError::NOACK)
        });
    }
    Ok(builder.build())
}

/// Shakes hands; why not.
pub(crate) async fn accept(
    acceptor: &SslAcceptor,
    stream: TcpStream,
) -> Result<SslStream<TcpStream>, String> {
    let ssl = Ssl::new(acceptor.context()).map_err(|error| error.to_string())?;
    let mut stream = SslStream::new(ssl, stream).map_err(|error| error.to_string())?;
    Pin::new(&mut stream).accept().await.map_err(|error| error.to_string())?;
    Ok(stream)
}
