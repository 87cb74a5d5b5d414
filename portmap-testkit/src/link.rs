//! Interfaces, addresses, routes and neighbours of one namespace, by rtnetlink.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, State};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteProtocol, RouteScope, RouteType};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};
use tokio::time::{sleep, timeout};

use crate::error::{LabError, Step, kernel};

/// The loopback interface is the first of every namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// `RT_TABLE_LOCAL`: the routes to the host's own addresses.
const LOCAL_TABLE: u32 = 255;

/// How long a link or a neighbour may take. Both are there within 5 ms on an idle machine; a busy one
/// may lose a first solicitation, which the kernel repeats after a second.
const LIMIT: Duration = Duration::from_secs(10);

/// Between two looks at the kernel's state.
const LOOK: Duration = Duration::from_millis(1);

pub(crate) async fn up(netlink: &Handle, index: u32) -> Result<(), LabError> {
    let message = LinkUnspec::new_with_index(index).up().build();
    netlink.link().change(message).execute().await.step(|| format!("bring link {index} up"))
}

/// The link of that name, if there is one.
pub(crate) async fn find(netlink: &Handle, name: &str) -> Result<Option<LinkMessage>, LabError> {
    let found = netlink.link().get().match_name(name).execute().try_next().await.map_err(kernel);
    match found {
        Err(error) if error.raw_os_error() == Some(nix::Error::ENODEV as i32) => Ok(None),
        other => other.step(|| format!("look for link {name}")),
    }
}

/// The number of the link of that name.
pub(crate) async fn index(netlink: &Handle, name: &str) -> Result<u32, LabError> {
    let found = find(netlink, name).await?;
    found
        .map(|link| link.header.index)
        .ok_or_else(|| LabError::new(format!("there is no link {name}")))
}

/// Whether neighbours find the link's addresses by solicitation: not so on `lo` and dummies.
pub(crate) async fn is_solicited(netlink: &Handle, index: u32) -> Result<bool, LabError> {
    let link = netlink.link().get().match_index(index).execute().try_next().await;
    let link = link.step(|| format!("look at link {index}"))?;
    let silent = LinkFlags::Loopback | LinkFlags::Noarp;
    Ok(link.is_some_and(|link| !link.header.flags.intersects(silent)))
}

/// Deletes a bridge and the wires at its ports: those the kernel would take with their containers' namespaces, but only
/// some time after these have gone.
pub(crate) async fn delete_bridge(netlink: &Handle, bridge: u32) -> Result<(), LabError> {
    let mut links = netlink.link().get().execute();
    let mut ports = Vec::new();
    while let Some(link) = links.try_next().await.step(|| "list links".to_owned())? {
        if link.attributes.contains(&LinkAttribute::Controller(bridge)) {
            ports.push(link.header.index);
        }
    }
    for port in ports {
        match delete(netlink, port).await {
            // The kernel came first.
            Err(error) if error.raw_os_error() == Some(nix::Error::ENODEV as i32) => {}
            deleted => deleted?,
        }
    }
    delete(netlink, bridge).await
}

pub(crate) async fn delete(netlink: &Handle, index: u32) -> Result<(), LabError> {
    netlink.link().del(index).execute().await.step(|| format!("delete link {index}"))
}

/// Adds an address that can be used at once: no duplicate address detection.
pub(crate) async fn add_address(
    netlink: &Handle,
    index: u32,
    address: IpNet,
) -> Result<(), LabError> {
    let mut request = netlink.address().add(index, address.addr(), address.prefix_len());
    if address.addr().is_ipv6() {
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
    }
    request.execute().await.step(|| format!("add address {address} to link {index}"))
}

/// Adds a route by way of a neighbour.
pub(crate) async fn add_route(netlink: &Handle, to: IpNet, via: IpAddr) -> Result<(), LabError> {
    let step = || format!("add route {to} via {via}");
    let route = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(to.network(), to.prefix_len())
        .and_then(|route| route.gateway(via))
        .map_err(std::io::Error::other)
        .step(step)?;
    netlink.route().add(route.build()).execute().await.step(step)
}

/// Has 127.0.0.0/8 lead to a neighbour, rather than to the own loopback: what an attacker would do.
pub(crate) async fn route_loopback(netlink: &Handle, via: Ipv4Addr) -> Result<(), LabError> {
    for (address, length) in [(Ipv4Addr::new(127, 0, 0, 0), 8), (Ipv4Addr::LOCALHOST, 32)] {
        let local = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, length)
            .table_id(LOCAL_TABLE)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .protocol(RouteProtocol::Kernel)
            .output_interface(LOOPBACK);
        let deleted = netlink.route().del(local.build()).execute().await;
        deleted.step(|| format!("delete the local route to {address}/{length}"))?;
    }
    let loopback = IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8);
    add_route(netlink, loopback, via.into()).await
}

/// Waits until the link has carrier and the kernel has acted on it: a packet sent earlier is lost.
pub(crate) async fn operational(netlink: &Handle, index: u32) -> Result<(), LabError> {
    let wait = async {
        loop {
            let link = netlink.link().get().match_index(index).execute().try_next().await;
            let link = link.step(|| format!("look at link {index}"))?;
            let is_up = |attribute: &LinkAttribute| {
                matches!(attribute, LinkAttribute::OperState(State::Up))
            };
            if link.is_some_and(|link| link.attributes.iter().any(is_up)) {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    };
    timeout(LIMIT, wait)
        .await
        .unwrap_or_else(|_| Err(LabError::new(format!("link {index} got no carrier in {LIMIT:?}"))))
}

/// Waits until the neighbour has answered with its link-layer address.
///
/// The kernel is told to solicit (`NTF_USE`), rather than given a datagram to send: nothing passes
/// anybody's filter or counters.
pub(crate) async fn resolve(
    netlink: &Handle,
    index: u32,
    neighbour: IpAddr,
) -> Result<(), LabError> {
    let wait = async {
        netlink
            .neighbours()
            .add(index, neighbour)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .replace()
            .execute()
            .await
            .step(|| format!("solicit {neighbour}"))?;
        while !is_resolved(netlink, index, neighbour).await? {
            sleep(LOOK).await;
        }
        Ok(())
    };
    timeout(LIMIT, wait)
        .await
        .unwrap_or_else(|_| Err(LabError::new(format!("{neighbour} did not answer in {LIMIT:?}"))))
}

async fn is_resolved(netlink: &Handle, index: u32, neighbour: IpAddr) -> Result<bool, LabError> {
    let address = match neighbour {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    let mut table = netlink.neighbours().get().execute();
    let mut resolved = false;
    // Read to the end: a dump that is dropped half-way is still delivered.
    while let Some(entry) = table.try_next().await.step(|| "list neighbours".to_owned())? {
        let known = matches!(
            entry.header.state,
            NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
                | NeighbourState::Permanent
        );
        resolved |= known
            && entry.header.ifindex == index
            && entry.attributes.contains(&NeighbourAttribute::Destination(address.clone()));
    }
    Ok(resolved)
}
