//! Whatever is sent arrives unchanged and in order: small, in bulk, and in turn.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::hash_map::DefaultHasher, future::Future, hash::Hasher, net::SocketAddr,
    time::Duration,
};

use futures::{StreamExt, stream};
use portmap_proxy::ProxyMapper;
use proptest::prelude::*;
use support::{addr, connect, container, publish};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};

const LIMIT: Duration = Duration::from_secs(20);

/// What one end does, step by step.
#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Pause,
}

/// What it does then.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Last {
    HalfClose,
    Reset,
}

/// The script of one end: what it says, and how it listens.
#[derive(Clone, Debug)]
struct Script {
    steps: Vec<Step>,
    last: Last,
    /// It reads so much at once, and pauses after the first reads.
    reads: usize,
    pauses: u8,
}

fn script(last: impl Strategy<Value = Last>) -> impl Strategy<Value = Script> {
    let step = prop_oneof![
        3 => (1..2_000_usize).prop_map(Step::Write),
        2 => (16_000..17_000_usize).prop_map(Step::Write),
        2 => (100_000..1_500_000_usize).prop_map(Step::Write),
        2 => Just(Step::Pause),
    ];
    (prop::collection::vec(step, 0..8), last, 1_000..300_000_usize, 0..4_u8)
        .prop_map(|(steps, last, reads, pauses)| Script { steps, last, reads, pauses })
}

/// The byte at a place of what an end says. No period fits a buffer or a pipe.
fn said(seed: u8, at: usize) -> u8 {
    (at % 251) as u8 ^ (at / 251 % 241) as u8 ^ seed
}

/// Plays one end; says how many bytes were heard, and whether they ended in good order.
async fn play(mut stream: TcpStream, script: &Script, says: u8, hears: u8) -> (usize, bool) {
    let (mut read, mut write) = stream.split();
    let saying = async {
        let mut at = 0;
        for step in &script.steps {
            match step {
                Step::Pause => sleep(Duration::from_millis(3)).await,
                Step::Write(len) => {
                    let bytes: Vec<u8> = (at..at + len).map(|at| said(says, at)).collect();
                    if write.write_all(&bytes).await.is_err() {
                        return false;
                    }
                    at += len;
                }
            }
        }
        script.last == Last::Reset || write.shutdown().await.is_ok()
    };
    let hearing = hear(&mut read, script, hears);
    if script.last == Last::HalfClose {
        let ((heard, orderly), said) = tokio::join!(hearing, saying);
        // A reset is told once, to whichever call comes first.
        return (heard, orderly && said);
    }
    // It goes away as soon as it has said all; what it has heard until then must be right nevertheless.
    let heard = tokio::select! {
        biased;
        heard = hearing => heard,
        _ = saying => (0, false),
    };
    stream.set_zero_linger().unwrap();
    heard
}

async fn hear(read: &mut (impl AsyncRead + Unpin), script: &Script, hears: u8) -> (usize, bool) {
    let (mut buffer, mut at, mut pauses) = (vec![0; script.reads], 0, script.pauses);
    loop {
        match read.read(&mut buffer).await {
            Ok(0) => return (at, true),
            Ok(heard) => {
                let right =
                    buffer[..heard].iter().zip(at..).all(|(byte, at)| *byte == said(hears, at));
                assert!(right, "a byte between {at} and {} is another", at + heard);
                at += heard;
            }
            Err(_) => return (at, false),
        }
        if pauses > 0 {
            pauses -= 1;
            sleep(Duration::from_millis(2)).await;
        }
    }
}

fn total(script: &Script) -> usize {
    let sizes = script.steps.iter().map(|step| match step {
        Step::Write(len) => *len,
        Step::Pause => 0,
    });
    sizes.sum()
}

fn runtimes() -> [Runtime; 2] {
    let shared = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    [Builder::new_current_thread().enable_all().build().unwrap(), shared.unwrap()]
}

