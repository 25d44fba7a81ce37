//! Syslog over TCP and TLS: connections, so many at most. A connection is read when what it brought before is on the disk, so a full
//! spool reaches its sender. One that is idle holds no buffer.

use super::{message::Peer, tls};
use crate::{
    metrics::Kind,
    settings::SyslogSettings,
    source::pushed::{
        Encoded, Inlet,
        decoder::{Decoder, Message},
    },
};
use millrace_model::LogRecord;
use openssl::ssl::SslAcceptor;
use socket2::{SockRef, TcpKeepalive};
use std::{future::poll_fn, io, net::SocketAddr, pin::Pin, sync::Arc, task::Poll, time::Duration};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

/// So much is read of a connection at once, in bytes.
const READ: usize = 64 << 10;
/// How long shaking hands may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After so long without a word the other side is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_mins(1);
/// How long to wait before listening again after a failure, such as too many open files.
const PAUSE: Duration = Duration::from_millis(500);

/// Accepts until the stop, and then waits for the connections to end, which they do at once.
pub(super) async fn run(
    listener: TcpListener,
    tls: Option<SslAcceptor>,
    inlet: Inlet,
    settings: Arc<SyslogSettings>,
    places: Arc<Semaphore>,
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
                let (tls, inlet, settings) = (tls.clone(), inlet.clone(), Arc::clone(&settings));
                connections.spawn(async move {
                    let open = inlet.metrics.connections.get_or_create_owned(&Kind { kind: inlet.kind });
                    open.inc();
                    serve(stream, from, tls, &inlet, &settings).await;
                    open.dec();
                    drop(place);
                });
            }
            Err(error) => {
                inlet.metrics.source_error("socket");
                tracing::warn!(source = %inlet.name, %error, "a connection cannot be accepted");
                sleep(PAUSE).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    tls: Option<SslAcceptor>,
    inlet: &Inlet,
    settings: &SyslogSettings,
) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!(source = %inlet.name, %from, %error, "a sender that vanishes is not noticed");
    }
    let peer = Peer::new(from.ip(), "tcp", inlet);
    let ended = match tls {
        None => read(stream, &peer, inlet, settings).await,
        Some(acceptor) => {
            let shaken = tokio::select! {
                shaken = timeout(HANDSHAKE, tls::accept(&acceptor, stream)) => shaken,
                () = inlet.stop.cancelled() => return,
            };
            match shaken.unwrap_or_else(|_| Err("it took too long".to_owned())) {
                Ok(stream) => {
                    let peer = peer.over_tls(stream.ssl().version_str());
                    read(stream, &peer, inlet, settings).await
                }
                Err(problem) => {
                    inlet.rejected("tls");
                    tracing::warn!(source = %inlet.name, %from, problem, "no TLS with this sender");
                    return;
                }
            }
        }
    };
    if let Err(error) = ended {
        // What came before is in the spool.
        tracing::debug!(source = %inlet.name, %from, %error, "the connection broke");
    }
}

/// Reads until the other side ends, or the stop.
async fn read<S: AsyncRead + Unpin>(
    mut stream: S,
    peer: &Peer,
    inlet: &Inlet,
    settings: &SyslogSettings,
) -> io::Result<()> {
    let mut decoder = Decoder::syslog(settings.max_line);
    loop {
        let mut records: Vec<LogRecord> = Vec::new();
        let read = tokio::select! {
            read = some(&mut stream) => read,
            () = inlet.stop.cancelled() => Ok(Vec::new()),
        };
        let mut each = |message: Message<'_>| {
            records.extend(peer.record(&message, &settings.parse, inlet));
        };
        match &read {
            Ok(bytes) if !bytes.is_empty() => decoder.push(bytes, &mut each),
            _ => decoder.finish(&mut each),
        }
        let ended = read.map(|bytes| bytes.is_empty());
        if !records.is_empty() && !inlet.put_patiently(Encoded::of(&records)).await {
            inlet.dropped("stopping", records.len() as u64);
            return Ok(());
        }
        if ended? {
            return Ok(());
        }
    }
}

/// What has come; nothing at the end. The buffer is made when there is something to read.
async fn some<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    poll_fn(|context| {
        let mut bytes = vec![0; READ];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                let read = buffer.filled().len();
                bytes.truncate(read);
                Poll::Ready(Ok(bytes))
            }
        }
    })
    .await
}
