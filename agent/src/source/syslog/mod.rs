//! Syslog from the network: one task an address that is listened on, and one a connection. Datagrams are messages; what comes over
//! TCP and TLS is cut by `pushed::decoder`. Nothing is answered: syslog has no acknowledgement, so a sender is told to wait by not being
//! read, and what a kernel drops of datagrams is counted ([`drops`]).

mod drops;
mod message;
mod stream;
mod udp;

use super::pushed::Inlet;
use crate::{
    Error,
    settings::{Protocol, SyslogSettings},
};
use millrace_listen::accept;
use socket2::SockRef;
use std::{io, net::SocketAddr, sync::Arc};
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
    let listener = inlet.listener();
    let tls = listener.tls(settings.tls.as_ref(), &[])?;
    let settings = Arc::new(settings.clone());
    let places = Arc::new(Semaphore::new(settings.max_connections));
    for endpoint in &settings.listen {
        let (inlet, settings) = (inlet.clone(), Arc::clone(&settings));
        match endpoint.protocol {
            Protocol::Udp => {
                let buffer = settings.receive_buffer;
                let socket = listener.bind(endpoint, || bind_udp(endpoint.address, buffer)).await?;
                tasks.spawn(udp::run(socket, inlet, settings));
            }
            Protocol::Tcp | Protocol::Tls => {
                let socket = listener.bind(endpoint, || TcpListener::bind(endpoint.address)).await?;
                let tls = tls.clone().filter(|_| endpoint.protocol == Protocol::Tls);
                let serve = move |connection| stream::serve(connection, inlet.clone(), Arc::clone(&settings));
                tasks.spawn(accept(socket, tls, listener.clone(), Arc::clone(&places), serve));
            }
        }
    }
    Ok(())
}

async fn bind_udp(address: SocketAddr, receive_buffer: usize) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address).await?;
    // The kernel gives as much as its own limit allows.
    SockRef::from(&socket).set_recv_buffer_size(receive_buffer)?;
    Ok(socket)
}