fn on_both_runtimes<F: Future<Output = ()>>(test: impl Fn() -> F) {
    for runtime in runtimes() {
        let limited = async { timeout(LIMIT, test()).await };
        runtime.block_on(limited).expect("it took longer than 20 s");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_both_ends_say_arrives(
        client in script(Just(Last::HalfClose)),
        endpoint in script(Just(Last::HalfClose)),
    ) {
        on_both_runtimes(|| async {
            let (to_client, to_endpoint) = converse(&client, &endpoint).await;
            assert_eq!(to_endpoint, (total(&client), true));
            assert_eq!(to_client, (total(&endpoint), true));
        });
    }

    #[test]
    fn a_reset_cuts_what_is_said_and_changes_nothing_before(
        client in script(prop_oneof![Just(Last::HalfClose), Just(Last::Reset)]),
        endpoint in script(Just(Last::Reset)),
        swapped in any::<bool>(),
    ) {
        let (client, endpoint) = if swapped { (endpoint, client) } else { (client, endpoint) };
        on_both_runtimes(|| async {
            let (to_client, to_endpoint) = converse(&client, &endpoint).await;
            assert!(to_endpoint.0 <= total(&client) && to_client.0 <= total(&endpoint));
            // Who heard an orderly end has heard all.
            assert!(!to_endpoint.1 || (to_endpoint.0 == total(&client) && client.last == Last::HalfClose));
            assert!(!to_client.1 || (to_client.0 == total(&endpoint) && endpoint.last == Last::HalfClose));
        });
    }
}

/// Has both scripts played through a proxy; returns what the client heard and what the container heard.
async fn converse(client: &Script, endpoint: &Script) -> ((usize, bool), (usize, bool)) {
    let container = container().await;
    let lease = publish(&ProxyMapper::new(), &container).await;
    let (near, far) = connect(&lease, &container).await;
    let heard = tokio::join!(play(near, client, 0, 85), play(far, endpoint, 85, 0));
    lease.release().await.unwrap();
    heard
}

#[test]
fn a_thousand_connections_carry_their_own_bytes() {
    // 100 at a time: each has four descriptors of this process.
    const CONNECTIONS: u64 = 1000;
    const AT_ONCE: usize = 100;
    on_both_runtimes(|| async {
        let container = container().await;
        let lease = publish(&ProxyMapper::new(), &container).await;
        let addr = addr(&lease);
        let echo = tokio::spawn(echo(container));
        let clients = stream::iter(0..CONNECTIONS)
            .map(|seed| async move { tokio::spawn(send_and_compare(addr, seed)).await.unwrap() });
        clients.buffer_unordered(AT_ONCE).collect::<()>().await;
        lease.release().await.unwrap();
        echo.abort();
    });
}

async fn echo(container: TcpListener) {
    while let Ok((mut stream, _)) = container.accept().await {
        tokio::spawn(async move {
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
    }
}

/// Numbers that look random: the same for the same seed.
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    }
}

/// Sends a random number of random bytes in random pieces, one in ten times bulk, and compares what comes back. Only the
/// hashes are kept.
async fn send_and_compare(addr: SocketAddr, seed: u64) {
    let mut next = numbers(seed);
    let (largest, piece) =
        if seed.is_multiple_of(10) { (1 << 20, 200_000) } else { (20_000, 5_000) };
    let total = (next() % largest) as usize;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let (mut read, mut write) = stream.split();
    let send = async {
        let (mut hasher, mut left) = (DefaultHasher::new(), total);
        while left > 0 {
            let len = (next() % piece + 1).min(left as u64) as usize;
            let bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect();
            hasher.write(&bytes[..len]);
            write.write_all(&bytes[..len]).await.unwrap();
            left -= len;
            tokio::task::yield_now().await;
        }
        write.shutdown().await.unwrap();
        (total, hasher.finish())
    };
    let receive = async {
        let (mut hasher, mut received, mut buffer) = (DefaultHasher::new(), 0, vec![0; 32 * 1024]);
        loop {
            match read.read(&mut buffer).await.unwrap() {
                0 => return (received, hasher.finish()),
                len => {
                    hasher.write(&buffer[..len]);
                    received += len;
                }
            }
        }
    };
    let (sent, received) = tokio::join!(send, receive);
    assert_eq!(received, sent, "connection {seed}");
}
