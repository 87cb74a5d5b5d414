//! Addresses of the host by which the proxy is reached, beside those of the matrix.

use std::net::{IpAddr, SocketAddr};

use portmap::BoxError;
use portmap_testkit::{Lab, Need, Suite, Webapp};

use crate::support::{dual, publish};

pub(crate) fn tests(suite: &mut Suite) {
    suite.test("every_address_of_the_host_leads_to_the_proxy", &[Need::Netns], addresses);
    suite.test("a_container_of_one_family_is_reached_in_both", &[Need::Netns], translated);
    suite.test("only_an_address_of_the_host_leads_back_to_it", &[Need::Netns], nonlocal_bind);
}

async fn addresses() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let _webapp = Webapp::start(&web, 80).await?;
    let host = lab.host();
    let lease = publish(host, dual(&web), &["8080:80", "8080:80/udp"]).await?;
    let gateway4 = IpAddr::from(docker0.gateway4());
    let gateway6 = IpAddr::from(docker0.gateway6().ok_or("docker0 has no IPv6")?);
    let own = ["127.0.0.2".parse()?, "::ffff:127.0.0.1".parse()?, gateway4, gateway6];
    for addr in own.map(|addr| SocketAddr::new(addr, 8080)) {
        let gateway = if addr.ip().to_canonical().is_ipv4() { gateway4 } else { gateway6 };
        for page in [host.get(addr).await, host.ask_udp(addr).await] {
            let page = page.map_err(|error| format!("the host to {addr}: {error}"))?;
            assert_eq!(page.remote_ip, gateway, "the host to {addr}");
        }
    }
    lease.release().await?;
    Ok(())
}

async fn translated() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let _webapp = Webapp::start(&web, 80).await?;
    let host = lab.host();
    let lease = publish(host, web.addr4().into(), &["8080:80", "8080:80/udp"]).await?;
    let gateway = IpAddr::from(docker0.gateway4());
    let outside = SocketAddr::from((host.addr6(), 8080));
    let loopback = "[::1]:8080".parse()?;
    assert_eq!(lab.client().get(outside).await?.remote_ip, gateway);
    assert_eq!(lab.client().ask_udp(outside).await?.remote_ip, gateway);
    assert_eq!(host.get(loopback).await?.remote_ip, gateway);
    assert_eq!(host.ask_udp(loopback).await?.remote_ip, gateway);
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
