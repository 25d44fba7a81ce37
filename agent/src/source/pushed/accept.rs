//! Connections of senders, over TCP and TLS: so many at most, each a task, until the stop.

use super::{Inlet, tls};
use crate::metrics::Kind;
use openssl::ssl::SslAcceptor;
use socket2::{SockRef, TcpKeepalive};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

/// How long shaking hands may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After so long without a word the other side is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_mins(1);
/// How long to wait before accepting again after a failure, such as too many open files.
const PAUSE: Duration = Duration::from_millis(500);

/// What bytes come and go over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection whose hands are shaken.
pub(crate) struct Connection {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) from: SocketAddr,
    /// The version of TLS, as OpenSSL calls it.
    pub(crate) tls: Option<&'static str>,
}

/// Gives each connection to `serve`; what that returns must end soon after the inlet's stop.
pub(crate) async fn run<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    tls: Option<SslAcceptor>,
    inlet: Inlet,
    places: Arc<Semaphore>,
    serve: impl Fn(Connection) -> F + Clone + Send + 'static,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = inlet.stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    inlet.rejected("too_many_connections");
                    tracing::warn!(source = %inlet.name, %from, "too many connections: one more is closed (max_connections)");
                    continue;
                };
                let (tls, inlet, serve) = (tls.clone(), inlet.clone(), serve.clone());
                connections.spawn(async move {
                    let open = inlet.metrics.connections.get_or_create_owned(&Kind { kind: inlet.kind });
                    open.inc();
                    if let Some(connection) = greet(stream, from, tls, &inlet).await {
                        serve(connection).await;
                    }
                    drop(place);
                    open.dec();
                });
            }
            Err(error) => {
                inlet.metrics.source_error("socket");
                tracing::warn!(source = %inlet.name, %error, "a connection cannot be accepted");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Shakes hands, if that is to be done; `None`: it came to nothing.
async fn greet(
    stream: TcpStream,
    from: SocketAddr,
    tls: Option<SslAcceptor>,
    inlet: &Inlet,
) -> Option<Connection> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!(source = %inlet.name, %from, %error, "a sender that vanishes is not noticed");
    }
    let Some(acceptor) = tls else { return Some(Connection { stream: Box::new(stream), from, tls: None }) };
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE, tls::accept(&acceptor, stream)) => shaken,
        () = inlet.stop.cancelled() => return None,
    };
    match shaken.unwrap_or_else(|_| Err("it took too long".to_owned())) {
        Ok(stream) => {
            let tls = Some(stream.ssl().version_str());
            Some(Connection { stream: Box::new(stream), from, tls })
        }
        Err(problem) => {
            inlet.rejected("tls");
            tracing::warn!(source = %inlet.name, %from, problem, "no TLS with this sender");
            None
        }
    }
}
