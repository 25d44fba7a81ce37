//! What a listener needs for TLS, out of the files that settings name.

use crate::TlsSettings;
use openssl::{
    ssl::{AlpnError, Ssl, SslAcceptor, SslFiletype, SslMethod, SslMode, SslVerifyMode, select_next_proto},
    x509::X509,
};
use std::{path::Path, pin::Pin};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// Reads certificate and key; what is wrong with which file. Blocks.
/// `protocols`: what is spoken inside, best first, in the form of ALPN; nothing: it is not talked about.
pub(crate) fn acceptor(settings: &TlsSettings, protocols: &'static [u8]) -> Result<SslAcceptor, String> {
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
