//! UDP: what one end sends arrives at the other, and what publishing, releasing and the layers around a session do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use portmap_core::PortMapper;
use portmap_proxy::{
    Carried, Dial, Exchanged, FailureCause, ForwardError, ProxyMapper, Session, SessionEnding,
};
use rustix::io::Errno;
use support::{addr, publish_udp, request, udp_container};
use tokio::{
    net::UdpSocket,
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};
use tower::{
    Service, ServiceBuilder,
    layer::layer_fn,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
    service_fn,
    util::MapResponseLayer,
};

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(5);

/// A client's socket that sends to `to` and receives from nobody else.
async fn client(to: SocketAddr) -> UdpSocket {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let received = timeout(LONG, socket.recv_from(&mut buffer)).await.expect("5 s passed");
    let (length, from) = received.unwrap();
    buffer.truncate(length);
    (buffer, from)
}

async fn assert_silent(socket: &UdpSocket) {
    let heard = timeout(SHORT, socket.recv(&mut [0; 16])).await;
    assert!(heard.is_err(), "{heard:?}");
}

/// Sends there and back again.
async fn exchange(client: &UdpSocket, container: &UdpSocket) -> SocketAddr {
    client.send(b"ask").await.unwrap();
    let (asked, proxy) = receive(container).await;
    assert_eq!(asked, b"ask");
    container.send_to(b"answer", proxy).await.unwrap();
    assert_eq!(receive(client).await.0, b"answer");
    proxy
}

/// A mapper that tells of the sessions which have ended.
macro_rules! telling {
    ($mapper:expr) => {{
        let (tell, ended) = mpsc::unbounded_channel::<Exchanged>();
        let layer = MapResponseLayer::new(move |exchanged| tell.send(exchanged).unwrap());
        ($mapper.session_layer(layer), ended)
    }};
}

async fn next(ended: &mut mpsc::UnboundedReceiver<Exchanged>) -> Exchanged {
    timeout(LONG, ended.recv()).await.expect("5 s passed").unwrap()
}

#[tokio::test]
async fn datagrams_of_every_size_pass_both_ways() {
    let container = udp_container().await;
    let lease = publish_udp(&ProxyMapper::new(), &container).await;
    let client = client(addr(&lease)).await;
    for size in [0, 1, 1472, 1473, 9000, 65_506, 65_507, 0] {
        let sent: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        client.send(&sent).await.unwrap();
        let (heard, proxy) = receive(&container).await;
        assert!(heard == sent, "{size} bytes became {}", heard.len());
        container.send_to(&sent, proxy).await.unwrap();
        assert!(receive(&client).await.0 == sent, "{size} bytes back");
    }
    lease.release().await.unwrap();
}

#[tokio::test]
async fn datagrams_that_come_together_stay_apart_and_in_order() {
    let container = udp_container().await;
    let lease = publish_udp(&ProxyMapper::new(), &container).await;
    let client = client(addr(&lease)).await;
    let proxy = exchange(&client, &container).await;
    let sizes = [64, 64, 64, 10, 64, 0, 64, 100, 100, 99, 0, 0, 1400, 1400, 1400, 7];
    let datagrams: Vec<Vec<u8>> =
        sizes.iter().enumerate().map(|(number, size)| vec![number as u8; *size]).collect();
    for datagram in &datagrams {
        client.send(datagram).await.unwrap();
    }
    for datagram in &datagrams {
        assert_eq!(&receive(&container).await.0, datagram);
    }
    for datagram in &datagrams {
        container.send_to(datagram, proxy).await.unwrap();
    }
    for datagram in &datagrams {
        assert_eq!(&receive(&client).await.0, datagram);
    }
}

#[tokio::test]
async fn what_comes_before_the_container_is_dialled_is_kept_in_order() {
    let container = udp_container().await;
    let slow = service_fn(async |dial: Dial| {
        sleep(SHORT).await;
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(dial.addr())?;
        std::io::Result::Ok(socket)
    });
    let lease = publish_udp(&ProxyMapper::new().session_dial(slow), &container).await;
    let client = client(addr(&lease)).await;
    let sent: [&[u8]; 4] = [b"one", b"", b"two", b"three"];
    for datagram in sent {
        client.send(datagram).await.unwrap();
    }
    for datagram in sent {
        assert_eq!(receive(&container).await.0, datagram);
    }
}

