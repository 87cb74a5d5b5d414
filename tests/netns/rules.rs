//! What the mapper of kernel rules promises, and the bugs that others had.

use std::time::{Duration, Instant};

use futures::future::join_all;
use portmap::{
    BoxError, ErrorKind, Lease, PortMapper, Publish, RulesMapper,
    rules::{Layout, Network, Policy},
};
use portmap_testkit::{CallError, Suite, Webapp};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};

use crate::{
    nat::{Nat, for_each_layout},
    support::{dual, request},
};

pub(crate) fn tests(suite: &mut Suite) {
    for_each_layout(suite, |test| {
        test("releasing_one_of_two_to_one_container_port_keeps_the_other", |policy| {
            Box::pin(two_to_one(policy))
        });
        test("eight_first_publishes_at_once_give_one_base", |policy| Box::pin(eight(policy)));
        test("a_foreign_flush_does_not_end_the_service", |policy| Box::pin(flushed(policy)));
        test("a_range_is_as_many_rules_whatever_its_length", |policy| Box::pin(range(policy)));
        test("a_refused_publish_leaves_nothing", |policy| Box::pin(refused(policy)));
        test("a_cancelled_publish_leaves_nothing", |policy| Box::pin(cancelled(policy)));
        test("what_nat_cannot_serve_is_said", |policy| Box::pin(unsupported(policy)));
    });
}

async fn two_to_one(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let before = nat.rules().await?;
    let one = nat.publish(&nat.web, &["8080:80"]).await?;
    let with_one = nat.rules().await?;
    let two = nat.publish(&nat.web, &["8081:80"]).await?;
    let other = nat.publish(&nat.other, &["8082:80"]).await?;
    two.release().await?;
    assert_eq!(nat.who(8080).await?.as_deref(), Some("web"));
    assert_eq!(nat.who(8081).await?, None);
    assert_eq!(nat.who(8082).await?.as_deref(), Some("other"));
    other.release().await?;
    assert_eq!(nat.rules().await?, with_one);
    one.release().await?;
    assert_eq!(nat.rules().await?, before);
    assert!(nat.mapper.reconcile().await?.is_empty());
    Ok(())
}

async fn eight(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let before = nat.rules().await?;
    let publishes = (0..8_u16).map(async |number| {
        let (port, container) =
            (8080 + number, if number % 2 == 0 { &nat.web } else { &nat.other });
        nat.publish(container, &[&format!("{port}:80")]).await
    });
    let leases = join_all(publishes).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    for (number, port) in (8080..8088).enumerate() {
        let name = if number % 2 == 0 { "web" } else { "other" };
        assert_eq!(nat.who(port).await?.as_deref(), Some(name));
    }
    for released in join_all(leases.into_iter().map(Lease::release)).await {
        released?;
    }
    assert_eq!(nat.rules().await?, before);
    Ok(())
}

