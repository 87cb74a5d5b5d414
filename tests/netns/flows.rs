//! What connection tracking knows of the flows that NAT serves.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use portmap::{
    Binding, BoxError, Endpoint, HostAddr, HybridMapper, PortMapper, PortRange, Protocol,
    ProxyMapper,
    rules::{Conntrack, Flow, FlowState, Loopback, Policy},
};
use portmap_testkit::{Need, Node, Suite};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    nat::{Nat, for_each_layout},
    support::{dual, request},
};

pub(crate) fn tests(suite: &mut Suite) {
    for_each_layout(suite, |test| {
        test("flows_are_listed_without_what_they_carry", |it| Box::pin(listed(it, "0")));
        test("flows_are_listed_with_what_they_carry", |it| Box::pin(listed(it, "1")));
        test("flows_that_the_proxy_serves_are_not_listed", |it| Box::pin(proxied(it)));
    });
    let nft = [Need::Netns, Need::Tool("nft")];
    suite.test("flows_are_found_in_a_large_table_while_others_run", &nft, large);
}

async fn listed(policy: Policy, accounting: &str) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let (host, client) = (nat.lab.host(), nat.lab.client());
    host.sysctl("net/netfilter/nf_conntrack_acct", accounting).await?;
    let lease = nat.publish(&nat.web, &["8080:80", "8080:80/udp"]).await?;
    let others = nat.publish(&nat.other, &["9090:80"]).await?;
    let conntrack = host.run(async { Conntrack::open() }).await?;
    let flows = async || conntrack.flows(lease.bindings()).await;
    assert_eq!(flows().await?, []);

    // To another binding, and to the container itself: neither is one of ours.
    let _other = connect(client, nat.at(9090)).await?;
    let _direct = connect(host, (nat.web.addr4(), 80).into()).await?;
    assert_eq!(flows().await?, []);
    assert_eq!(conntrack.flows(others.bindings()).await?.len(), 1);

    for (to, endpoint, seen) in [
        (nat.at(8080), IpAddr::from(nat.web.addr4()), client.addr4().into()),
        ((host.addr6(), 8080).into(), nat.web.addr6().into(), client.addr6().into()),
    ] {
        let mut stream = connect(client, to).await?;
        let from = stream.local_addr()?;
        let flow = one(&flows().await?, Protocol::Tcp, from)?;
        assert_eq!((flow.host, flow.endpoint), (to, (endpoint, 80).into()));
        assert_eq!((flow.observed.ip(), flow.state), (seen, FlowState::Established));
        let counted = flow.to_endpoint.zip(flow.to_client);
        assert_eq!(counted.is_some(), accounting == "1", "{flow:?}");
        if let Some((before, _)) = counted {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").await?;
            stream.read_u8().await?;
            let flow = one(&flows().await?, Protocol::Tcp, from)?;
            let carried = flow.to_endpoint.map(|now| now.bytes - before.bytes);
            assert!(carried > Some(30) && flow.to_client.map(|now| now.packets) > Some(1));
        }
        drop(stream);
        until_closed(&conntrack, lease.bindings(), from).await?;

        let from = ask(client, seen, to).await?;
        let flow = one(&flows().await?, Protocol::Udp, from)?;
        assert_eq!((flow.host, flow.endpoint), (to, (endpoint, 80).into()));
        assert_eq!((flow.observed, flow.state), (from, FlowState::Established));
        assert_eq!(flow.to_endpoint.map(|counted| counted.packets), counted.map(|_| 1));
    }

    // One whose answers have to come back to this host.
    let stream = connect(host, "127.0.0.1:8080".parse()?).await?;
    let flow = one(&flows().await?, Protocol::Tcp, stream.local_addr()?)?;
    assert_eq!(flow.observed.ip(), nat.docker0.gateway4());

    // Where there are many endpoints, all is listed, and the same chosen.
    let few = flows().await?.len();
    let mut many = lease.bindings().to_vec();
    let port: PortRange = "80".parse()?;
    for last in 100..120 {
        let to = Endpoint::from([192, 0, 2, last]);
        many.extend(Binding::new(Protocol::Tcp, HostAddr::Any, "7000".parse()?, to, port));
    }
    assert_eq!(conntrack.flows(&many).await?.len(), few);
    Ok(())
}