#[tokio::test]
async fn replies_come_from_the_address_that_was_written_to() {
    let container = udp_container().await;
    let port = container.local_addr().unwrap().port();
    let lease =
        ProxyMapper::new().publish(request("127.0.0.1", &format!("{port}/udp"))).await.unwrap();
    let port = lease.bindings()[0].host_ports().first().number();
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let mut proxies = Vec::new();
    let addrs = ["127.0.0.1", "127.0.0.2", "127.1.2.3"].map(|ip| ip.parse::<IpAddr>().unwrap());
    for ip in addrs {
        socket.send_to(ip.to_string().as_bytes(), (ip, port)).await.unwrap();
        let (asked, proxy) = receive(&container).await;
        assert_eq!(asked, ip.to_string().as_bytes());
        proxies.push(proxy);
    }
    // All sessions are of one client: a reply goes by its session, not by who wrote last.
    for (ip, proxy) in addrs.iter().zip(&proxies) {
        container.send_to(ip.to_string().as_bytes(), proxy).await.unwrap();
        let (answer, from) = receive(&socket).await;
        assert_eq!((answer.as_slice(), from), (ip.to_string().as_bytes(), (*ip, port).into()));
    }
    let six = client(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port))).await;
    exchange(&six, &container).await;
    lease.release().await.unwrap();
}

#[tokio::test]
async fn a_dead_container_ends_no_session() {
    let container = udp_container().await;
    let backend = container.local_addr().unwrap();
    let (mapper, mut ended) = telling!(ProxyMapper::new());
    let lease = publish_udp(&mapper, &container).await;
    let client = client(addr(&lease)).await;
    let proxy = exchange(&client, &container).await;
    drop(container);
    for _ in 0..3 {
        client.send(b"nobody there").await.unwrap();
        sleep(SHORT / 10).await;
    }
    let container = UdpSocket::bind(backend).await.unwrap();
    assert_eq!(exchange(&client, &container).await, proxy, "it is another session");

    assert!(ended.try_recv().is_err());
}

#[tokio::test]
async fn a_dead_container_is_no_matter_to_other_sessions() {
    let container = udp_container().await;
    let dead = udp_container().await.local_addr().unwrap();
    let calls = AtomicUsize::new(0);
    let calls = Arc::new(calls);
    let mapper = ProxyMapper::new().session_dial(service_fn(move |dial: Dial| {
        let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(if first { dead } else { dial.addr() })?;
            std::io::Result::Ok(socket)
        }
    }));
    let lease = publish_udp(&mapper, &container).await;
    let unlucky = client(addr(&lease)).await;
    unlucky.send(b"x").await.unwrap();
    sleep(SHORT / 4).await;
    let lucky = client(addr(&lease)).await;
    for _ in 0..100 {
        for _ in 0..10 {
            unlucky.send(&[0; 1000]).await.unwrap();
        }
        exchange(&lucky, &container).await;
    }
}

#[tokio::test]
async fn a_container_that_reads_nothing_is_no_matter_to_other_sessions() {
    let (container, deaf) = (udp_container().await, udp_container().await);
    let endpoint = deaf.local_addr().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let mapper = ProxyMapper::new().session_dial(service_fn(move |dial: Dial| {
        let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(if first { endpoint } else { dial.addr() })?;
            std::io::Result::Ok(socket)
        }
    }));
    let lease = publish_udp(&mapper, &container).await;
    let unlucky = client(addr(&lease)).await;
    unlucky.send(b"x").await.unwrap();
    receive(&deaf).await;
    let lucky = client(addr(&lease)).await;
    for _ in 0..200 {
        for _ in 0..20 {
            unlucky.send(&[0; 1400]).await.unwrap();
        }
        exchange(&lucky, &container).await;
    }
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_in_both_directions() {
    let container = udp_container().await;
    let (mapper, mut ended) = telling!(ProxyMapper::new().session_idle(SHORT * 2));
    let lease = publish_udp(&mapper, &container).await;
    let client = client(addr(&lease)).await;
    let proxy = exchange(&client, &container).await;
    // Replies alone keep it, and so do datagrams of the client alone.
    for _ in 0..4 {
        sleep(SHORT).await;
        container.send_to(b"12345", proxy).await.unwrap();
        receive(&client).await;
    }
    for _ in 0..4 {
        sleep(SHORT).await;
        client.send(b"123").await.unwrap();
        assert_eq!(receive(&container).await.1, proxy);
    }
    assert!(ended.try_recv().is_err());
    let exchanged = next(&mut ended).await;
    assert_eq!(exchanged.ending, SessionEnding::Idle);
    assert_eq!(exchanged.observed, proxy);
    assert_eq!(exchanged.to_endpoint, Carried { datagrams: 5, bytes: 15 });
    assert_eq!(exchanged.to_client, Carried { datagrams: 5, bytes: 26 });
    exchange(&client, &container).await;
}