async fn flushed(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let _lease = nat.publish(&nat.web, &["8080:80"]).await?;
    let before = nat.rules().await?;
    let flush: &[&[&str]] = match nat.layout {
        Layout::Nftables => {
            &[&["nft", "flush", "ruleset"], &["nft", "delete", "table", "inet", "portmap"]]
        }
        Layout::Iptables => &[
            &["iptables", "-t", "nat", "-F"],
            &["iptables", "-F"],
            &["ip6tables", "-t", "nat", "-F", "PORTMAP"],
            &["iptables", "-I", "FORWARD", "-j", "ACCEPT", "-s", "192.0.2.77"],
        ],
    };
    for command in flush {
        // An owned table may not be deleted: that this fails is the point.
        nat.lab.host().exec(command[0], command[1..].iter().copied()).await?;
    }
    let begin = Instant::now();
    while nat.who(8080).await.ok().flatten().as_deref() != Some("web") {
        assert!(begin.elapsed() < Duration::from_secs(1), "it is not served after 1 s");
    }
    sleep(Duration::from_secs(1)).await;
    let after = nat.rules().await?;
    // The foreign rule stays, and what was flushed of the administrator's chain is not ours to put back.
    let ours = |rules: &str| {
        let lines = rules.lines().filter(|line| !line.contains("192.0.2.77"));
        lines.filter(|line| !line.starts_with("-A PORTMAP-USER")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(ours(&after), ours(&before));
    assert_eq!(after.contains("192.0.2.77"), nat.layout == Layout::Iptables);
    assert!(nat.mapper.reconcile().await?.is_empty());
    Ok(())
}

async fn range(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let lines = async |specs: &[&str]| -> Result<usize, BoxError> {
        let lease = nat.publish(&nat.web, specs).await?;
        let count = nat.rules().await?.lines().count();
        lease.release().await?;
        Ok(count)
    };
    let short = lines(&["20000-20001:20000-20001"]).await?;
    assert_eq!(lines(&["20000-23999:20000-23999"]).await?, short);

    let lease = nat.publish(&nat.web, &["20000-23999:20000-23999"]).await?;
    let _webapp = Webapp::start(&nat.web, 22_222).await?;
    assert_eq!(nat.who(22_222).await?.as_deref(), Some("web"));
    lease.release().await?;
    // Ports that change their numbers, in one range.
    let lease = nat.publish(&nat.web, &["8080-8084:78-82"]).await?;
    assert_eq!(nat.who(8082).await?.as_deref(), Some("web"));
    lease.release().await?;
    assert_eq!(nat.who(8082).await?, None);
    Ok(())
}

async fn refused(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy.clone()).await?;
    let _lease = nat.publish(&nat.web, &["8080:80"]).await?;
    let before = nat.rules().await?;
    let taken = nat.lab.host().run(TcpListener::bind("0.0.0.0:9000")).await?;
    for specs in [&["8081:80", "9000:80"][..], &["8082:80", "8080:80"]] {
        let error = nat.try_publish(request(dual(&nat.other), specs)?).await.expect_err(specs[1]);
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
    }
    drop(taken);
    assert_eq!(nat.rules().await?, before);
    // What the failed requests had taken is free.
    nat.publish(&nat.other, &["8081:80", "8082:80", "9000:80"]).await?.release().await?;
    assert_eq!(nat.who(8080).await?.as_deref(), Some("web"));

    let again = nat.lab.host().run(async move { RulesMapper::open(policy) }).await;
    assert_eq!(again.expect_err("two owners").kind(), ErrorKind::Busy);
    Ok(())
}

async fn cancelled(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let before = nat.rules().await?;
    let wanted = request(dual(&nat.web), &["8080:80", "20000-20999:20000-20999/udp"])?;
    for micros in [0, 10, 100, 300, 1000, 3000, 10_000, 30_000] {
        let (mapper, wanted) = (nat.mapper.clone(), wanted.clone());
        let publish =
            async move { timeout(Duration::from_micros(micros), mapper.publish(wanted)).await };
        // A lease that was granted is dropped here.
        drop(nat.lab.host().run(publish).await);
    }
    // Whatever is still under way is done before this.
    nat.publish(&nat.other, &["9000:80"]).await?.release().await?;
    let begin = Instant::now();
    while nat.rules().await? != before {
        assert!(begin.elapsed() < Duration::from_secs(2), "{}", nat.rules().await?);
    }
    nat.publish(&nat.web, &["8080:80", "20000-20999:20000-20999/udp"]).await?.release().await?;
    Ok(())
}

async fn unsupported(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let before = nat.rules().await?;
    let (v4, v6) = (nat.web.addr4(), nat.web.addr6());
    let cases = [
        (
            Publish::new([192, 0, 2, 9]).with("8080:80".parse::<portmap::PortSpec>()?),
            ErrorKind::Invalid,
        ),
        (request(v4.into(), &["[::]:8080:80"])?, ErrorKind::Unsupported),
        (request(v6.into(), &["127.0.0.1:8080:80"])?, ErrorKind::Unsupported),
    ];
    for (request, kind) in cases {
        let error = nat.try_publish(request.clone()).await.expect_err("it was published");
        assert_eq!(error.kind(), kind, "{request:?}: {error}");
    }
    let internal = "intern=10.99.0.0/24,internal".parse::<Network>()?;
    let _internal = nat.mapper.attach(internal.clone()).await?;
    let request = Publish::new([10, 99, 0, 2]).with("8080:80".parse::<portmap::PortSpec>()?);
    assert_eq!(nat.try_publish(request).await.expect_err("internal").kind(), ErrorKind::Invalid);
    let twice = nat.mapper.attach(internal).await;
    assert_eq!(twice.expect_err("attached twice").kind(), ErrorKind::Invalid);
    drop(_internal);

    // A mapping for every address serves those that it can, and says so.
    let lease = nat.publish_v4(v4, "8080:80").await?;
    assert_eq!(lease.bindings()[0].to_string(), format!("tcp 0.0.0.0:8080 -> {v4}:80"));
    let six = nat.lab.client().get((nat.lab.host().addr6(), 8080).into()).await;
    assert!(matches!(six, Err(CallError::Refused)), "{six:?}");
    lease.release().await?;
    // SCTP is the kernel's to carry; no socket is needed for it.
    nat.publish(&nat.web, &["8080:80/sctp"]).await?.release().await?;
    let begin = Instant::now();
    while nat.rules().await? != before {
        assert!(begin.elapsed() < Duration::from_secs(2), "{}", nat.rules().await?);
    }
    Ok(())
}
