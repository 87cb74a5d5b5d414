//! Which way the bytes take, and what is held where they cannot go on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{future::Future, sync::Arc, time::Duration};

use portmap_core::{Binding, HostAddr, Protocol};
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{Ending, Pool, Relay, Side, direction::BUFFER, pipe::LARGE};
use crate::{
    tcp::connection::Abortive,
    watch::{Counters, Meter},
};

/// A socket's buffer. The kernel doubles what is asked for, and lets one more segment in.
const SOCKET: usize = 64 * 1024;

/// What a connection's four socket buffers take at most, with those segments.
const SOCKETS: usize = 4 * 2 * SOCKET + 4 * 64 * 1024;

/// What a relay did.
#[derive(Debug)]
struct Relayed {
    to_endpoint: u64,
    to_client: u64,
    ending: Ending,
}

fn meter() -> Arc<Meter> {
    let (host, container) = ("8080".parse().unwrap(), "80".parse().unwrap());
    let to = [192, 0, 2, 2].into();
    let binding = Binding::new(Protocol::Tcp, HostAddr::Any, host, to, container).unwrap();
    Meter::new(Arc::new(Counters::new(&binding)), tracing::Span::none())
}

fn pool(limit: usize) -> &'static Pool {
    Box::leak(Box::new(Pool::new(limit)))
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    SockRef::from(&listener).set_recv_buffer_size(SOCKET).unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let two = listener.accept().await.unwrap().0;
    for stream in [&one, &two] {
        SockRef::from(stream).set_send_buffer_size(SOCKET).unwrap();
        SockRef::from(stream).set_recv_buffer_size(SOCKET).unwrap();
    }
    (one, two)
}

/// A client and a container with a relay between them.
async fn relayed(pool: &'static Pool) -> (TcpStream, TcpStream, JoinHandle<Relayed>) {
    let ((client, near), (far, endpoint)) = (pair().await, pair().await);
    let relay = tokio::spawn(async move {
        let meter = meter();
        let (near, far) = (Abortive::new(near), Abortive::new(far));
        let mut relay = Relay::through(pool, near, far, Arc::clone(&meter));
        let ending = relay.run().await;
        drop(relay);
        let carried = |to| meter.carried(to).bytes;
        let (to_endpoint, to_client) = (carried(Side::Endpoint), carried(Side::Client));
        Relayed { to_endpoint, to_client, ending }
    });
    (client, endpoint, relay)
}

fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|n| (n % 251) as u8).collect()
}

/// Writes until nothing is taken any more; says how much was.
async fn stuff(stream: &mut TcpStream) -> usize {
    let mut sent = 0;
    while let Ok(taken) = timeout(MOMENT, stream.write(&pattern(sent, 64 * 1024))).await {
        sent += taken.unwrap();
        assert!(sent < 64 << 20, "nothing holds the writer back");
    }
    sent
}

async fn read_pattern(stream: &mut TcpStream, from: usize, len: usize) {
    let mut read = vec![0; len];
    stream.read_exact(&mut read).await.unwrap();
    assert!(read == pattern(from, len), "{len} bytes from {from} on differ");
}

const MOMENT: Duration = Duration::from_millis(200);

/// Waits for something to become so.
async fn becomes<T: PartialEq + std::fmt::Debug>(expected: T, is: impl Fn() -> T) {
    let seen = async {
        while is() != expected {
            sleep(Duration::from_millis(1)).await;
        }
    };
    if timeout(Duration::from_secs(5), seen).await.is_err() {
        assert_eq!(is(), expected, "after 5 s");
    }
}

async fn end(client: TcpStream, endpoint: TcpStream, relay: JoinHandle<Relayed>) -> Relayed {
    drop((client, endpoint));
    timeout(Duration::from_secs(5), relay).await.expect("it goes on").unwrap()
}

