//! Sockets that speak from the client's own address.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use nix::sys::socket::{setsockopt, sockopt};
use portmap_core::{Error, ErrorKind};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

use crate::tcp::connect::connect;

/// Refuses where sockets may not speak from the addresses of others.
pub(super) fn check() -> Result<(), Error> {
    let tried = Socket::new(Domain::IPV4, Type::DGRAM, None)
        .and_then(|socket| socket.set_ip_transparent_v4(true));
    tried.map_err(|error| {
        let (kind, message) = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                let message = "speaking from clients' addresses takes CAP_NET_ADMIN or CAP_NET_RAW";
                (ErrorKind::Denied, message)
            }
            _ => (ErrorKind::Backend, "no socket can speak from clients' addresses"),
        };
        Error::new(kind, message).with_source(error)
    })
}

/// Whether a container's answers to this client would come by this host, so that the proxy gets them.
///
/// They would not where this host speaks to both from one address: the two are neighbours then, or lie behind the same
/// router, and the container answers past us. It costs two route look-ups of the kernel; no packet is sent.
pub(super) fn can_show(client: SocketAddr, container: SocketAddr) -> bool {
    let (from, to) = (client.ip(), container.ip());
    let link_local = matches!(from, IpAddr::V6(v6) if v6.is_unicast_link_local());
    // Linux drops packets from 127.0.0.0/8 and ::1 that come in by a link.
    if from.is_ipv4() != to.is_ipv4() || from.is_loopback() || to.is_loopback() || link_local {
        return false;
    }
    match (own_address_toward(from), own_address_toward(to)) {
        (Ok(near_client), Ok(near_container)) => {
            near_client != near_container && near_container != to
        }
        _ => false,
    }
}

/// The address from which this host speaks to another one; to one of its own that is the address itself.
fn own_address_toward(ip: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // The port is of no account.
    socket.connect((ip, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// Connects from an address that need not be this host's; from its port too, unless that is in use or not allowed.
pub(crate) async fn connect_from(source: SocketAddr, addr: SocketAddr) -> io::Result<TcpStream> {
    match connect_exactly(source, addr).await {
        Err(error) if is_about_port(&error) => {
            connect_exactly(SocketAddr::new(source.ip(), 0), addr).await
        }
        connected => connected,
    }
}

async fn connect_exactly(source: SocketAddr, addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = transparent(source, Type::STREAM)?;
    if source.port() != 0 {
        // One client's port may call several published ones: then as many sockets have it. Whoever listens keeps it.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&source.into())?;
    socket.set_nonblocking(true)?;
    connect(socket, addr).await
}

/// A UDP socket that speaks from an address which need not be this host's, connected to `addr`.
///
/// The port is the kernel's choice: a client's own would be taken from this host for as long as the session lasts, and a
/// client that sends from many ports could keep any of them from being published.
pub(crate) fn connected_from(source: SocketAddr, addr: SocketAddr) -> io::Result<UdpSocket> {
    let source = SocketAddr::new(source.ip(), 0);
    let socket = transparent(source, Type::DGRAM)?;
    socket.bind(&source.into())?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
}

fn transparent(source: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(source), kind, None)?;
    match source {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
    }
    if source.port() == 0 {
        // The port is chosen by connecting: it only has to be free toward this container.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    }
    Ok(socket)
}

/// In use by somebody, still in TIME_WAIT toward this container, or privileged.
fn is_about_port(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL | Errno::ACCESS))
}
