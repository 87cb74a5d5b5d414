//! Who calls, and by what routes.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use ipnet::IpNet;
use portmap_core::Protocol;

use super::way::{PORT, UNPUBLISHED};
use super::{Family, Outcome, Path, Places, SeenAs, Way};
use crate::call::CallError;
use crate::error::{BoxError, LabError, Step};
use crate::link;
use crate::node::Node;
use crate::page::Page;
use crate::site::Site;
use crate::webapp::Webapp;

/// How long to wait for an answer before a call counts as dropped: the kernel repeats a lost SYN after a
/// second, and what comes at all comes within milliseconds.
const LIMIT: Duration = Duration::from_millis(900);

/// A [`Site`] with the callers of all paths.
pub(super) struct Scene {
    site: Arc<Site>,
    attacker: Node,
    elsewhere: Node,
    places: [Places; 2],
    /// What listens beside the webapp that is published.
    _webapps: [Webapp; 2],
}

/// A call to be made.
pub(super) struct Call {
    pub(super) way: Way,
    pub(super) protocol: Protocol,
    pub(super) expected: Outcome<SeenAs>,
}

/// A call, what became of it, and after how long.
type Called = (Call, Outcome, Duration);

impl Scene {
    pub(super) async fn new(site: &Arc<Site>) -> Result<Self, BoxError> {
        let lab = site.lab();
        let (host, client) = (lab.host(), lab.client());
        let (attacker, elsewhere) =
            tokio::try_join!(lab.outside("attacker"), lab.outside("elsewhere"))?;
        // The client would learn from the host that there is a shorter way to its neighbour on the LAN.
        for device in ["all", "eth0"] {
            host.sysctl(&format!("net/ipv4/conf/{device}/send_redirects"), "0").await?;
        }
        let (via4, via6) = (IpAddr::from(host.addr4()), IpAddr::from(host.addr6()));
        for bridge in site.networks() {
            client.add_route(bridge.subnet4().into(), via4).await?;
            if let Some(net) = bridge.subnet6() {
                client.add_route(net.into(), via6).await?;
            }
        }
        client.add_route(IpNet::from(IpAddr::from(elsewhere.addr4())), via4).await?;
        client.add_route(IpNet::from(IpAddr::from(elsewhere.addr6())), via6).await?;
        for device in ["all", "eth0"] {
            attacker.sysctl(&format!("net/ipv4/conf/{device}/route_localnet"), "1").await?;
        }
        link::route_loopback(attacker.netlink(), host.addr4()).await?;

        let local = (link_local(client).await?, link_local(host).await?);
        let places = |family| places(site, family, &attacker, &elsewhere, local);
        let places = [places(Family::Ipv4)?, places(Family::Ipv6)?];
        let _webapps =
            [Webapp::start(site.web(), UNPUBLISHED).await?, Webapp::start(&elsewhere, PORT).await?];
        Ok(Self { site: Arc::clone(site), attacker, elsewhere, places, _webapps })
    }

    /// Every path that there is in each family.
    pub(super) fn ways(&self) -> impl Iterator<Item = Way> {
        let families = Family::ALL.into_iter().zip(&self.places);
        families.flat_map(|(family, places)| {
            Path::ALL.into_iter().filter_map(move |path| Way::new(path, family, places))
        })
    }

    /// Makes calls, one after the other, so that none has to wait for others; but those that are expected to be dropped
    /// wait for their time to be up all together.
    pub(super) async fn make(&self, calls: Vec<Call>) -> Result<Vec<Called>, BoxError> {
        let (transit, calls): (Vec<_>, _) =
            calls.into_iter().partition(|call| call.way.path == Path::Transit);
        let (dropped, answered): (Vec<_>, _) =
            calls.into_iter().partition(|call| call.expected == Outcome::Dropped);
        let (mut called, dropped) = tokio::join!(
            self.in_turn(answered),
            join_all(dropped.into_iter().map(|call| self.call(call))),
        );
        called.extend(dropped);
        // Transit is for a host that forwards: whether it does is the mapper's business on all other paths.
        self.site.host().sysctl("net/ipv4/ip_forward", "1").await?;
        self.site.host().sysctl("net/ipv6/conf/all/forwarding", "1").await?;
        called.extend(self.in_turn(transit).await);
        Ok(called)
    }

