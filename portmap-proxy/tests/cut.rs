//! Connections that are cut: what is complete towards a peer ends in order, what is not is reset.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use portmap_core::{Established, Lease};
use portmap_proxy::ProxyMapper;
use support::{connect, container, publish};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// How a connection is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Its port is released, and the drain limit passes.
    Release,
    /// Its port leads elsewhere.
    Retarget,
    /// It was silent for too long.
    Silence,
}

const CUTS: [Cut; 3] = [Cut::Release, Cut::Retarget, Cut::Silence];
const SHORT: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(5);
/// More than a client's socket takes at once, less than the kernel queues for it.
const ANSWER: usize = 600_000;

impl Cut {
    fn mapper(self) -> ProxyMapper {
        let mapper = ProxyMapper::new().drain_limit(SHORT);
        mapper.connection_idle(matches!(self, Self::Silence).then_some(3 * SHORT))
    }

    async fn make(self, mut lease: Lease) {
        match self {
            // Nobody reads or writes meanwhile.
            Self::Silence => sleep(6 * SHORT).await,
            Self::Release => lease.release().await.unwrap(),
            Self::Retarget => {
                lease.retarget([127, 0, 0, 9], Established::Cut).await.unwrap();
                lease.release().await.unwrap();
            }
        }
    }

    /// A client and its container, and what publishes it.
    async fn connected(self) -> (Lease, TcpStream, TcpStream) {
        connected(&self.mapper()).await
    }
}

async fn connected(mapper: &ProxyMapper) -> (Lease, TcpStream, TcpStream) {
    let container = container().await;
    let lease = publish(mapper, &container).await;
    let (client, endpoint) = connect(&lease, &container).await;
    (lease, client, endpoint)
}

/// All there is, and how it ends.
async fn heard(stream: &mut TcpStream) -> (usize, io::Result<()>) {
    let mut heard = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match timeout(LIMIT, stream.read(&mut buffer)).await.expect("neither data nor an end") {
            Ok(0) => return (heard, Ok(())),
            Ok(read) => heard += read,
            Err(error) => return (heard, Err(error)),
        }
    }
}

fn is_reset(end: &io::Result<()>) -> bool {
    end.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

/// Writes until nothing is taken any more.
async fn stuff(stream: &mut TcpStream) {
    let chunk = vec![7; 64 * 1024];
    while timeout(SHORT / 2, stream.write(&chunk)).await.is_ok_and(|written| written.is_ok()) {}
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_under_way_ends_in_order() {
    for cut in CUTS {
        let (lease, mut client, mut endpoint) = cut.connected().await;
        for (one, two) in [(0, 1), (1, 0)] {
            let ends = [&mut client, &mut endpoint];
            ends[one].write_all(b"hello").await.unwrap();
            ends[two].read_exact(&mut [0; 5]).await.unwrap();
        }
        cut.make(lease).await;
        for end in [&mut client, &mut endpoint] {
            let (more, end) = heard(end).await;
            assert!(more == 0 && end.is_ok(), "{cut:?}: {more} bytes, {end:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_has_ended_is_delivered_to_a_slow_reader() {
    for cut in CUTS {
        let (lease, mut client, mut endpoint) = cut.connected().await;
        client.write_all(b"a question").await.unwrap();
        endpoint.read_exact(&mut [0; 10]).await.unwrap();
        endpoint.write_all(&vec![7; ANSWER]).await.unwrap();
        drop(endpoint);
        cut.make(lease).await;
        let (answer, end) = heard(&mut client).await;
        assert!(answer == ANSWER && end.is_ok(), "{cut:?}: {answer} bytes, {end:?}");
    }
}

#[tokio::test]
async fn a_request_that_has_ended_is_delivered_to_a_slow_container() {
    for cut in CUTS {
        let (lease, mut client, mut endpoint) = cut.connected().await;
        client.write_all(&vec![7; ANSWER]).await.unwrap();
        client.shutdown().await.unwrap();
        cut.make(lease).await;
        let (request, end) = heard(&mut endpoint).await;
        assert!(request == ANSWER && end.is_ok(), "{cut:?}: {request} bytes, {end:?}");
    }
}

#[tokio::test]
async fn what_is_complete_in_one_direction_is_delivered_though_the_other_is_cut() {
    for cut in CUTS {
        let mapper = cut.mapper();
        let (lease, mut client, mut endpoint) = connected(&mapper).await;
        endpoint.write_all(&vec![7; ANSWER]).await.unwrap();
        endpoint.shutdown().await.unwrap();
        // Until the container's side takes no more.
        let carried = || mapper.stats()[0].to_endpoint.bytes;
        for sent in (0..).step_by(1 << 16) {
            let taken = async {
                while carried() < sent {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            if timeout(SHORT, taken).await.is_err() {
                break;
            }
            client.write_all(&[7; 1 << 16]).await.unwrap();
        }
        cut.make(lease).await;
        let (answer, end) = heard(&mut client).await;
        assert!(answer == ANSWER && end.is_ok(), "{cut:?}: {answer} bytes, {end:?}");
        let (_, end) = heard(&mut endpoint).await;
        assert!(is_reset(&end), "{cut:?}: {end:?}");
    }
}

#[tokio::test]
async fn a_part_is_never_taken_for_the_whole() {
    for cut in CUTS {
        for client_sends in [true, false] {
            let (lease, mut client, mut endpoint) = cut.connected().await;
            let (sender, reader) = match client_sends {
                true => (&mut client, &mut endpoint),
                false => (&mut endpoint, &mut client),
            };
            stuff(sender).await;
            cut.make(lease).await;
            let (_, end) = heard(reader).await;
            assert!(is_reset(&end), "{cut:?}: {end:?}");
            let (_, end) = heard(sender).await;
            assert!(is_reset(&end), "{cut:?}: {end:?}");
        }
    }
}

/// A container that has closed answers what comes later with a reset: it does not overtake what was said before.
#[tokio::test]
async fn a_reset_behind_the_end_does_not_destroy_what_came_before_it() {
    let (lease, mut client, mut endpoint) = connected(&ProxyMapper::new()).await;
    // More than the client's kernel takes, and less than what is queued for it here.
    endpoint.write_all(&vec![7; ANSWER / 3]).await.unwrap();
    drop(endpoint);
    sleep(SHORT).await;
    for _ in 0..4 {
        client.write_all(b"more questions").await.unwrap();
        sleep(SHORT / 4).await;
    }
    let (answer, end) = heard(&mut client).await;
    assert!(answer == ANSWER / 3 && end.is_ok(), "{answer} bytes, {end:?}");
    lease.release().await.unwrap();
}

#[tokio::test]
async fn an_early_answer_arrives_though_the_request_is_reset() {
    let (lease, mut client, mut endpoint) = connected(&ProxyMapper::new()).await;
    stuff(&mut client).await;
    endpoint.write_all(b"too large").await.unwrap();
    // With the request unread this is a reset.
    drop(endpoint);
    assert_eq!(heard(&mut client).await.0, 9);
    lease.release().await.unwrap();
}
