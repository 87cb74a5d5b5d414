//! Who the container thinks is calling, by the choices of `SourceAddress`.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use portmap::{
    BoxError, Endpoint, ErrorKind, Lease, PortMapper, ProxyMapper,
    proxy::{NetnsDial, SourceAddress},
    rules::{Interface, Layout, Policy, TransparentRouting},
};
use portmap_testkit::{Bridge, CallError, Container, Lab, Need, Node, Suite, Webapp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, UdpSocket},
    time::{sleep, timeout},
};

use crate::{
    nat::Nat,
    support::{dual, request},
};

pub(crate) fn tests(suite: &mut Suite) {
    let netns = [Need::Netns];
    suite.test("a_header_names_the_client_on_every_path", &netns, headers);
    suite.test("haproxy_reads_the_headers", &[Need::Netns, Need::Tool("haproxy")], haproxy);
    suite.test("a_transparent_client_is_seen_as_itself", &netns, transparent);
    suite.test("who_cannot_be_shown_is_seen_as_the_gateway", &netns, cannot_be_shown);
    suite.test("a_transparent_container_may_refuse_and_come_back", &netns, refusing);
    for layout in [Layout::Nftables, Layout::Iptables] {
        let tool = Need::Tool(if layout == Layout::Nftables { "nft" } else { "iptables" });
        let name = format!("transparent_connections_live_beside_rules_{layout}");
        suite.test(&name, &[Need::Netns, tool], async move || beside_rules(layout).await);
    }
    suite.test("a_dial_from_inside_is_told_by_header_alone", &netns, from_inside);
    suite.test("a_clients_port_is_kept_where_it_is_free", &netns, ports);
    suite.test("bulk_and_large_datagrams_pass_transparently", &netns, bulk);
    suite.test("transparent_routing_leaves_other_traffic_alone", &netns, others);
    suite.test(
        "transparent_routing_leaves_nothing",
        &[Need::Netns, Need::Tool("ip")],
        nothing_left,
    );
    suite.test("transparent_routing_is_one_persons", &netns, busy);
    suite.test("transparent_routing_takes_a_privilege", &[Need::Netns], denied);
}

/// A lab with a web container and one to each side of it.
struct Scene {
    lab: Lab,
    docker0: Bridge,
    br0: Bridge,
    web: Container,
    neighbour: Container,
    stranger: Container,
}

async fn scene() -> Result<Scene, BoxError> {
    let lab = Lab::new().await?;
    let (docker0, br0) = (lab.docker0().await?, lab.br0().await?);
    let web = docker0.container("web").await?;
    let neighbour = docker0.container("neighbour").await?;
    let stranger = br0.container("stranger").await?;
    Ok(Scene { lab, docker0, br0, web, neighbour, stranger })
}

async fn publish_as(
    host: &Node,
    source: SourceAddress,
    to: Endpoint,
    specs: &[&str],
) -> Result<Lease, BoxError> {
    let request = request(to, specs)?;
    let mapper = ProxyMapper::new().source_address(source).drain_limit(Duration::ZERO);
    Ok(host.run(async move { mapper.publish(request).await }).await?)
}

async fn set_up(host: &Node, bridges: &[&Bridge]) -> Result<TransparentRouting, BoxError> {
    let names =
        bridges.iter().map(|bridge| bridge.name().parse()).collect::<Result<Vec<_>, _>>()?;
    Ok(host.run(TransparentRouting::set_up(names)).await?)
}

/// Calls a webapp and says whom it saw, over TCP or UDP.
async fn seen(udp: bool, client: &Node, to: SocketAddr) -> Result<IpAddr, BoxError> {
    let page = if udp { client.ask_udp(to).await } else { client.get(to).await };
    let page = page.map_err(|error| {
        format!("{} to {to}/{}: {error}", client.name(), if udp { "udp" } else { "tcp" })
    })?;
    assert_eq!(page.hostname, "web");
    Ok(page.remote_ip)
}

/// The clients of all paths from outside this host, and their addresses.
fn outsiders(scene: &Scene) -> [(&Node, [IpAddr; 2]); 4] {
    [scene.lab.client(), &scene.stranger, &scene.neighbour, &scene.web]
        .map(|client| (client, [client.addr4().into(), client.addr6().into()]))
}