    async fn in_turn(&self, calls: Vec<Call>) -> Vec<Called> {
        let mut called = Vec::new();
        for call in calls {
            called.push(self.call(call).await);
        }
        called
    }

    async fn call(&self, call: Call) -> Called {
        let (to, protocol) = (call.way.to, call.protocol);
        let calling = self.caller(call.way.path).run(async move {
            let begin = Instant::now();
            let called = match protocol {
                Protocol::Udp => Page::ask_udp(to, b"who calls?".to_vec(), LIMIT).await,
                _ => Page::get(to, LIMIT).await,
            };
            (called, begin.elapsed())
        });
        let (called, took) = calling.await;
        let wanted = match call.way.path {
            Path::Transit => self.elsewhere.name(),
            _ => self.site.web().name(),
        };
        let outcome = match called {
            Ok(page) if page.hostname == wanted => Outcome::Delivered(page.remote_ip),
            Ok(page) => Outcome::Other(format!("answered by {}", page.hostname)),
            Err(CallError::Refused) => Outcome::Refused,
            Err(CallError::Dropped(_)) => Outcome::Dropped,
            Err(other) => Outcome::Other(other.to_string()),
        };
        (call, outcome, took)
    }

    fn caller(&self, path: Path) -> &Node {
        match path {
            Path::OutsideClient
            | Path::LinkLocal
            | Path::DirectPublished
            | Path::DirectUnpublished
            | Path::Transit => self.site.client(),
            Path::Loopback | Path::LoopbackBinding | Path::OwnAddress => self.site.host(),
            Path::OtherNetwork => self.site.other(),
            Path::SameNetwork => self.site.neighbour(),
            Path::Itself => self.site.web(),
            Path::RoutedLoopback | Path::RoutedLoopbackBinding => &self.attacker,
        }
    }
}

fn places(
    site: &Site,
    family: Family,
    attacker: &Node,
    elsewhere: &Node,
    (client, host): ((Ipv6Addr, u32), (Ipv6Addr, u32)),
) -> Result<Places, BoxError> {
    let pick = |node: &Node| -> IpAddr {
        match family {
            Family::Ipv4 => node.addr4().into(),
            Family::Ipv6 => node.addr6().into(),
        }
    };
    let [bridge, other_bridge] = site.networks();
    let gateway = match family {
        Family::Ipv4 => bridge.gateway4().into(),
        Family::Ipv6 => bridge.gateway6().ok_or("the bridge has no IPv6")?.into(),
    };
    Ok(Places {
        lan: "eth0".to_owned(),
        bridge: bridge.name().to_owned(),
        other_bridge: other_bridge.name().to_owned(),
        host: pick(site.host()),
        client: pick(site.client()),
        attacker: pick(attacker),
        elsewhere: pick(elsewhere),
        gateway,
        container: pick(site.web()),
        neighbour: pick(site.neighbour()),
        stranger: pick(site.other()),
        link_local: (family == Family::Ipv6).then_some((client.0, host.0, client.1)),
    })
}

/// The address that `eth0` has given itself, and the number of that link.
async fn link_local(node: &Node) -> Result<(Ipv6Addr, u32), LabError> {
    let step = || format!("read the link-local address of {}", node.name());
    let table = node.run(async { std::fs::read_to_string("/proc/thread-self/net/if_inet6") }).await;
    let found = table.step(step)?.lines().find_map(parse_link_local);
    found.ok_or_else(|| LabError::new(step()))
}

/// A line is `fe80000000000000004 2c0fffea8210a 02 40 20 80 eth0`, without the gap: address, number, prefix
/// length, scope, flags, name, all but the name in hexadecimal.
fn parse_link_local(line: &str) -> Option<(Ipv6Addr, u32)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let &[address, number, _, "20", _, "eth0"] = words.as_slice() else {
        return None;
    };
    let address = u128::from_str_radix(address, 16).ok()?;
    Some((Ipv6Addr::from(address), u32::from_str_radix(number, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_is_found_in_the_kernels_table() {
        let line = "fe80000000000000004 2c0fffea8210a 02 40 20 80     eth0".replacen(' ', "", 1);
        let found = parse_link_local(&line).unwrap();
        assert_eq!((found.0.to_string().as_str(), found.1), ("fe80::42:c0ff:fea8:210a", 2));
        assert_eq!(parse_link_local(&line.replace("eth0", "lo")), None);
    }
}
