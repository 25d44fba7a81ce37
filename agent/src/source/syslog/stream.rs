//! Syslog over TCP and TLS. A connection is read when what it brought before is on the disk, so a full spool reaches its sender. One
//! that is idle holds no buffer.

use super::message::Peer;
use crate::{
    settings::SyslogSettings,
    source::pushed::{
        Encoded, Inlet,
        decoder::{Decoder, Message},
    },
};
use millrace_listen::{Connection, Stream};
use millrace_model::LogRecord;
use std::{future::poll_fn, io, pin::Pin, sync::Arc, task::Poll};
use tokio::io::ReadBuf;

/// So much is read of a connection at once, in bytes.
const READ: usize = 64 << 10;

/// Reads one connection until it ends, or the stop.
pub(super) async fn serve(connection: Connection, inlet: Inlet, settings: Arc<SyslogSettings>) {
    let Connection { mut stream, from, tls } = connection;
    let mut peer = Peer::new(from.ip(), "tcp", &inlet);
    if let Some(version) = tls {
        peer = peer.over_tls(version);
    }
    if let Err(error) = read(&mut *stream, &peer, &inlet, &settings).await {
        // What came before is in the spool.
        tracing::debug!(source = %inlet.name, %from, %error, "the connection broke");
    }
}

async fn read(
    stream: &mut dyn Stream,
    peer: &Peer,
    inlet: &Inlet,
    settings: &SyslogSettings,
) -> io::Result<()> {
    let mut decoder = Decoder::syslog(settings.max_line);
    loop {
        let mut records: Vec<LogRecord> = Vec::new();
        let read = tokio::select! {
            read = some(stream) => read,
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
async fn some(stream: &mut dyn Stream) -> io::Result<Vec<u8>> {
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
