//! A host with a second uplink that routes by source: answers go the way the call came.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use portmap::{
    BoxError, PortMapper, RulesMapper,
    rules::{Answers, HostSettings, Policy},
};
use portmap_testkit::{Bridge, Container, Lab, Node, Suite, Webapp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    time::timeout,
};

use crate::{
    nat::for_each_layout,
    support::{dual, network_of, request},
};

pub(crate) fn tests(suite: &mut Suite) {
    for_each_layout(suite, |test| {
        test("answers_leave_by_the_uplink_that_the_call_came_by", |policy| {
            Box::pin(answered(policy))
        });
        test("answers_leave_by_the_containers_address_where_the_policy_says_so", |policy| {
            Box::pin(by_container(policy))
        });
    });
}

/// For how long an answer is waited for that should come, and for one that should not.
const LIMIT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(900);

/// A host with its LAN and, as a second uplink, a bridge that no mapper knows. Behind that one's router is a far client.
struct TwoUplinks {
    lab: Lab,
    docker0: Bridge,
    second: Bridge,
    web: Container,
    router: Container,
    _webapp: Webapp,
}

/// The far client's addresses.
const FAR: [&str; 2] = ["100.64.0.9", "2001:db8:64::9"];

impl TwoUplinks {
    async fn new() -> Result<Self, BoxError> {
        let lab = Lab::new().await?;
        let (docker0, second) = (lab.docker0().await?, lab.br0().await?);
        let (web, router) = (docker0.container("web").await?, second.container("router").await?);
        let webapp = Webapp::start(&web, 80).await?;
        let (host, client) = (lab.host(), lab.client());
        let gateway6 = second.gateway6().ok_or("the bridge has no IPv6")?;
        let ends: [(&str, IpAddr, IpAddr, IpAddr); 2] = [
            ("-4", client.addr4().into(), second.gateway4().into(), router.addr4().into()),
            ("-6", client.addr6().into(), gateway6.into(), router.addr6().into()),
        ];
        for (number, (family, first, own, router4)) in ends.into_iter().enumerate() {
            let len = if own.is_ipv4() { 32 } else { 128 };
            ip(&router, &format!("{family} addr add {}/{len} dev lo", FAR[number])).await?;
            ip(host, &format!("{family} route add default via {first}")).await?;
            ip(host, &format!("{family} rule add from {own} table 200 pref 1000")).await?;
            ip(host, &format!("{family} route add default via {router4} table 200")).await?;
        }
        Ok(Self { lab, docker0, second, web, router, _webapp: webapp })
    }

    /// Calls each of the second uplink's addresses from the far client: who the container saw.
    async fn call(&self, limit: Duration) -> Result<[Option<String>; 2], BoxError> {
        let gateway6 = self.second.gateway6().ok_or("the bridge has no IPv6")?;
        let mut seen = [None, None];
        let hosts: [IpAddr; 2] = [self.second.gateway4().into(), gateway6.into()];
        for ((seen, far), host) in seen.iter_mut().zip(FAR).zip(hosts) {
            let (from, to) = (SocketAddr::new(far.parse()?, 0), SocketAddr::new(host, 8080));
            let page = self.router.run(timeout(limit, page(from, to))).await;
            *seen = match page {
                Ok(page) => {
                    let page = page?;
                    let line = page.lines().find_map(|line| line.split("Remote IP: ").nth(1));
                    line.map(|addr| addr.trim().to_owned())
                }
                Err(_) => None,
            };
        }
        Ok(seen)
    }
}

async fn page(from: SocketAddr, to: SocketAddr) -> std::io::Result<String> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(from)?;
    let mut stream = socket.connect(to).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}

async fn ip(node: &Node, arguments: &str) -> Result<String, BoxError> {
    let done = node.exec("ip", arguments.split(' ')).await?;
    match done.status.success() {
        true => Ok(done.stdout),
        false => Err(format!("ip {arguments}: {}", done.stderr).into()),
    }
}

async fn rules(host: &Node) -> Result<String, BoxError> {
    Ok(ip(host, "-4 rule show").await? + &ip(host, "-6 rule show").await?)
}

async fn answered(policy: Policy) -> Result<(), BoxError> {
    let uplinks = TwoUplinks::new().await?;
    let host = uplinks.lab.host();
    let before = rules(host).await?;
    let (network, request) =
        (network_of(&uplinks.docker0)?, request(dual(&uplinks.web), &["8080:80"])?);
    let (mapper, attached, lease) = host
        .run(async move {
            let mapper = RulesMapper::open_with(policy, HostSettings::Managed)?;
            let attached = mapper.attach(network).await?;
            let lease = mapper.publish(request).await?;
            Ok::<_, portmap::Error>((mapper, attached, lease))
        })
        .await?;
    assert_eq!(uplinks.call(LIMIT).await?, FAR.map(|far| Some(far.to_owned())));
    // What comes by the first uplink leaves by that one, and what the container sends by itself too.
    for to in [IpAddr::from(host.addr4()), host.addr6().into()] {
        uplinks.lab.client().get((to, 8080).into()).await?;
    }
    assert_eq!(rules(host).await?.matches("fwmark").count(), 2);
    lease.release().await?;
    attached.detach().await?;
    assert_eq!(rules(host).await?, before);
    mapper.close().await;
    Ok(())
}

async fn by_container(policy: Policy) -> Result<(), BoxError> {
    let uplinks = TwoUplinks::new().await?;
    let host = uplinks.lab.host();
    let before = rules(host).await?;
    let policy = Policy { answers: Answers::ByContainer, ..policy };
    let (network, request) =
        (network_of(&uplinks.docker0)?, request(dual(&uplinks.web), &["8080:80"])?);
    let (_mapper, _attached, lease) = host
        .run(async move {
            let mapper = RulesMapper::open_with(policy, HostSettings::Managed)?;
            let attached = mapper.attach(network).await?;
            let lease = mapper.publish(request).await?;
            Ok::<_, portmap::Error>((mapper, attached, lease))
        })
        .await?;
    assert_eq!(rules(host).await?, before);
    assert_eq!(uplinks.call(SILENCE).await?, [None, None]);
    lease.release().await?;
    Ok(())
}
