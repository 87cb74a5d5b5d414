//! Programs in real containers that call published ports: what a person does with `docker exec`.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use portmap::{
    BoxError, PortMapper, ProxyMapper,
    rules::{Layout, Loopback, Policy},
};
use portmap_testkit::{CallError, Container, Docker, Site, Suite};

use crate::{
    NEEDS,
    attached::{Attached, hybrid},
    support::{dual, request},
};

pub(crate) fn tests(suite: &mut Suite) {
    suite.test("programs_in_containers_reach_a_port_of_the_proxy", &NEEDS, async || {
        let site = site().await?;
        call(&site, ProxyMapper::new(), true).await
    });
    for layout in [Layout::Nftables, Layout::Iptables] {
        let rules = format!("programs_in_containers_reach_a_port_of_{layout}_but_from_elsewhere");
        suite.test(&rules, &NEEDS, async move || {
            let (site, policy) = (site().await?, Policy { layout, ..Policy::default() });
            let mapper = site.host().run(Attached::open(Arc::clone(&site), policy)).await?;
            call(&site, mapper, false).await
        });
        let both = format!("programs_in_containers_reach_a_port_of_{layout}_and_a_proxy");
        suite.test(&both, &NEEDS, async move || {
            let policy = Policy { layout, loopback: Loopback::Proxy, ..Policy::default() };
            let site = site().await?;
            let mapper = site.host().run(hybrid(Arc::clone(&site), policy)).await?;
            call(&site, mapper, true).await
        });
    }
}

async fn site() -> Result<Arc<Site>, BoxError> {
    Ok(Arc::new(Site::of_docker(&Docker::open().await?).await?))
}

/// Whom the webapp takes each caller for: its own bridge's address. Networks are kept apart where no proxy joins them.
async fn call(site: &Site, mapper: impl PortMapper, joins: bool) -> Result<(), BoxError> {
    let wanted = request(dual(site.web()), &["8080:80"])?;
    let publish = async move { mapper.publish(wanted).await.map(|lease| (mapper, lease)) };
    let (mapper, lease) = site.host().run(publish).await?;
    let [docker0, _] = site.networks();
    let gateway6 = docker0.gateway6().ok_or("the bridge has no IPv6")?;
    let ways = [
        (IpAddr::from(site.host().addr4()), IpAddr::from(docker0.gateway4())),
        (site.host().addr6().into(), gateway6.into()),
    ];
    for (host, gateway) in ways {
        let to = SocketAddr::new(host, 8080);
        for (container, is_served) in
            [(site.web(), true), (site.neighbour(), true), (site.other(), joins)]
        {
            let wanted = is_served.then_some(gateway);
            let name = container.name();
            assert_eq!(wget(container, to).await?, wanted, "wget in {name} to {to}");
            assert_eq!(telnet(container, to).await?, wanted, "telnet in {name} to {to}");
        }
    }
    site.host().run(lease.release()).await?;
    site.host().run(async move { drop(mapper) }).await;
    let lan = (site.host().addr4(), 8080).into();
    assert!(matches!(site.client().get(lan).await, Err(CallError::Refused)));
    Ok(())
}

async fn wget(container: &Container, to: SocketAddr) -> Result<Option<IpAddr>, BoxError> {
    shell(container, &format!("timeout 1 wget -qO- http://{to}/")).await
}

async fn telnet(container: &Container, to: SocketAddr) -> Result<Option<IpAddr>, BoxError> {
    // The end of what is typed is the end of telnet.
    let (ip, port) = (to.ip(), to.port());
    let typed = "printf 'GET /\\r\\n\\r\\n'; sleep 0.3";
    shell(container, &format!("({typed}) | timeout 1 telnet {ip} {port}")).await
}

/// The address in the page that came, if one did.
async fn shell(container: &Container, line: &str) -> Result<Option<IpAddr>, BoxError> {
    let real = container.real().ok_or("it is no real container")?;
    let output = real.exec(["sh", "-c", line]).await?;
    let seen = output.stdout.lines().find_map(|line| line.strip_prefix("Remote IP: "));
    Ok(seen.map(|addr| addr.trim().parse()).transpose()?)
}