async fn proxied(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(Policy { loopback: Loopback::Proxy, ..policy }).await?;
    let (host, client) = (nat.lab.host(), nat.lab.client());
    let mapper = HybridMapper::new(ProxyMapper::new(), nat.mapper.clone());
    // The same port on both sides: the proxy's own dial is to a host port, as it were.
    let request = request(dual(&nat.web), &["80:80"])?;
    let lease = host.run(async move { mapper.publish(request).await }).await?;
    let conntrack = host.run(async { Conntrack::open() }).await?;
    let _own = connect(host, "127.0.0.1:80".parse()?).await?;
    let _neighbour = connect(&nat.other, nat.at(80)).await?;
    assert_eq!(conntrack.flows(lease.bindings()).await?, []);
    let outside = connect(client, nat.at(80)).await?;
    let flows = conntrack.flows(lease.bindings()).await?;
    assert_eq!(flows.len(), 1);
    one(&flows, Protocol::Tcp, outside.local_addr()?)?;
    Ok(())
}

async fn large() -> Result<(), BoxError> {
    let nat = Nat::new(Policy::default()).await?;
    let (host, client) = (nat.lab.host(), nat.lab.client());
    let lease = nat.publish(&nat.web, &["8080:80"]).await?;
    let filled = host.run(async {
        let senders = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
        for port in 1..50_000 {
            for sender in &senders {
                // Nobody is there, and the kernel says so to the next one who sends.
                let _ = sender.send_to(b"x", ("127.0.0.1", port));
            }
        }
        std::io::Result::Ok(())
    });
    filled.await?;
    let stream = connect(client, nat.at(8080)).await?;
    let conntrack = host.run(async { Conntrack::open() }).await?;
    let mut many = lease.bindings().to_vec();
    for last in 100..120 {
        let to = Endpoint::from([192, 0, 2, last]);
        // Of several ports the kernel lists all.
        let ports: PortRange = "80-81".parse()?;
        many.extend(Binding::new(Protocol::Udp, HostAddr::Any, "7000".parse()?, to, ports));
    }
    for bindings in [lease.bindings(), &many] {
        let begun = Instant::now();
        let looked = conntrack.flows(bindings);
        tokio::pin!(looked);
        let (mut longest, mut before) = (Duration::ZERO, Instant::now());
        let flows = loop {
            tokio::select! {
                flows = &mut looked => break flows?,
                () = sleep(Duration::from_millis(1)) => {
                    longest = longest.max(before.elapsed());
                    before = Instant::now();
                }
            }
        };
        one(&flows, Protocol::Tcp, stream.local_addr()?)?;
        eprintln!("{} bindings: {:.1?}, {longest:.1?} at once", bindings.len(), begun.elapsed());
        assert!(longest < Duration::from_millis(200), "the runtime was held up for {longest:?}");
    }
    Ok(())
}

async fn connect(from: &Node, to: SocketAddr) -> Result<TcpStream, BoxError> {
    Ok(from.run(TcpStream::connect(to)).await?)
}

/// Asks over UDP, and says from where it asked.
async fn ask(from: &Node, addr: IpAddr, to: SocketAddr) -> Result<SocketAddr, BoxError> {
    let asked = from.run(async move {
        let socket = tokio::net::UdpSocket::bind((addr, 0)).await?;
        socket.send_to(b"x", to).await?;
        timeout(Duration::from_secs(5), socket.recv_from(&mut [0; 64])).await??;
        socket.local_addr()
    });
    Ok(asked.await?)
}

/// The flow of a client.
fn one(flows: &[Flow], protocol: Protocol, client: SocketAddr) -> Result<Flow, BoxError> {
    let mut its = flows.iter().filter(|flow| (flow.protocol, flow.client) == (protocol, client));
    match (its.next(), its.next()) {
        (Some(flow), None) => Ok(flow.clone()),
        _ => Err(format!("not one flow of {protocol} from {client}: {flows:?}").into()),
    }
}

/// Waits until a connection is over: its last packets take their time.
async fn until_closed(
    conntrack: &Conntrack,
    bindings: &[Binding],
    client: SocketAddr,
) -> Result<(), BoxError> {
    for _ in 0..200 {
        let flow = one(&conntrack.flows(bindings).await?, Protocol::Tcp, client)?;
        if flow.state == FlowState::Closed {
            return Ok(());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Err(format!("the connection of {client} never ended").into())
}
