//! What the proxy refuses to publish.

use std::net::UdpSocket;

use portmap_core::{Binding, Error, ErrorKind, Protocol, Publish};

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

/// Refuses bindings that lead back to themselves: each connection or session would make the next one, until no
/// descriptor is left.
pub(crate) fn not_to_itself(bindings: &[Binding]) -> Result<(), Error> {
    for to in bindings {
        let endpoint = to.endpoint();
        // Only an address of this host can be bound.
        for ip in endpoint.addrs().filter(|ip| UdpSocket::bind((*ip, 0)).is_ok()) {
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
