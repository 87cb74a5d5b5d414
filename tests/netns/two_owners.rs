//! Two owners of rules, with different prefixes, on one bridge.

use portmap::{
    BoxError, PortMapper, RulesMapper,
    rules::{HostSettings, Layout, NetworkLease, Policy},
};
use portmap_testkit::{CallError, Need, Suite};

use crate::{
    nat::Nat,
    support::{dual, network_of, request},
};

pub(crate) fn tests(suite: &mut Suite) {
    let needs = [Need::Netns, Need::Tool("iptables"), Need::Tool("nft")];
    let layouts = [Layout::Nftables, Layout::Iptables];
    for (first, second) in layouts.into_iter().flat_map(|one| layouts.map(|two| (one, two))) {
        let name = format!("two_owners_of_one_bridge_are_both_served_{first}_and_{second}");
        suite.test(&name, &needs, async move || both(first, second).await);
    }
}

async fn both(first: Layout, second: Layout) -> Result<(), BoxError> {
    let nat = Nat::new(Policy { layout: first, ..Policy::default() }).await?;
    let lease = nat.publish(&nat.web, &["8080:80", "5353:80/udp"]).await?;
    let served = async || -> Result<(), BoxError> {
        for to in [(nat.lab.host().addr4(), 8080).into(), (nat.lab.host().addr6(), 8080).into()] {
            assert_eq!(nat.lab.client().get(to).await?.hostname, "web");
        }
        assert_eq!(nat.lab.client().ask_udp(nat.at(5353)).await?.hostname, "web");
        Ok(())
    };
    served().await?;

    let policy = Policy { layout: second, prefix: "OTHER".parse()?, ..Policy::default() };
    let network = network_of(&nat.docker0)?;
    let open = async move {
        let mapper = RulesMapper::open_with(policy, HostSettings::Untouched)?;
        let network = mapper.attach(network).await?;
        Ok::<(RulesMapper, NetworkLease), portmap::Error>((mapper, network))
    };
    let (other, network) = nat.lab.host().run(open).await?;
    served().await?;

    let wanted = request(dual(&nat.web), &["9090:80"])?;
    let publisher = other.clone();
    let others = nat.lab.host().run(async move { publisher.publish(wanted).await }).await?;
    served().await?;
    assert_eq!(nat.who(9090).await?.as_deref(), Some("web"));

    // And nobody gets past both: the container's own address is no way in.
    let client = nat.lab.client();
    client
        .add_route(format!("{}/32", nat.web.addr4()).parse()?, nat.lab.host().addr4().into())
        .await?;
    let direct = client.get((nat.web.addr4(), 80).into()).await;
    assert!(matches!(direct, Err(CallError::Dropped(_))), "{direct:?}");

    others.release().await?;
    network.detach().await?;
    served().await?;
    lease.release().await?;
    assert_eq!(nat.who(8080).await?, None);
    Ok(())
}
