//! Who the container thinks is calling, for every way to reach a port that NAT serves: observed in the kernel, predicted
//! from the rules alone, and written down here.

use std::{
    fmt::{self, Display, Formatter},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use futures::future::join_all;
use ipnet::IpNet;
use portmap::{
    BoxError, HostAddr, PortMapper, Protocol, RulesMapper,
    rules::{
        End, Hairpin, HostSettings, Layout, Loopback, Network, Packet, Policy, Socket, SocketKind,
        World, compile, trace,
    },
};
use portmap_testkit::{Bridge, CallError, Container, Lab, Need, Node, Suite, Webapp};

use crate::support::{dual, network_of, request};

pub(crate) fn tests(suite: &mut Suite) {
    let netns = [Need::Netns, Need::Tool("ip")];
    let iptables = [Need::Netns, Need::Tool("ip"), Need::Tool("iptables")];
    for (layout, needs) in [(Layout::Nftables, &netns[..]), (Layout::Iptables, &iptables[..])] {
        for loopback in [Loopback::Nat, Loopback::Proxy] {
            for (hairpin, netfilter) in
                [(Hairpin::Masquerade, false), (Hairpin::Masquerade, true), (Hairpin::Bridge, true)]
            {
                let policy = Policy { layout, loopback, hairpin, ..Policy::default() };
                let bridged = if netfilter { "with" } else { "without" };
                let name = format!(
                    "every_path_is_as_predicted_by_{layout}_loopback_{loopback}_hairpin_{hairpin}_{bridged}_br_netfilter"
                );
                suite.test(&name, needs, async move || paths(policy, netfilter).await);
            }
        }
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Seen(IpAddr),
    Refused,
    Dropped,
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seen(ip) => write!(f, "seen as {ip}"),
            Self::Refused => f.write_str("refused"),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

struct Path {
    name: &'static str,
    from: Node,
    arrives_by: Option<&'static str>,
    source: IpAddr,
    to: SocketAddr,
    expected: Outcome,
}

struct Scene {
    lab: Lab,
    docker0: Bridge,
    br0: Bridge,
    web: Container,
    neighbour: Container,
    stranger: Container,
    elsewhere: Node,
    attacker: Node,
    _webapps: Vec<Webapp>,
}

impl Scene {
    async fn new(netfilter: bool) -> Result<Self, BoxError> {
        let lab = Lab::new().await?;
        let (docker0, br0) = (lab.docker0().await?, lab.br0().await?);
        let web = docker0.container("web").await?;
        let neighbour = docker0.container("neighbour").await?;
        let stranger = br0.container("stranger").await?;
        let (elsewhere, attacker) =
            (lab.outside("elsewhere").await?, lab.outside("attacker").await?);
        let host = lab.host();
        for name in ["iptables", "ip6tables"] {
            let value = if netfilter { "1" } else { "0" };
            host.sysctl(&format!("net/bridge/bridge-nf-call-{name}"), value).await?;
        }
        // Ways that a host on the LAN would have to be told, or an attacker would tell its own.
        host.sysctl("net/ipv4/conf/all/send_redirects", "0").await?;
        host.sysctl("net/ipv4/conf/eth0/send_redirects", "0").await?;
        for bridge in [&docker0, &br0] {
            lab.client().add_route(bridge.subnet4().into(), host.addr4().into()).await?;
            if let Some(net) = bridge.subnet6() {
                lab.client().add_route(net.into(), host.addr6().into()).await?;
            }
        }
        lab.client()
            .add_route(IpNet::from(IpAddr::V4(elsewhere.addr4())), host.addr4().into())
            .await?;
        lab.client()
            .add_route(IpNet::from(IpAddr::V6(elsewhere.addr6())), host.addr6().into())
            .await?;
        for device in ["all", "eth0"] {
            attacker.sysctl(&format!("net/ipv4/conf/{device}/route_localnet"), "1").await?;
        }
        let via = host.addr4().to_string();
        for args in [
            &["route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local"][..],
            &["route", "del", "local", "127.0.0.1", "dev", "lo", "table", "local"],
            &["route", "add", "127.0.0.0/8", "via", &via, "dev", "eth0"],
        ] {
            let done = attacker.exec("ip", args.iter().copied()).await?;
            assert!(done.status.success(), "{args:?}: {}", done.stderr);
        }
        let webapps = [
            Webapp::start(&web, 80).await?,
            Webapp::start(&web, 81).await?,
            Webapp::start(&elsewhere, 8080).await?,
        ];
        let _webapps = Vec::from(webapps);
        Ok(Self { lab, docker0, br0, web, neighbour, stranger, elsewhere, attacker, _webapps })
    }

    /// The paths of one family, and what is to be expected of each.
    fn paths(&self, six: bool, policy: &Policy, netfilter: bool) -> Result<Vec<Path>, BoxError> {
        use Outcome::{Dropped, Refused, Seen};
        let pick =
            |node: &Node| -> IpAddr { if six { node.addr6().into() } else { node.addr4().into() } };
        let (host, client) = (self.lab.host(), self.lab.client());
        let gateway = match six {
            true => self.docker0.gateway6().ok_or("docker0 has no IPv6")?.into(),
            false => IpAddr::from(self.docker0.gateway4()),
        };
        let loopback: IpAddr =
            if six { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let lan = SocketAddr::new(pick(host), 8080);
        let container = |port| SocketAddr::new(pick(&self.web), port);
        let nat = policy.loopback == Loopback::Nat;
        let path = |name, from: &Node, arrives_by, to, expected| Path {
            name,
            from: from.clone(),
            arrives_by,
            source: pick(from),
            to,
            expected,
        };
        let own_source = |path: Path, source| Path { source, ..path };
        let neighbour_is = match policy.hairpin {
            Hairpin::Masquerade => Seen(gateway),
            Hairpin::Bridge if netfilter => Seen(pick(&self.neighbour)),
            Hairpin::Bridge => Dropped,
        };
        // Without a flag on its port, a bridge that netfilter sees does not send a frame back.
        let itself_is = match netfilter && policy.hairpin == Hairpin::Masquerade {
            true => Dropped,
            false => Seen(gateway),
        };
        let or_refused = |outcome| if nat { outcome } else { Refused };
        let over_loopback = if nat && !six { Seen(gateway) } else { Refused };
        let own_address = if nat { Seen(gateway) } else { Seen(pick(host)) };
        let to_loopback = SocketAddr::new(loopback, 8080);
        let transit = SocketAddr::new(pick(&self.elsewhere), 8080);
        let mut paths = vec![
            path("outside client", client, Some("eth0"), lan, Seen(pick(client))),
            own_source(
                path("host, over loopback", host, None, to_loopback, over_loopback),
                loopback,
            ),
            path("host, by its own address", host, None, lan, own_address),
            path("another network", &self.stranger, Some("br0"), lan, or_refused(Dropped)),
            path(
                "the same network",
                &self.neighbour,
                Some("docker0"),
                lan,
                or_refused(neighbour_is),
            ),
            path("the container itself", &self.web, Some("docker0"), lan, or_refused(itself_is)),
            path("outsider to the container", client, Some("eth0"), container(80), Dropped),
            path("outsider to an unpublished port", client, Some("eth0"), container(81), Dropped),
            path("transit to another host", client, Some("eth0"), transit, Seen(pick(client))),
        ];
        if !six {
            let routed = path(
                "outsider with a route to 127.0.0.1",
                &self.attacker,
                Some("eth0"),
                to_loopback,
                Dropped,
            );
            paths.push(routed);
        }
        Ok(paths)
    }

    fn world(
        &self,
        networks: &[Network],
        policy: &Policy,
        netfilter: bool,
    ) -> Result<World, BoxError> {
        let host = self.lab.host();
        let eth0 = "eth0".parse()?;
        let mut world = World::new(networks.to_vec())
            .with_address(eth0, format!("{}/24", host.addr4()).parse()?)
            .with_address(eth0, format!("{}/64", host.addr6()).parse()?)
            .routing_localnet(policy);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let ports = "8080".parse()?;
            let kind = SocketKind::Reserving;
            world = world.with_socket(Socket { protocol, addr: HostAddr::Any, ports, kind });
        }
        world.bridge_netfilter = netfilter;
        world.hairpin_ports = policy.hairpin == Hairpin::Bridge;
        Ok(world)
    }
}

async fn observe(path: &Path, protocol: Protocol) -> Result<Outcome, BoxError> {
    let called = match protocol {
        Protocol::Udp => path.from.ask_udp(path.to).await,
        _ => path.from.get(path.to).await,
    };
    match called {
        Ok(page) => Ok(Outcome::Seen(page.remote_ip)),
        Err(CallError::Refused) => Ok(Outcome::Refused),
        Err(CallError::Dropped(_)) => Ok(Outcome::Dropped),
        Err(other) => Err(other.into()),
    }
}

fn outcome(end: End) -> Outcome {
    match end {
        End::Delivered { seen_from, .. } | End::Passed { seen_from, .. } => {
            Outcome::Seen(seen_from.ip())
        }
        End::Refused => Outcome::Refused,
        End::Dropped(_) | End::Unanswered { .. } => Outcome::Dropped,
    }
}

async fn paths(policy: Policy, netfilter: bool) -> Result<(), BoxError> {
    let scene = Scene::new(netfilter).await?;
    let networks = [network_of(&scene.docker0)?, network_of(&scene.br0)?];
    let request = request(dual(&scene.web), &["8080:80", "8080:80/udp"])?;
    let (own_networks, own_policy) = (networks.clone(), policy.clone());
    let (mapper, attached, lease) = scene
        .lab
        .host()
        .run(async move {
            let mapper = RulesMapper::open_with(own_policy, HostSettings::Managed)?;
            let mut attached = Vec::new();
            for network in own_networks {
                attached.push(mapper.attach(network).await?);
            }
            let lease = mapper.publish(request).await?;
            Ok::<_, portmap::Error>((mapper, attached, lease))
        })
        .await?;
    let rules = compile(&networks, lease.bindings(), &policy)?;
    let world = scene.world(&networks, &policy, netfilter)?;

    let mut wrong = Vec::new();
    for six in [false, true] {
        let paths = scene.paths(six, &policy, netfilter)?;
        let calls = paths.iter().flat_map(|path| [(path, Protocol::Tcp), (path, Protocol::Udp)]);
        let calls: Vec<_> = calls.collect();
        let observed =
            join_all(calls.iter().map(|(path, protocol)| observe(path, *protocol))).await;
        for ((path, protocol), observed) in calls.into_iter().zip(observed) {
            let observed = observed?;
            // Here nobody serves what is left to a proxy; and the socket that holds a UDP port cannot refuse what
            // comes by the container's own bridge.
            let by_bridge = path.arrives_by == Some("docker0") && protocol == Protocol::Udp;
            if policy.loopback == Loopback::Proxy && by_bridge {
                continue;
            }
            let packet = Packet {
                arrives_by: path.arrives_by.map(str::parse).transpose()?,
                protocol: protocol.into(),
                from: SocketAddr::new(path.source, 40_000),
                to: path.to,
            };
            let traced = trace(&rules, &world, packet);
            let predicted = outcome(traced.end);
            if observed != path.expected || predicted != path.expected {
                wrong.push(format!(
                    "{} to {}/{protocol}: expected {}, observed {observed}, predicted {predicted} ({})",
                    path.name, path.to, path.expected, traced.end,
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    lease.release().await?;
    drop((mapper, attached));
    Ok(())
}
