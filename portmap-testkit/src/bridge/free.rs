//! A bridge on a host that has other networks.

use std::net::IpAddr;

use futures::TryStreamExt;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute};

use super::{Bridge, BridgeSpec, claim_name};
use crate::claim::Claim;
use crate::error::{LabError, Step};
use crate::link;
use crate::node::Node;

/// More bridges than anybody makes: past them something is wrong.
const MOST: u32 = 1000;

impl Bridge {
    /// Makes a bridge with the first free name of `prefix0`, `prefix1`.. and the first candidate whose
    /// subnets overlap no address and no route of the node, after sweeping stale ones away.
    ///
    /// Candidates are written as the bridge's addresses: `172.30.0.1/24`. A default route overlaps
    /// nothing, nor do its halves (`0.0.0.0/1`), which some VPNs use in its place.
    ///
    /// # Errors
    /// When every candidate overlaps something, and as [`create`](Self::create).
    ///
    /// # Cancel safety
    /// As [`create`](Self::create).
    pub async fn create_free(
        node: &Node,
        prefix: &str,
        candidates: &[(Ipv4Net, Option<Ipv6Net>)],
    ) -> Result<Self, LabError> {
        // One at a time: two that look at once would choose the same subnet.
        let _turn = Claim::wait(node, "create").await?;
        Self::sweep(node, prefix).await?;
        let taken = present(node).await?;
        let (v4, v6) = first_free(candidates, &taken)
            .ok_or_else(|| LabError::new("every candidate overlaps an address or a route"))?;
        for number in 0..MOST {
            let name = format!("{prefix}{number}");
            let Some(claim) = Claim::take(node, &claim_name(&name)).await? else {
                continue;
            };
            if link::find(node.netlink(), &name).await?.is_some() {
                continue;
            }
            let spec = BridgeSpec::new(name, v4);
            let spec = match v6 {
                Some(v6) => spec.with_v6(v6),
                None => spec,
            };
            return Self::create_claimed(node, spec, claim).await;
        }
        Err(LabError::new(format!("no name {prefix}0 to {prefix}{} is free", MOST - 1)))
    }
}

fn first_free(
    candidates: &[(Ipv4Net, Option<Ipv6Net>)],
    taken: &[IpNet],
) -> Option<(Ipv4Net, Option<Ipv6Net>)> {
    let overlaps = |net: IpNet| {
        let clash =
            |other: &IpNet| net.contains(&other.network()) || other.contains(&net.network());
        taken.iter().filter(|other| other.prefix_len() > 1).any(clash)
    };
    let is_free = |(v4, v6): &&(Ipv4Net, Option<Ipv6Net>)| {
        !overlaps(IpNet::V4(*v4)) && !v6.is_some_and(|v6| overlaps(IpNet::V6(v6)))
    };
    candidates.iter().find(is_free).copied()
}

/// Every address and every route's destination, in whatever table.
async fn present(node: &Node) -> Result<Vec<IpNet>, LabError> {
    let mut present = Vec::new();
    let mut addresses = node.netlink().address().get().execute();
    while let Some(message) = addresses.try_next().await.step(|| "list addresses".to_owned())? {
        let prefix = message.header.prefix_len;
        for attribute in message.attributes {
            if let AddressAttribute::Address(address) | AddressAttribute::Local(address) = attribute
            {
                present.extend(IpNet::new(address, prefix));
            }
        }
    }
    let both = [
        RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
        RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
    ];
    for family in both {
        let mut routes = node.netlink().route().get(family).execute();
        while let Some(message) = routes.try_next().await.step(|| "list routes".to_owned())? {
            let prefix = message.header.destination_prefix_length;
            for attribute in message.attributes {
                let address: IpAddr = match attribute {
                    RouteAttribute::Destination(RouteAddress::Inet(address)) => address.into(),
                    RouteAttribute::Destination(RouteAddress::Inet6(address)) => address.into(),
                    _ => continue,
                };
                present.extend(IpNet::new(address, prefix));
            }
        }
    }
    Ok(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(taken: &[&str]) -> Option<String> {
        let candidates = [
            ("172.30.0.1/24".parse().unwrap(), Some("fd00:30::1/64".parse().unwrap())),
            ("172.31.0.1/24".parse().unwrap(), None),
        ];
        let taken: Vec<IpNet> = taken.iter().map(|net| net.parse().unwrap()).collect();
        first_free(&candidates, &taken).map(|(v4, _)| v4.to_string())
    }

    #[test]
    fn the_first_candidate_is_taken_where_nothing_overlaps() {
        assert_eq!(
            choose(&["192.168.33.2/24", "2001:db8:33::2/64"]).as_deref(),
            Some("172.30.0.1/24")
        );
    }

    #[test]
    fn a_wider_or_narrower_or_ipv6_network_overlaps() {
        for net in
            ["172.30.0.0/16", "172.30.0.128/25", "172.30.0.9/32", "fd00:30::/32", "fd00:30::7/128"]
        {
            assert_eq!(choose(&[net]).as_deref(), Some("172.31.0.1/24"), "{net}");
        }
    }

    #[test]
    fn no_candidate_is_left_where_all_overlap() {
        assert_eq!(choose(&["172.16.0.0/12"]), None);
    }

    #[test]
    fn a_default_route_and_its_halves_overlap_nothing() {
        let taken = ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "8000::/1"];
        assert_eq!(choose(&taken).as_deref(), Some("172.30.0.1/24"));
    }
}
