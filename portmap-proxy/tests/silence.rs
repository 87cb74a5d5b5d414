//! Connections on which nothing happens: kept by default, ended where a limit is set.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use portmap_proxy::{Ending, ProxyMapper, Transferred};
use support::{connect, container, publish};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    sync::mpsc,
    time::{sleep, timeout},
};
use tower::util::MapResponseLayer;

const LIMIT: Duration = Duration::from_millis(400);
/// What a busy test machine may add.
const SLACK: Duration = Duration::from_secs(3);

/// Runs a test on a runtime of one thread, and on one of two.
fn on_both<F: Future<Output = ()>>(test: impl Fn() -> F) {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test());
}

/// What one connection through a mapper comes to.
struct Ends {
    client: TcpStream,
    endpoint: TcpStream,
    transfers: mpsc::UnboundedReceiver<Transferred>,
    _lease: portmap_core::Lease,
}

impl Ends {
    async fn through(mapper: ProxyMapper) -> Self {
        let (tell, transfers) = mpsc::unbounded_channel();
        let mapper =
            mapper.layer(MapResponseLayer::new(move |done: Transferred| tell.send(done).unwrap()));
        let container = container().await;
        let lease = publish(&mapper, &container).await;
        let (client, endpoint) = connect(&lease, &container).await;
        Self { client, endpoint, transfers, _lease: lease }
    }

    async fn ending(&mut self) -> Transferred {
        timeout(LIMIT + SLACK, self.transfers.recv()).await.expect("it is kept").unwrap()
    }

    async fn assert_ended(&mut self) {
        for end in [&mut self.client, &mut self.endpoint] {
            let read = timeout(SLACK, end.read(&mut [0; 1])).await.expect("it is kept");
            assert_eq!(read.expect("no end"), 0);
        }
    }
}

#[test]
fn a_silent_connection_is_ended_on_both_sides_once_its_time_is_over() {
    on_both(async || {
        let mut ends = Ends::through(ProxyMapper::new().connection_idle(Some(LIMIT))).await;
        sleep(LIMIT / 2).await;
        ends.client.write_all(b"still here").await.unwrap();
        let spoken = Instant::now();
        ends.endpoint.read_exact(&mut [0; 10]).await.unwrap();
        let done = ends.ending().await;
        assert!(spoken.elapsed() >= LIMIT, "after {:?}", spoken.elapsed());
        assert_eq!((done.ending, done.to_endpoint, done.to_client), (Ending::Idle, 10, 0));
        ends.assert_ended().await;
    });
}

#[test]
fn one_direction_keeps_a_connection() {
    on_both(async || {
        let mut ends = Ends::through(ProxyMapper::new().connection_idle(Some(LIMIT))).await;
        for _ in 0..6 {
            sleep(LIMIT / 3).await;
            ends.endpoint.write_all(b".").await.unwrap();
            ends.client.read_exact(&mut [0; 1]).await.unwrap();
        }
        assert!(ends.transfers.try_recv().is_err());
    });
}

#[test]
fn a_reader_that_stalls_is_silent_too() {
    on_both(async || {
        let mut ends = Ends::through(ProxyMapper::new().connection_idle(Some(LIMIT))).await;
        let chunk = vec![7; 1 << 20];
        // Until the kernel's buffers are full; what cuts the connection ends the last write.
        while ends.client.write_all(&chunk).await.is_ok() {}
        assert_eq!(ends.ending().await.ending, Ending::Idle);
    });
}

#[test]
fn a_half_closed_connection_is_ended_where_the_other_side_is_silent() {
    on_both(async || {
        for client_ends in [true, false] {
            let mut ends = Ends::through(ProxyMapper::new().half_closed_idle(Some(LIMIT))).await;
            // Both sides may be silent for as long as they like.
            sleep(LIMIT * 2).await;
            let (one, two) = match client_ends {
                true => (&mut ends.client, &mut ends.endpoint),
                false => (&mut ends.endpoint, &mut ends.client),
            };
            one.shutdown().await.unwrap();
            let ended = Instant::now();
            assert_eq!(two.read(&mut [0; 1]).await.unwrap(), 0);
            for _ in 0..4 {
                sleep(LIMIT / 3).await;
                two.write_all(b".").await.unwrap();
                one.read_exact(&mut [0; 1]).await.unwrap();
            }
            assert!(ended.elapsed() > LIMIT);
            assert_eq!(ends.ending().await.ending, Ending::HalfClosed);
        }
    });
}

#[test]
fn an_orderly_end_is_no_silence() {
    on_both(async || {
        let mapper = ProxyMapper::new().connection_idle(Some(LIMIT)).half_closed_idle(Some(LIMIT));
        let mut ends = Ends::through(mapper).await;
        ends.client.shutdown().await.unwrap();
        ends.endpoint.shutdown().await.unwrap();
        assert_eq!(ends.ending().await.ending, Ending::Closed);
    });
}

#[test]
fn without_a_limit_silence_is_no_reason() {
    on_both(async || {
        let mut ends = Ends::through(ProxyMapper::new()).await;
        ends.client.shutdown().await.unwrap();
        sleep(LIMIT * 2).await;
        ends.endpoint.write_all(b"at last").await.unwrap();
        ends.client.read_exact(&mut [0; 7]).await.unwrap();
    });
}

#[test]
fn limits_that_make_no_sense_do_no_harm() {
    on_both(async || {
        let mut ends = Ends::through(ProxyMapper::new().connection_idle(Some(Duration::MAX))).await;
        ends.client.write_all(b"x").await.unwrap();
        ends.endpoint.read_exact(&mut [0; 1]).await.unwrap();
        let mut ends =
            Ends::through(ProxyMapper::new().connection_idle(Some(Duration::ZERO))).await;
        assert_eq!(ends.ending().await.ending, Ending::Idle);
    });
}
