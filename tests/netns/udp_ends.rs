//! UDP ports and every kind of address that a datagram can carry.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nix::net::if_::if_nametoindex;
use portmap::{
    Binding, BoxError, Endpoint, HostAddr, Lease, PortMapper, Protocol, ProxyMapper,
    mapper::Reserved,
};
use portmap_testkit::{Bridge, Container, Lab, Need, Node, Suite};
use socket2::SockRef;
use tokio::{net::UdpSocket, task::JoinHandle, time::timeout};

use crate::{
    forge::Forger,
    support::{dual, request},
};

pub(crate) fn tests(suite: &mut Suite) {
    let netns = [Need::Netns];
    suite.test("who_cannot_be_answered_is_not_and_is_counted", &netns, unanswerable);
    suite.test("loopback_addresses_from_outside_are_nobodys", &netns, loopback);
    suite.test("no_answer_goes_to_all_of_a_subnet", &netns, to_many);
    suite.test("what_went_to_many_is_answered_by_the_link_it_came_by", &netns, many);
    suite.test("a_link_local_address_is_answered_on_its_link", &netns, link_local);
    suite.test("one_link_local_client_on_each_of_two_links_is_two", &netns, zones);
    suite.test("no_datagram_goes_round_between_published_ports", &netns, circles);
    suite.test("a_container_is_not_asked_by_itself", &netns, itself);
    suite.test("sessions_make_room_where_local_ports_run_out", &netns, local_ports);
}

/// How long nothing has to come.
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(5);

/// A host with a published container that echoes and counts what it hears.
struct Site {
    lab: Lab,
    _docker0: Bridge,
    web: Container,
    mapper: ProxyMapper,
    leases: Vec<Lease>,
    heard: Arc<AtomicUsize>,
    echo: JoinHandle<io::Result<()>>,
}

impl Site {
    async fn new(specs: &[&str]) -> Result<Self, BoxError> {
        let lab = Lab::new().await?;
        let docker0 = lab.docker0().await?;
        let web = docker0.container("web").await?;
        let heard = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&heard);
        let socket = web.run(UdpSocket::bind("[::]:80")).await?;
        let echo = web.spawn(async move {
            let mut buffer = [0; 2048];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await?;
                count.fetch_add(1, Ordering::Relaxed);
                socket.send_to(&buffer[..length], from).await?;
            }
        });
        let (mapper, leases) = (ProxyMapper::new(), Vec::new());
        let mut site = Self { lab, _docker0: docker0, web, mapper, leases, heard, echo };
        for spec in specs {
            let lease = publish(site.lab.host(), &site.mapper, dual(&site.web), spec).await?;
            site.leases.push(lease);
        }
        Ok(site)
    }

    /// An ordinary client asks and is answered: what came before it has been dealt with.
    async fn ask(&self) -> Result<(), BoxError> {
        let (client, host) = (self.lab.client(), self.lab.host().addr4());
        let to = SocketAddr::from((host, 8080));
        assert_eq!(client.run(exchange("0.0.0.0:0".parse()?, to)).await?, to);
        Ok(())
    }

    /// Sends forged datagrams, each followed by an ordinary question: all of them are dropped and
    /// counted.
    async fn forge(
        &self,
        forger: &Forger,
        forged: &[(SocketAddr, IpAddr)],
    ) -> Result<(), BoxError> {
        for (count, (source, to)) in (1..).zip(forged) {
            forger.send(*source, (*to, 8080).into())?;
            self.ask().await?;
            assert_eq!(self.dropped(), (count, count), "{source} to {to}");
        }
        Ok(())
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    /// What the first binding has dropped for its source, and what for whatever reason.
    fn dropped(&self) -> (u64, u64) {
        let stats = &self.mapper.stats()[0];
        (stats.unanswerable, stats.dropped)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.echo.abort();
    }
}

async fn publish(
    host: &Node,
    mapper: &ProxyMapper,
    to: Endpoint,
    spec: &str,
) -> Result<Lease, BoxError> {
    let (mapper, request) = (mapper.clone(), request(to, &[spec])?);
    Ok(host.run(async move { mapper.publish(request).await }).await?)
}

