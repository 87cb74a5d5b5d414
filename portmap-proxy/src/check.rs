//! What the proxy refuses to publish.

use portmap_core::{Error, ErrorKind, Protocol, Publish};

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
