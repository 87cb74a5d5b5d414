//! UDP ports: where replies come from, and what a session survives.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use portmap::BoxError;
use portmap_testkit::{Lab, Need, Node, Page, Suite, Webapp};
use tokio::{
    net::UdpSocket,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::support::{dual, publish, tool};

pub(crate) fn tests(suite: &mut Suite) {
    let netns = [Need::Netns];
    suite.test("replies_come_from_the_host_address_that_was_written_to", &netns, two_addresses);
    suite.test("datagrams_larger_than_a_packet_pass_both_ways", &netns, large);
    suite.test("datagrams_that_are_sent_as_one_arrive_apart", &netns, segments);
    suite.test("a_session_survives_its_containers_restart", &netns, restart);
    suite.test("sessions_share_what_descriptors_there_are", &netns, descriptors);
}

/// Sends a datagram and returns what comes back, and from where.
async fn exchange(
    socket: &UdpSocket,
    datagram: &[u8],
    to: SocketAddr,
) -> io::Result<(Vec<u8>, SocketAddr)> {
    socket.send_to(datagram, to).await?;
    let mut buffer = vec![0; 65_536];
    let received = timeout(Duration::from_secs(2), socket.recv_from(&mut buffer)).await;
    let (length, from) = received.map_err(|_| io::Error::other(format!("{to} is silent")))??;
    buffer.truncate(length);
    Ok((buffer, SocketAddr::new(from.ip().to_canonical(), from.port())))
}

async fn two_addresses() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let webapp = Webapp::start(&web, 80).await?;
    let host = lab.host();
    host.add_address("eth0", "192.168.33.3/24".parse()?).await?;
    host.add_address("eth0", "2001:db8:33::3/64".parse()?).await?;
    let lease = publish(host, dual(&web), &["8080:80/udp"]).await?;

    let addrs: [SocketAddr; 4] = [
        "192.168.33.2:8080".parse()?,
        "192.168.33.3:8080".parse()?,
        "[2001:db8:33::2]:8080".parse()?,
        "[2001:db8:33::3]:8080".parse()?,
    ];
    let asked = lab.client().run(async move {
        // One socket for all of them, twice.
        let socket = UdpSocket::bind("[::]:0").await?;
        for to in addrs.into_iter().chain(addrs) {
            let mapped = match to.ip() {
                IpAddr::V4(v4) => SocketAddr::from((v4.to_ipv6_mapped(), to.port())),
                IpAddr::V6(_) => to,
            };
            let (_, from) = exchange(&socket, b"who calls?", mapped).await?;
            assert_eq!(from, to);
        }
        io::Result::Ok(())
    });
    asked.await?;
    let mut seen = webapp.seen();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), addrs.len(), "a session for each address: {seen:?}");
    lease.release().await?;
    Ok(())
}

/// Sends back what comes to a port of a node.
async fn echo(node: &Node, port: u16) -> Result<JoinHandle<io::Result<()>>, BoxError> {
    let socket = node.run(UdpSocket::bind(("0.0.0.0", port))).await?;
    Ok(node.spawn(async move {
        let mut buffer = vec![0; 65_536];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..length], from).await?;
        }
    }))
}

async fn large() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let _echo = echo(&web, 7).await?;
    let lease = publish(lab.host(), web.addr4().into(), &["7:7/udp"]).await?;
    let addrs: [SocketAddr; 2] = [(lab.host().addr4(), 7).into(), (lab.host().addr6(), 7).into()];
    let exchanged = lab.client().run(async move {
        for to in addrs {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            for size in [0, 1472, 1473, 65_507, 0, 30_000] {
                let sent = vec![size as u8; size];
                let (heard, from) = exchange(&socket, &sent, to).await?;
                assert!(heard == sent, "{size} bytes to {to} became {}", heard.len());
                assert_eq!(from, to);
            }
        }
        io::Result::Ok(())
    });
    exchanged.await?;
    lease.release().await?;
    Ok(())
}

async fn segments() -> Result<(), BoxError> {
    const SIZE: usize = 1000;
    const COUNT: usize = 60;
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let _echo = echo(&web, 7).await?;
    let lease = publish(lab.host(), web.addr4().into(), &["7:7/udp"]).await?;
    let to = SocketAddr::from((lab.host().addr4(), 7));
    let heard = lab.client().run(async move {
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        setsockopt(&socket, sockopt::UdpGsoSegment, &(SIZE as i32))?;
        let sent: Vec<_> = (0..SIZE * COUNT).map(|place| (place / SIZE) as u8).collect();
        socket.send_to(&sent, to).await?;
        let mut heard = Vec::new();
        let mut buffer = [0; 2 * SIZE];
        while heard.len() < COUNT {
            let received = timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await;
            let Ok(length) = received else {
                break;
            };
            heard.push((length?, buffer[0]));
        }
        io::Result::Ok(heard)
    });
    let expected: Vec<_> = (0..COUNT).map(|number| (SIZE, number as u8)).collect();
    assert_eq!(heard.await?, expected);
    lease.release().await?;
    Ok(())
}

async fn restart() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let webapp = Webapp::start(&web, 80).await?;
    let lease = publish(lab.host(), dual(&web), &["8080:80/udp"]).await?;
    let to = SocketAddr::from((lab.host().addr4(), 8080));
    let socket = lab.client().run(UdpSocket::bind("0.0.0.0:0")).await?;
    exchange(&socket, b"who calls?", to).await?;
    let before = webapp.seen();
    drop(webapp);
    sleep(Duration::from_millis(50)).await;
    for _ in 0..10 {
        socket.send_to(b"nobody there", to).await?;
    }
    let heard = timeout(Duration::from_millis(200), socket.recv(&mut [0; 1])).await;
    assert!(heard.is_err(), "{heard:?}");

    let webapp = Webapp::start(&web, 80).await?;
    let (answer, _) = exchange(&socket, b"who calls?", to).await?;
    assert!(answer.starts_with(b"Hostname: web"));
    assert_eq!(webapp.seen(), before, "it is another session");
    lease.release().await?;
    Ok(())
}

/// What the tool may have open, and how many clients it has: each a session, and a descriptor.
const DESCRIPTORS: &str = "48";
const CLIENTS: usize = 200;

async fn descriptors() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let webapp = Webapp::start(&web, 80).await?;
    let limited = format!("ulimit -n {DESCRIPTORS}; exec \"$@\"");
    let path = tool()?.to_string_lossy().into_owned();
    let endpoint = web.addr4().to_string();
    let args = ["-c", &limited, "sh", &path, "8080:80/udp", "8080:80", "--to", &endpoint];
    let mut tool = lab.host().command("sh", args).await?;
    tool.read_until("Ctrl-C ends it.\n").await?;

    let host = SocketAddr::from((lab.host().addr4(), 8080));
    let served = lab.client().run(async move {
        let limit = Duration::from_secs(2);
        for client in 0..CLIENTS {
            let page = Page::ask_udp(host, Vec::new(), limit).await;
            page.map_err(|error| io::Error::other(format!("client {client}: {error}")))?;
        }
        io::Result::Ok(())
    });
    served.await?;
    assert_eq!(webapp.seen().len(), CLIENTS);
    tool.read_until("a port has used up its share of the descriptors").await?;
    tool.read_until("ended for another session").await?;
    let warnings = tool.transcript().matches("has used up its share").count();
    assert!(warnings <= 5, "{warnings} lines of a thing that happens all the time");
    Ok(())
}