/// Asks from an address, by `eth0` where that is to be told; says from where the answer comes.
async fn exchange(client: SocketAddr, mut to: SocketAddr) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind(client).await?;
    socket.set_broadcast(true)?;
    if let (IpAddr::V4(client), true) = (client.ip(), to.ip().is_multicast()) {
        SockRef::from(&socket).set_multicast_if_v4(&client)?;
    }
    if let SocketAddr::V6(to) = &mut to {
        to.set_scope_id(if_nametoindex("eth0")?);
    }
    let question = format!("{client} to {to}");
    let failed = |error: io::Error| io::Error::other(format!("{question}: {error}"));
    socket.send_to(question.as_bytes(), to).await.map_err(failed)?;
    let mut buffer = [0; 256];
    let received = timeout(LONG, socket.recv_from(&mut buffer)).await;
    let received = received.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let (length, from) = received.map_err(failed)?;
    assert_eq!(&buffer[..length], question.as_bytes());
    Ok(from)
}

/// Sockets of the host at addresses that only it itself should reach.
async fn bystanders(host: &Node, addrs: [&str; 2]) -> Result<[UdpSocket; 2], BoxError> {
    let [one, two] = addrs.map(str::to_owned);
    let bound = host
        .run(async { io::Result::Ok([UdpSocket::bind(one).await?, UdpSocket::bind(two).await?]) });
    Ok(bound.await?)
}

async fn assert_silent(sockets: &[UdpSocket]) {
    for socket in sockets {
        let mut buffer = [0; 256];
        let heard = timeout(SHORT, socket.recv_from(&mut buffer)).await;
        assert!(heard.is_err(), "{heard:?} at {:?}", socket.local_addr());
    }
}

/// On all addresses by one socket of IPv6, and on those of IPv4: only the latter hears what goes to
/// IPv4's groups.
const ANY: &str = "8080:80/udp";
const ANY4: &str = "0.0.0.0:8080:80/udp";

async fn unanswerable() -> Result<(), BoxError> {
    let broadcast = Ipv4Addr::BROADCAST.into();
    let (nobody, nobody6) = ("0.0.0.0:5555".parse()?, "[::]:5555".parse()?);
    for spec in [ANY, ANY4] {
        let site = Site::new(&[spec]).await?;
        let (host, client) = (site.lab.host(), site.lab.client());
        let (host4, host6) = (host.addr4().into(), host.addr6().into());
        let forged: &[(SocketAddr, IpAddr)] = match spec {
            ANY => &[
                (nobody, broadcast),
                (nobody6, "ff02::1".parse()?),
                (nobody6, host6),
                ((client.addr4(), 0).into(), host4),
                ((client.addr6(), 0).into(), host6),
                // IPv6 packets, from ::ffff:127.0.0.1.
                ("127.0.0.1:5555".parse()?, host6),
                ("127.0.0.1:5555".parse()?, "ff02::1".parse()?),
            ],
            _ => &[
                (nobody, broadcast),
                (nobody, "224.0.0.1".parse()?),
                ((client.addr4(), 0).into(), host4),
            ],
        };
        let bystanders = bystanders(host, ["127.0.0.1:5555", "[::1]:5555"]).await?;
        let forger = Forger::new(client, host, "eth0").await?;
        site.forge(&forger, forged).await?;
        assert_silent(&bystanders).await;
        assert_eq!(site.heard(), forged.len(), "a forged datagram was passed on");
    }
    Ok(())
}

