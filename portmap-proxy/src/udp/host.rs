//! What only this host can tell of an address: asked when a session begins, so that nothing has to
//! follow its changes.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use nix::net::if_::if_indextoname;

use super::ends::LOOPBACK;
use crate::pressure::is_exhaustion;

/// Whether an address is this host's: it would speak to it from there. A link-local one is looked
/// for in its zone.
///
/// Being able to bind it says less: where `net.ipv4.ip_nonlocal_bind` is on, any address can be
/// bound. It is asked of the kernel, in the calling thread's network namespace: four system calls, and no
/// packet. Where the kernel cannot be asked for lack of descriptors, the answer is yes.
pub(crate) fn is_own(addr: SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    if ip.is_loopback() {
        return true;
    }
    let (any, mut to): (IpAddr, _) = match ip {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), SocketAddr::new(ip, 0)),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), addr),
    };
    // The port is of no account.
    to.set_port(9);
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(to)?;
        socket.local_addr()
    });
    source.map_or_else(|error| is_exhaustion(&error), |source| source.ip() == ip)
}

/// Whether this interface takes packets with IPv4 loopback addresses from outside
/// (`route_localnet`): then an address of 127.0.0.0/8 says nothing of who has sent them. The kernel
/// drops those of `::1` always.
pub(super) fn takes_loopback(interface: u32) -> bool {
    if matches!(interface, 0 | LOOPBACK) {
        return false;
    }
    let name = if_indextoname(interface).ok();
    let name = name.as_ref().and_then(|name| name.to_str().ok());
    ["all"].into_iter().chain(name).any(|name| {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/route_localnet");
        fs::read_to_string(path).is_ok_and(|value| value.trim() != "0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_this_hosts_and_documentations_are_not() {
        for own in ["127.0.0.1:53", "127.1.2.3:53", "[::1]:53", "[::ffff:127.0.0.1]:53"] {
            assert!(is_own(own.parse().unwrap()), "{own}");
        }
        for other in ["192.0.2.7:53", "[2001:db8::7]:53", "[::ffff:192.0.2.7]:53"] {
            assert!(!is_own(other.parse().unwrap()), "{other}");
        }
        assert!(!takes_loopback(LOOPBACK));
    }
}