#[tokio::test]
async fn a_full_table_ends_the_least_recently_used_session() {
    let container = udp_container().await;
    let (mapper, mut ended) = telling!(ProxyMapper::new().session_limit(2));
    let lease = publish_udp(&mapper, &container).await;
    let (one, two) = (client(addr(&lease)).await, client(addr(&lease)).await);
    let first = exchange(&one, &container).await;
    let second = exchange(&two, &container).await;
    assert_eq!(exchange(&one, &container).await, first);
    let three = client(addr(&lease)).await;
    exchange(&three, &container).await;
    let exchanged = next(&mut ended).await;
    assert_eq!((exchanged.ending, exchanged.observed), (SessionEnding::Evicted, second));
    assert_eq!(exchange(&one, &container).await, first);
}

#[tokio::test]
async fn a_session_that_has_to_go_is_not_dialled_for_any_more() {
    const LIMIT: usize = 10;
    let container = udp_container().await;
    let dials = Arc::new(());
    let going_on = Arc::downgrade(&dials);
    let mapper =
        ProxyMapper::new().session_limit(LIMIT).session_dial(service_fn(move |_: Dial| {
            let dial = Arc::clone(&dials);
            async move {
                let _dial = dial;
                std::future::pending::<std::io::Result<std::net::UdpSocket>>().await
            }
        }));
    let lease = publish_udp(&mapper, &container).await;
    for _ in 0..10 * LIMIT {
        client(addr(&lease)).await.send(b"x").await.unwrap();
    }
    sleep(SHORT).await;
    // A dial has one of these itself and three in the services that it goes by; the mapper and the
    // binding have one each.
    assert_eq!(going_on.strong_count(), 4 * LIMIT + 2);
}

