//! A lab with two networks that a mapper of kernel rules knows, and tests that run with both rule languages.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
};

use portmap::{
    BoxError, Lease, PortMapper, Publish, RulesMapper,
    rules::{HostSettings, Layout, Network, NetworkLease, Policy},
};
use portmap_testkit::{Bridge, CallError, Container, Lab, Need, Suite, Webapp};

use crate::support::{dual, network_of, request};

pub(crate) type Body = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// Adds each test once for each rule language.
pub(crate) fn for_each_layout(
    suite: &mut Suite,
    add: impl Fn(&mut dyn FnMut(&str, fn(Policy) -> Body)),
) {
    for layout in [Layout::Nftables, Layout::Iptables] {
        let needs = match layout {
            Layout::Nftables => vec![Need::Netns, Need::Tool("nft")],
            Layout::Iptables => vec![Need::Netns, Need::Tool("iptables"), Need::Tool("nft")],
        };
        add(&mut |name, body| {
            let policy = Policy { layout, ..Policy::default() };
            suite.test(&format!("{name}_{layout}"), &needs, async move || body(policy).await);
        });
    }
}

/// A host with two networks that a mapper knows, and a webapp in each.
pub(crate) struct Nat {
    pub(crate) lab: Lab,
    pub(crate) docker0: Bridge,
    pub(crate) br0: Bridge,
    pub(crate) web: Container,
    pub(crate) other: Container,
    pub(crate) layout: Layout,
    pub(crate) mapper: RulesMapper,
    pub(crate) attached: Vec<NetworkLease>,
    pub(crate) webapps: Vec<Webapp>,
}

impl Nat {
    pub(crate) async fn new(policy: Policy) -> Result<Self, BoxError> {
        let lab = Lab::new().await?;
        let (docker0, br0) = (lab.docker0().await?, lab.br0().await?);
        let (web, other) = (docker0.container("web").await?, br0.container("other").await?);
        let webapps = vec![Webapp::start(&web, 80).await?, Webapp::start(&other, 80).await?];
        let networks = [network_of(&docker0)?, network_of(&br0)?];
        let layout = policy.layout;
        let (mapper, attached) = lab.host().run(open(policy, networks.to_vec())).await?;
        Ok(Self { lab, docker0, br0, web, other, layout, mapper, attached, webapps })
    }

    pub(crate) async fn publish(&self, to: &Container, specs: &[&str]) -> Result<Lease, BoxError> {
        Ok(self.try_publish(request(dual(to), specs)?).await?)
    }

    pub(crate) async fn try_publish(&self, request: Publish) -> Result<Lease, portmap::Error> {
        let mapper = self.mapper.clone();
        self.lab.host().run(async move { mapper.publish(request).await }).await
    }

    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        (self.lab.host().addr4(), port).into()
    }

    /// Who answers an outside client; `None` where it is refused.
    pub(crate) async fn who(&self, port: u16) -> Result<Option<String>, BoxError> {
        match self.lab.client().get(self.at(port)).await {
            Ok(page) => {
                assert_eq!(page.remote_ip, IpAddr::from(self.lab.client().addr4()));
                Ok(Some(page.hostname))
            }
            Err(CallError::Refused) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// All rules that are in force, whoever's they are, and all chains but the built-in ones, which the tools make when
    /// they are first asked for them, and leave.
    pub(crate) async fn rules(&self) -> Result<String, BoxError> {
        let commands: &[&[&str]] = match self.layout {
            Layout::Nftables => &[&["nft", "-s", "list", "ruleset"]],
            Layout::Iptables => &[&["iptables-save"], &["ip6tables-save"]],
        };
        let mut rules = Vec::new();
        for command in commands {
            let listed = self.lab.host().exec(command[0], command[1..].iter().copied()).await?;
            assert!(listed.status.success(), "{}", listed.stderr);
            let keep = |line: &&str| {
                let built_in = line.starts_with(':') && !line.contains("PORTMAP");
                self.layout == Layout::Nftables || !(built_in || line.starts_with(['#', '*', 'C']))
            };
            rules.extend(listed.stdout.lines().filter(keep).map(str::to_owned));
        }
        Ok(rules.join("\n"))
    }
}

async fn open(
    policy: Policy,
    networks: Vec<Network>,
) -> Result<(RulesMapper, Vec<NetworkLease>), portmap::Error> {
    let mapper = RulesMapper::open_with(policy, HostSettings::Managed)?;
    let mut attached = Vec::new();
    for network in networks {
        attached.push(mapper.attach(network).await?);
    }
    Ok((mapper, attached))
}

impl Nat {
    pub(crate) async fn publish_v4(&self, to: Ipv4Addr, spec: &str) -> Result<Lease, BoxError> {
        Ok(self.try_publish(request(to.into(), &[spec])?).await?)
    }
}
