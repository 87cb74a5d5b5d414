//! What a request means in the networks that are attached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portmap_core::{
    Binding, Endpoint, Error, ErrorKind, HostAddr, Mapping, Protocol, Publish, Reservation,
    Reserved,
};
use portmap_rules::{Interface, Loopback, Network, Policy};
use socket2::SockRef;
use tracing::debug;

/// A request as far as NAT can serve it.
pub(super) enum Plan {
    /// Host ports lead to the container, which is behind this bridge.
    Nat(Publish, Interface),
    /// The same for host ports that somebody else has reserved: what no rule catches is for him.
    Shared(Publish),
    /// The container is reached by its own address: its ports are opened, and no host port is taken.
    Routed(Publish),
}

impl Plan {
    pub(super) fn new(
        request: &Publish,
        networks: &[Network],
        policy: &Policy,
    ) -> Result<Self, Error> {
        let Some(bridge) = nat_bridge(request.endpoint(), networks)? else {
            return Ok(Self::Routed(request.clone()));
        };
        if (0..request.mappings().len()).any(|place| request.reserved(place).is_some()) {
            return Ok(Self::Shared(request.clone()));
        }
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
            Self::Shared(request) => {
                let reservation = Reservation::take(&request).await?;
                Ok((reservation.bindings().cloned().collect(), Some(reservation)))
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

/// The bridge behind which a container is that NAT leads to; `None` where it is reached by its own address.
pub(super) fn nat_bridge(
    endpoint: Endpoint,
    networks: &[Network],
) -> Result<Option<Interface>, Error> {
    let invalid = |message: String| Error::new(ErrorKind::Invalid, message);
    let mut nat = None;
    for addr in endpoint.addrs() {
        let contains =
            |network: &&Network| network.subnets().any(|subnet| subnet.net().contains(&addr));
        let network = networks
            .iter()
            .find(contains)
            .ok_or_else(|| invalid(format!("{addr} lies in no network that is attached")))?;
        if network.is_internal() {
            let bridge = network.bridge();
            return Err(invalid(format!("{bridge} is internal: it has no way in")));
        }
        nat = nat.or(network.has_nat().then(|| network.bridge()));
    }
    Ok(nat)
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
    for socket in udp_sockets(reservation) {
        if let Err(error) = socket.bind_device(Some(bridge.name().as_bytes())) {
            debug!(%error, "clients that no rule catches are not refused");
        }
    }
}

/// The same, for ports that lead to a container behind another bridge now. Those that somebody else serves were not
/// silenced, and are not now.
pub(super) fn silence_again(reservation: &Reservation, bridge: Interface) {
    if udp_sockets(reservation).any(|socket| socket.device().is_ok_and(|device| device.is_some())) {
        silence(reservation, bridge);
    }
}

fn udp_sockets(reservation: &Reservation) -> impl Iterator<Item = SockRef<'_>> {
    let udp = |reserved: &&Reserved| reserved.binding().protocol() == Protocol::Udp;
    reservation.reserved().iter().filter(udp).flat_map(Reserved::sockets).map(SockRef::from)
}
