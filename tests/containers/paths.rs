//! Every way to reach a published port of a real container, and whom its webapp takes the caller for.

use std::net::{IpAddr, SocketAddr};

use portmap::{
    BoxError, BoxPortMapper, PortMapper, ProxyMapper,
    rules::{Layout, Loopback, Policy},
};
use portmap_testkit::{Bridge, CallError, Container, Docker, Lab, Need, Node, Page, Suite};

use crate::{
    mappers::Attached,
    support::{dual, network_of, request},
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Proxy,
    Rules(Layout),
    Hybrid(Layout),
}

pub(crate) fn tests(suite: &mut Suite) {
    let needs = [Need::Netns, Need::Root, Need::Busybox, Need::Docker, Need::Tool("iptables")];
    let (nftables, iptables) = (Layout::Nftables, Layout::Iptables);
    for (name, kind) in [
        ("a_real_container_is_reached_through_the_proxy", Kind::Proxy),
        ("a_real_container_is_reached_by_nftables", Kind::Rules(nftables)),
        ("a_real_container_is_reached_by_iptables", Kind::Rules(iptables)),
        ("a_real_container_is_reached_by_nftables_beside_a_proxy", Kind::Hybrid(nftables)),
        ("a_real_container_is_reached_by_iptables_beside_a_proxy", Kind::Hybrid(iptables)),
    ] {
        suite.test(name, &needs, async move || paths(kind).await);
    }
}

/// What becomes of a call: whom the container takes the caller for, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Seen(IpAddr),
    Refused,
    Dropped,
}

/// A lab whose containers are Docker's. The fields are dropped in their order.
struct Scene {
    web: Container,
    neighbour: Container,
    stranger: Container,
    docker0: Bridge,
    br0: Bridge,
    lab: Lab,
}

impl Scene {
    async fn new() -> Result<Self, BoxError> {
        let (lab, docker) = (Lab::new().await?, Docker::open().await?);
        let (docker0, br0) = (lab.docker0().await?, lab.br0().await?);
        for family in ["ip", "ip6"] {
            let setting = format!("net/bridge/bridge-nf-call-{family}tables");
            if lab.host().read_sysctl(&setting).await.is_ok() {
                lab.host().sysctl(&setting, "0").await?;
            }
        }
        Ok(Self {
            web: docker.webapp(&docker0, "web", 80).await?,
            neighbour: docker.busybox(&docker0, "neighbour").await?,
            stranger: docker.busybox(&br0, "stranger").await?,
            docker0,
            br0,
            lab,
        })
    }

    async fn mapper(&self, kind: Kind) -> Result<BoxPortMapper, BoxError> {
        let networks = vec![network_of(&self.docker0)?, network_of(&self.br0)?];
        let make = async move {
            let policy = |layout, loopback| Policy { layout, loopback, ..Policy::default() };
            Ok(match kind {
                Kind::Proxy => ProxyMapper::new().into_boxed(),
                Kind::Rules(layout) => {
                    Attached::open(policy(layout, Loopback::Nat), networks).await?.into_boxed()
                }
                Kind::Hybrid(layout) => {
                    let rules = Attached::open(policy(layout, Loopback::Proxy), networks).await?;
                    rules.beside_proxy()
                }
            })
        };
        self.lab.host().run(make).await
    }

    /// Who calls, where, and what should become of it.
    fn calls(&self, six: bool, kind: Kind) -> Result<Vec<(&Node, SocketAddr, Outcome)>, BoxError> {
        let pick =
            |node: &Node| -> IpAddr { if six { node.addr6().into() } else { node.addr4().into() } };
        let (host, client) = (self.lab.host(), self.lab.client());
        let gateway: IpAddr = match six {
            true => self.docker0.gateway6().ok_or("the bridge has no IPv6")?.into(),
            false => self.docker0.gateway4().into(),
        };
        let lan = SocketAddr::new(pick(host), 8080);
        let loopback = if six { "[::1]:8080" } else { "127.0.0.1:8080" }.parse()?;
        let (by_gateway, itself) = (Outcome::Seen(gateway), Outcome::Seen(pick(client)));
        // Packets that NAT alone cannot serve: there is no route_localnet in IPv6, and networks are kept apart.
        let (over_loopback, from_stranger, own_address) = match kind {
            Kind::Rules(_) if six => (Outcome::Refused, Outcome::Dropped, by_gateway),
            Kind::Rules(_) => (by_gateway, Outcome::Dropped, by_gateway),
            Kind::Hybrid(_) => (by_gateway, by_gateway, Outcome::Seen(pick(host))),
            Kind::Proxy => (by_gateway, by_gateway, by_gateway),
        };
        let from_outside = if kind == Kind::Proxy { by_gateway } else { itself };
        Ok(vec![
            (client, lan, from_outside),
            (host, loopback, over_loopback),
            (host, lan, own_address),
            (&*self.stranger, lan, from_stranger),
            (&*self.neighbour, lan, by_gateway),
            (&*self.web, lan, by_gateway),
        ])
    }
}

