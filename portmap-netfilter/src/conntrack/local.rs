//! Whether an address is one of this host's.

use std::{
    collections::HashMap,
    net::{IpAddr, UdpSocket},
};

/// Remembers which addresses are this host's, for as long as one request takes.
#[derive(Debug, Default)]
pub(super) struct Local(HashMap<IpAddr, bool>);

impl Local {
    /// Whether a socket could be bound to it: a list of the interfaces' addresses would lack most of 127.0.0.0/8, and
    /// what local routes add.
    pub(super) fn has(&mut self, addr: IpAddr) -> bool {
        let probe = || match addr {
            // Cannot be bound without its interface, and never is on its way through this host.
            IpAddr::V6(addr) if addr.is_unicast_link_local() => true,
            addr if addr.is_multicast() => false,
            addr => UdpSocket::bind((addr, 0)).is_ok(),
        };
        *self.0.entry(addr).or_insert_with(probe)
    }
}