async fn headers() -> Result<(), BoxError> {
    use SourceAddress::{ProxyProtocolV1, ProxyProtocolV2};
    let scene = scene().await?;
    let _webapp = Webapp::start_proxied(&scene.web, 80).await?;
    let host = scene.lab.host();
    let lan: [IpAddr; 2] = [host.addr4().into(), host.addr6().into()];
    for (source, udp) in
        [(ProxyProtocolV1, false), (ProxyProtocolV2, false), (ProxyProtocolV2, true)]
    {
        let spec = if udp { "8080:80/udp" } else { "8080:80" };
        let lease = publish_as(host, source, dual(&scene.web), &[spec]).await?;
        for (client, own) in outsiders(&scene) {
            for (to, own) in lan.into_iter().zip(own) {
                assert_eq!(seen(udp, client, SocketAddr::new(to, 8080)).await?, own);
            }
        }
        for to in ["127.0.0.1", "127.0.0.2", "::1"].map(|to| to.parse::<IpAddr>()) {
            let to = to?;
            let client = if to.is_ipv4() { IpAddr::from([127, 0, 0, 1]) } else { to };
            assert_eq!(seen(udp, host, SocketAddr::new(to, 8080)).await?, client, "{to}");
        }
        for to in lan {
            assert_eq!(seen(udp, host, SocketAddr::new(to, 8080)).await?, to);
        }
        lease.release().await?;
        // A container of one family is told of clients of the other one all the same.
        let lease = publish_as(host, source, scene.web.addr4().into(), &[spec]).await?;
        let client = scene.lab.client();
        assert_eq!(seen(udp, client, SocketAddr::new(lan[1], 8080)).await?, client.addr6());
        lease.release().await?;
    }
    // Without a header nobody is answered.
    let lease = publish_as(host, SourceAddress::Gateway, dual(&scene.web), &["8080:80"]).await?;
    assert!(scene.lab.client().get(SocketAddr::new(lan[0], 8080)).await.is_err());
    lease.release().await?;
    Ok(())
}

async fn haproxy() -> Result<(), BoxError> {
    let scene = scene().await?;
    let host = scene.lab.host();
    let config = "global\n log stderr format raw local0\n\
        defaults\n mode http\n timeout client 5s\n timeout connect 5s\n timeout server 5s\n\
        frontend web\n bind :::80 v4v6 accept-proxy\n\
        http-request return status 200 content-type text/plain \
        lf-string \"Hostname: web\\nRemote IP: %[src]\\n\"\n";
    let file = std::env::temp_dir().join(format!("portmap-haproxy-{}.cfg", std::process::id()));
    std::fs::write(&file, config)?;
    let mut receiver =
        scene.web.command("haproxy", ["-db", "-f", file.to_str().unwrap_or_default()]).await?;
    for source in [SourceAddress::ProxyProtocolV1, SourceAddress::ProxyProtocolV2] {
        let lease = publish_as(host, source, dual(&scene.web), &["8080:80"]).await?;
        let client = scene.lab.client();
        let lan: [(IpAddr, IpAddr); 2] = [
            (host.addr4().into(), client.addr4().into()),
            (host.addr6().into(), client.addr6().into()),
        ];
        for (to, own) in lan {
            let mut asked = seen(false, client, SocketAddr::new(to, 8080)).await;
            for _ in 0..100 {
                if asked.is_ok() {
                    break;
                }
                // It has only just been started.
                sleep(Duration::from_millis(20)).await;
                asked = seen(false, client, SocketAddr::new(to, 8080)).await;
            }
            let asked = asked.map_err(|error| format!("{error}; {}", receiver.transcript()))?;
            assert_eq!(asked, own, "{source:?}");
        }
        lease.release().await?;
    }
    receiver.end_input();
    std::fs::remove_file(&file)?;
    Ok(())
}

