//! Which flows are NAT's, and what to ask the kernel to see them.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    net::{IpAddr, Ipv4Addr},
};

use portmap_core::{Binding, Port, Protocol};
use portmap_rules::Family;

use super::Flow;

/// Up to how many listings by address are cheaper than one of all entries. Each walks the kernel's whole table: 100,000
/// entries took 28 ms to pass over, and 175 ms to list and read.
const FEW: usize = 6;

/// Flows that NAT leads to bindings' endpoints.
#[derive(Debug)]
pub(super) struct Sought<'a> {
    ports: HashMap<(Protocol, Port), Vec<&'a Binding>>,
    /// Who answers, and at which port if that is one alone.
    answering: BTreeMap<(Protocol, Who), Option<Port>>,
}

/// Who answers, as far as the kernel can be asked for it: its filter takes every IPv6 address for a match but the one that is
/// meant (seen on 6.18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    This(Ipv4Addr),
    Anybody(Family),
}

/// What to have listed: what somebody answers, at a port if that is one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    pub protocol: Protocol,
    pub who: Who,
    pub port: Option<Port>,
}

impl<'a> Sought<'a> {
    pub(super) fn new(bindings: &'a [Binding]) -> Self {
        let mut sought = Self { ports: HashMap::new(), answering: BTreeMap::new() };
        for binding in bindings {
            let (protocol, ports) = (binding.protocol(), binding.container_ports());
            for port in binding.host_ports().iter() {
                sought.ports.entry((protocol, port)).or_default().push(binding);
            }
            let only = (ports.len() == 1).then(|| ports.first());
            // What the host serves by itself is never behind NAT.
            for addr in binding.endpoint().addrs().filter(|addr| !addr.is_loopback()) {
                sought.add(protocol, Who::of(addr), only);
            }
        }
        if sought.answering.len() > FEW {
            for ((protocol, who), only) in mem::take(&mut sought.answering) {
                sought.add(protocol, Who::Anybody(who.family()), only);
            }
        }
        sought
    }

    fn add(&mut self, protocol: Protocol, who: Who, only: Option<Port>) {
        let port = self.answering.entry((protocol, who)).or_insert(only);
        *port = port.filter(|port| Some(*port) == only);
    }

    /// What to ask the kernel. No flow answers two of them.
    pub(super) fn questions(&self) -> impl Iterator<Item = Question> {
        let question = |(&(protocol, who), &port)| Question { protocol, who, port };
        self.answering.iter().map(question)
    }

    /// Whether NAT led it to an endpoint. Where somebody else answers a host port (the proxy, above all), it did not.
    pub(super) fn has(&self, flow: &Flow) -> bool {
        let Ok(port) = flow.host.port().try_into() else { return false };
        let Some(bindings) = self.ports.get(&(flow.protocol, port)) else { return false };
        flow.host.ip() != flow.endpoint.ip()
            && bindings.iter().any(|binding| {
                let leads_to = binding.container_port(port).map(Port::number);
                leads_to == Some(flow.endpoint.port())
                    && binding.host_addr().covers(flow.host.ip())
                    && binding.endpoint().addrs().any(|addr| addr == flow.endpoint.ip())
            })
    }
}

impl Who {
    const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => Self::This(addr),
            IpAddr::V6(_) => Self::Anybody(Family::Ipv6),
        }
    }

    pub(super) const fn family(self) -> Family {
        match self {
            Self::This(_) => Family::Ipv4,
            Self::Anybody(family) => family,
        }
    }

    /// Whether a flow is this one's: kernels that know no filter list all.
    pub(super) fn answers(self, flow: &Flow) -> bool {
        match self {
            Self::This(addr) => flow.endpoint.ip() == addr,
            Self::Anybody(family) => Family::of(flow.endpoint.ip()) == family,
        }
    }
}
