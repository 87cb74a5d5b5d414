//! One family's share of what is wanted.

use std::net::IpAddr;

use ipnet::IpNet;
use portmap_core::{Binding, HostAddr, PortRange, Protocol};

use super::{Places, conflict};
use crate::{CompileError, Family, GatewayMode, Interface, Loopback, Network, Policy};

/// What one family's rules are made of.
pub(super) struct Plan<'a> {
    pub(super) family: Family,
    /// Networks with a subnet of the family, oldest first.
    pub(super) networks: Vec<Member<'a>>,
    /// Sorted, so that the order of publishing doesn't show.
    pub(super) claims: Vec<Claim<'a>>,
}

/// A network and its subnet in the plan's family.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) network: &'a Network,
    pub(super) bridge: Interface,
    pub(super) net: IpNet,
}

/// A binding's share in the plan's family.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) protocol: Protocol,
    pub(super) host_ports: PortRange,
    /// `None` for every address of the host.
    pub(super) host: Option<IpAddr>,
    pub(super) to: IpAddr,
    pub(super) container_ports: PortRange,
    pub(super) network: &'a Network,
    pub(super) binding: &'a Binding,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        family: Family,
        places: &Places<'a>,
        bindings: &'a [Binding],
        policy: &Policy,
    ) -> Result<Self, CompileError> {
        let networks = places.networks().iter().filter_map(|network| {
            let net = network.subnet(family)?.net();
            Some(Member { network, bridge: network.bridge(), net })
        });
        let mut claims = Vec::new();
        for binding in bindings {
            let Some(host) = host_in(family, binding.host_addr()) else { continue };
            // Rules name an address, which may be another host's on another link.
            if matches!(binding.host_addr(), HostAddr::Ip(ip) if ip.zone().is_some()) {
                if policy.loopback == Loopback::Nat {
                    return Err(CompileError::OnLink(Box::new(binding.clone())));
                }
                continue;
            }
            let Some(to) = binding.endpoint().addrs().find(|addr| Family::of(*addr) == family)
            else {
                if policy.loopback == Loopback::Nat && binding.host_addr() != HostAddr::Any {
                    return Err(CompileError::OtherFamily(Box::new(binding.clone())));
                }
                continue;
            };
            let network = places.network_of(to)?;
            if network.is_internal() {
                continue;
            }
            claims.push(Claim {
                protocol: binding.protocol(),
                host_ports: binding.host_ports(),
                host,
                to,
                container_ports: binding.container_ports(),
                network,
                binding,
            });
        }
        let order = |claim: &Claim<'_>| {
            (claim.protocol, claim.host_ports, claim.host, claim.to, claim.container_ports)
        };
        claims.sort_unstable_by_key(order);
        conflict::check(&claims)?;
        Ok(Self { family, networks: networks.collect(), claims })
    }

    /// Networks that are not internal.
    pub(super) fn open(&self) -> impl DoubleEndedIterator<Item = Member<'a>> + Clone {
        self.networks.iter().copied().filter(|member| !member.network.is_internal())
    }

    pub(super) fn internal(&self) -> impl DoubleEndedIterator<Item = Member<'a>> + Clone {
        self.networks.iter().copied().filter(|member| member.network.is_internal())
    }

    /// Open networks of one mode.
    pub(super) fn of_mode(
        &self,
        mode: GatewayMode,
    ) -> impl DoubleEndedIterator<Item = Member<'a>> + Clone {
        self.open().filter(move |member| member.network.mode() == mode)
    }

    /// Networks that host ports lead to through NAT.
    pub(super) fn nat(&self) -> impl DoubleEndedIterator<Item = Member<'a>> + Clone {
        self.open().filter(|member| member.network.has_nat())
    }

    /// Claims on host ports.
    pub(super) fn translated(&self) -> impl Iterator<Item = &Claim<'a>> {
        self.claims.iter().filter(|claim| claim.network.has_nat())
    }

    /// Claims whose container ports are open in networks of one mode.
    pub(super) fn published(&self, mode: GatewayMode) -> impl Iterator<Item = &Claim<'a>> {
        self.claims.iter().filter(move |claim| claim.network.mode() == mode)
    }

    /// Whether the host's own connections to its loopback addresses are translated.
    ///
    /// IPv6 has no `route_localnet`: a translated packet from `::1` could not leave, and its sender would wait
    /// where it can be refused at once.
    pub(super) fn translates_loopback(&self, policy: &Policy) -> bool {
        policy.loopback == Loopback::Nat && self.family == Family::Ipv4
    }

    /// Whether 127.0.0.0/8 as a whole needs a guard.
    ///
    /// With NAT for loopback the bridges route it; and NAT for every address of the host would take a packet from
    /// outside to 127.0.0.1 along before the kernel's own check of such addresses sees it.
    pub(super) fn guards_loopback(&self, policy: &Policy) -> bool {
        self.routes_localnet(policy)
            || (self.family == Family::Ipv4 && self.translated().any(|claim| claim.host.is_none()))
    }

    /// Whether bridges route 127.0.0.0/8, so that the kernel takes such sources by them for good. NAT never lets one past the
    /// kernel's check, as it does with destinations.
    pub(super) fn routes_localnet(&self, policy: &Policy) -> bool {
        self.family == Family::Ipv4
            && self.nat().any(|member| policy.routes_localnet(member.network))
    }
}

impl Claim<'_> {
    /// Whether each host port leads to the container port of the same number.
    pub(super) fn keeps_numbers(&self) -> bool {
        self.host_ports == self.container_ports
    }

    pub(super) const fn is_range(&self) -> bool {
        self.host_ports.len() > 1
    }

    /// The host address, where it is one of 127.0.0.0/8: it needs a guard of its own. `::1` needs none, as the kernel
    /// drops a packet from outside to it before it asks any rule.
    pub(super) fn loopback_host(&self) -> Option<IpAddr> {
        self.host.filter(|host| host.is_ipv4() && host.is_loopback())
    }
}

/// `None` where the host address is of the other family, `Some(None)` where it is every address.
fn host_in(family: Family, host: HostAddr) -> Option<Option<IpAddr>> {
    match host {
        HostAddr::Any => Some(None),
        HostAddr::Ip(ip) if Family::of(ip.addr()) != family => None,
        HostAddr::Ip(ip) => Some((!ip.addr().is_unspecified()).then_some(ip.addr())),
    }
}