async fn transparent() -> Result<(), BoxError> {
    let scene = scene().await?;
    let _webapp = Webapp::start(&scene.web, 80).await?;
    let host = scene.lab.host();
    let routing = set_up(host, &[&scene.docker0, &scene.br0]).await?;
    let both = ["8080:80", "8080:80/udp"];
    let lease = publish_as(host, SourceAddress::Transparent, dual(&scene.web), &both).await?;
    let lan: [IpAddr; 2] = [host.addr4().into(), host.addr6().into()];
    for netfilter_on_bridges in ["0", "1"] {
        for name in ["iptables", "ip6tables"] {
            let key = format!("net/bridge/bridge-nf-call-{name}");
            // Without the module there is no such thing, and it is off.
            let _ = host.sysctl(&key, netfilter_on_bridges).await;
        }
        for udp in [false, true] {
            for (client, own) in outsiders(&scene).into_iter().take(2) {
                for (to, own) in lan.into_iter().zip(own) {
                    // The same client again: whatever the kernel remembers of it is no hindrance.
                    for _ in 0..3 {
                        assert_eq!(seen(udp, client, SocketAddr::new(to, 8080)).await?, own);
                    }
                }
            }
            // The host's own address is one that can be shown.
            for to in lan {
                assert_eq!(seen(udp, host, SocketAddr::new(to, 8080)).await?, to, "udp: {udp}");
            }
        }
    }
    lease.release().await?;
    routing.remove().await?;
    Ok(())
}

async fn cannot_be_shown() -> Result<(), BoxError> {
    let scene = scene().await?;
    let _webapp = Webapp::start(&scene.web, 80).await?;
    let host = scene.lab.host();
    let routing = set_up(host, &[&scene.docker0]).await?;
    let both = ["8080:80", "8080:80/udp"];
    let lease = publish_as(host, SourceAddress::Transparent, dual(&scene.web), &both).await?;
    let gateway6 = scene.docker0.gateway6().ok_or("docker0 has no IPv6")?;
    let gateway: [IpAddr; 2] = [scene.docker0.gateway4().into(), gateway6.into()];
    let lan: [IpAddr; 2] = [host.addr4().into(), host.addr6().into()];
    for udp in [false, true] {
        for to in ["127.0.0.1", "127.0.0.2", "::1"].map(|to| to.parse::<IpAddr>()) {
            let to = to?;
            let expected = gateway[usize::from(to.is_ipv6())];
            assert_eq!(seen(udp, host, SocketAddr::new(to, 8080)).await?, expected, "{to}");
        }
        for client in [&scene.neighbour, &scene.web] {
            for (to, gateway) in lan.into_iter().zip(gateway) {
                assert_eq!(seen(udp, client, SocketAddr::new(to, 8080)).await?, gateway);
            }
        }
    }
    lease.release().await?;
    // A client of the other family.
    let lease =
        publish_as(host, SourceAddress::Transparent, scene.web.addr4().into(), &both).await?;
    for udp in [false, true] {
        let client = scene.lab.client();
        assert_eq!(seen(udp, client, SocketAddr::new(lan[1], 8080)).await?, gateway[0]);
        assert_eq!(seen(udp, client, SocketAddr::new(lan[0], 8080)).await?, client.addr4());
    }
    lease.release().await?;
    routing.remove().await?;
    Ok(())
}

/// What the container says of a port where nobody listens comes to the proxy as well: a reset, and ICMP.
async fn refusing() -> Result<(), BoxError> {
    let scene = scene().await?;
    let (host, client) = (scene.lab.host(), scene.lab.client());
    let routing = set_up(host, &[&scene.docker0]).await?;
    let both = ["8080:80", "8080:80/udp"];
    let lease = publish_as(host, SourceAddress::Transparent, dual(&scene.web), &both).await?;
    for to in [IpAddr::from(host.addr4()), host.addr6().into()] {
        let to = SocketAddr::new(to, 8080);
        assert!(matches!(client.get(to).await, Err(CallError::Reset)));
        let socket = client.run(async move {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(to).await?;
            for _ in 0..3 {
                socket.send(b"anybody?").await?;
                sleep(Duration::from_millis(20)).await;
            }
            Ok::<_, std::io::Error>(socket)
        });
        let socket = socket.await?;
        let webapp = Webapp::start(&scene.web, 80).await?;
        // The same session goes on.
        let answer = client.run(async move {
            socket.send(b"who calls?").await?;
            let mut answer = vec![0; 1024];
            let length = timeout(Duration::from_secs(2), socket.recv(&mut answer)).await??;
            Ok::<_, BoxError>(String::from_utf8_lossy(&answer[..length]).into_owned())
        });
        let own: IpAddr = if to.is_ipv4() { client.addr4().into() } else { client.addr6().into() };
        assert!(answer.await?.contains(&format!("Remote IP: {own}\n")));
        assert_eq!(seen(false, client, to).await?, own);
        drop(webapp);
        sleep(Duration::from_millis(50)).await;
    }
    lease.release().await?;
    routing.remove().await?;
    Ok(())
}

