//! Leading published ports to another container, in the kernel and by two ways at once.

use std::time::Duration;

use portmap::{
    BoxError, ErrorKind, Established, HybridMapper, Lease, PortMapper, ProxyMapper,
    rules::{Layout, Loopback, Policy},
};
use portmap_testkit::{Suite, Webapp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::timeout,
};

use crate::{
    nat::{Nat, for_each_layout},
    support::{dual, request},
};

const LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn tests(suite: &mut Suite) {
    for_each_layout(suite, |test| {
        test("a_client_in_a_loop_sees_no_error_while_rules_change_their_target", |policy| {
            Box::pin(changes(policy, false))
        });
        test("a_client_in_a_loop_sees_no_error_while_both_change_their_target", |policy| {
            let policy = Policy { loopback: Loopback::Proxy, ..policy };
            Box::pin(changes(policy, true))
        });
        test("connections_through_nat_go_on_or_are_cut", |policy| Box::pin(connections(policy)));
        test("what_cannot_be_the_target_of_rules_changes_nothing", |policy| {
            Box::pin(refused(policy))
        });
    });
}

async fn publish(nat: &Nat, hybrid: bool) -> Result<Lease, BoxError> {
    let request = request(dual(&nat.web), &["8080:80", "5353:80/udp"])?;
    if !hybrid {
        return Ok(nat.try_publish(request).await?);
    }
    let mapper = HybridMapper::new(ProxyMapper::new(), nat.mapper.clone());
    Ok(nat.lab.host().run(async move { mapper.publish(request).await }).await?)
}

/// A client outside calls all the time; so does the host, by the other way, where there are two.
async fn changes(policy: Policy, hybrid: bool) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let second = nat.docker0.container("second").await?;
    let _webapp = Webapp::start(&second, 80).await?;
    let mut lease = publish(&nat, hybrid).await?;
    let (tell, over) = watch::channel(false);
    let outside = (nat.lab.client().clone(), nat.at(8080));
    let inside = (nat.lab.host().clone(), ([127, 0, 0, 1], 8080).into());
    let callers = [outside, inside].map(|(node, to)| {
        let over = over.clone();
        tokio::spawn(async move {
            let mut calls = 0;
            while !*over.borrow() {
                node.get(to).await.map_err(|error| format!("call {calls}: {error}"))?;
                calls += 1;
            }
            Ok::<usize, String>(calls)
        })
    });
    // A change of iptables takes four runs of its tool: two in each family.
    let changes = if nat.layout == Layout::Nftables { 100 } else { 20 };
    for change in 0..changes {
        let (container, name) =
            if change % 2 == 0 { (&second, "second") } else { (&nat.web, "web") };
        lease.retarget(dual(container), Established::Keep).await?;
        if change % 20 < 2 {
            assert_eq!(nat.who(8080).await?.as_deref(), Some(name));
            let page = nat.lab.host().get(([127, 0, 0, 1], 8080).into()).await?;
            assert_eq!(page.hostname, name);
            let page = nat.lab.client().ask_udp(nat.at(5353)).await?;
            assert_eq!(page.hostname, name);
        }
    }
    tell.send_replace(true);
    for caller in callers {
        let calls = caller.await??;
        assert!(calls > 10, "{calls} calls");
    }
    lease.release().await?;
    assert_eq!(nat.who(8080).await?, None);
    Ok(())
}

async fn connections(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let second = nat.docker0.container("second").await?;
    let _webapp = Webapp::start(&second, 80).await?;
    let mut lease = publish(&nat, false).await?;
    let at = nat.at(8080);
    let open = async || nat.lab.client().run(async move { TcpStream::connect(at).await }).await;
    let (mut kept, mut cut) = (open().await?, open().await?);

    lease.retarget(dual(&second), Established::Keep).await?;
    kept.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut page = String::new();
    timeout(LIMIT, kept.read_to_string(&mut page)).await??;
    assert!(page.contains("Hostname: web\n"), "{page}");

    lease.retarget(dual(&nat.web), Established::Cut).await?;
    // Through the very container that it was open to: its connection went on, and only one to `second` would be cut.
    cut.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    page.clear();
    timeout(LIMIT, cut.read_to_string(&mut page)).await??;
    assert!(page.contains("Hostname: web\n"), "{page}");

    let mut cut = open().await?;
    lease.retarget(dual(&second), Established::Cut).await?;
    cut.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let lost = timeout(LIMIT, cut.read_to_string(&mut page)).await?;
    assert!(lost.is_err(), "a connection that should be cut read {page}");
    Ok(())
}

async fn refused(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let mut lease = publish(&nat, false).await?;
    let before = nat.rules().await?;
    for stranger in [[192, 0, 2, 77], [0, 0, 0, 0]] {
        let error = lease.retarget(stranger, Established::Cut).await.expect_err("no such network");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(nat.rules().await?, before);
    assert_eq!(nat.who(8080).await?.as_deref(), Some("web"));
    // Another network of the same mapper will do.
    lease.retarget(dual(&nat.other), Established::Keep).await?;
    assert_eq!(nat.who(8080).await?.as_deref(), Some("other"));
    lease.release().await?;
    assert_eq!(nat.who(8080).await?, None);
    assert!(nat.mapper.reconcile().await?.is_empty());
    Ok(())
}
