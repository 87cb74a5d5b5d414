//! How what a mapper of kernel rules has in force ends, and what it leaves.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use portmap::{
    BoxError, ErrorKind, PortMapper, RulesMapper,
    rules::{Hairpin, HostSettings, Layout, Network, Policy},
};
use portmap_testkit::{CallError, Lab, Suite};
use tokio::time::{sleep, timeout};

use crate::{
    nat::{Nat, for_each_layout},
    support::{dual, network_of, request},
};

pub(crate) fn tests(suite: &mut Suite) {
    for_each_layout(suite, |test| {
        test("everything_goes_with_its_owner", |policy| Box::pin(owner(policy)));
        test("everything_goes_with_the_runtime", |policy| Box::pin(runtime_end(policy)));
        test("everything_goes_with_a_runtime_that_ends_half_way", |policy| {
            Box::pin(runtime_end_half_way(policy))
        });
        test("a_disarmed_lease_is_looked_after", |policy| Box::pin(disarmed(policy)));
        test("a_network_may_come_back_before_it_has_gone", |policy| Box::pin(comes_back(policy)));
        test("hairpin_flags_are_put_back", |policy| Box::pin(hairpin_flags(policy)));
        test("settings_are_put_back", |policy| Box::pin(settings(policy)));
    });
}

async fn owner(policy: Policy) -> Result<(), BoxError> {
    let Nat { lab, docker0, br0, web, other, mapper, attached, webapps, .. } =
        Nat::new(policy).await?;
    let to = SocketAddr::from((lab.host().addr4(), 8080));
    let wanted = request(dual(&web), &["8080:80"])?;
    let publisher = mapper.clone();
    let lease = lab.host().run(async move { publisher.publish(wanted).await }).await?;
    // Leases keep what they need: neither the mapper nor its networks may go first.
    drop((mapper, attached));
    lab.client().get(to).await?;
    drop(lease);
    until_gone(&lab).await?;
    assert!(matches!(lab.client().get(to).await, Err(CallError::Refused)));
    drop((docker0, br0, other, webapps));
    Ok(())
}

/// Waits until nothing is listed that has our name, but for the administrator's chain, which is kept.
async fn until_gone(lab: &Lab) -> Result<(), BoxError> {
    let begin = Instant::now();
    loop {
        let nft = lab.host().exec("nft", ["list", "ruleset"]).await?.stdout;
        let ours = |line: &&str| line.to_lowercase().contains("portmap") && !line.contains("-USER");
        if nft.lines().filter(ours).count() == 0 {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_secs(2) {
            return Err(format!("after 2 s there is\n{nft}").into());
        }
    }
}

async fn runtime_end(policy: Policy) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let network = network_of(&docker0)?;
    let wanted = request(dual(&web), &["8080:80"])?;
    for _ in 0..3 {
        let (policy, network, wanted) = (policy.clone(), network.clone(), wanted.clone());
        // A program whose `main` ends without awaiting anything; its thread is in the host's namespace.
        let program = move || -> Result<(), BoxError> {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(async {
                let mapper = RulesMapper::open_with(policy, HostSettings::Managed)?;
                let _attached = mapper.attach(network).await?;
                let _lease = mapper.publish(wanted).await?;
                Ok(())
            })
        };
        let ended = lab.host().run(async { std::thread::spawn(program).join() }).await;
        ended.map_err(|_| "it panicked")??;
        until_gone(&lab).await?;
        let local = lab.host().read_sysctl("net/ipv4/conf/docker0/route_localnet").await?;
        assert_eq!(local.trim(), "0");
    }
    Ok(())
}

/// The thread that speaks to nftables has the prefix until it is done, which may be after its runtime has ended.
async fn once_free(policy: Policy) -> Result<RulesMapper, BoxError> {
    let begin = Instant::now();
    loop {
        match RulesMapper::open_with(policy.clone(), HostSettings::Managed) {
            Err(error) if error.kind() == ErrorKind::Busy && begin.elapsed().as_secs() < 8 => {}
            opened => return Ok(opened?),
        }
    }
}

/// The runtime ends while the rules are being changed: before, in the middle of it or just after.
async fn runtime_end_half_way(policy: Policy) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let network = network_of(&docker0)?;
    let wanted = request(dual(&web), &["8080:80"])?;
    for millis in (0..60).step_by(4) {
        let (policy, network, wanted) = (policy.clone(), network.clone(), wanted.clone());
        let program = move || -> Result<(), BoxError> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mapper = once_free(policy).await?;
                let change = async {
                    let attached = mapper.attach(network).await?;
                    Ok::<_, portmap::Error>((attached, mapper.publish(wanted).await?))
                };
                if let Ok(changed) = timeout(Duration::from_millis(millis), change).await {
                    drop(changed?);
                }
                Ok(())
            })
        };
        let ended = lab.host().run(async { std::thread::spawn(program).join() }).await;
        ended.map_err(|_| "it panicked")??;
        until_gone(&lab).await.map_err(|error| format!("ended after {millis} ms: {error}"))?;
    }
    Ok(())
}

