//! A host that does not forward: rules refuse, and say which setting it is; a proxy beside them serves.

use std::{error::Error as _, net::IpAddr};

use portmap::{
    BoxError, Endpoint, Error, ErrorKind, Established, HybridMapper, Lease, PortMapper,
    ProxyMapper, RulesMapper, ServedBy,
    rules::{Family, ForwardingOff, HostSettings, Loopback, NetworkLease, Policy},
};
use portmap_testkit::{Bridge, CallError, Container, Lab, Node, Suite, Webapp};

use crate::{
    nat::for_each_layout,
    support::{dual, network_of, request},
};

const V4: &str = "net/ipv4/ip_forward";
const V6: &str = "net/ipv6/conf/all/forwarding";

pub(crate) fn tests(suite: &mut Suite) {
    for_each_layout(suite, |test| {
        test("rules_refuse_what_the_host_does_not_forward_by_family", |policy| {
            Box::pin(by_family(policy))
        });
        test("the_hosts_own_port_needs_no_forwarding", |policy| Box::pin(loopback(policy)));
        test("a_routed_network_needs_forwarding", |policy| Box::pin(routed(policy)));
        test("the_proxy_serves_what_the_host_does_not_forward", |policy| {
            Box::pin(hybrid(Policy { loopback: Loopback::Proxy, ..policy }))
        });
        test("nothing_is_retargeted_to_where_the_host_does_not_forward", |policy| {
            Box::pin(retargeted(policy))
        });
    });
}

/// A host whose settings a mapper leaves alone, and that forwards nothing.
struct Still {
    lab: Lab,
    docker0: Bridge,
    web: Container,
    mapper: RulesMapper,
    _network: NetworkLease,
    _webapp: Webapp,
}

impl Still {
    async fn new(policy: Policy, more: &str) -> Result<Self, BoxError> {
        let lab = Lab::new().await?;
        let docker0 = lab.docker0().await?;
        let web = docker0.container("web").await?;
        let _webapp = Webapp::start(&web, 80).await?;
        for name in [V4, V6] {
            lab.host().sysctl(name, "0").await?;
        }
        let network = format!("{}{more}", network_of(&docker0)?).parse()?;
        let open = async move {
            let mapper = RulesMapper::open_with(policy, HostSettings::Untouched)?;
            let network = mapper.attach(network).await?;
            Ok::<(RulesMapper, NetworkLease), Error>((mapper, network))
        };
        let (mapper, _network) = lab.host().run(open).await?;
        Ok(Self { lab, docker0, web, mapper, _network, _webapp })
    }

    async fn publish(&self, to: Endpoint, spec: &str) -> Result<Result<Lease, Error>, BoxError> {
        let (mapper, wanted) = (self.mapper.clone(), request(to, &[spec])?);
        Ok(self.lab.host().run(async move { mapper.publish(wanted).await }).await)
    }

    async fn refused(&self, to: Endpoint, spec: &str, family: Family) -> Result<(), BoxError> {
        let error = self.publish(to, spec).await?.expect_err("nothing is forwarded");
        is_refusal(&error, family);
        // The port is free, and nothing is left that a client would wait for.
        let called = self.lab.client().get((self.lab.host().addr4(), 8080).into()).await;
        assert!(matches!(called, Err(CallError::Refused)), "{called:?}");
        Ok(())
    }

    async fn seen_from(&self, client: &Node) -> Result<IpAddr, BoxError> {
        let page = client.get((self.lab.host().addr4(), 8080).into()).await?;
        assert_eq!(page.hostname, "web");
        Ok(page.remote_ip)
    }
}

fn is_refusal(error: &Error, family: Family) {
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let cause = error.source().and_then(|cause| cause.downcast_ref::<ForwardingOff>());
    assert_eq!(cause, Some(&ForwardingOff(family)), "{error}");
    let setting = match family {
        Family::Ipv4 => "net.ipv4.ip_forward is 0",
        Family::Ipv6 => "net.ipv6.conf.all.forwarding is 0",
    };
    assert!(error.to_string().starts_with(setting), "{error}");
}

