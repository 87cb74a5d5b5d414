//! Who the container thinks is calling, for every way to reach a port that the proxy serves.

use std::net::{IpAddr, SocketAddr};

use portmap::BoxError;
use portmap_testkit::{CallError, Lab, Need, Node, Suite, Webapp};

use crate::support::{dual, publish};

pub(crate) fn tests(suite: &mut Suite) {
    suite.test("every_client_of_the_proxy_is_seen_as_the_gateway", &[Need::Netns], gateway);
    suite.test("only_an_address_of_the_host_leads_back_to_it", &[Need::Netns], nonlocal_bind);
    suite.test("two_containers_share_a_port_on_two_addresses", &[Need::Netns], two_addresses);
    suite.test("a_released_port_refuses", &[Need::Netns], released);
    suite.test("dropping_a_lease_leaves_no_listener", &[Need::Netns], dropped);
}

async fn gateway() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let (docker0, br0) = (lab.docker0().await?, lab.br0().await?);
    let web = docker0.container("web").await?;
    let _webapp = Webapp::start(&web, 80).await?;
    let neighbour = docker0.container("neighbour").await?;
    let stranger = br0.container("stranger").await?;
    let host = lab.host();
    let lease = publish(host, dual(&web), &["8080:80"]).await?;

    let gateway4 = IpAddr::from(docker0.gateway4());
    let gateway6 = IpAddr::from(docker0.gateway6().ok_or("docker0 has no IPv6")?);
    let (lan4, lan6): (IpAddr, IpAddr) = (host.addr4().into(), host.addr6().into());
    let clients: [(&str, &Node); 4] = [
        ("outside", lab.client()),
        ("another network", &stranger),
        ("the same network", &neighbour),
        ("itself", &web),
    ];
    for (path, client) in clients {
        for (host_addr, gateway) in [(lan4, gateway4), (lan6, gateway6)] {
            let page = client.get(SocketAddr::new(host_addr, 8080)).await;
            let page = page.map_err(|error| format!("{path} to {host_addr}: {error}"))?;
            assert_eq!((page.remote_ip, page.hostname.as_str()), (gateway, "web"), "{path}");
        }
    }
    let from_the_host = ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"]
        .map(|addr| addr.parse::<IpAddr>())
        .into_iter()
        .chain([Ok(lan4), Ok(lan6), Ok(gateway4), Ok(gateway6)]);
    for addr in from_the_host {
        let addr = addr?;
        let page = host.get(SocketAddr::new(addr, 8080)).await;
        let page = page.map_err(|error| format!("the host to {addr}: {error}"))?;
        let gateway = if addr.to_canonical().is_ipv4() { gateway4 } else { gateway6 };
        assert_eq!(page.remote_ip, gateway, "the host to {addr}");
    }
    lease.release().await?;
    Ok(())
}

async fn nonlocal_bind() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let _webapp = Webapp::start(&web, 8080).await?;
    host.sysctl("net/ipv4/ip_nonlocal_bind", "1").await?;
    host.sysctl("net/ipv6/ip_nonlocal_bind", "1").await?;
    let lease = publish(host, dual(&web), &["8080:8080"]).await?;
    lab.client().get((host.addr4(), 8080).into()).await?;
    lease.release().await?;
    let own = publish(host, host.addr4().into(), &["8080:8080"]).await;
    assert!(own.is_err_and(|error| error.to_string().contains("leads back to this host")));
    Ok(())
}

async fn two_addresses() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let (one, two) = (docker0.container("one").await?, docker0.container("two").await?);
    let _webapps = [Webapp::start(&one, 80).await?, Webapp::start(&two, 80).await?];
    let host = lab.host();
    let first = publish(host, dual(&one), &["127.0.1.2:8080:80"]).await?;
    let _second = publish(host, dual(&two), &["127.0.1.3:8080:80"]).await?;
    assert_eq!(host.get("127.0.1.2:8080".parse()?).await?.hostname, "one");
    assert_eq!(host.get("127.0.1.3:8080".parse()?).await?.hostname, "two");

    first.release().await?;
    assert!(matches!(host.get("127.0.1.2:8080".parse()?).await, Err(CallError::Refused)));
    assert_eq!(host.get("127.0.1.3:8080".parse()?).await?.hostname, "two");
    Ok(())
}

async fn released() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let _webapp = Webapp::start(&web, 80).await?;
    let lease = publish(lab.host(), dual(&web), &["8080:80"]).await?;
    let addr = SocketAddr::from((lab.host().addr4(), 8080));
    lab.client().get(addr).await?;
    lease.release().await?;
    assert!(matches!(lab.client().get(addr).await, Err(CallError::Refused)));
    Ok(())
}

async fn dropped() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let host = lab.host();
    drop(publish(host, dual(&web), &["8080:80", "9000-9099:9000-9099"]).await?);
    for _ in 0..200 {
        let table =
            host.run(async { std::fs::read_to_string("/proc/thread-self/net/tcp6") }).await?;
        if !table.contains(" 0A ") {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Err("a listener is left after 2 s".into())
}
