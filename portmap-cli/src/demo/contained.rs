//! A webapp in a network namespace, like a container's.

use std::{
    collections::BTreeSet,
    fmt::{self, Display, Formatter},
    fs,
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::{Ipv4Net, Ipv6Net};
use portmap::{BoxError, Endpoint, Port, PortSpec, Publish, rules::Network};
use portmap_testkit::{Bridge, Container, LabError, Node, Webapp};

use super::container_ports;

/// Bridges are called so, with a number behind it.
const BRIDGE: &str = "portmap";

/// A webapp in a network namespace of its own, behind a bridge of its own.
pub(crate) struct Contained {
    bridge: Bridge,
    container: Container,
    _webapps: Vec<Webapp>,
}

impl Contained {
    /// Starts one that serves every container port of the specs.
    pub(crate) async fn start(specs: &[PortSpec], headed: bool) -> Result<Self, BoxError> {
        let ports = container_ports(specs)?;
        let bridge = Bridge::create_free(&Node::current().await?, BRIDGE, &subnets()).await?;
        match inside(&bridge, &ports, headed).await {
            Ok((container, _webapps)) => Ok(Self { bridge, container, _webapps }),
            Err(error) => {
                bridge.remove().await?;
                Err(error.into())
            }
        }
    }

    /// The network and the request that it would have where nothing is in the way.
    pub(crate) fn assumed(specs: &[PortSpec]) -> Result<(Network, Publish), BoxError> {
        container_ports(specs)?;
        let [(v4, v6), ..] = subnets();
        let first4 = Ipv4Addr::from(u32::from(v4.addr()) + 1);
        let first6 = |net: Ipv6Net| Ipv6Addr::from(u128::from(net.addr()) + 1);
        let endpoint = endpoint(first4, v6.map(first6));
        let network = network(&format!("{BRIDGE}0"), v4, v6)?;
        Ok((network, request(endpoint, specs)))
    }

    /// The request that publishes it.
    pub(crate) fn request(&self, specs: &[PortSpec]) -> Publish {
        request(self.endpoint(), specs)
    }

    /// Its network as the rules know it.
    pub(crate) fn network(&self) -> Result<Network, BoxError> {
        network(self.bridge.name(), self.bridge.subnet4(), self.bridge.subnet6())
    }

    /// Whether the bridge sends a frame back to the webapp: it calls itself by way of the host then.
    pub(crate) async fn set_hairpin(&self, on: bool) -> Result<(), LabError> {
        self.container.set_hairpin(on).await
    }

    /// Removes what was made for it.
    pub(crate) async fn remove(self) -> Result<(), BoxError> {
        Ok(self.bridge.remove().await?)
    }

    fn endpoint(&self) -> Endpoint {
        let v6 = self.container.gateway6().map(|_| self.container.addr6());
        endpoint(self.container.addr4(), v6)
    }
}

impl Display for Contained {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "webapp in a network namespace of its own, {}, ", self.endpoint())?;
        write!(f, "behind bridge {} ({})", self.bridge.name(), self.bridge.gateway4())
    }
}

async fn inside(
    bridge: &Bridge,
    ports: &BTreeSet<Port>,
    headed: bool,
) -> Result<(Container, Vec<Webapp>), LabError> {
    let container = bridge.container("webapp").await?;
    let mut webapps = Vec::with_capacity(ports.len());
    for port in ports {
        webapps.push(match headed {
            true => Webapp::start_proxied(&container, port.number()).await?,
            false => Webapp::start(&container, port.number()).await?,
        });
    }
    Ok((container, webapps))
}

fn endpoint(v4: Ipv4Addr, v6: Option<Ipv6Addr>) -> Endpoint {
    // A bridge's own addresses are of two families.
    v6.and_then(|v6| Endpoint::dual(v4, v6).ok()).unwrap_or_else(|| v4.into())
}

fn request(endpoint: Endpoint, specs: &[PortSpec]) -> Publish {
    specs.iter().cloned().fold(Publish::new(endpoint), Publish::with)
}

fn network(bridge: &str, v4: Ipv4Net, v6: Option<Ipv6Net>) -> Result<Network, BoxError> {
    let v6 = v6.map(|net| format!(",{}", net.trunc())).unwrap_or_default();
    Ok(format!("{bridge}={}{v6}", v4.trunc()).parse()?)
}

/// Bridges' addresses to choose from: the ends of private ranges, that others seldom use.
fn subnets() -> [(Ipv4Net, Option<Ipv6Net>); 4] {
    let without = fs::read_to_string("/proc/sys/net/ipv6/conf/default/disable_ipv6");
    let v6 = without.is_ok_and(|text| text.trim() != "1");
    let nets = |v4: [u8; 4], place| {
        let net6 = Ipv6Net::new_assert([0xfd00, 0x706d, 0, place, 0, 0, 0, 1].into(), 64);
        (Ipv4Net::new_assert(v4.into(), 24), v6.then_some(net6))
    };
    [
        nets([172, 31, 254, 1], 0),
        nets([172, 30, 254, 1], 1),
        nets([10, 254, 254, 1], 2),
        nets([192, 168, 254, 1], 3),
    ]
}