#[tokio::test]
async fn where_no_local_port_is_left_an_open_session_goes_and_none_that_is_being_dialled() {
    let container = udp_container().await;
    let (dials, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let opened = Arc::clone(&gate);
    let mapper = ProxyMapper::new().session_dial(service_fn(move |dial: Dial| {
        let (number, gate) = (dials.fetch_add(1, Ordering::Relaxed), Arc::clone(&gate));
        async move {
            match number {
                0 => gate.notified().await,
                // As somebody's dial service may wrap it.
                1 | 3 => return Err(std::io::Error::other(std::io::Error::from(Errno::AGAIN))),
                _ => {}
            }
            let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
            socket.set_nonblocking(true)?;
            socket.connect(dial.addr())?;
            Ok(socket)
        }
    }));
    let lease = publish_udp(&mapper, &container).await;
    client(addr(&lease)).await.send(b"slow").await.unwrap();
    client(addr(&lease)).await.send(b"refused").await.unwrap();
    let stats = || mapper.stats().remove(0);
    let failed = async {
        while stats().failed.total() == 0 {
            sleep(SHORT / 100).await;
        }
    };
    timeout(LONG, failed).await.expect("5 s passed");
    assert_eq!(stats().evicted, 0);
    exchange(&client(addr(&lease)).await, &container).await;
    client(addr(&lease)).await.send(b"new").await.unwrap();
    assert_eq!(receive(&container).await.0, b"new");
    assert_eq!(stats().evicted, 1);
    opened.notify_one();
    assert_eq!(receive(&container).await.0, b"slow");
}

#[tokio::test]
async fn a_flood_of_new_clients_does_not_take_the_place_of_one_that_is_busy() {
    let container = udp_container().await;
    let lease = publish_udp(&ProxyMapper::new().session_limit(64), &container).await;
    let busy = client(addr(&lease)).await;
    let mut proxy = None;
    for _ in 0..100 {
        for _ in 0..30 {
            client(addr(&lease)).await.send(b"flood").await.unwrap();
        }
        busy.send(b"ask").await.unwrap();
        let from = loop {
            let (asked, from) = receive(&container).await;
            if asked == b"ask" {
                break from;
            }
        };
        assert_eq!(*proxy.get_or_insert(from), from, "it is another session");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_new_clients_loses_nothing() {
    const CLIENTS: usize = 1000;
    let container = udp_container().await;
    let _ = socket2::SockRef::from(&container).set_recv_buffer_size(4 << 20);
    let lease = publish_udp(&ProxyMapper::new(), &container).await;
    let to = addr(&lease);
    let heard = tokio::spawn(async move {
        let mut heard = std::collections::HashSet::new();
        let mut buffer = [0; 16];
        while heard.len() < CLIENTS {
            let received = timeout(LONG, container.recv_from(&mut buffer)).await;
            let Ok((length, from)) = received.map(|received| received.unwrap()) else {
                break;
            };
            heard.insert(buffer[..length].to_vec());
            container.send_to(&buffer[..length], from).await.unwrap();
        }
        heard.len()
    });
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(client(to).await);
    }
    let begin = Instant::now();
    for (number, client) in clients.iter().enumerate() {
        client.send(&(number as u32).to_be_bytes()).await.unwrap();
    }
    let sent = begin.elapsed();
    assert_eq!(heard.await.unwrap(), CLIENTS);
    eprintln!("{CLIENTS} clients, sent within {sent:?}, heard after {:?}", begin.elapsed());
    for (number, client) in clients.iter().enumerate() {
        assert_eq!(receive(client).await.0, (number as u32).to_be_bytes());
    }
}

#[tokio::test]
async fn every_port_of_a_range_leads_to_its_own() {
    let containers = support::neighbours(5).await;
    let first = containers[0].local_addr().unwrap().port();
    let spec = format!("127.0.0.1::{first}-{}/udp", first + 4);
    let lease = ProxyMapper::new().publish(request("127.0.0.1", &spec)).await.unwrap();
    let binding = &lease.bindings()[0];
    for (port, container) in binding.host_ports().iter().zip(&containers) {
        let client = client(([127, 0, 0, 1], port.number()).into()).await;
        exchange(&client, container).await;
    }
    lease.release().await.unwrap();
}

#[tokio::test]
async fn tcp_and_udp_may_lead_to_each_others_numbers() {
    // A connection never becomes a session: this is no circle.
    let one: u16 = support::free_port().await;
    let two: u16 = support::free_port().await;
    let request = request("127.0.0.1", &format!("127.0.0.1:{one}:{two}/udp"))
        .with(format!("127.0.0.1:{two}:{one}/tcp").parse::<portmap_core::PortSpec>().unwrap());
    ProxyMapper::new().publish(request).await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_layer_is_asked_once_a_session_and_sees_both_addresses() {
    let container = udp_container().await;
    let port = container.local_addr().unwrap().port();
    let (seen, mut sessions) = mpsc::unbounded_channel();
    let mapper = ProxyMapper::new().session_layer(layer_fn(move |inner| {
        let seen = seen.clone();
        ServiceBuilder::new()
            .map_request(move |session: Session| {
                seen.send((session.client(), session.local_addr())).unwrap();
                session
            })
            .service(inner)
    }));
    let lease = mapper.publish(request("127.0.0.1", &format!("{port}/udp"))).await.unwrap();
    let host_port = lease.bindings()[0].host_ports().first().number();
    for ip in ["127.0.0.1", "127.0.0.2", "::1"] {
        let used = SocketAddr::new(ip.parse().unwrap(), host_port);
        let client = client(used).await;
        for _ in 0..3 {
            exchange(&client, &container).await;
        }
        assert_eq!(sessions.recv().await.unwrap(), (client.local_addr().unwrap(), used));
        assert!(sessions.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_concurrency_limit_bounds_sessions_and_leaves_those_there_are_alone() {
    let container = udp_container().await;
    let mapper =
        ProxyMapper::new().session_layer(ConcurrencyLimitLayer::new(1)).session_idle(SHORT);
    let lease = publish_udp(&mapper, &container).await;
    let (one, two) = (client(addr(&lease)).await, client(addr(&lease)).await);
    exchange(&one, &container).await;
    two.send(b"may I").await.unwrap();
    exchange(&one, &container).await;
    sleep(SHORT * 2).await;
    exchange(&two, &container).await;
}

#[tokio::test]
async fn a_shared_limit_is_not_taken_by_ports_where_nobody_writes() {
    let container = udp_container().await;
    let mapper = ProxyMapper::new()
        .session_layer(GlobalConcurrencyLimitLayer::new(1))
        .session_idle(SHORT / 4);
    let leases = [publish_udp(&mapper, &container).await, publish_udp(&mapper, &container).await];
    for lease in leases.iter().chain(&leases) {
        exchange(&client(addr(lease)).await, &container).await;
        sleep(SHORT).await;
    }
}

#[tokio::test]
async fn a_layer_may_turn_sessions_away_and_is_asked_again() {
    let container = udp_container().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let mapper = ProxyMapper::new().session_layer(layer_fn(move |_| {
        let count = Arc::clone(&count);
        service_fn(move |_: Session| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), _>("not today") }
        })
    }));
    let lease = publish_udp(&mapper, &container).await;
    let client = client(addr(&lease)).await;
    for _ in 0..3 {
        client.send(b"please").await.unwrap();
        sleep(SHORT / 4).await;
    }
    assert_silent(&container).await;
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_service_that_is_dropped_or_panics_ends_its_own_session_only() {
    let container = udp_container().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let mapper = ProxyMapper::new().session_layer(
        ServiceBuilder::new()
            .map_future(move |future| {
                let call = calls.fetch_add(1, Ordering::Relaxed);
                async move {
                    match call {
                        0 => panic!("on purpose"),
                        1 => timeout(SHORT, future).await.unwrap_or_else(|_| panic!("in time")),
                        _ => future.await,
                    }
                }
            })
            .into_inner(),
    );
    let lease = publish_udp(&mapper, &container).await;
    let (one, two) = (client(addr(&lease)).await, client(addr(&lease)).await);
    one.send(b"x").await.unwrap();
    sleep(SHORT / 4).await;
    let first = exchange(&two, &container).await;
    sleep(SHORT * 2).await;
    assert_ne!(exchange(&two, &container).await, first, "the time limit ended nothing");
    exchange(&one, &container).await;
}

/// A service that panics, while it is asked whether it is ready or while it is called, for the
/// first session.
#[derive(Clone)]
struct Panics<S> {
    inner: S,
    sessions: Arc<AtomicUsize>,
    in_call: bool,
}

impl<S: Service<Session>> Service<Session> for Panics<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let first = self.sessions.fetch_add(1, Ordering::Relaxed) == 0;
        assert!(self.in_call || !first, "on purpose, before");
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, session: Session) -> S::Future {
        let first = self.sessions.load(Ordering::Relaxed) == 1;
        assert!(!self.in_call || !first, "on purpose, within");
        self.inner.call(session)
    }
}

#[tokio::test]
async fn a_layer_that_panics_outside_of_its_future_costs_one_session() {
    for in_call in [false, true] {
        let container = udp_container().await;
        let sessions = Arc::new(AtomicUsize::new(0));
        let mapper = ProxyMapper::new().session_layer(layer_fn(move |inner| {
            let sessions = Arc::clone(&sessions);
            Panics { inner, sessions, in_call }
        }));
        let lease = publish_udp(&mapper, &container).await;
        let (one, two) = (client(addr(&lease)).await, client(addr(&lease)).await);
        one.send(b"lost").await.unwrap();
        exchange(&two, &container).await;
        exchange(&one, &container).await;
        let stats = &mapper.stats()[0];
        let panicked = stats.failed.by(FailureCause::Panicked);
        assert_eq!((panicked, stats.failed.total(), stats.refused), (1, 1, 0), "{in_call}");
        assert_eq!((stats.dropped, stats.active), (1, 2), "{in_call}");
        timeout(LONG, lease.release()).await.expect("5 s passed").unwrap();
    }
}

/// Whether an epoll instance of this process watches the socket, under whichever number.
fn is_watched(socket: &std::net::UdpSocket) -> bool {
    use std::os::{fd::AsRawFd, unix::fs::MetadataExt};
    let socket = std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
    let line = format!("ino:{:x} ", socket.ino());
    let all = std::fs::read_dir("/proc/self/fdinfo").unwrap();
    all.filter_map(|one| std::fs::read_to_string(one.ok()?.path()).ok())
        .any(|info| info.lines().any(|entry| entry.starts_with("tfd:") && entry.contains(&line)))
}

#[tokio::test]
async fn a_session_that_has_ended_is_watched_no_more_though_somebody_has_its_socket() {
    let container = udp_container().await;
    let (give, mut given) = mpsc::unbounded_channel();
    let dial = service_fn(move |dial: Dial| {
        let give = give.clone();
        async move {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(dial.addr())?;
            give.send(socket.try_clone()?).unwrap();
            std::io::Result::Ok(socket)
        }
    });
    let (mapper, mut ended) = telling!(ProxyMapper::new().session_dial(dial).session_limit(1));
    let lease = publish_udp(&mapper, &container).await;
    let (one, two) = (client(addr(&lease)).await, client(addr(&lease)).await);
    exchange(&one, &container).await;
    let duplicate = given.recv().await.unwrap();
    assert!(is_watched(&duplicate));
    exchange(&two, &container).await;
    assert_eq!(next(&mut ended).await.ending, SessionEnding::Evicted);
    assert!(!is_watched(&duplicate));
    drop(lease);
}

#[tokio::test]
async fn release_frees_the_port_and_ends_its_sessions() {
    let container = udp_container().await;
    let (mapper, mut ended) = telling!(ProxyMapper::new());
    let lease = publish_udp(&mapper, &container).await;
    let host = addr(&lease);
    let client = client(host).await;
    exchange(&client, &container).await;
    timeout(SHORT, lease.release()).await.expect("it waits for something").unwrap();
    assert_eq!(next(&mut ended).await.ending, SessionEnding::Released);
    client.send(b"anybody").await.unwrap();
    let refused = timeout(LONG, client.recv(&mut [0; 1])).await.expect("5 s passed");
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    UdpSocket::bind(host).await.unwrap();
}

#[tokio::test]
async fn a_service_that_does_not_return_holds_up_a_release_for_the_drain_limit() {
    let container = udp_container().await;
    let forever = ServiceBuilder::new()
        .map_future(|future| async {
            let _: Result<Exchanged, _> = future.await;
            std::future::pending::<Result<(), ForwardError>>().await
        })
        .into_inner();
    let mapper = ProxyMapper::new().session_layer(forever).drain_limit(SHORT);
    let lease = publish_udp(&mapper, &container).await;
    exchange(&client(addr(&lease)).await, &container).await;
    let begin = Instant::now();
    timeout(LONG, lease.release()).await.expect("5 s passed").unwrap();
    assert!(begin.elapsed() >= SHORT);
}

#[tokio::test]
async fn dropping_a_lease_frees_the_port() {
    let container = udp_container().await;
    let lease = publish_udp(&ProxyMapper::new(), &container).await;
    let host = addr(&lease);
    exchange(&client(host).await, &container).await;
    drop(lease);
    let freed = async {
        while UdpSocket::bind(host).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, freed).await.expect("it is still taken after 5 s");
}

#[tokio::test]
async fn a_disarmed_lease_leaves_its_ports_published() {
    let container = udp_container().await;
    let lease = publish_udp(&ProxyMapper::new(), &container).await;
    let host = addr(&lease);
    lease.disarm();
    sleep(SHORT).await;
    exchange(&client(host).await, &container).await;
}

/// Sockets that ask again as soon as they are answered, beside others that come now and then: the port is busy and idle by
/// turns. Each waits for its own answer, and 5 s at most: one that lay there until the next came would be too late.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_datagram_waits_for_the_next_one() {
    let container = udp_container().await;
    let lease = publish_udp(&ProxyMapper::new(), &container).await;
    let echo = tokio::spawn(async move {
        loop {
            let (heard, proxy) = receive(&container).await;
            container.send_to(&heard, proxy).await.unwrap();
        }
    });
    for sockets in [1, 2, 3, 16] {
        let mut asking = tokio::task::JoinSet::new();
        for number in 0..sockets {
            let client = client(addr(&lease)).await;
            asking.spawn(async move {
                for round in 0_u32..1000 {
                    client.send(&round.to_be_bytes()).await.unwrap();
                    assert_eq!(receive(&client).await.0, round.to_be_bytes());
                    if (round + number) % 100 == 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            });
        }
        asking.join_all().await;
    }
    echo.abort();
    lease.release().await.unwrap();
}
