//! What a recorder of the `metrics` facade gets: the names and labels of `docs/observability.md`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use portmap_core::Lease;
use portmap_proxy::ProxyMapper;
use support::{addr, connect, container, publish, publish_udp, udp_container};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    runtime::Builder,
    time::sleep,
};
use tower::ServiceBuilder;

/// Keeps every metric as `name{label=value}` and a number; for a histogram, how many values it has seen.
#[derive(Debug, Default)]
struct Kept(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

#[derive(Debug)]
struct Seen(Arc<AtomicU64>);

impl Kept {
    fn number(&self, key: &Key) -> Arc<AtomicU64> {
        let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value()));
        let name = format!("{}{{{}}}", key.name(), labels.collect::<Vec<_>>().join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    fn values(&self) -> BTreeMap<String, u64> {
        let kept = self.0.lock().unwrap();
        kept.iter().map(|(name, number)| (name.clone(), number.load(Ordering::Relaxed))).collect()
    }
}

impl HistogramFn for Seen {
    fn record(&self, seconds: f64) {
        assert!((0.0..60.0).contains(&seconds), "{seconds} s");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }

    /// As bits of a floating-point number; zero is zero.
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Seen(self.number(key))))
    }
}

/// Runs something with a recorder of its own, and says what that was told.
fn recorded(what: impl AsyncFnOnce()) -> BTreeMap<String, u64> {
    let recorder = Kept::default();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(what()));
    recorder.values()
}

async fn ended(mapper: &ProxyMapper<impl Sized, impl Sized, impl Sized>, opened: u64) {
    for _ in 0..500 {
        if mapper.stats().iter().all(|stats| (stats.opened, stats.active) == (opened, 0)) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 5 s: {:?}", mapper.stats())
}

async fn reset(lease: &Lease) {
    let mut client = TcpStream::connect(addr(lease)).await.unwrap();
    let read = client.read(&mut [0; 1]).await;
    assert_eq!(read.expect_err("no reset").kind(), ErrorKind::ConnectionReset);
}

fn assert_values(found: &BTreeMap<String, u64>, lines: &[String]) {
    let found: Vec<_> = found.iter().map(|(name, value)| format!("{name} {value}")).collect();
    assert_eq!(found, lines, "{found:#?}");
}

#[test]
fn connections_have_names_and_labels_that_stay() {
    let mut host = String::new();
    let values = recorded(async || {
        let container = container().await;
        let limits = ServiceBuilder::new().load_shed().concurrency_limit(1).into_inner();
        let mapper = ProxyMapper::new().layer(limits);
        let lease = publish(&mapper, &container).await;
        host = addr(&lease).to_string();
        let (mut client, mut endpoint) = connect(&lease, &container).await;
        client.write_all(b"12345").await.unwrap();
        endpoint.read_exact(&mut [0; 5]).await.unwrap();
        endpoint.write_all(b"123").await.unwrap();
        client.read_exact(&mut [0; 3]).await.unwrap();
        reset(&lease).await;
        drop((client, endpoint));
        ended(&mapper, 2).await;
        drop(container);
        reset(&lease).await;
        ended(&mapper, 3).await;
    });
    let of = format!("binding={host},protocol=tcp");
    let failed = |cause, count| format!("portmap_failed_total{{{of},cause={cause}}} {count}");
    assert_values(
        &values,
        &[
            format!("portmap_active{{{of}}} 0"),
            format!("portmap_bytes_total{{{of},direction=to_client}} 3"),
            format!("portmap_bytes_total{{{of},direction=to_endpoint}} 5"),
            format!("portmap_duration_seconds{{{of}}} 3"),
            failed("client_gone", 0),
            failed("dial_failed", 0),
            failed("dial_refused", 1),
            failed("dial_timed_out", 0),
            failed("panicked", 0),
            failed("service", 0),
            failed("unreachable", 0),
            format!("portmap_opened_total{{{of}}} 3"),
            format!("portmap_over_share_total{{{of}}} 0"),
            format!("portmap_refused_total{{{of}}} 1"),
            format!("portmap_waited_total{{{of}}} 0"),
        ],
    );
}

#[test]
fn sessions_have_the_same_and_datagrams() {
    let mut host = String::new();
    let values = recorded(async || {
        let container = udp_container().await;
        let mapper = ProxyMapper::new().session_idle(Duration::from_millis(50));
        let lease = publish_udp(&mapper, &container).await;
        host = addr(&lease).to_string();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for datagram in [b"".as_slice(), b"12345"] {
            client.send_to(datagram, addr(&lease)).await.unwrap();
            let (_, proxy) = container.recv_from(&mut [0; 8]).await.unwrap();
            container.send_to(b"123", proxy).await.unwrap();
            client.recv(&mut [0; 8]).await.unwrap();
        }
        ended(&mapper, 1).await;
    });
    let of = format!("binding={host},protocol=udp");
    for (name, value) in [
        (format!("portmap_opened_total{{{of}}}"), 1),
        (format!("portmap_active{{{of}}}"), 0),
        (format!("portmap_bytes_total{{{of},direction=to_endpoint}}"), 5),
        (format!("portmap_bytes_total{{{of},direction=to_client}}"), 6),
        (format!("portmap_datagrams_total{{{of},direction=to_endpoint}}"), 2),
        (format!("portmap_datagrams_total{{{of},direction=to_client}}"), 2),
        (format!("portmap_datagrams_dropped_total{{{of}}}"), 0),
        (format!("portmap_datagrams_unanswerable_total{{{of}}}"), 0),
        (format!("portmap_over_share_total{{{of}}}"), 0),
        (format!("portmap_evicted_total{{{of}}}"), 0),
        (format!("portmap_duration_seconds{{{of}}}"), 1),
    ] {
        assert_eq!(values.get(&name), Some(&value), "{name}: {values:#?}");
    }
}

#[test]
fn without_a_recorder_nothing_is_missed() {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let container = container().await;
        let mapper = ProxyMapper::new();
        let lease = publish(&mapper, &container).await;
        drop(connect(&lease, &container).await);
        ended(&mapper, 1).await;
    });
}
