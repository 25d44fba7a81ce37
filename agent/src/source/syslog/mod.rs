//! Syslog from the network: one task an address that is listened on, and one a connection. Datagrams are messages; what comes over
//! TCP and TLS is cut by [`decoder`]. Nothing is answered: syslog has no acknowledgement, so a sender is told to wait by not being
//! read, and what a kernel drops of datagrams is counted ([`drops`]).

mod decoder;
mod drops;
mod message;
mod stream;
mod tls;
mod udp;

use super::pushed::Inlet;
use crate::{
    Error,
    settings::{Endpoint, Protocol, SyslogSettings},
};
use socket2::SockRef;
use std::{io, sync::Arc};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
};

/// Listens on all addresses; tasks end when the inlet's stop is asked for.
pub(crate) async fn start(
    inlet: Inlet,
    settings: &SyslogSettings,
    tasks: &mut JoinSet<()>,
) -> Result<(), Error> {
    let acceptor = match &settings.tls {
        Some(tls) => Some(
            tls::acceptor(tls)
                .map_err(|problem| Error::Certificates { name: inlet.name.to_string(), problem })?,
        ),
        None => None,
    };
    let settings = Arc::new(settings.clone());
    let places = Arc::new(Semaphore::new(settings.max_connections));
    for endpoint in &settings.listen {
        let failed =
            |source| Error::Listen { name: inlet.name.to_string(), address: endpoint.to_string(), source };
        let (inlet, settings) = (inlet.clone(), Arc::clone(&settings));
        match endpoint.protocol {
            Protocol::Udp => {
                let socket = bind_udp(*endpoint, settings.receive_buffer).await.map_err(failed)?;
                tell(&inlet, "udp://", socket.local_addr());
                tasks.spawn(udp::run(socket, inlet, settings));
            }
            Protocol::Tcp | Protocol::Tls => {
                let listener = TcpListener::bind(endpoint.address).await.map_err(failed)?;
                let tls = acceptor.clone().filter(|_| endpoint.protocol == Protocol::Tls);
                tell(&inlet, if tls.is_some() { "tls://" } else { "tcp://" }, listener.local_addr());
                tasks.spawn(stream::run(listener, tls, inlet, settings, Arc::clone(&places)));
            }
        }
    }
    Ok(())
}

async fn bind_udp(endpoint: Endpoint, receive_buffer: usize) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(endpoint.address).await?;
    // The kernel gives as much as its own limit allows.
    SockRef::from(&socket).set_recv_buffer_size(receive_buffer)?;
    Ok(socket)
}

fn tell(inlet: &Inlet, protocol: &str, address: io::Result<std::net::SocketAddr>) {
    let address = address.map_or_else(|error| error.to_string(), |address| address.to_string());
    tracing::info!(source = %inlet.name, "listening for syslog on {protocol}{address}");
}
