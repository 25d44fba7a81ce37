//! Syslog in datagrams. They are taken off the socket before anything else is done, for what the kernel has no room for is lost;
//! what is lost, there or because the spool takes nothing, is counted and told among the records.

use super::{drops::Drops, message::Peers};
use crate::{
    metrics::Pushed,
    settings::SyslogSettings,
    source::pushed::{Encoded, Inlet, decoder::Message},
};
use millrace_model::LogRecord;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::UdpSocket,
    time::{MissedTickBehavior, interval},
};

/// No datagram is longer.
const LARGEST: usize = 64 << 10;
/// So many are taken before they go on their way.
const AT_ONCE: usize = 512;
/// How often the kernel is asked what it dropped.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Reads until the stop.
pub(super) async fn run(socket: UdpSocket, inlet: Inlet, settings: Arc<SyslogSettings>) {
    let mut drops = match Drops::of(&socket) {
        Ok(drops) => Some(drops),
        Err(error) => {
            tracing::warn!(source = %inlet.name, %error, "what the kernel drops of datagrams cannot be known");
            None
        }
    };
    let (mut peers, mut buffer) = (Peers::default(), vec![0; LARGEST]);
    let mut ask = interval(ASK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ready = socket.readable() => match ready.and_then(|()| {
                receive(&socket, &mut buffer, &mut peers, &inlet, &settings)
            }) {
                Ok(records) => inlet.offer(Encoded::of(&records)),
                Err(error) => {
                    // Of the socket itself, such as an ICMP answer to nothing of ours: the next datagram is as good as any.
                    inlet.metrics.source_error("socket");
                    tracing::debug!(source = %inlet.name, %error, "a datagram cannot be received");
                }
            },
            _ = ask.tick() => count(drops.as_mut(), &inlet),
            () = inlet.stop.cancelled() => break,
        }
        tokio::task::yield_now().await;
    }
    count(drops.as_mut(), &inlet);
}

/// All that lies in the socket, up to a bound.
fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    peers: &mut Peers,
    inlet: &Inlet,
    settings: &SyslogSettings,
) -> io::Result<Vec<LogRecord>> {
    let mut records = Vec::new();
    for _ in 0..AT_ONCE {
        let (length, from): (usize, SocketAddr) = match socket.try_recv_from(buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if records.is_empty() => return Err(error),
            Err(_) => break,
        };
        let message = Message::cut(&buffer[..length], settings.max_line);
        records.extend(peers.of(from, inlet).record(&message, &settings.parse, inlet));
    }
    Ok(records)
}

/// What the kernel dropped is lost, and told as such.
fn count(drops: Option<&mut Drops>, inlet: &Inlet) {
    let Some(drops) = drops else { return };
    match drops.more() {
        Ok(0) => {}
        Ok(dropped) => {
            let pushed = Pushed { kind: inlet.kind, reason: "kernel" };
            inlet.metrics.pushed_dropped.get_or_create(&pushed).inc_by(dropped);
            inlet.spool.lose(dropped);
            tracing::error!(
                source = %inlet.name,
                dropped,
                "the kernel has dropped datagrams: they came faster than they were read (net.core.rmem_max bounds receive_buffer)"
            );
        }
        Err(error) => tracing::debug!(source = %inlet.name, %error, "what the kernel dropped is not known"),
    }
}