async fn loopback() -> Result<(), BoxError> {
    let local = "127.0.0.2:5555".parse()?;
    let (localhost, port) = (Ipv4Addr::LOCALHOST.into(), 8080);
    for spec in [ANY, ANY4] {
        let site = Site::new(&[spec]).await?;
        let (host, client) = (site.lab.host(), site.lab.client());
        let host4 = host.addr4().into();
        // The host itself may ask from everywhere.
        let own =
            [("127.0.0.1", "127.0.0.3"), ("127.0.0.1", "192.168.33.2"), ("0.0.0.0", "127.0.0.1")];
        for (from, to) in own {
            let (from, to) =
                (SocketAddr::new(from.parse()?, 0), (to.parse::<IpAddr>()?, port).into());
            assert_eq!(host.run(exchange(from, to)).await?, to);
        }
        assert_eq!((site.heard(), site.dropped()), (own.len(), (0, 0)));

        host.sysctl("net/ipv4/conf/eth0/route_localnet", "1").await?;
        let mut forged: Vec<(SocketAddr, IpAddr)> = vec![
            (local, host4),
            (local, localhost),
            (local, Ipv4Addr::BROADCAST.into()),
            ((client.addr4(), 5555).into(), localhost),
        ];
        if spec == ANY4 {
            forged.push((local, "224.0.0.1".parse()?));
        }
        let bystanders = bystanders(host, ["127.0.0.2:5555", "127.0.0.1:5555"]).await?;
        let forger = Forger::new(client, host, "eth0").await?;
        site.forge(&forger, &forged).await?;
        assert_silent(&bystanders).await;
        assert_eq!(site.heard(), own.len() + forged.len(), "a forged datagram was passed on");
        let (from, to) = (SocketAddr::new(localhost, 0), SocketAddr::new(localhost, port));
        assert_eq!(host.run(exchange(from, to)).await?, to);
        if spec == ANY {
            // The kernel takes ::1 from nobody else.
            let (from, to) = ("[::1]:0".parse()?, SocketAddr::from((host.addr6(), port)));
            assert_eq!(host.run(exchange(from, to)).await?, to);
        }
    }
    Ok(())
}

async fn to_many() -> Result<(), BoxError> {
    let mut site = Site::new(&[]).await?;
    let (mapper, endpoint) = (site.mapper.clone(), site.web.addr4().into());
    // A socket that somebody else has bound, and that may send to broadcast addresses, as all of
    // Go's may.
    let lease = site.lab.host().run(async move {
        let socket = UdpSocket::bind("0.0.0.0:8080").await?;
        socket.set_broadcast(true)?;
        let host = HostAddr::Ip(Ipv4Addr::UNSPECIFIED.into());
        let ports = ("8080".parse()?, "80".parse()?);
        let binding = Binding::new(Protocol::Udp, host, ports.0, endpoint, ports.1);
        let reserved =
            Reserved::adopt(binding.ok_or("no binding")?, vec![socket.into_std()?.into()]);
        Ok::<_, BoxError>(mapper.serve(vec![reserved?])?)
    });
    site.leases.push(lease.await?);
    let (host, client) = (site.lab.host(), site.lab.client());
    let neighbours =
        client.run(async { Ok::<_, io::Error>([UdpSocket::bind("0.0.0.0:5555").await?]) });
    let neighbours = neighbours.await?;
    let forger = Forger::new(client, host, "eth0").await?;
    forger.send("192.168.33.255:5555".parse()?, (host.addr4(), 8080).into())?;
    site.ask().await?;
    assert_silent(&neighbours).await;
    // Only the kernel knows that it is one: the container has answered.
    assert_eq!((site.heard(), site.dropped()), (2, (0, 1)));
    Ok(())
}

async fn many() -> Result<(), BoxError> {
    for (spec, groups) in
        [(ANY, ["192.168.33.255", "255.255.255.255"]), (ANY4, ["192.168.33.255", "224.0.0.1"])]
    {
        let site = Site::new(&[spec]).await?;
        let (host, client) = (site.lab.host(), site.lab.client());
        // The host has no route to the other one: only the link says where it is.
        client.add_address("eth0", "198.51.100.9/32".parse()?).await?;
        for from in ["192.168.33.10:0", "198.51.100.9:0"] {
            for to in groups {
                let to = (to.parse::<IpAddr>()?, 8080).into();
                let answered = client.run(exchange(from.parse()?, to)).await?;
                assert_eq!(answered, (host.addr4(), 8080).into(), "{from} to {to}");
            }
        }
        if spec == ANY {
            let group = "[ff02::1]:8080".parse()?;
            let from = SocketAddr::from((client.addr6(), 0));
            assert_eq!(client.run(exchange(from, group)).await?, (host.addr6(), 8080).into());
            let zoned = client.run(exchange("[::]:0".parse()?, group)).await?;
            assert!(matches!(zoned.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local()), "{zoned}");
        }
        assert_eq!(site.dropped(), (0, 0));
    }
    Ok(())
}

