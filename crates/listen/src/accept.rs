//! Connections of senders, over TCP and TLS: so many at most, each a task, until the stop.

use crate::{Listener, Tls, tls};
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
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection whose hands are shaken.
pub struct Connection {
    /// What comes and goes over it.
    pub stream: Box<dyn Stream>,
    /// Who is at the other end.
    pub from: SocketAddr,
    /// The version of TLS, as OpenSSL calls it.
    pub tls: Option<&'static str>,
}

/// Gives each connection to `serve`; what that returns must end soon after the listener's stop. Returns when all have.
pub async fn accept<F: Future<Output = ()> + Send + 'static>(
    socket: TcpListener,
    tls: Option<Tls>,
    listener: Listener,
    places: Arc<Semaphore>,
    serve: impl Fn(Connection) -> F + Clone + Send + 'static,
) {
    let mut connections = JoinSet::new();
    let renewed = tls.clone().map(|tls| tokio::spawn(tls.keep_up(listener.clone())));
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = listener.stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    (listener.turned_away)("too_many_connections");
                    tracing::warn!(listener = %listener.name, %from, "too many connections: one more is closed (max_connections)");
                    continue;
                };
                let acceptor = tls.as_ref().map(Tls::acceptor);
                let (listener, serve) = (listener.clone(), serve.clone());
                connections.spawn(async move {
                    listener.open.inc();
                    if let Some(connection) = greet(stream, from, acceptor, &listener).await {
                        serve(connection).await;
                    }
                    drop(place);
                    listener.open.dec();
                });
            }
            Err(error) => {
                (listener.turned_away)("socket");
                tracing::warn!(listener = %listener.name, %error, "a connection cannot be accepted");
                sleep(PAUSE).await;
            }
        }
    }
    drop(socket);
    if let Some(renewed) = renewed {
        renewed.abort();
    }
    while connections.join_next().await.is_some() {}
}

/// Shakes hands, if that is to be done; `None`: it came to nothing.
async fn greet(
    stream: TcpStream,
    from: SocketAddr,
    acceptor: Option<SslAcceptor>,
    listener: &Listener,
) -> Option<Connection> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!(listener = %listener.name, %from, %error, "a sender that vanishes is not noticed");
    }
    let Some(acceptor) = acceptor else {
        return Some(Connection { stream: Box::new(stream), from, tls: None });
    };
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE, tls::accept(&acceptor, stream)) => shaken,
        () = listener.stop.cancelled() => return None,
    };
    match shaken.unwrap_or_else(|_| Err("it took too long".to_owned())) {
        Ok(stream) => {
            let tls = Some(stream.ssl().version_str());
            Some(Connection { stream: Box::new(stream), from, tls })
        }
        Err(problem) => {
            (listener.turned_away)("tls");
            tracing::warn!(listener = %listener.name, %from, problem, "no TLS with this sender");
            None
        }
    }
}
