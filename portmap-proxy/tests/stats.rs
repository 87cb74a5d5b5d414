//! What is counted of a binding, and when it can be seen.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    convert::Infallible,
    future::{pending, ready},
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use portmap_core::Lease;
use portmap_proxy::{BindingStats, Carried, Connection, Dial, FailureCause, ProxyMapper, Session};
use support::{addr, connect, container, publish, publish_udp, udp_container};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::mpsc,
    time::{sleep, timeout},
};
use tower::{
    Service, ServiceBuilder, layer::layer_fn, limit::ConcurrencyLimitLayer,
    load_shed::LoadShedLayer, service_fn,
};

const SHORT: Duration = Duration::from_millis(200);

/// Reads the numbers until they are as wanted.
async fn until(
    stats: impl Fn() -> Vec<BindingStats>,
    wanted: impl Fn(&BindingStats) -> bool,
) -> BindingStats {
    for _ in 0..500 {
        if let [stats] = stats().as_slice()
            && wanted(stats)
        {
            return stats.clone();
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 5 s: {:?}", stats())
}

async fn is_reset(lease: &Lease) {
    let mut client = TcpStream::connect(addr(lease)).await.unwrap();
    let read = timeout(Duration::from_secs(5), client.read(&mut [0; 1])).await.expect("5 s passed");
    assert_eq!(read.expect_err("no reset").kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_transfer_is_seen_while_it_runs() {
    const CHUNK: usize = 100_000;
    let container = container().await;
    let mapper = ProxyMapper::new();
    let lease = publish(&mapper, &container).await;
    let (mut client, mut endpoint) = connect(&lease, &container).await;
    for sent in 1..4 {
        client.write_all(&vec![7; CHUNK]).await.unwrap();
        endpoint.read_exact(&mut vec![0; CHUNK]).await.unwrap();
        endpoint.write_all(b"got it").await.unwrap();
        client.read_exact(&mut [0; 6]).await.unwrap();
        // The last write is counted after the peer could read it.
        let all = |stats: &BindingStats| {
            stats.to_endpoint.bytes == sent * CHUNK as u64 && stats.to_client.bytes == sent * 6
        };
        let stats = until(|| mapper.stats(), all).await;
        assert_eq!((stats.opened, stats.active, stats.failed.total()), (1, 1, 0));
        assert_eq!((stats.to_endpoint.datagrams, stats.dropped), (0, 0));
    }
    drop((client, endpoint));
    let stats = until(|| mapper.stats(), |stats| stats.active == 0).await;
    assert_eq!((stats.opened, &stats.binding), (1, &lease.bindings()[0]));
}

#[tokio::test]
async fn what_a_connection_has_carried_can_be_read_by_a_layer() {
    let container = container().await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let layer = ServiceBuilder::new()
        .map_request(move |connection: Connection| {
            tell.send(connection.progress()).unwrap();
            connection
        })
        .into_inner();
    let mapper = ProxyMapper::new().layer(layer);
    let lease = publish(&mapper, &container).await;
    let mut client = TcpStream::connect(addr(&lease)).await.unwrap();
    let (mut endpoint, observed) = container.accept().await.unwrap();
    let progress = told.recv().await.unwrap();
    client.write_all(b"12345").await.unwrap();
    endpoint.read_exact(&mut [0; 5]).await.unwrap();
    until(|| mapper.stats(), |_| progress.to_endpoint() == Carried { datagrams: 0, bytes: 5 })
        .await;
    assert_eq!((progress.observed(), progress.to_client()), (Some(observed), Carried::default()));
}

#[tokio::test]
async fn failures_are_counted_by_their_cause() {
    let container = container().await;
    let cases = [
        (FailureCause::DialRefused, 111),
        (FailureCause::Unreachable, 113),
        (FailureCause::DialTimedOut, 110),
        (FailureCause::DialFailed, 13),
    ];
    for (cause, errno) in cases {
        let fails = service_fn(move |_: Dial| {
            ready(Err::<TcpStream, _>(io::Error::from_raw_os_error(errno)))
        });
        let mapper = ProxyMapper::new().dial(fails);
        let lease = publish(&mapper, &container).await;
        is_reset(&lease).await;
        is_reset(&lease).await;
        let stats = until(|| mapper.stats(), |stats| stats.failed.by(cause) == 2).await;
        assert_eq!((stats.opened, stats.active, stats.refused), (2, 0, 0), "{cause}");
        assert_eq!(stats.failed.total(), 2, "{cause}");
    }
}

#[tokio::test]
async fn a_container_that_does_not_answer_and_a_client_that_goes_are_told_apart() {
    let container = container().await;
    let silent = service_fn(async |_: Dial| pending::<Result<TcpStream, Infallible>>().await);
    let mapper = ProxyMapper::new().dial(silent).dial_limit(SHORT);
    let lease = publish(&mapper, &container).await;
    let client = TcpStream::connect(addr(&lease)).await.unwrap();
    until(|| mapper.stats(), |stats| stats.active == 1).await;
    client.set_zero_linger().unwrap();
    drop(client);
    let gone = |stats: &BindingStats| stats.failed.by(FailureCause::ClientGone) == 1;
    until(|| mapper.stats(), gone).await;
    is_reset(&lease).await;
    let stats = until(|| mapper.stats(), |stats| stats.active == 0).await;
    let counted: Vec<_> = stats.failed.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [(FailureCause::DialTimedOut, 1), (FailureCause::ClientGone, 1)]);
}

#[tokio::test]
async fn errors_and_panics_of_layers_are_counted() {
    let container = container().await;
    let layer = layer_fn(|_| {
        service_fn(async |connection: Connection| {
            assert!(connection.client().port() == 0, "on purpose");
            Err::<(), _>("never")
        })
    });
    let mapper = ProxyMapper::new().layer(layer);
    let lease = publish(&mapper, &container).await;
    is_reset(&lease).await;
    let panicked = |stats: &BindingStats| stats.failed.by(FailureCause::Panicked) == 1;
    let stats = until(|| mapper.stats(), panicked).await;
    assert_eq!((stats.active, stats.failed.total()), (0, 1));

    let layer = layer_fn(|_| service_fn(async |_: Connection| Err::<(), _>("not today")));
    let mapper = ProxyMapper::new().layer(layer);
    let lease = publish(&mapper, &container).await;
    is_reset(&lease).await;
    let failed = |stats: &BindingStats| stats.failed.by(FailureCause::Service) == 1;
    until(|| mapper.stats(), failed).await;
}

/// Panics the first time that it is asked, or called.
#[derive(Clone)]
struct PanicsOnce<S> {
    inner: S,
    in_call: bool,
    asked: Arc<AtomicUsize>,
}

impl<S> PanicsOnce<S> {
    fn now(&self) {
        assert!(self.asked.fetch_add(1, Ordering::Relaxed) > 0, "on purpose");
    }
}

impl<S: Service<Connection>> Service<Connection> for PanicsOnce<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if !self.in_call {
            self.now();
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, connection: Connection) -> S::Future {
        if self.in_call {
            self.now();
        }
        self.inner.call(connection)
    }
}

#[tokio::test]
async fn a_layer_that_panics_before_its_future_loses_one_connection() {
    for in_call in [false, true] {
        let container = container().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let layer = layer_fn(move |inner| PanicsOnce { inner, in_call, asked: Arc::clone(&asked) });
        let mapper = ProxyMapper::new().layer(layer);
        let lease = publish(&mapper, &container).await;
        is_reset(&lease).await;
        connect(&lease, &container).await;
        let panicked = |stats: &BindingStats| stats.failed.by(FailureCause::Panicked) == 1;
        let stats = until(|| mapper.stats(), panicked).await;
        assert_eq!(stats.failed.total(), 1, "in call: {in_call}");
        lease.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_is_shed_was_refused_by_a_limit() {
    let container = container().await;
    let limits = (LoadShedLayer::new(), ConcurrencyLimitLayer::new(1));
    let mapper = ProxyMapper::new().layer(limits.0).layer(limits.1);
    // The first one added is the outermost: it sees that the limit is reached.
    let lease = publish(&mapper, &container).await;
    let _ends = connect(&lease, &container).await;
    is_reset(&lease).await;
    is_reset(&lease).await;
    let stats = until(|| mapper.stats(), |stats| stats.refused == 2).await;
    assert_eq!((stats.opened, stats.active, stats.waited), (3, 1, 0));
    assert_eq!(stats.failed.total(), 0);
}

#[tokio::test]
async fn clients_that_wait_for_a_limit_are_not_refused() {
    let container = container().await;
    let mapper = ProxyMapper::new().layer(ConcurrencyLimitLayer::new(1));
    let lease = publish(&mapper, &container).await;
    let ends = connect(&lease, &container).await;
    let _second = TcpStream::connect(addr(&lease)).await.unwrap();
    let _third = TcpStream::connect(addr(&lease)).await.unwrap();
    let stats = until(|| mapper.stats(), |stats| stats.waited == 1).await;
    assert_eq!((stats.opened, stats.active, stats.refused), (1, 1, 0));
    drop(ends);
    let (_endpoint, _) = container.accept().await.unwrap();
    // Now the third one waits: a new wait.
    let stats = until(|| mapper.stats(), |stats| stats.waited == 2).await;
    assert_eq!((stats.opened, stats.active, stats.refused), (2, 1, 0));
}

#[tokio::test]
async fn a_released_binding_is_seen_until_its_last_connection_has_ended() {
    let container = container().await;
    let mapper = ProxyMapper::new().clone();
    let (kept, lease) = (publish(&mapper, &container).await, publish(&mapper, &container).await);
    assert_eq!(mapper.clone().stats().len(), 2);
    let (client, endpoint) = connect(&lease, &container).await;
    let release = tokio::spawn(lease.release());
    sleep(SHORT).await;
    let stats = mapper.stats();
    assert_eq!((stats.len(), stats[1].active), (2, 1));
    drop((client, endpoint));
    release.await.unwrap().unwrap();
    let left = mapper.stats();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].binding, kept.bindings()[0]);
}

#[tokio::test]
async fn connections_that_draining_cuts_are_not_active_any_more() {
    let container = container().await;
    let mapper = ProxyMapper::new().drain_limit(SHORT);
    let lease = publish(&mapper, &container).await;
    let _ends = connect(&lease, &container).await;
    lease.release().await.unwrap();
    assert!(mapper.stats().is_empty(), "{:?}", mapper.stats());
}

async fn udp_client(lease: &Lease) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(addr(lease)).await.unwrap();
    client
}

#[tokio::test]
async fn datagrams_are_counted_each_way() {
    let container = udp_container().await;
    let mapper = ProxyMapper::new().session_idle(SHORT);
    let lease = publish_udp(&mapper, &container).await;
    let clients = [udp_client(&lease).await, udp_client(&lease).await];
    let mut buffer = [0; 64];
    for client in &clients {
        for datagram in [b"".as_slice(), b"12345"] {
            client.send(datagram).await.unwrap();
            let (_, proxy) = container.recv_from(&mut buffer).await.unwrap();
            container.send_to(b"answer", proxy).await.unwrap();
            client.recv(&mut buffer).await.unwrap();
        }
    }
    let stats = until(|| mapper.stats(), |stats| stats.to_client.datagrams == 4).await;
    assert_eq!(stats.to_endpoint, Carried { datagrams: 4, bytes: 10 });
    assert_eq!(stats.to_client, Carried { datagrams: 4, bytes: 24 });
    assert_eq!((stats.opened, stats.active), (2, 2));
    let stats = until(|| mapper.stats(), |stats| stats.active == 0).await;
    assert_eq!((stats.opened, stats.dropped, stats.failed.total()), (2, 0, 0));
}

#[tokio::test]
async fn datagrams_that_cannot_begin_a_session_are_refused_and_dropped() {
    let container = udp_container().await;
    let mapper = ProxyMapper::new().session_layer(ConcurrencyLimitLayer::new(1));
    let lease = publish_udp(&mapper, &container).await;
    let first = udp_client(&lease).await;
    first.send(b"first").await.unwrap();
    container.recv(&mut [0; 8]).await.unwrap();
    let second = udp_client(&lease).await;
    for _ in 0..3 {
        second.send(b"second").await.unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    let stats = until(|| mapper.stats(), |stats| stats.dropped == 3).await;
    assert_eq!((stats.opened, stats.active, stats.refused), (1, 1, 3));
}

#[tokio::test]
async fn sessions_that_are_shed_or_fail_are_counted_with_what_waited_for_them() {
    let container = udp_container().await;
    let limits = ServiceBuilder::new().load_shed().concurrency_limit(1).into_inner();
    let mapper = ProxyMapper::new().session_layer(limits);
    let lease = publish_udp(&mapper, &container).await;
    udp_client(&lease).await.send(b"first").await.unwrap();
    container.recv(&mut [0; 8]).await.unwrap();
    udp_client(&lease).await.send(b"second").await.unwrap();
    let stats = until(|| mapper.stats(), |stats| stats.dropped == 1).await;
    assert_eq!((stats.opened, stats.active, stats.refused), (2, 1, 1));

    let refuse = layer_fn(|_| service_fn(async |_: Session| Err::<(), _>("not today")));
    let mapper = ProxyMapper::new().session_layer(refuse);
    let lease = publish_udp(&mapper, &container).await;
    udp_client(&lease).await.send(b"lost").await.unwrap();
    let stats = until(|| mapper.stats(), |stats| stats.dropped == 1).await;
    assert_eq!((stats.opened, stats.active, stats.refused), (1, 0, 0));
    assert_eq!(stats.failed.by(FailureCause::Service), 1);
}