async fn disarmed(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let kept = nat.publish(&nat.web, &["8080:80"]).await?.disarm();
    assert_eq!(kept.len(), 1);
    // Its order is given, but nobody will be there for the outcome.
    let (mapper, wanted) = (nat.mapper.clone(), request(dual(&nat.other), &["9090:80"])?);
    drop(
        nat.lab
            .host()
            .run(async move { timeout(Duration::ZERO, mapper.publish(wanted)).await })
            .await,
    );
    let Nat { lab, docker0, br0, web, other, layout, mapper, attached, webapps } = nat;
    drop((mapper, attached));
    let to = |port| SocketAddr::from((lab.host().addr4(), port));
    if layout == Layout::Iptables {
        sleep(Duration::from_millis(100)).await;
        lab.host().exec("iptables", ["-t", "nat", "-F", "PORTMAP"]).await?;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(lab.client().get(to(8080)).await?.hostname, "web");
    let begin = Instant::now();
    while !matches!(lab.client().get(to(9090)).await, Err(CallError::Refused)) {
        assert!(begin.elapsed() < Duration::from_secs(2), "what nobody holds is in force");
    }
    drop((docker0, br0, web, other, webapps));
    Ok(())
}

async fn comes_back(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let network = network_of(&nat.docker0)?;
    let lease = nat.publish(&nat.web, &["8080:80"]).await?;
    drop(nat.attached);
    let again = nat.mapper.attach(network.clone()).await?;
    lease.release().await?;
    // It was taken back in time: it is still there.
    let wanted = request(dual(&nat.web), &["8081:80"])?;
    let mapper = nat.mapper.clone();
    let lease = nat.lab.host().run(async move { mapper.publish(wanted).await }).await?;
    let busy = again.detach().await.expect_err("a container is published");
    assert_eq!(busy.kind(), ErrorKind::Busy);
    let changed = network.without_icc();
    assert_eq!(nat.mapper.attach(changed).await.expect_err("as it was").kind(), ErrorKind::Busy);
    lease.release().await?;

    // What fails half way is undone: this bridge is not there.
    nat.lab.host().sysctl("net/ipv4/ip_forward", "0").await?;
    let missing = "nobridge=10.98.0.0/24".parse::<Network>()?;
    let before = nat.mapper.reconcile().await?;
    nat.mapper.attach(missing).await.expect_err("there is no such bridge");
    assert!(before.is_empty() && nat.mapper.reconcile().await?.is_empty());
    Ok(())
}

async fn hairpin_flags(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(Policy { hairpin: Hairpin::Bridge, ..policy }).await?;
    nat.web.set_hairpin(true).await?;
    // One port of docker0 has the flag already, and keeps it; the other one gets it for the time being.
    let _neighbour = nat.docker0.container("neighbour").await?;
    let host = nat.lab.host().clone();
    let flags = async || -> Result<usize, BoxError> {
        let ports = host.exec("bridge", ["-d", "link", "show"]).await?.stdout;
        Ok(ports.matches("hairpin on").count())
    };
    let lease = nat.publish(&nat.web, &["8080:80"]).await?;
    assert_eq!(flags().await?, 2);
    lease.release().await?;
    for network in nat.attached {
        network.detach().await?;
    }
    assert_eq!(flags().await?, 1);
    Ok(())
}

async fn settings(policy: Policy) -> Result<(), BoxError> {
    const NAMES: [&str; 3] = [
        "net/ipv4/ip_forward",
        "net/ipv6/conf/all/forwarding",
        "net/ipv4/conf/docker0/route_localnet",
    ];
    let nat = Nat::new(policy).await?;
    let host = nat.lab.host().clone();
    for name in NAMES {
        assert_eq!(host.read_sysctl(name).await?.trim(), "1", "{name}");
    }
    for network in nat.attached {
        network.detach().await?;
    }
    assert_eq!(host.read_sysctl(NAMES[2]).await?.trim(), "0");
    drop(nat.mapper);
    let begin = Instant::now();
    for name in NAMES {
        while host.read_sysctl(name).await?.trim() != "0" {
            assert!(begin.elapsed() < Duration::from_secs(2), "{name} is still on");
        }
    }
    Ok(())
}
