//! What the proxy refuses to publish.

use std::{collections::HashSet, net::IpAddr};

use portmap_core::{Binding, Error, ErrorKind, Protocol, Publish};

use crate::source::own_address_toward;

pub(crate) fn only_tcp_and_udp(request: &Publish) -> Result<(), Error> {
    let protocols = request.mappings().iter().map(|mapping| mapping.protocol());
    match protocols.into_iter().find(|protocol| !is_served(*protocol)) {
        Some(protocol) => {
            let message = format!("the proxy does not serve {protocol}");
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        None => Ok(()),
    }
}

fn is_served(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Udp)
}

/// Refuses bindings that lead back to themselves, served together by a proxy that dials from this host: each connection or
/// session would make the next one, until no descriptor is left.
///
/// [`ProxyMapper::serve`](crate::ProxyMapper::serve) does it first. It asks the kernel for the routes to the containers, of the
/// network namespace of the calling thread, and sends nothing.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid), with the bindings in question.
pub fn not_to_itself(bindings: &[Binding]) -> Result<(), Error> {
    // Most often one endpoint has them all: the kernel is asked once for each address.
    let addrs: HashSet<_> =
        bindings.iter().flat_map(|to| to.endpoint().addrs().collect::<Vec<_>>()).collect();
    let own: HashSet<_> = addrs.into_iter().filter(|ip| is_own(*ip)).collect();
    for to in bindings {
        for ip in to.endpoint().addrs().filter(|ip| own.contains(ip)) {
            let from = bindings.iter().find(|from| {
                from.protocol() == to.protocol()
                    && from.host_addr().covers(ip)
                    && from.host_ports().overlaps(to.container_ports())
            });
            if let Some(from) = from {
                let message = format!("{to} leads back to this host, where {from} is published");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
    }
    Ok(())
}

/// Whether an address is one of this host's: to itself it would speak from that address, or it is a loopback one.
///
/// Being able to bind it says less: where `net.ipv4.ip_nonlocal_bind` is on, any address can be bound. No packet is sent.
fn is_own(ip: IpAddr) -> bool {
    ip.is_loopback() || own_address_toward(ip).is_ok_and(|source| source == ip)
}
