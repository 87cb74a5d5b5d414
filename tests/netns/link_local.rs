//! Host ports of a link-local address, which is one of its link alone.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use nix::net::if_::if_nametoindex;
use portmap::{
    BoxError, ErrorKind, HybridMapper, PortMapper, ProxyMapper,
    rules::{Loopback, Policy},
};
use portmap_testkit::{Lab, Need, Node, Suite, Webapp};

use crate::{
    nat::{Nat, for_each_layout},
    process::start,
    support::{dual, request, tool},
};

const OWN: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);

pub(crate) fn tests(suite: &mut Suite) {
    let netns = [Need::Netns];
    suite.test("a_link_local_address_is_served_on_its_link", &netns, served);
    suite.test("publish_shows_a_link_local_address_with_its_link", &netns, shown);
    for_each_layout(suite, |test| {
        test("a_link_local_address_is_left_to_the_proxy", |policy| Box::pin(left(policy)));
    });
}

/// The address as a node has to write it, by the number that `eth0` has there.
async fn on_eth0(node: &Node, port: u16) -> Result<SocketAddr, BoxError> {
    let index = node.run(async { if_nametoindex("eth0") }).await?;
    Ok(SocketAddrV6::new(OWN, port, 0, index).into())
}

async fn served() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let _webapp = Webapp::start(&web, 80).await?;
    let (host, client) = (lab.host(), lab.client());
    host.add_address("eth0", format!("{OWN}/64").parse()?).await?;
    let specs = ["[fe80::77%eth0]:8080:80", "[fe80::77%eth0]:8080:80/udp"];
    let publish = async |specs: &[&str]| {
        let (mapper, request) = (ProxyMapper::new(), request(dual(&web), specs)?);
        let lease = host.run(async move { mapper.publish(request).await }).await?;
        Ok::<_, BoxError>(lease)
    };
    let lease = publish(&specs).await?;
    assert_eq!(lease.bindings()[0].host_addr().to_string(), "[fe80::77%eth0]");
    let to = on_eth0(client, 8080).await?;
    assert_eq!(client.get(to).await?.remote_ip, IpAddr::from(web.gateway6().ok_or("no IPv6")?));
    client.ask_udp(to).await?;

    // It is found by whoever wants it too, also by its number.
    for spec in [specs[0], &format!("[fe80::77%{}]:8080:80", index(host).await?)[..], "8080:80"] {
        let error = publish(&[spec]).await.expect_err(spec);
        let kind = error.downcast_ref::<portmap::Error>().map(portmap::Error::kind);
        assert_eq!(kind, Some(ErrorKind::AddrInUse), "{error}");
    }
    lease.release().await?;
    assert!(client.get(to).await.is_err());
    Ok(())
}

async fn index(node: &Node) -> Result<u32, BoxError> {
    Ok(node.run(async { if_nametoindex("eth0") }).await?)
}

async fn shown() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    host.add_address("eth0", format!("{OWN}/64").parse()?).await?;
    let tool = tool()?;
    let path = tool.to_string_lossy();
    for dry in [&["--dry-run"][..], &[]] {
        let args = [&["[fe80::77]:8080:80", "--to", "127.0.0.1"][..], dry].concat();
        let answer = host.exec(&path, args).await?;
        let said = answer.stderr;
        assert!(!answer.status.success(), "{said}");
        assert!(said.contains("fe80::77 does not say on which link it is"), "{said}");
    }
    let spec = ["[fe80::77%eth0]:8080:80", "--to", "127.0.0.1"];
    let shown = host.exec(&path, [&spec[..], &["--dry-run"]].concat()).await?;
    let shown = shown.stdout;
    assert!(shown.contains("[fe80::77%eth0]:8080"), "{shown}");
    let held = start(host, &spec).await?;
    let who = host.exec(&path, ["who", "[fe80::77%eth0]:8080/tcp"]).await?;
    let who = who.stdout;
    assert!(who.contains("publish") && who.contains("[fe80::77]:8080"), "{who}");
    drop(held);

    let mut told = host.command(&path, [&spec[..], &["--json"]].concat()).await?;
    told.read_until("\"[fe80::77%eth0]\"").await?;
    Ok(())
}

/// By rules alone it is refused, before anything is made; by both, the proxy has it.
async fn left(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(Policy { loopback: Loopback::Proxy, ..policy.clone() }).await?;
    let (host, client) = (nat.lab.host(), nat.lab.client());
    host.add_address("eth0", format!("{OWN}/64").parse()?).await?;
    let mapper = HybridMapper::new(ProxyMapper::new(), nat.mapper.clone());
    let asked = request(dual(&nat.web), &["8080:80", "[fe80::77%eth0]:8081:80"])?;
    let lease = host.run(async move { mapper.publish(asked).await }).await?;
    assert_eq!(client.get((host.addr6(), 8080).into()).await?.remote_ip, client.addr6());
    let page = client.get(on_eth0(client, 8081).await?).await?;
    assert_eq!(Some(page.remote_ip), nat.web.gateway6().map(IpAddr::from));
    lease.release().await?;

    drop(nat);
    let nat = Nat::new(Policy { loopback: Loopback::Nat, ..policy }).await?;
    let before = nat.rules().await?;
    nat.lab.host().add_address("eth0", format!("{OWN}/64").parse()?).await?;
    let (mapper, asked) =
        (nat.mapper.clone(), request(dual(&nat.web), &["[fe80::77%eth0]:8081:80"])?);
    let refused = nat.lab.host().run(async move { mapper.publish(asked).await }).await;
    assert_eq!(refused.map(drop).map_err(|error| error.kind()), Err(ErrorKind::Unsupported));
    assert_eq!(nat.rules().await?, before);
    Ok(())
}
