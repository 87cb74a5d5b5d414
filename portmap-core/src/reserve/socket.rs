//! One reserved host socket.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use nix::errno::Errno;
use socket2::{Domain, SockRef, Socket, Type};

use super::HostSocket;
use crate::{Error, ErrorKind, HostAddr, HostIp, Port, Protocol, holder::holders};

/// As many connections waiting as `net.core.somaxconn` allows: the kernel lowers the number to that.
const BACKLOG: i32 = i32::MAX;

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
) -> Result<Option<HostSocket>, Refusal> {
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
    opened.map(HostSocket::of).map(Some).map_err(|error| Refusal { host, port, error })
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

/// Lets clients in.
pub(super) fn serve(protocol: Protocol, socket: &HostSocket) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if protocol == Protocol::Tcp {
        // Accepted connections inherit it: without it, those in TIME_WAIT would keep the port from being taken again.
        socket.set_reuse_address(true)?;
        socket.listen(BACKLOG)?;
    }
    Ok(())
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

impl Refusal {
    /// Whether another port might do.
    pub(super) fn concerns_the_port(&self) -> bool {
        matches!(errno(&self.error), Errno::EADDRINUSE | Errno::EACCES)
    }

    /// Whether the port is taken and nobody can be seen who has it.
    pub(super) fn is_by_nobody(&self, protocol: Protocol) -> bool {
        errno(&self.error) == Errno::EADDRINUSE
            && holders(protocol, self.host, self.port.into())
                .iter()
                .all(|holder| holder.processes().is_empty())
    }

    pub(super) fn into_error(self, protocol: Protocol) -> Error {
        let Self { host, port, error } = self;
        let wanted = format!("{host}:{port}/{protocol}");
        let (kind, message) = match errno(&error) {
            Errno::EADDRINUSE => {
                let message = match holders(protocol, host, port.into()).first() {
                    Some(holder) => holder.to_string(),
                    None => format!("{wanted} is in use"),
                };
                // The number says no more than the kind does.
                return Error::new(ErrorKind::AddrInUse, message);
            }
            Errno::ENODEV => {
                let message = match host {
                    HostAddr::Ip(ip) => match ip.zone() {
                        Some(zone) => {
                            format!("{ip} is not an address of this host: no interface {zone}")
                        }
                        None => format!("{ip} is not an address of this host"),
                    },
                    HostAddr::Any => format!("{wanted} is not available"),
                };
                return Error::new(ErrorKind::AddrNotAvailable, message);
            }
            Errno::EADDRNOTAVAIL => {
                let message = match host {
                    HostAddr::Ip(ip) => format!("{ip} is not an address of this host"),
                    HostAddr::Any => format!("{wanted} is not available"),
                };
                return Error::new(ErrorKind::AddrNotAvailable, message);
            }
            Errno::EACCES | Errno::EPERM => {
                let hint =
                    "a port below net.ipv4.ip_unprivileged_port_start needs CAP_NET_BIND_SERVICE";
                (ErrorKind::Denied, format!("{wanted} is not permitted: {hint}"))
            }
            Errno::EMFILE => {
                let message = format!("{wanted}: RLIMIT_NOFILE allows no further socket");
                (ErrorKind::Exhausted, message)
            }
            Errno::ENFILE => {
                let message = format!("{wanted}: the host's fs.file-max is reached");
                (ErrorKind::Exhausted, message)
            }
            Errno::ENOBUFS | Errno::ENOMEM => {
                let message = format!("{wanted}: the kernel has no memory for a further socket");
                (ErrorKind::Exhausted, message)
            }
            Errno::EAFNOSUPPORT => {
                let message = format!("{wanted}: this kernel has no such address family");
                (ErrorKind::AddrNotAvailable, message)
            }
            _ => (ErrorKind::Backend, format!("{wanted} cannot be reserved")),
        };
        Error::new(kind, message).with_source(error)
    }
}