async fn link_local() -> Result<(), BoxError> {
    let site = Site::new(&[ANY]).await?;
    let (host, client) = (site.lab.host(), site.lab.client());
    host.add_address("eth0", "fe80::2222/64".parse()?).await?;
    let to: SocketAddr = "[fe80::2222]:8080".parse()?;
    // From a link-local address, and from one that has no zone.
    for from in ["[::]:0".parse()?, SocketAddr::from((client.addr6(), 0))] {
        let answered = client.run(exchange(from, to)).await?;
        assert_eq!((answered.ip(), answered.port()), (to.ip(), to.port()), "{from}");
    }
    assert_eq!(site.dropped(), (0, 0));
    Ok(())
}

async fn zones() -> Result<(), BoxError> {
    let site = Site::new(&[ANY]).await?;
    let (host, client) = (site.lab.host(), site.lab.client());
    let neighbour = &site.web;
    for (node, link, address) in [
        (host, "eth0", "fe80::1"),
        (host, "docker0", "fe80::1"),
        (client, "eth0", "fe80::99"),
        (neighbour.node(), "eth0", "fe80::99"),
    ] {
        node.add_address(link, format!("{address}/64").parse()?).await?;
    }
    // From one port at one address to one address, on two links.
    let to: SocketAddr = "[fe80::1]:8080".parse()?;
    for node in [client, neighbour.node(), client] {
        let asked = node.run(async move {
            const ADDR: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
            let from = SocketAddrV6::new(ADDR, 5555, 0, if_nametoindex("eth0")?);
            exchange(from.into(), to).await
        });
        let answered = asked.await?;
        assert_eq!((answered.ip(), answered.port()), (to.ip(), to.port()), "{}", node.name());
    }
    assert_eq!((site.mapper.stats()[0].opened, site.dropped()), (2, (0, 0)));
    Ok(())
}

async fn circles() -> Result<(), BoxError> {
    let site = Site::new(&[ANY, "8081:80/udp"]).await?;
    let (host, client) = (site.lab.host(), site.lab.client());
    let other = ProxyMapper::new();
    let _lease = publish(host, &other, dual(&site.web), "8082:80/udp").await?;
    // IPv6 takes its own addresses from outside, IPv4 does if told so.
    host.sysctl("net/ipv4/conf/eth0/accept_local", "1").await?;
    let forger = Forger::new(client, host, "eth0").await?;
    for ip in host.addresses() {
        for port in [8080, 8081, 8082] {
            forger.send((ip, port).into(), (ip, 8080).into())?;
        }
    }
    site.ask().await?;
    assert_eq!((site.heard(), site.dropped()), (1, (6, 6)));
    // Another host may have the same port.
    forger.send((client.addr4(), 8081).into(), (host.addr4(), 8080).into())?;
    site.ask().await?;
    assert_eq!((site.heard(), site.dropped()), (3, (6, 6)));
    Ok(())
}

async fn itself() -> Result<(), BoxError> {
    let site = Site::new(&[ANY]).await?;
    let (host, client) = (site.lab.host(), site.lab.client());
    let forger = Forger::new(client, host, "eth0").await?;
    forger.send((site.web.addr4(), 80).into(), (host.addr4(), 8080).into())?;
    forger.send((site.web.addr6(), 80).into(), (host.addr6(), 8080).into())?;
    site.ask().await?;
    assert_eq!((site.heard(), site.dropped()), (1, (2, 2)));
    // From another of its ports it may ask.
    let to = SocketAddr::from((host.addr4(), 8080));
    assert_eq!(site.web.run(exchange("0.0.0.0:0".parse()?, to)).await?, to);
    Ok(())
}

async fn local_ports() -> Result<(), BoxError> {
    const CLIENTS: u64 = 40;
    let site = Site::new(&[ANY]).await?;
    // Ten sessions have one each.
    site.lab.host().sysctl("net/ipv4/ip_local_port_range", "50000 50009").await?;
    for _ in 0..CLIENTS {
        site.ask().await?;
    }
    let stats = &site.mapper.stats()[0];
    assert_eq!((stats.opened, stats.failed.total()), (CLIENTS, 0));
    assert!(stats.active <= 10, "{}", stats.active);
    Ok(())
}
