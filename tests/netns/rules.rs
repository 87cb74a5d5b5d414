//! Publishing by NAT in the kernel.

use std::net::{IpAddr, SocketAddr};

use portmap::{BoxError, PortMapper, RulesMapper, rules::Policy};
use portmap_testkit::{CallError, Lab, Need, Suite, Webapp};

use crate::support::{dual, network_of, request};

pub(crate) fn tests(suite: &mut Suite) {
    suite.test("an_outside_client_is_seen_as_itself", &[Need::Netns], outside);
}

async fn outside() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let _webapp = Webapp::start(&web, 80).await?;
    let host = lab.host();
    host.sysctl("net/ipv4/ip_forward", "1").await?;
    host.sysctl("net/ipv6/conf/all/forwarding", "1").await?;
    let network = network_of(&docker0)?;
    let request = request(dual(&web), &["8080:80", "8080:80/udp"])?;
    let (mapper, attached, lease) = host
        .run(async move {
            let mapper = RulesMapper::open(Policy::default())?;
            let attached = mapper.attach(network).await?;
            let lease = mapper.publish(request).await?;
            Ok::<_, portmap::Error>((mapper, attached, lease))
        })
        .await?;
    for (host_addr, client) in [
        (IpAddr::from(host.addr4()), IpAddr::from(lab.client().addr4())),
        (host.addr6().into(), lab.client().addr6().into()),
    ] {
        let to = SocketAddr::new(host_addr, 8080);
        assert_eq!(lab.client().get(to).await?.remote_ip, client);
        assert_eq!(lab.client().ask_udp(to).await?.remote_ip, client);
    }
    lease.release().await?;
    let gone = lab.client().get((host.addr4(), 8080).into()).await;
    assert!(matches!(gone, Err(CallError::Refused)), "{gone:?}");
    drop((mapper, attached));
    Ok(())
}