async fn beside_rules(layout: Layout) -> Result<(), BoxError> {
    let nat = Nat::new(Policy { layout, ..Policy::default() }).await?;
    let (host, client) = (nat.lab.host(), nat.lab.client());
    let routing = set_up(host, &[&nat.docker0, &nat.br0]).await?;
    let by_nat = nat.publish(&nat.web, &["8081:80", "8081:80/udp"]).await?;
    let both = ["8080:80", "8080:80/udp"];
    let lease = publish_as(host, SourceAddress::Transparent, dual(&nat.web), &both).await?;
    let gateway = IpAddr::from(nat.docker0.gateway4());
    for udp in [false, true] {
        for port in [8080, 8081] {
            let to = SocketAddr::from((host.addr4(), port));
            assert_eq!(seen(udp, client, to).await?, client.addr4(), "{port}");
        }
        // What leaves a container's network is masqueraded, also what the proxy says in a container's name.
        let to = SocketAddr::from((host.addr4(), 8080));
        let other = IpAddr::from(nat.other.addr4());
        let masqueraded = seen(udp, &nat.other, to).await?;
        assert!([gateway, other].contains(&masqueraded), "{masqueraded}");
    }
    lease.release().await?;
    by_nat.release().await?;
    routing.remove().await?;
    Ok(())
}

async fn from_inside() -> Result<(), BoxError> {
    use std::{net::Ipv4Addr, os::fd::AsFd};

    let lab = Lab::new().await?;
    let container = Node::new("web").await?;
    for (port, proxied) in [(80, true), (81, false)] {
        let listener = container.run(TcpListener::bind((Ipv4Addr::LOCALHOST, port))).await?;
        container.spawn(async move {
            match proxied {
                true => Webapp::serve_proxied(listener, "web").await,
                false => Webapp::serve(listener, "web").await,
            }
        });
    }
    let dial = NetnsDial::entering(container.as_fd().try_clone_to_owned()?)?;
    let client = lab.client();
    let cases = [
        (SourceAddress::ProxyProtocolV2, "8080:80", IpAddr::from(client.addr4())),
        (SourceAddress::Transparent, "8080:81", IpAddr::from(Ipv4Addr::LOCALHOST)),
    ];
    for (source, spec, expected) in cases {
        let mapper = ProxyMapper::new().source_address(source).dial(dial.clone());
        let wanted = request(Ipv4Addr::LOCALHOST.into(), &[spec])?;
        let lease = lab.host().run(async move { mapper.publish(wanted).await }).await?;
        let to = SocketAddr::from((lab.host().addr4(), 8080));
        assert_eq!(seen(false, client, to).await?, expected, "{source:?}");
        lease.release().await?;
    }
    Ok(())
}