/// Sends a lot while it is read.
async fn send(sender: &mut TcpStream, reader: &mut TcpStream, total: usize) {
    let sent = pattern(0, total);
    let (written, ()) = tokio::join!(sender.write_all(&sent), read_pattern(reader, 0, total));
    written.unwrap();
}

#[tokio::test]
async fn bulk_takes_one_pipe_and_gives_it_back() {
    let pool = pool(8);
    let (mut client, mut endpoint, relay) = relayed(pool).await;
    send(&mut client, &mut endpoint, 1000).await;
    assert_eq!(pool.count_all(), (0, 0), "small traffic needs none");
    send(&mut client, &mut endpoint, 8 << 20).await;
    send(&mut endpoint, &mut client, 8 << 20).await;
    becomes((1, 1), || pool.count_all()).await;
    let relayed = end(client, endpoint, relay).await;
    assert_eq!((relayed.to_endpoint, relayed.to_client), ((8 << 20) + 1000, 8 << 20));
}

#[tokio::test]
async fn a_stalled_reader_holds_a_pipes_worth_and_no_more() {
    let pool = pool(8);
    let (mut client, mut endpoint, relay) = relayed(pool).await;
    let sent = stuff(&mut client).await;
    assert!(sent <= SOCKETS + LARGE + BUFFER, "{sent} bytes went somewhere");
    assert_eq!(pool.count_all(), (1, 0), "the pipe stays with what it holds");
    read_pattern(&mut endpoint, 0, sent).await;
    becomes((1, 1), || pool.count_all()).await;
    assert_eq!(end(client, endpoint, relay).await.to_endpoint, sent as u64);
}

#[tokio::test]
async fn without_a_pipe_bulk_goes_through_the_buffer() {
    let pool = pool(0);
    let (mut client, mut endpoint, relay) = relayed(pool).await;
    let sent = stuff(&mut client).await;
    assert!(sent <= SOCKETS + BUFFER, "{sent} bytes went somewhere");
    read_pattern(&mut endpoint, 0, sent).await;
    send(&mut endpoint, &mut client, 4 << 20).await;
    assert_eq!(pool.count_all(), (0, 0));
    end(client, endpoint, relay).await;
}

#[tokio::test]
async fn more_stalled_readers_than_pipes_share_what_there_is() {
    let pool = pool(2);
    let mut connections = Vec::new();
    for _ in 0..5 {
        let (mut client, endpoint, relay) = relayed(pool).await;
        let sent = stuff(&mut client).await;
        connections.push((client, endpoint, relay, sent));
    }
    assert_eq!(pool.count_all(), (2, 0));
    for (client, mut endpoint, relay, sent) in connections {
        read_pattern(&mut endpoint, 0, sent).await;
        assert_eq!(end(client, endpoint, relay).await.to_endpoint, sent as u64);
    }
    assert_eq!(pool.count_all(), (2, 2));
}

#[tokio::test]
async fn what_the_kernel_refuses_to_splice_goes_through_the_buffer() {
    let pool = pool(0);
    pool.add_refused();
    let (mut client, mut endpoint, relay) = relayed(pool).await;
    send(&mut client, &mut endpoint, 4 << 20).await;
    send(&mut endpoint, &mut client, 4 << 20).await;
    assert_eq!(end(client, endpoint, relay).await.ending, Ending::Closed);
}

#[tokio::test]
async fn a_relay_that_is_dropped_closes_the_pipe_that_it_held() {
    let pool = pool(1);
    let (mut client, endpoint, relay) = relayed(pool).await;
    stuff(&mut client).await;
    assert_eq!(pool.count_all(), (1, 0));
    relay.abort();
    becomes((0, 0), || pool.count_all()).await;
    drop(endpoint);
}

