//! What a request means in the networks that are attached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portmap_core::{
    Binding, Error, ErrorKind, HostAddr, Mapping, Protocol, Publish, Reservation, Reserved,
};
use tracing::debug;

use crate::{Interface, Loopback, Network, Policy};

/// A request as far as NAT can serve it.
pub(super) enum Plan {
    /// Host ports lead to the container, which is behind this bridge.
    Nat(Publish, Interface),
    /// The container is reached by its own address: its ports are opened, and no host port is taken.
    Routed(Publish),
}

impl Plan {
    pub(super) fn new(
        request: &Publish,
        networks: &[Network],
        policy: &Policy,
    ) -> Result<Self, Error> {
        let mut nat = None;
        for addr in request.endpoint().addrs() {
            let contains =
                |network: &&Network| network.subnets().any(|subnet| subnet.net().contains(&addr));
            let network = networks.iter().find(contains).ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    format!("{addr} lies in no network that is attached"),
                )
            })?;
            if network.is_internal() {
                let message = format!("{} is internal: it has no way in", network.bridge());
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            nat = nat.or(network.has_nat().then(|| network.bridge()));
        }
        let Some(bridge) = nat else {
            return Ok(Self::Routed(request.clone()));
        };
        let mappings = request.mappings().iter().cloned();
        let narrowed = mappings.map(|mapping| narrow(mapping, request, policy));
        Ok(Self::Nat(narrowed.fold(Publish::new(request.endpoint()), Publish::with), bridge))
    }

    /// Takes the host ports. Bindings of a routed network have the container's in their place, which nobody uses.
    pub(super) async fn reserve(self) -> Result<(Vec<Binding>, Option<Reservation>), Error> {
        match self {
            Self::Nat(request, bridge) => {
                let reservation = Reservation::take(&request).await?;
                silence(&reservation, bridge);
                let bindings = reservation.bindings().cloned().collect();
                Ok((bindings, Some(reservation)))
            }
            Self::Routed(request) => {
                let bindings = request.mappings().iter().filter_map(|mapping| {
                    let ports = mapping.container_ports();
                    let (protocol, endpoint) = (mapping.protocol(), request.endpoint());
                    Binding::new(protocol, HostAddr::Any, ports.first(), endpoint, ports)
                });
                Ok((bindings.collect(), None))
            }
        }
    }
}

/// NAT alone does not translate between the families: a mapping for every address is for those of the endpoint's family.
fn narrow(mapping: Mapping, request: &Publish, policy: &Policy) -> Mapping {
    let endpoint = request.endpoint();
    match (endpoint.v4(), endpoint.v6()) {
        _ if policy.loopback == Loopback::Proxy || !mapping.host_addrs().is_empty() => mapping,
        (Some(_), None) => mapping.on(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        (None, Some(_)) => mapping.on(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ => mapping,
    }
}

/// Sees to it that a UDP client that no rule catches is refused, as a TCP client is. A UDP socket that nobody reads would
/// take its datagrams and say nothing. One that is bound to a device takes only what comes in by that; of what comes in
/// by the container's own bridge for this port, rules catch all.
fn silence(reservation: &Reservation, bridge: Interface) {
    let udp = |reserved: &&Reserved| reserved.binding().protocol() == Protocol::Udp;
    for socket in reservation.reserved().iter().filter(udp).flat_map(Reserved::sockets) {
        if let Err(error) = socket.bind_device(Some(bridge.name().as_bytes())) {
            debug!(%error, "clients that no rule catches are not refused");
        }
    }
}