async fn ports() -> Result<(), BoxError> {
    let scene = scene().await?;
    let webapp = Webapp::start(&scene.web, 80).await?;
    let host = scene.lab.host();
    let routing = set_up(host, &[&scene.docker0]).await?;
    let specs = ["8080:80", "8081:80", "4000:80"];
    let lease = publish_as(host, SourceAddress::Transparent, dual(&scene.web), &specs).await?;
    let to = host.addr4();
    // From one port of the client to two published ones; from a privileged one; and from one that the host listens on.
    let calls = [(5000, 8080), (5000, 8081), (1023, 8080), (4000, 8080)];
    let client = SocketAddr::from((scene.lab.client().addr4(), 0));
    let answers = scene.lab.client().run(async move {
        let mut open = Vec::new();
        for (from, port) in calls {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::new(client.ip(), from))?;
            let mut stream =
                timeout(Duration::from_secs(5), socket.connect((to, port).into())).await??;
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
            let mut answer = vec![0; 1024];
            let length = timeout(Duration::from_secs(5), stream.read(&mut answer)).await??;
            open.push((String::from_utf8_lossy(&answer[..length]).into_owned(), stream));
        }
        Ok::<_, BoxError>(open.into_iter().map(|(answer, _)| answer).collect::<Vec<_>>())
    });
    for answer in answers.await? {
        assert!(answer.contains(&format!("Remote IP: {}", client.ip())), "{answer}");
    }
    let ports: Vec<_> = webapp.seen().iter().map(SocketAddr::port).collect();
    let [first, second, privileged, taken] = ports[..] else { panic!("{ports:?}") };
    assert!(first == 5000 && second != 5000 && taken != 4000, "{ports:?}");
    assert_eq!(privileged, 1023, "the lab's root may bind it");
    lease.release().await?;
    routing.remove().await?;
    Ok(())
}

async fn bulk() -> Result<(), BoxError> {
    let scene = scene().await?;
    let host = scene.lab.host();
    let routing = set_up(host, &[&scene.docker0]).await?;
    let both = ["8080:80", "8080:80/udp"];
    let lease = publish_as(host, SourceAddress::Transparent, dual(&scene.web), &both).await?;
    let listener = scene.web.run(TcpListener::bind("[::]:80")).await?;
    let echo = scene.web.run(UdpSocket::bind("[::]:80")).await?;
    let _tcp = scene.web.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    let _udp = scene.web.spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, from)) = echo.recv_from(&mut buffer).await {
            let _ = echo.send_to(&buffer[..length], from).await;
        }
    });
    let lan: [IpAddr; 2] = [host.addr4().into(), host.addr6().into()];
    for to in lan {
        let echoed = scene.lab.client().run(async move {
            let to = SocketAddr::new(to, 8080);
            let mut stream = tokio::net::TcpStream::connect(to).await?;
            let (mut read, mut write) = stream.split();
            let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
            let mut heard = Vec::new();
            let send = async {
                write.write_all(&sent).await?;
                write.shutdown().await
            };
            tokio::try_join!(send, read.read_to_end(&mut heard))?;
            assert!(heard == sent, "{} bytes came back", heard.len());
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(to).await?;
            let mut buffer = vec![0; 65_536];
            for size in [0, 1, 1472, 1473, 65_507, 3] {
                socket.send(&sent[..size]).await?;
                let length = socket.recv(&mut buffer).await?;
                assert!(buffer[..length] == sent[..size], "{size} bytes became {length}");
            }
            Ok::<_, std::io::Error>(())
        });
        timeout(Duration::from_secs(20), echoed).await??;
    }
    lease.release().await?;
    routing.remove().await?;
    Ok(())
}

async fn others() -> Result<(), BoxError> {
    let scene = scene().await?;
    let host = scene.lab.host();
    let client = scene.lab.client();
    let _webapp = Webapp::start(&scene.web, 80).await?;
    let _outside = Webapp::start(client, 80).await?;
    // The container reaches the client by way of the host, and is answered.
    host.sysctl("net/ipv4/ip_forward", "1").await?;
    client
        .exec("ip", ["route", "add", &scene.docker0.subnet4().to_string(), "via", "192.168.33.2"])
        .await?;
    let outside = SocketAddr::from((client.addr4(), 80));
    scene.web.get(outside).await?;

    let routing = set_up(host, &[&scene.docker0]).await?;
    let lease =
        publish_as(host, SourceAddress::Transparent, dual(&scene.web), &["8080:80"]).await?;
    let published = SocketAddr::from((host.addr4(), 8080));
    assert_eq!(seen(false, client, published).await?, client.addr4());
    // An open connection of the client to the container by the proxy, and the container calls that very client.
    let open = client.run(tokio::net::TcpStream::connect(published)).await?;
    for _ in 0..5 {
        let page = scene.web.get(outside).await?;
        assert_eq!((page.hostname.as_str(), page.remote_ip), ("client", scene.web.addr4().into()));
        scene.web.ask_udp(outside).await?;
    }
    // Direct calls of the client to the container: the answers are not the proxy's.
    assert_eq!(client.get((scene.web.addr4(), 80).into()).await?.remote_ip, client.addr4());
    // Whoever intercepts by sockets without an address gets no more than before.
    let wildcard = host.run(async {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_ip_transparent_v4(true)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from(([0, 0, 0, 0], 80)).into())?;
        socket.listen(8)?;
        Ok::<_, std::io::Error>(socket)
    });
    let wildcard = wildcard.await?;
    assert_eq!(scene.web.get(outside).await?.hostname, "client");
    drop((open, wildcard));
    lease.release().await?;
    routing.remove().await?;
    Ok(())
}

