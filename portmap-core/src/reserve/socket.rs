//! One reserved host socket.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use crate::{Error, ErrorKind, HostAddr, HostIp, Port, Protocol};

/// A host port that could not be had.
#[derive(Debug)]
pub(super) struct Refusal {
    host: HostAddr,
    port: Port,
    error: io::Error,
}

/// Takes one host port: bound, and not listening yet. `None` for a protocol whose ports are not held by sockets.
pub(super) fn open(
    protocol: Protocol,
    host: HostAddr,
    port: Port,
) -> Result<Option<Socket>, Refusal> {
    if protocol == Protocol::Sctp {
        return Ok(None);
    }
    let number = port.number();
    let opened = match host {
        HostAddr::Ip(ip) => addr_of(ip, number).and_then(|addr| bind(protocol, addr, true)),
        HostAddr::Any => {
            let dual = bind(protocol, (Ipv6Addr::UNSPECIFIED, number).into(), false);
            match dual {
                Err(error) if errno(&error) == Errno::EAFNOSUPPORT => {
                    bind(protocol, (Ipv4Addr::UNSPECIFIED, number).into(), true)
                }
                other => other,
            }
        }
    };
    opened.map(Some).map_err(|error| Refusal { host, port, error })
}

/// What to bind to, with the number of its link in the network namespace of the calling thread.
fn addr_of(ip: HostIp, port: u16) -> io::Result<SocketAddr> {
    Ok(match (ip.addr(), ip.zone()) {
        (IpAddr::V6(v6), Some(zone)) => SocketAddrV6::new(v6, port, 0, zone.index()?).into(),
        (addr, _) => SocketAddr::new(addr, port),
    })
}

fn bind(protocol: Protocol, addr: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let tcp = protocol == Protocol::Tcp;
    let (kind, protocol) = match tcp {
        true => (Type::STREAM, socket2::Protocol::TCP),
        false => (Type::DGRAM, socket2::Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(addr), kind.nonblocking(), Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    if tcp {
        // Lets a port in TIME_WAIT be taken. On UDP it would let two share the port, and one get nothing.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&addr.into())?;
    if tcp {
        // With SO_REUSEADDR on both, somebody else could still bind the port, and listen first.
        socket.set_reuse_address(false)?;
    }
    Ok(socket)
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

impl Refusal {
    pub(super) const fn wanted(&self) -> (HostAddr, Port) {
        (self.host, self.port)
    }

    /// Whether another port might do.
    pub(super) fn concerns_the_port(&self) -> bool {
        matches!(errno(&self.error), Errno::EADDRINUSE | Errno::EACCES)
    }

    /// Whether somebody has the port.
    pub(super) fn is_conflict(&self) -> bool {
        errno(&self.error) == Errno::EADDRINUSE
    }

    pub(super) fn into_error(self, protocol: Protocol) -> Error {
        let Self { host, port, error } = self;
        let wanted = format!("{host}:{port}/{protocol}");
        let (kind, message) = match (errno(&error), host) {
            // The number says no more than the kind does.
            (Errno::EADDRNOTAVAIL, HostAddr::Ip(ip)) => {
                let message = format!("{ip} is not an address of this host");
                return Error::new(ErrorKind::AddrNotAvailable, message);
            }
            (Errno::EADDRNOTAVAIL, HostAddr::Any) => {
                let message = format!("{wanted} is not available");
                return Error::new(ErrorKind::AddrNotAvailable, message);
            }
            (Errno::ENODEV, HostAddr::Ip(ip)) => {
                let zone = ip.zone().map_or(String::new(), |zone| format!(" {zone}"));
                let message = format!("{ip} is not an address of this host: no interface{zone}");
                return Error::new(ErrorKind::AddrNotAvailable, message);
            }
            (Errno::EACCES | Errno::EPERM, _) => {
                let hint =
                    "a port below net.ipv4.ip_unprivileged_port_start needs CAP_NET_BIND_SERVICE";
                (ErrorKind::Denied, format!("{wanted} is not permitted: {hint}"))
            }
            (Errno::EAFNOSUPPORT, _) => {
                let message = format!("{wanted}: this kernel has no such address family");
                (ErrorKind::AddrNotAvailable, message)
            }
            _ => return Error::of_io(format!("{wanted} cannot be reserved"), error),
        };
        Error::new(kind, message).with_source(error)
    }
}