async fn by_family(policy: Policy) -> Result<(), BoxError> {
    let still = Still::new(policy, "").await?;
    let (both, v4) = (dual(&still.web), Endpoint::from(still.web.addr4()));
    still.refused(v4, "8080:80", Family::Ipv4).await?;
    still.refused(both, "8080:80/udp", Family::Ipv4).await?;
    still.lab.host().sysctl(V4, "1").await?;
    still.refused(both, "8080:80", Family::Ipv6).await?;
    for (to, spec) in [(v4, "8080:80"), (both, "0.0.0.0:8080:80")] {
        let lease = still.publish(to, spec).await??;
        assert_eq!(still.seen_from(still.lab.client()).await?, still.lab.client().addr4());
        lease.release().await?;
    }
    still.lab.host().sysctl(V6, "1").await?;
    still.publish(both, "8080:80").await??.release().await?;
    Ok(())
}

async fn loopback(policy: Policy) -> Result<(), BoxError> {
    let still = Still::new(policy, "").await?;
    still.lab.host().sysctl("net/ipv4/conf/docker0/route_localnet", "1").await?;
    let lease = still.publish(still.web.addr4().into(), "127.0.0.1:8080:80").await??;
    let page = still.lab.host().get(([127, 0, 0, 1], 8080).into()).await?;
    assert_eq!(page.hostname, "web");
    lease.release().await?;
    Ok(())
}

async fn routed(policy: Policy) -> Result<(), BoxError> {
    let still = Still::new(policy, ",mode=routed").await?;
    let to = Endpoint::from(still.web.addr4());
    is_refusal(&still.publish(to, "8080:80").await?.expect_err("it is not reached"), Family::Ipv4);
    still.lab.host().sysctl(V4, "1").await?;
    still.publish(to, "8080:80").await??.release().await?;
    Ok(())
}

async fn hybrid(policy: Policy) -> Result<(), BoxError> {
    for more in ["", ",mode=routed"] {
        let still = Still::new(policy.clone(), more).await?;
        let (host, client) = (still.lab.host(), still.lab.client());
        let mapper = HybridMapper::new(ProxyMapper::new(), still.mapper.clone());
        let (publisher, wanted) = (mapper.clone(), request(dual(&still.web), &["8080:80"])?);
        let lease = host.run(async move { publisher.publish(wanted).await }).await?;
        assert_eq!(still.seen_from(client).await?, still.docker0.gateway4());
        let alone: Vec<_> = lease.served_alone().collect();
        assert_eq!(alone.iter().map(|one| one.by).collect::<Vec<_>>(), [ServedBy::Proxy]);
        is_refusal(&alone[0].reason, Family::Ipv4);
        lease.release().await?;

        let (strict, wanted) = (mapper.require_rules(), request(dual(&still.web), &["8080:80"])?);
        let refused = host.run(async move { strict.publish(wanted).await }).await;
        is_refusal(&refused.expect_err("rules are required"), Family::Ipv4);
    }
    Ok(())
}

async fn retargeted(policy: Policy) -> Result<(), BoxError> {
    let still = Still::new(policy, "").await?;
    let second = still.docker0.container("second").await?;
    still.lab.host().sysctl(V4, "1").await?;
    let mut lease = still.publish(still.web.addr4().into(), "8080:80").await??;
    still.lab.host().sysctl(V4, "0").await?;
    let refused = lease.retarget(second.addr4(), Established::Keep).await;
    is_refusal(&refused.expect_err("nothing is forwarded"), Family::Ipv4);
    still.lab.host().sysctl(V4, "1").await?;
    assert_eq!(still.seen_from(still.lab.client()).await?, still.lab.client().addr4());
    lease.release().await?;
    Ok(())
}