/// What the host has of rules, routes and nftables, in words.
async fn state(host: &Node) -> Result<String, BoxError> {
    let mut state = String::new();
    for args in [
        "rule show",
        "-6 rule show",
        "route show table 1886351988",
        "-6 route show table 1886351988",
    ] {
        let output = host.exec("ip", args.split(' ').map(str::to_owned)).await?;
        state += &output.stdout;
    }
    Ok(state)
}

async fn nothing_left() -> Result<(), BoxError> {
    let scene = scene().await?;
    let host = scene.lab.host();
    let before = state(host).await?;
    let mut routing = set_up(host, &[&scene.docker0]).await?;
    let during = state(host).await?;
    assert_eq!(during.matches("fwmark 0xa0/0xf0 lookup 1886351988").count(), 2, "{during}");
    assert_eq!(during.matches("local default dev lo").count(), 2, "{during}");
    let br0: Interface = scene.br0.name().parse()?;
    routing = host.run(async move { routing.add(br0).await.map(|()| routing) }).await?;
    assert!(routing.ruleset().to_string().contains("br0"));
    routing = host.run(async move { routing.withdraw(br0).await.map(|()| routing) }).await?;
    assert!(!routing.ruleset().to_string().contains("br0"));
    routing.remove().await?;
    assert_eq!(state(host).await?, before);

    // Dropping does the same, in the background.
    drop(set_up(host, &[&scene.docker0]).await?);
    let mut waited = 0;
    while state(host).await? != before {
        waited += 1;
        assert!(waited < 100, "something is left: {}", state(host).await?);
        sleep(Duration::from_millis(20)).await;
    }

    // What a killed process leaves is taken over, and goes with the next one.
    for family in ["-4", "-6"] {
        let rule = ["rule", "add", "fwmark", "0xa0/0xf0", "priority", "100", "table", "1886351988"];
        let route = "route add local default dev lo proto static table 1886351988";
        let route: Vec<_> = route.split(' ').collect();
        for args in [&rule[..], &route] {
            host.exec("ip", [&[family], args].concat()).await?;
        }
    }
    assert_ne!(state(host).await?, before);
    let routing = set_up(host, &[&scene.docker0]).await?;
    assert_eq!(state(host).await?, during);
    routing.remove().await?;
    assert_eq!(state(host).await?, before);
    Ok(())
}

async fn busy() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let routing = set_up(host, &[]).await?;
    let second = host.run(TransparentRouting::set_up([])).await;
    assert_eq!(second.map_err(|error| error.kind()).err(), Some(ErrorKind::Busy));
    routing.remove().await?;
    let third = set_up(host, &[]).await?;
    third.remove().await?;
    Ok(())
}

async fn denied() -> Result<(), BoxError> {
    // The privileges of one thread are its own.
    let tried = std::thread::spawn(|| {
        use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        set_capabilities(None, sets)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok::<_, std::io::Error>(runtime.block_on(TransparentRouting::set_up([])))
    });
    let tried = tried.join().map_err(|_| "the thread panicked")??;
    let error = tried.err().ok_or("it was allowed")?;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    Ok(())
}
