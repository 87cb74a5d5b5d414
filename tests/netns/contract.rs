//! The contract of every mapper, over all of ours, boxed and behind tower middleware.

use std::time::Duration;

use portmap::{
    BoxError, PortMapper, ProxyMapper,
    rules::{Layout, Loopback, Policy},
};
use portmap_testkit::{Need, Node, Suite, contract::Contract};
use tower::ServiceBuilder;

use crate::{
    attached::{Attached, hybrid},
    support::built,
};

pub(crate) fn tests(suite: &mut Suite) {
    suite.test("the_example_of_a_mapper_keeps_the_contract", &[Need::Netns], example);
    Contract::new("proxy", |_| async { Ok(ProxyMapper::new()) }).tests(suite);
    Contract::new("proxy_boxed", |_| async { Ok(ProxyMapper::new().into_boxed()) }).tests(suite);
    Contract::new("proxy_in_tower", |_| async { Ok(in_tower(ProxyMapper::new())) }).tests(suite);
    // What rules leave to a proxy they refuse, without one.
    let beside = Policy { loopback: Loopback::Proxy, ..Policy::default() };
    Contract::new("nftables_less_its_proxy", move |site| Attached::open(site, beside.clone()))
        .without_loopback()
        .tests(suite);
    for layout in [Layout::Nftables, Layout::Iptables] {
        let policy = Policy { layout, ..Policy::default() };
        let nat = policy.clone();
        let contract =
            Contract::new(layout.to_string(), move |site| Attached::open(site, nat.clone()));
        needing(contract.without_ipv6_loopback(), layout).tests(suite);

        let nat = policy.clone();
        let contract = Contract::new(format!("{layout}_in_tower"), move |site| {
            let mapper = Attached::open(site, nat.clone());
            async { Ok(in_tower(mapper.await?)) }
        });
        needing(contract.without_ipv6_loopback(), layout).tests(suite);

        let beside = Policy { loopback: Loopback::Proxy, ..policy };
        let both = beside.clone();
        let contract =
            Contract::new(format!("hybrid_{layout}"), move |site| hybrid(site, both.clone()));
        needing(contract, layout).tests(suite);

        let both = beside.clone();
        let contract = Contract::new(format!("hybrid_{layout}_in_tower"), move |site| {
            let mapper = hybrid(site, both.clone());
            async { Ok(in_tower(mapper.await?).into_boxed()) }
        });
        needing(contract, layout).tests(suite);
    }
}

/// A runtime's author would run this one.
async fn example() -> Result<(), BoxError> {
    let machine = Node::new("machine").await?;
    let mut example = machine.command(&built("contract")?.to_string_lossy(), [""; 0]).await?;
    loop {
        let line = example.read_until("\n").await?;
        if line.starts_with("test result: ") {
            assert!(line.contains(" 0 failed; 0 ignored"), "{}", example.transcript());
            return Ok(());
        }
    }
}

fn needing(contract: Contract, layout: Layout) -> Contract {
    match layout {
        Layout::Nftables => contract,
        Layout::Iptables => contract.need(Need::Tool("iptables")),
    }
}

/// Behind the middleware that an embedder would put there.
fn in_tower(mapper: impl PortMapper) -> impl PortMapper {
    ServiceBuilder::new()
        .concurrency_limit(4)
        .timeout(Duration::from_secs(20))
        .service(mapper.into_service())
}
