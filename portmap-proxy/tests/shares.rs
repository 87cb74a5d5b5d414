//! One port does not take the descriptors of the others. Each test has the process to itself, with a low `RLIMIT_NOFILE`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    future::Future,
    net::{SocketAddr, UdpSocket as Blocking},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portmap_core::Lease;
use portmap_proxy::{BindingStats, Connection, ProxyMapper};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{addr, container, publish, publish_udp, udp_container};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    runtime::Builder,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower::util::MapRequestLayer;

/// What a client that is not held up waits for its answer: a turn of the proxy's on a busy machine.
const SOON: Duration = Duration::from_millis(1500);

/// The process has one limit and one account: a test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a test when no other one runs, nor has left anything open.
fn alone(descriptors: u64, test: impl Future<Output = ()>) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    limit(descriptors);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

fn limit(descriptors: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors), maximum }).unwrap();
}

fn stats<L>(mapper: &ProxyMapper<L>, lease: &Lease) -> BindingStats {
    let of = |stats: &BindingStats| stats.binding == lease.bindings()[0];
    mapper.stats().into_iter().find(of).expect("published")
}

/// Answers everybody.
fn echo(container: UdpSocket) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        loop {
            let (length, from) = container.recv_from(&mut buffer).await.unwrap();
            container.send_to(&buffer[..length], from).await.unwrap();
        }
    })
}

/// Answers everybody, and keeps the connection.
fn greet(container: TcpListener) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = container.accept().await.unwrap();
            stream.write_all(b"hello").await.unwrap();
        }
    })
}

/// Whether a new client of a UDP port is answered, with one datagram and without delay. Its session stays behind.
async fn ask(to: SocketAddr) -> bool {
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(to).await.unwrap();
    client.send(b"ask").await.unwrap();
    timeout(SOON, client.recv(&mut [0; 64])).await.is_ok_and(|answer| answer.is_ok())
}

/// Whether a new client of a TCP port is answered without delay.
async fn call(to: SocketAddr) -> bool {
    let mut client = TcpStream::connect(to).await.unwrap();
    timeout(SOON, client.read_exact(&mut [0; 5])).await.is_ok_and(|read| read.is_ok())
}