/// With every buffer on its way full, so that it is for the kernel to find room.
#[tokio::test]
async fn an_answer_that_has_ended_outlives_a_cut_behind_a_full_pipe() {
    let privileged = set_socket_send_buffer_size_force(&pair().await.0, SOCKET).is_ok();
    for pipes in [0, 1] {
        let (mut client, mut endpoint, relay) = relayed(pool(pipes)).await;
        let answer = stuff(&mut endpoint).await;
        endpoint.shutdown().await.unwrap();
        relay.abort();
        assert!(relay.await.unwrap_err().is_cancelled());
        let mut heard = Vec::new();
        let end = client.read_to_end(&mut heard).await;
        assert!(heard == pattern(0, heard.len()), "{} bytes differ", heard.len());
        // A part is never taken for the whole; and it is the whole where the kernel may be asked for room.
        assert_eq!(end.is_ok(), heard.len() == answer, "{} bytes, {end:?}", heard.len());
        if privileged {
            assert_eq!(end.unwrap(), answer);
        }
    }
}

#[tokio::test]
async fn a_reset_is_noticed_behind_a_full_pipe() {
    for reader_resets in [false, true] {
        let pool = pool(1);
        let (mut client, endpoint, relay) = relayed(pool).await;
        stuff(&mut client).await;
        let (lost, side) = match reader_resets {
            true => (&endpoint, Side::Endpoint),
            false => (&client, Side::Client),
        };
        lost.set_zero_linger().unwrap();
        let relayed = end(client, endpoint, relay).await;
        // The other one closes with unread data, which is a reset as well; who comes first is chance only there.
        assert!(matches!(relayed.ending, Ending::Reset(_)), "{side:?}: {relayed:?}");
        assert_eq!(pool.count_all(), (0, 0));
    }
}

/// The reader learns of the last bytes and of what is behind them in one go, and the kernel tells of an error once only.
#[tokio::test]
async fn a_reset_behind_the_last_bytes_is_not_their_end() {
    let (client, endpoint, relay) = relayed(pool(8)).await;
    assert_eq!(endpoint.try_write(b"not all").unwrap(), 7);
    endpoint.set_zero_linger().unwrap();
    drop(endpoint);
    let relayed = timeout(Duration::from_secs(5), relay).await.expect("it goes on").unwrap();
    assert_eq!(relayed.ending, Ending::Reset(Side::Endpoint));
    drop(client);
}

#[tokio::test]
async fn what_is_said_before_the_end_arrives_with_it() {
    for len in [1, 64, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER] {
        let (mut client, mut endpoint, relay) = relayed(pool(8)).await;
        let mut sent = 0;
        while sent < len {
            sent += endpoint.try_write(&pattern(sent, len - sent)).unwrap();
        }
        endpoint.shutdown().await.unwrap();
        read_pattern(&mut client, 0, len).await;
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "{len} bytes and more");
        // The other direction is open still.
        client.write_all(b"thanks").await.unwrap();
        endpoint.read_exact(&mut [0; 6]).await.unwrap();
        let relayed = end(client, endpoint, relay).await;
        assert_eq!((relayed.to_endpoint, relayed.to_client), (6, len as u64));
        assert_eq!(relayed.ending, Ending::Closed);
    }
}

#[tokio::test]
async fn bulk_on_one_thread_lets_others_through() {
    let (mut sender, mut reader, bulk) = relayed(pool(1)).await;
    let (mut client, mut endpoint, relay) = relayed(pool(1)).await;
    let sending = tokio::spawn(async move {
        let chunk = vec![7; 1 << 20];
        while sender.write_all(&chunk).await.is_ok() {}
    });
    let reading = tokio::spawn(async move {
        let mut sink = vec![0; 1 << 20];
        while reader.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    });
    let rounds = async {
        for n in 0..200 {
            send(&mut client, &mut endpoint, n).await;
            send(&mut endpoint, &mut client, n).await;
        }
    };
    within(Duration::from_secs(5), rounds).await;
    sending.abort();
    reading.abort();
    bulk.abort();
    end(client, endpoint, relay).await;
}

async fn within(limit: Duration, work: impl Future<Output = ()>) {
    timeout(limit, work).await.unwrap_or_else(|_| panic!("it took longer than {limit:?}"));
}
