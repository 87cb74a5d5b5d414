//! Both ways at once, where one of them cannot do all of it.

use portmap::{
    BoxError, HybridMapper, Lease, PortMapper, Protocol, ProxyMapper, Publish,
    rules::{Loopback, Policy},
};
use portmap_testkit::Suite;
use std::net::IpAddr;

use crate::{
    nat::{Nat, for_each_layout},
    support::{dual, request},
};

pub(crate) fn tests(suite: &mut Suite) {
    for_each_layout(suite, |test| {
        test("both_serve_an_ipv6_client_of_an_ipv4_container", |policy| {
            Box::pin(translated(policy))
        });
        test("both_leave_to_one_what_the_other_does_not_support", |policy| {
            Box::pin(left_to_one(policy))
        });
    });
}

async fn publish(nat: &Nat, request: Publish) -> Result<Lease, BoxError> {
    let mapper = HybridMapper::new(ProxyMapper::new(), nat.mapper.clone());
    Ok(nat.lab.host().run(async move { mapper.publish(request).await }).await?)
}

/// IPv4 clients go by NAT; IPv6 ones, for whom NAT has no address to lead to, by the proxy.
async fn translated(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(Policy { loopback: Loopback::Proxy, ..policy }).await?;
    let request = request(nat.web.addr4().into(), &["8080:80", "8080:80/udp"])?;
    let lease = publish(&nat, request).await?;
    let (host, client) = (nat.lab.host(), nat.lab.client());
    let seen: [(IpAddr, IpAddr); 2] = [
        (host.addr4().into(), client.addr4().into()),
        (host.addr6().into(), nat.web.gateway4().into()),
    ];
    for (to, expected) in seen {
        assert_eq!(client.get((to, 8080).into()).await?.remote_ip, expected);
        assert_eq!(client.ask_udp((to, 8080).into()).await?.remote_ip, expected);
    }
    lease.release().await?;
    for (to, _) in seen {
        assert!(client.get((to, 8080).into()).await.is_err());
    }
    Ok(())
}

/// SCTP is for the rules alone, an IPv6 address of the host for the proxy alone, where the container has IPv4.
async fn left_to_one(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(Policy { loopback: Loopback::Proxy, ..policy }).await?;
    let before = nat.rules().await?;
    let host6 = nat.lab.host().addr6();
    let specs = ["8080:80".to_owned(), format!("[{host6}]:8081:80"), "8082:80/sctp".to_owned()];
    let specs = specs.each_ref().map(String::as_str);
    let lease = publish(&nat, request(nat.web.addr4().into(), &specs)?).await?;
    let protocols: Vec<_> = lease.bindings().iter().map(|binding| binding.protocol()).collect();
    assert_eq!(protocols, [Protocol::Tcp, Protocol::Tcp, Protocol::Sctp]);
    let client = nat.lab.client();
    assert_eq!(nat.who(8080).await?.as_deref(), Some("web"));
    let page = client.get((host6, 8081).into()).await?;
    assert_eq!(page.remote_ip, IpAddr::from(nat.web.gateway4()));
    lease.release().await?;
    assert_eq!(nat.rules().await?, before);

    // What fails in the middle leaves nothing of either.
    let taken = publish(&nat, request(dual(&nat.web), &["8080:80"])?).await?;
    let with_one = nat.rules().await?;
    let refused = publish(&nat, request(dual(&nat.other), &["8083:80", "8080:80"])?).await;
    assert!(refused.is_err());
    assert_eq!(nat.rules().await?, with_one);
    assert_eq!(nat.who(8083).await?, None);
    taken.release().await?;
    assert_eq!(nat.rules().await?, before);
    Ok(())
}