/// Has the proxy see as many new clients, each with a socket of its own that is gone at once.
async fn flood(to: SocketAddr, clients: u64, mapper: &ProxyMapper, lease: &Lease) {
    let seen = || {
        let stats = stats(mapper, lease);
        stats.opened + stats.refused
    };
    let most = seen() + clients;
    while seen() < most {
        for _ in 0..20 {
            let client = Blocking::bind("127.0.0.1:0").unwrap();
            client.send_to(b"flood", to).unwrap();
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_flood_of_one_udp_port_leaves_the_others_their_share() {
    alone(256, async {
        let mapper = ProxyMapper::new();
        let [flooded, quiet] = [udp_container().await, udp_container().await];
        let web = container().await;
        let [one, two] = [publish_udp(&mapper, &flooded).await, publish_udp(&mapper, &quiet).await];
        let three = publish(&mapper, &web).await;
        let _echoes = [echo(flooded), echo(quiet)];
        let _web = greet(web);
        for round in 0..3 {
            flood(addr(&one), 1000, &mapper, &one).await;
            // Sessions stay for 90 s: whoever has to wait for these waits for long.
            assert!(ask(addr(&two)).await, "round {round}");
            assert!(call(addr(&three)).await, "round {round}");
            // The port itself goes on; its container is still busy with the flood.
            while !ask(addr(&one)).await {}
        }
        let [one, two, three] = [&one, &two, &three].map(|lease| stats(&mapper, lease));
        assert!(one.over_share > 500 && one.evicted > 100, "{one:?}");
        assert!((100..200).contains(&one.active), "{one:?}");
        assert_eq!((two.over_share, two.evicted, two.refused), (0, 0, 0), "{two:?}");
        assert_eq!((three.over_share, three.waited), (0, 0), "{three:?}");
    });
}

#[test]
fn silent_connections_to_one_port_leave_the_others_their_share() {
    alone(300, async {
        let mapper = ProxyMapper::new();
        // Nobody accepts: they are silent.
        let (silent, web, dns) = (container().await, container().await, udp_container().await);
        let [one, two] = [publish(&mapper, &silent).await, publish(&mapper, &web).await];
        let three = publish_udp(&mapper, &dns).await;
        let (_web, _dns) = (greet(web), echo(dns));
        let mut clients = Vec::new();
        for _ in 0..100 {
            // Their ends are the embedder's own descriptors, for all that the proxy knows.
            clients.push(TcpStream::connect(addr(&one)).await.unwrap());
            assert!(call(addr(&two)).await, "after {} silent ones", clients.len());
        }
        assert!(ask(addr(&three)).await);
        let of_one = stats(&mapper, &one);
        assert!(of_one.active > 50 && of_one.waited > 0 && of_one.over_share > 0, "{of_one:?}");
        let of_two = stats(&mapper, &two);
        assert_eq!((of_two.opened, of_two.over_share, of_two.waited), (100, 0, 0), "{of_two:?}");
        // What was taken comes back.
        clients.clear();
        let greeted = greet(silent);
        assert!(timeout(2 * SOON, async { while !call(addr(&one)).await {} }).await.is_ok());
        greeted.abort();
    });
}

#[test]
fn numbers_that_are_kept_of_a_released_port_keep_no_share() {
    const CLIENTS: u64 = 80;
    alone(300, async {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&kept);
        let mapper = ProxyMapper::new().layer(MapRequestLayer::new(move |client: Connection| {
            keep.lock().unwrap().push(client.progress());
            client
        }));
        let (web, silent) = (container().await, container().await);
        let released = publish(&mapper, &web).await;
        let _web = greet(web);
        assert!(call(addr(&released)).await);
        released.release().await.unwrap();
        assert_eq!((kept.lock().unwrap().len(), mapper.stats().len()), (1, 1));
        let alone = publish(&mapper, &silent).await;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(TcpStream::connect(addr(&alone)).await.unwrap());
        }
        let settled = async {
            loop {
                let stats = stats(&mapper, &alone);
                if stats.active == CLIENTS || stats.over_share > 0 {
                    return stats;
                }
                sleep(Duration::from_millis(2)).await;
            }
        };
        let stats = timeout(10 * SOON, settled).await.expect("15 s passed");
        assert_eq!((stats.active, stats.over_share), (CLIENTS, 0), "{stats:?}");
    });
}

#[test]
fn sessions_without_an_answer_go_for_the_clients_of_another_port() {
    alone(400, async {
        let mapper = ProxyMapper::new();
        let [flooded, busy] = [udp_container().await, udp_container().await];
        let [one, two] = [publish_udp(&mapper, &flooded).await, publish_udp(&mapper, &busy).await];
        // One client had its answer, and says nothing meanwhile.
        let answered = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        answered.connect(addr(&one)).await.unwrap();
        answered.send(b"ask").await.unwrap();
        let (_, session) = flooded.recv_from(&mut [0; 64]).await.unwrap();
        flooded.send_to(b"answer", session).await.unwrap();
        answered.recv(&mut [0; 64]).await.unwrap();
        flood(addr(&one), 1000, &mapper, &one).await;
        let before = stats(&mapper, &one).active;
        // More than the flood has left free.
        let _busy = echo(busy);
        for client in 0..100 {
            assert!(ask(addr(&two)).await, "client {client}");
        }
        let [of_one, of_two] = [&one, &two].map(|lease| stats(&mapper, lease));
        assert!(of_one.active < before, "{before}, then {of_one:?}");
        assert!(of_two.active > 90, "{of_two:?}");
        flooded.send_to(b"late", session).await.unwrap();
        let mut heard = [0; 64];
        let length = timeout(SOON, answered.recv(&mut heard)).await.expect("its session is gone");
        assert_eq!(&heard[..length.unwrap()], b"late");
    });
}

#[test]
fn a_limit_that_is_raised_at_run_time_lets_those_in_who_wait() {
    alone(128, async {
        let mapper = ProxyMapper::new();
        let (silent, web) = (container().await, container().await);
        let [one, _two] = [publish(&mapper, &silent).await, publish(&mapper, &web).await];
        let mut clients = Vec::new();
        while stats(&mapper, &one).over_share == 0 {
            clients.push(TcpStream::connect(addr(&one)).await.unwrap());
            sleep(Duration::from_millis(1)).await;
        }
        assert!(stats(&mapper, &one).active < clients.len() as u64);
        limit(512);
        let all = async {
            while stats(&mapper, &one).active < clients.len() as u64 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(4 * SOON, all).await.is_ok(), "{:?}", stats(&mapper, &one));
    });
}