async fn paths(kind: Kind) -> Result<(), BoxError> {
    let scene = Scene::new().await?;
    let mapper = scene.mapper(kind).await?;
    let wanted = request(dual(&scene.web), &["8080:80", "8080:80/udp"])?;
    let publish = async move { mapper.publish(wanted).await.map(|lease| (mapper, lease)) };
    let (mapper, lease) = scene.lab.host().run(publish).await?;
    let mut wrong = Vec::new();
    for six in [false, true] {
        for (caller, to, expected) in scene.calls(six, kind)? {
            let got = [outcome(caller.get(to).await)?, outcome(caller.ask_udp(to).await)?];
            if got != [expected; 2] {
                let name = caller.name();
                wrong
                    .push(format!("{name} to {to}: expected {expected:?}, not {got:?} (TCP, UDP)"));
            }
        }
        for container in [&scene.stranger, &scene.neighbour, &scene.web] {
            let calls = scene.calls(six, kind)?;
            let call = calls.iter().find(|(caller, ..)| caller.name() == container.name());
            let Some((_, to, expected)) = call else { continue };
            for (tool, got) in
                [("wget", wget(container, *to).await?), ("telnet", telnet(container, *to).await?)]
            {
                let wanted = match expected {
                    Outcome::Seen(addr) => Some(*addr),
                    Outcome::Refused | Outcome::Dropped => None,
                };
                if got != wanted {
                    let name = container.name();
                    wrong.push(format!("{tool} in {name} to {to}: {expected:?}, not {got:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    scene.lab.host().run(lease.release()).await?;
    scene.lab.host().run(async move { drop(mapper) }).await;
    let lan = (scene.lab.host().addr4(), 8080).into();
    assert!(matches!(scene.lab.client().get(lan).await, Err(CallError::Refused)));
    Ok(())
}

fn outcome(called: Result<Page, CallError>) -> Result<Outcome, BoxError> {
    match called {
        Ok(page) if page.hostname == "web" => Ok(Outcome::Seen(page.remote_ip)),
        Ok(page) => Err(format!("{} answered", page.hostname).into()),
        Err(CallError::Refused) => Ok(Outcome::Refused),
        Err(CallError::Dropped(_)) => Ok(Outcome::Dropped),
        Err(other) => Err(other.into()),
    }
}

/// A call from within, as by `docker exec`: whom the webapp takes the container for, or nothing.
async fn wget(container: &Container, to: SocketAddr) -> Result<Option<IpAddr>, BoxError> {
    shell(container, &format!("timeout 1 wget -qO- http://{to}/")).await
}

async fn telnet(container: &Container, to: SocketAddr) -> Result<Option<IpAddr>, BoxError> {
    // The end of what is typed is the end of telnet.
    let (ip, port) = (to.ip(), to.port());
    let typed = "printf 'GET /\\r\\n\\r\\n'; sleep 0.3";
    shell(container, &format!("({typed}) | timeout 1 telnet {ip} {port}")).await
}

async fn shell(container: &Container, line: &str) -> Result<Option<IpAddr>, BoxError> {
    let real = container.real().ok_or("it is no real container")?;
    let output = real.exec(["sh", "-c", line]).await?;
    let seen = output.stdout.lines().find_map(|line| line.strip_prefix("Remote IP: "));
    Ok(seen.map(|addr| addr.trim().parse()).transpose()?)
}
