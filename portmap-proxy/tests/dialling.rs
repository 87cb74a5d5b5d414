//! Reaching the container: a moment before it listens, on the family that it listens on, and when descriptors run out.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    future::ready,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use portmap_core::{Endpoint, Lease, PortMapper, PortSpec, Publish};
use portmap_proxy::{BindingStats, Dial, FailureCause, ProxyMapper};
use support::{addr, container, publish};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tower::service_fn;

const LIMIT: Duration = Duration::from_secs(5);

async fn is_reset(lease: &Lease) {
    let mut client = TcpStream::connect(addr(lease)).await.unwrap();
    let read = timeout(LIMIT, client.read(&mut [0; 1])).await.expect("nothing came within 5 s");
    assert_eq!(read.expect_err("no reset").kind(), io::ErrorKind::ConnectionReset);
}

async fn until(mapper: &ProxyMapper, is: impl Fn(&BindingStats) -> bool) {
    let seen = async {
        while !mapper.stats().iter().any(&is) {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LIMIT, seen).await.unwrap_or_else(|_| panic!("{:?}", mapper.stats()));
}

#[tokio::test]
async fn a_container_that_listens_a_moment_later_is_reached() {
    let reserved = container().await;
    let backend = reserved.local_addr().unwrap();
    let mapper = ProxyMapper::new().refused_retry(LIMIT);
    let lease = publish(&mapper, &reserved).await;
    drop(reserved);
    let mut client = TcpStream::connect(addr(&lease)).await.unwrap();
    client.write_all(b"early").await.unwrap();
    // The first dials are refused.
    until(&mapper, |stats| stats.active == 1).await;
    sleep(Duration::from_millis(20)).await;
    let container = TcpListener::bind(backend).await.unwrap();
    let (mut endpoint, _) = timeout(LIMIT, container.accept()).await.expect("not tried").unwrap();
    let mut heard = [0; 5];
    endpoint.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"early");
}

#[tokio::test]
async fn a_container_that_is_down_is_tried_for_a_moment() {
    let refusing = container().await;
    let mapper = ProxyMapper::new();
    let lease = publish(&mapper, &refusing).await;
    drop(refusing);
    let begin = Instant::now();
    is_reset(&lease).await;
    assert!(begin.elapsed() >= Duration::from_millis(90), "{:?}", begin.elapsed());
    until(&mapper, |stats| stats.failed.by(FailureCause::DialRefused) == 1).await;
}

#[tokio::test]
async fn a_dial_service_of_ones_own_decides_for_itself() {
    let container = container().await;
    for (retry, again) in [(None, false), (Some(Duration::from_millis(50)), true)] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let refuses = service_fn(move |_: Dial| {
            counted.fetch_add(1, Ordering::Relaxed);
            ready(Err::<TcpStream, _>(io::Error::from(io::ErrorKind::ConnectionRefused)))
        });
        let mapper = ProxyMapper::new();
        // Said before or after: it is what is said that counts.
        let mapper = retry.into_iter().fold(mapper, ProxyMapper::refused_retry).dial(refuses);
        let lease = publish(&mapper, &container).await;
        is_reset(&lease).await;
        assert_eq!(calls.load(Ordering::Relaxed) > 1, again, "{retry:?}");
    }
}

#[tokio::test]
async fn the_dial_limit_holds_for_refusals_too() {
    let refusing = container().await;
    let mapper = ProxyMapper::new().refused_retry(Duration::MAX).dial_limit(LIMIT / 50);
    let lease = publish(&mapper, &refusing).await;
    drop(refusing);
    is_reset(&lease).await;
}

/// Publishes a container with an address of each family.
async fn publish_dual(mapper: &ProxyMapper, host: &str, port: u16) -> Lease {
    let endpoint = Endpoint::dual([127, 0, 0, 1].into(), "::1".parse().unwrap());
    let spec: PortSpec = format!("{host}::{port}").parse().unwrap();
    mapper.publish(Publish::new(endpoint).with(spec)).await.unwrap()
}

#[tokio::test]
async fn a_program_that_listens_on_one_family_is_reached_over_both() {
    for listens in ["127.0.0.1", "::1"] {
        for host in ["127.0.0.1", "[::1]"] {
            let ip: IpAddr = listens.parse().unwrap();
            let container = TcpListener::bind(SocketAddr::new(ip, 0)).await.unwrap();
            let port = container.local_addr().unwrap().port();
            let lease = publish_dual(&ProxyMapper::new(), host, port).await;
            let _client = TcpStream::connect(addr(&lease)).await.unwrap();
            let accepted = timeout(LIMIT, container.accept()).await;
            let (_, seen) = accepted.unwrap_or_else(|_| panic!("{host} to {listens}")).unwrap();
            assert_eq!(seen.ip(), ip);
        }
    }
}

#[tokio::test]
async fn a_container_that_refuses_on_both_families_counts_as_such_once() {
    let mapper = ProxyMapper::new();
    let lease = publish_dual(&mapper, "[::1]", support::free_port().await).await;
    is_reset(&lease).await;
    until(&mapper, |stats| stats.failed.by(FailureCause::DialRefused) == 1).await;
    assert_eq!(mapper.stats()[0].failed.total(), 1);
}

#[tokio::test]
async fn exhaustion_is_waited_for_however_it_is_wrapped() {
    let container = container().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let fails_first = service_fn(move |dial: Dial| {
        let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first {
                // EMFILE.
                return Err(io::Error::other(io::Error::from_raw_os_error(24)));
            }
            TcpStream::connect(dial.addr()).await
        }
    });
    let lease = publish(&ProxyMapper::new().dial(fails_first), &container).await;
    let _client = TcpStream::connect(addr(&lease)).await.unwrap();
    timeout(LIMIT, container.accept()).await.expect("it was given up").unwrap();
}
